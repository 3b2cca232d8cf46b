"""Mean of a vector given a discrete key, in one pass over a stream."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = ["ConditionalMeans"]


class ConditionalMeans:
    """The mean vector of each of some keys over a stream of keys and vectors.

    The means depend on how the stream was split over calls of ``add`` by rounding only. Each call finds the mean of its own vectors per
    key to about float32 precision whatever their offset from zero, and then moves the running mean, rounding it once. A mean of n calls
    is thus off by at most n / 4 units in the last place or so, and typically by a sixth of sqrt(n) units.

    Args:
        keys: The keys, repeats allowed; vectors of others are passed over.
        width: Length of the vectors.

    Raises:
        ValueError: If there are no keys.

    Note:
        Everything is on the device of ``keys``. Memory: ``bytes_per_key`` for each different key, taken at once. A call of ``add`` takes
        some 20 bytes a component of the vectors that count on top.
    """

    def __init__(self, keys: Int[Tensor, "keys"], width: int) -> None:
        if keys.numel() == 0:
            raise ValueError("there are no keys to find the means of")
        self._key = keys.long().unique()  # ascending
        self._mean = torch.zeros(len(self._key), width, device=keys.device)
        self._count = torch.zeros(len(self._key), dtype=torch.long, device=keys.device)

    @staticmethod
    def bytes_per_key(width: int) -> int:
        """Memory that each different key takes: its mean in float32, itself, and the number of its vectors."""
        return 4 * width + 16

    def __len__(self) -> int:
        """Number of different keys."""
        return len(self._key)

    @torch.no_grad()
    def add(self, key: Int[Tensor, "n"], x: Float[Tensor, "n width"]) -> None:
        """Takes the next vectors of the stream into the means of their keys.

        Args:
            key: The key of each vector, [n].
            x: The vectors, [n, width]; taken as float32.
        """
        row = self._find(key)
        (wanted,) = (row >= 0).nonzero(as_tuple=True)
        if len(wanted) > 0:
            self._take(row[wanted], x.index_select(0, wanted))

    @torch.no_grad()
    def combine(self, total: Callable[[Tensor], Tensor]) -> None:
        """Makes the means those of the whole stream, of which several of these, with the same keys, have each taken a part.

        Args:
            total: Gives the sum of a tensor over all of them.
        """
        count = total(self._count)
        share = (self._count / count.clamp_min(1))[:, None]  # in float32, which is as precise as the means; 1 where there is but one part
        self._mean, self._count = total(self._mean.mul_(share)), count

    @torch.no_grad()
    def lookup(self, key: Int[Tensor, "n"]) -> tuple[Float[Tensor, "n width"], Bool[Tensor, "n"]]:
        """The means of keys as of now.

        Args:
            key: [n], repeats allowed.

        Returns:
            The mean of each key in float32, [n, width], zeros where there is none; and whether there is one, [n].
        """
        row = self._find(key)
        known = (row >= 0) & (self._count[row] > 0)
        mean = self._mean.new_zeros(len(key), self._mean.shape[1])
        mean[known] = self._mean.index_select(0, row[known])
        return mean, known

    def _find(self, key: Int[Tensor, "n"]) -> Int[Tensor, "n"]:
        """The row of each key, [n]; -1 where it is none of the keys."""
        key = key.long()
        place = torch.searchsorted(self._key, key).clamp_max_(len(self._key) - 1)
        return torch.where(self._key[place] == key, place, -1)

    def _take(self, row: Int[Tensor, "n"], x: Float[Tensor, "n width"]) -> None:
        """Takes vectors into the means of rows."""
        distinct, group, first, count = _distinct(row)
        self._merge(distinct, _group_means(x, group, first, count), count)

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
    x: Float[Tensor, "n width"], group: Int[Tensor, "n"], first: Int[Tensor, "d"], count: Int[Tensor, "d"]
) -> Float[Tensor, "d width"]:
    """Mean of each group in float32, [d].

    Args:
        x: [n, width].
        group: The group of each vector, [n].
        first: Index of one vector of each group, [d].
        count: Vectors of each group, [d], at least 1.
    """
    mean = x.index_select(0, first).float()  # for rows far faster than indexing with a tensor, as below
    # most keys come once in a call, and are done; only the others are summed
    repeated = count > 1
    items = repeated[group].nonzero()[:, 0]
    number = (repeated.cumsum(0) - 1)[group[items]]
    place = repeated.nonzero()[:, 0]
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
