"""Claims of pieces of work by processes that share nothing but a folder, each of which may be killed at any moment.

A claim is a file that only one process can create (``O_EXCL``, which file systems promise, NFS from version 3 on too). It is called
``TASK.1.lease``, holds who made it, and is touched every few seconds for as long as its owner works. Its owner removes it in the end. If
the owner is killed, it is taken over by creating ``TASK.2.lease``, and so on: of several processes that find the same claim expired one
creates the next file, and the others are refused by the file system. Nothing is renamed, and nothing of another living process removed.

- *No clocks are compared.* A claim has expired when it was not touched for ``EXPIRY`` seconds of the reader's own clock, during which it
  looked at it. NFS may show an old time of a file for up to a minute, but asks the server when the file is opened, as is done here.
- *On one machine nobody waits*: a claim whose owner's process is gone has expired at once.
- *Who has a claim looks again whether the work is done*, as the former owner may have finished between the look and the claim. Records of
  what is done stand in the same folder, as NFS looks anew at a folder in which it has created a file.
- A process that was only suspended for longer than ``EXPIRY`` may find its claim taken over. Then the work is done twice, with the same
  result, and each file is written whole; nothing is lost.
"""

import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from itertools import count, takewhile
from pathlib import Path

__all__ = ["EXPIRY", "Leases"]

EXPIRY = 120.0
"""Seconds after which a claim that is not touched any more is taken over by a process on another machine."""
_BEATS = 8
"""How often a claim is touched within that time."""


@dataclass(frozen=True)
class _Claim:
    path: Path
    text: str


class Leases:
    """The claims in a folder, as one process sees them.

    Args:
        folder: Where they are.
        expiry: Seconds as ``EXPIRY``.
    """

    def __init__(self, folder: Path, expiry: float = EXPIRY) -> None:
        self._folder, self._expiry = folder, expiry
        self._seen: dict[Path, tuple[tuple[str, int], float]] = {}

    @contextmanager
    def claimed(self, task: str) -> Iterator[bool]:
        """Claims a piece of work for as long as the context lasts.

        Where the folder takes no claim at all, such as on a full disk, it takes no results of others either: the work is done unclaimed.

        Args:
            task: What the work is called; part of a file's name.

        Yields:
            Whether it may be done here; if not, somebody else is at it.
        """
        mine, takes_none = None, False
        try:
            mine = self._claim(task)
        except OSError:
            takes_none = True
        if mine is None:
            yield takes_none
            return
        ended = threading.Event()
        beat = threading.Thread(target=_touch, args=(mine.path, ended, self._expiry / _BEATS), daemon=True)
        beat.start()
        try:
            yield True
        finally:
            ended.set()
            beat.join()
            self._release(task, mine)

    def _claim(self, task: str) -> "_Claim | None":
        there = list(takewhile(os.path.lexists, self._files(task)))
        if there and not self._has_expired(there[-1]):
            return None
        free = next(path for number, path in enumerate(self._files(task)) if number == len(there))
        mine = _Claim(free, json.dumps({"machine": _machine(), "pid": os.getpid(), "id": uuid.uuid4().hex}))
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            file = free.open("x", encoding="utf-8")
        except FileExistsError:  # somebody was quicker
            return None
        try:
            with file:
                file.write(mine.text)
        except OSError:
            free.unlink()
            raise
        return mine

    def _release(self, task: str, mine: "_Claim") -> None:
        """Removes the claim, then the expired ones before it, the last one first: whoever looks finds them numbered without a gap."""
        files = list(takewhile(os.path.lexists, self._files(task)))
        if not files or files[-1] != mine.path or _text(mine.path) != mine.text:  # taken over: the other one removes them all
            return
        for path in reversed(files):
            with suppress(OSError):
                path.unlink()

    def _files(self, task: str) -> Iterator[Path]:
        return (self._folder / f"{task}.{number}.lease" for number in count(1))

    def _has_expired(self, path: Path) -> bool:
        try:
            with path.open(encoding="utf-8", errors="replace") as file:
                looks = file.read(1_000), os.fstat(file.fileno()).st_mtime_ns
        except OSError:  # removed in this moment: the next look will tell
            return False
        if _owner_is_gone(looks[0]):
            return True
        now = time.monotonic()
        before, since = self._seen.get(path, (None, now))
        if looks != before:
            self._seen[path] = looks, now
            return False
        return now - since > self._expiry


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _touch(path: Path, ended: threading.Event, seconds: float) -> None:
    while not ended.wait(seconds):
        with suppress(OSError):
            os.utime(path)


def _owner_is_gone(text: str) -> bool:
    """Whether a claim was made by a process on this machine that does not run any more."""
    try:
        owner = json.loads(text)
        return owner["machine"] == _machine() and not _runs(int(owner["pid"]))
    except (ValueError, KeyError, TypeError):  # not yet written, or never to be
        return False


@cache
def _machine() -> str:
    """What tells apart in which processes a number of a process means the same: a running system, and in it a container."""
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _runs(pid: int) -> bool:
    """Whether there is a process with that number, or nobody can say."""
    if os.name != "posix":  # elsewhere signal 0 ends it
        return True
    with suppress(OSError, IndexError):
        if Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] in "ZX":
            return False  # it has ended, and nobody has asked how
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True
