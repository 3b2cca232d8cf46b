"""The one way from here to a terminal for what is not a table: names, tokens and messages of anybody, which cannot steer it."""

import logging
import sys
import warnings
from contextlib import suppress
from typing import TextIO

from sae_lens_metrics.results.in_words import printable_lines

__all__ = ["PrintableFormatter", "complain", "quieten_packages", "say"]


def say(text: str) -> None:
    """Prints text to standard output at once, with control characters written out."""
    _print(text, sys.stdout)


def complain(text: str) -> None:
    """Prints text to standard error, likewise; where that takes nothing, such as on a full disk, there is nobody to tell."""
    with suppress(OSError):
        _print(text, sys.stderr)


def quieten_packages() -> None:
    """Keeps back what other packages say about a model and text of this package's own making, which is of no use to the reader."""
    warnings.filterwarnings("ignore")
    for name in ("sae_lens", "transformer_lens", "transformers", "datasets"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _print(text: str, stream: TextIO) -> None:
    print(printable_lines(text), file=stream, flush=True)


class PrintableFormatter(logging.Formatter):
    """Log records, those of other packages among them, with control characters written out."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        return printable_lines(super().format(record))
