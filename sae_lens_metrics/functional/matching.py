"""Predictions of all latents' n-gram explanations on a batch of tokens at once.

The patterns of all latents share ONE trie over reversed tokens, so that text which matches a prefix of many patterns is compared with it
once. A walk over this trie, level by level and with all positions at once, finds the nodes that the text before each position reaches;
only at nodes where patterns end do the latents come in. What then decides between the patterns of one latent at one position is either
their order ("strict") or whether the latent's own walk would have got there ("released").

The start of a document is a token of its own: it stands in the text before every document, where special tokens were, and at the end of
the reversed patterns that ask for it.
"""

from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_lens_metrics.functional.ngrams import ABSENT, WILDCARD, Patterns, Variant
from sae_lens_metrics.functional.threads import chunk_threads

__all__ = ["Matcher", "Matches"]

_POSITIONS = 2**14  # of one walk: so many that its steps cost more than starting them, so few that the threads share a usual batch
_PAIRS = 2**16  # of one walk in `predict`
_ENTRIES = 2**20  # that a walk may have at a time
_CANDIDATES = 2**17  # that are sorted at a time: as many as stay in a processor's cache
_KEY_BITS = 31  # of a position and a pattern in one int32, which sorts twice as fast as an int64


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

    Raises:
        ValueError: If two patterns are the same, or one has no tokens.
    """

    def __init__(self, patterns: Patterns, *, variant: Variant) -> None:
        _check_lengths(patterns)
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
        self._guards = _Guards(tries, self._start) if self._released else None
        self._shared = _Walker(_Trie(_codes(patterns, self._start), torch.ones_like(patterns.latent)), self._start)
        self._bits = len(patterns).bit_length()
        self._values = torch.cat([patterns.value, patterns.value.new_zeros(1)])

    def _own_tries(self, patterns: Patterns) -> "_Trie":
        return _Trie(_codes(patterns, self._start), patterns.latent + 1)

    @cached_property
    def _own(self) -> "_Walker":
        """For walks in the latents' own tries."""
        return _Walker(self._tries, self._start)

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
            chunks = list(map_chunks(lambda *part: self._match_places(text, *part), place.split(_POSITIONS), position.split(_POSITIONS)))
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
            chunks = list(map_chunks(lambda *part: self._predict_pairs(text, *part), place.split(_PAIRS), root.split(_PAIRS)))
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

    def _groups(self, hits: "_Hits", n: int) -> "list[_Hits]":
        """Cuts what was reached at n places between two places, so that the patterns of a group are not too many."""
        by_entry = hits.entry.sort()
        hits = _Hits(by_entry.values, hits.node.index_select(0, by_entry.indices))
        load = torch.zeros(n, dtype=torch.long, device=self._device).index_add_(
            0, hits.entry, self._shared.count.index_select(0, hits.node)
        )
        number = torch.arange(n, device=self._device)
        span = 2 ** (_KEY_BITS - self._bits)
        group = (load.cumsum(0) - load) // _CANDIDATES * n + number // span
        size = group.unique_consecutive(return_counts=True)[1]
        cuts = torch.searchsorted(hits.entry, size.cumsum(0).to(torch.int32)).diff(prepend=size.new_zeros(1)).tolist()
        return [_Hits(*columns) for columns in zip(hits.entry.split(cuts), hits.node.split(cuts), strict=True)]

    def _best_matches(self, text: Int[Tensor, "places"], place: Int[Tensor, "n"], position: Int[Tensor, "n"], hits: "_Hits") -> Matches:
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


class _Hits(NamedTuple):
    """Nodes with patterns that were reached, int32, and which of the entries of the walk reached them."""

    entry: Int[Tensor, "hits"]
    node: Int[Tensor, "hits"]


class _Candidates(NamedTuple):
    """Patterns that match, int32, and at which entry."""

    entry: Int[Tensor, "candidates"]
    pattern: Int[Tensor, "candidates"]


class _Trie:
    """Tries over reversed patterns, their nodes numbered level by level: 0 is no node, then come the roots.

    Args:
        codes: Reversed patterns, the start mark among their tokens.
        root: The root that each pattern hangs from, 1 or more.
    """

    def __init__(self, codes: Int[Tensor, "patterns longest"], root: Int[Tensor, "patterns"]) -> None:
        self.depth = codes.shape[1]
        self.length = (codes != ABSENT).sum(1)
        self.roots = int(root.max()) if len(root) else 1
        tokens = int(codes.max()) + 2 if codes.numel() else 1
        self.end = root.clone()
        """The node where each pattern ends."""
        parents, labels = [root.new_zeros(self.roots + 1)], [root.new_full((self.roots + 1,), ABSENT)]
        nodes = self.roots + 1
        for level in codes.unbind(1):
            row = (level != ABSENT).nonzero()[:, 0]
            step, child = torch.unique(self.end[row] * tokens + level[row] + 1, return_inverse=True)  # 1 makes room for the wildcard
            self.end[row] = nodes + child
            nodes += len(step)
            parents.append(step // tokens)
            labels.append(step % tokens - 1)
        self.parent = torch.cat(parents)
        """The node above each node."""
        self.token = torch.cat(labels)
        """The token, or wildcard, between the two."""
        self.concrete = (self.token >= 0).nonzero()[:, 0]
        """The nodes under a token."""
        self.wild = (self.token == WILDCARD).nonzero()[:, 0]
        """The nodes under a wildcard."""

    def __len__(self) -> int:
        return len(self.parent)

    def marked(self, nodes: Int[Tensor, "n"]) -> Bool[Tensor, "nodes"]:
        """Whether each node is among some."""
        return torch.zeros(len(self), dtype=torch.bool, device=nodes.device).index_fill_(0, nodes, True)

    def climb(self) -> "Iterator[Int[Tensor, 'patterns']]":
        """The node of each pattern at its end, one above, and so on; no node above the root."""
        node = self.end
        for _ in range(self.depth + 1):
            yield node
            node = self.parent[node]

    def is_shadowed(self) -> Bool[Tensor, "patterns"]:
        """Which patterns a walk that stops at the first value can never reach."""
        holds = self.marked(self.end)
        shadowed = torch.zeros_like(self.end, dtype=torch.bool)
        for node in islice(self.climb(), 1, None):
            shadowed |= holds[node]
        return shadowed


class _Walker:
    """Walks down tries along the text before a position."""

    def __init__(self, trie: _Trie, start: int) -> None:
        self._start = start
        self._depth, self._roots = trie.depth, trie.roots
        self.count = torch.bincount(trie.end, minlength=len(trie))
        """How many patterns end at each node."""
        self._first = self.count.cumsum(0) - self.count
        self._members = trie.end.argsort(stable=True).to(torch.int32)
        self._holds = self.count > 0
        self._inner = trie.marked(trie.parent[trie.roots + 1 :])
        self._edges = _Edges(trie, trie.concrete, start)
        self._wild = torch.zeros(len(trie), dtype=torch.int32, device=trie.end.device)
        self._wild[trie.parent[trie.wild]] = trie.wild.to(torch.int32)

    def roots(self, latent: Int[Tensor, "n"]) -> Int[Tensor, "n"]:
        """The roots of some latents' own tries, int32; no node for a latent without patterns."""
        return torch.where(latent < self._roots, latent + 1, 0).to(torch.int32)

    def patterns_at(self, hits: _Hits) -> _Candidates:
        """All patterns that end at the nodes reached."""
        count = self.count.index_select(0, hits.node)
        before = count.cumsum(0) - count
        hit = torch.repeat_interleave(count)
        member = (self._first.index_select(0, hits.node) - before).index_select(0, hit)
        member += torch.arange(len(member), device=member.device)
        return _Candidates(hits.entry.index_select(0, hit), self._members.index_select(0, member))

    def walk(self, text: Int[Tensor, "places"], place: Int[Tensor, "n"], root: Int[Tensor, "n"], *, backtrack: bool) -> "_Hits | None":
        """Walks backwards from some places in the text.

        Args:
            text: Tokens and start marks, int32.
            place: Where the walks begin, int32.
            root: At which root each walk begins, int32.
            backtrack: Whether to follow the wildcard besides the token's own branch, not only in its absence.

        Returns:
            The nodes with patterns that were reached, or None where they are too many and there is more than one walk.
        """
        entry, node = torch.arange(len(place), dtype=torch.int32, device=place.device), root
        found, size = [_Hits(entry[:0], node[:0])], 0
        for depth in range(self._depth):
            token = text.index_select(0, place.index_select(0, entry) - depth)
            entry, node = entry.repeat(2), self._step(node, token, backtrack)
            found.append(_where(self._holds, entry, node))
            entry, node = _where(self._inner, entry, node)
            size += len(found[-1].entry)
            if len(place) > 1 and size + 2 * len(entry) > _ENTRIES:
                return None
            if not len(entry):
                break
        return _Hits(*(torch.cat(column) for column in zip(*found, strict=True)))

    def _step(self, node: Int[Tensor, "m"], token: Int[Tensor, "m"], backtrack: bool) -> Int[Tensor, "2m"]:
        """The nodes under the tokens, then those under the wildcards; no node where there is no such branch."""
        exact = self._edges.find(node, token)
        barred = token == self._start  # which no wildcard stands for
        if not backtrack:
            barred |= exact > 0
        return torch.cat([exact, self._wild.index_select(0, node).masked_fill_(barred, 0)])


class _Edges:
    """A map from a node and a token to the node under it: a hash table with linear probing.

    Sorted by the slots that their hashes point at, keys take the first free slot from there on; a running maximum says which one that is.

    Args:
        trie: Holds the nodes.
        child: The nodes under tokens to put into the map.
        start: The largest token there is.
    """

    def __init__(self, trie: _Trie, child: Int[Tensor, "edges"], start: int) -> None:
        self._tokens = start + 1
        self._bits = len(child).bit_length() + 2  # at least four slots for each key: most searches end at the first
        key = self._key(trie.parent[child], trie.token[child])
        wanted, order = self._slot(key).sort()
        number = torch.arange(len(key), device=key.device)
        slot = number + ((wanted - number).cummax(0).values if len(key) else 0)
        slots = 2**self._bits + len(key) + 1  # keys may move beyond the last hash; a free slot ends every search
        self._keys = torch.full((slots,), -1, device=key.device).index_copy_(0, slot, key[order])
        self._children = torch.zeros(slots, dtype=torch.int32, device=key.device)
        self._children[slot] = child[order].to(torch.int32)

    def find(self, node: Int[Tensor, "m"], token: Int[Tensor, "m"]) -> Int[Tensor, "m"]:
        """The nodes under the tokens, int32; no node where the map has none."""
        key = self._key(node, token)
        slot = self._slot(key)
        child, searching = self._probe(key, slot)
        query = searching
        while len(searching):
            key, slot = key.index_select(0, searching), slot.index_select(0, searching) + 1
            found, searching = self._probe(key, slot)
            child.index_copy_(0, query, found)
            query = query.index_select(0, searching)
        return child

    def _probe(self, key: Int[Tensor, "m"], slot: Int[Tensor, "m"]) -> tuple[Int[Tensor, "m"], Int[Tensor, "open"]]:
        """What the slots hold for the keys, and which keys may be in a later slot."""
        there = self._keys.index_select(0, slot)
        missed = there != key
        child = self._children.index_select(0, slot).masked_fill_(missed, 0)
        return child, (missed & (there >= 0)).nonzero()[:, 0]

    def _key(self, node: Int[Tensor, "m"], token: Int[Tensor, "m"]) -> Int[Tensor, "m"]:
        return node.long() * self._tokens + token

    def _slot(self, key: Int[Tensor, "m"]) -> Int[Tensor, "m"]:
        """The upper bits of a product with an odd number, the best mixed ones."""
        return ((key * 0x1E3779B97F4A7C15) >> (64 - self._bits)) & (2**self._bits - 1)


class _Guards:
    """What keeps a walk without backtracking from a pattern: a token's own branch beside one of the pattern's wildcards.

    Args:
        tries: The latents' own tries.
        start: The largest token there is.
    """

    def __init__(self, tries: _Trie, start: int) -> None:
        guarded = tries.marked(tries.wild) & tries.marked(tries.parent[tries.concrete])[tries.parent]
        rows, nodes, depths = [], [], []
        for above, node in enumerate(tries.climb()):
            row = guarded[node].nonzero()[:, 0]
            rows.append(row)
            nodes.append(tries.parent[node[row]])
            depths.append(tries.length[row] - above - 1)
        row, order = torch.cat(rows).sort(stable=True)
        self._node = torch.cat(nodes)[order].to(torch.int32)
        self._depth = torch.cat(depths)[order].to(torch.int32)
        self._count = torch.bincount(row, minlength=len(tries.end))
        self._stop = self._count.cumsum(0)
        self._any = self._count > 0
        beside_wildcard = tries.marked(tries.parent[tries.wild])[tries.parent[tries.concrete]]
        self._edges = _Edges(tries, tries.concrete[beside_wildcard], start)

    def barred(self, candidates: _Candidates, text: Int[Tensor, "places"], place: Int[Tensor, "n"]) -> Int[Tensor, "barred"]:
        """Which of some matching patterns the latents' own walks do not reach.

        Args:
            candidates: The patterns, and at which entries of `place` they match.
            text: Tokens and start marks.
            place: Where walks begin.
        """
        checked = self._any.index_select(0, candidates.pattern).nonzero()[:, 0]
        pattern = candidates.pattern.index_select(0, checked)
        begin = place.index_select(0, candidates.entry.index_select(0, checked))
        stop = self._stop.index_select(0, pattern)
        guard = stop - self._count.index_select(0, pattern)
        barred = [checked[:0]]
        while len(checked):
            token = text.index_select(0, begin - self._depth.index_select(0, guard))
            stopped = self._edges.find(self._node.index_select(0, guard), token) > 0
            barred.append(checked[stopped])
            guard += 1
            going_on = (~stopped & (guard < stop)).nonzero()[:, 0]
            checked, begin, stop, guard = (column.index_select(0, going_on) for column in (checked, begin, stop, guard))
        return torch.cat(barred)


def _where(mask: Bool[Tensor, "nodes"], entry: Int[Tensor, "m"], node: Int[Tensor, "m"]) -> _Hits:
    """The entries at the nodes that a mask selects."""
    kept = mask.index_select(0, node).nonzero()[:, 0]
    return _Hits(entry.index_select(0, kept), node.index_select(0, kept))


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
