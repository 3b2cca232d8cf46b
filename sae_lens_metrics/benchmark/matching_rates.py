"""Matching all latents' n-gram explanations on text: the package, and a walk in each latent's own trie."""

import random
from typing import Any

import torch

from sae_lens_metrics.benchmark.rate import Rate, Work
from sae_lens_metrics.benchmark.synthetic import Bench, zipf_tokens
from sae_lens_metrics.benchmark.timing import seconds_of
from sae_lens_metrics.functional.matching import Matcher
from sae_lens_metrics.functional.ngrams import NGram, Patterns

__all__ = ["cut_ngrams", "matching_rate", "walked"]

_LATENTS = 4_096
_PATTERNS, _LONGEST = 16, 8
_WALKED_LATENTS, _WALKED_TOKENS = 64, 512
_VALUE = "value"
_BYTES = 20
"""Of a match: its position, its latent, its value."""


def matching_rate(bench: Bench) -> Rate:
    """Pairs of a latent and a token that are decided per second."""
    latents = min(_LATENTS, bench.shape.d_sae)
    tokens = bench.tokens(32 if bench.is_cpu else 512, seed=1)
    ngrams = cut_ngrams(latents, bench.shape.vocabulary)
    matcher = Matcher(Patterns.from_ngrams(ngrams).to(bench.device), variant="released")
    special = torch.zeros_like(tokens, dtype=torch.bool)
    seconds = seconds_of(lambda: matcher.match(tokens, special), bench.device, at_least=bench.seconds)
    found = len(matcher.match(tokens, special).value)
    tries = [trie_of(ngrams[latent]) for latent in range(min(_WALKED_LATENTS, latents))]
    text = tokens.flatten()[:_WALKED_TOKENS].tolist()
    slow = seconds_of(lambda: [walked(trie, text) for trie in tries], torch.device("cpu"), at_least=0)
    pairs = latents * tokens.numel()
    work = Work((_BYTES * found + tokens.nbytes) / pairs, "memory bandwidth")
    what, unit = "matching", "latents x tokens"
    return Rate("matching", what, unit, pairs / seconds, work, "walks in tries", len(tries) * len(text) / slow)


def cut_ngrams(latents: int, vocabulary: int, *, seed: int = 0) -> dict[int, list[NGram]]:
    """Explanations as real ones are: several n-grams that end on a few tokens, a third of the others wildcards.

    Args:
        latents: How many to explain.
        vocabulary: Tokens that there are.
        seed: Of the draw.
    """
    draw, text = random.Random(seed), zipf_tokens((2**16,), vocabulary, seed).tolist()
    return {latent: _of_latent(draw, text) for latent in range(latents)}


def _of_latent(draw: random.Random, text: list[int]) -> list[NGram]:
    ends = draw.choices(text, k=4)
    spelt: dict[tuple[int | None, ...], None] = {}
    for _ in range(_PATTERNS):
        before, start = draw.choice((0, 0, 1, 1, 2, _LONGEST - 1)), draw.randrange(len(text) - _LONGEST)
        first = [text[start]] if before else []
        inner = [None if draw.random() < 1 / 3 else token for token in text[start + 1 : start + before]]
        spelt[(*first, *inner, draw.choice(ends))] = None
    return [NGram(tokens, False, 1.0) for tokens in spelt]


def trie_of(ngrams: list[NGram]) -> dict[Any, Any]:
    """Nested dictionaries by token from the last one back, ``None`` for any token; ``"value"`` is what ends there."""
    root: dict[Any, Any] = {}
    for ngram in ngrams:
        node = root
        for token in reversed(ngram.tokens):
            node = node.setdefault(token, {})
        node[_VALUE] = ngram.value
    return root


def walked(trie: dict[Any, Any], text: list[int]) -> list[float]:
    """What one latent's explanation predicts at each token of a document, 0 for nothing, as the released code walks.

    Args:
        trie: What ``trie_of`` makes of it.
        text: The document.
    """
    return [_walk(trie, text, i) for i in range(len(text))]


def _walk(node: dict[Any, Any], text: list[int], i: int) -> float:
    while i >= 0:
        child = node.get(text[i], node.get(None))
        if child is None:
            return 0.0
        if _VALUE in child:
            return child[_VALUE]
        node, i = child, i - 1
    return 0.0
