"""Numbers, text and values of files as a terminal shows them."""

import math
from collections.abc import Sequence
from typing import Any

__all__ = ["encodable", "printable", "printable_lines", "shown", "with_error"]

_MOST_DECIMALS = 6
_LONGEST = 60
"""Characters of a value that are shown."""
_WRITABLE = 10**4000
"""Python writes no whole number of more than some thousands of digits."""
_FEW = 4
"""Entries of a list that is shown as it is."""


def with_error(value: float, stderr: float | None, *, shown: bool = True) -> str:
    """A number to the place of the second digit of its standard error, followed by that; to four digits if it has none.

    Args:
        value: The number.
        stderr: Its standard error, if it has one.
        shown: Whether the error itself is wanted.
    """
    if not stderr:
        return f"{value:.4g}"
    decimals = max(0, 1 - int(f"{stderr:e}".split("e")[1]))
    if decimals > _MOST_DECIMALS:
        text, error = f"{value:.3g}", f"{stderr:.2g}"
    else:
        text, error = f"{value:.{decimals}f}", f"{stderr:.{decimals}f}"
    return f"{text} ± {error}" if shown else text


def printable(text: str) -> str:
    """The text with control characters, and what changes its direction, written out."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def printable_lines(text: str) -> str:
    """The same for text of several lines, which stay lines."""
    return "\n".join(map(printable, text.split("\n")))


def encodable(text: str) -> str:
    """The text with halves of surrogate pairs, which names of files and JSON can hold and UTF-8 cannot, written out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def shown(value: Any) -> str:
    """A value of a file as errors show it: short, on one line.

    Args:
        value: JSON types.
    """
    if isinstance(value, list | tuple):
        return _list_in_words(value)
    if isinstance(value, dict):
        return f"an object of {len(value)}"
    if value is None or isinstance(value, bool):
        return str({None: "null", True: "true", False: "false"}[value])
    if isinstance(value, int | float):
        return _number_in_words(value)
    text = repr(value) if isinstance(value, str) else f"a {type(value).__name__}"
    return printable(text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …")


def _list_in_words(values: Sequence[Any]) -> str:
    if len(values) <= _FEW and not any(isinstance(each, list | tuple | dict) for each in values):
        few = f"[{', '.join(map(shown, values))}]"
        if len(few) <= _LONGEST:
            return few
    return f"a list of {len(values)}"


def _number_in_words(value: float) -> str:
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else f"{value!r}"
    if abs(value) < 10**20:
        return f"{value}"
    return f"a whole number of {len(f'{abs(value)}')} digits" if abs(value) < _WRITABLE else "a whole number of more than 4,000 digits"
