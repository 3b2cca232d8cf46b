"""A signal ends any command within two seconds, in one line, with the status that says so and nothing half-written."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.resources import files

import pytest
from figure_reports import report
from slow import slow_but

from sae_lens_metrics.text.standard_library import standard_library_documents

TINY_LM = str(files("sae_lens_metrics.demo") / "tiny_lm")
SAE = str(files("sae_lens_metrics.demo") / "saes" / "TopK")
PATIENCE = 4.0
"""Two seconds, and as many for a machine that does something else too."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Texts and two results."""
    folder = tmp_path_factory.mktemp("stopping")
    texts = list(zip(range(200), standard_library_documents("train"), strict=False))
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for _, text in texts))
    for name in "AB":
        report().save(folder / f"{name}.json")
    return folder


COMMANDS = {
    "demo": ["demo", "--output", "demo"],
    "evaluate": ["evaluate", SAE, "--model", TINY_LM, "--dataset", "texts.jsonl", "--output", "one"],
    "train": [
        *("train", "--metrics.preset", "train", "--architecture", "topk", "--model_name", "tiny-stories-1M"),
        *("--hook_name", "blocks.1.hook_resid_post", "--dataset_path", "nothing/there", "--d_in", "64", "--d_sae", "128", "--k", "8"),
    ],
    "compare": ["compare", "A.json", "B.json"],
    "report": ["report", "A.json", "-o", "page.html"],
    "tasks": ["tasks", "--show", "code_against_prose"],
    "explain": ["explain", "probe"],
    "schema": ["schema"],
}


def stopped(arguments, signum, after, folder, said=None):
    """Starts a command, sends it a signal after some seconds, or once it has said something; returns status, seconds, standard error."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")} | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "sae_lens_metrics", *arguments],
        **{"cwd": folder, "env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True},
    )
    if said is not None:
        while said not in (line := process.stdout.readline()):
            assert line, process.stderr.read()
    time.sleep(after)
    begun = time.monotonic()
    process.send_signal(signum)
    _, error = process.communicate(timeout=60)
    return process.returncode, time.monotonic() - begun, error


def assert_stopped(result, signum):
    status, seconds, error = result
    assert status == 128 + signum, error
    assert seconds < PATIENCE
    assert error.splitlines()[-1] == "sae-lens-metrics: interrupted"
    assert "Traceback" not in error
    assert error.count("interrupted") == 1


SIGNALS = (signal.SIGINT, signal.SIGTERM)
LONG = {"demo": (2.0, 6.0, 0.3, 12.0), "evaluate": (2.0, 0.3, 12.0, 6.0), "train": (0.3, 2.0, 6.0, 12.0)}
"""Moments, at which the two signals take turns: the same code takes both."""
MOMENTS = [
    *((name, SIGNALS[place % 2], after) for name, moments in LONG.items() for place, after in enumerate(moments)),
    *((name, signum, after) for name in COMMANDS if name not in LONG for signum, after in zip(SIGNALS, (0.3, 1.0), strict=True)),
]
EVERY_TIME = [("evaluate", signal.SIGINT, 2.0), ("demo", signal.SIGTERM, 6.0)]


@pytest.mark.parametrize(("name", "signum", "after"), slow_but(MOMENTS, EVERY_TIME.__contains__))
def test_at_any_moment(name, signum, after, folder):
    status, seconds, error = stopped(COMMANDS[name], signum, after, folder)
    done = status == 0 or "sae-lens-metrics: error:" in error or status == -signum  # the last: Python itself was about to end
    if name not in ("demo", "evaluate") and done:
        return
    assert_stopped((status, seconds, error), signum)
    assert not list((folder / "one").glob("*.json")) if name == "evaluate" else True


@pytest.mark.slow
@pytest.mark.parametrize(
    ("signum", "after"),
    [(signal.SIGINT, 0.0), (signal.SIGINT, 3.0), (signal.SIGTERM, 5.0)],
)
def test_while_it_trains(signum, after, folder, tmp_path):
    """SAELens, which turns signals into an exception of its own then, saves a checkpoint first."""
    result = stopped(["demo", "--quick", "--train", "--output", str(tmp_path / "demo")], signum, after, folder, said="Training L1")
    assert_stopped(result, signum)
    assert not (tmp_path / "demo" / "L1.json").exists()
    assert not (tmp_path / "demo" / "TopK").exists()  # it does not go on to the next one


CAUGHT = """
    for _ in range(100):
        try:
            time.sleep(0.1)
        except KeyboardInterrupt:
            pass
"""
DELETED = """
    class Slow:
        def __del__(self):
            time.sleep(0.5)
    while True:
        Slow()
"""


@pytest.mark.parametrize("body", [CAUGHT, DELETED], ids=["caught", "deleted"])
def test_where_the_exception_is_lost(body):
    """Such as in a callback or where an object ends, whose exceptions Python prints and forgets; or where a tensor operation takes long."""
    program = f"""
import sys, time
sys.argv = ["sae-lens-metrics", "schema"]
import sae_lens_metrics.cli.schema as command
def run(arguments):
    print("running", flush=True)
{body}
command.run_schema = run
from sae_lens_metrics.cli.program import program
program()
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()
    time.sleep(0.1)
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=30)
    assert_stopped((process.returncode, time.monotonic() - begun, error), signal.SIGTERM)


def test_before_the_command_has_begun():
    """While the thread is started that ends the process where the exception is lost."""
    program = """
import signal, sys, threading
start = threading.Thread.start
def interrupted(thread):
    start(thread)
    signal.raise_signal(signal.SIGINT)
threading.Thread.start = interrupted
sys.argv = ["sae-lens-metrics", "schema"]
from sae_lens_metrics.cli.program import program
program()
"""
    begun = time.monotonic()
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert_stopped((process.returncode, time.monotonic() - begun, process.stderr), signal.SIGINT)
