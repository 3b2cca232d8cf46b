"""Files that are written whole or not at all, and JSON that people can read."""

import json
import os
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["readable_json", "write_atomically"]

_LAYERS = 4
"""Of a report's objects, those that are written over several lines: report, metrics, a metric, its estimates."""
_KEPT = 40
"""Characters of a name that a temporary one begins with, as file systems take 255 bytes."""


def readable_json(value: Any, layer: int = 0) -> str:
    """JSON that people can read: a line for each number, row of a table and example.

    Args:
        value: JSON types, all numbers finite.
        layer: How far it is indented.
    """
    inner = " " * (layer + 1)
    if isinstance(value, dict) and value and layer < _LAYERS:
        lines = [f"{inner}{json.dumps(name)}: {readable_json(each, layer + 1)}" for name, each in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{inner[1:]}}}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(f"{inner}{_flat(each)}" for each in value) + f"\n{inner[1:]}]"
    return _flat(value)


def _flat(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def write_atomically(path: str | Path, text: str) -> Path:
    """Writes text to a temporary file beside the target, then renames it.

    Raises:
        OSError: If it cannot be written; it says which file, and why.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name[:_KEPT]}.{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("x", encoding="utf-8", errors="backslashreplace") as file:  # names of files need not be text
            file.write(text)
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):  # such as in a folder that became read-only, where there is none
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(f"cannot write {str(path)!r} ({error.strerror or error})") from error
        raise
    return path
