"""The one place where errors become sentences and statuses: nobody has to read a traceback on a terminal."""

import os
import platform
import sys
import tempfile
import traceback
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from sae_lens_metrics.cli.mistakes import one_line
from sae_lens_metrics.cli.statuses import REFUSED, UNEXPECTED
from sae_lens_metrics.errors import MetricsError, ProcessLostError
from sae_lens_metrics.integrations.terminal import complain
from sae_lens_metrics.integrations.unwritten import why_unwritten

__all__ = ["answer", "end_of_output"]

_PROGRAM = "sae-lens-metrics"
_LONGEST = 300
"""Characters of an unexpected error's own words; all of them are in the file."""
_REPORT = "please report it where this package is from"


def answer(error: Exception, arguments: Sequence[str] = ()) -> int:
    """Says on standard error what went wrong.

    Args:
        error: What was raised. One of this package's, or of the system's, is a sentence; any other is a fault of the program, and all
            that is known of it goes into a file.
        arguments: Those of the command line, for that file.

    Returns:
        The exit status.
    """
    if isinstance(error, BrokenPipeError):  # such as by "| head"
        return UNEXPECTED
    if isinstance(error, MetricsError):
        return _said(f"error: {error}", REFUSED)
    if isinstance(error, ProcessLostError):
        return _said(f"error: {error}", UNEXPECTED)
    if isinstance(error, OSError):
        return _said(f"error: {_of_the_system(error)}", REFUSED)
    if why := why_unwritten(error):
        return _said(f"error: a file cannot be written ({why}): make room, or choose another folder", REFUSED)
    if _is_about_memory(error):
        return _said(f"error: there is not enough memory ({_briefly(error)}): try a smaller --batch_size or --memory_gb", REFUSED)
    return _said(f"an error that should not happen ({_briefly(error)}): {_with_trace(error, arguments)}", UNEXPECTED)


def end_of_output(status: int) -> int:
    """Prints what is still to be printed, which a full disk may not take.

    Args:
        status: The exit status so far.

    Returns:
        The exit status.
    """
    try:
        sys.stdout.flush()
        return status
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python tries once more, and complains
        return status or answer(error)


def _said(text: str, status: int) -> int:
    complain(f"{_PROGRAM}: {one_line(text)}")  # reasons of other packages have many lines
    return status


def _of_the_system(error: OSError) -> str:
    """Without the number that Python puts before it, and with the files that it is about."""
    if error.strerror is None:
        return str(error)
    files = [repr(os.fspath(each)) for each in (error.filename, error.filename2) if isinstance(each, str | bytes | os.PathLike)]
    return f"{' and '.join(files)}: {error.strerror}" if files else error.strerror


def _is_about_memory(error: Exception) -> bool:
    torch = sys.modules.get("torch")  # where it is not loaded, it has raised nothing
    return isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError))


def _briefly(error: Exception) -> str:
    text = " ".join(str(error).split())
    said = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _with_trace(error: Exception, arguments: Sequence[str]) -> str:
    """Writes all that is known of an error into a file, and says where, and what to do with it."""
    known = f"{_PROGRAM} {_version()}, Python {platform.python_version()}, {platform.platform()}\narguments: {list(arguments)}\n\n"
    text = known + "".join(traceback.format_exception(error))
    try:
        descriptor, path = tempfile.mkstemp(prefix=f"{_PROGRAM}-", suffix=".txt")
        with open(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
    except OSError as fault:
        return f"its trace cannot be written ({fault.strerror}); {_REPORT}, with the command that shows it"
    return f"its trace is in {path}; {_REPORT}, with that file and the command"


def _version() -> str:
    try:
        return version(_PROGRAM)
    except PackageNotFoundError:
        return "of no installed package"
