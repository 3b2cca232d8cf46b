"""Changes of a README: some of its settings (YAML between two lines of dashes), and a section; all else stays as it is, to the byte."""

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import yaml

from sae_lens_metrics.errors import PublishError

__all__ = ["BEGIN", "END", "settings_of", "with_section", "with_settings"]

BEGIN, END = "<!-- sae-lens-metrics: begin -->", "<!-- sae-lens-metrics: end -->"
"""The marks around what is replaced when results are published again."""
_BLOCK = re.compile(r"\A(\ufeff?\s*---[ \t]*\r?\n)(.*?)(^---[ \t]*(?:\r?\n|\Z))", re.DOTALL | re.MULTILINE)
_KEY = re.compile(r"^(?:[^\s#\-'\"][^:\n]*|'[^'\n]*'|\"[^\"\n]*\"):(?=\s|$)", re.MULTILINE)
"""How an entry of the outermost level begins."""


def settings_of(card: str) -> dict[str, Any]:
    """The settings of a README; none where it has none.

    Args:
        card: The README.

    Raises:
        PublishError: If they are no YAML.
    """
    found = _BLOCK.match(card)
    try:
        settings = yaml.safe_load(found[2]) if found else None
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise PublishError(f"the README's settings between the lines of dashes are no YAML ({reason[:200]}): mend it on the hub") from error
    if settings is not None and not isinstance(settings, dict):
        raise PublishError("the README's settings between the lines of dashes are no YAML with names and values: mend it on the hub")
    return settings or {}


def with_settings(card: str, settings: Mapping[str, Any]) -> str:
    """A README with some settings changed or added.

    Args:
        card: The README.
        settings: The new values, by names of the outermost level.

    Raises:
        PublishError: If its settings are written in a way in which they cannot be changed one by one.
    """
    settings_of(card)
    found = _BLOCK.match(card)
    newline = "\r\n" if "\r\n" in card[:1000] else "\n"
    if found is None:
        return f"---{newline}{_dumped(settings, newline)}---{newline}{newline if card else ''}{card}"
    block = found[2]
    for name, value in settings.items():
        block = _replaced(block, name, _dumped({name: value}, newline), newline)
    changed = card[: found.start(2)] + block + card[found.end(2) :]
    expected = {**settings_of(card), **settings}
    if settings_of(changed) != expected:
        raise PublishError(
            "the README's settings are written in a way that cannot be changed without changing more: add a line of yours by hand"
        )
    return changed


def with_section(card: str, section: str) -> str:
    """A README with a section between the marks, in the place of the former one, or at its end.

    Args:
        card: The README.
        section: Markdown.

    Raises:
        PublishError: If the marks are not there once each.
    """
    newline = "\r\n" if "\r\n" in card else "\n"
    text = newline.join([BEGIN, "", *section.strip("\n").split("\n"), "", END])
    if BEGIN not in card and END not in card:
        return f"{card.rstrip()}{newline * 2 if card.strip() else ''}{text}{newline}"
    before, _, rest = card.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end or BEGIN in rest or END in after or END in before:
        raise PublishError(
            f"the README has {BEGIN} or {END} without the other one, or twice: leave one pair, with what may be replaced between"
        )
    return f"{before}{text}{after}"


def _replaced(block: str, name: str, text: str, newline: str) -> str:
    """The settings with one entry in the place of the former one; comments and order stay."""
    starts = [*(each.start() for each in _KEY.finditer(block)), len(block)]
    for start, stop in pairwise(starts):
        if block[start:].split(":", 1)[0].strip("'\"") == name:
            kept = re.search(r"(?:^[ \t]*(?:#[^\n]*)?\n)*\Z", block[start:stop], re.MULTILINE)  # comments above the next entry
            return block[:start] + text + (kept[0] if kept else "") + block[stop:]
    return block + ("" if not block or block.endswith("\n") else newline) + text


def _dumped(settings: Mapping[str, Any], newline: str) -> str:
    text = yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True, width=1000)
    return text.replace("\n", newline)
