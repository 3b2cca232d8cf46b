"""Tokens as text that people read."""

from collections.abc import Sequence
from typing import Any

__all__ = ["TokenText"]


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
