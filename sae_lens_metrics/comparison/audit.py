"""How noisy are numbers from seed to seed, and what can they tell apart?"""

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae_lens_metrics.comparison.noise import NOT_REDRAWN, REPEATED, ErrorRatio, Noise, are_redrawn, by_number, noise_of
from sae_lens_metrics.comparison.resolution import Need, check_wanted, need_of, sampled_settings
from sae_lens_metrics.comparison.result_files import read_reports
from sae_lens_metrics.comparison.saving import write_table
from sae_lens_metrics.comparison.separation import Pair, PairedDifferences, Separation, separation_of
from sae_lens_metrics.errors import ResultError
from sae_lens_metrics.metrics.registry import spec_of_result
from sae_lens_metrics.metrics.spec import MetricSpec
from sae_lens_metrics.results import Estimate, Report

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CAVEAT", "Audit", "audit_files", "audit_reports"]

CAVEAT = (
    "s is over seeds, which move the text, what is sampled of it, and splits; the SAEs stay the same. It is not about the methods that "
    "trained them, which takes several training seeds of each. Of a few seeds s itself is known to a factor only, as the intervals tell, "
    "and of twenty intervals one misses by chance."
)
"""What an audit does not tell."""


@dataclass(frozen=True)
class Audit:
    """What seeds move, and what the numbers tell apart."""

    names: list[str]
    """The SAEs."""
    seeds: list[int]
    """The seeds."""
    disjoint: bool
    """Whether each seed drew from rows of the data set that no other seed drew from."""
    overlap: float | None
    """Share of documents that the texts of two seeds have in common, mean over pairs; ``None`` where it is not known.
    Where it is not 0, s is smaller than with other text each time, and the reported errors, which are about other text, seem too large."""
    numbers: list[Noise]
    """Every number of every SAE."""
    separations: list[Separation]
    """Every number over all SAEs; empty for a single one."""
    pairs: list[Pair]
    """Every number that ``compare`` tests, of every two SAEs."""
    needs: list[Need]
    """What numbers would take to have a wanted s."""
    notes: list[str]
    """What could not be compared, and what else must be known."""
    failed: list[str]
    """Evaluations that failed, and why."""

    def to_frame(self) -> "pd.DataFrame":
        """A row per number and SAE, with the fields of ``Noise`` and of its ``errors`` as columns; the values are left out."""
        import pandas as pd

        columns = [each.name for each in fields(Noise) if each.name not in ("values", "errors", "reason")]
        rows = [{name: getattr(each, name) for name in columns} | _columns(each.errors) | {"reason": each.reason} for each in self.numbers]
        return pd.DataFrame(rows, columns=[*columns, *_columns(None), "reason"])

    def to_dict(self) -> dict[str, Any]:
        """The audit as JSON types."""
        meant = {"caveat": CAVEAT, "not_redrawn": NOT_REDRAWN, "repeated": REPEATED}
        return {"format": "sae-lens-metrics audit", "format_version": "1.2", **meant, **asdict(self)}

    def save(self, path: str | Path) -> Path:
        """Writes the audit: everything as .json, or the numbers as .csv.

        Raises:
            ConfigError: If the name ends in neither.
            OSError: If the folder cannot be written.
        """
        return write_table(path, self)


def audit_reports(reports: Mapping[int, Mapping[str, Report]], **about: Any) -> Audit:
    """Audits reports that are in memory.

    Args:
        reports: Reports by seed and SAE.
        **about: As in ``audit_files``.

    Raises:
        ResultError: If no SAE has results of two seeds.
        ConfigError: If a number of which something is wanted does not exist.
    """
    return _audit(list(reports), iter(reports.values()), **about)


def audit_files(files: Mapping[int, Mapping[str, Path]], **about: Any) -> Audit:
    """Audits result files, one seed in memory at a time.

    Args:
        files: Result files by seed and SAE.
        **about: ``wanted_s``, standard deviations that are wanted, by full names of numbers; ``disjoint``, ``overlap``, ``notes`` and
            ``failed`` as in ``Audit``.

    Raises:
        ResultError: If a file holds no result, or no SAE has results of two seeds.
        ConfigError: If a number of which something is wanted does not exist.
    """
    return _audit(list(files), (read_reports(each) for each in files.values()), **about)


def _audit(
    seeds: Sequence[int],
    by_seed: Iterator[Mapping[str, Report]],
    *,
    wanted_s: Mapping[str, float] | None = None,
    disjoint: bool = False,
    overlap: float | None = None,
    notes: Sequence[str] = (),
    failed: Sequence[str] = (),
) -> Audit:
    check_wanted(wanted_s or {})
    collected, paired, config = _collected(by_seed)
    if all(len(each) < 2 for each in collected.values()):
        raise ResultError("no SAE has results of two seeds, so that nothing is known of what seeds move")
    specs = _Specs(number for estimates in collected.values() for each in estimates for number in each)
    numbers = [noise for name, estimates in collected.items() for noise in _noises(name, estimates, specs)]
    separations = list(_separations(numbers, len(seeds), specs))
    needs = list(_needs(numbers, separations, wanted_s or {}, config, len(seeds) - 1, specs))
    remarks = [*notes, *_remarks(seeds, collected), *paired.notes]
    return Audit(list(collected), list(seeds), disjoint, overlap, numbers, separations, paired.pairs(), needs, remarks, list(failed))


def _collected(
    by_seed: Iterator[Mapping[str, Report]],
) -> tuple[dict[str, list[dict[str, Estimate]]], PairedDifferences, Mapping[str, Any]]:
    """Each SAE's estimates with each seed, the comparisons of each seed, and the configuration but for the seed."""
    collected: dict[str, list[dict[str, Estimate]]] = {}
    paired, config = PairedDifferences(), {}
    for reports in by_seed:
        paired.add(reports)
        for name, report in reports.items():
            collected.setdefault(name, []).append(dict(report.without("influences").estimates()))
            config = config or report.provenance.get("config", {})
    return collected, paired, config


class _Specs:
    """What the metrics of some numbers say about themselves, those that are not installed here too."""

    def __init__(self, numbers: Iterable[str]) -> None:
        names: dict[str, dict[str, None]] = {}
        for number in numbers:
            metric, short = number.split("/", 1)
            names.setdefault(metric, {})[short] = None
        self._specs = {metric: spec_of_result(metric, found) for metric, found in names.items()}

    def of(self, number: str) -> tuple[MetricSpec, str]:
        """A number's metric, and its name there."""
        metric, short = number.split("/", 1)
        return self._specs[metric], short


def _noises(name: str, estimates: Sequence[Mapping[str, Estimate]], specs: _Specs) -> Iterator[Noise]:
    for number, found in by_number(estimates).items():
        spec, short = specs.of(number)
        yield noise_of(number, name, found, headline=short == spec.headline, redrawn=are_redrawn(spec, found[0].of))


def _separations(numbers: Sequence[Noise], seeds: int, specs: _Specs) -> Iterator[Separation]:
    for number, noises in _grouped(numbers).items():
        spec, short = specs.of(number)
        found = separation_of(number, noises, seeds, spec.number(short))
        if found is not None:
            yield found


def _needs(
    numbers: Sequence[Noise],
    separations: Sequence[Separation],
    wanted: Mapping[str, float],
    config: Mapping[str, Any],
    df: int,
    specs: _Specs,
) -> Iterator[Need]:
    apart = {each.number: each for each in separations}
    for number, noises in _grouped(numbers).items():
        spec, short = specs.of(number)
        deviations = [each.s for each in noises if each.s is not None]
        if deviations and (number in wanted or spec.number(short).baseline_of is None):
            s = statistics.fmean(each**2 for each in deviations) ** 0.5
            settings = sampled_settings(spec.name, config)
            need = need_of(number, s, apart.get(number), wanted.get(number), settings, df, headline=noises[0].headline)
            if need is not None:
                yield need


def _remarks(seeds: Sequence[int], collected: Mapping[str, Sequence[object]]) -> Iterator[str]:
    for name, found in collected.items():
        if len(found) < len(seeds):
            yield f"{name} has results of {len(found)} of {len(seeds)} seeds"


def _grouped(numbers: Sequence[Noise]) -> dict[str, list[Noise]]:
    grouped: dict[str, list[Noise]] = {}
    for each in numbers:
        grouped.setdefault(each.number, []).append(each)
    return grouped


def _columns(errors: ErrorRatio | None) -> dict[str, float | None]:
    return {each.name: getattr(errors, each.name, None) for each in fields(ErrorRatio)}
