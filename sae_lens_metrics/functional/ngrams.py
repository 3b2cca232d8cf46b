"""n-grams with wildcards: what an N2G explanation of a latent consists of (Gao et al. 2024, section 4.3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["ABSENT", "WILDCARD", "NGram", "Patterns", "Variant"]

Variant = Literal["released", "strict"]
"""How explanations are built and matched: as the authors' released code does, or with its weaknesses mended."""

WILDCARD = -1
"""Stands for any one token."""
ABSENT = -2
"""Fills a pattern's row beyond its length."""


@dataclass(frozen=True)
class NGram:
    """One pattern, and the activation that it stands for."""

    tokens: tuple[int | None, ...]
    """The tokens in the order of the text, at least one; ``None`` is a wildcard. The latent fires on the last one."""
    at_start: bool
    """Whether the first token must be the first of its document."""
    value: float
    """The latent's activation where the pattern was found."""


@dataclass(frozen=True)
class Patterns:
    """The n-grams of many latents as tensors, one row each."""

    latent: Int[Tensor, "patterns"]
    """Which latent a pattern belongs to."""
    tokens: Int[Tensor, "patterns longest"]
    """Token ids, int32, the LAST token of the pattern first; ``WILDCARD`` for any token, ``ABSENT`` beyond a pattern's length."""
    at_start: Bool[Tensor, "patterns"]
    """Whether the pattern's first token must be the first of its document."""
    value: Float[Tensor, "patterns"]
    """The activation that the pattern stands for."""

    def __len__(self) -> int:
        return len(self.latent)

    @property
    def length(self) -> Int[Tensor, "patterns"]:
        """Tokens of each pattern, wildcards included."""
        return (self.tokens != ABSENT).sum(1)

    @classmethod
    def from_ngrams(cls, ngrams: Mapping[int, Sequence[NGram]]) -> "Patterns":
        """Puts the n-grams of some latents into tensors, in the order given."""
        rows = [(latent, ngram) for latent, of_latent in ngrams.items() for ngram in of_latent]
        longest = max((len(ngram.tokens) for _, ngram in rows), default=1)
        tokens = torch.full((len(rows), longest), ABSENT, dtype=torch.int32)
        for row, (_, ngram) in zip(tokens, rows, strict=True):
            backwards = [WILDCARD if token is None else token for token in reversed(ngram.tokens)]
            row[: len(backwards)] = torch.tensor(backwards, dtype=torch.int32)
        return cls(
            torch.tensor([latent for latent, _ in rows], dtype=torch.long),
            tokens,
            torch.tensor([ngram.at_start for _, ngram in rows], dtype=torch.bool),
            torch.tensor([ngram.value for _, ngram in rows], dtype=torch.float32),
        )

    def to_ngrams(self) -> dict[int, list[NGram]]:
        """The inverse of ``from_ngrams``."""
        ngrams: dict[int, list[NGram]] = {}
        columns = (self.latent, self.tokens, self.at_start, self.value)
        for latent, backwards, at_start, value in zip(*(column.tolist() for column in columns), strict=True):
            tokens = tuple(None if token == WILDCARD else token for token in reversed(backwards) if token != ABSENT)
            ngrams.setdefault(latent, []).append(NGram(tokens, at_start, value))
        return ngrams

    def followed_by(self, others: "Patterns") -> "Patterns":
        """These patterns, and behind them others, of other latents."""
        longest = max(self.tokens.shape[1], others.tokens.shape[1])
        tokens = [pad(each.tokens, (0, longest - each.tokens.shape[1]), value=ABSENT) for each in (self, others)]
        columns = ((each.latent, each.at_start, each.value) for each in (self, others))
        latent, at_start, value = (torch.cat(pair) for pair in zip(*columns, strict=True))
        return Patterns(latent, torch.cat(tokens), at_start, value)

    def to(self, device: torch.device | str) -> "Patterns":
        """The same on another device."""
        return Patterns(*(column.to(device) for column in (self.latent, self.tokens, self.at_start, self.value)))
