"""Where latents fire on text: how often, how much they add, and what comes next there."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_lens_metrics.functional.pair_correlation import PairCorrelation
from sae_lens_metrics.functional.statistics import widest_float
from sae_lens_metrics.metrics.context import MetricContext
from sae_lens_metrics.metrics.directions.second_sae import Match
from sae_lens_metrics.metrics.directions.writing import Writing, next_tokens
from sae_lens_metrics.metrics.sums import SequenceSums
from sae_lens_metrics.results import Estimate
from sae_lens_metrics.text.batches import ActivationBatch
from sae_lens_metrics.text.corpus import Corpus

__all__ = ["Fired", "fired_on"]

_NOTHING_FIRES = "no latent is active where another token follows"


@dataclass(frozen=True)
class Fired:
    """Sums over a text, per latent and per sequence."""

    sums: SequenceSums
    """Per sequence, over active latents of tokens that are followed by one that counts: ``lift``, and ``active``, how many there are."""
    count: Int[Tensor, "d_sae"]
    """On how many tokens each latent fires."""
    amount: Float[Tensor, "d_sae"]
    """The sum of its magnitude there, normalisation undone."""
    lift: Float[Tensor, "d_sae"]
    """The sum of how far it raises the next token, where there is one that counts."""
    followed: Int[Tensor, "d_sae"]
    """On how many tokens that is."""
    alike: PairCorrelation | None
    """How alike each latent and its match in a second SAE fire."""

    @classmethod
    def joined(cls, part: Corpus, parts: "Sequence[Fired]") -> "Fired":
        """From what several processes have found, in the order of the text."""
        sums = SequenceSums.joined(part, (each.sums for each in parts))
        totals = {name: torch.stack([getattr(each, name) for each in parts]).sum(0) for name in ("count", "amount", "lift", "followed")}
        alike = [each.alike for each in parts if each.alike is not None]
        return cls(sums, **totals, alike=PairCorrelation.joined(alike) if alike else None)

    def next_token(self) -> Estimate:
        """How far active latents raise the next token: the mean over active latents of all tokens."""
        found = self.sums.ratio("lift", "active")
        return found if found.value is not None else Estimate.absent(_NOTHING_FIRES, of=found.of)


def fired_on(context: MetricContext, part: Corpus, writing: Writing | None, match: Match | None) -> Fired:
    """Goes over the text once, of which each process takes a part.

    Args:
        context: The run.
        part: The text.
        writing: What latents write; ``None`` where that is not known.
        match: Their matches in a second SAE, if there is one.
    """
    return Fired.joined(part, context.ranks.each(lambda: _fired_on(context, part, writing, match)))


def _fired_on(context: MetricContext, part: Corpus, writing: Writing | None, match: Match | None) -> Fired:
    subject = context.subject
    kind = widest_float(subject.device)
    count, followed = torch.zeros(2, subject.d_sae, dtype=torch.long, device=subject.device)
    amount, lift = torch.zeros(2, subject.d_sae, dtype=kind, device=subject.device)
    sums, alike = SequenceSums(part), None if match is None else PairCorrelation(subject.d_sae, subject.device)
    for batch in part.activations(subject, context.config.batch_size, progress=context.name, ranks=context.ranks):
        following = _following(batch)
        per_token = torch.zeros(len(batch.x), 2, device=subject.device)
        for rows, z in batch.latents():
            scale, _ = subject.dictionary.scale_and_offset(batch.x[rows])
            count += (z != 0).sum(0)
            amount += (z.abs() * scale).sum(0, dtype=kind)
            if match is not None and alike is not None:
                alike.add(z, match.latents(batch.x[rows]))
            if writing is not None:
                known = (z != 0) & (following[rows] >= 0)[:, None]
                raised = (writing.lift(following[rows].clamp_min(0)) * z.sign()).where(known, 0)
                lift, followed = lift + raised.sum(0, dtype=kind), followed + known.sum(0)
                per_token[rows] = torch.stack([raised.sum(1), known.sum(1)], 1)
        sums.add(**dict(zip(("lift", "active"), batch.per_sequence(per_token).unbind(1), strict=True)))
    return Fired(sums, count, amount, lift, followed, alike)


def _following(batch: ActivationBatch) -> Int[Tensor, "n"]:
    """The token after each activation's, -1 where none counts."""
    following = next_tokens(batch.subject, batch.prefix.tokens).flatten().to(batch.position.device)
    return following[batch.position]
