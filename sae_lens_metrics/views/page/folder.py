"""The folder form of a page: its data are in a folder of their own, so that it is wholly the old page or the new one at any moment."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["PART", "fresh_data"]

PART = b"saeLensMetrics.receive("
"""How a file of data begins."""
_NAMES = ("data", "data-2")
"""The data are in one of them; the other one is written while somebody may look at the page."""


@contextmanager
def fresh_data(page: Path) -> Iterator[Path]:
    """A folder for the data of a page that is about to be written; when the page is there, those of the former page go.

    Args:
        page: The ``index.html``, which may be there already.

    Yields:
        The folder, beside the page, which does not exist yet.
    """
    former = _named_in(page)
    fresh = page.parent / next(name for name in _NAMES if name != former)
    _remove(fresh)  # what an interrupted write has left
    yield fresh
    if former is not None:
        _remove(page.parent / former)


def _named_in(page: Path) -> str | None:
    try:
        with page.open(encoding="utf-8", errors="replace") as file:
            start = file.read(1_000)
    except OSError:
        return None
    found = re.search(r'<html [^>]*data-parts="([\w-]+)"', start)
    return found[1] if found else _NAMES[0]


def _remove(folder: Path) -> None:
    """Removes the parts in it, whole or half-written, and itself, unless it holds something else."""
    for file in folder.glob("*"):
        if file.is_file() and _is_part(file):
            file.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _is_part(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(PART)) == PART
