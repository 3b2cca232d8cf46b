"""Explanations and effects in the form in which a page holds them: each text once, the rest numbers."""

from collections.abc import Sequence
from typing import Any

from sae_lens_metrics.results import LatentEffects, NGramExplanations

__all__ = ["effects_value", "explanations_value"]

_ANY = -1


class _Words:
    """Pairs of an id and a text by number."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[int | None, str], int] = {}

    def number(self, token: int | None, text: str) -> int:
        """The number of a pair, which is new or not."""
        return self._numbers.setdefault((token, text), len(self._numbers))

    def written(self) -> list[list[Any]]:
        """The pairs in the order of their numbers."""
        return [list(word) for word in self._numbers]


def explanations_value(explanations: NGramExplanations) -> dict[str, Any]:
    """Rules, words (id and text) and, latent by latent, n-grams: value, 1 at the start or 0, then numbers of words, -1 for any token.

    Args:
        explanations: A result's.
    """
    words = _Words()
    ngrams = [
        [
            [
                ngram.value,
                int(ngram.at_start),
                *(_ANY if text is None else words.number(token, text) for token, text in zip(ngram.tokens, ngram.texts, strict=True)),
            ]
            for ngram in each.ngrams
        ]
        for each in explanations.latents
    ]
    latents = [each.latent for each in explanations.latents]
    return {"rules": dict(vars(explanations.rules)), "words": words.written(), "latent": latents, "ngrams": ngrams}


def effects_value(effects: Sequence[LatentEffects]) -> dict[str, Any]:
    """Words (id and text) and, latent by latent, the tokens raised and lowered: the number of a word, the change, and so on.

    Args:
        effects: A result's.
    """
    words = _Words()
    sides: dict[str, list[list[float]]] = {"raised": [], "lowered": []}
    for each in effects:
        for name, changes in (("raised", each.raised), ("lowered", each.lowered)):
            sides[name].append([number for change in changes for number in (words.number(change.token, change.text), change.by)])
    return {"words": words.written(), "latent": [each.latent for each in effects], **sides}
