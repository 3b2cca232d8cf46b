"""Findings about kinds of SAEs: sums over a grid, their errors, and what is said of them."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from compared_reports import estimate, report
from rich.console import Console
from scipy import stats

from sae_lens_metrics import Estimate, compare_reports
from sae_lens_metrics.cli.main import main
from sae_lens_metrics.comparison.trends.claims import CLAIMS
from sae_lens_metrics.comparison.trends.contrasts import Evaluated
from sae_lens_metrics.comparison.trends.findings import Findings, find
from sae_lens_metrics.comparison.trends.grid import Cell, Grid, Trained
from sae_lens_metrics.comparison.trends.means import Means
from sae_lens_metrics.errors import ConfigError, ResultError
from sae_lens_metrics.metrics.registry import metric_spec
from sae_lens_metrics.views.figures import to_png, trend_figures
from sae_lens_metrics.views.findings import judged_findings
from sae_lens_metrics.views.judged import judged_markdown, print_judged

K = (8, 16, 32, 64, 128, 256, 512)
READ_OFF = {
    "probe/loss": {
        2048: (0.515, 0.508, 0.502, 0.500, 0.503, 0.504, 0.515),
        32768: (0.503, 0.502, 0.502, 0.494, 0.493, 0.497, 0.508),
        131072: (0.501, 0.501, 0.498, 0.495, 0.491, 0.497, 0.503),
    },
    "ablation/sparsity": {
        2048: (0.136, 0.134, 0.128, 0.128, 0.127, 0.126, 0.127),
        32768: (0.140, 0.130, 0.127, 0.127, 0.124, 0.123, 0.127),
        131072: (0.140, 0.130, 0.126, 0.127, 0.123, 0.124, 0.128),
    },
    "n2g/recall": {
        2048: (0.21, 0.17, 0.15, 0.13, 0.18, 0.34, 0.49),
        32768: (0.32, 0.29, 0.22, 0.18, 0.14, 0.17, 0.03),
        131072: (0.30, 0.29, 0.30, 0.23, 0.19, 0.16, 0.02),
    },
    "n2g/precision": {
        2048: (0.71, 0.67, 0.64, 0.60, 0.56, 0.51, 0.43),
        32768: (0.73, 0.73, 0.69, 0.66, 0.69, 0.66, 0.02),
        131072: (0.72, 0.71, 0.71, 0.71, 0.71, 0.69, 0.02),
    },
}
"""What Gao et al. 2024 show of GPT-2 small, layer 8, read off figures 6 and 25."""


def topk(n, k, seed=0):
    return Trained(Cell("TopK", n, k), seed)


def reports_of(values, unit=0.01, seed=0):
    """A report for each SAE, with numbers over 30 documents that have ups and downs in common."""
    draw = np.random.default_rng(seed)
    shared = draw.standard_normal(30)
    found = {}
    for trained, numbers in values.items():
        metrics = {}
        for number, value in numbers.items():
            metric, name = number.split("/")
            own = draw.standard_normal(30)
            metrics.setdefault(metric, {})[name] = estimate(value + 10 * unit * (shared - shared.mean()) + unit * (own - own.mean()))
        sanity = metrics.pop("sanity", {})
        found[trained] = report(metrics, **sanity)
    return found


# --- the grid ----------------------------------------------------------------------------------------------------------------


def test_the_grid_of_gpt2_small_has_the_papers_k():
    grid = Grid.of_size(768)
    assert grid.actives == K
    assert len(grid.trained()) == 21 + 9 + 6
    assert len({each.name for each in grid.trained()}) == 36
    assert {each.seed for each in grid.trained()} == {0, 1}


def test_with_three_seeds_every_kind_has_three():
    assert len(Grid.of_size(128, seeds=3).trained()) == 3 * len(Grid.of_size(128).cells())


@pytest.mark.parametrize("wrong", [{"widths": (64,)}, {"actives": (1, 2)}, {"actives": (1, 2, 65)}, {"penalties": ()}, {"seeds": 0}])
def test_a_grid_that_shows_nothing_is_refused(wrong):
    values = {"d_in": 32, "widths": (64, 128), "actives": (1, 2, 4), "penalties": (1.0,), "seeds": 1}
    with pytest.raises(ConfigError, match="expected"):
        Grid(**{**values, **wrong})


# --- sums and their errors -----------------------------------------------------------------------------------------------------


def test_a_difference_of_two_saes_has_the_error_that_compare_gives_it():
    two = reports_of({topk(64, 1): {"sanity/explained_variance": 0.5}, topk(64, 2): {"sanity/explained_variance": 0.7}})
    first, second = two
    found = Evaluated(two).size({(second.cell, "sanity/explained_variance"): 1.0, (first.cell, "sanity/explained_variance"): -1.0})
    (expected,) = compare_reports({"a": two[first], "b": two[second]}).differences
    assert found.value == pytest.approx(expected.difference)
    assert found.evaluation == pytest.approx(expected.stderr)
    assert (found.evaluation_df, found.training) == (expected.df, None)


def test_a_slope_is_that_of_least_squares_and_its_error_that_of_the_slopes_of_documents():
    ks = (1, 2, 4, 8)
    whole = reports_of({topk(n, k): {"ablation/sparsity": 0.5 - 0.03 * math.log2(k)} for n in (64, 128) for k in ks}, seed=1)
    (claim,) = [each for each in CLAIMS if each.statement == "Effects of latents get sparser as k grows"]
    (found,) = find(Evaluated(whole), 16, [claim])
    x = [math.log2(each.cell.dial) for each in whole]
    documents = np.array([np.array(each.metrics["ablation"].estimates["sparsity"].influence) for each in whole.values()]) * 30
    assert found.size == pytest.approx(0.03)
    assert found.stderr == pytest.approx(stats.sem(np.polyfit(x, documents, 1)[0]), rel=1e-3)
    assert (found.df, found.verdict, found.training) == (29, "shown", None)


@pytest.mark.parametrize("moved_by_seeds", [0.02, 0.0])
def test_what_another_seed_does_is_part_of_the_error(moved_by_seeds):
    """Over grids whose SAEs differ by nothing but chance: the error is that of theory, and rarely calls what is not there."""
    draw, found, evaluated_by = np.random.default_rng(2), [], 0.02
    claim = next(each for each in CLAIMS if each.statement == "Effects of latents get sparser as k grows")
    runs = [each for each in Grid(16, (32, 64, 128), (1, 2, 4), (1.0,), seeds=2).trained() if each.cell.architecture == "TopK"]
    texts = reports_of({each: {"ablation/sparsity": 0.0} for each in runs}, unit=evaluated_by * 30**0.5)
    for _ in range(60):
        shifts = draw.normal(0, math.hypot(moved_by_seeds, evaluated_by), len(runs))
        found += find(
            Evaluated({each: moved_by(report, shift) for (each, report), shift in zip(texts.items(), shifts, strict=True)}), 16, [claim]
        )
    slope = 1 / 6 / 2  # over nine kinds at log2 k of 0, 1 and 2, each with two seeds
    variance = slope * (moved_by_seeds**2 + evaluated_by**2)
    assert np.mean([each.training**2 for each in found]) == pytest.approx(variance, rel=0.2)
    assert np.mean([each.evaluation**2 for each in found]) == pytest.approx(slope * evaluated_by**2, rel=0.4)
    assert np.var([each.size for each in found]) == pytest.approx(variance, rel=0.5)
    assert sum(each.verdict != "not shown" for each in found) <= 4


def moved_by(report, shift):
    """The report with another sparsity on the same documents."""
    (number,) = report.metrics["ablation"].estimates.values()
    moved = replace(number, value=number.value + shift)
    return replace(report, metrics={"ablation": replace(report.metrics["ablation"], estimates={"sparsity": moved})})


def test_one_kind_with_two_seeds_stands_for_those_of_its_architecture_alone():
    values = {topk(64, k, seed): {"ablation/sparsity": 0.5 + 0.01 * seed} for k in (1, 2, 4) for seed in (0, 1)}
    relu = {Trained(Cell("ReLU", 64, 1.0), 0): {"ablation/sparsity": 0.4}}
    evaluated = Evaluated(reports_of({**values, **relu}, unit=1e-5))
    two = {(Cell("TopK", 64, 1), "ablation/sparsity"): 1.0, (Cell("TopK", 64, 4), "ablation/sparsity"): -1.0}
    assert evaluated.size(two).training == pytest.approx(math.sqrt(2 * 0.01**2 / 2 / 2), rel=0.01)
    assert evaluated.size({**two, (Cell("ReLU", 64, 1.0), "ablation/sparsity"): 1.0}).training is None


def test_numbers_over_latents_of_their_own_are_independent():
    values = {topk(64, 1): 0.5, topk(64, 2): 0.6}
    reports = {each: report({"n2g": {"recall": Estimate(value, 0.03, 40, "latents")}}) for each, value in values.items()}
    found = Evaluated(reports).size({(each.cell, "n2g/recall"): weight for each, weight in zip(values, (-1.0, 1.0), strict=True)})
    assert found.value == pytest.approx(0.1)
    assert found.evaluation == pytest.approx(0.03 * math.sqrt(2))


def test_what_is_absent_is_said():
    reports = {topk(64, 1): report({"n2g": {"recall": Estimate.absent("no latent fires", of="latents")}})}
    with pytest.raises(ResultError, match="no latent fires"):
        Evaluated(reports).value({(Cell("TopK", 64, 1), "n2g/recall"): 1.0})


def test_a_sum_of_nothing_is_no_sum():
    evaluated = Evaluated(reports_of({topk(64, 1): {"ablation/sparsity": 0.5}}))
    for empty in ({}, {(Cell("TopK", 64, 1), "ablation/sparsity"): 0.0}):
        with pytest.raises(ResultError, match="no kinds of SAEs"):
            evaluated.size(empty)
    assert {each.verdict for each in find(Evaluated({}), 768)} == {"not checkable"}


def test_an_error_that_is_not_known_shows_nothing():
    """One latent that could be looked at again gives an error without degrees of freedom."""
    values = {topk(64, 1): 0.9, topk(64, 2): 0.5, topk(64, 4): 0.1}
    reports = {each: report({"n2g": {"recall": Estimate(value, 0.01, 2, "latents", df=0)}}) for each, value in values.items()}
    (found,) = find(Evaluated(reports), 16, [claim_of("N2G recall falls as k grows")])
    assert (found.df, found.p, found.verdict) == (0, 1.0, "not shown")


def test_seeds_of_kinds_that_are_in_the_sum_tell_of_it():
    """Dense SAEs, which N2G's slopes leave out, move much more from seed to seed; and one of them has no number at all."""
    values = {topk(64, k, seed): 0.5 + seed * (0.3 if k == 16 else 0.01) for k in (1, 2, 16) for seed in (0, 1)}
    reports = {each: report({"n2g": {"recall": Estimate(value, 0.001, 40, "latents")}}) for each, value in values.items()}
    low = {(Cell("TopK", 64, 1), "n2g/recall"): 1.0, (Cell("TopK", 64, 2), "n2g/recall"): -1.0}
    assert Evaluated(reports).size(low).training == pytest.approx(0.01 / math.sqrt(2))
    reports[topk(64, 16, 1)] = report({"n2g": {"recall": Estimate.absent("nothing fires", of="latents")}})
    assert Evaluated(reports).size(low).training == pytest.approx(0.01 / math.sqrt(2))


def claim_of(statement):
    return next(each for each in CLAIMS if each.statement == statement)


def test_one_k_that_is_left_has_no_step_before_it():
    reports = reports_of({topk(n, 16): {"ablation/sparsity": 0.1} for n in (32, 64)})
    (found,) = find(Evaluated(reports), 16, [claim_of("Effects get less sparse as k nears d_model")])
    assert (found.verdict, "one k only" in found.reason) == ("not checkable", True)


@pytest.mark.parametrize(("relu", "topk_change", "verdict"), [(0.4, 0.02, "shown"), (0.4, -0.02, "shown"), (0.1, -2.0, "the opposite")])
def test_what_refinement_does_to_topk_counts_whatever_its_sign(relu, topk_change, verdict):
    values = {topk(64, k): {"sanity/l0": k, "shrinkage/change_relative": topk_change} for k in (1, 4, 16)}
    values[Trained(Cell("ReLU", 64, 1.0), 0)] = {"sanity/l0": 4.0, "shrinkage/change_relative": relu}
    (found,) = find(
        Evaluated(reports_of(values, unit=1e-4)), 32, [claim_of("Refinement changes TopK's latents less than a quarter as much")]
    )
    assert found.verdict == verdict


# --- the paper's findings ------------------------------------------------------------------------------------------------------


def test_claims_are_about_numbers_that_exist():
    cells = tuple(Grid.of_size(768).cells())
    means = Means(768, cells, lambda cell, number: cell.dial if cell.architecture == "TopK" else 40.0)
    for claim in CLAIMS:
        line = claim.line(means)
        for _, number in [*line.over, *(line.under or {})]:
            metric, name = number.split("/")
            assert name in metric_spec(metric).numbers


def test_the_papers_own_sizes_are_those_of_its_figures():
    table = {
        (Cell("TopK", n, k), number): value
        for number, rows in READ_OFF.items()
        for n, row in rows.items()
        for k, value in zip(K, row, strict=True)
    }
    means = Means(768, tuple(dict.fromkeys(cell for cell, _ in table)), lambda cell, number: table[cell, number])
    checked = 0
    for claim in CLAIMS:
        try:
            line = claim.line(means)
            size = math.fsum(weight * table[key] for key, weight in line.over.items())
        except (ResultError, KeyError):
            continue
        if claim.paper is not None:
            assert claim.paper == pytest.approx(size, abs=0.0006)
            checked += 1
            assert size > claim.above
    assert checked == 8


def test_relu_is_held_against_topk_at_its_own_l0():
    # ReLU within TopK makes its L0 smaller than k
    l0 = {Cell("TopK", 64, 5): 4.0, Cell("TopK", 64, 20): 16.0, Cell("ReLU", 64, 1.0): 8.0, Cell("ReLU", 64, 2.0): 18.0}
    ((relu, near),) = Means(32, tuple(l0), lambda cell, number: l0[cell]).pairs()
    assert relu == Cell("ReLU", 64, 1.0)
    assert near == {Cell("TopK", 64, 5): pytest.approx(0.5), Cell("TopK", 64, 20): pytest.approx(0.5)}


def planted(sign=1.0, seeds=2):
    """A grid that shows every finding, or with the other sign the opposite of most."""
    grid = Grid(768, (1536, 6144), (8, 16, 64, 128, 512), (1.0, 2.0), seeds)
    values = {}
    for each in grid.trained():
        relu = each.cell.architecture == "ReLU"
        k = each.cell.dial if not relu else 90.0 / each.cell.dial
        x, n = math.log2(k), math.log2(each.cell.n)
        best = abs(x - 6.5)
        values[each] = {
            "sanity/l0": k,
            **{f"probe/{name}": 0.4 + sign * (0.02 * best + 0.05 * relu) for name in ("loss", "held_out_loss")},
            **{f"probe/{name}": -sign * 0.1 for name in ("loss_minus_channels", "held_out_loss_minus_random")},
            "n2g/precision": 0.5 + sign * (0.02 * n - 0.02 * x + 0.02 * relu),
            **{
                f"n2g/{name}": (0.5 + sign * (0.02 * n - 0.02 * x)) / (1.8**sign if relu else 1)
                for name in ("recall", "f1", "f1_full_sample", "recall_full_sample", "precision_full_sample")
            },
            "explanation/ce_explanation": 6 - sign * (0.2 * n - 0.2 * x),
            "explanation/ce_bigram": 7.0 if sign > 0 else 2.0,
            "ablation/sparsity": 0.3 - sign * 0.01 * (x if k < 500 else 2),
            "ablation/sparsity_minus_channels_lasting": -sign * 0.3,
            "shrinkage/change_relative": sign * 0.5 if relu else 0.01,
            "shrinkage/mse_raw": 0.3 if relu else 0.2,
            "shrinkage/mse_refined": 0.3 - sign * 0.05 if relu else 0.19,
            "shrinkage/ce_added_raw": 0.3 if relu else 0.2,
            "shrinkage/ce_added_refined": 0.3 - sign * 0.05 if relu else 0.19,
        }
    return grid, reports_of(values, unit=0.0005)


@pytest.fixture(scope="module")
def shown():
    grid, reports = planted()
    evaluated = Evaluated(reports)
    return evaluated, Findings("gpt2", "blocks.8.hook_resid_post", grid, find(evaluated, 768), len(reports), len(reports))


def test_a_grid_that_was_made_to_shows_every_finding(shown):
    _, findings = shown
    assert [each.statement for each in findings.findings if each.verdict != "shown"] == []
    assert findings.all_shown


def test_a_grid_that_was_made_to_shows_the_opposite():
    _, reports = planted(-1.0)
    found = {each.statement: each.verdict for each in find(Evaluated(reports), 768)}
    assert sum(verdict == "the opposite" for verdict in found.values()) >= 20
    assert found["N2G recall is better for TopK than for ReLU"] == "the opposite"
    assert found["Probes get better as k grows from its smallest"] == "the opposite"


def test_a_grid_of_few_sizes_says_what_it_cannot_tell(shown):
    evaluated, _ = shown
    narrow = Evaluated({each: value for each, value in evaluated.reports.items() if each.cell.n == 1536 and each.cell.dial != 512})
    found = {each.statement: each for each in find(narrow, 768)}
    told = {
        "N2G recall rises with n": "one value only",
        "Effects get less sparse as k nears d_model": "no k between",
        "Probes get worse again as k nears d_model": "no k between",
    }
    for statement, why in told.items():
        assert found[statement].verdict == "not checkable"
        assert why in found[statement].reason


def test_findings_are_told_in_full(shown):
    _, findings = shown
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    print_judged(judged_findings(findings), console)
    text, page = console.export_text(), judged_markdown(judged_findings(replace(findings, notes=("TopK-n64-k1: it broke",))))
    assert f"Of {len(CLAIMS)} findings {len(CLAIMS)} shown" in text
    assert page.count(" shown |") == len(CLAIMS)
    assert "it broke" in page
    data = json.loads(json.dumps(findings.to_dict(), allow_nan=False))
    assert data["findings"][0]["statement"] == CLAIMS[0].statement
    assert len(findings.to_frame()) == len(CLAIMS)


def test_verdicts_stand_whole_on_a_narrow_terminal(shown):
    _, findings = shown
    told = replace(findings, findings=tuple(replace(each, verdict="not checkable") for each in findings.findings))
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    print_judged(judged_findings(told), console)
    assert console.export_text().count("not checkable") >= len(CLAIMS)


def test_one_seed_of_each_is_said_to_be_one():
    grid, reports = planted()
    once = Evaluated({each: value for each, value in reports.items() if each.seed == 0})
    page = judged_markdown(judged_findings(Findings("gpt2", "hook", grid, find(once, 768), len(reports), len(reports))))
    assert "where kinds of SAEs were trained with two: no finding" in page


def test_where_one_architecture_has_one_seed_that_is_said():
    grid, reports = planted()
    some = Evaluated({each: value for each, value in reports.items() if each.seed == 0 or each.cell.architecture == "TopK"})
    found = Findings("gpt2", "hook", grid, find(some, 768), len(some.reports), len(reports))
    page = judged_markdown(judged_findings(found))
    assert "not that of TopK probes better than ReLU at the same L0" in page
    assert f"{len(some.reports)} of {len(reports)} SAEs at hook" in page
    assert not found.all_shown


def test_the_papers_figures_are_drawn(shown):
    evaluated, _ = shown
    figures = trend_figures(evaluated.reports)
    names = [figure.name for figure in figures]
    assert names == [
        f"trends/{name}"
        for name in (
            "6a_probe", "6b_ablation", "8_explanations", "9b_error", "9c_loss", "24_recall", "24_precision", "25a_recall", "25b_precision",
        )
    ]  # fmt: skip
    first = figures[0]
    assert [series.name for series in first.series] == ["n = 1,536", "n = 6,144"]
    assert first.series[0].x == [8, 16, 64, 128, 512]
    assert all(to_png(figure).startswith(b"\x89PNG") for figure in figures[:1])


def test_what_would_be_looked_for_is_listed(capsys):
    assert main(["reproduce", "--list", "paper-trends"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert all(claim.statement.split()[-1] in text for claim in CLAIMS)
    assert text.count("6a:") == sum(claim.figure == "6a" for claim in CLAIMS)
    assert "Probes get better as k grows" in text
