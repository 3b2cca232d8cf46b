"""Standard errors of N2G's means over latents: what documents, the activations that were drawn, and latents left out move."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_lens_metrics.functional.jackknife import GROUPS, jackknife_stderr, jackknife_variance
from sae_lens_metrics.functional.significance import welch_degrees_of_freedom
from sae_lens_metrics.functional.statistics import ratio_influence
from sae_lens_metrics.metrics.n2g.scores import Scores
from sae_lens_metrics.results import Estimate

__all__ = ["Average", "Errors", "Moved", "moved_by_rebuilding"]


class Average(NamedTuple):
    """A weighted mean over latents."""

    values: Float[Tensor, "latents"]
    weights: Float[Tensor, "latents"]
    """0 for a latent that does not count."""

    @classmethod
    def over(cls, values: Float[Tensor, "latents"], which: Bool[Tensor, "latents"], weights: Tensor | None = None) -> "Average":
        """The mean over some latents, which all have a value."""
        weight = which.double() if weights is None else weights * which
        return cls(values.where(which, 0).double(), weight)

    @property
    def value(self) -> float | None:
        """The mean; ``None`` where no latent counts."""
        total = float(self.weights.sum())
        return float((self.values * self.weights).sum()) / total if total else None

    @property
    def n(self) -> int:
        """How many latents count."""
        return int((self.weights != 0).sum())

    def influences(self) -> Float[Tensor, "latents"]:
        """What each latent moves the mean by."""
        return ratio_influence(self.values * self.weights, self.weights)


class Moved(NamedTuple):
    """How far some latents' measures move where their explanations are built from other activations."""

    at: Int[Tensor, "some"]
    """The latents' indices."""
    possible: int
    """How many latents these were chosen from."""
    by: Mapping[str, Float[Tensor, "some"]]
    """The difference, by measure: precision, recall and F1 on all positions of the scoring text."""
    without: Mapping[str, Float[Tensor, "groups some"]]
    """The same without each group of the text's documents."""


def moved_by_rebuilding(scores: Scores) -> Moved | None:
    """Compares explanations with those of the same latents that were built from the activations held out, on the same positions."""
    again, by_group = scores.rebuilt, scores.by_group
    if again is None:
        return None
    fired = by_group.fired[again.at]
    own, other = (by_group.hits[again.at], by_group.predicted[again.at]), (again.hits, again.predicted)
    whole = _differences(fired.sum(1), *((hits.sum(1), predicted.sum(1)) for hits, predicted in (own, other)))
    without = _differences(_without(fired), *((_without(hits), _without(predicted)) for hits, predicted in (own, other)))
    return Moved(again.at, int(scores.held_out.any(1).sum()), whole, without)


def _without(counts: Int[Tensor, "some groups"]) -> Int[Tensor, "groups some"]:
    """Counts of all groups but one."""
    return counts.sum(1) - counts.T


def _differences(fired: Int[Tensor, "*n"], one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> dict[str, Float[Tensor, "*n"]]:
    """By how much the measures of one pair of hits and predictions are above those of another."""
    first, second = (_measures(*counts, fired) for counts in (one, other))
    return {name: value - second[name] for name, value in first.items()}


def _measures(hits: Int[Tensor, "*n"], predicted: Int[Tensor, "*n"], fired: Int[Tensor, "*n"]) -> dict[str, Float[Tensor, "*n"]]:
    """0 where nothing is predicted, or fires."""
    both = predicted + fired
    parts = {"precision": predicted, "recall": fired, "f1": both.double() / 2}  # the harmonic mean is 2 hits / (predicted + fired)
    return {name: (hits / count).where(count > 0, 0).double() for name, count in parts.items()}


@dataclass(frozen=True)
class Errors:
    """The means of a metric, with their errors.

    Three things move a mean over latents that do not move each other: the documents of the scoring text and of the activations that are
    held out, which latents share (a jackknife over groups of documents); which activations explanations were built from, each latent's
    drawn for itself (half of the mean square of what rebuilding some explanations moves); and which latents were asked about, if not all
    of the SAE's (the spread over latents, less the share of them that were asked about: Cochran, Sampling Techniques, 1977, section 2.6).

    What rebuilding moves is measured on one text. With D the difference of two explanations on it, E D² is the square of their difference
    on all text and the variance of D over documents. That variance the jackknife of the documents holds already, as an explanation of few
    predictions differs from another one by where these happen to be; so it is taken off, by the jackknife of D. It also takes off the
    bias of the former, which for a proportion of q predictions is q / (q - 1) times too large (Efron & Stein, The jackknife estimate of
    variance, Annals of Statistics 9, 1981: never too small).

    Groups are left out, rather than influences added up, as F1 is no straight line near 0: of F1 with a recall of 3 to 34 % on 16 held-out
    activations the jackknife gives 1 to 4 % too large a variance, a linearised one 9 to 19 % too small a one, and half of it on 4.
    """

    whole: Mapping[str, Average]
    """The means, by name; a name begins with what is averaged."""
    without: Sequence[Mapping[str, Average]]
    """The same without each group of documents."""
    moved: Moved | None
    """What rebuilding moves; ``None`` where that is not known."""
    left_out: float
    """Share of the SAE's latents that were not asked about."""

    def of(self, name: str) -> Estimate:
        """A mean."""
        average = self.whole[name]
        if average.value is None:
            return Estimate.absent("no latent has an explanation that this could be measured on", of="latents")
        return self._estimate(average.value, {name: 1.0}, [each[name].value for each in self.without])

    def of_harmonic(self, first: str, second: str) -> Estimate:
        """The harmonic mean of two means."""
        p, r = (self.whole[name].value for name in (first, second))
        if p is None or r is None:
            return Estimate.absent("no latent has a full sample", of="latents")
        if p + r == 0:
            return Estimate(0.0, None, self.whole[second].n, "latents", "a mean of zero has no standard error")
        slopes = {first: 2 * (r / (p + r)) ** 2, second: 2 * (p / (p + r)) ** 2}
        return self._estimate(2 * p * r / (p + r), slopes, [_harmonic(each[first].value, each[second].value) for each in self.without])

    def _estimate(self, value: float, slopes: Mapping[str, float], without: Sequence[float | None]) -> Estimate:
        """A function of means, given its slopes by each of them and its values without groups of documents."""
        n = min(self.whole[name].n for name in slopes)
        documents = jackknife_stderr([each for each in without if each is not None])
        if n < 2 or documents is None:
            return Estimate(value, None, n, "latents", "one latent, or one document, has no standard error")
        rebuilding, latents = self._rebuilding(slopes), self._latents(slopes, n)
        parts = ((documents, GROUPS - 1), (rebuilding, self._rebuilt - 1), (latents, n - 1))
        stderr = math.hypot(documents, rebuilding, latents)
        return Estimate(value, stderr, n, "latents", df=welch_degrees_of_freedom(*parts) if stderr else None)

    @property
    def _rebuilt(self) -> int:
        return 0 if self.moved is None else len(self.moved.at)

    def _latents(self, slopes: Mapping[str, float], n: int) -> float:
        """The error from latents that were not asked about."""
        influence = torch.stack([slope * self.whole[name].influences() for name, slope in slopes.items()]).sum(0)
        return math.sqrt(self.left_out * n / (n - 1)) * float(influence.norm())

    def _rebuilding(self, slopes: Mapping[str, float]) -> float:
        """The error from the activations that explanations were built from; of latents not asked about, their spread holds it already."""
        if self.moved is None:
            return 0.0
        moved, without = (
            torch.stack([slope * self._share(name) * by[name.split("_")[0]] for name, slope in slopes.items()]).sum(0)
            for by in (self.moved.by, self.moved.without)
        )
        ours = float((moved.square() - jackknife_variance(without)).sum())
        sampled = self.moved.possible / len(moved)
        return math.sqrt((1 - self.left_out) * sampled * max(0.0, ours) / 2)

    def _share(self, name: str) -> Float[Tensor, "some"]:
        """What share of a mean is of each latent that was explained once more."""
        assert self.moved is not None
        weights = self.whole[name].weights
        return (weights / weights.sum())[self.moved.at]


def _harmonic(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None or a + b == 0 else 2 * a * b / (a + b)
