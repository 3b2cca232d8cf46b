"""What the rows of a figure are judged by: drawn once where it is the same for all SAEs, otherwise for each SAE."""

from collections.abc import Mapping

from sae_lens_metrics.metrics.spec import MetricSpec
from sae_lens_metrics.results import Report, Row
from sae_lens_metrics.views.figures.figure import Series
from sae_lens_metrics.views.figures.groups import FEW, groups
from sae_lens_metrics.views.figures.palette import COLOURS
from sae_lens_metrics.views.figures.values import common, finite

__all__ = ["Rows", "baselines"]

Rows = Mapping[str, Mapping[str, Row]]
"""By SAE, then by the row's name."""


def baselines(spec: MetricSpec, reports: Mapping[str, Report], rows: Rows, keys: list[str]) -> tuple[list[Series], str]:
    """The baselines of the rows, and sentences that say whose they are.

    Those that are the same for all SAEs, as channels and random directions of one model and hook are, have a series together. Of others
    each SAE has a series in its own colour; they are left out where there are too many SAEs, and where they are the SAE's by nature.

    Args:
        spec: The metric; its baselines are the columns of their names.
        reports: Reports by the SAEs' names.
        rows: Their results.
        keys: The rows, in the figure's order.
    """
    series: list[Series] = []
    said: dict[str, list[str]] = {"same": [], "own": [], "out": []}
    for place, (column, label) in enumerate(spec.baselines().items(), start=1):
        losses = {name: [finite(each.get(key, {}), column) for key in keys] for name, each in rows.items()}
        if not any(_there(each) for each in losses.values()):
            continue
        colour = len(COLOURS) - place
        if (shared := _shared(rows, keys, column)) is not None:
            said["same"].append(label)
            series.append(Series(label, keys, shared, labels=keys, colour=colour))
        elif spec.number(column).of_the_sae or len(reports) > FEW:
            said["out"].append(label)
        else:
            said["own"].append(label)
            series += _of_each(reports, losses, keys, label, colour)
    return series, _whose(said, sum(bool(each) for each in rows.values()))


def _shared(rows: Rows, keys: list[str], column: str) -> list[float | None] | None:
    """The values that all SAEs with the row have; ``None`` where they differ, or only some SAEs have one."""
    shared: list[float | None] = []
    for key in keys:
        values = [finite(each[key], column) for each in rows.values() if key in each]
        shared.append(common(values))
        if shared[-1] is None and _there(values):
            return None
    return shared


def _of_each(
    reports: Mapping[str, Report], losses: Mapping[str, list[float | None]], keys: list[str], label: str, symbol: int
) -> list[Series]:
    """A series for each SAE: the colour says whose it is, the symbol what."""
    return [
        Series(f"{label}, {group.name}", keys, losses[group.name], labels=keys, colour=group.colour, symbol=symbol)
        for group in groups(reports)
        if _there(losses[group.name])
    ]


def _there(values: list[float | None]) -> bool:
    return any(value is not None for value in values)


def _whose(said: Mapping[str, list[str]], saes: int) -> str:
    if saes == 1:
        return "The baselines are this SAE's own." if said["same"] else ""
    sentences = {"same": "The same for all SAEs", "own": "Each SAE's own", "out": "Left out, as they differ between SAEs"}
    return " ".join(f"{sentence}: {_listed(said[which])}." for which, sentence in sentences.items() if said[which])


def _listed(labels: list[str]) -> str:
    return " and ".join([", ".join(labels[:-1]), labels[-1]] if len(labels) > 1 else labels)
