"""How far something is: a bar in a terminal or a notebook, a line now and then in a log."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from tqdm import tqdm
from tqdm.auto import tqdm as tqdm_here

from sae_lens_metrics.results.in_words import printable

__all__ = ["each", "others_are_silent", "progress", "silent", "stage"]

T = TypeVar("T")

_SHOWN_AFTER, _LINE_EVERY = 2.0, 10.0
"""Seconds before a bar is shown, and from one line of a log to the next."""

_NOTEBOOK = any("notebook" in each.__module__ for each in tqdm_here.__mro__)  # tqdm has looked where it runs
_stage: ContextVar[str] = ContextVar("stage", default="")
_silent: ContextVar[bool] = ContextVar("silent", default=False)


@contextmanager
def stage(where: str) -> Iterator[None]:
    """Says where the bars within are in something larger.

    Args:
        where: Such as ``"metric 2 of 5"``; it goes in front of what a bar says.
    """
    token = _stage.set(where)
    try:
        yield
    finally:
        _stage.reset(token)


@contextmanager
def silent() -> Iterator[None]:
    """Within, no bar is shown, as another process shows the same."""
    token = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(token)


def progress(doing: str, *, unit: str, total: int | None = None, scaled: bool = False) -> Any:
    """A bar of tqdm's, to be updated and closed, for what takes more than two seconds.

    Where standard error is a terminal or a notebook, it is drawn and goes away when it is closed. In a file or a pipe it is a line every
    ten seconds at most, without carriage returns.

    Args:
        doing: What is being done.
        unit: What is counted.
        total: How many there are; ``None`` if nobody knows.
        scaled: Whether large counts are written as 1.2k.
    """
    where = _stage.get()
    label = f"{where}, {doing}" if where else doing
    bar: dict[str, Any] = {
        "total": total,
        "desc": printable(label),
        "unit": unit,
        "unit_scale": scaled,
        "leave": False,
        "disable": _silent.get(),
    }
    if _NOTEBOOK:
        return tqdm_here(**bar, delay=_SHOWN_AFTER)
    return tqdm(**bar, delay=_SHOWN_AFTER) if sys.stderr.isatty() else _Lines(**bar, mininterval=_LINE_EVERY, delay=_LINE_EVERY)


def each(items: Sequence[T], doing: str, *, unit: str) -> Iterator[T]:
    """Goes through items, with a bar as ``progress`` makes them.

    Args:
        items: What to go through.
        doing: What is being done.
        unit: What an item is.
    """
    with progress(doing, unit=unit, total=len(items)) as bar:
        for item in items:
            yield item
            bar.update(1)


def others_are_silent() -> bool:
    """Whether other packages' bars were switched off, as the command line does where they would fill a log."""
    return bool(os.environ.get("TQDM_DISABLE")) and not sys.stderr.isatty()


class _Lines(tqdm):
    """A bar that is written line by line."""

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Writes where it is, and nothing when it is closed; tqdm returns the carriage only if this returns something."""
        if msg is None and self.n < (self.total or float("inf")):
            self.fp.write(f"{self}\n")
            self.fp.flush()
