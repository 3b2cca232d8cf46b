"""Several processes that do one sweep in one folder, and are killed: nothing is lost, and nothing done twice but what was in hand."""

import json
import os
import random
import shutil
import signal
import threading
import time
from itertools import islice

import pandas as pd
import pytest
from saes import training_sae
from tiny_release import TINY_LM
from tqdm import tqdm

from sae_lens_metrics import Report
from sae_lens_metrics.cli.main import main
from sae_lens_metrics.evaluation import one_sae
from sae_lens_metrics.text.standard_library import standard_library_documents


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Texts."""
    folder = tmp_path_factory.mktemp("processes")
    texts = [text[:600] for text in islice(standard_library_documents("train"), 120)]
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return folder


@pytest.fixture(scope="module")
def saes(folder):
    """Makes so many SAEs at two hooks."""

    def make(number):
        for place in range(number):
            hook = f"blocks.{1 + place % 2}.hook_resid_post"
            target = folder / f"saes-{number}" / str(place)
            if not target.exists():
                training_sae("standard", seed=place, hook=hook).save_inference_model(target)
        return folder / f"saes-{number}"

    return make


def evaluate(saes, output, *more):
    little = ["--metrics", "shrinkage", "--tokens", "512", "--shrinkage.tokens", "512", "--device", "cpu"]
    return [
        "evaluate",
        str(saes),
        "--model",
        str(TINY_LM),
        "--dataset",
        str(saes.parent / "texts.jsonl"),
        *little,
        "--output",
        str(output),
        *more,
    ]


def start(command, log):
    """Runs a command in a process of its own, which notes each result that it has written."""
    pid = os.fork()
    if pid:
        return pid
    status = 99
    try:
        tqdm.set_lock(threading.RLock())  # its own one is shared with processes that are killed while they hold it
        nowhere = os.open(log.with_suffix(f".{os.getpid()}"), os.O_WRONLY | os.O_CREAT)
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        save = one_sae.save_somewhere

        def save_and_note(report, path):
            saved = save(report, path)
            with log.open("a") as file:
                file.write(f"{path.name}\n")
            return saved

        one_sae.save_somewhere = save_and_note
        status = main(command)
    finally:
        os._exit(status)


def status_of(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def without_times(value):
    if isinstance(value, dict):
        return {key: without_times(each) for key, each in value.items() if key not in ("created", "seconds")}
    return [without_times(each) for each in value] if isinstance(value, list) else value


def contents(output):
    """Everything that a sweep leaves, but for times, pages and what its processes know of each other."""
    found = {path.name: without_times(json.loads(path.read_text())) for path in output.glob("[!.]*.json")}
    return found | {"summary.csv": (output / "summary.csv").read_text()}


def results(output):
    return sorted(output.glob("[!.]*_*.json"))


def left_over(output):
    return [path.name for path in output.rglob("*") if path.suffix == ".lease" or (path.is_file() and path.name.startswith("."))]


@pytest.fixture(scope="module", autouse=True)
def _one(saes, folder):
    """What one process makes of four SAEs."""
    assert main(evaluate(saes(4), folder / "one", "--no-report")) == 0


def test_two_processes_share_a_sweep(saes, folder):
    log = folder / "two.log"
    command = evaluate(saes(4), folder / "two")
    started = [start(command, log) for _ in range(2)]
    assert [status_of(pid) for pid in started] == [0, 0]
    assert contents(folder / "two") == contents(folder / "one")
    assert sorted(log.read_text().split()) == [path.name for path in results(folder / "two")]
    assert left_over(folder / "two") == []
    assert (folder / "two" / "report.html").read_text().rstrip().endswith("</html>")


def test_shards_make_what_one_process_makes(saes, folder, monkeypatch, caplog):
    """One of a job array, the other two by their numbers; the last of them writes a page of all."""
    output, page = folder / "shards", []
    monkeypatch.setattr("sae_lens_metrics.views.page.saved.write_saved", lambda reports, path: page.append(len(reports)) or path)
    for number, said in enumerate(("auto", "2/3", "3/3")):
        for name, value in {"ID": 10, "MIN": 10, "MAX": 14, "COUNT": 3}.items():
            monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
        assert main(evaluate(saes(4), output, "--shard", said)) == 0
        assert f"shard {number + 1}/3: " in caplog.text
    assert contents(output) == contents(folder / "one")
    assert page[-1] == 4


def test_the_summary_is_made_again_from_the_files(folder):
    output = folder / "again"
    shutil.copytree(folder / "one", output)
    before = contents(output)
    (output / "summary.csv").unlink()
    (output / "errors.json").write_text("{}")
    assert main(["report", str(output), "-o", str(folder / "page.html")]) == 0
    assert contents(output) == before
    first = results(output)[0]
    first.unlink()
    assert main(["report", str(output), "-o", str(folder / "page.html")]) == 0
    assert first.name not in set(pd.read_csv(output / "summary.csv")["file"])


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "times"), [(4, 10), (2, 3)])
def test_kills_of_any_process_at_any_moment(workers, times, saes, folder):
    whole, output, log = folder / "whole", folder / f"killed-{workers}", folder / f"killed-{workers}.log"
    if not whole.exists():
        assert status_of(start(evaluate(saes(24), whole, "--no-report"), folder / "whole.log")) == 0
    rng, command = random.Random(workers), evaluate(saes(24), output, "--no-report")
    running, kills = [start(command, log) for _ in range(workers)], 0
    while kills < times:
        there, end = len(results(output)), time.monotonic() + 20
        while kills % 3 and len(results(output)) <= there < 24 and time.monotonic() < end:  # others while they start
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.2))
        pid = running.pop(rng.randrange(len(running)))
        os.kill(pid, signal.SIGKILL)
        kills += status_of(pid) == -signal.SIGKILL
        running.append(start(command, log))
    assert [status_of(pid) for pid in running] == [0] * workers
    assert contents(output) == contents(whole)
    assert len(contents(output)) == 25
    written = log.read_text().split()
    assert len(written) == len(set(written))
    assert [name for name in left_over(output) if name.endswith(".lease")] == []
    for path in results(output):
        Report.load(path)
