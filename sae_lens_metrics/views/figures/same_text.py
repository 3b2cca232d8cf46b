"""Whether the SAEs of a figure were evaluated on the same text."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from sae_lens_metrics.results import Report
from sae_lens_metrics.views.figures.figure import Figure

__all__ = ["with_text"]

_DIFFERS = "These SAEs were not all evaluated on the same text."


def with_text(figures: Iterable[Figure], reports: Mapping[str, Report], metric: str) -> Iterator[Figure]:
    """The figures of a metric, with a last sentence in their captions where the SAEs that have it were evaluated on different text.

    Args:
        figures: The figures.
        reports: Reports by the SAEs' names.
        metric: The metric that the figures are of.
    """
    texts = {_text(report) for report in reports.values() if metric in dict(report.results())} - {None}
    for figure in figures:
        yield replace(figure, caption=f"{figure.caption} {_DIFFERS}".strip()) if len(texts) > 1 else figure


def _text(report: Report) -> str | None:
    """The hash of the tokens; ``None`` where it is not known."""
    corpus = report.provenance.get("corpus")
    found = corpus.get("tokens_sha256") if isinstance(corpus, dict) else None
    return None if found is None else str(found)
