"""The one way from here to a terminal for what is not a table: names, tokens and messages of anybody, which cannot steer it."""

import logging
import sys
from contextlib import suppress
from typing import TextIO

from sae_lens_metrics.results.in_words import printable_lines

__all__ = ["PrintableFormatter", "complain", "say"]


def say(text: str) -> None:
    """Prints text to standard output at once, with control characters written out."""
    _print(text, sys.stdout)


def complain(text: str) -> None:
    """Prints text to standard error, likewise; where that takes nothing, such as on a full disk, there is nobody to tell."""
    with suppress(OSError):
        _print(text, sys.stderr)


def _print(text: str, stream: TextIO) -> None:
    print(printable_lines(text), file=stream, flush=True)


class PrintableFormatter(logging.Formatter):
    """Log records, those of other packages among them, with control characters written out."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        return printable_lines(super().format(record))
