"""The patterns that match at many places, as runs of patterns that stand side by side in one list.

At most places nearly all patterns that match end at a single one of the nodes reached. They stand in a row in a list of all patterns node
by node, already in order; only the few patterns of the other nodes have to be sorted and put between them, and a few to be left out.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

__all__ = ["Merger", "NodePatterns", "Runs", "numbers"]


class Runs(NamedTuple):
    """Ranges of a list, int32, and which row each belongs to; a range may be empty."""

    row: Int[Tensor, "runs"]
    first: Int[Tensor, "runs"]
    size: Int[Tensor, "runs"]


def numbers(first: Int[Tensor, "n"], size: Int[Tensor, "n"]) -> tuple[Int[Tensor, "m"], Int[Tensor, "m"]]:
    """Of some ranges, int32, all numbers in a row: which range each is of, and the number."""
    before = size.cumsum(0, dtype=torch.int32) - size
    of = torch.repeat_interleave(size)
    number = (first - before).index_select(0, of)
    number += torch.arange(len(number), dtype=torch.int32, device=number.device)
    return of, number


class NodePatterns:
    """Patterns in a list, node by node, those of a node in the order of their numbers.

    Args:
        end: The node where each pattern ends.
        nodes: How many nodes there are.
        among: Which patterns are in the list; all by default.
    """

    def __init__(self, end: Int[Tensor, "patterns"], nodes: int, among: Bool[Tensor, "patterns"] | None = None) -> None:
        pattern = end.argsort(stable=True)
        if among is not None:
            pattern = pattern[among[pattern]]
        count = torch.bincount(end[pattern], minlength=nodes)
        self.pattern = pattern.to(torch.int32)
        """The list."""
        self.count = count.to(torch.int32)
        """How many patterns end at each node."""
        self.first = (count.cumsum(0) - count).to(torch.int32)
        """Where in the list those of each node begin."""

    def at(self, node: Int[Tensor, "n"]) -> tuple[Int[Tensor, "m"], Int[Tensor, "m"]]:
        """The patterns that end at some nodes: which of the nodes, and the pattern."""
        of, place = numbers(self.first.index_select(0, node), self.count.index_select(0, node))
        return of, self.pattern.index_select(0, place)


class Merger:
    """Puts patterns into rows that begin as the patterns of a node, or takes some of those out.

    Args:
        listed: All patterns in a list.
        rival: A number of each pattern, int32 and at least 0, which does not fall from one pattern to the next. Of the patterns of a row
            with the same number, the first stays. The patterns of a node have different ones, and what is taken out has no rivals.
    """

    def __init__(self, listed: NodePatterns, rival: Int[Tensor, "patterns"]) -> None:
        self._rival = rival
        self._first, self._stop = listed.first, listed.first + listed.count
        self._place = torch.zeros_like(listed.pattern)
        self._place[listed.pattern] = torch.arange(len(rival), dtype=torch.int32, device=rival.device)
        self._key = torch.repeat_interleave(listed.count).long() * len(rival) + listed.pattern
        none = rival.new_full((1,), -2)
        self._around = torch.cat([none, rival[listed.pattern], none])

    def runs(self, node: Int[Tensor, "rows"], row: Int[Tensor, "n"], pattern: Int[Tensor, "n"]) -> Runs:
        """The patterns of each row, in the order of their numbers, as ranges of the list.

        Args:
            node: Whose patterns each row begins as.
            row: The rows, ascending, each of them once for its beginning and once for each change.
            pattern: -1 for the beginning; then, ascending, what to take out, where it is a pattern of the row's node, or to put in.
        """
        begins = pattern < 0
        rival = self._rival.index_select(0, pattern.clamp(min=0)).masked_fill_(begins, -1)
        leads = torch.ones_like(begins)
        leads[1:] = begins[1:] | (rival[1:] != rival[:-1])
        kept = leads.nonzero()[:, 0]
        row, pattern, rival, begins = (column.index_select(0, kept) for column in (row, pattern, rival, begins))
        node = node.index_select(0, row)
        first, stop = self._first.index_select(0, node), self._stop.index_select(0, node)
        at = torch.searchsorted(self._key, node.long() * len(self._rival) + pattern, out_int32=True).where(~begins, first)
        place = self._place.index_select(0, pattern.clamp(min=0))
        inside = at < stop
        wins = inside & (self._around.index_select(0, at + 1) == rival)  # what is taken out is a rival of itself
        loses = (at > first) & (self._around.index_select(0, at) == rival)
        put_in = ~(begins | loses | (inside & (place == at)))
        rest = at + wins
        until = torch.cat([torch.where(row[1:] == row[:-1], at[1:], stop[:-1]), stop[-1:]])
        columns = ((row, row), (place, rest), (put_in.to(torch.int32), until - rest))
        return Runs(*(torch.stack(pair, 1).flatten() for pair in columns))
