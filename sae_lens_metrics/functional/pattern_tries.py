"""Tries over reversed patterns, and the way from a node and a token to the node under it."""

from collections.abc import Iterator
from itertools import islice

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sae_lens_metrics.functional.ngrams import ABSENT, WILDCARD

__all__ = ["Branches", "Trie"]

_KINDS = 64  # of tokens: bits of one integer say for which of them a node has branches, which rules out most tokens at one look


class Trie:
    """Tries over reversed patterns, their nodes numbered level by level: 0 is no node, then come the roots.

    On a level, nodes are in the order of the nodes above them, then of the tokens between the two: bisection finds a node.

    Args:
        codes: Reversed patterns, the start mark among their tokens.
        root: The root that each pattern hangs from, 1 or more.
        start: The start mark, the largest token there is.
    """

    def __init__(self, codes: Int[Tensor, "patterns longest"], root: Int[Tensor, "patterns"], start: int) -> None:
        self.depth = codes.shape[1]
        self.length = (codes != ABSENT).sum(1)
        self.roots = int(root.max()) if len(root) else 1
        self.end = root.clone()
        """The node where each pattern ends."""
        labels = start + 2
        steps, nodes = [], self.roots + 1
        for level in codes.unbind(1):
            row = (level != ABSENT).nonzero()[:, 0]
            step, child = torch.unique(self.end[row] * labels + level[row] + 1, return_inverse=True)  # 1 makes room for the wildcard
            self.end[row] = nodes + child
            nodes += len(step)
            steps.append(step)
        step = torch.cat(steps)
        self.parent = torch.nn.functional.pad(step // labels, (self.roots + 1, 0))
        """The node above each node."""
        self.token = torch.nn.functional.pad(step % labels - 1, (self.roots + 1, 0), value=ABSENT)
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

    def climb(self) -> Iterator[Int[Tensor, "patterns"]]:
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


class Branches:
    """Which tokens lie under which nodes.

    Args:
        node: The nodes, ascending.
        token: The token of each branch, ascending under a node.
        nodes: More than any node there is.
        start: The start mark, the largest token there is.
    """

    def __init__(self, node: Int[Tensor, "branches"], token: Int[Tensor, "branches"], nodes: int, start: int) -> None:
        self._tokens = start + 1
        none = token.new_full((1,), -1)
        self._keys = torch.cat([none, node * self._tokens + token])
        kind = torch.unique(node * _KINDS + token % _KINDS)
        self._kinds = node.new_zeros(nodes).index_add_(0, kind // _KINDS, torch.ones_like(kind) << kind % _KINDS)

    def find(self, node: Int[Tensor, "m"], token: Int[Tensor, "m"]) -> tuple[Int[Tensor, "found"], Int[Tensor, "found"]]:
        """Which of the nodes have a branch for the token beside them, and which branch it is, int32."""
        maybe = (self._kinds.index_select(0, node) >> (token & _KINDS - 1) & 1).nonzero()[:, 0]
        key = node.index_select(0, maybe).long() * self._tokens + token.index_select(0, maybe)
        before = torch.searchsorted(self._keys, key, out_int32=True, right=True) - 1
        found = (self._keys.index_select(0, before) == key).nonzero()[:, 0]
        return maybe.index_select(0, found), before.index_select(0, found) - 1
