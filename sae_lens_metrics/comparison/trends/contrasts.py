"""Weighted sums of numbers of several SAEs, and how far they may be off: by what was evaluated, and by what was trained."""

import math
import statistics
from collections.abc import Container, Mapping
from dataclasses import dataclass

from sae_lens_metrics.comparison.comparability import Common
from sae_lens_metrics.comparison.difference_errors import DifferenceError, sum_of_independent, sum_of_paired
from sae_lens_metrics.comparison.trends.grid import Cell, Trained
from sae_lens_metrics.errors import ResultError
from sae_lens_metrics.functional.significance import welch_degrees_of_freedom
from sae_lens_metrics.results import Estimate, Report

__all__ = ["Contrast", "Evaluated", "Size"]

Contrast = Mapping[tuple[Cell, str], float]
"""Weights of numbers, by the kind of SAE and the number's full name."""


@dataclass(frozen=True)
class Size:
    """A weighted sum of numbers, with two errors: what was evaluated may be otherwise, and so may what was trained."""

    value: float
    scale: float
    """How large its terms are, Σ |w θ|."""
    evaluation: float
    """Its standard error over what the SAEs were evaluated on: texts, documents, or the latents that were looked at."""
    evaluation_df: float | None
    training: float | None
    """Its standard error over training seeds; ``None`` where an architecture has no kind of SAE that was trained with several."""
    training_df: int

    @property
    def stderr(self) -> float:
        """Both together, which errs on the safe side: what an evaluation draws for each SAE alone is in both."""
        return math.hypot(self.evaluation, self.training or 0.0)

    @property
    def df(self) -> float | None:
        """Degrees of freedom of that (Welch); ``None`` where there is no error, 0 where it is not known."""
        parts = [(stderr, df or 0) for stderr, df in ((self.evaluation, self.evaluation_df), (self.training, self.training_df)) if stderr]
        return welch_degrees_of_freedom(*parts) if parts else None


class Evaluated:
    """SAEs of a grid with their results.

    Args:
        reports: The results, on the same text and with the same settings.
    """

    def __init__(self, reports: Mapping[Trained, Report]) -> None:
        self.reports = dict(reports)
        self._estimates = {trained: dict(report.estimates()) for trained, report in reports.items()}
        self._common: dict[tuple[Trained, Trained], Common] = {}
        self._seeds: dict[Cell, list[Trained]] = {}
        for trained in reports:
            self._seeds.setdefault(trained.cell, []).append(trained)

    @property
    def cells(self) -> list[Cell]:
        """The kinds that there are results of."""
        return list(self._seeds)

    def mean(self, cell: Cell, number: str) -> float:
        """A number of a kind of SAE, mean over seeds.

        Raises:
            ResultError: If there is none; it says why.
        """
        if cell not in self._seeds:
            raise ResultError(f"there is no result of {cell.name}")
        values = [self._estimate(trained, number).value or 0.0 for trained in self._seeds[cell]]
        return math.fsum(values) / len(values)

    def value(self, contrast: Contrast) -> float:
        """Σ w θ.

        Raises:
            ResultError: If a number is absent; it says why.
        """
        return math.fsum(weight * self.mean(cell, number) for (cell, number), weight in contrast.items())

    def size(self, contrast: Contrast) -> Size:
        """Σ w θ with its errors.

        Where all numbers are over the same units, as the same documents or tasks, what these have in common cancels. How far other
        training seeds would move the sum is learned from the kinds of SAEs that have several, each architecture's by itself and those in
        the sum before others: with y what the sum takes from one SAE, and s² the variance of y between seeds, pooled over kinds, the
        squared error is Σ s² / r over all kinds, which have r seeds. What the seeds of different kinds have in common is not in it.

        Raises:
            ResultError: If a number is absent, or there is none; it says why.
        """
        if not any(contrast.values()):
            raise ResultError("the grid has no kinds of SAEs that tell it")
        terms = [weight * self.mean(cell, number) for (cell, number), weight in contrast.items()]
        runs = {
            (trained, number): weight / len(self._seeds[cell])
            for (cell, number), weight in contrast.items()
            for trained in self._seeds[cell]
        }
        evaluation, parts = self._error(runs), self._training(contrast)
        df = min(df for _, df in parts)
        training = math.sqrt(math.fsum(variance for variance, _ in parts)) if df else None
        return Size(math.fsum(terms), math.fsum(map(abs, terms)), *evaluation, training, df)

    def _estimate(self, trained: Trained, number: str) -> Estimate:
        found = self._estimates[trained].get(number)
        if found is None or found.value is None:
            metric = number.split("/")[0]
            reason = (found.reason if found else None) or self.reports[trained].errors.get(metric) or "its result has none"
            raise ResultError(f"{number} of {trained.name} is absent: {reason}")
        return found

    def _error(self, runs: Mapping[tuple[Trained, str], float]) -> DifferenceError:
        """The error of a sum over what the SAEs were evaluated on."""
        known = {key: weight for key, weight in runs.items() if weight}
        estimates, weights = [self._estimate(*key) for key in known], list(known.values())
        for (trained, number), each in zip(known, estimates, strict=True):
            if each.stderr is None:
                raise ResultError(f"{number} of {trained.name} has no standard error: {each.reason or 'it is exact'}")
        if all(self._repeated(known, key) for key in known):
            return sum_of_paired([each.repeated for each in estimates if each.repeated], weights)
        if all(self._paired(known, key) for key in known):
            return sum_of_paired(estimates, weights)
        return sum_of_independent(estimates, weights)

    def _repeated(self, runs: Mapping[tuple[Trained, str], float], key: tuple[Trained, str]) -> bool:
        first = next(iter(runs))
        return self._between(first[0], key[0]).are_repeated(first[1].split("/")[0], self._estimate(*first), self._estimate(*key))

    def _paired(self, runs: Mapping[tuple[Trained, str], float], key: tuple[Trained, str]) -> bool:
        first = next(iter(runs))
        return self._between(first[0], key[0]).unpaired(first[1].split("/")[0], self._estimate(*first), self._estimate(*key)) is None

    def _between(self, first: Trained, second: Trained) -> Common:
        if (first, second) not in self._common:
            self._common[first, second] = Common(self.reports[first], self.reports[second])
        return self._common[first, second]

    def _training(self, contrast: Contrast) -> list[tuple[float, int]]:
        """The variance that other training seeds give a sum, a part for each architecture, with degrees of freedom."""
        by_cell: dict[Cell, dict[str, float]] = {}
        for (cell, number), weight in contrast.items():
            if weight:
                by_cell.setdefault(cell, {})[number] = weight
        known: dict[tuple[str, tuple[tuple[str, float], ...]], tuple[float, int]] = {}
        variances: dict[str, list[tuple[float, int]]] = {}
        for cell, weights in by_cell.items():
            scale = max(map(abs, weights.values()))
            direction = {number: round(weight / scale, 12) for number, weight in weights.items()}
            key = cell.architecture, tuple(direction.items())
            if key not in known:  # one sum takes the same from most SAEs, but for a factor
                known[key] = self._of_seeds(cell.architecture, direction, by_cell)
            variance, df = known[key]
            variances.setdefault(cell.architecture, []).append((scale**2 * variance / len(self._seeds[cell]), df))
        return [(math.fsum(variance for variance, _ in found), min(df for _, df in found)) for found in variances.values()]

    def _of_seeds(self, architecture: str, weights: Mapping[str, float], first: Container[Cell]) -> tuple[float, int]:
        """Variance between training seeds of Σ w θ over numbers of one SAE of an architecture, pooled, and its degrees of freedom."""
        groups = {cell: found for cell in self._seeds if cell.architecture == architecture and len(found := self._taken(cell, weights)) > 1}
        groups = {cell: found for cell, found in groups.items() if cell in first} or groups
        df = sum(len(found) - 1 for found in groups.values())
        squares = math.fsum((len(found) - 1) * statistics.variance(found) for found in groups.values())
        return (squares / df, df) if df else (0.0, 0)

    def _taken(self, cell: Cell, weights: Mapping[str, float]) -> list[float]:
        """Σ w θ over numbers of each SAE of a kind; those that lack one are left out."""
        found = []
        for run in self._seeds[cell]:
            values = [None if (each := self._estimates[run].get(number)) is None else each.value for number in weights]
            if None not in values:
                found.append(math.fsum(weight * (value or 0.0) for weight, value in zip(weights.values(), values, strict=True)))
        return found
