"""JSON from files that anybody may have written."""

import json
import re
import stat
from pathlib import Path
from typing import Any

from sae_lens_metrics.errors import ResultError

__all__ = ["LARGEST_FILE", "begins_as_result", "parsed", "read_json"]

LARGEST_FILE = 8 * 2**30
"""Bytes of the largest file that is read: 16 million latents take about as much."""
_DIGITS = 400
"""A whole number of more digits is beyond all range, and Python makes whole numbers of some thousands of digits at most."""

_RESULT = re.compile(rb'\s*\{\s*"format"\s*:\s*"sae-lens-metrics"\s*[,}]')


def begins_as_result(file: Path) -> bool:
    """Whether a file says that it is a result; whether it is a whole one is seen when it is read.

    Only its beginning is looked at, where the format always stands, as other files may be large.

    Args:
        file: The file.

    Raises:
        OSError: If it cannot be read.
    """
    with file.open("rb") as stream:
        return _RESULT.match(stream.read(200)) is not None


def read_json(path: Path) -> Any:
    """What is in a JSON file.

    Args:
        path: The file.

    Raises:
        ResultError: If it is no file, too large, or no JSON.
        OSError: If it cannot be read.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ResultError(f"{path} is {'a folder' if stat.S_ISDIR(status.st_mode) else 'no regular file'}, expected a result file")
    if status.st_size > LARGEST_FILE:
        raise ResultError(f"{path} has {status.st_size / 2**30:.1f} GiB, expected a result file of at most {LARGEST_FILE / 2**30:.0f}")
    try:
        return parsed(path.read_text(encoding="utf-8"))
    except MemoryError as error:
        raise ResultError(f"{path} has {status.st_size / 2**30:.1f} GiB, which is more than there is memory for") from error
    except ValueError as error:
        raise ResultError(f"{path} is not JSON ({error}): it is no result file, or was cut short; evaluate again") from error


def parsed(text: str) -> Any:
    """JSON types from text; numbers that no number of Python can be are infinite.

    Args:
        text: JSON.

    Raises:
        ValueError: If it is no JSON, or too deep to be read.
    """
    try:
        return _loaded(text)
    except RecursionError as error:
        raise ValueError("it has too many objects or lists in one another") from error


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError:  # a whole number of thousands of digits: it is told where it stands
        return json.loads(text, parse_int=lambda digits: int(digits) if len(digits) < _DIGITS else float(digits))
