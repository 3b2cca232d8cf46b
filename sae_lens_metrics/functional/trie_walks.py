"""Walks down tries of patterns along the text before many positions at once, level by level."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sae_lens_metrics.functional.pattern_tries import Branches, Trie

__all__ = ["Guards", "Hits", "Walker"]


class Hits(NamedTuple):
    """Nodes with patterns that were reached, int32, and which of the entries of the walk reached them."""

    entry: Int[Tensor, "hits"]
    node: Int[Tensor, "hits"]


class Walker:
    """Walks down tries along the text before a position.

    Args:
        trie: The tries, from reversed patterns.
        start: The start mark, which no wildcard stands for.
        entries: How many a walk may have at a time before it is given up as too long, unless it starts at a single place.
    """

    def __init__(self, trie: Trie, start: int, entries: int) -> None:
        self._start, self._most_entries = start, entries
        self._depth, self._roots = trie.depth, trie.roots
        self._holds = trie.marked(trie.end)
        self._inner = trie.marked(trie.parent[trie.roots + 1 :])
        self._exact = trie.concrete.to(torch.int32)
        self._branches = Branches(trie.parent[trie.concrete], trie.token[trie.concrete], len(trie), start)
        self._wild = torch.zeros(len(trie), dtype=torch.int32, device=trie.end.device)
        self._wild[trie.parent[trie.wild]] = trie.wild.to(torch.int32)

    def roots(self, latent: Int[Tensor, "n"]) -> Int[Tensor, "n"]:
        """The roots of some latents' own tries, int32; no node for a latent without patterns."""
        return torch.where(latent < self._roots, latent + 1, 0).to(torch.int32)

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
        open_walks = Hits(torch.arange(len(place), dtype=torch.int32, device=place.device), root)
        found, size = [Hits(*(column[:0] for column in open_walks))], 0
        for depth in range(self._depth):
            token = text.index_select(0, place.index_select(0, open_walks.entry) - depth)
            reached = self._step(open_walks, token, backtrack)
            found.append(_where(self._holds, reached))
            open_walks = _where(self._inner, reached)
            size += len(found[-1].entry)
            if len(place) > 1 and size + 2 * len(open_walks.entry) > self._most_entries:
                return None
            if not len(open_walks.entry):
                break
        return Hits(*(torch.cat(column) for column in zip(*found, strict=True)))

    def _step(self, walks: Hits, token: Int[Tensor, "m"], backtrack: bool) -> Hits:
        """The nodes under the tokens, then those under the wildcards."""
        one, branch = self._branches.find(walks.node, token)
        barred = token == self._start
        if not backtrack:
            barred.index_fill_(0, one, True)
        wild = self._wild.index_select(0, walks.node).masked_fill_(barred, 0)
        other = wild.nonzero()[:, 0]
        return Hits(
            walks.entry.index_select(0, torch.cat([one, other])),
            torch.cat([self._exact.index_select(0, branch), wild.index_select(0, other)]),
        )


class Guards:
    """What keeps a walk without backtracking from a pattern: a token's own branch beside one of the pattern's wildcards.

    Args:
        tries: The latents' own tries.
        start: The start mark.
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
        beside = tries.concrete[tries.marked(tries.parent[tries.wild])[tries.parent[tries.concrete]]]
        above, number = tries.parent[beside].unique_consecutive(return_inverse=True)
        self._branches = Branches(number, tries.token[beside], len(above), start)
        self._node = torch.searchsorted(above, torch.cat(nodes)[order], out_int32=True)
        self._depth = torch.cat(depths)[order].to(torch.int32)
        self._count = torch.bincount(row, minlength=len(tries.end))
        self._stop = self._count.cumsum(0)
        self.guarded = self._count > 0
        """Which patterns have guards."""

    def barred(self, pattern: Int[Tensor, "n"], place: Int[Tensor, "n"], text: Int[Tensor, "places"]) -> Bool[Tensor, "n"]:
        """Which of some matching patterns the latents' own walks do not reach.

        Args:
            pattern: The patterns.
            place: Where in the text they match.
            text: Tokens and start marks.
        """
        barred = torch.zeros_like(pattern, dtype=torch.bool)
        checked = self.guarded.index_select(0, pattern).nonzero()[:, 0]
        pattern, begin = pattern.index_select(0, checked), place.index_select(0, checked)
        stop = self._stop.index_select(0, pattern)
        guard = stop - self._count.index_select(0, pattern)
        while len(checked):
            token = text.index_select(0, begin - self._depth.index_select(0, guard))
            stopped, _ = self._branches.find(self._node.index_select(0, guard), token)
            barred.index_fill_(0, checked.index_select(0, stopped), True)
            guard += 1
            going_on = (guard < stop).index_fill_(0, stopped, False).nonzero()[:, 0]
            checked, begin, stop, guard = (column.index_select(0, going_on) for column in (checked, begin, stop, guard))
        return barred


def _where(mask: Bool[Tensor, "nodes"], hits: Hits) -> Hits:
    """Those at the nodes that a mask selects."""
    kept = mask.index_select(0, hits.node).nonzero()[:, 0]
    return Hits(hits.entry.index_select(0, kept), hits.node.index_select(0, kept))
