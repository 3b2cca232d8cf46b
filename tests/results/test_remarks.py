"""What is to be known besides the numbers, and the table of several SAEs that holds it."""

import io

import pandas as pd
import pytest

from sae_lens_metrics import Estimate, Report
from sae_lens_metrics.results import MetricResult, summary
from sae_lens_metrics.results.remarks import absent_share, remarks

NOTE = "12 of the 61 tasks of the paper are missing (no network): ag_news"


def report(tasks=49, *, warnings=('mind, "this"',)):
    estimates = {"loss": Estimate(0.4, 0.01, tasks, "tasks"), "gone": Estimate.absent("no task is left", of="tasks")}
    probe = MetricResult(estimates, notes=[NOTE] if tasks < 61 else [])
    sanity = MetricResult({"l0": Estimate(16.0, 0.5, 64, "documents"), "dead_latents": Estimate(0.5, None, 96, "latents", "exact")})
    provenance = {"sae": {"architecture": "topk", "d_sae": 96, "hook_name": "blocks.1"}, "units": {"probe": {"tasks": 61}}}
    return Report(sanity, {"probe": probe}, {"n2g": "ValueError: no"}, list(warnings), provenance)


def test_every_remark_is_there_once_the_most_urgent_first():
    found = [(each.kind, each.about, each.text) for each in remarks(report())]
    assert found == [
        ("warning", "", 'mind, "this"'),
        ("failed", "n2g", "ValueError: no"),
        ("absent", "probe/gone", "no task is left"),
        ("note", "probe", NOTE),
    ]
    assert [str(each) for each in remarks(report())][:2] == ['mind, "this"', "n2g: ValueError: no"]


def test_the_share_of_absent_numbers():
    assert absent_share(report()) == pytest.approx(1 / 4)
    assert absent_share(Report(MetricResult({}), {})) == 0


def test_means_over_other_tasks_look_different_in_the_table():
    frame = summary({"offline": report(49), "all": report(61, warnings=())})
    assert frame["probe/loss"].tolist() == [0.4, 0.4]
    assert frame["probe/loss_n"].tolist() == [49, 61]
    assert not [name for name in frame if name.startswith("sanity/") and name.endswith("_n")]


def test_the_table_holds_what_is_to_be_known_besides_the_numbers():
    frame = summary({"offline": report(49), "all": report(61, warnings=())})
    told = ["warnings", "absent", "warning_texts", "failed_texts", "absent_texts", "notes"]
    assert list(frame)[-6:] == told
    assert list(frame)[:3] == ["architecture", "d_sae", "hook_name"]
    first, second = frame[told].to_numpy().tolist()
    assert first == [1, 0.25, 'mind, "this"', "n2g: ValueError: no", "probe/gone: no task is left", f"probe: {NOTE}"]
    assert second == [0, 0.25, "", "n2g: ValueError: no", "probe/gone: no task is left", ""]
    assert pd.read_csv(io.StringIO(frame.to_csv()), index_col="name", keep_default_na=False)[told].to_numpy().tolist() == [first, second]


def test_a_table_of_no_report_is_empty():
    assert len(summary({})) == 0
