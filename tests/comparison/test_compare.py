"""Comparisons of reports: what is tested, by which error, and how often it calls a difference that is none."""

import json
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from compared_reports import estimate, report, values
from rich.console import Console
from scipy import stats

from sae_lens_metrics import Estimate, compare_reports
from sae_lens_metrics.cli.compare import run_compare
from sae_lens_metrics.comparison.result_files import read_reports, result_files
from sae_lens_metrics.errors import ConfigError, ResultError
from sae_lens_metrics.results import MetricResult, Repeated
from sae_lens_metrics.results.estimate import with_drawn
from sae_lens_metrics.views.comparison_table import print_comparison


def only(comparison):
    (difference,) = comparison.differences
    return difference


def printed(comparison, width=200, **options):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    print_comparison(comparison, console, **options)
    return console.export_text()


# --- the tests that are made -------------------------------------------------------------------------------------------------


def test_paired_means_are_scipys_paired_test():
    a, b = values(0), values(0) + 0.3 * values(1) + 0.1
    found = only(compare_reports({"A": report(l0=estimate(a)), "B": report(l0=estimate(b))}))
    expected = stats.ttest_rel(b, a)
    assert found.paired
    assert found.difference == pytest.approx((b - a).mean())
    assert found.stderr == pytest.approx(stats.sem(b - a), rel=1e-5)
    assert found.df == 29
    assert found.p == pytest.approx(expected.pvalue, rel=1e-4)
    assert found.corrected_p == found.p


def test_unpaired_means_are_scipys_welch_test():
    a, b = values(0), 2 * values(1, n=12) + 0.5
    found = only(compare_reports({"A": report(l0=estimate(a)), "B": report(text="other", l0=estimate(b))}))
    expected = stats.ttest_ind(b, a, equal_var=False)
    assert not found.paired
    assert found.stderr == pytest.approx((stats.sem(a) ** 2 + stats.sem(b) ** 2) ** 0.5)
    assert found.df == pytest.approx(expected.df)
    assert found.p == pytest.approx(expected.pvalue)


def test_pairing_sees_what_the_text_hides():
    text, noise = 5 * values(0), 0.05 * values(1)
    first, second = report(l0=estimate(text)), report(l0=estimate(text + noise + 0.2))
    paired = only(compare_reports({"A": first, "B": second}))
    unpaired = only(compare_reports({"A": first, "B": replace(second, provenance={})}))
    assert paired.difference == unpaired.difference
    assert paired.stderr < unpaired.stderr / 20
    assert (paired.verdict, unpaired.verdict) == ("higher", "no difference beyond noise")
    assert only(compare_reports({"B": second, "A": first})).verdict == "lower"


def test_what_was_drawn_for_each_alone_does_not_cancel():
    """Two draws of one SAE's explanations on one text were called different: only the text was in the error."""
    text, rng = values(0), np.random.default_rng(1)
    p_values = []
    for _ in range(400):
        numbers = [with_drawn(estimate(text + draw), 0.5, 8.0) for draw in 0.5 * rng.standard_normal(2)]
        found = only(compare_reports({name: report(l0=number) for name, number in zip("AB", numbers, strict=True)}))
        assert found.paired
        assert found.stderr == pytest.approx(0.5**0.5)
        assert found.df == pytest.approx(16)
        p_values.append(found.p)
    assert np.mean(np.array(p_values) < 0.05) < 0.06


def test_documents_that_one_of_the_two_has_no_weight_in():
    """Influences stay in line, and the fewer documents count."""
    a, b, there = values(0), values(1), np.arange(30) % 3 > 0
    first, second = report(l0=estimate(a)), report(l0=estimate(b * there, there.astype(float)))
    found = only(compare_reports({"A": first, "B": second}))
    e = np.where(there, (b - b[there].mean()) / there.sum(), 0) - (a - a.mean()) / 30
    assert found.df == 19
    assert found.stderr == pytest.approx(np.sqrt(20 / 19 * (e**2).sum()), rel=1e-5)


def test_a_report_and_itself_do_not_differ():
    one = report(l0=estimate(values(0)), explained_variance=estimate(values(1)))
    for found in compare_reports({"A": one, "B": one}).differences:
        assert (found.difference, found.stderr, found.p, found.verdict) == (0, 0, 1, "no difference beyond noise")


def test_an_error_without_degrees_of_freedom_tells_nothing():
    a, b = (replace(estimate(values(seed) + seed), influence=None) for seed in (0, 9))
    assert only(compare_reports({"A": report(l0=a), "B": report(l0=b)})).verdict == "higher"
    found = only(compare_reports({"A": report(l0=a), "B": report(l0=replace(b, df=0.0))}))
    assert (found.p, found.verdict) == (1.0, "no difference beyond noise")


def test_a_difference_in_every_unit_is_one_and_one_of_rounding_is_none():
    a = values(0)
    first = report(l0=estimate(a))
    shifted = estimate(a + 0.1)
    shifted.influence[:] = first.sanity.estimates["l0"].influence
    assert only(compare_reports({"A": first, "B": report(l0=shifted)})).verdict == "higher"
    rounded = replace(first.sanity.estimates["l0"], value=first.sanity.estimates["l0"].value * (1 + 1e-8))
    assert only(compare_reports({"A": first, "B": report(l0=rounded)})).verdict == "no difference beyond noise"


# --- how often it is wrong ---------------------------------------------------------------------------------------------------

PAIRS, NUMBERS, UNITS, ALPHA = 800, 6, 20, 0.05


def simulated(rng, *, paired, shift=None, longest=40):
    """Two reports on a text that moves all of their numbers, with documents of 40 tokens or more; the verdicts of their comparison."""
    reports = {}
    text, lengths = rng.standard_normal((NUMBERS, UNITS)), rng.integers(40, longest + 1, UNITS)
    for name in ("A", "B"):
        if not paired:
            text, lengths = rng.standard_normal((NUMBERS, UNITS)), rng.integers(40, longest + 1, UNITS)
        own = rng.standard_normal((NUMBERS, UNITS)) * (0.3 if paired else 1.0 + (name == "B"))
        means = text + own + (0 if shift is None or name == "A" else shift[:, None])
        numbers = {f"number_{i}": estimate(means[i] * lengths, lengths) for i in range(NUMBERS)}
        reports[name] = report(text="same" if paired else name, **numbers)
    return [found.verdict for found in compare_reports(reports, alpha=ALPHA).differences]


@pytest.mark.slow
@pytest.mark.parametrize("paired", [True, False])
def test_the_rate_of_false_differences_is_the_level(paired):
    """Within binomial error, although documents are few and differ in length."""
    rng = np.random.default_rng(0)
    runs = [simulated(rng, paired=paired, longest=120) for _ in range(PAIRS)]
    wrong = np.mean([any(verdict != "no difference beyond noise" for verdict in verdicts) for verdicts in runs])
    error = 3 * (ALPHA * (1 - ALPHA) / PAIRS) ** 0.5
    assert ALPHA - error < wrong < ALPHA + error


@pytest.mark.slow
@pytest.mark.parametrize(("paired", "size"), [(True, 0.6), (False, 3.0)])
def test_real_differences_are_found_and_others_are_not(paired, size):
    rng = np.random.default_rng(1)
    shift = np.array([size, -size, 0, 0, 0, 0])
    runs = [simulated(rng, paired=paired, shift=shift) for _ in range(300)]
    found = [(verdicts[0] == "higher") + (verdicts[1] == "lower") for verdicts in runs]
    assert np.mean(found) / 2 > 0.95
    assert not any(verdicts[0] == "lower" or verdicts[1] == "higher" for verdicts in runs)
    others = np.mean([any(verdict != "no difference beyond noise" for verdict in verdicts[2:]) for verdicts in runs])
    assert others < ALPHA + 3 * (ALPHA * (1 - ALPHA) / 300) ** 0.5


# --- what is tested ----------------------------------------------------------------------------------------------------------


def test_what_is_exact_or_a_baseline_or_a_duplicate_is_not_tested():
    def one(seed):
        draw = iter(values(seed + i) for i in range(100))
        sanity = {name: estimate(next(draw)) for name in ("l0", "ce_zeroed", "ce_reconstructed", "loss_recovered")}
        sanity["ce_clean"] = estimate(values(0))
        sanity["dead_latents"] = Estimate(0.1 * seed, None, 96, "latents", "an exact count on this text")
        sanity["spreadless"] = estimate(np.full(30, float(seed)))
        shrinkage = {name: estimate(next(draw)) for name in ("ratio", "change_relative", "ce_raw", "ce_added_raw", "gamma")}
        shrinkage["ce_clean"] = estimate(values(0))
        ablation = {name: estimate(next(draw)) for name in ("sparsity", "random_sparsity", "sparsity_minus_random", "no_effect")}
        return report({"shrinkage": shrinkage, "ablation": ablation}, **sanity)

    paired = compare_reports({"A": one(0), "B": one(100)})
    reasons = {each.number: each.untested for each in paired.differences}
    assert reasons == {
        "sanity/l0": None,
        "sanity/ce_clean": "a baseline",
        "sanity/ce_zeroed": "a baseline",
        "sanity/ce_reconstructed": None,
        "sanity/loss_recovered": "the same as sanity/ce_reconstructed",
        "sanity/dead_latents": "an exact count on this text",
        "sanity/spreadless": "no spread in either",
        "shrinkage/ratio": None,
        "shrinkage/change_relative": "the same as shrinkage/ratio",
        "shrinkage/ce_raw": None,
        "shrinkage/ce_added_raw": "the same as shrinkage/ce_raw",
        "shrinkage/gamma": None,
        "shrinkage/ce_clean": "a baseline",
        "ablation/sparsity": None,
        "ablation/random_sparsity": "a baseline",
        "ablation/sparsity_minus_random": None,
        "ablation/no_effect": None,
    }
    assert paired.tested == 8
    for each in paired.differences:
        assert (each.p is None) == (each.corrected_p is None) == (each.verdict == "not tested") == (each.untested is not None)
    other_text = compare_reports({"A": one(0), "B": replace(one(100), provenance={})})
    assert other_text.tested == 8 + 2  # loss_recovered and ce_added_raw: another text has another ce_clean


def test_what_tells_how_far_to_trust_another_number_is_not_tested():
    first, second = (
        report({"probe": {"loss": estimate(values(i), of="families"), "family_correlation": Estimate(0.1 * i, 0.01, 30, "families")}})
        for i in (1, 2)
    )
    reasons = {each.number: each.untested for each in compare_reports({"A": first, "B": second}).differences}
    assert reasons["probe/loss"] is None
    assert reasons["probe/family_correlation"] == "it tells how far to trust probe/loss"


def test_p_values_are_corrected_over_all_reports():
    a = values(0)
    reports = {"A": report(l0=estimate(a)), **{f"B{i}": report(l0=estimate(a + 0.1 * values(i + 1) + 0.05)) for i in range(3)}}
    together = compare_reports(reports)
    assert together.names == ["A", "B0", "B1", "B2"]
    assert [each.name for each in together.differences] == ["B0", "B1", "B2"]
    assert {each.reference for each in together.differences} == {"A"}
    assert together.tested == 3
    p = sorted(each.p for each in together.differences)
    corrected = sorted(each.corrected_p for each in together.differences)
    assert corrected[0] == pytest.approx(3 * p[0])
    assert corrected[2] >= p[2]


# --- which units are the same ------------------------------------------------------------------------------------------------


def with_tasks(fingerprints, loss, seed=0, of="tasks"):
    one = report({"probe": {"loss": estimate(loss, of=of)}}, settings={"seed": seed})
    one.metrics["probe"].tables["tasks"] = [{"task": f"task {i}", "fingerprint": each} for i, each in enumerate(fingerprints)]
    return one


def test_tasks_are_paired_where_they_have_the_same_examples():
    first = with_tasks("abcd", values(0, 4))
    assert only(compare_reports({"A": first, "B": with_tasks("abcd", values(1, 4))})).paired
    for second, reason in (
        (with_tasks("abxd", values(1, 4)), r"examples of probe tasks differ \(task 2\)"),
        (with_tasks("abc", values(1, 3)), r"probe tasks differ \(4 and 3\)"),
        (with_tasks("abcd", values(1, 4), seed=1), "seeds differ"),
        (report({"probe": {"loss": estimate(values(1, 4), of="tasks")}}), "tasks are not known"),
    ):
        comparison = compare_reports({"A": first, "B": second})
        assert not only(comparison).paired
        with pytest.raises(AssertionError, match=reason):
            raise AssertionError(" ".join(comparison.notes))


def test_families_are_paired_where_their_tasks_have_the_same_examples():
    first = with_tasks("abcdef", values(0, 4), of="families")
    paired = only(compare_reports({"A": first, "B": with_tasks("abcdef", values(1, 4), of="families")}))
    assert paired.paired
    assert paired.df == 3
    for second, reason in (
        (with_tasks("abxdef", values(1, 4), of="families"), r"examples of probe tasks differ \(task 2\)"),
        (with_tasks("abcdef", values(1, 6)), "over families in one and over tasks in the other"),
    ):
        comparison = compare_reports({"A": first, "B": second})
        assert not only(comparison).paired
        assert any(re.search(reason, note) for note in comparison.notes)


def asked(by_text, of_families=(0.0, 0.3, -0.2, 0.1), fingerprints="abcd", pieces="groups of texts", loss=0.4, **settings):
    """A report on tasks of four families, which tells what each group of texts did; none of whose spread is known over one family."""
    influence = np.asarray(by_text) - np.mean(by_text)
    again = Repeated(float(stats.sem(by_text)), len(by_text), pieces, influence=(influence / len(by_text)).tolist())
    known = {"influence": [*of_families]} if len(of_families) > 1 else {"reason": "one task has no standard error"}
    stderr = float(np.sqrt(4 / 3) * np.linalg.norm(of_families)) if len(of_families) > 1 else None
    value = Estimate(loss + float(np.mean(by_text)), stderr, len(of_families), "families", repeated=again, **known)
    one = report({"probe": {"loss": value}}, settings=settings)
    one.metrics["probe"].tables["tasks"] = [{"task": f"task {i}", "fingerprint": each} for i, each in enumerate(fingerprints)]
    return one


def test_on_the_same_tasks_the_verdict_is_over_their_texts_and_that_over_families_stands_beside():
    a, b = 0.1 * values(0, 64), 0.1 * values(0, 64) + 0.01 * values(1, 64) - 0.02
    others = (0.1, 0.2, -0.4, 0.1)
    comparison = compare_reports({"A": asked(a), "B": asked(b, others)})
    found = only(comparison)
    expected = stats.ttest_rel(b, a)
    assert (found.verdict, found.judgement, found.paired, found.over, found.df) == ("lower", "better", True, "groups of texts", 63)
    assert found.stderr == pytest.approx(stats.sem(b - a), rel=1e-4)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-3)
    error = np.sqrt(4 / 3) * np.linalg.norm(np.subtract(others, (0.0, 0.3, -0.2, 0.1)))
    assert (found.wider_over, found.wider_df) == ("families", 3)
    assert found.wider_stderr == pytest.approx(error)
    assert found.wider_p == pytest.approx(2 * stats.t.sf(abs(found.difference) / error, 3))
    (said,) = comparison.to_dict()["wider_in_words"]
    assert "other families is a wider question; B minus A" in said
    assert f"(p = {found.wider_p:.2g})" in said
    text = printed(comparison)
    assert "loss †" in text
    assert "† on the same tasks" in text
    assert f"{found.first:.4f}" in printed(comparison, width=100)  # to the place of the error that tells them apart
    assert said in " ".join(text.split())


def test_one_task_can_tell_two_saes_apart_by_its_texts():
    a, b = 0.1 * values(0, 64), 0.1 * values(0, 64) - 0.02 + 0.001 * values(1, 64)
    comparison = compare_reports({"A": asked(a, (0.0,), "a"), "B": asked(b, (0.0,), "a")})
    found = only(comparison)
    assert (found.verdict, found.first_stderr, found.wider_stderr, found.wider_p) == ("lower", None, None, None)
    assert "probe/loss not known" in comparison.wider_in_words()[0]
    assert "loss †" in printed(comparison)


@pytest.mark.parametrize(
    "other",
    [{"fingerprints": "abcx"}, {"fingerprints": "abc"}, {"seed": 1}, {"pieces": "texts"}, {"by_text": np.zeros(60)}],
    ids=["other texts", "other tasks", "another seed", "other pieces", "other groups"],
)
def test_it_takes_the_same_tasks_with_the_same_texts(other):
    first, second = asked(values(0, 64)), asked(**({"by_text": values(0, 64) - 0.1} | other))
    found = only(compare_reports({"A": first, "B": second}))
    assert (found.over, found.wider_over) == ("families", None)
    for which in (first.without("influences"), first):
        assert only(compare_reports({"A": which, "B": second.without("influences")})).wider_over is None


def without_influences(one):
    estimates = {name: replace(each, influence=None) for name, each in one.sanity.estimates.items()}
    return replace(one, sanity=replace(one.sanity, estimates=estimates))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"text": "other"}, "texts differ"),
        ({"documents": 31}, "texts differ"),
        ({"settings": {"seed": 7}}, "seeds differ (0 and 7)"),
        ({"old": True}, "those of format 1.0 do not"),
        ({"of": "sequences"}, "over documents in one and over sequences in the other"),
        ({"n": 29}, "there are 30 and 29 documents"),
        ({"no_provenance": True}, "does not tell which text"),
    ],
)
def test_other_units_are_not_paired_and_it_is_said_why(change, reason):
    l0 = estimate(values(1, change.pop("n", 30)), of=change.pop("of", "documents"))
    old, nowhere = change.pop("old", False), change.pop("no_provenance", False)
    second = report(**change, l0=l0)
    second = without_influences(second) if old else replace(second, provenance={}) if nowhere else second
    comparison = compare_reports({"A": report(l0=estimate(values(0))), "B": second})
    found = only(comparison)
    assert not found.paired
    assert reason in found.unpaired
    assert f"not paired, {found.unpaired}: sanity" in comparison.notes
    assert "l0 *" in printed(comparison)


def test_latents_are_never_paired():
    f1 = Estimate(0.5, 0.01, 96, "latents")
    comparison = compare_reports({"A": report({"n2g": {"f1": f1}}), "B": report({"n2g": {"f1": replace(f1, value=0.6)}})})
    assert (only(comparison).paired, only(comparison).verdict) == (False, "higher")
    assert comparison.notes == ["not paired, two SAEs have no latents in common: n2g"]


def test_settings_that_matter():
    def one(**settings):
        return report({"shrinkage": {"ratio": estimate(values(0))}}, settings=settings, l0=estimate(values(0)))

    def compared(**settings):
        return compare_reports({"A": one(), "B": one(**settings)})

    assert all(each.paired for each in compared(**{"ablation.shown": 9, "n2g.folder": "x", "batch_size": 3}).differences)
    fewer = compared(**{"shrinkage.tokens": 100})
    assert {each.number: each.paired for each in fewer.differences} == {"sanity/l0": True, "shrinkage/ratio": False}
    assert fewer.notes == ["not paired, shrinkage.tokens is 32768 in one and 100 in the other: shrinkage"]
    other = compared(**{"shrinkage.solver": "pgd"})
    assert [each.number for each in other.differences] == ["sanity/l0"]
    assert "shrinkage is left out, its numbers do not mean the same: shrinkage.solver is 'exact' in one and 'pgd'" in other.notes[0]
    with pytest.raises(ResultError, match=r"no number in common.*shrinkage.solver"):
        compare_reports(
            {name: replace(each, sanity=MetricResult({})) for name, each in {"A": one(), "B": one(**{"shrinkage.solver": "pgd"})}.items()}
        )


def test_what_else_differs_is_said():
    first, second = report(l0=estimate(values(0))), report(l0=estimate(values(1)))
    second.provenance["sae"]["hook_name"] = "blocks.2"
    second.provenance["corpus"]["context_size"] = 128
    notes = compare_reports({"A": first, "B": second, "C": first}).notes
    assert "B: the reports differ in sae, hook_name: 'blocks.1' and 'blocks.2'" in notes
    assert "B: the reports differ in corpus, context_size: 64 and 128" in notes
    assert not any(note.startswith("C") for note in notes)


def test_what_only_one_has_is_said():
    first = report({"shrinkage": {"ratio": Estimate.absent("nothing to refine", of="documents")}}, l0=estimate(values(0)))
    second = report({"shrinkage": {"ratio": estimate(values(1))}, "n2g": {"f1": estimate(values(1))}}, l0=estimate(values(0)))
    first.errors["n2g"] = "ValueError: no"
    comparison = compare_reports({"A": first, "B": second})
    assert only(comparison).number == "sanity/l0"
    assert comparison.notes == ["shrinkage/ratio is missing in A: nothing to refine", "n2g/f1 is missing in A: ValueError: no"]


def test_damaged_provenance_is_no_reason_to_fail():
    second = replace(report(l0=estimate(values(1))), provenance={"config": 3, "corpus": ["x"], "sae": None})
    assert not only(compare_reports({"A": report(l0=estimate(values(0))), "B": second})).paired


def test_bad_calls():
    one = report(l0=estimate(values(0)))
    with pytest.raises(ResultError, match="at least two"):
        compare_reports({"A": one})
    for alpha in (0, 1, -0.1, float("nan")):
        with pytest.raises(ConfigError, match="alpha"):
            compare_reports({"A": one, "B": one}, alpha=alpha)


# --- the command -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    a = values(0)
    count = Estimate(0.1, None, 96, "latents", "an exact count on this text")
    reports = {"l1": estimate(a), "topk": estimate(a + 0.1 * values(1) + 1)}
    extra = {"dead_latents": count, "ce_clean": estimate(values(2)), "explained_variance": estimate(values(3))}
    return {name: str(report(l0=each, **extra).save(tmp_path / f"{name}.json")) for name, each in reports.items()}


@pytest.fixture(autouse=True)
def _pages_go_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def main(*arguments):
    from sae_lens_metrics.cli.main import main

    return main(["compare", *arguments])


def test_the_command(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert main(*files.values(), "--output", str(tmp_path / "out" / "d.json")) == 0
    text = capsys.readouterr().out
    rows = {line.split()[0]: line for line in text.splitlines() if line.startswith(" ") and line.strip()}
    assert "higher" in rows["l0"]
    assert "+0.993 ± 0.015" in rows["l0"]
    assert text.startswith("first: l1, second: topk\n")
    assert "no difference beyond noise" in rows["explained_variance"]
    assert rows["dead_latents"].split() == ["dead_latents", "0.1", "0.1", "0", "not", "tested"]
    assert "ce_clean" not in rows
    flat = " ".join(text.split())
    assert "2 numbers were tested" in flat
    assert 'any false "higher" or "lower" is at most 0.05' in flat
    assert "not about the methods that trained them" in flat
    saved = json.loads((tmp_path / "out" / "d.json").read_text())
    assert (saved["names"], saved["tested"], saved["alpha"]) == (["l1", "topk"], 2, 0.05)
    assert {each["number"]: each["verdict"] for each in saved["differences"]}["sanity/l0"] == "higher"
    assert main(*files.values(), "--all") == 0
    assert "a baseline" in capsys.readouterr().out


def test_the_comparison_in_pandas(files, tmp_path):
    comparison = compare_reports(read_reports(result_files(list(files.values()))))
    frame = comparison.to_frame()
    assert len(frame) == 4
    assert set(frame["verdict"]) == {"higher", "no difference beyond noise", "not tested"}
    read = pd.read_csv(comparison.save(tmp_path / "d.csv"))
    assert list(read) == list(frame)
    assert read["difference"].to_numpy() == pytest.approx(frame["difference"].to_numpy())
    assert read.set_index("number").loc["sanity/l0", "paired"]


def test_the_level_is_an_option(files, capsys):
    assert main(*files.values(), "--alpha", "1e-300") == 0
    assert "  higher" not in capsys.readouterr().out
    assert main(*files.values(), "--alpha", "2") == 2
    assert "alpha is 2.0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("FOLDER", "sae-lens-metrics evaluate FOLDER --dataset"),
        ("gpt2-small-res-jb", "evaluate RELEASE SAE_ID"),
        ("other.json", "not a result of sae-lens-metrics"),
        ("broken.json", "is not JSON"),
    ],
)
def test_what_is_no_result_file(bad, said, files, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FOLDER").mkdir()
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "broken.json").write_text("{")
    assert main(files["l1"], bad) == 2
    error = capsys.readouterr().err
    assert said in error
    assert bad in error


def test_mistakes_before_anything_is_read(files, capsys):
    assert main(files["l1"], files["l1"], "--output", "x.txt") == 2
    assert ".json or .csv" in capsys.readouterr().err
    assert main(files["l1"]) == 2
    assert "at least two" in capsys.readouterr().err
    with pytest.raises(SystemExit) as status:
        main()
    assert status.value.code == 2


def test_what_is_better_in_words():
    """Whether higher is better follows from the numbers' specs; what says the same as another number is tested once."""
    one = report({"shrinkage": {"ratio": estimate(values(0) + 3), "mse_raw": estimate(values(1)), "ce_gained": estimate(values(5))}})
    two = report(
        {"shrinkage": {"ratio": estimate(values(0) + 1), "mse_raw": estimate(values(2) + 3), "ce_gained": estimate(values(5) + 3)}}
    )
    found = compare_reports({"one": one, "two": two})
    by_number = {each.number: each for each in found.differences}
    ratio, mse, gained = (by_number[f"shrinkage/{name}"] for name in ("ratio", "mse_raw", "ce_gained"))
    nearer = abs(ratio.second - 1) < abs(ratio.first - 1)
    assert (ratio.verdict, ratio.judgement) == ("lower", "better" if nearer else "worse")
    assert (mse.verdict, mse.judgement) == ("higher", "worse")
    assert (gained.verdict, gained.judgement) == ("higher", "neither")
    (words,) = found.in_words()
    assert re.search(
        r"two is better than one on 1 of 1 main numbers \(shrinkage/ratio\), one on 0, 0 undecided" if nearer else r"one on 1", words
    )
    assert words in printed(found, width=300)
    assert found.to_dict()["in_words"] == [words]
    assert set(found.to_frame()["judgement"].dropna()) >= {"worse", "neither"}


@pytest.mark.parametrize("same", [True, False])
def test_one_minus_another_number_is_tested_once(same):
    def one(seed):
        explained = estimate(values(seed) + 3)
        mse = replace(explained, value=(1 if same else 1.01) - explained.value)
        made = report({"shrinkage": {"mse_raw": mse}})
        return replace(made, sanity=replace(made.sanity, estimates={**made.sanity.estimates, "explained_variance": explained}))

    found = {each.number: each for each in compare_reports({"one": one(0), "two": one(1)}).differences}
    assert found["sanity/explained_variance"].p is not None
    assert found["shrinkage/mse_raw"].untested == ("the same as sanity/explained_variance" if same else None)


def test_files_of_one_name_keep_apart(files, tmp_path):
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "l1.json").write_text(open(files["l1"]).read())  # noqa: SIM115
    names = list(result_files([files["l1"], folder / "l1.json", files["topk"], files["topk"]]))
    assert len({*names}) == 4
    assert names[2:] == ["topk", "topk (2)"]
    assert names[1].endswith("/l1.json")
    assert all(len(name) <= 40 for name in names)


def test_hostile_names_are_shown_as_they_are(tmp_path):
    name = "[red]\x1b[31m\u202e[/nothing]"
    one = report({f"metric{name}": {f"x{name}": estimate(values(0))}}, l0=replace(estimate(values(0)), of=name))
    other = report({f"metric{name}": {f"x{name}": estimate(values(1))}}, l0=Estimate(1.0, None, 3, "x", name))
    other.provenance["sae"]["hook_name"] = name
    text = printed(compare_reports({name: one, f"{name}2": other}))
    assert not {"\x1b", "\u202e"} & set(text)
    assert text.count(r"[red]\x1b[31m\u202e[/nothing]") >= 4


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_fits(width, files):
    for line in printed(compare_reports(read_reports(result_files(list(files.values())))), width=width).splitlines():
        assert len(line) <= width, line


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as status:
        main("--help")
    assert status.value.code in (0, None)
    text = capsys.readouterr().out
    for taught in ("RESULT", "--alpha", "--output", "higher", "same text and seed", "several seeds of each method", "does not mean that"):
        assert taught in text, taught


def test_the_command_does_not_wait_for_torch(files):
    program = "import sys; from sae_lens_metrics.cli.compare import run_compare; run_compare(sys.argv[1:]); print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", program, *files.values()], capture_output=True, text=True, check=True).stdout
    assert out.rstrip().endswith("False")


def test_run_compare_prints_where_it_is_told(files):
    console = Console(record=True, width=100, file=open("/dev/null", "w"))  # noqa: SIM115
    run_compare(list(files.values()), console)
    assert "numbers were tested" in console.export_text()


def test_a_page_is_written_unless_it_is_not_wanted(files, tmp_path, capsys):
    assert main(*files.values()) == 0
    assert "comparison.html" in capsys.readouterr().out
    page = (tmp_path / "comparison.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert main(*files.values(), "--report", "other.html") == 0
    assert (tmp_path / "other.html").read_text() == page
    (tmp_path / "comparison.html").unlink()
    assert main(*files.values(), "--no-report") == 0
    assert "report:" not in capsys.readouterr().out.splitlines()[-1]
    assert not (tmp_path / "comparison.html").exists()
