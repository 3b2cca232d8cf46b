"""Which SAEs share a name and a colour in a figure."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from sae_lens_metrics.results import Report

__all__ = ["FEW", "Group", "groups"]

FEW = 4
"""SAEs that a reader can tell apart by colour. More of them are points, coloured by architecture."""
_MOST = 5
"""Architectures with a colour of their own, which leaves three colours for baselines."""
_OTHERS, _ALL = "other architectures", "SAEs"


@dataclass(frozen=True)
class Group:
    """SAEs that are drawn alike."""

    name: str
    """What the legend says."""
    reports: Mapping[str, Report]
    """Their reports by name."""
    colour: int
    """Their colour in every figure."""


def groups(reports: Mapping[str, Report], most: int = _MOST) -> list[Group]:
    """A group for each SAE where they are few, otherwise one for each architecture.

    Args:
        reports: Reports by the SAEs' names.
        most: How many groups at most, one or more; the less common architectures are in the last one.
    """
    if len(reports) <= min(FEW, most):
        return [Group(name, {name: report}, colour) for colour, (name, report) in enumerate(reports.items())]
    of = {name: _architecture(report) for name, report in reports.items()}
    there = list(dict.fromkeys(of.values()))
    most = min(most, _MOST)
    if len(there) > most:
        common = {architecture for architecture, _ in Counter(of.values()).most_common(most - 1)}
        there = [*(each for each in there if each in common), _OTHERS if common else _ALL]
        of = {name: architecture if architecture in common else there[-1] for name, architecture in of.items()}
    return [Group(each, {name: reports[name] for name in reports if of[name] == each}, i) for i, each in enumerate(there)]


def _architecture(report: Report) -> str:
    sae = report.provenance.get("sae")
    return str((sae.get("architecture") if isinstance(sae, dict) else None) or "unknown architecture")
