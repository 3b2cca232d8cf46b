"""What a terminal and a log get to see."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

import pytest

PROGRAM = """
import time
from sae_lens_metrics.integrations import progress as module
from sae_lens_metrics.integrations.progress import each, progress, stage

module._SHOWN_AFTER, module._LINE_EVERY = 0.1, 0.5
with stage("metric 2 of 5"), progress("explaining", unit="step", total=30) as bar:
    for _ in range(30):
        time.sleep(0.05)
        bar.update(1)
assert list(each("ab", "letters", unit="letter")) == ["a", "b"]
"""


def in_a_terminal(program):
    """What a program writes to a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    process = subprocess.Popen([sys.executable, "-c", program], stderr=theirs, stdout=theirs)
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # what Linux says at the end of a terminal
            part = b""
        if not part:
            break
        written += part
    assert process.wait() == 0, written
    return written.decode()


def test_a_terminal_shows_a_bar_that_goes_away():
    written = in_a_terminal(PROGRAM)
    drawn = written.split("\r")
    assert len(drawn) > 5
    assert any("metric 2 of 5, explaining" in part and "/30 [" in part and "step/s" in part for part in drawn)
    assert not drawn[-1].strip()
    assert not drawn[-2].strip()


def test_a_pipe_gets_a_line_now_and_then():
    process = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert "\r" not in process.stderr
    lines = process.stderr.splitlines()
    assert 1 <= len(lines) <= 3  # 1.5 seconds, a line every half
    assert all(line.startswith("metric 2 of 5, explaining: ") and "/30 [" in line and "<" in line for line in lines)


@pytest.mark.parametrize("total", [3, None])
def test_what_is_quick_says_nothing(total):
    program = (
        f"from sae_lens_metrics.integrations.progress import progress\nwith progress('x', unit='y', total={total}) as bar: bar.update(3)"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert process.stderr == ""
