"""What the n-grams of one latent predict on tokens, in plain Python: a result can be read where there is no torch.

``functional.matching`` does the same for all latents at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

__all__ = ["NO_TOKEN", "START", "Match", "Pattern", "best_of_all", "first_on_the_way"]

START = -2
"""Stands in a text in front of each document."""
NO_TOKEN = -1
"""Stands in a text for what is no token of any n-gram."""

Pattern = tuple[Sequence[int | None], bool, float]
"""Tokens in the order of the text, ``None`` for any; whether the first of them must be the first of its document; what is predicted."""
Match = Callable[[Sequence[int], int], float]
"""The prediction at a place of a text that begins with a start mark, 0 for none."""


@dataclass
class _Node:
    """A node of a trie over reversed patterns."""

    below: dict[int | None, "_Node"] = field(default_factory=dict)
    value: float | None = None


def first_on_the_way(patterns: Sequence[Pattern]) -> Match:
    """The released variant: a walk backwards from the place, along the token's branch if there is one, else along that of any token.

    The first value on the way counts; the walk never goes back.

    Args:
        patterns: The n-grams of a latent.
    """
    root = _Node()
    for tokens, at_start, value in patterns:
        node = root
        for token in (*reversed(tokens), *((START,) if at_start else ())):
            node = node.below.setdefault(token, _Node())
        node.value = value

    def match(text: Sequence[int], place: int) -> float:
        node: _Node | None = root
        while node is not None and node.value is None:
            token = text[place]
            node = node.below.get(token) or (None if token == START else node.below.get(None))
            place -= 1  # a walk ends at a start mark at the latest, which is what a text begins with
        return 0.0 if node is None or node.value is None else node.value

    return match


def best_of_all(patterns: Sequence[Pattern]) -> Match:
    """The strict variant: of all that match, the longest; then the one that specifies more, the start included.

    Then one that asks for the start; then the one with a token closest to the end where the other has any.

    Args:
        patterns: The n-grams of a latent.
    """

    def order(pattern: Pattern) -> tuple[int, int, bool, list[bool]]:
        tokens, at_start, _ = pattern
        concrete = [token is not None for token in reversed(tokens)]
        return len(tokens), sum(concrete) + at_start, at_start, concrete

    best_first = sorted(patterns, key=order, reverse=True)

    def match(text: Sequence[int], place: int) -> float:
        return next((pattern[2] for pattern in best_first if _matches(pattern, text, place)), 0.0)

    return match


def _matches(pattern: Pattern, text: Sequence[int], place: int) -> bool:
    tokens, at_start, _ = pattern
    first = place - len(tokens) + 1
    if first < 1 or (at_start and text[first - 1] != START):
        return False
    return all(token == there or (token is None and there != START) for token, there in zip(tokens, text[first : place + 1], strict=True))
