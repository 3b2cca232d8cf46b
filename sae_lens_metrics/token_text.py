"""Tokens as text that people read."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

__all__ = ["TokenText"]

_BEFORE, _AFTER = 12, 4


class TokenText:
    """Writes tokens out; as numbers where there is no tokenizer.

    Args:
        tokenizer: A tokenizer of ``transformers``, or ``None``.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def write(self, pieces: Sequence[Sequence[int]]) -> list[str]:
        """The text of each piece."""
        if not pieces:  # of which some tokenizers make one empty text
            return []
        if self._tokenizer is None:
            return ["".join(f" {token}" for token in piece) for piece in pieces]
        return self._tokenizer.batch_decode([list(piece) for piece in pieces], clean_up_tokenization_spaces=False)

    def excerpts(
        self, tokens: Int[Tensor, "sequences pos"], special: Bool[Tensor, "sequences pos"], position: Int[Tensor, "n"]
    ) -> list[str]:
        """What stands around some tokens within their document, the tokens themselves in «guillemets».

        Args:
            tokens: Sequences.
            special: Where documents end.
            position: Sequence times sequence length plus column of each token.
        """
        offsets = torch.arange(-_BEFORE, _AFTER + 1)
        column = (position % tokens.shape[1])[:, None] + offsets
        index = (position[:, None] + offsets).clamp(0, tokens.numel() - 1)
        outside = (column < 0) | (column >= tokens.shape[1]) | special.flatten()[index]
        # from the middle outwards, what lies behind a special token belongs to another document
        before = outside[:, :_BEFORE].flip(1).int().cumsum(1).flip(1) > 0
        after = outside[:, _BEFORE + 1 :].int().cumsum(1) > 0
        around = tokens.flatten()[index].tolist()
        n_before, n_after = (~before).sum(1).tolist(), (~after).sum(1).tolist()
        pieces: list[list[int]] = []
        for row, b, a in zip(around, n_before, n_after, strict=True):
            pieces += [row[_BEFORE - b : _BEFORE], row[_BEFORE : _BEFORE + 1], row[_BEFORE + 1 : _BEFORE + 1 + a]]
        written = self.write(pieces)
        return [f"{b}«{token}»{a}" for b, token, a in zip(written[::3], written[1::3], written[2::3], strict=True)]
