"""Predictions of all latents' n-gram explanations on a batch of tokens at once.

The patterns of all latents share ONE trie over reversed tokens, so that text which matches a prefix of many patterns is compared with it
once. A walk over this trie, level by level and with all positions at once, finds the nodes that the text before each position reaches;
only at nodes where patterns end do the latents come in. What then decides between the patterns of one latent at one position is either
their order ("strict") or whether the latent's own walk would have got there ("released").

The start of a document is a token of its own: it stands in the text before every document, where special tokens were, and at the end of
the reversed patterns that ask for it.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_lens_metrics.functional.ngrams import ABSENT, WILDCARD, Patterns, Variant
from sae_lens_metrics.functional.pattern_tries import Trie
from sae_lens_metrics.functional.threads import chunk_threads
from sae_lens_metrics.functional.trie_walks import Guards, Hits, Walker

__all__ = ["MatchLimits", "Matcher", "Matches"]


@dataclass(frozen=True)
class MatchLimits:
    """How much is worked on at a time. They bound memory; the matches do not depend on them."""

    positions: int = 2**14
    """Of one walk in `Matcher.match`: so many that its steps cost more than starting them, so few that threads share a usual batch."""
    pairs: int = 2**16
    """Positions with a latent, of one walk in `Matcher.predict`."""
    entries: int = 2**20
    """That a walk may have at a time."""
    candidates: int = 2**17
    """Matching patterns that are sorted at a time: as many as stay in a processor's cache."""
    key_bits: int = 31
    """Of a position and a pattern in one int32, which sorts twice as fast as an int64."""


class Matches(NamedTuple):
    """Where which latents are predicted to fire, sorted by position, then latent; at most one entry for each such pair."""

    position: Int[Tensor, "matches"]
    """Flat index of a token, sequence * pos + column."""
    latent: Int[Tensor, "matches"]
    """The latent."""
    value: Float[Tensor, "matches"]
    """Its predicted activation."""


class Matcher:
    """Patterns of many latents, prepared for matching.

    A pattern matches at a token if it matches the text that ends there: a wildcard stands for any one token, nothing is predicted at
    special tokens, and no context crosses one, so that a document begins with a sequence or after a special token.

    With the variant "released", a latent's patterns form a trie over reversed tokens that is walked backwards from each position: along
    the branch of the token if there is one, else along the wildcard, without going back on it. The first node with a value decides. Where
    the document is used up before, the start mark's value counts.

    With the variant "strict", the best of all matching patterns decides: the longest; then the one that specifies more (concrete tokens
    and the start of the document); then one that asks for the start; then the one with a concrete token, where the other has a wildcard,
    closest to the end.

    No temporary tensor has more than about a million entries, unless a single position takes more, besides the text and the matches.

    Args:
        patterns: The patterns of all latents, unique by latent, tokens and ``at_start``. Matching happens on their device.
        variant: How the patterns of a latent compete.
        limits: How much is worked on at a time.

    Raises:
        ValueError: If two patterns are the same, or one has no tokens.
    """

    def __init__(self, patterns: Patterns, *, variant: Variant, limits: MatchLimits | None = None) -> None:
        _check_lengths(patterns)
        self._limits = limits or MatchLimits()
        self._released = variant == "released"
        self._device = patterns.latent.device
        self._start = int(patterns.tokens.max()) + 2 if patterns.tokens.numel() else 1  # leaves a code for the tokens of no pattern
        patterns = _take(patterns, _best_first(patterns))
        tries = self._own_tries(patterns)
        if len(tries.end.unique()) < len(patterns):
            raise ValueError("two patterns of a latent have the same tokens and the same at_start: keep one of them")
        if self._released:
            patterns = _take(patterns, (~tries.is_shadowed()).nonzero()[:, 0])
            tries = self._own_tries(patterns)
        self._patterns = patterns
        self._tries = tries
        self._guards = Guards(tries, self._start) if self._released else None
        self._shared = self._walker(Trie(_codes(patterns, self._start), torch.ones_like(patterns.latent)))
        self._bits = len(patterns).bit_length()
        self._values = torch.cat([patterns.value, patterns.value.new_zeros(1)])

    def _walker(self, trie: Trie) -> Walker:
        return Walker(trie, self._start, self._limits.entries)

    def _own_tries(self, patterns: Patterns) -> Trie:
        return Trie(_codes(patterns, self._start), patterns.latent + 1)

    @cached_property
    def _own(self) -> Walker:
        """For walks in the latents' own tries."""
        return self._walker(self._tries)

    def match(self, tokens: Int[Tensor, "sequences pos"], special: Bool[Tensor, "sequences pos"]) -> Matches:
        """All latents' predictions at all positions.

        Args:
            tokens: Token ids.
            special: Which of them are special: BOS, separators, EOS.

        Returns:
            The predictions, where a pattern matches.
        """
        text = self._text(tokens, special)
        position = (~special).flatten().nonzero()[:, 0].to(self._device)
        place = _places(position, tokens.shape[1])
        with chunk_threads(self._device) as map_chunks:
            chunks = list(
                map_chunks(
                    lambda *part: self._match_places(text, *part),
                    place.split(self._limits.positions),
                    position.split(self._limits.positions),
                )
            )
        nothing = Matches(position[:0], self._patterns.latent[:0], self._values[:0])
        parts = [nothing, *(part for chunk in chunks for part in chunk)]
        return Matches(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def predict(
        self,
        tokens: Int[Tensor, "sequences pos"],
        special: Bool[Tensor, "sequences pos"],
        position: Int[Tensor, "n"],
        latent: Int[Tensor, "n"],
    ) -> Float[Tensor, "n"]:
        """Some latents' predictions at some positions; what `match` says about them, without looking at other latents.

        Args:
            tokens: Token ids.
            special: Which of them are special.
            position: Flat indices of tokens, sequence * pos + column.
            latent: The latent whose prediction is wanted at each of them. One without patterns predicts 0.

        Returns:
            The predictions, 0 where no pattern matches.
        """
        text = self._text(tokens, special)
        place = _places(position.to(self._device), tokens.shape[1])
        root = self._own.roots(latent.to(self._device))
        with chunk_threads(self._device) as map_chunks:
            chunks = list(
                map_chunks(lambda *part: self._predict_pairs(text, *part), place.split(self._limits.pairs), root.split(self._limits.pairs))
            )
        return torch.cat(chunks)

    def _text(self, tokens: Int[Tensor, "sequences pos"], special: Bool[Tensor, "sequences pos"]) -> Int[Tensor, "places"]:
        """The tokens in a row, int32, with a start mark before each sequence and for each special token."""
        tokens, special = tokens.to(self._device), special.to(self._device)
        unknown = self._start - 1
        known = torch.where((tokens < 0) | (tokens > unknown), unknown, tokens).masked_fill(special, self._start)
        return torch.nn.functional.pad(known.to(torch.int32), (1, 0), value=self._start).flatten()

    def _match_places(self, text: Int[Tensor, "places"], place: Int[Tensor, "n"], position: Int[Tensor, "n"]) -> list[Matches]:
        """The matches at some places and their flat positions, in their order; places are halved until a walk is short enough."""
        hits = self._shared.walk(text, place, torch.ones_like(place), backtrack=True)
        if hits is None:
            half = (len(place) + 1) // 2
            halves = zip(place.split(half), position.split(half), strict=True)
            return [matches for part in halves for matches in self._match_places(text, *part)]
        return [self._best_matches(text, place, position, group) for group in self._groups(hits, len(place))]

    def _groups(self, hits: Hits, n: int) -> list[Hits]:
        """Cuts what was reached at n places between two places, so that the patterns of a group are not too many."""
        by_entry = hits.entry.sort()
        hits = Hits(by_entry.values, hits.node.index_select(0, by_entry.indices))
        load = torch.zeros(n, dtype=torch.long, device=self._device).index_add_(
            0, hits.entry, self._shared.count.index_select(0, hits.node)
        )
        number = torch.arange(n, device=self._device)
        span = 2 ** (self._limits.key_bits - self._bits)
        group = (load.cumsum(0) - load) // self._limits.candidates * n + number // span
        size = group.unique_consecutive(return_counts=True)[1]
        cuts = torch.searchsorted(hits.entry, size.cumsum(0).to(torch.int32)).diff(prepend=size.new_zeros(1)).tolist()
        return [Hits(*columns) for columns in zip(hits.entry.split(cuts), hits.node.split(cuts), strict=True)]

    def _best_matches(self, text: Int[Tensor, "places"], place: Int[Tensor, "n"], position: Int[Tensor, "n"], hits: Hits) -> Matches:
        """For each latent at each place, its best pattern among those that end at the nodes reached."""
        candidates = self._shared.patterns_at(hits)
        base = hits.entry[:1]
        key = ((candidates.entry - base) << self._bits) | candidates.pattern
        if self._guards is None:
            key = self._first_of_latent(key.sort().values)
        else:
            barred = self._guards.barred(candidates, text, place)
            key = key.index_fill_(0, barred, torch.iinfo(key.dtype).max).sort().values[: len(key) - len(barred)]
        pattern = key & (2**self._bits - 1)
        return Matches(
            position.index_select(0, (key >> self._bits) + base),
            self._patterns.latent.index_select(0, pattern),
            self._values.index_select(0, pattern),
        )

    def _first_of_latent(self, key: Int[Tensor, "m"]) -> Int[Tensor, "first"]:
        """The first of each run of keys with the same place and latent."""
        latent = self._patterns.latent.index_select(0, key & (2**self._bits - 1))
        place = key >> self._bits
        starts = torch.ones_like(key, dtype=torch.bool)
        starts[1:] = (place[1:] != place[:-1]) | (latent[1:] != latent[:-1])
        return key.index_select(0, starts.nonzero()[:, 0])

    def _predict_pairs(self, text: Int[Tensor, "places"], place: Int[Tensor, "n"], root: Int[Tensor, "n"]) -> Float[Tensor, "n"]:
        """Predictions at some places, for the latents with these roots."""
        hits = self._own.walk(text, place, root, backtrack=not self._released)
        if hits is None:
            half = (len(place) + 1) // 2
            return torch.cat([self._predict_pairs(text, *part) for part in zip(place.split(half), root.split(half), strict=True)])
        entry, pattern = self._own.patterns_at(hits)
        none = torch.full_like(place, len(self._patterns), dtype=torch.long)
        best = none.scatter_reduce(0, entry.long(), pattern.long(), "amin")
        return self._values.index_select(0, best)


def _places(position: Int[Tensor, "n"], pos: int) -> Int[Tensor, "n"]:
    """Where tokens stand in the text, int32: after a start mark for their sequence and each one before."""
    return (position + position // max(pos, 1) + 1).to(torch.int32)


def _codes(patterns: Patterns, start: int) -> Int[Tensor, "patterns longest+1"]:
    """Reversed patterns that end with the start mark where they ask for the start."""
    codes = torch.nn.functional.pad(patterns.tokens, (0, 1), value=ABSENT)
    row = patterns.at_start.nonzero()[:, 0]
    codes[row, patterns.length[row]] = start
    return codes


def _take(patterns: Patterns, rows: Int[Tensor, "rows"]) -> Patterns:
    return Patterns(patterns.latent[rows], patterns.tokens[rows], patterns.at_start[rows], patterns.value[rows])


def _best_first(patterns: Patterns) -> Int[Tensor, "patterns"]:
    """The order by latent; within a latent, a pattern comes before those that it is preferred to where both match."""
    wild = patterns.tokens == WILDCARD
    length = patterns.length
    concrete = length - wild.sum(1) + patterns.at_start
    order = torch.arange(len(patterns), device=wild.device)
    for key in (*wild.unbind(1)[::-1], ~patterns.at_start, -concrete, -length, patterns.latent):  # stable, so the last one counts most
        order = order[key[order].to(torch.long).sort(stable=True).indices]
    return order


def _check_lengths(patterns: Patterns) -> None:
    if bool((patterns.length == 0).any()):
        raise ValueError("a pattern without tokens matches nothing: give each at least one")
