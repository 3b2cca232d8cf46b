"""Which latents fire on a token: an index over what results say about where latents fire, for the page and for the terminal."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sae_lens_metrics.results import MetricResult, Report

__all__ = ["FiringTokens", "FoundLatent", "firing_tokens"]

_MOST = 24
"""Tokens of a latent that are remembered: those with the largest shares."""
_LEAST = 0.01
"""Share below which a token is not one that a latent fires on."""
_PERCENT = 100

Shares = Mapping[str, float]
"""Of each token's text, the share of a latent's activation that it has."""
_Scores = dict[str, dict[int, float]]


@dataclass(frozen=True)
class FoundLatent:
    """A latent that has to do with a token."""

    latent: int
    """The latent."""
    on: float
    """Share of its activation that is on the token, by all that is known of where it fires, in [0, 1]."""
    after: float
    """Share of its n-grams that have the token before the last, in [0, 1]: it fires somewhere behind it."""


@dataclass(frozen=True)
class FiringTokens:
    """Tokens, by their text, with the latents that fire on them and behind them."""

    on: Mapping[str, Mapping[int, float]]
    """Share of each latent's activation that is on the token."""
    after: Mapping[str, Mapping[int, float]]
    """Share of its n-grams that have the token before the last."""

    def find(self, query: str) -> list[FoundLatent]:
        """The latents for a token, those first that fire on little else; then those that fire behind it.

        Args:
            query: The token's text, with the space that it begins with. If no token is exactly that, those count that are the same but for
                spaces around them and capitals; if there is none either, those that it is a part of.
        """
        words = _like({**self.on, **self.after}, query)
        on, after = ({latent: share for latent, share in _summed(each, words)} for each in (self.on, self.after))
        found = [FoundLatent(latent, on.get(latent, 0.0), after.get(latent, 0.0)) for latent in {**on, **after}]
        return sorted(found, key=lambda each: (-each.on, -each.after, each.latent))

    def value(self) -> dict[str, Any]:
        """As JSON types: texts and, text by text, latents and shares in percent in turn."""
        words = sorted({**self.on, **self.after})
        sides = {
            name: [
                [number for latent in sorted(table.get(word, {})) for number in (latent, _percent(table[word][latent]))] for word in words
            ]
            for name, table in (("on", self.on), ("after", self.after))
        }
        return {"words": words, **sides}


def firing_tokens(report: Report) -> FiringTokens:
    """Collects what a report says about where its latents fire.

    Evidence is of several kinds, each of which gives shares of a latent's activation by token; of a latent that several tell of, their
    mean counts. Examples of what was predicted are none: they were not chosen because the latent fires.

    Args:
        report: The report.
    """
    evidence = [dict(tell(result)) for _, result in report.results() for tell in _ON]
    behind = [dict(tell(result)) for _, result in report.results() for tell in _AFTER]
    return FiringTokens(_by_token(evidence), _by_token(behind))


def _on_ngrams(result: MetricResult) -> Iterator[tuple[int, Shares]]:
    """The last tokens of n-grams, weighted by the activations that they predict."""
    for each in result.explanations.latents if result.explanations is not None else ():
        yield each.latent, _shares((ngram.texts[-1], ngram.value) for ngram in each.ngrams)


def _after_ngrams(result: MetricResult) -> Iterator[tuple[int, Shares]]:
    """The other tokens of n-grams; these are shares of n-grams, and may add up to more than one."""
    for each in result.explanations.latents if result.explanations is not None else ():
        total = sum(abs(ngram.value) for ngram in each.ngrams) or 1.0
        shares: dict[str, float] = defaultdict(float)
        for ngram in each.ngrams:
            for text in {text for text in ngram.texts[:-1] if text is not None}:
                shares[text] += abs(ngram.value) / total
        yield each.latent, shares


def _on_examples(result: MetricResult) -> Iterator[tuple[int, Shares]]:
    """The tokens of examples on which the latent fires."""
    texts: dict[int, list[tuple[str | None, float]]] = defaultdict(list)
    for example in result.examples:
        if example.kind != "predicted":
            texts[example.latent] += [(text, a) for text, a in zip(example.tokens, example.activations, strict=True) if a]
    for latent, found in texts.items():
        yield latent, _shares(found)


_ON: tuple[Callable[[MetricResult], Iterator[tuple[int, Shares]]], ...] = (_on_ngrams, _on_examples)
"""What tells where latents fire, each kind of evidence by itself."""
_AFTER: tuple[Callable[[MetricResult], Iterator[tuple[int, Shares]]], ...] = (_after_ngrams,)


def _shares(found: Iterable[tuple[str | None, float]]) -> Shares:
    """Adds up weights by text, over their sum; a wildcard is part of the sum, and no text."""
    weights: dict[str, float] = defaultdict(float)
    total = 0.0
    for text, weight in found:
        total += abs(weight)
        if text is not None:
            weights[text] += abs(weight)
    return {text: weight / total for text, weight in weights.items()} if total else {}


def _by_token(evidence: Iterable[Mapping[int, Shares]]) -> _Scores:
    """From shares by latent to latents by token: the mean of all that tell of a latent, and only what matters of it."""
    told: dict[int, list[Shares]] = defaultdict(list)
    for each in evidence:
        for latent, shares in each.items():
            if shares:
                told[latent].append(shares)
    found: _Scores = defaultdict(dict)
    for latent, several in told.items():
        for text, share in _largest(several):
            found[text][latent] = share
    return dict(found)


def _largest(several: Sequence[Shares]) -> Iterator[tuple[str, float]]:
    """The tokens with the largest mean shares."""
    mean: dict[str, float] = defaultdict(float)
    for shares in several:
        for text, share in shares.items():
            mean[text] += share / len(several)
    ranked = sorted(mean.items(), key=lambda each: (-each[1], each[0]))
    yield from ((text, share) for text, share in ranked[:_MOST] if share >= _LEAST)


def _like(words: Iterable[str], query: str) -> list[str]:
    """The words that a query means: that word, or those that are nearly the same, or those that it is a part of."""
    words = list(words)
    plain = query.strip().lower()
    ways: tuple[Callable[[str], bool], ...] = (
        lambda word: word == query,
        lambda word: bool(plain) and word.strip().lower() == plain,
        lambda word: bool(plain) and plain in word.lower(),
    )
    return next((found for way in ways if (found := [word for word in words if way(word)])), [])


def _summed(table: Mapping[str, Mapping[int, float]], words: Iterable[str]) -> Iterator[tuple[int, float]]:
    total: dict[int, float] = defaultdict(float)
    for word in words:
        for latent, share in table.get(word, {}).items():
            total[latent] += share
    yield from ((latent, min(1.0, share)) for latent, share in total.items())


def _in_turn(shares: Mapping[int, float]) -> list[int]:
    """Latents and their shares in percent."""
    return [number for latent in sorted(shares) for number in (latent, _percent(shares[latent]))]


def _percent(share: float) -> int:
    return max(1, min(_PERCENT, round(_PERCENT * share)))
