"""Figures of numbers over a training run."""

from collections.abc import Iterator, Mapping

from sae_lens_metrics.metrics.guide import guide_to
from sae_lens_metrics.results.history import History
from sae_lens_metrics.views.figures.figure import Figure, Level, Series
from sae_lens_metrics.views.figures.numbers import ERRORS
from sae_lens_metrics.views.figures.wording import better, spoken

__all__ = ["training_figures"]

_SHOWN: dict[str, tuple[str, ...]] = {
    "sanity": ("explained_variance", "l0", "dead_latents", "loss_recovered"),
    "probe": ("loss", "held_out_loss", "loss_minus_random"),
    "n2g": ("f1", "precision", "recall"),
    "explanation": ("ce_explanation", "recovered_explanation"),
    "ablation": ("sparsity", "sparsity_minus_random"),
    "shrinkage": ("ratio", "mse_raw", "ce_added_raw"),
}
"""What to follow while an SAE trains."""


_LITTLE = "During training less text and fewer latents are looked at than in an evaluation, so its numbers may differ."


def training_figures(histories: Mapping[str, History]) -> list[Figure]:
    """A figure for each of the main numbers of each metric, with a line for each SAE.

    Args:
        histories: Histories by the SAEs' or runs' names.
    """
    return [figure for metric, names in _numbers(histories).items() for name in names for figure in _figure(histories, metric, name)]


def _numbers(histories: Mapping[str, History]) -> dict[str, tuple[str, ...]]:
    """The numbers to show by metric; of another package's metric its first one."""
    first: dict[str, str] = {}
    for key in (key for history in histories.values() for point in history.points for key in point.values):
        metric, _, name = key.partition("/")
        if name:
            first.setdefault(metric, name)
    return {metric: _SHOWN.get(metric, (name,)) for metric, name in first.items()}


def _figure(histories: Mapping[str, History], metric: str, name: str) -> Iterator[Figure]:
    key = f"{metric}/{name}"
    series = [each for place, (sae, history) in enumerate(histories.items()) for each in _line(sae, history, key, place)]
    if series:
        guide = guide_to(metric, {name: None})
        caption = " ".join(text for text in (guide.meaning, better(key), ERRORS, _LITTLE) if text)
        title = f"{guide.title}: {spoken(key)}"
        yield Figure(f"training/{metric}_{name}", title, caption, "training samples (tokens)", spoken(key), series, _levels(metric, name))


def _line(sae: str, history: History, key: str, place: int) -> list[Series]:
    points = [point for point in history.points if key in point.values]
    if not points:
        return []
    errors = [point.values.get(f"{key}_stderr") for point in points]
    return [Series(sae, [float(point.samples) for point in points], [point.values[key] for point in points], errors, "line", colour=place)]


def _levels(metric: str, name: str) -> list[Level]:
    number = guide_to(metric, {}).numbers.get(name)
    if number is not None and number.better == "one":
        return [Level("best", 1.0)]
    return [Level("no difference", 0.0)] if "_minus_" in name else []
