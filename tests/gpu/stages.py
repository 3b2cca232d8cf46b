"""Stages of a run that has so much time: each is left out where too little is left, and writes what it finds at once, as a line of JSON."""

import json
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

__all__ = ["Stages"]


class Stages:
    """Findings and the time that is left.

    Args:
        limit: Seconds in all.
        log: File that findings are appended to.
        device: Whose memory is told of.
    """

    def __init__(self, limit: float, log: Path, device: str) -> None:
        self._begun, self._limit, self._log, self._device = time.perf_counter(), limit, log, device
        self.wrong: list[str] = []
        """What is not as it should be."""

    @property
    def left(self) -> float:
        """Seconds."""
        return self._limit - (time.perf_counter() - self._begun)

    def say(self, **finding: object) -> None:
        """Writes a finding to standard output and to the file; one with ``ok=False`` is wrong."""
        finding["t"] = round(time.perf_counter() - self._begun, 1)
        line = json.dumps(finding, default=str)
        print(line, flush=True)  # noqa: T201 - a script prints
        with self._log.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
        if finding.get("ok") is False:
            self.wrong.append(line)

    def run(self, name: str, needs: float, work: Callable[[], object]) -> None:
        """Runs a stage if the time is there; an error is a finding, and the next stage goes on.

        Args:
            name: What it is called.
            needs: Seconds that it takes at most, as far as is known.
            work: What it does.
        """
        if self.left < needs:
            self.say(stage=name, skipped=f"needs {needs:.0f} s, {self.left:.0f} are left")
            return
        cuda = self._device.startswith("cuda")
        if cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        begun = time.perf_counter()
        try:
            work()
            memory = {"peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2)} if cuda else {}
            self.say(stage=name, seconds=round(time.perf_counter() - begun, 1), **memory)
        except Exception as error:
            self.say(stage=name, ok=False, error=f"{type(error).__name__}: {error}", trace=traceback.format_exc()[-1500:])
