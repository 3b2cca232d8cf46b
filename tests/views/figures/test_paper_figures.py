"""The paper's figures: every number is one of the report, for one, few and many SAEs."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from figure_reports import BASELINES, HOSTILE, report
from specs import SPECS

from sae_lens_metrics.results import Estimate, MetricResult, Report
from sae_lens_metrics.views.figures import paper_figures, slim
from sae_lens_metrics.views.figures.layout import categories

OWN = {
    "probe": ["probe/loss", "probe/by_family", "probe/by_task"],
    "n2g": ["n2g/precision_recall", "n2g/latents", "n2g/density"],
    "explanation": ["explanation/losses"],
    "ablation": ["ablation/sparsity", "ablation/distribution"],
    "shrinkage": ["shrinkage/change", "shrinkage/before_after", "shrinkage/loss_before_after"],
    "rules": ["rules/lengths"],
}
ALL = [name for names in OWN.values() for name in names]
DISTRIBUTIONS = {"n2g/latents", "n2g/density", "ablation/distribution", "shrinkage/change"}


def saes(n, **options):
    return {f"sae {i}": report(i, architecture=("topk", "standard", "gated")[i % 3], **options) for i in range(n)}


def drawn(reports):
    return {figure.name: figure for figure in paper_figures(reports)}


def numbers(value):
    """Every number in JSON."""
    if isinstance(value, dict | list):
        return {number for each in (value.values() if isinstance(value, dict) else value) for number in numbers(each)}
    return {value} if isinstance(value, float) else set()


def without(one, metric, name):
    """A report whose number is absent."""
    absent = replace(one.metrics[metric], estimates={**one.metrics[metric].estimates, name: Estimate.absent("none", of="documents")})
    return replace(one, metrics={**one.metrics, metric: absent})


@pytest.mark.parametrize("n", [1, 2, 4, 5, 8, 50])
def test_every_number_of_every_figure_is_in_the_results(n):
    reports = saes(n)
    there = numbers([json.loads(json.dumps(each.to_dict())) for each in reports.values()])
    figures = paper_figures(reports)
    assert figures
    for figure in figures:
        for series in figure.series:
            if figure.name not in DISTRIBUTIONS:
                assert {y for y in series.y if y is not None} <= there
                assert {error for error in series.error or [] if error is not None} <= there
                assert {x for x in series.x if not isinstance(x, str)} <= there
        assert {level.value for level in figure.levels} <= there


def test_figures_of_one_few_and_many():
    assert list(drawn(saes(1))) == ALL
    assert list(drawn(saes(4)))[: len(ALL)] == ALL
    across = {f"across/{metric}_{spec.headline}" for metric, spec in SPECS.items()}
    assert set(drawn(saes(2))) == {*ALL, *across}
    # against L0 the metric's own figure shows it already
    many = across - {"across/probe_loss", "across/ablation_sparsity"}
    assert set(drawn(saes(8))) == ({*ALL} - DISTRIBUTIONS) | many
    assert paper_figures({}) == []


@pytest.mark.parametrize("n", [1, 3, 8, 50])
def test_every_series_is_whole_and_can_be_told_apart(n):
    for figure in paper_figures(saes(n)):
        assert len({series.name for series in figure.series}) == len(figure.series)
        assert len({(series.colour, series.symbol) for series in figure.series}) == len(figure.series) <= 8
        for series in figure.series:
            bins = series.mark == "histogram"
            assert len(series.x) == len(series.y) + bins
            assert series.error is None or len(series.error) == len(series.y)
            assert series.labels is None or len(series.labels) == len(series.y)


def test_few_saes_are_bars_beside_their_baselines():
    reports = saes(2)
    figure = drawn(reports)["probe/loss"]
    for name, series in zip(reports, figure.series, strict=True):
        estimates = reports[name].metrics["probe"].estimates
        assert (series.name, series.mark, series.x) == (name, "bar", ["latents", "channels", "random directions", "shuffled labels"])
        assert series.y == [estimates[key].value for key in ("loss", *BASELINES)]
        assert series.error == [estimates[key].stderr for key in ("loss", *BASELINES)]


def test_many_saes_are_points_at_their_l0():
    reports = saes(8)
    figure = drawn(reports)["probe/loss"]
    assert figure.log_x
    points = {
        (name, x, y, error)
        for series in figure.series[:3]
        for name, x, y, error in zip(series.labels, series.x, series.y, series.error, strict=True)
    }
    expected = {name: (each.sanity.estimates["l0"].value, each.metrics["probe"].estimates["loss"]) for name, each in reports.items()}
    assert points == {(name, l0, loss.value, loss.stderr) for name, (l0, loss) in expected.items()}
    by_name = {series.name: series.labels for series in figure.series}
    assert by_name["standard"] == ["sae 1", "sae 4", "sae 7"]
    # the channels are the same for all, random directions and shuffled labels each SAE's own
    assert [(level.name, level.value) for level in figure.levels] == [("channels", 0.6)]
    assert [series.name for series in figure.series[3:]] == ["random directions", "shuffled labels"]
    own = dict(zip(by_name["random directions"], figure.series[3].y, strict=True))
    assert own == {name: each.metrics["probe"].estimates["random_loss"].value for name, each in reports.items()}


def test_a_constant_is_a_level():
    (level,) = drawn(saes(2))["ablation/sparsity"].levels
    assert level.name == SPECS["ablation"].baselines()["gaussian"]
    assert level.value == 2 / math.pi


def test_an_sae_without_l0_is_said_to_be_left_out():
    reports = saes(6)
    sanity = {**reports["sae 2"].sanity.estimates, "l0": Estimate(0.0, 0.0, 30, "documents")}
    reports["sae 2"] = replace(reports["sae 2"], sanity=MetricResult(sanity))
    figure = drawn(reports)["ablation/sparsity"]
    assert not any("sae 2" in series.labels for series in figure.series)
    assert "no L0: 1 SAE." in figure.caption


@pytest.mark.parametrize("tasks", [1, 13, 61])
def test_tasks_are_sorted_by_family_and_loss(tasks):
    reports = saes(2, tasks=tasks)
    figure = drawn(reports)["probe/by_task"]
    rows = reports["sae 0"].metrics["probe"].tables["tasks"]
    families = list(dict.fromkeys(row["family"] for row in rows))
    expected = sorted(rows, key=lambda row: (families.index(row["family"]), row["loss"]))
    assert categories(figure) == [f"{row['task']} ({row['family']})" for row in expected]
    assert [series.name for series in figure.series] == ["sae 0", "sae 1", "channels", "random directions"]
    for series, column in zip(figure.series[2:], BASELINES[:2], strict=True):
        assert series.y == [row[column] for row in expected]
    second = {row["task"]: row["loss"] for row in reports["sae 1"].metrics["probe"].tables["tasks"]}
    assert figure.series[1].y == [second[row["task"]] for row in expected]


def test_tasks_that_only_some_have():
    reports = {"few": report(0, tasks=3), "more": report(1, tasks=7), "none": report(2, metrics=("n2g",))}
    figure = drawn(reports)["probe/by_task"]
    assert len(categories(figure)) == 7
    assert [series.name for series in figure.series] == ["few", "more", "channels", "random directions"]
    assert [sum(y is not None for y in series.y) for series in figure.series] == [3, 7, 7, 7]


def baselines(figure, reports):
    return {series.name: series for series in figure.series if series.name not in reports}


@pytest.mark.parametrize("n", [2, 4])
def test_baselines_that_differ_are_each_saes_own(n):
    reports = {f"sae {i}": report(i, place=i, tasks=4 + i) for i in range(n)}
    figures = drawn(reports)
    for figure, table, key in ((figures["probe/by_family"], "families", "family"), (figures["probe/by_task"], "tasks", "task")):
        found = baselines(figure, reports)
        assert list(found) == [f"{label}, {name}" for label in ("channels", "random directions") for name in reports]
        for i, (name, each) in enumerate(reports.items()):
            of = {row[key]: row["random_loss"] for row in each.metrics["probe"].tables[table]}
            series = found[f"random directions, {name}"]
            assert dict(zip((x.split(" ")[0] for x in series.x), series.y, strict=True)) == {
                x.split(" ")[0]: of.get(x.split(" ")[0]) for x in series.x
            }
            assert series.colour == i
            assert series.symbol == found[f"random directions, sae {n - 1 - i}"].symbol != found[f"channels, {name}"].symbol
        assert "Each SAE's own: channels and random directions." in figure.caption
    assert "Left out, as they differ between SAEs: shuffled labels." in figures["probe/by_task"].caption
    assert "shuffled" not in figures["probe/by_family"].caption


def test_a_single_difference_makes_a_baseline_each_saes_own():
    reports = saes(2)
    reports["sae 1"].metrics["probe"].tables["tasks"][3]["channels_loss"] = None
    figure = drawn(reports)["probe/by_task"]
    assert list(baselines(figure, reports)) == ["channels, sae 0", "channels, sae 1", "random directions"]
    assert "The same for all SAEs: random directions. Each SAE's own: channels. Left out" in figure.caption


def test_baselines_of_many_saes_are_drawn_only_if_they_are_the_same():
    groups = {"topk", "standard", "gated"}
    same = drawn(saes(8))["probe/by_task"]
    assert list(baselines(same, groups)) == ["channels", "random directions"]
    reports = {name: report(i, place=i // 4, architecture="topk") for i, name in enumerate("abcdefgh")}
    figure = drawn(reports)["probe/by_task"]
    assert list(baselines(figure, groups)) == []
    assert "Left out, as they differ between SAEs: channels, random directions and shuffled labels." in figure.caption


def test_baselines_of_one_sae_are_its_own():
    reports = {"none": report(0, metrics=("n2g",)), "one": report(1)}
    figure = drawn(reports)["probe/by_task"]
    assert [series.name for series in figure.series] == ["one", "channels", "random directions", "shuffled labels"]
    assert "The baselines are this SAE's own." in figure.caption


def test_a_level_is_of_all_saes():
    """A baseline that one SAE lacks is drawn at those that have it."""
    reports = saes(8)
    reports["sae 3"] = without(reports["sae 3"], "probe", "channels_loss")
    figure = drawn(reports)["probe/loss"]
    assert figure.levels == []
    (channels,) = [series for series in figure.series if series.name == "channels"]
    assert channels.labels == [name for name in reports if name != "sae 3"]
    assert channels.x == [reports[name].sanity.estimates["l0"].value for name in channels.labels]
    # an SAE that has no place in the figure cannot take the level away
    reports["sae 3"] = replace(reports["sae 3"], metrics={})
    assert [level.name for level in drawn(reports)["probe/loss"].levels] == ["channels"]


def test_a_constant_that_one_sae_lacks_is_no_level():
    reports = saes(2)
    reports["sae 1"] = without(reports["sae 1"], "ablation", "gaussian")
    figure = drawn(reports)["ablation/sparsity"]
    assert figure.levels == []
    assert [series.y[-1] for series in figure.series] == [2 / math.pi, None]


def test_families_have_errors():
    reports = saes(1)
    (latents, *baselines) = drawn(reports)["probe/by_family"].series
    rows = reports["sae 0"].metrics["probe"].tables["families"]
    assert latents.y == [row["loss"] for row in rows]
    assert latents.error == [0.02, None, None]
    assert [series.name for series in baselines] == ["channels", "random directions"]


def test_losses_go_from_the_least_harm_to_the_most():
    reports = saes(1)
    (series,) = drawn(reports)["explanation/losses"].series
    assert series.y == sorted(series.y)
    estimates = reports["sae 0"].metrics["explanation"].estimates
    labels = {"explanations": "ce_explanation"} | {
        label: name for name, label in SPECS["explanation"].baselines().items() if name != "gaussian"
    }
    assert dict(zip(series.x, series.y, strict=True)) == {
        label: estimates[name].value for label, name in labels.items() if name in estimates
    }
    assert dict(zip(series.x, series.error, strict=True))["explanations"] == estimates["ce_explanation"].stderr


def test_distributions_are_shares():
    reports = saes(2)
    figures = drawn(reports)
    for name, metric, histogram in (("ablation/distribution", "ablation", "distribution"), ("shrinkage/change", "shrinkage", "change")):
        for series, each in zip(figures[name].series, reports.values(), strict=True):
            found = each.metrics[metric].histograms[histogram]
            assert series.x == found.edges
            np.testing.assert_allclose(series.y, np.array(found.counts) / sum(found.counts))
    for name, column in (("n2g/latents", "f1"), ("n2g/density", "density")):
        for series, each in zip(figures[name].series, reports.values(), strict=True):
            values = np.array([row[column] for row in each.metrics["n2g"].tables["latents"] if row[column] not in (None, 0.0)])
            values = np.log10(values) if column == "density" else values
            np.testing.assert_allclose(series.y, np.histogram(values, series.x)[0] / len(values))
            assert sum(series.y) == pytest.approx(1)


@pytest.mark.parametrize("metric", list(OWN))
def test_metrics_that_are_missing_have_no_figures(metric):
    assert list(drawn({"only": report(metrics=(metric,))})) == OWN[metric]
    rest = [name for names in (OWN[each] for each in OWN if each != metric) for name in names]
    assert list(drawn({"rest": report(metrics=[each for each in OWN if each != metric])})) == rest


def test_absent_values_are_none_or_left_out():
    reports = {"whole": report(0), "part": without(report(1), "probe", "loss")}
    _, part = drawn(reports)["probe/loss"].series
    assert part.y[0] is None
    assert part.error[0] is None
    (whole,) = [each for each in drawn(reports)["across/probe_loss"].series if each.mark == "dot" and each.labels == ["whole"]]
    assert whole.name == "whole"
    alone = {"part": reports["part"]}
    assert "probe/loss" not in drawn({name: without(each, "probe", "loss") for name, each in alone.items()})


def test_an_sae_has_one_colour_in_all_figures():
    reports = {"a": report(0, metrics=("probe",)), "b": report(1), "c": report(2, metrics=("ablation",))}
    colours = {(series.name, series.colour) for figure in paper_figures(reports) for series in figure.series if series.name in reports}
    assert colours == {("a", 0), ("b", 1), ("c", 2)}


def test_architectures_beyond_the_palette_share_a_colour():
    reports = {f"{i}": report(i, architecture=f"kind {i % 7}") for i in range(15)}
    figure = drawn(reports)["n2g/precision_recall"]
    assert [series.name for series in figure.series] == [
        f"{n}, {a}" for n in ("precision", "recall", "F1") for a in ("kind 0", "other architectures")
    ]
    assert sum(len(series.labels) for series in figure.series) == 3 * 15


def test_results_of_older_formats(tmp_path):
    data = report().to_dict()
    for result in (data["sanity"], *data["metrics"].values()):
        del result["examples"]
        for estimate in result["estimates"].values():
            del estimate["influence"]
    data["format_version"] = "1.0"
    data["metrics"]["probe"]["tables"]["families"] = [{"family": "code"}]
    data["metrics"]["probe"]["tables"]["tasks"] = [{"task": "a", "loss": 0.5}, {"task": "b", "loss": None}, {"loss": 0.1}]
    data["metrics"]["n2g"]["tables"] = {}
    data["metrics"]["ablation"]["histograms"] = {}
    path = tmp_path / "old.json"
    path.write_text(json.dumps(data))
    figures = drawn({"old": Report.load(path)})
    assert set(ALL) - set(figures) == {"probe/by_family", "n2g/latents", "n2g/density", "ablation/distribution"}
    (series,) = figures["probe/by_task"].series
    assert series.y == [0.5, None]


def test_a_metric_of_another_package_is_shown_across_saes():
    reports = {name: report(i) for i, name in enumerate("ab")}
    for i, each in enumerate(reports.values()):
        each.metrics["theirs"] = MetricResult({"score": Estimate(0.3 + i, 0.1, 5, "documents")})
    figure = drawn(reports)["across/theirs_score"]
    assert [series.y for series in figure.series] == [[0.3], [1.3]]


@pytest.mark.parametrize("n", [1, 4, 5])
def test_slim_reports_have_the_same_figures(n):
    reports = saes(n)
    less = {name: slim(each, n) for name, each in reports.items()}
    assert paper_figures(less) == paper_figures(reports)
    for each in less.values():
        n2g = each.metrics["n2g"]
        assert n2g.examples == []
        assert {tuple(row) for row in n2g.tables["latents"]} == ({("f1", "density")} if n <= 4 else set())
        assert all(estimate.influence is None for _, estimate in each.estimates())
    assert reports["sae 0"].metrics["n2g"].examples  # the report itself is as it was


def test_slim_reports_have_no_table_that_is_not_drawn():
    full = report()
    full.metrics["ablation"].tables["ablations"] = [{"latent": 1}]
    full.metrics["theirs"] = MetricResult({}, {"latents": [{"f1": 1.0}], "tasks": [{"task": "a"}]})
    less = slim(full, 1)
    assert {name: list(result.tables) for name, result in less.results() if result.tables} == {
        "probe": ["tasks", "families"],
        "n2g": ["latents"],
    }
    assert paper_figures({"a": less}) == paper_figures({"a": full})


@pytest.mark.parametrize("n", [2, 8])
def test_captions_say_that_texts_differ(n):
    last = "These SAEs were not all evaluated on the same text."
    same = {str(i): report(i) for i in range(n)}
    assert not [figure for figure in paper_figures(same) if "same text" in figure.caption]
    figures = paper_figures({**same, "0": report(0, text="other")})
    assert all(figure.caption.endswith(last) for figure in figures)
    # only where both SAEs have the metric
    figures = drawn({"a": report(0), "b": report(1, text="other", metrics=("probe",))})
    assert {name for name, figure in figures.items() if figure.caption.endswith(last)} == {
        *OWN["probe"],
        "across/sanity_explained_variance",
        "across/probe_loss",
    }
    # nothing is said of a text that is not known
    unknown = {"a": report(0), "b": replace(report(1), provenance={})}
    assert not [figure for figure in paper_figures(unknown) if "same text" in figure.caption]


def test_hostile_names_are_kept_in_the_data():
    reports = {name: report(i) for i, name in enumerate(HOSTILE)}
    assert [series.name for series in drawn(reports)["probe/loss"].series] == HOSTILE
