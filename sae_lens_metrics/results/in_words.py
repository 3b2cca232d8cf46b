"""Numbers and text as a terminal shows them."""

__all__ = ["encodable", "printable", "with_error"]

_MOST_DECIMALS = 6


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


def encodable(text: str) -> str:
    """The text with halves of surrogate pairs, which names of files and JSON can hold and UTF-8 cannot, written out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
