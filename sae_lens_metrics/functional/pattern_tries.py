"""Tries over reversed patterns, and the map from a node and a token to the node under it."""

from collections.abc import Iterator
from itertools import islice

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sae_lens_metrics.functional.ngrams import ABSENT, WILDCARD

__all__ = ["Edges", "Trie"]


class Trie:
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


class Edges:
    """A map from a node and a token to the node under it: a hash table with linear probing.

    Sorted by the slots that their hashes point at, keys take the first free slot from there on; a running maximum says which one that is.

    Args:
        trie: Holds the nodes.
        child: The nodes under tokens to put into the map.
        start: The largest token there is.
    """

    def __init__(self, trie: Trie, child: Int[Tensor, "edges"], start: int) -> None:
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
