"""Whatever a metric gives, its report can be saved and read: what no file can hold is left out, and said."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from report_data import make_report

from sae_lens_metrics.results import Control, Estimate, FiringExample, Histogram, LatentEffects, MetricResult, Repeated, Report, TokenChange

NAN, INF = math.nan, math.inf


def saved(result, tmp_path, **more):
    """The result as it is read again, and the report that it is in."""
    report = Report(MetricResult({"l0": Estimate(1.0, None, 1, "tokens", "exact")}), {"m": result}, **more)
    read = Report.load(report.save(tmp_path / "r.json"))
    return read.metrics.get("m"), read


def test_nothing_is_changed_where_nothing_has_to_be(tmp_path):
    report = make_report(8)
    path = report.save(tmp_path / "r.json")
    assert json.loads(path.read_text(encoding="utf-8")) == report.to_dict()


def test_a_number_beyond_all_range_is_absent_with_the_reason(tmp_path):
    one = Estimate(1e200, 1.0, 3, "tokens")
    read, _ = saved(MetricResult({"a": one, "b": Estimate(2.0, None, 3, "tokens")}), tmp_path)
    assert read.estimates["a"].value is None
    assert "no result file can hold it: value is 1e+200, expected a number from -1e+100 to 1e+100" in read.estimates["a"].reason
    assert read.estimates["b"] == Estimate(2.0, None, 3, "tokens")
    assert math.isfinite(json.loads((tmp_path / "r.json").read_text())["metrics"]["m"]["estimates"]["b"]["value"])


def test_a_second_error_is_written_and_read_and_left_out_where_no_file_can_hold_it(tmp_path):
    whole, numbers = Repeated(0.1, 2, "texts", 1.0, [0.07, -0.07]), Repeated(np.float64(0.1), 2, "texts")
    estimates = {"a": Estimate(1.0, 0.2, 3, "tasks", repeated=whole), "b": Estimate(1.0, 0.2, 3, "tasks", repeated=numbers)}
    estimates["c"] = Estimate(1.0, 0.2, 3, "tasks", repeated=Repeated(1e200, 2, "texts"))
    read, report = saved(MetricResult(estimates), tmp_path)
    assert read.estimates["a"] == estimates["a"]
    assert read.estimates["b"].repeated == Repeated(0.1, 2, "texts")
    assert read.estimates["c"] == Estimate(1.0, 0.2, 3, "tasks")
    assert report.without("influences").metrics["m"].estimates["a"].repeated == Repeated(0.1, 2, "texts", 1.0)
    older = json.loads((tmp_path / "r.json").read_text()) | {"format_version": "2.1"}
    for each in older["metrics"]["m"]["estimates"].values():
        del each["repeated"]
    assert all(each.repeated is None for each in Report.from_dict(older).metrics["m"].estimates.values())


def test_a_second_error_must_be_finite_and_have_an_influence_for_each_piece():
    with pytest.raises(ValueError, match="must be finite"):
        Repeated(INF, 2, "texts")
    with pytest.raises(ValueError, match="expected one for each of the 3 texts"):
        Repeated(0.1, 3, "texts", influence=[0.1, -0.1])
    doubled = Estimate(1.0, 0.2, 3, "tasks", repeated=Repeated(0.1, 2, "texts", influence=[0.1, -0.1])).function(0.5, -2.0)
    assert doubled.repeated == Repeated(0.2, 2, "texts", influence=[-0.2, 0.2])


def test_the_cells_of_a_table_that_are_no_numbers_are_empty(tmp_path):
    rows = [{"latent": 0, "x": NAN, "y": 0.5}, {"latent": 1, "x": 1.0, "y": -INF}, {"latent": 2, "x": [1], "y": np.float32(2)}]
    read, _ = saved(MetricResult({}, {"t": rows}, notes=["mine"]), tmp_path)
    empty = [{"latent": 0, "x": None, "y": 0.5}, {"latent": 1, "x": 1.0, "y": None}, {"latent": 2, "x": None, "y": 2.0}]
    assert read.tables["t"] == empty
    assert read.notes[0] == "mine"
    assert [note.split(":")[0] for note in read.notes[1:]] == ["x of the table t", "y of the table t"]
    assert math.isnan(rows[0]["x"]), "the result itself is left alone"


def test_a_histogram_an_example_or_an_effect_with_other_numbers_is_left_out(tmp_path):
    examples = [FiringExample(0, "top", 0, ["a"], [INF], [0.0]), FiringExample(1, "top", 0, ["a"], [1.0], [0.0])]
    effects = [LatentEffects(0, [TokenChange(1, "a", NAN)], []), LatentEffects(1, [TokenChange(1, "a", 1.0)], [])]
    histograms = {"bad": Histogram([0.0, INF], [1]), "good": Histogram([0.0, 1.0], [1])}
    read, _ = saved(MetricResult({}, {}, histograms, examples, effects=effects, seconds=INF), tmp_path)
    assert list(read.histograms) == ["good"]
    assert read.examples == examples[1:]
    assert read.effects == effects[1:]
    assert read.seconds == 0
    assert [note.split(":")[0] for note in read.notes] == ["histogram bad", "examples", "effects"]


def test_explanations_with_other_numbers_are_left_out(tmp_path):
    report = make_report(4)
    explanations = report.metrics["n2g"].explanations
    first = explanations.latents[0]
    bad = replace(first, ngrams=[replace(first.ngrams[0], value=NAN)])
    result = replace(report.metrics["n2g"], explanations=replace(explanations, latents=[bad, *explanations.latents[1:]]))
    read, _ = saved(result, tmp_path)
    assert [each.latent for each in read.explanations.latents] == [1, 2, 3]
    assert any(note.startswith("explanations") for note in read.notes)


def test_what_it_depends_on_stands_there_as_null_with_a_warning(tmp_path):
    provenance = {"config": {"memory_gb": INF, "probe": {"strengths": (1.0, NAN)}}, "sae": {"d_sae": "many"}, "other": SimpleNamespace()}
    _, read = saved(MetricResult({}), tmp_path, provenance=provenance, warnings=["mine"])
    assert read.provenance == {"config": {"memory_gb": None, "probe": {"strengths": [1.0, None]}}, "other": None}
    assert read.warnings[0] == "mine"
    assert len(read.warnings) == 5
    assert read.warnings[1].startswith("provenance.config.memory_gb is inf, expected JSON with numbers from -1e+100 to 1e+100")


@pytest.mark.parametrize("wrong", [{"tables": {"t": 3}}, {"estimates": {"a": Estimate(1.0, None, 1, None)}}, {"notes": 3}])
def test_a_result_of_no_known_form_costs_the_others_nothing(tmp_path, wrong):
    estimates = {"a": Estimate(1.0, None, 1, "tokens")}
    result = MetricResult(**{"estimates": estimates, "notes": ["mine"], **wrong})
    good = MetricResult(estimates)
    report = Report(good, {"bad": result, "good": good}, controls={"random": Control({"sanity": good, "bad": result})})
    read = Report.load(report.save(tmp_path / "r.json"))
    assert read.metrics["good"] == good
    for part in (read.metrics, read.controls["random"].results):
        assert "bad" not in part or part["bad"].estimates["a"].of == "None"
    assert ("bad" in read.metrics) != ("bad" in read.errors)
    assert Report.load(Report(result, {}).save(tmp_path / "s.json")).sanity.notes


def test_numbers_of_other_libraries_are_numbers(tmp_path):
    estimate = Estimate(np.float32(0.5), np.float64(0.25), np.int64(3), "tokens")  # type: ignore[arg-type]
    read, _ = saved(MetricResult({"a": estimate}, {"t": [{"x": np.bool_(True), "y": np.int32(3)}]}), tmp_path)
    assert read.estimates["a"] == Estimate(0.5, 0.25, 3, "tokens")
    assert read.tables["t"] == [{"x": True, "y": 3}]
    assert not read.notes
