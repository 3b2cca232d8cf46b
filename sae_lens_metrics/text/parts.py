"""The rows of a data set in the order in which a text is drawn from them; or a part of them that no other part shares."""

from dataclasses import dataclass

from datasets import Dataset, IterableDataset

from sae_lens_metrics.errors import CorpusError

__all__ = ["Part", "shuffled"]

_BUFFER = 1_000


@dataclass(frozen=True)
class Part:
    """One of several parts of a data set that have no row in common."""

    index: int
    """Which one, from 0 on."""
    of: int
    """How many there are."""

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.of:
            raise CorpusError(f"there is no part {self.index} of {self.of}: parts are counted from 0")


def shuffled(rows: Dataset | IterableDataset, seed: int, part: Part | None = None) -> Dataset | IterableDataset:
    """The rows in random order, a stream within a buffer.

    A part has the rows i with i mod ``part.of`` = ``part.index``. Those of a stream are counted in an order that no seed moves, as a seed
    also moves the order of its files, and with it which row is the i-th.

    Args:
        rows: The data set.
        seed: Which order.
        part: Which rows; all by default.

    Raises:
        CorpusError: If there are fewer rows than parts.
    """
    if isinstance(rows, Dataset):
        return (rows if part is None else _rows_of(rows, part)).shuffle(seed=seed)
    if part is None:
        return rows.shuffle(seed=seed, buffer_size=_BUFFER)
    of, index = part.of, part.index
    return rows.shuffle(seed=0, buffer_size=_BUFFER).filter(lambda row, i: i % of == index, with_indices=True)


def _rows_of(rows: Dataset, part: Part) -> Dataset:
    if len(rows) < part.of:
        raise CorpusError(f"a data set of {len(rows)} rows cannot be split into {part.of} parts: give one with more rows")
    return rows.shard(part.of, part.index, contiguous=False)
