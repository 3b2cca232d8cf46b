"""Commands in processes of their own that are interrupted at a chosen moment, and what must be true of what they leave."""

import json
import os
import random
import re
import select
import signal
import sys
import time
from dataclasses import dataclass, field

from sae_lens_metrics import Report

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_OUTSIDE = 98
"""Status of a process that an exception ended which no command caught."""
PATIENCE = 4.0
"""Seconds from a signal to the end, on a machine that does something else too."""
_VOLATILE = ("seconds", "created", "cost")
"""Names of what differs from one run to the next."""


@dataclass(frozen=True)
class Moment:
    """When something happens to a command."""

    after: float = 0.0
    """Seconds since it began, or since the write."""
    write: int | None = None
    """After which of its writes (a file opened, or given another name) that is counted; ``None`` for none."""


@dataclass
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str
    seconds: float
    """From its start, or from what happened to it, to its end."""
    happened: bool = False
    """Whether it was still running when something was to happen."""
    writes: int = 0
    faults: list[str] = field(default_factory=list)
    """What is against the contract."""


def run(action, folder, happens=None, moment=None, limit=120.0):
    """Runs something as the command line does, in a forked process.

    Args:
        action: Called with no arguments there; gives the exit status, or ``None`` for success.
        folder: Where its writes are counted, and in whose parent what it prints is kept.
        happens: Called with the process's id at the moment, such as to send a signal.
        moment: When.
        limit: Seconds after which it is killed.
    """
    printed = [folder.parent / f"{folder.name}.{name}" for name in ("out", "err")]
    read, write = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        _as_a_command(action, folder, printed, write)
    os.close(write)
    try:
        began, status, writes, happened = _wait(pid, read, happens, moment or Moment(), limit)
    finally:
        os.close(read)
    out, err = (path.read_text(errors="replace") for path in printed)
    return Ended(status, out, err, time.monotonic() - began, happened, writes)


def _wait(pid, read, happens, moment, limit):
    began, writes, happened = time.monotonic(), 0, False
    due = None if happens is None or moment.write is not None else began + moment.after
    end = began + limit
    while True:
        now = time.monotonic()
        if due is not None and now >= due:
            happens(pid)
            began, due, happened = time.monotonic(), None, True
        if now > end:
            os.kill(pid, signal.SIGKILL)
        ready = select.select([read], [], [], max(0.0, min(0.05, (due or end) - now)))[0]
        told = os.read(read, 1) if ready else b""
        if told:
            writes += 1
            if happens is not None and writes == moment.write:
                due = time.monotonic() + moment.after
        elif ready or os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            break
    return began, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), writes, happened


def _as_a_command(action, folder, printed, tell):
    """The forked process: the command's own handling of signals and errors around an action."""
    status = 99
    try:
        for descriptor, path in enumerate(printed, start=1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
        sys.addaudithook(lambda event, args: os.write(tell, b"x") if _is_write(event, args, str(folder)) else None)
        import sae_lens_metrics.cli.schema as command
        from sae_lens_metrics.cli.program import program

        sys.argv, command.run_schema = ["sae-lens-metrics", "schema"], lambda arguments: action()
        program()
    except SystemExit as ended:
        status = ended.code or 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = _OUTSIDE
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _is_write(event, args, folder):
    if event == "open":
        path, _, flags = args
        return isinstance(flags, int) and bool(flags & WRITING) and str(path).startswith(folder)
    return event in ("os.rename", "os.mkdir", "os.truncate") and str(args[0]).startswith(folder)


# --- what is left -------------------------------------------------------------------------------------------------------------


def half_written(folder):
    """Files with a name that are not whole, with what is wrong; those of other packages are left out."""
    for path in sorted(each for each in folder.rglob("*") if each.is_file() and not each.name.startswith(".")):
        try:
            _require_whole(path)
        except Exception as error:
            yield f"{path.relative_to(folder)}: {type(error).__name__}: {str(error)[:200]}"


def _require_whole(path):
    text = path.read_text(encoding="utf-8", errors="strict") if path.suffix in (".json", ".csv", ".html", ".js") else ""
    if path.suffix == ".json":
        data = json.loads(text)
        if isinstance(data, dict) and "sanity" in data:
            Report.load(path)
    if path.suffix == ".csv":
        assert text.endswith("\n"), "no last line"
    if path.suffix == ".html":
        assert text.rstrip().endswith("</html>"), "no end"
    if path.suffix == ".js":
        assert text.endswith('")'), "no end"


def temporary(folder):
    """Files that were never given their name."""
    return [path for path in folder.rglob(".*") if path.is_file()]


def numbers(path):
    """All of a result but for times."""
    return _steady(Report.load(path).to_dict())


def _steady(value):
    if isinstance(value, dict):
        return {name: _steady(each) for name, each in value.items() if name not in _VOLATILE}
    return [_steady(each) for each in value] if isinstance(value, list) else value


def after_a_signal(ended, signum):
    """What is against the contract of a command that got a signal: that it says so, soon, in one line."""
    if ended.status == 0 or not ended.happened:
        return [f"status {ended.status}: {ended.err[-300:]}"] if ended.status else []
    begun = any(f", in {name}" in ended.err for name in ("_get_ready", "_status"))  # what program() does first
    if ended.status in (-signum, _OUTSIDE) and not ended.writes and not begun:
        return []  # before there was a command to take it
    faults = []
    expected = -signum if signum == signal.SIGKILL else 128 + signum
    if ended.status != expected:
        faults.append(f"status {ended.status}, expected {expected}: {ended.err[-300:]}")
    if signum != signal.SIGKILL:
        if ended.err.splitlines()[-1:] != ["sae-lens-metrics: interrupted"]:
            faults.append(f"the last line is {ended.err.splitlines()[-1:]}")
        if ended.seconds > PATIENCE:
            faults.append(f"it took {ended.seconds:.1f} s")
    if "Traceback" in ended.err:
        faults.append(f"a traceback: {ended.err[-600:]}")
    return faults


def in_words(ended, statuses):
    """What is against the contract of a command that something went wrong for: a documented status, and a few lines without a traceback."""
    faults = [] if ended.status in statuses else [f"status {ended.status}, expected one of {statuses}: {ended.err[-600:]}"]
    if "Traceback" in ended.err or "should not happen" in ended.err:
        faults.append(f"no sentence: {ended.err[-600:]}")
    return faults


def announced(text):
    """The SAEs that a sweep said it begins with, in their order."""
    return re.findall(r"^\d+ of \d+(?:,.*? left)?: (.*)$", text, re.MULTILINE)


def draw_moment(rng: random.Random, seconds, writes):
    """Any moment of a command, or one in the middle of a write."""
    if rng.random() < 0.5:
        return Moment(rng.uniform(0, seconds))
    return Moment(rng.choice([0.0, rng.uniform(0, 0.002), rng.uniform(0, 0.02)]), rng.randint(1, max(1, writes)))
