"""The latents for a token, in the terminal."""

from collections.abc import Iterator, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from sae_lens_metrics.metrics.registry import spec_of_result
from sae_lens_metrics.metrics.spec import MetricSpec
from sae_lens_metrics.results import Report, Row
from sae_lens_metrics.results.in_words import printable
from sae_lens_metrics.views.firing_tokens import firing_tokens
from sae_lens_metrics.views.plain_text import plain

__all__ = ["found_latents"]

_LONGEST = 60
"""Characters of an explanation."""
_WRITTEN = 3
"""Tokens that a latent writes."""


def found_latents(name: str, report: Report, query: str, most: int) -> Iterator[Text | Table]:
    """What there is of an SAE's latents for a token, ranked: a line, and a table if there are any.

    Args:
        name: The SAE.
        report: Its report.
        query: The token.
        most: Latents to show at most.
    """
    found = firing_tokens(report).find(query)
    shown = f", the first {most}" if len(found) > most else ""
    yield plain(f"{name}: {len(found)} latents for {printable(repr(query))}{shown}")
    if not found:
        return
    told = {title: texts for title, texts in _told(report)}
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for title in ("latent", "on it", "behind it"):
        table.add_column(title, justify="right", no_wrap=True)
    for title in told:
        table.add_column(plain(title))
    for each in found[:most]:
        numbers = (str(each.latent), _percent(each.on), _percent(each.after))
        table.add_row(*map(plain, numbers), *(plain(texts.get(each.latent, "")) for texts in told.values()))
    yield table


def _told(report: Report) -> Iterator[tuple[str, Mapping[int, str]]]:
    """What else is said of latents, by column: main numbers, what explains them, and what they write."""
    for metric, result in report.results():
        spec = spec_of_result(metric, result.estimates)
        yield from _numbers(spec, result.tables.get("latents", []))
        if result.explanations is not None:
            yield "fires on", {each.latent: _short(each.to_text()) for each in result.explanations.latents}
        if result.effects and spec.logit_effects is not None and spec.logit_effects.column:
            texts = {each.latent: " ".join(repr(change.text) for change in each.raised[:_WRITTEN]) for each in result.effects}
            yield spec.logit_effects.column.lower(), {latent: _short(text) for latent, text in texts.items()}


def _numbers(spec: MetricSpec, rows: Sequence[Row]) -> Iterator[tuple[str, Mapping[int, str]]]:
    for column in (each for each in spec.latents if each.leading):
        texts: dict[int, str] = {}
        for row in rows:
            latent, value = row.get("latent"), row.get(column.name)
            if isinstance(latent, int) and isinstance(value, int | float):
                texts[latent] = f"{value:.3g}"
        yield column.label, texts


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share else ""


def _short(text: str) -> str:
    text = printable(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
