"""Questions about what latents are on rows of tokens, many of which are alike; each distinct row is run once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_lens_metrics.functional.distinct_rows import distinct, hash_rows, hash_weights
from sae_lens_metrics.functional.statistics import widest_float

__all__ = ["NOT_MASKED", "Activate", "Questions", "Rows"]

NOT_MASKED = -1
"""The position of a row's padding token where it has none."""


@dataclass(frozen=True)
class Rows:
    """Distinct rows of tokens, all of one length; many differ from each other in one position, so that their beginnings can be shared."""

    tokens: Int[Tensor, "ngrams length"]
    """n-grams in the order of the text."""
    ngram: Int[Tensor, "rows"]
    """Which n-gram a row is made from."""
    masked: Int[Tensor, "rows"]
    """The position that the padding token replaces, or -1."""
    pad_token: int
    """The padding token."""

    def __len__(self) -> int:
        return len(self.ngram)

    def materialise(self, rows: Int[Tensor, "n"] | slice = slice(None)) -> Int[Tensor, "n length"]:
        """Some of the rows, written out."""
        tokens, masked = self.tokens[self.ngram[rows]], self.masked[rows]
        replaced = (masked >= 0).nonzero()[:, 0]
        tokens[replaced, masked[replaced]] = self.pad_token
        return tokens


class Activate(Protocol):
    """Runs a model: what latents are on the last tokens of rows."""

    def __call__(self, rows: Rows, row: Int[Tensor, "asked"], latent: Int[Tensor, "asked"]) -> Float[Tensor, "asked"]:
        """The activation of each latent asked about, on the last token of its row."""
        ...


class Questions:
    """Puts questions about many rows, each distinct row once."""

    def __init__(self, activate: Activate, pad_token: int, progress: Callable[[int], object]) -> None:
        self._activate = activate
        self.pad_token = pad_token
        self.progress = progress

    def ask(
        self,
        tokens: Int[Tensor, "ngrams length"],
        latent: Int[Tensor, "asked"],
        ngram: Int[Tensor, "asked"] | None = None,
        masked: Int[Tensor, "asked"] | None = None,
    ) -> Float[Tensor, "asked"]:
        """What latents are on the last tokens of n-grams, with one position padded where ``masked`` says so; in the widest type.

        By default there is one question about each n-gram, as it is.
        """
        if not len(latent):
            return torch.empty(0, dtype=widest_float(tokens.device), device=tokens.device)
        ngram = torch.arange(len(tokens), device=tokens.device) if ngram is None else ngram
        masked = torch.full_like(ngram, NOT_MASKED) if masked is None else masked
        first, row = distinct(self._hashes(tokens, ngram, masked))
        rows = Rows(tokens, ngram[first], masked[first], self.pad_token)
        return self._activate(rows, row, latent).to(widest_float(tokens.device))

    def _hashes(self, tokens: Tensor, ngram: Tensor, masked: Tensor) -> Int[Tensor, "2 asked"]:
        position = masked.clamp_min(0)
        change = torch.where(masked >= 0, self.pad_token - tokens[ngram, position], 0)
        # the hash is linear, so that a masked row's follows from its n-gram's
        return torch.stack([hash_rows(tokens, weights)[ngram] + change * weights[position] for weights in hash_weights(tokens)])
