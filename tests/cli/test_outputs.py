"""An output is never an input, under no name and through no link, and is refused before anything is done."""

import json
import os
from pathlib import Path

import pytest

from sae_lens_metrics.cli.main import main


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two results, other names of the first one, and a folder that holds both."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    for name in "AB":
        (tmp_path / "results" / f"{name}.json").write_text('{"format": "sae-lens-metrics"}')
    (tmp_path / "link.json").symlink_to(tmp_path / "results" / "A.json")
    os.link(tmp_path / "results" / "A.json", tmp_path / "hard.csv")
    (tmp_path / "other").symlink_to(tmp_path / "results")
    return tmp_path


def refused(arguments, capsys):
    """The sentence that a command is refused with, which leaves all files as they were."""
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    status = main(arguments)
    printed = capsys.readouterr()
    assert (status, printed.out) == (2, "")
    (line,) = printed.err.splitlines()
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
    return line.removeprefix("sae-lens-metrics: error: ")


A = "results/A.json"
NAMES_OF_A = [A, "./results/../results/A.json", "link.json", "other/A.json", "hard.csv"]


@pytest.mark.parametrize("name", NAMES_OF_A)
def test_report_does_not_write_over_what_it_reads(name, folder, capsys):
    assert refused(["report", A, "-o", name], capsys) == (
        f"'{Path(name)}' is read by this command, which would write over it: give another place with --output"
    )


@pytest.mark.parametrize("name", NAMES_OF_A)
def test_compare_does_not_write_over_what_it_reads(name, folder, capsys):
    for flag in ("--output", "--report"):
        assert "is read by this command, which would write over it" in refused(["compare", A, "results/B.json", flag, name], capsys)


def test_report_of_a_folder_does_not_write_over_its_results(folder, capsys):
    for name in ("results/B.json", "other/B.json"):
        assert "which would write over it" in refused(["report", "results", "-o", name], capsys)


def test_two_outputs_are_two_files(folder, capsys):
    said = refused(["compare", A, "results/B.json", "--output", "new.json", "--report", "./new.json"], capsys)
    assert said == "'new.json' would be written twice: give another place with --output or --report"


def test_a_page_takes_no_results_place(folder, capsys):
    said = refused(["report", A, "-o", "results/B.json"], capsys)
    assert said == "'results/B.json' is a name for results, and a page is HTML: give --output results/B.html"


@pytest.mark.parametrize("name", ["results", "results/", ".", "other"])
def test_a_folder_is_no_page(name, folder, capsys):
    for arguments in (["report", A, "-o", name], ["compare", A, "results/B.json", "--report", name]):
        assert f"'{Path(name)}' is a folder, and a page is a file: give " in refused(arguments, capsys)


def test_a_folder_is_no_table(folder, capsys):
    (folder / "table.csv").mkdir()
    assert "'table.csv' is a folder" in refused(["compare", A, "results/B.json", "--output", "table.csv"], capsys)


@pytest.mark.parametrize("flag", ["--dataset", "--list", "--task-file"])
@pytest.mark.parametrize(
    ("command", "read"),
    [("evaluate", "summary.csv"), ("evaluate", "errors.json"), ("audit", "audit.csv"), ("audit", "seed-42/summary.csv")],
)
def test_what_is_evaluated_is_not_written_over(command, read, flag, folder, capsys):
    path = folder / "results" / read
    path.parent.mkdir(exist_ok=True)
    path.write_text("text,label\n" + "".join(f"some text {i},{i % 2}\n" for i in range(40)))
    said = refused([command, "nothing", flag, str(path), "--output", "other"], capsys)
    assert said == f"'other/{read}' is read by this command, which would write over it: give another place with --output"


def test_other_files_may_be_in_the_output_folder(folder, capsys):
    (folder / "results" / "texts.jsonl").write_text(json.dumps({"text": "some text"}))
    assert main(["evaluate", "nothing", "--dataset", "results/texts.jsonl", "--output", "results"]) == 2
    assert "write over" not in capsys.readouterr().err
