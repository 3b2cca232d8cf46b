"""SIGKILL, which nothing can answer, at any moment of a write: a file is as it was, or new and whole, and the command can be run again."""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
from figure_reports import report

from sae_lens_metrics import Report
from sae_lens_metrics.cli.main import main
from sae_lens_metrics.results import write_atomically

WRITES = 30
"""Kills while a file is written again and again."""


def killed(action, after):
    """Does something in a process of its own, and kills that some time after it began; gives its status."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, b"x")
        try:
            action()
        finally:
            os._exit(0)
    os.read(read, 1)
    time.sleep(after)
    os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(read)
    os.close(write)
    return status


def whole_files(folder):
    """The files that have a name; what a kill left half-written has one that begins with a dot."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_in_the_middle_of_a_write(tmp_path):
    texts, rng = [letter * 2_000_000 for letter in "ab"], random.Random(0)
    path = write_atomically(tmp_path / "file.txt", texts[0])

    def write_for_ever():
        while True:
            for text in texts:
                write_atomically(path, text)

    for _ in range(WRITES):
        assert killed(write_for_ever, rng.uniform(0, 0.02)) == -signal.SIGKILL
        assert path.read_text() in texts
    assert whole_files(tmp_path) == ["file.txt"]
    write_atomically(path, "new")
    assert path.read_text() == "new"


COMMANDS = {
    "report": (["report", "A.json", "-o", "out.html"], ["out.html"]),
    "report --folder": (["report", "A.json", "--folder", "-o", "out"], ["out"]),
    "compare": (["compare", "A.json", "B.json", "--output", "out.json", "--report", "out.html"], ["out.html", "out.json"]),
}


def dying_before(writing):
    """``os.replace`` that ends the process by a signal, where the file with that number would get its name."""
    replace, count = os.replace, iter(range(100))

    def replace_or_die(source, target):
        if next(count) == writing:
            Path(source).write_bytes(Path(source).read_bytes()[:100])  # in the middle of the write
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    return replace_or_die


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_and_a_comparison(name, tmp_path, monkeypatch, capfd):
    arguments, written = COMMANDS[name]
    monkeypatch.chdir(tmp_path)
    for each in "AB":
        report().save(f"{each}.json")
    inputs = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for writing in range(len(written)):
        pid = os.fork()
        if pid == 0:
            os.replace = dying_before(writing)
            try:
                main(arguments)
            finally:
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        assert {path: path.read_bytes() for path in inputs} == inputs
        for path in whole_files(tmp_path):
            if path.endswith(".json"):
                json.loads((tmp_path / path).read_text())
            if path.endswith(".html"):
                assert (tmp_path / path).read_text().rstrip().endswith("</html>")
    assert main(arguments) == 0
    assert whole_files(tmp_path) == sorted([*written, "A.json", "B.json"])
    assert Report.load("A.json") == report()
