"""The command ``sae-lens-metrics`` as a process: a signal ends it soon, in one line, wherever it is."""

import io
import logging
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import NoReturn

from sae_lens_metrics.integrations.interrupts import interrupts

__all__ = ["Stopped", "program"]

_PATIENCE = 1.5
"""Seconds from a signal to the end, whatever other packages or a long tensor operation are doing."""
_MOMENT = 0.01
"""Seconds in which Python leaves what lost a signal's exception."""
_LINE = "sae-lens-metrics: interrupted"


class Stopped(KeyboardInterrupt):
    """A signal has come; like Ctrl-C, nothing that goes on after errors goes on after it.

    Attributes:
        signum: Which one.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


def program() -> NoReturn:
    """Runs the command line and ends the process with its status: 130 after Ctrl-C, 143 after being terminated."""
    try:
        _get_ready()
        status = _status()
    except interrupts() as stopped:  # from the first moment on in which a signal raises it
        status = _interrupted(getattr(stopped, "signum", signal.SIGINT))
    raise SystemExit(status)


def _get_ready() -> None:
    if hasattr(signal, "SIGTERM") and threading.current_thread() is threading.main_thread():
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, _stop)
        sys.unraisablehook = _once_more
        _watch()
    _open_streams()
    logging.captureWarnings(True)  # for them to be printed as everything else is
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # other packages' bars, which fill a log with carriage returns; ours are lines there
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without the letters of a text, or a file's name that is none


def _open_streams() -> None:
    """Output that was closed goes nowhere; and no file takes its number, into which other packages would print."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def _status() -> int:
    """What the command ends with, once all that it prints is printed."""
    from sae_lens_metrics.cli.failures import end_of_output  # after the handlers: importing takes a moment, too
    from sae_lens_metrics.cli.main import main

    try:
        status = main()
    except SystemExit as ended:
        if isinstance(ended.code, str):  # Python prints what another package had to say, and ends with 1
            raise
        status = ended.code or 0
    return end_of_output(status)


def _stop(signum: int, frame: FrameType | None) -> NoReturn:
    raise Stopped(signum)


def _once_more(unraisable: "sys.UnraisableHookArgs") -> None:
    """Sends a signal again whose exception Python would print and forget, such as in an object's `__del__`."""
    if isinstance(unraisable.exc_value, Stopped):
        # from another thread, as it would be lost again within this hook
        again = threading.Timer(_MOMENT, signal.raise_signal, (unraisable.exc_value.signum,))
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(unraisable)


def _interrupted(signum: int) -> int:
    """Says so, and gives what runs at a process's end, such as W&B's, no more than a moment."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    print(f"\n{_LINE}" if sys.stderr.isatty() else _LINE, file=sys.stderr, flush=True)
    threading.Thread(target=_end, args=(signum, time.monotonic() + _PATIENCE, ""), daemon=True).start()
    return 128 + signum


def _watch() -> None:
    """Ends the process if a signal's exception does not: it can be lost in another package, or come late from a long tensor operation.

    Python writes a signal's number to a pipe at once, even where its handler has to wait.
    """
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)

    def wait() -> None:
        while True:
            (signum,) = os.read(read, 1)
            deadline = time.monotonic() + _PATIENCE
            if signal.getsignal(signum) is _stop:  # and not SAELens's, which saves a checkpoint first
                _end(signum, deadline, _LINE)

    threading.Thread(target=wait, daemon=True).start()


def _end(signum: int, deadline: float, line: str) -> None:
    time.sleep(max(0.0, deadline - time.monotonic()))
    if line and signal.getsignal(signum) is not signal.SIG_IGN:
        os.write(2, f"{line}\n".encode())
    os._exit(128 + signum)
