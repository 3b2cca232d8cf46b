"""Every error is a sentence and a documented status; one that nobody expected says where its trace is, and is never a traceback."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sae_lens_metrics.cli.main import COMMANDS, main
from sae_lens_metrics.cli.statuses import ENDINGS
from sae_lens_metrics.errors import ResultError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def raising(monkeypatch, tmp_path, capsys):
    """Runs a command that raises an error; gives the status and the lines on standard error."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def run(error, command="schema"):
        def raise_it(arguments):
            raise error

        monkeypatch.setattr(f"sae_lens_metrics.cli.{command}.run_{command}", raise_it)
        status = main([command, "--some", "flag"])
        printed = capsys.readouterr()
        assert printed.out == ""
        return status, printed.err.splitlines()

    return run


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unexpected_error_says_where_its_trace_is(command, raising, tmp_path):
    status, (line,) = raising(RuntimeError("boom\nin two lines"), command)
    assert status == 1
    assert line.startswith("sae-lens-metrics: an error that should not happen (RuntimeError: boom in two lines): its trace is in ")
    assert line.endswith("; please report it where this package is from, with that file and the command")
    (trace,) = tmp_path.iterdir()
    assert str(trace) in line
    written = trace.read_text()
    assert "Traceback (most recent call last)" in written
    assert written.endswith("RuntimeError: boom\nin two lines\n")
    assert f"arguments: ['{command}', '--some', 'flag']" in written
    assert "Python 3." in written


def test_a_trace_that_cannot_be_written(raising, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nothing" / "there"))
    status, (line,) = raising(KeyError("x"))
    assert status == 1
    assert "(KeyError: 'x'): its trace cannot be written (No such file or directory); please report it" in line


def test_a_long_message_is_cut(raising):
    _, (line,) = raising(RuntimeError("x" * 10_000))
    assert len(line) < 700


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ResultError("a result is\ndamaged"), "error: a result is damaged"),
        (FileNotFoundError(2, "No such file or directory", "x.json"), "error: 'x.json': No such file or directory"),
        (OSError(18, "Invalid cross-device link", "a", None, "b"), "error: 'a' and 'b': Invalid cross-device link"),
        (OSError("cannot write to 'x'"), "error: cannot write to 'x'"),
        (MemoryError(), "error: there is not enough memory (MemoryError): try a smaller --batch_size or --memory_gb"),
    ],
)
def test_an_expected_error_is_a_sentence(error, said, raising, tmp_path):
    assert raising(error) == (2, [f"sae-lens-metrics: {said}"])
    assert list(tmp_path.iterdir()) == []


def test_memory_of_a_gpu_is_memory(raising):
    import torch

    status, (line,) = raising(torch.OutOfMemoryError("CUDA out of memory."))
    assert status == 2
    assert "there is not enough memory (OutOfMemoryError: CUDA out of memory.)" in line


def test_interrupts_are_no_errors(raising):  # SAELens's own is an Exception
    from sae_lens.training._interruption import InterruptedException

    for error in (KeyboardInterrupt(), InterruptedException()):
        with pytest.raises(type(error)):
            raising(error)


# --- what the statuses mean ------------------------------------------------------------------------------------------------------


def test_help_has_every_status(capsys):
    assert main(["--help"]) == 0
    listed = dict(re.findall(r"^  (\d+) +(.*)$", capsys.readouterr().out, flags=re.MULTILINE))
    assert {int(status): meaning for status, meaning in listed.items()} == ENDINGS


def test_contributing_has_every_status():
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert {int(status): meaning for status, meaning in rows} == ENDINGS


# --- in a process of its own -----------------------------------------------------------------------------------------------------


def printed_to(target, *arguments, **environment):
    command = [sys.executable, "-m", "sae_lens_metrics", *arguments]
    environment = {**os.environ, **environment}
    return subprocess.run(command, stdout=target, stderr=subprocess.PIPE, cwd=ROOT, env=environment, text=True, check=False)


@pytest.mark.parametrize("arguments", [["schema"], ["explain", "probe"], ["--help"], ["evaluate", "--help"]], ids=" ".join)
def test_a_disk_that_takes_no_output(arguments):
    with open("/dev/full", "w") as full:
        done = printed_to(full, *arguments)
    assert (done.returncode, done.stderr) == (2, "sae-lens-metrics: error: No space left on device\n")


def test_saelens_own_help_on_a_disk_that_takes_no_output(monkeypatch):
    from sae_lens_metrics.integrations.saelens_command import runner_config

    with open("/dev/full", "w") as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        with pytest.raises(OSError, match="No space left"):
            runner_config(["--help"])
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())  # or closing it tries once more


def test_where_nothing_can_be_said_the_status_tells():
    command = [sys.executable, "-m", "sae_lens_metrics", "report", "nothing.json"]
    with open("/dev/full", "w") as full:
        assert subprocess.run(command, stdout=full, stderr=full, check=False).returncode == 2


@pytest.mark.parametrize(("closed", "arguments", "status"), [(1, ["schema"], 0), (2, ["report", "nothing.json"], 2)])
def test_output_that_is_closed(closed, arguments, status):
    command = ["sh", "-c", f'exec "$@" {closed}>&-', "sh", sys.executable, "-m", "sae_lens_metrics", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", "")


@pytest.mark.parametrize("arguments", [["schema"], ["explain", "probe"]], ids=" ".join)
def test_nobody_reads_what_is_printed(arguments):
    read, write = os.pipe()
    os.close(read)
    done = printed_to(write, *arguments)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_terminal_without_the_letters():
    done = printed_to(subprocess.PIPE, "explain", "shrinkage", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u" in done.stdout


def test_a_last_word_of_another_package_is_no_success():
    program = """
import sys
sys.argv = ["sae-lens-metrics", "schema"]
import sae_lens_metrics.cli.schema as command
def run(arguments):
    sys.exit("no more")
command.run_schema = run
from sae_lens_metrics.cli.program import program
program()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "no more\n")
