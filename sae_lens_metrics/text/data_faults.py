"""What is wrong with files and folders of text, in words."""

import codecs
import json
import re
from pathlib import Path

from sae_lens_metrics.integrations.unwritten import FULL

__all__ = ["reason_in_words", "why_unreadable"]

_LONGEST = 300
"""Characters of another package's reason."""
_PIECE = 1 << 20
"""Bytes that are looked at at once."""


def why_unreadable(path: Path, error: Exception) -> str:
    """What keeps a file or a folder from being read as a data set, and what to do.

    Args:
        path: A folder, or a .txt, .csv, .json, .jsonl or .parquet file.
        error: What its reader raised, for what is not seen otherwise.
    """
    try:
        if fault := _fault(path):
            return fault
    except OSError as unread:
        return f"it cannot be read ({unread.strerror or unread})"
    if full := _nowhere_to_write(error):
        return f"what is read cannot be kept ({full.strerror}): make room, or name a folder elsewhere with HF_DATASETS_CACHE"
    return f"it is damaged, or its rows are not alike ({reason_in_words(error)}): write it anew, with a column of text"


def _nowhere_to_write(error: BaseException | None) -> OSError | None:
    """What the system said of a disk that is full, if that is behind an error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return error
        error = error.__cause__ or error.__context__
    return None


def reason_in_words(error: Exception) -> str:
    """Another package's words on one line, without the names of its errors, which nobody can look up."""
    said = re.sub(r"\b\w*(Error|Exception)\b:?", "", f"{error}")
    return " ".join(said.split())[:_LONGEST] or "its reader does not say why"


def _fault(path: Path) -> str | None:
    if path.is_dir():
        return _folder_fault(path)
    if path.stat().st_size == 0:
        return "it is empty, give one that holds text"
    if path.suffix == ".parquet":
        return _parquet_fault(path)
    return _encoding_fault(path) or (_line_fault(path) if path.suffix == ".jsonl" else None)


def _folder_fault(path: Path) -> str | None:
    if any((path / name).is_file() for name in ("dataset_info.json", "state.json", "dataset_dict.json")):
        return None
    return "the folder holds no data set as Dataset.save_to_disk writes one (dataset_info.json, state.json): give its folder, or a file"


def _parquet_fault(path: Path) -> str | None:
    with path.open("rb") as file:
        begins = file.read(4)
    return None if begins == b"PAR1" else f"it begins with {begins!r}, expected Parquet (b'PAR1'): write it anew"


def _encoding_fault(path: Path) -> str | None:
    decoder, lines = codecs.getincrementaldecoder("utf-8")(), 1
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            try:
                decoder.decode(piece, final=len(piece) < _PIECE)
            except UnicodeDecodeError as error:
                bad = error.object[error.start]
                lines += error.object[: error.start].count(b"\n")
                return f"line {lines} holds the byte 0x{bad:02x} where UTF-8 has no such, expected UTF-8: convert it"
            lines += piece.count(b"\n")
    return None


def _line_fault(path: Path) -> str | None:
    """The first line of JSON lines that is none."""
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line) if line.strip() else {}
            except (ValueError, RecursionError) as error:
                reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply, or a number of too many digits"
                return f"line {number} is not JSON ({reason}), expected an object with text: mend or remove it"
            if not isinstance(row, dict):
                return f"line {number} holds a {type(row).__name__}, expected an object with text: mend or remove it"
    return None
