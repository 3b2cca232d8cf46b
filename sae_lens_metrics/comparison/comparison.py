"""Which numbers of two SAEs differ by more than noise?"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sae_lens_metrics.comparison.comparability import Common, never_tested
from sae_lens_metrics.comparison.difference_errors import independent, p_value, paired
from sae_lens_metrics.comparison.judgement import Judgement, in_words, judgement, wider_in_words
from sae_lens_metrics.comparison.saving import write_table
from sae_lens_metrics.errors import ConfigError, ResultError
from sae_lens_metrics.functional.significance import holm
from sae_lens_metrics.metrics.registry import spec_of_result
from sae_lens_metrics.results import Estimate, Report
from sae_lens_metrics.results.in_words import encodable

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CAVEAT", "Comparison", "Difference", "Verdict", "compare_reports"]

Verdict = Literal["higher", "lower", "no difference beyond noise", "not tested"]

CAVEAT = (
    "This is about these SAEs, on text like this one's; of numbers over tasks it is about these tasks, with other texts like theirs, where "
    "results tell what each text did. It is not about the methods that trained them: SAEs of one method "
    "differ from training seed to training seed, and to know by how much takes several seeds of each method. Of what "
    "metrics draw at random it counts the examples that explanations are built from: evaluate with another seed to see what the rest does."
)
"""What a comparison does not tell."""


@dataclass(frozen=True)
class Difference:
    """One number in two reports."""

    number: str
    """Its full name, such as ``"overlap/max_cosine"``."""
    reference: str
    """Name of the first report."""
    name: str
    """Name of the second report."""
    first: float
    """The first report's value."""
    first_stderr: float | None
    """Its standard error; ``None`` where it is exact."""
    second: float
    """The second report's value."""
    second_stderr: float | None
    """Its standard error."""
    difference: float
    """Second minus first."""
    stderr: float | None
    """Standard error of the difference over ``over``; ``None`` where either value has none."""
    paired: bool
    """Whether the error is that of differences unit by unit, so that what the units have in common cancels."""
    df: float | None = None
    """Degrees of freedom of the error."""
    p: float | None = None
    """Two-sided p-value of Student's t test; ``None`` where nothing is tested."""
    corrected_p: float | None = None
    """The same, corrected for the number of tests."""
    verdict: Verdict = "not tested"
    """Whether the second is higher or lower than the first."""
    judgement: Judgement | None = None
    """Whether that is better or worse, or neither where no direction is better; ``None`` where there is no verdict."""
    headline: bool = False
    """Whether it is its metric's main number."""
    untested: str | None = None
    """Why the number is not tested."""
    unpaired: str | None = None
    """Why the error is not that of differences unit by unit."""
    by_size: bool = False
    """Whether it is not tested because it depends on the number of latents, which differs."""
    instead: str | None = None
    """Full name of the number to look at instead, if it is not tested for that reason and there is one."""
    over: str | None = None
    """What the error, the p-value and the verdict are over, such as ``"documents"``; ``"groups of texts"`` where they are about the same
    probe tasks with other texts. ``None`` where there is no error."""
    wider_over: str | None = None
    """Of a difference on the same tasks, what it would take to speak of others too, ``"families"`` of tasks; ``None`` of others."""
    wider_stderr: float | None = None
    """Standard error over these: what the same difference is known to on other tasks; ``None`` where there is none."""
    wider_df: float | None = None
    """Its degrees of freedom."""
    wider_p: float | None = None
    """The two-sided p-value by that error, not corrected, and not among the tests that are: would the difference hold for other tasks?"""


@dataclass(frozen=True)
class Comparison:
    """Reports, each compared with the first of them."""

    names: list[str]
    """The reports' names."""
    differences: list[Difference]
    """A difference for each number that two reports have in common."""
    alpha: float
    """Probability, at most, of calling any difference that is none, over all tests of this comparison."""
    notes: list[str]
    """What was not compared or not paired and why, and what else differs between the reports."""

    @property
    def tested(self) -> int:
        """How many numbers were tested, for which the p-values are corrected."""
        return sum(each.p is not None for each in self.differences)

    def of(self, name: str, *, main: bool = False) -> list[Difference]:
        """The differences of one report from the first.

        Args:
            name: The report's name.
            main: Whether only main numbers are wanted, and those to look at instead of a main number that is not tested.
        """
        found = [each for each in self.differences if each.name == name]
        wanted = {number for each in found if each.headline for number in (each.number, each.instead)}
        return [each for each in found if each.number in wanted] if main else found

    def in_words(self) -> list[str]:
        """For each report, on how many main numbers it is better than the first, on how many the first is, and which are undecided."""
        return [in_words(self.names[0], name, self._judged(name)) for name in self.names[1:]]

    def wider_in_words(self) -> list[str]:
        """For each report with numbers whose verdict is about the same tasks, what they say of other ones."""
        return [text for name in self.names[1:] if (text := self._wider(name)) is not None]

    def _wider(self, name: str) -> str | None:
        found = [each for each in self.of(name) if each.p is not None and each.wider_over is not None]
        known = {each.number: (each.difference, each.wider_stderr, each.wider_p) for each in found}
        return wider_in_words(self.names[0], name, str(found[0].wider_over), known) if found else None

    def _judged(self, name: str) -> dict[str, Judgement | None]:
        """What was found of a report's main numbers, or of those to look at instead, by what they are called in a sentence."""
        main = self.of(name, main=True)
        instead_of = {each.instead: each.number for each in main if each.headline and each.instead is not None}
        tested = [each for each in main if each.p is not None]
        called = [each.number + (f" in place of {instead_of[each.number]}" if each.number in instead_of else "") for each in tested]
        return {words: each.judgement for words, each in zip(called, tested, strict=True)}

    def to_frame(self) -> "pd.DataFrame":
        """One row per difference, with the fields of ``Difference`` as columns."""
        import pandas as pd

        rows = [
            {name: encodable(value) if isinstance(value, str) else value for name, value in asdict(each).items()}
            for each in self.differences
        ]
        return pd.DataFrame(rows, columns=[each.name for each in fields(Difference)])

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON types."""
        return {
            "format": "sae-lens-metrics comparison",
            "format_version": "1.3",
            "tested": self.tested,
            "in_words": self.in_words(),
            "wider_in_words": self.wider_in_words(),
            "caveat": CAVEAT,
            **asdict(self),
        }

    def save(self, path: str | Path) -> Path:
        """Writes the comparison: everything as .json, or the differences as .csv.

        Raises:
            ConfigError: If the name ends in neither.
            OSError: If the folder cannot be written.
        """
        return write_table(path, self)


def compare_reports(reports: Mapping[str, Report], *, alpha: float = 0.05) -> Comparison:
    """Compares reports with the first of them, number by number.

    A difference is judged by a two-sided t test. Where both numbers are over the same units (documents of the same text with the same
    seed, or the same probe tasks) the test is paired: with e_i the difference of what unit i contributes (``Estimate.influence``), the
    error is sqrt(n / (n - 1) Σ e_i²), with the degrees of freedom of the numbers (``Estimate.df``), and with it what was drawn for each
    of the two alone (``Estimate.drawn``). Elsewhere the error is the root of the sum of squares, with the degrees of freedom of Welch
    (1947).

    Where both answered the same tasks with the same texts, and results tell what each group of texts did (``Estimate.repeated``), the
    error is that of differences group by group: the verdict is about these tasks, as a benchmark's is. Whether the difference would hold
    for other families of tasks is a wider question; the error over families and its p-value, not corrected, stand beside (``wider_…``).

    The p-values are corrected for their number (Holm 1979): the probability of calling any difference that is none is at most ``alpha``.

    Left out, with a note that says why, are numbers that do not mean the same in both (another version of the metric, another setting),
    and numbers that something else than the SAE moves which is not alike: the model, the hook, the length of the context, how much text
    there is (``MetricSpec.given``). Not tested are exact counts, numbers without any spread, baselines (which are not the SAE's own),
    numbers that say the same as another one, and, between SAEs of different numbers of latents, numbers that depend on that number.
    Which those are is fixed by their names. With more than two reports the correction is for all tests of all of them.

    What the verdicts are about: these SAEs, on text like this one's or on these tasks, and not the methods that trained them, for which
    it takes several training seeds of each. Of what a metric draws at random, the errors hold what it says (``Estimate.drawn``).

    Args:
        reports: At least two, by name.
        alpha: The level, above 0 and below 1.

    Raises:
        ConfigError: If the level is out of range.
        ResultError: If there are fewer than two reports, or two have no number in common that can be compared.
    """
    if not 0 < alpha < 1:
        raise ConfigError(f"alpha is {alpha}, expected a probability above 0 and below 1, such as 0.05")
    if len(reports) < 2:
        raise ResultError(f"a comparison takes at least two reports, not {len(reports)}")
    (reference, first), *others = reports.items()
    differences: list[Difference] = []
    notes: list[str] = []
    for name, second in others:
        found, remarks = _differences((reference, first), (name, second))
        differences += found
        notes += remarks if len(others) == 1 else [f"{name}: {remark}" for remark in remarks]
    return Comparison(list(reports), _judged(differences, alpha), alpha, notes)


# --- one pair of reports -----------------------------------------------------------------------------------------------------


def _differences(first: tuple[str, Report], second: tuple[str, Report]) -> tuple[list[Difference], list[str]]:
    """The differences of two named reports, not corrected yet; and notes."""
    common = Common(first[1], second[1])
    left_out = {metric: common.left_out(metric) for metric, _ in first[1].results()}
    others = dict(second[1].estimates())
    found, apart = [], {}
    for number, estimate in first[1].estimates():
        other = others.get(number)
        if left_out.get(_metric(number)) is not None or other is None or estimate.value is None or other.value is None:
            continue
        apart[number] = common.differing(number)
        if apart[number] is None:
            found.append(_difference(number, (first[0], estimate), (second[0], other), common))
    notes = [f"{metric} is left out, its numbers do not mean the same: {reason}" for metric, reason in left_out.items() if reason]
    notes += [*_apart(apart), *_missing(first, second)]
    if not found:
        raise ResultError(f"{first[0]} and {second[0]} have no number in common that can be compared. {'. '.join(notes)}".rstrip())
    return found, [*notes, *_of_other_sizes(found, common), *_unpaired(found), *common.notes()]


def _apart(reasons: Mapping[str, str | None]) -> Iterator[str]:
    """Which numbers are left out because of what else they depend on; a metric's name stands for all of its numbers."""
    for metric, pairs in groupby(reasons.items(), key=lambda pair: _metric(pair[0])):
        of_metric = dict(pairs)
        for reason in dict.fromkeys(each for each in of_metric.values() if each is not None):
            numbers = [number for number, each in of_metric.items() if each == reason]
            said = [metric] if len(numbers) == len(of_metric) else numbers
            yield f"{', '.join(said)} {'is left out, as it depends' if len(said) == 1 else 'are left out, as they depend'} on {reason}"


def _of_other_sizes(differences: list[Difference], common: Common) -> Iterator[str]:
    """Why numbers that depend on the number of latents are not tested, each reason once with its numbers."""
    numbers: dict[str, list[str]] = {}
    for each in differences:
        if each.by_size:
            numbers.setdefault(common.number(each.number).depends_on_size, []).append(each.number)
    return (f"not tested between SAEs of different d_sae: {', '.join(names)} ({reason})" for reason, names in numbers.items())


def _missing(first: tuple[str, Report], second: tuple[str, Report]) -> Iterator[str]:
    """What only one of two reports has, or has no value for; each reason once, with the first of its numbers."""
    reasons: dict[tuple[str, str, str], str] = {}
    for (name, report), (_, other) in ((first, second), (second, first)):
        own, others = (dict(each.estimates()) for each in (report, other))
        for number in others:
            estimate = own.get(number)
            if estimate is None:
                reason = report.errors.get(_metric(number), "there is no such number")
            elif estimate.value is None and others[number].value is not None:
                reason = estimate.reason or "it has no value"
            else:
                continue
            reasons.setdefault((name, _metric(number), reason), number)
    return (f"{number} is missing in {name}: {reason}" for (name, _, reason), number in reasons.items())


def _metric(number: str) -> str:
    return number.split("/")[0]


def _unpaired(differences: list[Difference]) -> Iterator[str]:
    """Why numbers are not paired, each reason once with its metrics."""
    metrics: dict[str, dict[str, None]] = {}
    for each in differences:
        if each.unpaired is not None:
            metrics.setdefault(each.unpaired, {})[_metric(each.number)] = None
    return (f"not paired, {reason}: {', '.join(names)}" for reason, names in metrics.items())


def _difference(number: str, first: tuple[str, Estimate], second: tuple[str, Estimate], common: Common) -> Difference:
    """The difference of one number, with its p-value where it is tested."""
    (reference, a), (name, b) = first, second
    assert a.value is not None
    assert b.value is not None
    spec, short = common.spec(_metric(number)), number.split("/", 1)[1]
    found = Difference(number, reference, name, a.value, a.stderr, b.value, b.stderr, b.value - a.value, None, paired=False)
    found = _with_error(replace(found, headline=short == spec.headline), a, b, common)
    if found.stderr is None:
        return found
    if sizes := common.other_sizes(number):
        instead = common.instead(number)
        advice = f", see {instead}" if instead else ""
        return replace(found, by_size=True, instead=instead, untested=f"depends on d_sae ({sizes}){advice}")
    untested = _untested(found, common)
    if untested is not None:
        return replace(found, untested=untested)
    wider_p = None if found.wider_stderr is None else _p_value(found, found.wider_stderr, found.wider_df)
    return replace(found, p=_p_value(found, found.stderr, found.df), wider_p=wider_p)


def _with_error(found: Difference, a: Estimate, b: Estimate, common: Common) -> Difference:
    """A difference with its error, or why it has none.

    Where both SAEs answered the same tasks, with the same texts, it is over these texts; the error over families of tasks stands beside.
    """
    over_units = _over_units(found, a, b, common)
    if not common.are_repeated(_metric(found.number), a, b):
        return over_units
    assert a.repeated is not None
    assert b.repeated is not None
    stderr, df = paired(a.repeated, b.repeated)
    wider = replace(found, wider_over=a.of, wider_stderr=over_units.stderr, wider_df=over_units.df)
    return replace(wider, stderr=stderr, df=df, paired=True, over=a.repeated.of)


def _over_units(found: Difference, a: Estimate, b: Estimate, common: Common) -> Difference:
    """A difference with its error over the estimates' sampling units, or why it has none."""
    if a.stderr is None or b.stderr is None:
        reason = a.reason if a.stderr is None else b.reason
        return replace(found, untested=reason or "it has no standard error")
    if a.n < 2 or b.n < 2:
        return replace(found, untested="one unit has no spread")
    unpaired = common.unpaired(_metric(found.number), a, b)
    stderr, df = independent(a, b) if unpaired else paired(a, b)
    return replace(found, stderr=stderr, df=df, paired=unpaired is None, unpaired=unpaired, over=" and ".join(dict.fromkeys((a.of, b.of))))


def _untested(found: Difference, common: Common) -> str | None:
    """Why a difference with an error is not tested."""
    metric, number = _metric(found.number), common.number(found.number)
    if reason := never_tested(metric, number):
        return reason
    if number.same_as is not None:
        return f"the same as {metric}/{number.same_as}"
    if number.same_given is not None and found.paired and common.is_same(f"{metric}/{number.same_given[1]}"):
        return f"the same as {metric}/{number.same_given[0]}"
    if number.mirrors is not None and common.mirrors(found.number, number.mirrors):
        return f"the same as {number.mirrors}"
    return None if found.first_stderr or found.second_stderr or found.stderr else "no spread in either"


def _p_value(found: Difference, stderr: float | None, df: float | None) -> float:
    return p_value(found.difference, max(abs(found.first), abs(found.second)), stderr, df)


def _judged(differences: list[Difference], alpha: float) -> list[Difference]:
    """The differences with verdicts, after correction for all tests among them."""
    corrected = iter(holm([each.p for each in differences if each.p is not None]))
    return [each if each.p is None else _verdict(each, next(corrected), alpha) for each in differences]


def _verdict(found: Difference, corrected_p: float, alpha: float) -> Difference:
    if corrected_p > alpha:
        return replace(found, corrected_p=corrected_p, verdict="no difference beyond noise")
    verdict: Verdict = "higher" if found.difference > 0 else "lower"
    metric, name = found.number.split("/", 1)
    number = spec_of_result(metric, [name]).number(name)
    return replace(found, corrected_p=corrected_p, verdict=verdict, judgement=judgement(number, found.first, found.second))
