"""What is interrupted goes on where it was, with the same numbers: a short run of what ``tests/fuzz/interruptions.py`` does at length."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "fuzz" / "interruptions.py"


@pytest.mark.slow
def test_a_sweep_and_a_training_run_go_on():
    arguments = ["--each", "1", "--commands", "sweep", "train", "--what", "killed"]
    done = subprocess.run([sys.executable, "-W", "ignore", SCRIPT, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["defects: 0"]), done.stdout + done.stderr[-2000:]
