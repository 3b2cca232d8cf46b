"""A value for each row of a table, such as a probe task, with the baselines that stand in the same row."""

from collections.abc import Mapping

from sae_lens_metrics.metrics.figure_specs import RowsFigure
from sae_lens_metrics.metrics.spec import MetricSpec
from sae_lens_metrics.results import Report, Row
from sae_lens_metrics.views.figures.figure import Figure, Series
from sae_lens_metrics.views.figures.groups import Group, groups
from sae_lens_metrics.views.figures.numbers import ERRORS
from sae_lens_metrics.views.figures.row_baselines import Rows, baselines
from sae_lens_metrics.views.figures.values import finite, table

__all__ = ["rows_figure"]


def rows_figure(spec: MetricSpec, figure: RowsFigure, reports: Mapping[str, Report]) -> list[Figure]:
    """The figure, if any SAE has a value in any row.

    Where the figure names a group, rows are in the order of their groups, and in each from the lowest value of the first SAE that has
    the row; otherwise they are in the order of the tables.

    Args:
        spec: The metric.
        figure: What to draw.
        reports: Reports by the SAEs' names.
    """
    rows = {name: _labelled(table(report, spec.name, figure.table), figure) for name, report in reports.items()}
    keys = _sorted(rows, figure) if figure.group else list(dict.fromkeys(key for each in rows.values() for key in each))
    values = [_of_group(figure, group, rows, keys) for group in groups(reports)]
    others, whose = baselines(spec, reports, rows, keys)
    series = [each for each in values if any(value is not None for value in each.y)] + others
    caption = " ".join(text for text in (figure.caption, whose, ERRORS if figure.whiskers else "", figure.paper) if text)
    return [Figure(spec.full(figure.name), figure.title, caption, "", figure.x_label, series, sideways=True)] if series else []


def _sorted(rows: Rows, figure: RowsFigure) -> list[str]:
    first = {key: row for each in reversed(list(rows.values())) for key, row in each.items()}
    groups_ = list(dict.fromkeys(_group_of(row, figure) for each in rows.values() for row in each.values()))
    return sorted(first, key=lambda key: (groups_.index(_group_of(first[key], figure)), _or_last(finite(first[key], figure.value))))


def _of_group(figure: RowsFigure, group: Group, rows: Rows, keys: list[str]) -> Series:
    marks = [(key, name, rows[name].get(key, {})) for key in keys for name in group.reports]
    errors = [finite(row, f"{figure.value}_stderr") for _, _, row in marks]
    return Series(
        group.name,
        [key for key, _, _ in marks],
        [finite(row, figure.value) for _, _, row in marks],
        errors if any(error is not None for error in errors) else None,
        labels=[f"{name}, {key}" for key, name, _ in marks],
        colour=group.colour,
    )


def _keyed(rows: list[Row], key: str) -> dict[str, Row]:
    return {str(row[key]): row for row in rows if key in row}


def _labelled(rows: list[Row], figure: RowsFigure) -> dict[str, Row]:
    """Rows by their names, with the group where the name does not say it."""
    keyed = _keyed(rows, figure.key)
    if not figure.group:
        return keyed
    groups_ = {key: _group_of(row, figure) for key, row in keyed.items()}
    return {key if groups_[key] in key else f"{key} ({groups_[key]})": row for key, row in keyed.items()}


def _group_of(row: Mapping[str, object], figure: RowsFigure) -> str:
    return str(row.get(figure.group, ""))


def _or_last(value: float | None) -> float:
    return float("inf") if value is None else value
