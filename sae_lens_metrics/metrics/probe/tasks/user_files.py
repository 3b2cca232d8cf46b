"""Reader of a user's own task: a table with the columns text and label."""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from sae_lens_metrics.metrics.probe.tasks.preparation import LabelledText, prepare, rng_of
from sae_lens_metrics.metrics.probe.tasks.task import ProbeTask, TaskError
from sae_lens_metrics.results.in_words import encodable
from sae_lens_metrics.text.data_faults import why_unreadable

__all__ = ["load_task_file", "split_positive", "task_file_name"]

_TRUE, _FALSE = frozenset({"1", "1.0", "true"}), frozenset({"0", "0.0", "false"})


def load_task_file(given: str, n_examples: int, seed: int) -> ProbeTask:
    """The task in a file or in a folder that `Dataset.save_to_disk` has written; its name is the file's without the suffix.

    Args:
        given: Path of a .csv, .jsonl or .parquet file, or of a folder, with the columns ``text`` and ``label``, and maybe ``group``
            (texts that share a passage, and must be held out together). Labels are 0 and 1, true and false, or any two values, of
            which the positive one is then named after the path: ``reviews.csv:good``.
        n_examples: How many to take at most, balanced.
        seed: Chooses them.

    Raises:
        TaskError: The file cannot be read, lacks a column, or does not hold at least 20 examples of two classes.
    """
    path, positive = split_positive(given)
    try:
        rows = _read(path)
    except TaskError:
        raise
    except Exception as error:  # every reader has its own errors
        raise TaskError(f"the task file {str(path)!r} cannot be read: {why_unreadable(path, error)}") from error
    examples = _examples(path, rows, positive)
    name = task_file_name(given)
    description = f"Texts of {path.name} with a positive label, against texts with a negative one."
    return prepare(name, "own", description, examples, n_examples, rng_of(name, seed))


def task_file_name(given: str) -> str:
    """The name of the task in a file."""
    return encodable(split_positive(given)[0].stem)


def split_positive(given: str) -> tuple[Path, str | None]:
    """The path, and the positive class if one is named after a colon; a file whose name has the colon itself goes first.

    Raises:
        TaskError: There is no such file.
    """
    path, colon, positive = given.rpartition(":")
    if os.path.exists(given):  # which answers of any name
        return Path(given), None
    if colon and os.path.exists(path):
        return Path(path), positive
    raise TaskError(f"there is no task file {given!r}: give the path of a .csv, .jsonl or .parquet file, or of a data set folder")


def _read(path: Path) -> list[dict[str, Any]]:
    if path.is_dir():
        return _folder_rows(path)
    if not path.is_file():
        raise TaskError(f"the task file {str(path)!r} is neither a file nor a folder: give a .csv, .jsonl or .parquet file")
    if path.suffix not in _READERS:
        raise TaskError(f"the task file {str(path)!r} has a name that does not end in {', '.join(_READERS)}: rename or convert it")
    return _READERS[path.suffix](path)


def _csv_rows(path: Path) -> list[dict[str, Any]]:
    import pandas as pd

    return _records(pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig").to_dict("records"))


def _jsonl_rows(path: Path) -> list[dict[str, Any]]:
    lines = path.read_text(encoding="utf-8-sig").split("\n")  # not at the line separators that JSON allows inside of strings
    return _records(json.loads(line) for line in lines if line.strip())


def _parquet_rows(path: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet

    return _records(pyarrow.parquet.read_table(path).to_pylist())


def _folder_rows(path: Path) -> list[dict[str, Any]]:
    from datasets import Dataset, load_from_disk

    loaded = load_from_disk(str(path))
    if not isinstance(loaded, Dataset):
        raise TaskError(f"the data set folder {str(path)!r} holds several splits, {', '.join(map(str, loaded))}: give the folder of one")
    return _records(loaded)


_READERS: dict[str, Callable[[Path], list[dict[str, Any]]]] = {".csv": _csv_rows, ".jsonl": _jsonl_rows, ".parquet": _parquet_rows}


def _records(rows: Iterable[Any]) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} if isinstance(row, Mapping) else {} for row in rows]


def _examples(path: Path, rows: list[dict[str, Any]], positive: str | None) -> list[LabelledText]:
    for column in ("text", "label"):
        incomplete = next((row for row in rows if row.get(column) is None), None)
        if incomplete is not None:
            found = ", ".join(repr(name) for name in incomplete) or "none"
            raise TaskError(f"the task file {str(path)!r} lacks the column {column!r}, or a value in it: a row has the columns {found}")
    for number, row in enumerate(rows, start=1):
        _check_encodable(path, number, str(row["text"]))
    is_positive = _labels(path, [str(row["label"]).strip() for row in rows], positive)
    return [
        LabelledText(str(row["text"]), label, None if row.get("group") in (None, "") else str(row["group"]))
        for row, label in zip(rows, is_positive, strict=True)
    ]


def _check_encodable(path: Path, number: int, text: str) -> None:
    """Refuses half of a surrogate pair, which JSON can write and no tokenizer can read."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        broken = ascii(text[error.start])
        raise TaskError(f"the task file {str(path)!r} has a text with {broken} in row {number}, which is no character: mend it") from None


def _labels(path: Path, labels: list[str], positive: str | None) -> list[bool]:
    values = sorted(set(labels))
    if len(values) > 2:
        shown = ", ".join(map(repr, values[:5]))
        raise TaskError(f"the task file {str(path)!r} has {len(values)} different labels ({shown}...), expected two")
    if positive is not None and positive not in values:
        raise TaskError(f"the task file {str(path)!r} has no label {positive!r}, but {', '.join(map(repr, values)) or 'none'}")
    if positive is not None:
        return [label == positive for label in labels]
    truths = [label.lower() for label in labels]
    if not set(truths) <= _TRUE | _FALSE:
        raise TaskError(
            f"the task file {str(path)!r} has the labels {', '.join(map(repr, values))}, which do not say which is positive: "
            f"name it after the path, as in {f'{path}:{values[-1]}'!r}"
        )
    return [label in _TRUE for label in truths]
