"""Audits of reports that are made up: exact figures, against NumPy, SciPy and closed forms."""

import json
import math
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy import stats

from sae_lens_metrics import Estimate, MetricsConfig, Number, Report, compare_reports, register_metric, unregister_metric
from sae_lens_metrics.comparison.audit import audit_files, audit_reports
from sae_lens_metrics.comparison.resolution import sampled_settings
from sae_lens_metrics.errors import ConfigError, ResultError
from sae_lens_metrics.metrics.spec import moves_nothing, moves_sample
from sae_lens_metrics.results import MetricResult, Repeated
from sae_lens_metrics.views.audit_table import print_audit

SEEDS = (42, 123, 456, 789, 2024)
FACTOR = 3.926


@dataclass
class ToyConfig:
    draws: int = field(default=64, metadata=moves_sample())
    """How much it samples."""
    folder: str = field(default="", metadata=moves_nothing())
    """A folder."""
    kind: str = "plain"
    """What it means."""


@pytest.fixture(autouse=True)
def _toy():
    """A metric whose numbers have a direction each."""
    register_metric(
        "toy",
        lambda context: MetricResult({}),
        settings=ToyConfig,
        numbers={
            "score": Number("score", better="higher"),
            "cost": Number("cost", better="lower"),
            "ratio": Number("ratio", better="one"),
            "size": Number("size"),
            "floor": Number("floor", baseline_of="score"),
        },
    )
    yield
    unregister_metric("toy")


@cache  # which metrics there are is asked of all installed packages
def configuration():
    return MetricsConfig(names=["toy"]).to_dict()


def report(seed, **numbers):
    """A report of the toy metric; a number is a value with an error, or an estimate."""
    config = configuration() | {"seed": seed}
    corpus = {"name": "text", "tokens_sha256": f"text {seed}", "documents": 30}
    given = {name: each if isinstance(each, Estimate) else Estimate(*each, 30, "documents") for name, each in numbers.items()}
    provenance = {"config": config, "corpus": corpus, "sae": {}, "versions": {}}
    return Report(MetricResult({}), {"toy": MetricResult(given)}, provenance=provenance)


def audited(values, error=0.1, number="score", **about):
    """An audit of one number: a row of values for each seed, a column for each SAE."""
    rows = np.atleast_2d(np.asarray(values, dtype=float).T).T
    names = [chr(ord("A") + i) for i in range(rows.shape[1])]
    reports = {
        seed: {name: report(seed, **{number: (float(value), error)}) for name, value in zip(names, row, strict=True)}
        for seed, row in zip(SEEDS, rows, strict=False)
    }
    return audit_reports(reports, **about)


def only(found):
    (each,) = found
    return each


def printed(audit, width=140, **options):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    print_audit(audit, console, **options)
    return console.export_text()


# --- one SAE -----------------------------------------------------------------------------------------------------------------


def test_noise_is_the_protocols():
    values = np.array([0.40, 0.42, 0.41, 0.39, 0.43])
    found = only(audited(values).numbers)
    s = np.std(values, ddof=1)
    assert (found.mean, found.s, found.cv) == pytest.approx((0.41, s, s / 0.41))
    assert found.one_seed == pytest.approx(stats.t.ppf(0.975, 4) * s * math.sqrt(2))
    assert found.one_seed / s == pytest.approx(FACTOR, abs=1e-3)
    assert found.three_seeds == pytest.approx(2.267 * s, rel=1e-3)
    assert found.headline
    assert found.errors.reported == pytest.approx(0.1)
    assert found.errors.ratio == pytest.approx(s / 0.1)
    assert found.errors.low == pytest.approx(s / 0.1 * math.sqrt(4 / stats.chi2.ppf(0.975, 4)))
    assert found.errors.high == pytest.approx(s / 0.1 * math.sqrt(4 / stats.chi2.ppf(0.025, 4)))


@pytest.mark.parametrize(("error", "verdict"), [(0.001, "too small"), (0.02, "fits"), (1.0, "too large")])
def test_whether_the_error_fits(error, verdict):
    assert only(audited([0.40, 0.42, 0.41, 0.39, 0.43], error).numbers).errors.verdict == verdict


def test_errors_over_what_seeds_keep_are_not_judged():
    """Those of probes are over families of tasks, which are the same with every seed."""

    def probed(seed, *losses):
        made = {}
        for name, loss in zip("AB", losses, strict=True):
            of_families = Estimate(loss, 0.1, 4, "families", influence=[0.0, 0.05, 0.05, -0.1])
            rest = report(seed, score=(loss, 0.1))
            made[name] = Report(rest.sanity, {**rest.metrics, "probe": MetricResult({"loss": of_families})}, provenance=rest.provenance)
        return made

    found = audit_reports({seed: probed(seed, 0.4 + i / 1000, 0.6 + i / 500) for i, seed in enumerate(SEEDS)})
    verdicts = {each.number: each.errors.verdict for each in found.numbers}
    assert verdicts == {"toy/score": "too large", "probe/loss": "not redrawn"}
    assert {each.number: each.errors and each.errors.verdict for each in found.pairs}["probe/loss"] in (None, "not redrawn")
    assert "seeds keep those" in printed(found)


def test_the_error_of_the_same_tasks_with_other_texts_is_judged_by_what_seeds_move():
    losses = np.array([0.40, 0.42, 0.41, 0.39, 0.43])

    def probed(seed, loss):
        made = {}
        for name, value in (("A", loss), ("B", loss + 0.5 + 0.01 * (seed % 3))):
            again = Repeated(0.02, 4, "groups of texts", influence=[0.0, 0.01, 0.0, -0.01] if name == "A" else [0.01, 0.0, -0.01, 0.0])
            estimate = Estimate(value, 0.3, 4, "families", influence=[0.0, 0.1, 0.2, -0.1], repeated=again)
            rows = [{"task": "one", "fingerprint": str(seed)}]
            rest = report(seed)
            made[name] = Report(
                rest.sanity, {"probe": MetricResult({"loss": estimate}, tables={"tasks": rows})}, provenance=rest.provenance
            )
        return made

    found = audit_reports({seed: probed(seed, loss) for seed, loss in zip(SEEDS, losses, strict=True)})
    first = found.numbers[0].errors
    assert (first.reported, first.verdict, first.repeated) == (pytest.approx(0.02), "fits", True)
    assert first.ratio == pytest.approx(losses.std(ddof=1) / 0.02)
    pair = only(found.pairs)
    assert pair.errors.repeated
    assert pair.errors.reported == pytest.approx((4 / 3 * 4 * 0.01**2) ** 0.5)
    assert (pair.higher, pair.told_apart) == (5, True)
    text = printed(found)
    assert "seeds keep those" not in text
    assert "the same tasks with other texts, which is what seeds move" in " ".join(text.split())
    assert found.to_dict()["numbers"][0]["errors"]["repeated"]


def test_what_cannot_be_computed_is_absent_with_a_reason():
    absent = Estimate.absent("no latent fires", of="latents")
    exact = Estimate(3.0, None, 8, "latents", "it is exact")
    numbers = [{"score": absent, "cost": exact, "size": (0.0, 0.0)}, {"score": (0.5, 0.1), "cost": exact, "size": (0.0, 0.0)}]
    reports = {seed: {"A": report(seed, **each)} for seed, each in zip(SEEDS, numbers, strict=False)}
    score, cost, size = audit_reports(reports).numbers
    assert (score.values, score.mean, score.s, score.errors, score.reason) == ([0.5], 0.5, None, None, "no latent fires")
    assert (cost.s, cost.cv, cost.errors, cost.reason) == (0.0, 0.0, None, "it is exact")
    assert (size.mean, size.cv, size.errors, size.reason) == (0.0, None, None, "the reported error is 0")


def test_one_seed_tells_nothing():
    with pytest.raises(ResultError, match="no SAE has results of two seeds"):
        audited([0.4])


def test_an_sae_that_failed_with_a_seed_is_told_of():
    reports = {seed: {name: report(seed, score=(seed / 100, 0.1)) for name in ("A", "B")} for seed in SEEDS}
    del reports[789]["B"]
    found = audit_reports(reports)
    assert found.notes == ["B has results of 4 of 5 seeds"]
    assert [len(each.values) for each in found.numbers] == [5, 4]
    assert found.separations == []
    assert only(found.pairs).undecided == 4


# --- several SAEs ------------------------------------------------------------------------------------------------------------


def test_signal_and_ranks_of_several_saes():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5, 4)) * 0.5 + [0, 1, 2, 4]
    found = only(audited(values).separations)
    s = math.sqrt(np.mean(values.var(axis=0, ddof=1)))
    assert found.names == ["A", "B", "C", "D"]
    assert (found.pooled_s, found.between) == pytest.approx((s, values.mean(axis=0).std(ddof=1)))
    assert found.snr == pytest.approx(found.between / s)
    pairs = [(i, j) for i in range(5) for j in range(i)]
    assert found.tau == pytest.approx(np.mean([stats.kendalltau(values[i], values[j]).statistic for i, j in pairs]))
    assert found.same_top == 1
    assert found.nearest == pytest.approx(np.diff(np.sort(values.mean(axis=0))).min())


def test_the_best_is_by_the_numbers_own_direction():
    values = [[0.5, 1.1, 2.0], [0.6, 0.95, 1.9], [0.4, 1.1, 0.99]]
    same = {number: only(audited(values, number=number).separations).same_top for number in ("score", "cost", "ratio", "size")}
    assert same == {"score": pytest.approx(1 / 3), "cost": 1, "ratio": pytest.approx(1 / 3), "size": None}
    ratio = only(audited([[0.5, 1.1], [1.5, 0.9]], number="ratio").separations)
    assert ratio.tau == pytest.approx(1), "the nearer to one the better, on either side"


def test_numbers_that_no_seed_moves_have_no_signal_to_noise():
    found = audited([[1.0, 2.0]] * 3, error=0.0)
    assert (only(found.separations).snr, only(found.separations).tau) == (None, 1)
    assert found.needs == []


def paired(seed, shift, rng):
    """Two reports on one text that moves both."""
    text, own = rng.normal(size=40), rng.normal(size=40) * 0.1
    both = {"A": text, "B": text + own + shift}
    means = {name: Estimate(x.mean(), stats.sem(x), 40, "documents", influence=((x - x.mean()) / 40).tolist()) for name, x in both.items()}
    return {name: report(seed, score=mean) for name, mean in means.items()}


def test_pairs_are_those_of_compare_seed_by_seed():
    rng = np.random.default_rng(1)
    reports = {seed: paired(seed, 0.04, rng) for seed in SEEDS}
    compared = [only(compare_reports(each).differences) for each in reports.values()]
    found = only(audit_reports(reports).pairs)
    differences, errors = [each.difference for each in compared], [each.stderr for each in compared]
    assert (found.first, found.second, found.number) == ("A", "B", "toy/score")
    assert (found.difference, found.s) == pytest.approx((np.mean(differences), np.std(differences, ddof=1)))
    assert found.one_seed == pytest.approx(stats.t.ppf(0.975, 4) * found.s)
    assert found.times == pytest.approx((found.one_seed / found.difference) ** 2)
    assert found.errors.ratio == pytest.approx(found.s / np.mean(errors))
    assert found.higher == sum(each.verdict == "higher" for each in compared)
    assert found.higher + found.lower + found.undecided == 5
    assert not found.told_apart
    assert only(audit_reports({seed: paired(seed, 1.0, rng) for seed in SEEDS}).pairs).told_apart


def test_pairs_are_nearer_than_means():
    """What the text moves in both is in the s of each, and not in that of their difference."""
    rng = np.random.default_rng(2)
    found = audit_reports({seed: paired(seed, 0.1, rng) for seed in SEEDS})
    assert only(found.pairs).one_seed < only(found.separations).pooled_s


@pytest.mark.slow
def test_errors_that_are_right_fit_in_95_of_100_audits():
    rng = np.random.default_rng(3)
    found = [audit_reports({seed: paired(seed, 0.0, rng) for seed in SEEDS}) for _ in range(150)]
    for ratios in ([each.numbers[0].errors for each in found], [only(each.pairs).errors for each in found]):
        assert np.mean([ratio.verdict == "fits" for ratio in ratios]) == pytest.approx(0.95, abs=0.055)


# --- what it would take ------------------------------------------------------------------------------------------------------


def test_a_wanted_deviation_takes_the_square_of_the_ratio():
    values = [0.40, 0.42, 0.41, 0.39, 0.43]
    need = only(audited(values, wanted_s={"toy/score": 0.001}).needs)
    s = np.std(values, ddof=1)
    assert (need.s, need.times, need.source) == (pytest.approx(s), pytest.approx((s / 0.001) ** 2), "given")
    assert need.settings == {"toy.draws": 64, "tokens": MetricsConfig().tokens}
    assert audited(values).needs == [], "of one SAE nothing is wanted by itself"


def test_what_a_metric_samples_is_also_what_those_sample_that_it_needs():
    config = configuration() | {"toy": {"draws": 3, "folder": "x", "kind": "plain"}, "other": {"draws": 5}}
    register_metric("other", lambda context: MetricResult({}), settings=ToyConfig, needs=("toy",))
    try:
        assert sampled_settings("other", config) == {"other.draws": 5, "toy.draws": 3, "tokens": config["tokens"]}
    finally:
        unregister_metric("other")
    assert sampled_settings("not_installed", config) == {"tokens": config["tokens"]}


def test_what_lets_one_seed_tell_the_two_nearest_apart():
    values = np.random.default_rng(4).normal(size=(5, 3)) * 0.1 + [0, 1, 3]
    found = audited(values)
    need, apart = only(found.needs), only(found.separations)
    assert need.source == "nearest"
    assert need.wanted_s * FACTOR == pytest.approx(apart.nearest, rel=1e-3)
    assert need.s == pytest.approx(apart.pooled_s)
    assert need.times < 1


def test_baselines_are_not_told_apart():
    assert audited([[1.0, 2.0], [1.1, 2.2]], number="floor").needs == []


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"toy/scor": 1.0}, "no number 'scor'"),
        ({"tay/score": 1.0}, "no metric 'tay'"),
        ({"toy/score": 0.0}, "above 0"),
        ({"score": 1.0}, "no metric"),
    ],
)
def test_what_cannot_be_wanted(wanted, said):
    with pytest.raises(ConfigError, match=said):
        audited([0.4, 0.5], wanted_s=wanted)


# --- files and tables --------------------------------------------------------------------------------------------------------


def test_files_give_the_same_as_reports(tmp_path):
    rng = np.random.default_rng(5)
    reports = {seed: paired(seed, 0.1, rng) for seed in SEEDS}
    files = {seed: {name: each.save(tmp_path / f"{name}{seed}.json") for name, each in found.items()} for seed, found in reports.items()}
    assert audit_files(files, overlap=0.25) == audit_reports(reports, overlap=0.25)


def test_json_and_csv_hold_it(tmp_path):
    found = audited(np.random.default_rng(6).normal(size=(5, 3)), overlap=0.5, wanted_s={"toy/score": 0.1})
    data = json.loads(found.save(tmp_path / "audit.json").read_text())
    assert (data["format"], data["format_version"], data["seeds"]) == ("sae-lens-metrics audit", "1.2", list(SEEDS))
    assert data["numbers"][0]["errors"]["ratio"] == found.numbers[0].errors.ratio
    assert data["needs"][0]["settings"]["toy.draws"] == 64
    frame = pd.read_csv(found.save(tmp_path / "audit.csv"))
    assert frame["s"].tolist() == pytest.approx([each.s for each in found.numbers])
    assert frame["high"].tolist() == pytest.approx([each.errors.high for each in found.numbers])
    with pytest.raises(ConfigError, match="xlsx"):
        found.save(tmp_path / "audit.xlsx")


@pytest.mark.parametrize("width", [80, 150])
def test_the_table_says_what_was_found(width):
    values = np.random.default_rng(7).normal(size=(5, 2)) * 0.1 + [0, 0.05]
    text = " ".join(printed(audited(values, 0.001, overlap=0.3, wanted_s={"toy/score": 0.01}), width).split())
    for expected in (
        "too small",
        "30% of their documents in common",
        "times as many sampled units (toy.draws = 64",
        "what they tell apart",
    ):
        assert expected in text
    assert "compare, seed by seed: B minus A" in text
    assert max(len(line) for line in printed(audited(values), width).splitlines()) <= width


@pytest.mark.parametrize(
    ("overlap", "disjoint", "said"),
    [
        (None, False, "It is not known how much the texts of two seeds have in common."),
        (0.0, True, "hardly a document in common, so that s is that of other text each time"),
        (0.004, True, "hardly a document in common, so that s is that of other text each time"),
        (0.5, False, "50% of their documents in common (--disjoint keeps them apart): with other text each time s would be larger"),
        (0.5, True, "50% of their documents in common: with other text each time s would be larger"),
    ],
)
def test_what_texts_have_in_common_is_said(overlap, disjoint, said):
    assert said in " ".join(printed(audited([0.4, 0.5], overlap=overlap, disjoint=disjoint)).split())


def test_of_many_saes_the_table_is_short():
    values = np.random.default_rng(8).normal(size=(5, 6))
    found = audited(values, number="cost")
    assert "toy/cost" not in printed(found)
    assert "toy/cost" in printed(found, everything=True)


def test_hostile_names_are_written_out():
    reports = {seed: {"[red]A\x1b[2J": report(seed, score=(seed / 1e4, 0.1)), "B": report(seed, score=(1.0, 0.1))} for seed in SEEDS}
    text = printed(audit_reports(reports))
    assert "[red]A" in text
    assert "\x1b" not in text
