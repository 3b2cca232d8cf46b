"""How much memory this process holds, and held at most."""

import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_bytes() -> int:
    """The largest resident set so far.

    On Linux a process begins with the `ru_maxrss` of the one that started it. The kernel's count of this process alone is read there.
    """
    return _counted("VmHWM")


def bytes_now() -> int:
    """The resident set; on systems that do not say it, the largest one so far."""
    return _counted("VmRSS")


def _counted(name: str) -> int:
    if STATUS.is_file():
        return next(int(line.split()[1]) * 1024 for line in STATUS.read_text().splitlines() if line.startswith(name))
    import resource  # not there on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
