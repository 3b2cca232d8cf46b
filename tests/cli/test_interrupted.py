"""What is interrupted goes on where it was, with the same numbers: a short run of what ``tests/fuzz/interruptions.py`` does at length."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "fuzz" / "interruptions.py"


@pytest.mark.slow
@pytest.mark.parametrize(("command", "what"), [("sweep", "killed"), ("train", "terminated")])
def test_it_goes_on_where_it_was(command, what):
    arguments = ["--each", "2", "--commands", command, "--what", what]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", SCRIPT, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["defects: 0"]), done.stdout + done.stderr[-2000:]
