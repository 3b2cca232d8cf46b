"""What is read from the files and folders that a user names."""

import json
import re

import pytest
from report_data import make_report
from rich.console import Console

from sae_lens_metrics.cli.report import run_report
from sae_lens_metrics.errors import ResultError
from sae_lens_metrics.results import write_atomically
from sae_lens_metrics.results.saved_reports import SavedReports
from sae_lens_metrics.views.page import offer_page, read_inputs, write_report, write_saved

LINE = {"sae": None, "step": 5, "n_training_samples": 50, "final": True, "held_out": True, "seconds": 1.0, "sanity/l0": 3.5}


def history(path, *names):
    return write_atomically(path, "".join(json.dumps(LINE | {"sae": name}) + "\n" for name in names or [None]))


def test_a_folder_with_results_in_it(tmp_path):
    report = make_report(2)
    report.save(tmp_path / "A.json")
    report.save(tmp_path / "B.json")
    report.save(tmp_path / "A" / "metrics.json")  # of training, further down
    (tmp_path / "errors.json").write_text(json.dumps({"C": "out of memory"}))
    (tmp_path / "comparison.json").write_text(json.dumps({"format": "sae-lens-metrics comparison"}))
    (tmp_path / "cfg.json").write_text("{ not even JSON")
    (tmp_path / "list.json").write_text("[]")
    history(tmp_path / "checkpoints" / "A" / "x1y2" / "metrics.jsonl")
    history(tmp_path / "checkpoints" / "B" / "z3w4" / "metrics.jsonl")
    reports, histories = read_inputs([tmp_path])
    assert dict(reports) == {"A": report, "B": report}
    assert list(histories) == ["A", "B"]
    assert histories["A"].points[0].values == {"sanity/l0": 3.5}


def test_results_further_down_are_named_by_what_tells_them_apart(tmp_path):
    for name in ("first/run", "second/run"):
        make_report(2).save(tmp_path / name / "metrics.json")
    assert list(read_inputs([tmp_path])[0]) == ["first", "second"]


def test_runs_of_one_name_and_of_several_saes(tmp_path):
    history(tmp_path / "a" / "r1" / "metrics.jsonl", "L1", "TopK")
    history(tmp_path / "a" / "r2" / "metrics.jsonl")
    history(tmp_path / "b" / "r1" / "metrics.jsonl")
    write_atomically(tmp_path / "b" / "r3" / "metrics.jsonl", "")  # a run that has just begun
    assert list(read_inputs([tmp_path])[1]) == ["a/r1/L1", "a/r1/TopK", "a/r2", "b"]


def test_a_file_that_is_named_twice_is_read_once(tmp_path):
    file = make_report(2).save(tmp_path / "A.json")
    assert list(read_inputs([file, tmp_path, file])[0]) == ["A"]


def test_results_written_by_other_tools_are_found(tmp_path):
    text = json.dumps(make_report(2).to_dict(), separators=(",", ":"))
    (tmp_path / "compact.json").write_text(text)
    assert list(read_inputs([tmp_path])[0]) == ["compact"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not JSON"),
        ('{"format": "sae-lens-metrics", "format_version": "1.2", "sanity": {"estim', "is not JSON"),
        ('{"format": "sae-lens-metrics", "format_version": "1.2"}', "damaged"),
        ('{"format": "sae-lens-metrics", "format_version": "9.0"}', "format version 9.0"),
        ('{"rows": 1}', "not a result"),
    ],
)
def test_a_named_file_that_is_no_result_is_refused_with_the_reason(tmp_path, content, message):
    file = tmp_path / "broken.json"
    file.write_text(content)
    with pytest.raises(ResultError, match=message) as raised:
        run_report([str(file), "-o", str(tmp_path / "page.html")])
    assert "broken.json" in str(raised.value)
    assert not (tmp_path / "page.html").exists()


def test_a_damaged_result_in_a_folder_is_no_secret(tmp_path):
    make_report(2).save(tmp_path / "A.json")
    text = (tmp_path / "A.json").read_text()
    (tmp_path / "B.json").write_text(text[: len(text) // 2])
    with pytest.raises(ResultError, match=re.escape("B.json")):
        run_report([str(tmp_path), "--folder", "-o", str(tmp_path / "page")])
    assert not (tmp_path / "page").exists()


def test_nothing_there(tmp_path):
    with pytest.raises(ResultError, match="no file or folder"):
        read_inputs([tmp_path / "missing"])
    with pytest.raises(ResultError, match="holds no result"):
        read_inputs([tmp_path])


def test_the_command(tmp_path):
    file = make_report(2).save(tmp_path / "A.json")
    console = Console(record=True, width=300)
    run_report([str(file), "-o", str(tmp_path / "out" / "page.html"), "--title", "Mine & yours"], console)
    assert "written to" in console.export_text()
    assert "<title>Mine &amp; yours</title>" in (tmp_path / "out" / "page.html").read_text(encoding="utf-8")
    run_report([str(file), "--folder", "--output", str(tmp_path / "folder")], console)
    assert (tmp_path / "folder" / "index.html").is_file()


def test_files_are_read_one_at_a_time(tmp_path):
    files = {f"sae {i}": make_report(2).save(tmp_path / f"{i}.json") for i in range(3)}
    reports = SavedReports(files)
    assert list(reports) == list(files)
    assert len(reports) == 3
    assert reports.size == sum(file.stat().st_size for file in files.values())
    assert reports["sae 1"] is not reports["sae 1"]
    page = write_report(reports, tmp_path / "page.html")
    assert page.read_bytes() == write_report(dict(reports), tmp_path / "other.html").read_bytes()


def test_many_large_results_become_a_folder(tmp_path, monkeypatch):
    files = {name: make_report(2).save(tmp_path / f"{name}.json") for name in ("a", "b")}
    page = tmp_path / "out" / "report.html"
    assert write_saved(SavedReports(files), page) == page
    assert write_saved(SavedReports(files), page.parent / "wanted", folder=True) == page.parent / "wanted" / "index.html"
    monkeypatch.setattr("sae_lens_metrics.views.page.saved._ONE_FILE", files["a"].stat().st_size)
    assert write_saved(SavedReports(files), page) == page.parent / "report" / "index.html"


def test_a_page_that_cannot_be_written_is_said(tmp_path):
    files = {"a": make_report(2).save(tmp_path / "a.json")}
    (tmp_path / "file").write_text("")
    assert "could not be written" in offer_page(files, tmp_path / "file" / "page.html")
    assert str(tmp_path / "page.html") in offer_page(files, tmp_path / "page.html")
    assert (tmp_path / "page.html").is_file()
