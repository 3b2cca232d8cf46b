"""Where latents fire on text: how often, how much they add, and what comes next there."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

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

    def next_token(self) -> Estimate:
        """How far active latents raise the next token: the mean over active latents of all tokens."""
        found = self.sums.ratio("lift", "active")
        return found if found.value is not None else Estimate.absent(_NOTHING_FIRES, of=found.of)


def fired_on(context: MetricContext, part: Corpus, writing: Writing | None, match: Match | None) -> Fired:
    """Goes over the text once.

    Args:
        context: The run.
        part: The text.
        writing: What latents write; ``None`` where that is not known.
        match: Is told how latents fire, if there is a second SAE.
    """
    subject = context.subject
    kind = widest_float(subject.device)
    count, followed = torch.zeros(2, subject.d_sae, dtype=torch.long, device=subject.device)
    amount, lift = torch.zeros(2, subject.d_sae, dtype=kind, device=subject.device)
    sums = SequenceSums(part)
    for batch in part.activations(subject, context.config.batch_size, progress=context.name):
        following = _following(batch)
        per_token = torch.zeros(len(batch.x), 2, device=subject.device)
        for rows, z in batch.latents():
            scale, _ = subject.dictionary.scale_and_offset(batch.x[rows])
            count += (z != 0).sum(0)
            amount += (z.abs() * scale).sum(0, dtype=kind)
            if match is not None:
                match.add(z, batch.x[rows])
            if writing is not None:
                known = (z != 0) & (following[rows] >= 0)[:, None]
                raised = (writing.lift(following[rows].clamp_min(0)) * z.sign()).where(known, 0)
                lift, followed = lift + raised.sum(0, dtype=kind), followed + known.sum(0)
                per_token[rows] = torch.stack([raised.sum(1), known.sum(1)], 1)
        sums.add(**dict(zip(("lift", "active"), batch.per_sequence(per_token).unbind(1), strict=True)))
    return Fired(sums, count, amount, lift, followed)


def _following(batch: ActivationBatch) -> Int[Tensor, "n"]:
    """The token after each activation's, -1 where none counts."""
    following = next_tokens(batch.subject, batch.prefix.tokens).flatten().to(batch.position.device)
    return following[batch.position]
