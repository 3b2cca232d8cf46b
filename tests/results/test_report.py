import json
import math
import random
from dataclasses import FrozenInstanceError

import pandas as pd
import pytest
from scipy import stats

from sae_lens_metrics import Estimate, Report
from sae_lens_metrics.errors import ResultError
from sae_lens_metrics.results import FiringExample, Histogram, MetricResult, write_atomically
from sae_lens_metrics.results.estimate import error_parts, with_drawn


def report():
    sanity = MetricResult({"l0": Estimate(16.0, 0.5, 64, "sequences")})
    probe = MetricResult(
        {"loss": Estimate(0.5, 0.01, 8, "tasks"), "gone": Estimate.absent("no task is left", of="tasks")},
        tables={"tasks": [{"task": "base64", "loss": 0.1}]},
        histograms={"change": Histogram([0.0, 1.0, 2.0], [3, 4])},
        notes=["a note"],
        seconds=1.5,
    )
    return Report(sanity, {"probe": probe}, errors={"other": "ValueError: no"}, warnings=["mind"], provenance={"config": {"seed": 1}})


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_estimate_is_finite(value):
    with pytest.raises(ValueError, match="finite"):
        Estimate(value, None, 1, "tasks")
    with pytest.raises(ValueError, match="finite"):
        Estimate(1.0, value, 1, "tasks")


def test_an_absent_estimate_has_a_reason():
    with pytest.raises(ValueError, match="reason"):
        Estimate(None, None, 0, "tasks")
    assert "no text" in str(Estimate.absent("no text", of="sequences"))


def test_save_and_load(tmp_path):
    path = report().save(tmp_path / "new" / "r.json")
    assert Report.load(path) == report()
    assert json.loads(path.read_text())["format"] == "sae-lens-metrics"
    assert [p.name for p in path.parent.iterdir()] == ["r.json"]


def test_flat_and_frame():
    probe = {"probe/loss": 0.5, "probe/loss_stderr": 0.01, "probe/loss_n": 8}
    assert report().flat() == {"sanity/l0": 16.0, "sanity/l0_stderr": 0.5, **probe}
    frame = report().to_frame().set_index(["metric", "name"])
    assert frame.loc[("probe", "loss"), "stderr"] == 0.01
    assert pd.isna(frame.loc[("probe", "gone"), "value"])
    assert frame.loc[("probe", "gone"), "reason"] == "no task is left"


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = report().save(tmp_path / "r.json")
    before = path.read_bytes()

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "half")
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: len(text) // 2], "not JSON"),
        (lambda text: "[1, 2]", "JSON object"),
        (lambda text: text.replace('"format": "sae-lens-metrics"', '"format": "else"'), "not a result"),
        (lambda text: text.replace('"format_version": "2.2"', '"format_version": "3.0"'), "format version 3.0"),
        (lambda text: text.replace('"estimates"', '"guesses"'), "damaged"),
        (lambda text: text.replace("16.0", "NaN"), "damaged"),
    ],
)
def test_a_damaged_file_is_refused_with_its_reason(change, message, tmp_path):
    path = report().save(tmp_path / "r.json")
    path.write_text(change(path.read_text()))
    with pytest.raises(ResultError, match=message):
        Report.load(path)


def test_a_newer_minor_version_opens(tmp_path):
    path = report().save(tmp_path / "r.json")
    data = json.loads(path.read_text())
    data.update(format_version="2.7", something_new={"a": 1})
    data["sanity"]["estimates"]["l0"]["more"] = 3
    path.write_text(json.dumps(data))
    assert Report.load(path) == report()


def test_two_results_of_a_metric_cannot_share_a_name():
    estimate = Estimate(1.0, 0.1, 3, "sequences")
    with pytest.raises(ValueError, match="sparsity names two results"):
        MetricResult({"sparsity": estimate}, histograms={"sparsity": Histogram([0.0, 1.0], [3])})


# --- influences --------------------------------------------------------------------------------------------------------------


def test_influences_are_kept_to_six_digits_and_out_of_tables(tmp_path):
    estimate = Estimate(2.0, 0.5, 3, "documents", influence=[0.123456789, -1e-9 / 3, -0.0])
    assert estimate.influence == [0.123457, -3.33333e-10, 0.0]
    assert "0.123" not in repr(estimate)
    assert math.copysign(1, estimate.influence[2]) == 1
    hash(estimate)
    one = Report(MetricResult({"l0": estimate}), {})
    assert Report.load(one.save(tmp_path / "r.json")) == one
    assert one.flat() == {"sanity/l0": 2.0, "sanity/l0_stderr": 0.5}
    assert list(one.to_frame()) == ["metric", "name", "value", "stderr", "n", "of", "reason"]
    with pytest.raises(ValueError, match="finite"):
        Estimate(2.0, 0.5, 3, "documents", influence=[1.0, math.nan])


def test_influences_of_functions_follow_the_delta_method():
    estimate = Estimate(4.0, 0.5, 3, "documents", influence=[0.3, -0.2, -0.1])
    root = estimate.function(2.0, 1 / 4)
    assert (root.value, root.stderr, root.n, root.of) == (2.0, 0.125, 3, "documents")
    assert root.influence == [0.075, -0.05, -0.025]
    other = estimate.one_minus()
    assert (other.value, other.stderr, other.influence) == (-3.0, 0.5, [-0.3, 0.2, 0.1])
    absent = Estimate.absent("no text", of="documents")
    assert absent.one_minus() == absent
    assert Estimate(1.0, None, 1, "documents", "one document").one_minus() == Estimate(0.0, None, 1, "documents", "one document")


def test_a_file_of_the_first_version_opens(tmp_path):
    path = report().save(tmp_path / "r.json")
    data = json.loads(path.read_text())
    data["format_version"] = "1.0"
    for result in (data["sanity"], *data["metrics"].values()):
        for estimate in result["estimates"].values():
            del estimate["influence"]
    path.write_text(json.dumps(data))
    assert Report.load(path) == report()


def test_a_file_with_influences_is_not_large(tmp_path):
    draw = random.Random(0)
    estimates = {
        f"number_{i}": Estimate(0.5, 0.01, 1000, "documents", influence=[draw.gauss(0, 1) / 3000 for _ in range(1000)]) for i in range(100)
    }
    assert Report(MetricResult(estimates), {}).save(tmp_path / "r.json").stat().st_size < 1_500_000


def test_lists_of_numbers_are_on_one_line_and_strings_are_left_alone(tmp_path):
    strange = "[\n 1,\n 2\n] [ 3, 4 ]"
    one = Report(
        MetricResult(
            {"a": Estimate(1.0, 0.1, 2, "documents", strange, influence=[1.0, -2e-7])}, histograms={"h": Histogram([0.0, 1.0], [3])}
        ),
        {},
        warnings=[strange],
        provenance={"rows": [[1, 2], ["1"], []], "nested": {"numbers": [1, None]}},
    )
    path = one.save(tmp_path / "r.json")
    assert Report.load(path) == one
    lines = [line.strip() for line in path.read_text().splitlines()]
    assert '"influence": [1.0,-2e-07],' in lines
    assert '"edges": [0.0,1.0],' in lines


def test_an_example_takes_one_line_whatever_its_tokens_hold(tmp_path):
    words = ["a", '"', "\\", "],", "[\n  1", '",\n "', " indented", "", "\x00", "\u2028", "é", "</script>"]
    numbers = [0.0, -1.5, 1e-9, 3.25] * 3
    example = FiringExample(3, "top", 1, words, numbers, numbers)
    report = Report(sanity=MetricResult({}, examples=[example]), metrics={})
    path = report.save(tmp_path / "r.json")
    assert json.loads(path.read_text()) == json.loads(json.dumps(report.to_dict()))
    assert Report.load(path) == report
    (line,) = (line for line in path.read_text().split("\n") if '"tokens"' in line)
    assert json.loads(line)["tokens"] == words


def test_what_takes_memory_can_be_left_out():
    example = FiringExample(0, "top", 0, ["a"], [1.0], [0.0])
    estimates = {"x": Estimate(1.0, 0.1, 2, "latents", influence=[0.1, -0.1])}
    result = MetricResult(estimates, {"t": [{"latent": 0}]}, {"h": Histogram([0.0, 1.0], [2])}, [example], notes=["a note"])
    whole = Report(sanity=result, metrics={"m": result}, warnings=["w"])
    assert whole.without() == whole
    for part, name in (("tables", "tables"), ("histograms", "histograms"), ("examples", "examples")):
        for each in dict(whole.without(part).results()).values():
            assert not getattr(each, name)
            assert each.estimates == estimates
            assert each.notes == ["a note"]
    numbers = whole.without("influences", "tables")
    assert numbers.flat() == whole.flat()
    assert numbers.sanity.estimates["x"].influence is None
    assert numbers.sanity.examples == [example]
    assert whole.sanity.estimates["x"].influence == [0.1, -0.1]


def test_a_report_is_changed_by_making_another():
    before = report()
    after = (
        before.with_provenance(config={"tokens": 8, "seed": 2}, seconds=3.0)
        .with_warnings("later", "mind")
        .with_warnings("soon", first=True)
    )
    assert before == report()
    assert after.provenance == {"config": {"seed": 2, "tokens": 8}, "seconds": 3.0}
    assert after.warnings == ["soon", "mind", "later"]
    assert (after.metrics, after.sanity, after.errors) == (before.metrics, before.sanity, before.errors)
    with pytest.raises(FrozenInstanceError):
        before.warnings = []


def test_a_report_does_not_flood_a_notebook():
    example = FiringExample(0, "top", 0, ["a"] * 9, [1.0] * 9, [0.0] * 9)
    result = MetricResult({"x": Estimate(1.0, 0.1, 2, "latents")}, {"t": [{"latent": i} for i in range(999)]}, examples=[example] * 999)
    assert len(repr(Report(sanity=result, metrics={"m": result}))) < 500


def test_over_how_many_units_a_number_is_stands_beside_it_unless_it_is_all_of_the_text_or_all_latents():
    estimates = {
        "text": Estimate(1.0, 0.1, 30, "documents"),
        "share": Estimate(0.1, None, 900, "tokens", "exact"),
        "whole": Estimate(5.0, None, 96, "latents", "exact"),
        "some": Estimate(0.5, 0.1, 7, "latents"),
        "tasks": Estimate(0.4, 0.1, 49, "tasks"),
        "one": Estimate(0.4, None, 1, "tasks", "one task has no standard error"),
        "gone": Estimate.absent("nothing", of="tasks"),
    }
    one = Report(MetricResult({}), {"m": MetricResult(estimates)}, provenance={"sae": {"d_sae": 96}, "units": {"m": {"tasks": 61}}})
    assert {key: value for key, value in one.flat().items() if key.endswith("_n")} == {"m/some_n": 7, "m/tasks_n": 49, "m/one_n": 1}
    assert (one.asked("m", "tasks"), one.asked("m", "latents"), one.asked("m", "documents"), one.asked("other", "tasks")) == (
        61,
        96,
        None,
        None,
    )
    damaged = Report(MetricResult({}), {"m": MetricResult(estimates)}, provenance={"sae": None, "units": 3})
    assert damaged.flat()["m/whole_n"] == 96
    assert damaged.asked("m", "tasks") is None


def test_an_interval_is_students():
    estimate = Estimate(1.0, 0.1, 5, "documents")
    assert estimate.interval() == pytest.approx(stats.t.interval(0.95, 4, 1.0, 0.1))
    few = Estimate(1.0, 0.1, 5, "documents", df=1.5)
    assert few.interval(0.9) == pytest.approx(stats.t.interval(0.9, 1.5, 1.0, 0.1))
    assert few.one_minus().df == 1.5
    drawn = with_drawn(Estimate(1.0, 0.3, 5, "documents"), 0.4, 2.0)
    assert error_parts(drawn).over_units == pytest.approx((0.3, 4))
    assert drawn.interval() == pytest.approx(stats.t.interval(0.95, 0.5**4 / (0.3**4 / 4 + 0.4**4 / 2), 1.0, 0.5))
    assert (drawn.function(2.0, -2.0).stderr, drawn.function(2.0, -2.0).drawn) == pytest.approx((1.0, 0.8))
    assert with_drawn(few, 0.0, 3.0) is few
    assert Estimate(1.0, None, 5, "latents", "exact").interval() is None
