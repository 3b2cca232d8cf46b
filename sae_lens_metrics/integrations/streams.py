"""Which shard of a stream is being read: what `datasets` knows and does not document."""

from collections.abc import Iterator
from typing import Any

from datasets import IterableDataset

__all__ = ["ordered_shards", "shard_being_read"]


def ordered_shards(stream: IterableDataset) -> int:
    """How many shards of a stream are read one after the other, in the order in which ``shard`` counts them.

    Of a shuffled stream that is 1: ``shard`` counts its shards in another order than that in which they are read.
    """
    names = list(_layers(getattr(stream, "_ex_iterable", None)))
    shuffled = getattr(stream, "_shuffling", None) is not None or any("Shuffle" in name or "Interleaved" in name for name in names)
    return 1 if shuffled or not names else int(getattr(stream, "num_shards", 1))


def shard_being_read(stream: IterableDataset) -> int | None:
    """The shard that the iterator which was started last has come to, from 0; ``None`` where nobody knows."""
    found = list(_shards(stream.state_dict()))
    return max(found) if found else None


def _layers(iterable: Any) -> Iterator[str]:
    while iterable is not None:
        yield type(iterable).__name__
        iterable = getattr(iterable, "ex_iterable", None)


def _shards(state: Any) -> Iterator[int]:
    if isinstance(state, dict):
        if isinstance(state.get("shard_idx"), int):
            yield state["shard_idx"]
        for each in state.values():
            yield from _shards(each)
