"""Precision, recall and F1 of N2G explanations, latent by latent (Gao et al. 2024, section 4.3)."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_lens_metrics.functional.nonzeros import nonzeros
from sae_lens_metrics.functional.sampling import GroupedLargest, GroupedSample
from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.metrics.n2g.explanations import Explanations
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.batches import ActivationBatch
from sae_lens_metrics.text.corpus import Corpus

__all__ = ["Scores", "score"]


@dataclass(frozen=True)
class Scores:
    """How well explanations predict where latents fire; each tensor has an entry for each latent that was asked about."""

    fired: Int[Tensor, "latents"]
    """Positions of the scoring text where the latent fires."""
    predicted: Int[Tensor, "latents"]
    """Positions where its explanation says that it does."""
    hits: Int[Tensor, "latents"]
    """Positions where both do."""
    held_out: Bool[Tensor, "latents examples"]
    """Where there is an activation that was held out of the text that the explanation was built from."""
    held_out_predicted: Float[Tensor, "latents examples"]
    """What the explanation predicts there, 0 for nothing."""
    tokens: int
    """Positions of the scoring text that count."""
    shown: Int[Tensor, "latents shown"]
    """A random sample of the predicted positions, as sequence times sequence length plus column; -1 where there are fewer."""
    top: Int[Tensor, "latents top"]
    """The positions of the scoring text where the latent is largest, in absolute value; likewise."""

    @property
    def precision(self) -> Float[Tensor, "latents"]:
        """P(latent fires | predicted); NaN where nothing was predicted."""
        return self.hits.double() / self.predicted

    @property
    def recall(self) -> Float[Tensor, "latents"]:
        """P(predicted | latent fires), on the held-out activations; NaN where there are none."""
        return (self.held_out_predicted != 0).sum(1).double() / self.held_out.sum(1)

    @property
    def f1(self) -> Float[Tensor, "latents"]:
        """Harmonic mean of precision and recall; 0 where the explanation never fires, or either is 0."""
        precision, recall = self.precision.nan_to_num(0), self.recall.nan_to_num(0)
        return 2 * precision * recall / (precision + recall).clamp_min(torch.finfo(torch.float64).tiny)


_TOP = 4
"""As many times the positions to show are kept of the largest activations, as several can be in one sequence."""


def score(explanations: Explanations, subject: Subject, text: Corpus, scoring: Corpus, config: MetricsConfig) -> Scores:
    """Scores explanations: recall on the activations held out of their text, precision on other text.

    Args:
        explanations: The explanations.
        subject: The model and SAE that they explain.
        text: The text that they were built from.
        scoring: Text of other documents.
        config: ``seed``, ``batch_size`` and ``n2g.shown`` are used.
    """
    return _Scoring(explanations, subject, config).scores(text, scoring)


class _Scoring:
    """Counts over batches of the scoring text."""

    def __init__(self, explanations: Explanations, subject: Subject, config: MetricsConfig) -> None:
        self._explanations, self._subject, self._config = explanations, subject, config
        self._matcher = explanations.matcher(subject.device)
        self._fired, self._predicted, self._hits = (torch.zeros(subject.d_sae, dtype=torch.long, device=subject.device) for _ in range(3))
        self._tokens = 0
        shown = max(1, config.n2g.shown)
        self._shown = GroupedSample(subject.d_sae, shown, seed=config.seed, device=subject.device)
        self._top = GroupedLargest(subject.d_sae, _TOP * shown, device=subject.device)
        self._asked = torch.zeros(subject.d_sae, dtype=torch.bool, device=subject.device)
        self._asked[explanations.latents.to(subject.device)] = True

    def scores(self, text: Corpus, scoring: Corpus) -> Scores:
        """Goes over both texts."""
        for batch in scoring.activations(self._subject, self._config.batch_size, progress="n2g: scoring"):
            self._add(batch)
        latents = self._explanations.latents.to(self._subject.device)
        return Scores(
            fired=self._fired[latents].cpu(),
            predicted=self._predicted[latents].cpu(),
            hits=self._hits[latents].cpu(),
            held_out=self._explanations.held_out >= 0,
            held_out_predicted=self._held_out_predicted(text),
            tokens=self._tokens,
            shown=self._shown.item[latents].cpu(),
            top=self._top.item[latents].cpu(),
        )

    def _add(self, batch: ActivationBatch) -> None:
        tokens, d_sae = batch.prefix.tokens.to(self._subject.device), self._subject.d_sae
        matches = self._matcher.match(tokens, self._subject.language.special(tokens))
        row = batch.row_of(matches.position)
        evaluated = row >= 0
        row, latent = row[evaluated], matches.latent[evaluated]
        self._tokens += len(batch.x)
        self._predicted += torch.bincount(latent, minlength=d_sae)
        for rows, z in batch.latents():
            for fires, of in nonzeros((z != 0) & self._asked):
                self._fired += torch.bincount(of, minlength=d_sae)
                value = z[fires, of]
                large = value.abs() >= self._top.least[of]
                self._top.add(of[large], batch.in_corpus[rows][fires[large]], value[large])
            here = (row >= rows.start) & (row < rows.start + len(z))
            activation = z[row[here] - rows.start, latent[here]]
            self._hits += torch.bincount(latent[here][activation != 0], minlength=d_sae)
            self._shown.add(latent[here], batch.in_corpus[row[here]], activation)

    def _held_out_predicted(self, text: Corpus) -> Float[Tensor, "latents examples"]:
        """Predictions where activations were held out, 0 where there are fewer."""
        position = self._explanations.held_out
        there = position >= 0
        latent = self._explanations.latents[:, None].expand_as(there)[there]
        values = self._matcher.predict(text.tokens, self._subject.language.special(text.tokens), position[there], latent)
        return torch.zeros(there.shape).masked_scatter(there, values.float().cpu())
