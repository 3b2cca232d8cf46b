"""Data sets of text by name: on the hub, in a folder, or in a file."""

import os
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict, IterableDataset, load_dataset, load_from_disk

from sae_lens_metrics.errors import CorpusError
from sae_lens_metrics.text.data_faults import reason_in_words, why_unreadable

__all__ = ["load_text_dataset"]

_READERS = {".txt": "text", ".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv"}


def load_text_dataset(name: str, split: str = "train") -> "Dataset | IterableDataset":
    """Loads a data set by name, without running any code of its own.

    Args:
        name: A name on the Hugging Face hub (streamed), a folder written by ``datasets``, or a .txt, .jsonl, .csv or .parquet file.
        split: Which split of it.

    Raises:
        CorpusError: If there is no such data set, file or split.
    """
    try:
        loaded = _load(name, split)
    except Exception as error:  # every reader has its own errors; what the user needs is the name and the reason
        raise CorpusError(f"cannot load the data set {name!r}, split {split!r}: {_why(error, Path(name))}") from error
    if not isinstance(loaded, DatasetDict):
        return loaded
    if split not in loaded:
        raise CorpusError(f"the data set {name!r} has no split {split!r}: give one of {', '.join(map(str, loaded))}")
    return loaded[split]


def _load(name: str, split: str) -> "Dataset | DatasetDict | IterableDataset":
    path = Path(name)
    if os.path.isdir(path):
        return load_from_disk(name)
    if path.suffix in _READERS and not os.path.exists(path):
        raise CorpusError("there is no such file")
    if not os.path.exists(path):
        return load_dataset(name, split=split, streaming=True)
    if not path.is_file() or path.suffix not in _READERS:
        raise CorpusError(f"expected a file whose name ends in one of {', '.join(_READERS)}, or a folder of datasets")
    if split != "train":
        raise CorpusError("a file has no splits: leave the split out")
    if path.stat().st_size == 0:
        raise CorpusError("it is empty, give one that holds text")
    options: dict[str, Any] = {"sample_by": "document"} if path.suffix == ".txt" else {}
    return load_dataset(_READERS[path.suffix], data_files=str(path), split="train", **options)


def _why(error: Exception, path: Path) -> str:
    """Why a data set cannot be loaded, and what to do where the reader's own words do not say it."""
    if isinstance(error, CorpusError):
        return str(error)
    cause = (
        error.__cause__ if isinstance(error.__cause__, Exception) else error
    )  # some readers wrap the reason in an error that does not tell it
    # how `datasets` says it: of folders, of .jsonl files, of other files
    if isinstance(cause, IndexError | StopIteration) or "corresponds to no data" in str(cause):
        return "it is empty, give one that holds text"
    if os.path.exists(path):
        return why_unreadable(path, cause)
    if isinstance(cause, ConnectionError):
        return "the hub cannot be reached; its data sets are streamed, not kept: without a network give a file or a folder (--dataset)"
    return f"it cannot be found, neither here nor on the hub ({reason_in_words(cause)}): check the name"
