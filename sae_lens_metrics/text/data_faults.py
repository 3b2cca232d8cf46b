"""What is wrong with files and folders of text, in words."""

import codecs
import json
from pathlib import Path

__all__ = ["data_fault"]

_PIECE = 1 << 20
"""Bytes that are looked at at once."""


def data_fault(path: Path) -> str | None:
    """What keeps a file or a folder from being read as a data set, or ``None`` if nothing is seen; rows are not looked at.

    Args:
        path: A folder, or a .txt, .csv, .json, .jsonl or .parquet file.
    """
    try:
        if path.is_dir():
            return _folder_fault(path)
        if path.stat().st_size == 0:
            return "it is empty, give one that holds text"
        if path.suffix == ".parquet":
            return _parquet_fault(path)
        return _encoding_fault(path) or (_line_fault(path) if path.suffix == ".jsonl" else None)
    except OSError as error:
        return f"it cannot be read ({error.strerror or error})"


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
