"""Text of anybody for tables and paragraphs on a terminal: no mark-up, no control characters."""

from rich.markup import escape
from rich.text import Text

from sae_lens_metrics.results.in_words import printable, printable_lines

__all__ = ["as_markup", "plain"]


def plain(text: str, style: str = "") -> Text:
    """Text that the terminal shows as it is, on as many lines as it has.

    Args:
        text: What to show.
        style: How, in words of rich's.
    """
    return Text(printable_lines(text), style=style)


def as_markup(text: str) -> str:
    """The same as a part of text with mark-up, on one line."""
    return escape(printable(text))
