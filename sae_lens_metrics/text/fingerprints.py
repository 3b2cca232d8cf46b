"""Which documents a text is of, so that two texts can be asked what they have in common."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from datasets import Dataset, IterableDataset

__all__ = ["noting_rows", "share_in_common"]


def noting_rows(
    rows: Dataset | IterableDataset,
) -> tuple[Dataset | IterableDataset, Callable[[Iterable[int]], frozenset[int]]]:
    """Rows that can be asked afterwards what they were, in constant memory a row: a stream can be read only once.

    Args:
        rows: A data set, in the order in which it is read.

    Returns:
        The rows to read, and a function from the numbers of some, in that order, to hashes of what is in them.
    """
    if isinstance(rows, Dataset):
        plain = rows.with_format(None)  # whoever reads the rows may set another
        return rows, lambda numbers: frozenset(_hash(plain[number]) for number in numbers if number < len(plain))
    seen: dict[int, int] = {}

    def note(row: dict[str, Any], number: int) -> dict[str, Any]:
        seen[number] = _hash(row)
        return row

    return rows.map(note, with_indices=True), lambda numbers: frozenset(seen[number] for number in numbers if number in seen)


def share_in_common(first: frozenset[int], second: frozenset[int]) -> float:
    """Share of the smaller one's documents that are in both, between 0 and 1.

    Args:
        first: Hashes of the documents of a text, at least one.
        second: Those of another one.
    """
    return len(first & second) / min(len(first), len(second))


def _hash(row: Mapping[str, Any]) -> int:
    return int.from_bytes(hashlib.blake2b(repr(sorted(row.items())).encode("utf-8", "backslashreplace"), digest_size=8).digest(), "big")
