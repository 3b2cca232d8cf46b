"""Figures of 1d probes."""

from collections.abc import Iterator, Mapping

from sae_lens_metrics.metrics.guide import GUIDE
from sae_lens_metrics.results import Report, Row
from sae_lens_metrics.views.figures.figure import Figure, Series
from sae_lens_metrics.views.figures.groups import Group, groups
from sae_lens_metrics.views.figures.numbers import ERRORS, Numbers
from sae_lens_metrics.views.figures.probe_baselines import Rows, baselines
from sae_lens_metrics.views.figures.values import finite, table

__all__ = ["probe_figures"]

_LOSS = "loss of the best 1d probe, nats"
_READ = "Lower is better, 0.693 is chance; beside the latents is what the same search finds among other directions."
_TASKS = "Tasks of one kind are beside each other, from the best to the worst."


def probe_figures(reports: Mapping[str, Report]) -> Iterator[Figure]:
    """The mean loss, the loss by family, and the loss of each task."""
    numbers = Numbers(
        "probe/loss",
        "Probe loss, mean over tasks",
        f"{_READ} Figure 6a of Gao et al. 2024.",
        _LOSS,
        {"probe/loss": "latents"},
        {f"probe/{name}": label for name, label in GUIDE["probe"].baselines.items()},
    )
    yield from numbers.figures(reports)
    yield from _by_family(reports)
    yield from _by_task(reports)


def _by_family(reports: Mapping[str, Report]) -> Iterator[Figure]:
    """Mean loss of the tasks of one kind; the tables hold no shuffled labels by family."""
    rows = {name: _keyed(table(report, "probe", "families"), "family") for name, report in reports.items()}
    families = list(dict.fromkeys(family for each in rows.values() for family in each))
    series, whose = _series(reports, rows, families)
    if series:
        caption = " ".join(["Mean over the tasks of each kind.", _READ, *whose, ERRORS, "Figure 23 of Gao et al. 2024."])
        yield Figure("probe/by_family", "Probe loss by kind of task", caption, "", _LOSS, series, sideways=True)


def _by_task(reports: Mapping[str, Report]) -> Iterator[Figure]:
    """The loss of each task: families in their order, and in each from the lowest loss of the first SAE that has the task."""
    rows = {name: _by_label(table(report, "probe", "tasks")) for name, report in reports.items()}
    first = {task: row for each in reversed(rows.values()) for task, row in each.items()}
    families = list(dict.fromkeys(str(row.get("family", "")) for each in rows.values() for row in each.values()))
    tasks = sorted(first, key=lambda task: (families.index(str(first[task].get("family", ""))), _or_last(finite(first[task], "loss"))))
    series, whose = _series(reports, rows, tasks)
    if series:
        caption = " ".join([_TASKS, _READ, *whose, "Figure 33 of Gao et al. 2024."])
        yield Figure("probe/by_task", "Probe loss of each task", caption, "", _LOSS, series, sideways=True)


def _series(reports: Mapping[str, Report], rows: Rows, keys: list[str]) -> tuple[list[Series], list[str]]:
    """The latents of each SAE with the baselines, and what the caption says about those, if there are any."""
    latents = [_of_group(group, rows, keys) for group in groups(reports)]
    others, whose = baselines(reports, rows, keys)
    return [each for each in latents if any(loss is not None for loss in each.y)] + others, [whose] if whose else []


def _of_group(group: Group, rows: Rows, keys: list[str]) -> Series:
    marks = [(key, name, rows[name].get(key, {})) for key in keys for name in group.reports]
    errors = [finite(row, "loss_stderr") for _, _, row in marks]
    return Series(
        group.name,
        [key for key, _, _ in marks],
        [finite(row, "loss") for _, _, row in marks],
        errors if any(error is not None for error in errors) else None,
        labels=[f"{name}, {key}" for key, name, _ in marks],
        colour=group.colour,
    )


def _keyed(rows: list[Row], key: str) -> dict[str, Row]:
    return {str(row[key]): row for row in rows if key in row}


def _by_label(rows: list[Row]) -> dict[str, Row]:
    """Tasks by their name, with the family where the name does not say it."""
    tasks = {task: (row, str(row.get("family", ""))) for task, row in _keyed(rows, "task").items()}
    return {task if family in task else f"{task} ({family})": row for task, (row, family) in tasks.items()}


def _or_last(loss: float | None) -> float:
    return float("inf") if loss is None else loss
