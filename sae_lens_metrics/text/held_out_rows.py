"""A data set in two parts: rows to train on, and rows that are kept from it, as a data set on disk."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from datasets import Dataset, IterableDataset

from sae_lens_metrics.errors import CorpusError
from sae_lens_metrics.text.datasets import load_text_dataset
from sae_lens_metrics.text.standard_library import standard_library_documents

__all__ = ["keep_rows", "other_rows"]

_LETTERS = 4
"""Characters of a token, about."""
_TIMES = 6
"""Text for each token that is evaluated: explanations and baselines are built from more of it, and documents are never split."""
_MARGIN = 2
"""Text for each token to train on, so that the flag finds rows to hold out."""
_ROWS = 64
"""At least, as errors are over documents."""


def keep_rows(name: str | None, folder: Path, tokens: int) -> None:
    """Writes the first rows of a data set to a folder that ``load_text_dataset`` reads; what is there already is kept as it is.

    Args:
        name: The data set; ``None`` for files of the Python standard library, of which one in twenty is held out.
        folder: Where to write.
        tokens: Tokens to evaluate on, for which there is to be enough.

    Raises:
        CorpusError: If the data set cannot be loaded.
    """
    if folder.exists():
        return
    rows = _documents("held_out") if name is None else load_text_dataset(name)
    unfinished = folder.with_name(f"unfinished-{folder.name}")
    Dataset.from_list(list(_enough(rows, tokens * _LETTERS * _TIMES))).save_to_disk(str(unfinished))
    unfinished.rename(folder)


def other_rows(name: str | None, folder: Path, tokens: int) -> Dataset | IterableDataset:
    """The rows of a data set that ``keep_rows`` has not kept.

    Args:
        name: The data set, as there.
        folder: Where rows are kept.
        tokens: Tokens to train on, for which there is to be enough where the standard library has it.

    Raises:
        CorpusError: If the data set cannot be loaded, or is so small that nothing is left to train on.
    """
    if name is None:
        return Dataset.from_list(list(_enough(_documents("train"), tokens * _LETTERS * _MARGIN)))
    loaded, kept = load_text_dataset(name), len(Dataset.load_from_disk(str(folder)))
    if isinstance(loaded, IterableDataset):
        return loaded.skip(kept)
    if kept >= len(loaded):
        raise CorpusError(f"the data set {name!r} has {len(loaded):,} rows, all of which the evaluation takes: give a larger one")
    return loaded.select(range(kept, len(loaded)))


def _documents(split: Literal["train", "held_out"]) -> Iterator[dict[str, Any]]:
    return ({"text": text} for text in standard_library_documents(split))


def _enough(rows: Iterable[Any], letters: int) -> Iterator[dict[str, Any]]:
    """As many rows as hold so many characters, or a fourth as many tokens, in their longest column."""
    found = 0
    for place, row in enumerate(rows):
        yield dict(row)
        lengths = [len(value) * (1 if isinstance(value, str) else _LETTERS) for value in row.values() if isinstance(value, str | list)]
        found += max(lengths, default=0)
        if found >= letters and place + 1 >= _ROWS:
            return
