"""What a number tells apart, of several SAEs that were evaluated with several seeds."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import torch

from sae_lens_metrics.comparison.comparison import Difference, compare_reports
from sae_lens_metrics.comparison.judgement import worth
from sae_lens_metrics.comparison.noise import ErrorRatio, Noise, are_redrawn, error_ratio
from sae_lens_metrics.errors import ResultError
from sae_lens_metrics.functional.reliability import (
    mean_rank_agreement,
    pooled_deviation,
    same_top,
    signal_to_noise,
    smallest_difference,
    times_as_many,
)
from sae_lens_metrics.metrics.registry import spec_of_result
from sae_lens_metrics.metrics.spec import Number
from sae_lens_metrics.results import Report

__all__ = ["Pair", "PairedDifferences", "Separation", "separation_of"]


@dataclass(frozen=True)
class Separation:
    """One number over several SAEs."""

    number: str
    """Its full name."""
    names: list[str]
    """The SAEs that have a value with every seed."""
    pooled_s: float
    """Standard deviation over seeds, pooled over the SAEs."""
    between: float
    """Standard deviation over SAEs of their means over seeds."""
    snr: float | None
    """``between`` over ``pooled_s``; above 2 is comfortable, 1 is a coin flip. ``None`` where no seed moves the number."""
    tau: float | None
    """Mean over pairs of seeds of Kendall's tau between their rankings; ``None`` where no two seeds rank the SAEs."""
    same_top: float | None
    """Share of pairs of seeds that have the same best SAE; ``None`` where no direction is better."""
    nearest: float
    """Smallest difference of two SAEs' means."""
    headline: bool = False
    """Whether it is its metric's main number."""


@dataclass(frozen=True)
class Pair:
    """One number of two SAEs, compared seed by seed on the same text."""

    number: str
    """Its full name."""
    first: str
    """One SAE."""
    second: str
    """The other."""
    difference: float
    """Second minus first, mean over seeds."""
    s: float
    """Standard deviation of that over seeds: what one paired comparison is off by."""
    one_seed: float
    """Smallest difference that one paired comparison can show: t(.025, seeds - 1) s."""
    times: float | None
    """How many times as many sampled units let one paired comparison show this difference, if s falls with one over the root of their
    number; at most 1 is enough already. ``None`` where there is no difference."""
    errors: ErrorRatio | None
    """s beside the standard errors that ``compare`` reports; ``None`` where they are 0."""
    higher: int
    """Seeds with which ``compare`` finds the second higher."""
    lower: int
    """Seeds with which it finds it lower."""
    undecided: int
    """Seeds with which it finds no difference beyond noise."""
    told_apart: bool
    """Whether every seed by itself tells the two apart, the same way."""
    headline: bool = False
    """Whether it is its metric's main number."""


def separation_of(number: str, noises: Sequence[Noise], seeds: int, spec: Number) -> Separation | None:
    """What a number tells apart.

    Args:
        number: Its full name.
        noises: The number of each SAE.
        seeds: How many seeds there are.
        spec: What the number is.

    Returns:
        What was found, or ``None`` where fewer than two SAEs have a value with every seed.
    """
    whole = [each for each in noises if len(each.values) == seeds]
    if len(whole) < 2 or seeds < 2:
        return None
    values = torch.tensor([each.values for each in whole], dtype=torch.float64).T
    means = values.mean(dim=0)
    ranks = torch.tensor([[worth(spec, value) for value in row] for row in values.tolist()], dtype=torch.float64)
    return Separation(
        number,
        [each.name for each in whole],
        pooled_deviation(values),
        float(means.std()),
        signal_to_noise(values),
        mean_rank_agreement(ranks),
        None if spec.better is None else same_top(ranks),
        float(means.sort().values.diff().min()),
        whole[0].headline,
    )


@dataclass
class PairedDifferences:
    """Comparisons of all pairs of SAEs, one seed after the other."""

    _found: dict[tuple[str, str, str], list[Difference]] = field(default_factory=dict)
    _of: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """Which pairs cannot be compared, and why."""

    def add(self, reports: Mapping[str, Report]) -> None:
        """Compares each pair of SAEs that were evaluated with one seed, as ``compare`` of the two would.

        Args:
            reports: Reports with influences, by name.
        """
        self._of |= {number: estimate.of for report in reports.values() for number, estimate in report.estimates()}
        for first, second in combinations(reports, 2):
            try:
                compared = compare_reports({name: reports[name] for name in (first, second)})
            except ResultError as error:
                self.notes += [text for text in (str(error),) if text not in self.notes]
                continue
            for each in compared.differences:
                if each.p is not None:
                    self._found.setdefault((each.number, first, second), []).append(each)

    def pairs(self) -> list[Pair]:
        """What was found; numbers that were tested with one seed alone are left out."""
        return [_pair(*key, found, self._of[key[0]]) for key, found in self._found.items() if len(found) > 1]


def _pair(number: str, first: str, second: str, found: Sequence[Difference], of: str) -> Pair:
    metric, name = number.split("/", 1)
    repeated = all(each.wider_over is not None for each in found)
    redrawn = repeated or are_redrawn(spec_of_result(metric, [name]), of)
    differences, df = [each.difference for each in found], len(found) - 1
    s, difference = statistics.stdev(differences), statistics.fmean(differences)
    one_seed = smallest_difference(2, df) * s  # s is that of a difference, which has the variance of two runs already
    verdicts = [each.verdict for each in found]
    higher, lower = verdicts.count("higher"), verdicts.count("lower")
    return Pair(
        number,
        first,
        second,
        difference,
        s,
        one_seed,
        times_as_many(one_seed, abs(difference)) if difference else None,
        error_ratio(s, [each.stderr for each in found if each.stderr is not None], df, redrawn=redrawn, repeated=repeated),
        higher,
        lower,
        len(found) - higher - lower,
        len(found) in (higher, lower),
        found[0].headline,
    )
