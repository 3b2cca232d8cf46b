"""Samples of fixed size from many streams at once, drawn in one pass: uniform ones, and the largest values."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["GroupedLargest", "GroupedSample", "Kept", "random_keys", "splitmix64"]

_NO_KEY = 2**63 - 1  # in an empty place; no key is above it, so that a group with an empty place takes every item


class Kept(NamedTuple):
    """What is kept of some groups."""

    key: Int[Tensor, "groups size"]
    item: Int[Tensor, "groups size"]
    value: Float[Tensor, "groups size"]
    added: Int[Tensor, "groups"]
    """Items that were added to each group."""


class _GroupedSmallest:
    """The items of each group with the smallest keys, kept up to date as items come in.

    Since a key depends on the group, the item and its value alone, what is kept depends on the set of items: not on their order, nor on
    how they were split over calls of ``add``.

    Args:
        groups: Number of groups.
        size: Items to keep per group, at least 1.
        device: Where they are kept; the items must be there too.

    Raises:
        ValueError: If ``size`` is not positive.

    Note:
        Memory: 20 bytes for each of the groups x size places and 8 for each group, however many items are added. A call of ``add`` takes
        some 100 bytes an item on top, and as much per place of the groups whose items it changes.
    """

    count: Int[Tensor, "groups"]
    """Items added to each group so far, [groups]."""

    item: Int[Tensor, "groups size"]
    """The items kept, those of smaller keys first, [groups, size]; -1 after the last where a group has had fewer."""

    value: Float[Tensor, "groups size"]
    """The value of each of them in float32, [groups, size]; 0 where ``item`` is -1."""

    def __init__(self, groups: int, size: int, *, device: torch.device | str = "cpu") -> None:
        if size < 1:
            raise ValueError(f"a sample must have room for one item at least, not {size}")
        self._key = torch.full((groups, size), _NO_KEY, device=device)  # each row ascending
        self.count = torch.zeros(groups, dtype=torch.long, device=device)
        self.item = torch.full((groups, size), -1, device=device)
        self.value = torch.zeros(groups, size, device=device)

    @torch.no_grad()
    def add(self, group: Int[Tensor, "items"], item: Int[Tensor, "items"], value: Float[Tensor, "items"]) -> None:
        """Lets items be kept by their groups.

        Args:
            group: The group of each item, in [0, groups), [items].
            item: The items, not negative, [items]. A group must not be given the same item twice, in this call or another.
            value: A number to keep with each item, [items].
        """
        group, item = group.long(), item.long()
        arrivals = torch.bincount(group, minlength=len(self.count))
        key = self._keys(group, item, value)
        largest_kept = self._key[:, -1].contiguous()
        candidates = (key <= largest_kept[group]).nonzero()[:, 0]
        self._merge(group[candidates], key[candidates], item[candidates], value[candidates])
        self.count += arrivals

    @torch.no_grad()
    def take(self, groups: slice, kept: "Kept") -> None:
        """Lets items be kept that others like this one, of the same groups, have kept of other items.

        Args:
            groups: Which groups; start and stop must be given.
            kept: What ``kept`` gave for these groups.
        """
        there = kept.item >= 0
        group = torch.arange(groups.start, groups.stop, device=self.item.device)[:, None].expand_as(there)[there]
        self._merge(group, kept.key[there], kept.item[there], kept.value[there])
        self.count[groups] += kept.added

    def kept(self, groups: slice) -> "Kept":
        """What is kept of some groups, to be taken by others like this one."""
        return Kept(*(each[groups].clone() for each in (self._key, self.item, self.value, self.count)))

    def _keys(self, group: Tensor, item: Tensor, value: Tensor) -> Int[Tensor, "items"]:
        raise NotImplementedError

    def _merge(self, group: Tensor, key: Tensor, item: Tensor, value: Tensor) -> None:
        """Replaces the samples of the candidates' groups by the smallest keys among those kept and the candidates, each [candidates]."""
        affected = self._distinct(group)
        kept = affected.repeat_interleave(self.item.shape[1])
        # candidates first: an equal key can only be that of an empty place, and those must come last
        group = torch.cat([group, kept])
        key = torch.cat([key, self._key[affected].flatten()])
        item = torch.cat([item, self.item[affected].flatten()])
        value = torch.cat([value.to(self.value.dtype), self.value[affected].flatten()])

        smallest = _smallest_within_groups(group, key, self.item.shape[1])
        self._key[affected], self.item[affected], self.value[affected] = key[smallest], item[smallest], value[smallest]

    def _distinct(self, group: Tensor) -> Int[Tensor, "affected"]:
        """The groups that occur, ascending; a mask finds them without a sort."""
        occurs = torch.zeros(len(self.count), dtype=torch.bool, device=group.device)
        occurs[group] = True
        return occurs.nonzero()[:, 0]


class GroupedSample(_GroupedSmallest):
    """A uniform random sample without replacement of at most ``size`` items from each group.

    Every item has a pseudo-random key and a group keeps the items of its smallest keys (a bottom-k sketch: Cohen & Kaplan 2007,
    "Summarizing data using bottom-k sketches"). ``item`` is in random order.

    Args:
        groups: Number of groups.
        size: Items to keep per group, at least 1.
        seed: Chooses the samples; any integer, of which the lowest 64 bits count.
        device: Where the samples are kept; the items must be there too.

    Raises:
        ValueError: If ``size`` is not positive.
    """

    def __init__(self, groups: int, size: int, *, seed: int, device: torch.device | str = "cpu") -> None:
        super().__init__(groups, size, device=device)
        self._seed = seed

    def _keys(self, group: Tensor, item: Tensor, value: Tensor) -> Int[Tensor, "items"]:
        return random_keys(self._seed, group, item)


class GroupedLargest(_GroupedSmallest):
    """The ``size`` items of each group whose values are the largest in absolute value, the largest first; of equals the smaller item.

    Items must be below 2**32, and ``count`` has only those items that were added: callers may leave out what ``least`` rules out.

    Args:
        groups: Number of groups.
        size: Items to keep per group, at least 1.
        device: Where they are kept; the items must be there too.

    Raises:
        ValueError: If ``size`` is not positive.
    """

    @property
    def least(self) -> Float[Tensor, "groups"]:
        """An item with a smaller absolute value than this would not be kept, [groups]."""
        return self.value[:, -1].abs()

    def _keys(self, group: Tensor, item: Tensor, value: Tensor) -> Int[Tensor, "items"]:
        # the bits of positive floats, read as integers, are in the order of the floats
        return (value.abs().float().view(torch.int32).long() << 32).neg() + item


def random_keys(seed: int, group: Int[Tensor, "items"], item: Int[Tensor, "items"]) -> Int[Tensor, "items"]:
    """Pseudo-random 64-bit keys, uniform over int64, each a function of the seed, the group and the item.

    The items of one group never share a key, since every step from item to key is invertible. The item is scrambled before the group
    comes in: were it only counted on from a start of the group's own, two groups could have the same keys at some distance.

    Args:
        seed: Any integer, of which the lowest 64 bits count.
        group: int64, [items].
        item: int64, [items].

    Returns:
        int64, [items].
    """
    of_seed = splitmix64(_signed(seed), group.new_zeros(()))
    return _mix(splitmix64(of_seed, group) ^ splitmix64(0, item))


def splitmix64(seed: int | Int[Tensor, "..."], index: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
    """The numbers of SplitMix64 generators (Steele, Lea & Flood 2014), their 64 bits read as int64.

    Args:
        seed: The state before the first number, an int64; broadcast against ``index``.
        index: Which number to give, counted from 0, int64.
    """
    return _mix(seed + (index + 1) * _signed(0x9E3779B97F4A7C15))


def _mix(bits: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
    """An invertible map after which every bit depends on all 64: the finaliser of SplitMix64. Products wrap around."""
    bits = (bits ^ _shift_right(bits, 30)) * _signed(0xBF58476D1CE4E5B9)
    bits = (bits ^ _shift_right(bits, 27)) * _signed(0x94D049BB133111EB)
    return bits ^ _shift_right(bits, 31)


def _shift_right(bits: Int[Tensor, "..."], by: int) -> Int[Tensor, "..."]:
    """Shifts in zeros, where ``>>`` on int64 shifts in the sign."""
    return (bits >> by) & (2 ** (64 - by) - 1)


def _signed(number: int) -> int:
    """The int64 with the same lowest 64 bits."""
    return (number + 2**63) % 2**64 - 2**63


def _smallest_within_groups(group: Int[Tensor, "rows"], key: Int[Tensor, "rows"], size: int) -> Int[Tensor, "distinct size"]:
    """For each group that occurs, ascending, the rows of its ``size`` smallest keys in order; of equal keys the earlier row comes first.

    Every group that occurs must have ``size`` rows at least.
    """
    by_key = key.argsort(stable=True)
    order = by_key[group[by_key].int().argsort(stable=True)]  # 32 bits sort in half the time
    length = torch.bincount(group)
    length = length[length > 0]
    first = length.cumsum(0) - length
    return order[first[:, None] + torch.arange(size, device=key.device)]
