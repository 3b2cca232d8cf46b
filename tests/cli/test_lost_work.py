"""What was computed is not lost: with a metric that fails, a disk that is full, a folder that is gone, a W&B that refuses everything."""

import json
import os
import re
import resource
import shutil
import subprocess
import tempfile
from importlib.resources import files
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import pytest
from figure_reports import report
from full_disk import no_file_above
from loopback_wandb import loopback_wandb

from sae_lens_metrics import Estimate, MetricResult, Report
from sae_lens_metrics.cli.main import main
from sae_lens_metrics.errors import CorpusError
from sae_lens_metrics.text.datasets import load_text_dataset
from sae_lens_metrics.text.standard_library import standard_library_documents
from sae_lens_metrics.training.record import Evaluated, append_line, begin, save_last

TINY_LM = str(files("sae_lens_metrics.demo") / "tiny_lm")
SAES = [str(files("sae_lens_metrics.demo") / "saes" / name) for name in ("TopK", "L1")]


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text[:2000]}) + "\n" for text in islice(standard_library_documents("train"), 40)))
    with no_file_above(100), pytest.raises(CorpusError, match=r"cannot be kept \(File too large\): make room"):
        load_text_dataset(str(path), "train")
    return path


@pytest.fixture(scope="module", autouse=True)
def _own_temporary_folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporary")))
        yield


@pytest.fixture
def evaluate(texts, tmp_path, monkeypatch, capsys):
    """Evaluates SAEs on a little text; gives the status and what was printed."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*flags, saes=SAES[:1]):
        little = ["--tokens", "256", "--shrinkage.tokens", "256", "--dataset", str(texts), "--model", TINY_LM, "--device", "cpu"]
        status = main(["evaluate", *saes, *little, "--output", str(tmp_path / "output"), *flags])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return status, printed

    return run


def results(folder):
    return [Report.load(path) for path in sorted(folder.rglob("[!.]*.json")) if path.name != "errors.json"]


def good(context):
    return MetricResult({"number": Estimate(1.25, None, 1, "tokens")})


def raising(context):
    raise RuntimeError("boom")


def no_number(context):
    return MetricResult({"number": 0.5})


BROKEN = {
    "raises": (raising, "RuntimeError: boom"),
    "nothing": (lambda context: None, "the metric 'nothing' returned a NoneType, expected a MetricResult"),
    "a_float": (lambda context: 0.5, "the metric 'a_float' returned a float, expected a MetricResult"),
    "no_estimate": (no_number, "the metric 'no_estimate' returned a MetricResult with parts of other types"),
}


def test_a_metric_that_fails_costs_the_others_nothing(evaluate, metric, tmp_path):
    metric("good", good)
    for name, (function, _) in BROKEN.items():
        metric(name, function)
    status, printed = evaluate("--metrics", ",".join([*BROKEN, "good"]))
    assert status == 3
    last = printed.err.splitlines()[-1]
    assert last.startswith("sae-lens-metrics: not all is as asked for: ")
    assert "1.25" in printed.out
    (kept,) = results(tmp_path / "output")
    assert list(kept.metrics) == ["good"]
    assert kept.metrics["good"].estimates["number"].value == 1.25
    for name, (_, said) in BROKEN.items():
        assert f"{name}: " in last
        assert said in last
        assert said in kept.errors[name]


@pytest.fixture
def fills(metric):
    """A metric during whose first evaluation the disk fills, and how often it was computed."""
    computed = []

    def filling(context):
        if not computed:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
        computed.append(context)
        return good(context)

    metric("good", filling)
    with no_file_above(resource.RLIM_INFINITY):
        yield computed


def test_a_disk_that_takes_nothing_still_leaves_the_table(evaluate, fills, tmp_path):
    status, printed = evaluate("--metrics", "good")
    assert status == 3
    assert "1.25" in printed.out
    last = printed.err.splitlines()[-1]
    assert f"cannot write '{tmp_path}/output/" in last
    assert "(File too large), nor anywhere else" in last
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []  # nothing half-written


@pytest.mark.slow
def test_the_rest_of_a_sweep_is_not_evaluated_for_nothing(evaluate, fills, tmp_path):
    status, printed = evaluate("--metrics", "good", saes=SAES)
    assert (status, len(fills)) == (3, 1)
    assert "1.25" in printed.out
    assert "not evaluated, as its result could not be kept" in printed.out
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    status, _ = evaluate("--metrics", "good", saes=SAES)  # once there is space
    assert (status, len(results(tmp_path / "output"))) == (0, 2)


@pytest.mark.parametrize("saes", [SAES[:1], pytest.param(SAES, marks=pytest.mark.slow)], ids=["one", "two"])
def test_a_folder_that_is_gone_moves_results_elsewhere(saes, evaluate, metric, tmp_path):
    """As one does that becomes read-only, which it never is for root."""
    computed = []

    def while_it_is_taken_away(context):
        if not computed:
            shutil.rmtree(tmp_path / "output")
            (tmp_path / "output").write_text("a file in its place")
        computed.append(context)
        return good(context)

    metric("good", while_it_is_taken_away)
    status, printed = evaluate("--metrics", "good", saes=saes)
    assert status == 3
    assert printed.out.count("1.25") >= len(saes)
    kept = kept_elsewhere(printed.err if len(saes) == 1 else printed.out)
    assert len(kept) == len(saes)
    assert {path.parent.parent for path in kept} == {Path(tempfile.gettempdir())}
    assert {Report.load(path).metrics["good"].estimates["number"].value for path in kept} == {1.25}
    if len(saes) > 1:
        (tmp_path / "output").unlink()
        shutil.copytree(kept[0].parent, tmp_path / "output")
        assert evaluate("--metrics", "good", saes=saes)[0] == 0
        assert len(computed) == len(saes)


def kept_elsewhere(printed):
    """The files that results were moved to, as it is said."""
    return [
        Path(path) for path in re.findall(r"the result is in '(.*?)'; moved to '.*?', it counts as evaluated", " ".join(printed.split()))
    ]


def test_a_wandb_that_refuses_everything_is_a_warning(evaluate, metric, tmp_path, monkeypatch, caplog):
    metric("good", good)
    with loopback_wandb(monkeypatch) as server:
        server.refuses = True
        status = evaluate("--metrics", "good", "--wandb-project", "project")[0]
    assert status == 0
    assert "could not be logged to W&B" in caplog.text
    assert len(results(tmp_path / "output")) == 1
    assert len(list((tmp_path / "output").glob("*.html"))) == 1


def test_a_page_and_a_table_on_a_full_disk(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in "AB":
        report().save(f"{name}.json")
    for arguments, written in ((["report", "A.json"], "report.html"), (["compare", "A.json", "B.json", "--output", "x.csv"], "x.csv")):
        with no_file_above(1000):
            assert main(arguments) == 2
        printed = capsys.readouterr()
        assert printed.err == f"sae-lens-metrics: error: cannot write '{written}' (File too large)\n"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["A.json", "B.json"]
    assert "no difference" in printed.out  # the comparison's table


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KB, where one may be mounted."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = (
        shutil.which("mount")
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, check=False
        ).returncode
    )
    if not mounted:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_full_moves_a_result_elsewhere(evaluate, metric, small_disk, tmp_path):
    def filling(context):
        (small_disk / "filling").write_bytes(bytes(60_000))
        return good(context)

    metric("good", filling)
    status, printed = evaluate("--metrics", "good", "--output", str(small_disk))
    assert status == 3
    assert "(No space left on device): the result is in" in printed.err
    assert os.listdir(small_disk) == ["filling"]
    (kept,) = kept_elsewhere(printed.err)
    assert Report.load(kept).metrics["good"].estimates["number"].value == 1.25


def test_the_trained_saes_result_is_kept_elsewhere(tmp_path, caplog):
    (tmp_path / "file").write_text("no folder")
    path = save_last(SimpleNamespace(output_path=tmp_path / "file"), report(), "")
    assert path is not None
    assert Report.load(path) == report()
    assert f"the result is in '{path}'" in caplog.text


def test_a_line_of_a_training_record_is_written_whole_or_not_at_all(tmp_path):
    evaluated = Evaluated(report().with_provenance(corpus={"held_out": True}, seconds=1.0), step=1, samples=4)
    cfg = SimpleNamespace(checkpoint_path=tmp_path, output_path=None, resume_from_checkpoint=str(tmp_path))
    append_line(cfg, evaluated)
    whole = (tmp_path / "metrics.jsonl").read_bytes()
    with no_file_above(len(whole) + 20), pytest.raises(OSError, match=r"."):
        append_line(cfg, evaluated)
    assert (tmp_path / "metrics.jsonl").read_bytes() == whole
    (tmp_path / "metrics.jsonl").write_bytes(whole + whole[:30])  # as a kill leaves it
    begin(cfg, 8)
    assert (tmp_path / "metrics.jsonl").read_bytes() == whole
    assert Path(tmp_path / "metrics.jsonl").read_text().count("\n") == 1
