"""The data of a page in parts, each compressed by itself, so that a browser opens only what it shows."""

import base64
import gzip
import json
import re
from dataclasses import dataclass
from typing import Any

__all__ = ["Part", "decode", "encode"]

_LEVEL = 6
"""Of gzip: the highest level takes three times as long for one percent."""
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


@dataclass(frozen=True)
class Part:
    """A piece of data under a name."""

    name: str
    """Small letters, digits and hyphens: it is an element's id, or a file's name."""
    text: str
    """The data, compressed, in base64."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name of a part")

    @classmethod
    def of(cls, name: str, value: Any) -> "Part":
        """A part that holds a JSON value."""
        return cls(name, encode(json.dumps(value, separators=(",", ":"), allow_nan=False)))


def encode(text: str) -> str:
    """Text, compressed by gzip, in base64: letters, digits, ``+``, ``/`` and ``=``, which mean nothing to HTML."""
    # without a time stamp, so that the same report gives the same file
    return base64.b64encode(gzip.compress(text.encode("utf-8"), _LEVEL, mtime=0)).decode("ascii")


def decode(text: str) -> str:
    """The inverse of ``encode``."""
    return gzip.decompress(base64.b64decode(text)).decode("utf-8")
