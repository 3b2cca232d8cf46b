"""The paper's figures about kinds of SAEs, of a grid of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from sae_lens_metrics.comparison.trends.grid import Cell, Trained
from sae_lens_metrics.metrics.registry import metric_spec
from sae_lens_metrics.metrics.sanity.spec import L0
from sae_lens_metrics.results import Estimate, Report
from sae_lens_metrics.views.figures.figure import Figure, Level, Mark, Series
from sae_lens_metrics.views.figures.numbers import ERRORS

__all__ = ["trend_figures"]

_K, _L0 = "k: active latents per token", "L0: active latents per token"
_LINES = "A line for each number of latents n, TopK SAEs of the first training seed."
_WIDEST = "SAEs of the most latents, of the first training seed."


def trend_figures(reports: Mapping[Trained, Report]) -> list[Figure]:
    """Figures 6, 8, 9, 24 and 25 of Gao et al. 2024; SAEs of the first training seed are drawn.

    Args:
        reports: Results by SAE; what no result has is left out.
    """
    shown = {each.cell: dict(report.estimates()) for each, report in reports.items() if each.seed == 0}
    whole = {each.cell: report for each, report in reports.items() if each.seed == 0}
    found = [
        _over_k(shown, "probe/loss", "6a_probe", "Probe loss", "Lower is better. Figure 6a.", "probe/channels_loss"),
        _over_k(shown, "ablation/sparsity", "6b_ablation", "Sparsity of ablation effects", "Lower is sparser. Figure 6b."),
        _explanations(shown),
        *_change(whole),
        *(_refined(shown, *each) for each in _REFINED),
        *(_beside_relu(shown, number) for number in ("recall", "precision")),
        _over_k(shown, "n2g/recall", "25a_recall", "Recall of N2G explanations", "Higher is better. Figure 25a."),
        _over_k(shown, "n2g/precision", "25b_precision", "Precision of N2G explanations", "Higher is better. Figure 25b."),
    ]
    return [figure for figure in found if any(any(value is not None for value in series.y) for series in figure.series)]


Shown = Mapping[Cell, Mapping[str, Estimate]]

_REFINED = (
    ("9b_error", "Squared error before and after refinement", "squared error over variance", "mse_raw", "mse_refined"),
    ("9c_loss", "Loss added before and after refinement", "nats", "ce_added_raw", "ce_added_refined"),
)


def _over_k(shown: Shown, number: str, name: str, title: str, caption: str, baseline: str = "") -> Figure:
    levels = [Level("channels", value) for value in [_first(shown, baseline)] if value is not None]
    series = [_line(f"n = {n:,}", _topk(shown, n), number, _dial, colour=place) for place, n in enumerate(_widths(shown))]
    return Figure(f"trends/{name}", title, f"{_LINES} {caption} {ERRORS}", _K, _label(number), series, levels, log_x=True)


def _explanations(shown: Shown) -> Figure:
    number = "explanation/ce_explanation"
    series = [_line(f"explanations, n = {n:,}", _topk(shown, n), number, _dial, colour=place) for place, n in enumerate(_widths(shown))]
    for n in _widths(shown)[-1:]:
        own = _line(f"the SAE itself, n = {n:,}", _topk(shown, n), "explanation/ce_reconstruction", _dial, colour=len(series))
        series.append(own)
    names = {"ce_unigram": "unigrams", "ce_bigram": "bigrams", "ce_clean": "the model"}
    found = {label: _first(shown, f"explanation/{name}") for name, label in names.items()}
    levels = [Level(label, value) for label, value in found.items() if value is not None]
    caption = f"Next-token loss with each in place of the activation. Lower is better. {_LINES} Figure 8. {ERRORS}"
    return Figure("trends/8_explanations", "Loss with explanations", caption, _K, "nats", series, levels, log_x=True)


def _refined(shown: Shown, name: str, title: str, label: str, raw: str, refined: str) -> Figure:
    marks: tuple[tuple[str, str, Mark], ...] = (("raw", raw, "line"), ("refined", refined, "dot"))
    series = [
        _line(f"{architecture}, {word}", cells, f"shrinkage/{number}", _l0, colour=place, mark=mark)
        for place, (architecture, cells) in enumerate(_widest(shown).items())
        for word, number, mark in marks
    ]
    caption = f"{_WIDEST} Dots are what refining the active latents makes of the line. Lower is better. Figure {name[:2]}. {ERRORS}"
    return Figure(f"trends/{name}", title, caption, _L0, label, series, log_x=True)


def _beside_relu(shown: Shown, number: str) -> Figure:
    series = [
        _line(architecture, cells, f"n2g/{number}", _l0, colour=place) for place, (architecture, cells) in enumerate(_widest(shown).items())
    ]
    title = f"{number.capitalize()} of N2G explanations, TopK and ReLU"
    return Figure(
        f"trends/24_{number}",
        title,
        f"{_WIDEST} Higher is better. Figure 24. {ERRORS}",
        _L0,
        f"{number}, mean over latents",
        series,
        log_x=True,
    )


def _change(whole: Mapping[Cell, Report]) -> Iterator[Figure]:
    """The histograms of a ReLU and a TopK SAE of the most latents, at L0 as near to each other as there are."""
    estimates = {cell: dict(report.estimates()) for cell, report in whole.items()}
    by_architecture = _widest(estimates)
    pairs = [
        (abs(_l0(a, estimates[a]) / _l0(b, estimates[b]) - 1), a, b)
        for a in by_architecture.get("TopK", {})
        for b in by_architecture.get("ReLU", {})
        if _l0(a, estimates[a]) > 0 and _l0(b, estimates[b]) > 0
    ]
    if not pairs:
        return
    _, *cells = min(pairs)
    series = []
    for place, cell in enumerate(cells):
        result = whole[cell].metrics.get("shrinkage")
        histogram = None if result is None else result.histograms.get("change")
        if histogram is None:
            return
        edges, counts = histogram.edges, histogram.counts
        total = sum(counts) or 1
        name = f"{cell.architecture}, L0 {_l0(cell, estimates[cell]):.3g}"
        series.append(Series(name, list(edges), [count / total for count in counts], mark="histogram", colour=place))
    caption = f"{_WIDEST} Right of 0 the SAE shrinks its latents. What is beyond either end is in the outer bins. Figure 9a."
    yield Figure(
        "trends/9a_change", "Change of active latents by refinement", caption, "change over the latent", "share of active latents", series
    )


# --- what is drawn -------------------------------------------------------------------------------------------------------------


def _line(
    name: str, cells: Shown, number: str, place: Callable[[Cell, Mapping[str, Estimate]], float], *, colour: int, mark: Mark = "line"
) -> Series:
    there = sorted((place(cell, estimates), cell) for cell, estimates in cells.items() if _value(estimates, number) is not None)
    there = [(x, cell) for x, cell in there if x > 0]  # which a logarithmic axis has a place for
    found = [cells[cell][number] for _, cell in there]
    labels = [cell.name for _, cell in there]
    return Series(name, [x for x, _ in there], [each.value for each in found], [each.stderr for each in found], mark, labels, colour)


def _dial(cell: Cell, estimates: Mapping[str, Estimate]) -> float:
    return cell.dial


def _l0(cell: Cell, estimates: Mapping[str, Estimate]) -> float:
    return _value(estimates, L0) or 0.0


def _value(estimates: Mapping[str, Estimate], number: str) -> float | None:
    found = estimates.get(number)
    return None if found is None else found.value


def _first(shown: Shown, number: str) -> float | None:
    """A baseline's value, which SAEs at one hook have in common."""
    return next((value for estimates in shown.values() if (value := _value(estimates, number)) is not None), None)


def _widths(cells: Iterable[Cell]) -> list[int]:
    return sorted({cell.n for cell in cells})


def _topk(shown: Shown, n: int) -> dict[Cell, Mapping[str, Estimate]]:
    return {cell: estimates for cell, estimates in shown.items() if (cell.architecture, cell.n) == ("TopK", n)}


def _widest(shown: Shown) -> dict[str, dict[Cell, Mapping[str, Estimate]]]:
    """The SAEs of the most latents, by architecture."""
    n = max(_widths(shown), default=0)
    found: dict[str, dict[Cell, Mapping[str, Estimate]]] = {}
    for cell, estimates in shown.items():
        if cell.n == n:
            found.setdefault(cell.architecture, {})[cell] = estimates
    return found


def _label(number: str) -> str:
    metric, name = number.split("/", 1)
    return metric_spec(metric).number(name).label
