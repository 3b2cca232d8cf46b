"""The figure of explanation reconstruction."""

from collections.abc import Iterator, Mapping

from sae_lens_metrics.metrics.guide import GUIDE
from sae_lens_metrics.results import Report
from sae_lens_metrics.views.figures.figure import Figure, Series
from sae_lens_metrics.views.figures.groups import Group, groups
from sae_lens_metrics.views.figures.numbers import ERRORS
from sae_lens_metrics.views.figures.values import estimate

__all__ = ["explanation_figures"]

_LOSSES = {"ce_explanation": "explanations", **GUIDE["explanation"].baselines}
_CAPTION = (
    "The model's loss with its residual stream replaced by each of these, from the least harm to the most; left is better. "
    "Explanations left of the mean given two tokens tell more than those do."
)


def explanation_figures(reports: Mapping[str, Report]) -> Iterator[Figure]:
    """What the model loses with its residual stream replaced."""
    order = _order(reports)
    series = [_of_group(group, order) for group in groups(reports)]
    if order:
        caption = f"{_CAPTION} {ERRORS} Figure 8 of Gao et al. 2024."
        title = "Loss with explanations in place of the residual stream"
        drawn = [each for each in series if any(loss is not None for loss in each.y)]
        yield Figure("explanation/losses", title, caption, "", "next-token loss, nats", drawn, sideways=True)


def _order(reports: Mapping[str, Report]) -> list[str]:
    """The losses from the lowest to the highest, as the first SAE that has each of them has it."""
    first: dict[str, float] = {}
    for report in reports.values():
        for name in _LOSSES:
            found = estimate(report, f"explanation/{name}")
            if found is not None and found.value is not None:
                first.setdefault(name, found.value)
    return sorted(first, key=first.__getitem__)


def _of_group(group: Group, order: list[str]) -> Series:
    found = [(_LOSSES[loss], sae, estimate(report, f"explanation/{loss}")) for loss in order for sae, report in group.reports.items()]
    return Series(
        group.name,
        [loss for loss, _, _ in found],
        [None if each is None else each.value for _, _, each in found],
        [None if each is None else each.stderr for _, _, each in found],
        labels=[f"{sae}, {loss}" for loss, sae, _ in found],
        colour=group.colour,
    )
