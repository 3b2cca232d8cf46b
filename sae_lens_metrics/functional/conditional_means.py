"""Mean of a vector given a discrete key, in one pass over a stream with very many keys."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = ["ConditionalMeans"]


class ConditionalMeans:
    """The mean vector of every key of a stream, for the first ``most`` distinct keys in order of arrival.

    Which keys are kept and how many vectors are left out depends on the stream alone, not on how it was split over calls of ``add``;
    the means depend on the split by rounding only. Each call finds the mean of its own vectors per key to about float32 precision
    whatever their offset from zero, and then moves the running mean, rounding it once. A mean of n calls is thus off by at most n / 4
    units in the last place or so, and typically by a sixth of sqrt(n) units.

    Args:
        width: Length of the vectors.
        most: How many keys are kept at most; 0 keeps none.
        device: Where the means are kept; keys and vectors must be there too.

    Raises:
        ValueError: If ``most`` is negative.

    Note:
        Memory: at most 4 x width + 24 bytes for each of ``most`` keys, of which only what the keys seen so far need is taken, up to
        twofold; while the room is doubled, the old means exist beside the new. A call of ``add`` takes some 20 bytes a component on top.
    """

    overflow: int
    """Vectors left out because their key was new when ``most`` keys were kept already."""

    def __init__(self, width: int, *, most: int, device: torch.device | str = "cpu") -> None:
        if most < 0:
            raise ValueError(f"the number of keys to keep must not be negative, but is {most}")
        self._most = most
        self.overflow = 0
        # ascending, and the row of each key's mean; the first is below all keys, so that every key has a predecessor to be compared with
        self._key = torch.full((1,), -1, device=device)
        self._row = torch.full((1,), -1, device=device)
        # one row per key in order of arrival, and some room
        self._mean = torch.zeros(0, width, device=device)
        self._count = torch.zeros(0, dtype=torch.long, device=device)

    def __len__(self) -> int:
        """Number of keys kept."""
        return len(self._key) - 1

    @torch.no_grad()
    def add(self, key: Int[Tensor, "n"], x: Float[Tensor, "n width"]) -> None:
        """Takes the next vectors of the stream into the means of their keys.

        Args:
            key: The key of each vector, not negative, [n].
            x: The vectors, [n, width]; taken as float32.

        Raises:
            ValueError: If a key is negative; nothing is added then.
        """
        if len(key) == 0:
            return
        distinct, inverse, first, arrivals = _distinct(key.long())
        if distinct[0] < 0:
            raise ValueError(f"keys must not be negative, but one is {int(distinct[0])}")
        row = self._admit(distinct, first)

        kept = row >= 0
        self.overflow += int(arrivals[~kept].sum())
        self._merge(row[kept], _group_means(x, inverse, first, arrivals, kept), arrivals[kept])

    @torch.no_grad()
    def lookup(self, key: Int[Tensor, "n"]) -> tuple[Float[Tensor, "n width"], Bool[Tensor, "n"]]:
        """The means of keys as of now.

        Args:
            key: [n], repeats allowed.

        Returns:
            The mean of each key in float32, [n, width], zeros where the key is not kept; and whether it is kept, [n].
        """
        row = self._find(key.long())
        known = row >= 0
        mean = self._mean.new_zeros(len(key), self._mean.shape[1])
        mean[known] = self._mean.index_select(0, row[known])
        return mean, known

    def _find(self, key: Int[Tensor, "n"]) -> Int[Tensor, "n"]:
        """The row of each key, [n]; -1 where it is not kept."""
        place = torch.searchsorted(self._key, key, right=True) - 1
        return torch.where(self._key[place] == key, self._row[place], -1)

    def _admit(self, distinct: Int[Tensor, "distinct"], first: Int[Tensor, "distinct"]) -> Int[Tensor, "distinct"]:
        """Keeps as many new keys as there is room for, by order of arrival.

        Args:
            distinct: Keys in ascending order, [distinct].
            first: When each came first, [distinct].

        Returns:
            The row of each key, [distinct]; -1 where it is not kept.
        """
        row = self._find(distinct)
        new = (row < 0).nonzero()[:, 0]
        admitted = new[first[new].argsort()][: self._most - len(self)]
        if len(admitted) > 0:
            row[admitted] = torch.arange(len(self), len(self) + len(admitted), device=row.device)
            self._reserve(len(self) + len(admitted))
            ascending = admitted.sort().values
            self._insert(distinct[ascending], row[ascending])
        return row

    def _insert(self, key: Int[Tensor, "new"], row: Int[Tensor, "new"]) -> None:
        """Merges new keys, ascending, into the kept ones: with no sort of what is in order already."""
        place = torch.searchsorted(self._key, key) + torch.arange(len(key), device=key.device)
        old = torch.ones(len(self._key) + len(key), dtype=torch.bool, device=key.device)
        old[place] = False
        self._key = key.new_empty(len(old)).masked_scatter_(old, self._key).index_copy_(0, place, key)
        self._row = row.new_empty(len(old)).masked_scatter_(old, self._row).index_copy_(0, place, row)

    def _reserve(self, rows: int) -> None:
        """Makes room for so many means; doubling keeps the cost of copying in proportion to the keys."""
        room = len(self._count)
        if rows > room:
            added = min(max(rows, 2 * room), self._most) - room
            self._mean = torch.cat([self._mean, self._mean.new_zeros(added, self._mean.shape[1])])
            self._count = torch.cat([self._count, self._count.new_zeros(added)])

    def _merge(self, row: Int[Tensor, "distinct"], mean: Float[Tensor, "distinct width"], count: Int[Tensor, "distinct"]) -> None:
        """Moves the means of distinct rows to those of their vectors so far and ``count`` more of the given ``mean``."""
        self._count[row] += count
        weight = count / self._count[row]  # 1 for a new key, whose mean is then the given one exactly
        self._mean.index_add_(0, row, (mean - self._mean.index_select(0, row)).mul_(weight[:, None]))


def _distinct(key: Int[Tensor, "n"]) -> tuple[Int[Tensor, "d"], Int[Tensor, "n"], Int[Tensor, "d"], Int[Tensor, "d"]]:
    """The distinct keys ascending, which of them each item has, and the index of the first item and the number of items of each."""
    ordered, order = key.sort(stable=True)  # stable: each key's first item leads its run
    distinct, which, count = torch.unique_consecutive(ordered, return_inverse=True, return_counts=True)
    inverse = torch.empty_like(which).index_copy_(0, order, which)
    return distinct, inverse, order[count.cumsum(0) - count], count


def _group_means(
    x: Float[Tensor, "n width"], group: Int[Tensor, "n"], first: Int[Tensor, "d"], count: Int[Tensor, "d"], wanted: Bool[Tensor, "d"]
) -> Float[Tensor, "wanted width"]:
    """Mean of each wanted group in float32, [wanted].

    Args:
        x: [n, width].
        group: The group of each vector, [n].
        first: Index of one vector of each group, [d].
        count: Vectors of each group, [d], at least 1.
        wanted: Which groups' means to give, [d].
    """
    mean = x.index_select(0, first[wanted]).float()  # for rows far faster than indexing with a tensor, as below
    # most keys come once in a call, and are done; only the others are summed
    repeated = wanted & (count > 1)
    items = repeated[group].nonzero()[:, 0]
    number = (repeated.cumsum(0) - 1)[group[items]]
    place = (count[wanted] > 1).nonzero()[:, 0]
    mean[place] = _refine(mean.index_select(0, place), x.index_select(0, items).float(), number, count[repeated])
    return mean


def _refine(
    mean: Float[Tensor, "d width"], x: Float[Tensor, "n width"], group: Int[Tensor, "n"], count: Int[Tensor, "d"]
) -> Float[Tensor, "d width"]:
    """Mean of each group, to about the precision of ``x`` even where a plain sum would grow too large to take up a vector's last digits.

    Sums are of deviations from an estimate, so their rounding is relative to the deviations and not to the mean. The first estimate may
    lie far out; the second is close to the mean, and what is added to it is small.

    Args:
        mean: The first estimate, a vector of the group, [d, width]; overwritten.
        x: [n, width].
        group: The group of each vector, [n].
        count: Vectors of each group, [d].
    """
    for _ in range(2):
        deviation = torch.zeros_like(mean).index_add_(0, group, mean.index_select(0, group).sub_(x).neg_())
        mean += deviation.div_(count[:, None])
    return mean
