"""What a page needs to rank its SAEs by any number: what each SAE is, and which of them noise cannot tell apart."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from sae_lens_metrics.comparison.contenders import Contenders
from sae_lens_metrics.comparison.ranking import ALPHA, Pool, Ranking, rankings
from sae_lens_metrics.metrics.spec import MetricSpec
from sae_lens_metrics.results import Report

__all__ = ["LEAST", "leaderboard_value"]

LEAST = 3
"""SAEs from which on they are ranked; of two a comparison says more."""
_LAYER = re.compile(r"(?<![^.])[0-9]{1,4}(?![^.])")
"""The number that is a part by itself in names as ``blocks.8.hook_resid_pre`` and ``model.layers.8``."""


def leaderboard_value(contenders: Contenders, reports: Mapping[str, Report]) -> dict[str, Any]:
    """A leaderboard as JSON types, small however many SAEs there are: groups, and no pairs.

    Args:
        contenders: The SAEs with their numbers, in the order of the reports.
        reports: Their reports, whose influences are not looked at.
    """
    numbers = {ranking.number: _ranking(ranking, *contenders.named(ranking.number)) for ranking in rankings(contenders)}
    return {"alpha": ALPHA, "saes": [_about(report) for report in reports.values()], "numbers": numbers}


def _about(report: Report) -> dict[str, Any]:
    """What an SAE is, by what readers look for."""
    sae = report.section("sae")
    hook = sae.get("hook_name")
    layer = _LAYER.search(hook or "")
    return {
        "model": sae.get("model_name"),
        "layer": None if layer is None else int(layer[0]),
        "hook": hook if layer is None else layer.re.sub("*", layer.string, count=1),
        "width": sae.get("d_sae"),
        "architecture": sae.get("architecture"),
    }


def _ranking(ranking: Ranking, spec: MetricSpec, short: str) -> dict[str, Any]:
    shown = {name: each for name, each in spec.numbers.items() if each.baseline_of == short and (each.baseline or each.shown)}
    return {
        "metric": spec.name,
        "name": short,
        "better": ranking.better,
        "pools": [_pool(each) for each in ranking.pools],
        "apart": ranking.apart,
        "instead": ranking.instead,
        "unpaired": ranking.unpaired,
        "repeated": ranking.repeated,
        "untested": {str(place): reason for place, reason in ranking.untested.items()},
        "ungrouped": ranking.ungrouped,
        "pairs": ranking.pairs,
        "baselines": {name: each.baseline or each.label.removeprefix(f"{spec.number(short).label}: ") for name, each in shown.items()},
    }


def _pool(pool: Pool) -> dict[str, Any]:
    return {"saes": pool.saes, "groups": [_runs(group) for group in pool.groups], "open": pool.open}


def _runs(places: Sequence[int]) -> list[int]:
    """Increasing numbers as the first and the last of each run of neighbours, as those that noise cannot tell apart mostly are."""
    ends = [i for i, (a, b) in enumerate(pairwise(places), start=1) if b != a + 1]
    return [end for first, last in pairwise([0, *ends, len(places)]) for end in (places[first], places[last - 1])]
