"""Predictions of all latents' n-gram explanations on a batch of tokens at once.

The patterns of all latents share ONE trie over reversed tokens, so that text which matches a prefix of many patterns is compared with it
once. A walk over this trie, level by level and with all positions at once, finds the nodes that the text before each position reaches;
only at nodes where patterns end do the latents come in. What then decides between the patterns of one latent at one position is either
their order ("strict") or whether the latent's own walk would have got there ("released"). Most matches come from one node of a position
and are copied as they stand in a list by node; only what the other nodes change in it is looked at pattern by pattern.

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
from sae_lens_metrics.functional.pattern_runs import Merger, NodePatterns, Runs, numbers
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
    candidates: int = 2**18
    """Matching patterns that are put in order at a time: as many as stay in a processor's cache."""
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

    No temporary tensor has more than about a million entries, unless a single position takes more, besides the text, the matches, and the
    runs that these are written from: two for each position, and two for each match at another node than a position's largest.

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
        shared = Trie(_codes(patterns, self._start), torch.ones_like(patterns.latent), self._start)
        self._shared = self._walker(shared)
        self._listed = NodePatterns(shared.end, len(shared))
        self._latents, self._values = (column[self._listed.pattern] for column in (patterns.latent, patterns.value))
        self._bits = (len(patterns) + 1).bit_length()
        if self._released:
            self._guards = Guards(tries, self._start)
            self._guarded = NodePatterns(shared.end, len(shared), self._guards.guarded)
        rival = torch.arange(len(patterns), device=self._device) if self._released else patterns.latent
        self._merger = Merger(self._listed, rival.to(torch.int32))

    def _walker(self, trie: Trie) -> Walker:
        return Walker(trie, self._start, self._limits.entries)

    def _own_tries(self, patterns: Patterns) -> Trie:
        return Trie(_codes(patterns, self._start), patterns.latent + 1, self._start)

    @cached_property
    def _own(self) -> tuple[Walker, NodePatterns]:
        """For walks in the latents' own tries."""
        return self._walker(self._tries), NodePatterns(self._tries.end, len(self._tries))

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
            walked = map_chunks(
                lambda *part: self._walk(text, *part), place.split(self._limits.positions), position.split(self._limits.positions)
            )
            groups = [group for part in walked for group in part]
            runs = list(map_chunks(lambda group: self._matching(text, group), groups))
            sizes = [int(part.size.sum()) for part in runs]
            matches = Matches(*(column.new_empty(sum(sizes)) for column in (position, self._latents, self._values)))
            for _ in map_chunks(self._write, runs, *(column.split(sizes) for column in matches)):
                pass
        return matches

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
        root = self._own[0].roots(latent.to(self._device))
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

    def _walk(self, text: Int[Tensor, "places"], place: Int[Tensor, "n"], position: Int[Tensor, "n"]) -> list["_Group"]:
        """What is reached from some places with these flat positions, in their order; they are halved until a walk is short enough."""
        hits = self._shared.walk(text, place, torch.ones_like(place), backtrack=True)
        if hits is None:
            half = (len(place) + 1) // 2
            halves = zip(place.split(half), position.split(half), strict=True)
            return [group for part in halves for group in self._walk(text, *part)]
        return [_Group(place, position, *hits) for hits in self._parts(hits, len(place))]

    def _parts(self, hits: Hits, n: int) -> list[Hits]:
        """Sorts what was reached at n places, the node with most patterns first, and cuts it so that a part has not too many patterns."""
        count = self._listed.count.index_select(0, hits.node).long()
        order = (hits.entry.long() * (len(self._patterns) + 1) - count).argsort()
        hits = Hits(*(column.index_select(0, order) for column in hits))
        load = torch.zeros(n, dtype=torch.long, device=self._device).index_add_(0, hits.entry, count.index_select(0, order))
        number = torch.arange(n, device=self._device)
        span = 2 ** (self._limits.key_bits - self._bits)
        part = (load.cumsum(0) - load) // self._limits.candidates * n + number // span
        size = part.unique_consecutive(return_counts=True)[1]
        cuts = torch.searchsorted(hits.entry, size.cumsum(0).to(torch.int32)).diff(prepend=size.new_zeros(1)).tolist()
        return [Hits(*columns) for columns in zip(hits.entry.split(cuts), hits.node.split(cuts), strict=True)]

    def _matching(self, text: Int[Tensor, "places"], group: "_Group") -> Runs:
        """For each latent at each place, its best pattern among those that end at the nodes reached."""
        first = torch.ones_like(group.entry, dtype=torch.bool)
        first[1:] = group.entry[1:] != group.entry[:-1]
        row = first.cumsum(0, dtype=torch.int32) - 1
        main, other = first.nonzero()[:, 0], (~first).nonzero()[:, 0]
        entry, node = group.entry.index_select(0, main), group.node.index_select(0, main)
        of, pattern = self._listed.at(group.node.index_select(0, other))
        row = row.index_select(0, other).index_select(0, of)
        if self._released:
            row, pattern = self._reached(text, group.place.index_select(0, entry), node, row, pattern)
        begin = torch.arange(len(node), dtype=torch.int32, device=self._device) << self._bits
        key = torch.cat([begin, (row << self._bits) + pattern + 1]).sort().values
        runs = self._merger.runs(node, key >> self._bits, (key & (2**self._bits - 1)) - 1)
        return runs._replace(row=group.position.index_select(0, entry).index_select(0, runs.row))

    def _reached(
        self,
        text: Int[Tensor, "places"],
        place: Int[Tensor, "rows"],
        node: Int[Tensor, "rows"],
        row: Int[Tensor, "n"],
        pattern: Int[Tensor, "n"],
    ) -> tuple[Int[Tensor, "changes"], Int[Tensor, "changes"]]:
        """The patterns beside a row's node that the latents' own walks reach, and those of its node that they do not."""
        of, guarded = self._guarded.at(node)
        beside = torch.arange(len(row) + len(of), device=self._device) < len(row)
        row, pattern = torch.cat([row, of]), torch.cat([pattern, guarded])
        changes = beside != self._guards.barred(pattern, place.index_select(0, row), text)
        changed = changes.nonzero()[:, 0]
        return row.index_select(0, changed), pattern.index_select(0, changed)

    def _write(self, runs: Runs, position: Int[Tensor, "n"], latent: Int[Tensor, "n"], value: Float[Tensor, "n"]) -> None:
        """Writes the matches of runs to where they belong."""
        of, place = numbers(runs.first, runs.size)
        torch.index_select(runs.row, 0, of, out=position)
        torch.index_select(self._latents, 0, place, out=latent)
        torch.index_select(self._values, 0, place, out=value)

    def _predict_pairs(self, text: Int[Tensor, "places"], place: Int[Tensor, "n"], root: Int[Tensor, "n"]) -> Float[Tensor, "n"]:
        """Predictions at some places, for the latents with these roots."""
        walker, listed = self._own
        hits = walker.walk(text, place, root, backtrack=not self._released)
        if hits is None:
            half = (len(place) + 1) // 2
            return torch.cat([self._predict_pairs(text, *part) for part in zip(place.split(half), root.split(half), strict=True)])
        of, pattern = listed.at(hits.node)
        none = torch.full_like(place, len(self._patterns), dtype=torch.long)
        best = none.scatter_reduce(0, hits.entry.index_select(0, of).long(), pattern.long(), "amin")
        return torch.nn.functional.pad(self._patterns.value, (0, 1)).index_select(0, best)


class _Group(NamedTuple):
    """What was reached from some of the entries of a walk, and where those are."""

    place: Int[Tensor, "n"]
    position: Int[Tensor, "n"]
    entry: Int[Tensor, "hits"]
    node: Int[Tensor, "hits"]


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
    most = wild.shape[1] + 2
    concrete = length - wild.sum(1) + patterns.at_start
    key = ((patterns.latent * most - length) * most - concrete) * 2 - patterns.at_start.long()
    order = torch.arange(len(patterns), device=wild.device)
    for each in (*(_as_number(columns) for columns in wild.split(62, dim=1)[::-1]), key):  # stable, so the last one counts most
        order = order[each[order].sort(stable=True).indices]
    return order


def _as_number(bits: Bool[Tensor, "n width"]) -> Int[Tensor, "n"]:
    """Rows of bits as numbers, the first bit counting most."""
    number = torch.zeros(len(bits), dtype=torch.long, device=bits.device)
    for column in bits.unbind(1):
        number = number * 2 + column
    return number


def _check_lengths(patterns: Patterns) -> None:
    if bool((patterns.length == 0).any()):
        raise ValueError("a pattern without tokens matches nothing: give each at least one")
