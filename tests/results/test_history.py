"""Histories of training runs, read from the lines that training writes."""

import json

import pytest

from sae_lens_metrics.errors import ResultError
from sae_lens_metrics.results.history import METRICS_FILENAME, Point, read_histories


def line(step, sae=None, **values):
    about = {"sae": sae, "step": step, "n_training_samples": 1024 * step, "final": step == 3, "held_out": True, "seconds": 1.5}
    return json.dumps({**about, **values, "errors": {"n2g": "gone"}})


def written(tmp_path, *lines):
    path = tmp_path / METRICS_FILENAME
    path.write_text("".join(lines))
    return path


def test_points_come_in_order_with_their_numbers(tmp_path):
    path = written(tmp_path, line(1, **{"probe/loss": 0.5, "probe/loss_stderr": 0.1}) + "\n", line(3, **{"probe/loss": 0.25}) + "\n")
    (history,) = read_histories(path).values()
    assert history.points == [
        Point(1, 1024, False, {"probe/loss": 0.5, "probe/loss_stderr": 0.1}),
        Point(3, 3072, True, {"probe/loss": 0.25}),
    ]


def test_saes_trained_together_have_histories_of_their_own(tmp_path):
    path = written(tmp_path, *(line(step, sae) + "\n" for step in (1, 2) for sae in ("a", "b")))
    assert {name: [point.step for point in history.points] for name, history in read_histories(path).items()} == {"a": [1, 2], "b": [1, 2]}


def test_a_line_that_is_still_being_written_is_left_out(tmp_path):
    whole = line(1) + "\n"
    for end in (line(2), line(2)[:40], "", "\n"):
        assert [point.step for point in read_histories(written(tmp_path, whole, end))[""].points] == [1]


@pytest.mark.parametrize(
    "bad", ["{", "[1]", "3", "null", '{"step": 1}', line(1).replace('"step": 1', '"step": "x"'), line(1, **{"probe/loss": "y"})]
)
def test_a_damaged_line_is_refused_with_its_number(tmp_path, bad):
    with pytest.raises(ResultError, match="line 2"):
        read_histories(written(tmp_path, line(1) + "\n", bad + "\n"))


def test_a_run_without_evaluations_is_refused(tmp_path):
    with pytest.raises(ResultError, match="no evaluation"):
        read_histories(written(tmp_path, ""))
