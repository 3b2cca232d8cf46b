"""Latents simulated from their explanations, and what the SAE makes of them (Gao et al. 2024, section 4.4)."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag

from sae_lens_metrics.functional.statistics import widest_float
from sae_lens_metrics.metrics.n2g.explanations import Explanations
from sae_lens_metrics.ranks import Ranks
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.batches import ActivationBatch

__all__ = ["Latents", "Simulation", "decode_sparse"]


class Latents(NamedTuple):
    """Nonzero latents of some activations, sorted by row."""

    row: Int[Tensor, "nonzero"]
    """Which activation."""
    latent: Int[Tensor, "nonzero"]
    """Which latent."""
    value: Float[Tensor, "nonzero"]
    """Its value."""

    def where(self, which: Bool[Tensor, "nonzero"]) -> "Latents":
        """Some of them."""
        return Latents(*(column[which] for column in self))


class Simulation:
    """Simulates latents from their explanations.

    What an explanation predicts is scaled by E[sa] / E[s²], with s the prediction and a the latent: the least-squares scale.

    Args:
        explanations: The explanations.
        subject: The model and SAE that they explain.
        rebuilt: Other explanations of some of the latents. What they predict is under indices from d_sae on, in the order of
            ``rebuilt.latents``, so that one pass over a text is enough for both.

    Attributes:
        of: The latent under each index.
    """

    def __init__(self, explanations: Explanations, subject: Subject, rebuilt: Explanations | None = None) -> None:
        self._subject = subject
        self.of = torch.arange(subject.d_sae, device=subject.device)
        if rebuilt is not None:
            under = subject.d_sae + torch.searchsorted(rebuilt.latents, rebuilt.patterns.latent)
            explanations = replace(explanations, patterns=explanations.patterns.followed_by(replace(rebuilt.patterns, latent=under)))
            self.of = torch.cat([self.of, rebuilt.latents.to(subject.device)])
        self._matcher = explanations.matcher(subject.device)
        precise = widest_float(subject.device)
        self._products, self._squares = (torch.zeros(len(self.of), dtype=precise, device=subject.device) for _ in range(2))

    def learn(self, batch: ActivationBatch) -> None:
        """Adds a batch of the training text, on which the scales are estimated; sums only are kept."""
        predicted = self.predict(batch)
        self._squares.index_add_(0, predicted.latent, predicted.value.to(self._squares.dtype).square())
        for rows, part in _chunks(batch, predicted):
            actual = self._subject.dictionary.encode(batch.x[rows])[part.row - rows.start, self.of[part.latent]]
            self._products.index_add_(0, part.latent, (part.value * actual).to(self._products.dtype))

    def combine(self, ranks: Ranks) -> None:
        """Takes in what other processes have learned from their parts of the training text."""
        self._products, self._squares = ranks.total(self._products), ranks.total(self._squares)

    @property
    def fires(self) -> Bool[Tensor, "indices"]:
        """Which explanations fire on the training text."""
        return self._squares > 0

    @property
    def scale(self) -> Float[Tensor, "indices"]:
        """The scale of each index; 0 for an explanation that does not fire on the training text."""
        return torch.where(self.fires, self._products / self._squares.where(self.fires, 1), 0).float()

    def predict(self, batch: ActivationBatch) -> Latents:
        """What the explanations predict at the positions that count, not scaled."""
        tokens = batch.prefix.tokens.to(self._subject.device)
        matches = self._matcher.match(tokens, self._subject.language.special(tokens))
        row = batch.row_of(matches.position)
        counts = row >= 0
        return Latents(row[counts], matches.latent[counts], matches.value[counts])

    def simulate(self, batch: ActivationBatch) -> Latents:
        """Simulated latents, by index: predictions times scales."""
        predicted = self.predict(batch)
        return predicted._replace(value=predicted.value * self.scale[predicted.latent])


def decode_sparse(subject: Subject, latents: Latents, x: Float[Tensor, "n d_in"]) -> Float[Tensor, "n d_out"]:
    """Reconstructions from sparse latents, as the SAE decodes: normalisation is undone with the state of the true activation.

    Args:
        subject: The model and SAE.
        latents: Nonzero latents, sorted by row.
        x: The true activations.
    """
    starts = torch.searchsorted(latents.row, torch.arange(len(x), device=x.device))
    sums = embedding_bag(latents.latent, subject.dictionary.decoder, starts, per_sample_weights=latents.value, mode="sum")
    scale, offset = subject.dictionary.scale_and_offset(x)
    return scale * sums + offset


def _chunks(batch: ActivationBatch, latents: Latents) -> Iterator[tuple[slice, Latents]]:
    """Parts of a batch whose dense latents fit in memory, with the sparse latents of each."""
    for rows in batch.chunks():
        bounds = torch.tensor([rows.start, rows.stop], device=latents.row.device)
        first, last = torch.searchsorted(latents.row, bounds).tolist()
        yield rows, Latents(*(column[first:last] for column in latents))
