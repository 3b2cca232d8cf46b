"""Walks down tries of patterns along the text before many positions at once, level by level."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sae_lens_metrics.functional.pattern_tries import Edges, Trie

__all__ = ["Candidates", "Guards", "Hits", "Walker"]


class Hits(NamedTuple):
    """Nodes with patterns that were reached, int32, and which of the entries of the walk reached them."""

    entry: Int[Tensor, "hits"]
    node: Int[Tensor, "hits"]


class Candidates(NamedTuple):
    """Patterns that match, int32, and at which entry."""

    entry: Int[Tensor, "candidates"]
    pattern: Int[Tensor, "candidates"]


class Walker:
    """Walks down tries along the text before a position.

    Args:
        trie: The tries, from reversed patterns.
        start: The start mark, the largest token there is.
        entries: How many a walk may have at a time before it is given up as too long, unless it starts at a single place.
    """

    def __init__(self, trie: Trie, start: int, entries: int) -> None:
        self._start, self._most_entries = start, entries
        self._depth, self._roots = trie.depth, trie.roots
        self.count = torch.bincount(trie.end, minlength=len(trie))
        """How many patterns end at each node."""
        self._first = self.count.cumsum(0) - self.count
        self._members = trie.end.argsort(stable=True).to(torch.int32)
        self._holds = self.count > 0
        self._inner = trie.marked(trie.parent[trie.roots + 1 :])
        self._edges = Edges(trie, trie.concrete, start)
        self._wild = torch.zeros(len(trie), dtype=torch.int32, device=trie.end.device)
        self._wild[trie.parent[trie.wild]] = trie.wild.to(torch.int32)

    def roots(self, latent: Int[Tensor, "n"]) -> Int[Tensor, "n"]:
        """The roots of some latents' own tries, int32; no node for a latent without patterns."""
        return torch.where(latent < self._roots, latent + 1, 0).to(torch.int32)

    def patterns_at(self, hits: Hits) -> Candidates:
        """All patterns that end at the nodes reached."""
        count = self.count.index_select(0, hits.node)
        before = count.cumsum(0) - count
        hit = torch.repeat_interleave(count)
        member = (self._first.index_select(0, hits.node) - before).index_select(0, hit)
        member += torch.arange(len(member), device=member.device)
        return Candidates(hits.entry.index_select(0, hit), self._members.index_select(0, member))

    def walk(self, text: Int[Tensor, "places"], place: Int[Tensor, "n"], root: Int[Tensor, "n"], *, backtrack: bool) -> Hits | None:
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
        found, size = [Hits(entry[:0], node[:0])], 0
        for depth in range(self._depth):
            token = text.index_select(0, place.index_select(0, entry) - depth)
            entry, node = entry.repeat(2), self._step(node, token, backtrack)
            found.append(_where(self._holds, entry, node))
            entry, node = _where(self._inner, entry, node)
            size += len(found[-1].entry)
            if len(place) > 1 and size + 2 * len(entry) > self._most_entries:
                return None
            if not len(entry):
                break
        return Hits(*(torch.cat(column) for column in zip(*found, strict=True)))

    def _step(self, node: Int[Tensor, "m"], token: Int[Tensor, "m"], backtrack: bool) -> Int[Tensor, "2m"]:
        """The nodes under the tokens, then those under the wildcards; no node where there is no such branch."""
        exact = self._edges.find(node, token)
        barred = token == self._start  # which no wildcard stands for
        if not backtrack:
            barred |= exact > 0
        return torch.cat([exact, self._wild.index_select(0, node).masked_fill_(barred, 0)])


class Guards:
    """What keeps a walk without backtracking from a pattern: a token's own branch beside one of the pattern's wildcards.

    Args:
        tries: The latents' own tries.
        start: The largest token there is.
    """

    def __init__(self, tries: Trie, start: int) -> None:
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
        self._edges = Edges(tries, tries.concrete[beside_wildcard], start)

    def barred(self, candidates: Candidates, text: Int[Tensor, "places"], place: Int[Tensor, "n"]) -> Int[Tensor, "barred"]:
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


def _where(mask: Bool[Tensor, "nodes"], entry: Int[Tensor, "m"], node: Int[Tensor, "m"]) -> Hits:
    """The entries at the nodes that a mask selects."""
    kept = mask.index_select(0, node).nonzero()[:, 0]
    return Hits(entry.index_select(0, kept), node.index_select(0, kept))
