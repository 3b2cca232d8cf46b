"""A process of a cluster that evaluates SAEs, one after the other, as it is told, and keeps its model in between."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.evaluation.clock import Clock
from sae_lens_metrics.evaluation.found import Sweep
from sae_lens_metrics.evaluation.one_sae import Outcome
from sae_lens_metrics.evaluation.order import Job
from sae_lens_metrics.evaluation.shared_loads import SharedLoads
from sae_lens_metrics.evaluation.sweep_folder import SweepFolder
from sae_lens_metrics.evaluation.sweep_worker import SweepWorker
from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.metrics.registry import metric_names, register_spec, registered_specs
from sae_lens_metrics.metrics.spec import MetricSpec

__all__ = ["Answer", "RemoteSweep", "RemoteWorker"]


@dataclass(frozen=True)
class RemoteSweep:
    """What a worker must know of a sweep."""

    config: MetricsConfig
    jobs: list[Job]
    output: Path
    """The folder on the driver's machine, absolute."""
    keys: Mapping[str, str]
    """As in ``SweepFolder``."""
    overwrite: bool
    mark: tuple[Path, str] = (Path(), "")
    """What ``SweepFolder.marked`` gave."""
    specs: tuple[MetricSpec, ...] = field(default_factory=registered_specs)
    """Metrics that the driver has registered at run time."""
    folder: str = field(default_factory=os.getcwd)
    """The driver's working directory, which names of folders may be relative to."""


@dataclass(frozen=True)
class Answer:
    """What came of an SAE."""

    record: str
    """The record, as ``Record.to_json`` writes it."""
    is_new: bool
    """Whether there is a result, and it was not there before."""
    is_kept: bool
    """Whether its result, if there is one, is in some file."""
    result: str | None = None
    """The result file, where the worker does not have the driver's folder."""


class RemoteWorker:
    """The worker.

    Args:
        sweep: What it must know.
    """

    def __init__(self, sweep: RemoteSweep) -> None:
        with suppress(OSError):  # on a machine that does not have it, names are those of a hub
            os.chdir(sweep.folder)
        for spec in sweep.specs:
            if spec.name not in metric_names():
                register_spec(spec)
        self._sweep = sweep
        self._shared = SharedLoads(sweep.config, sweep.jobs)
        self.is_shared = _text(sweep.mark[0]) == sweep.mark[1]
        """Whether the driver's folder is here, too, so that it need not be sent results that are there, nor send new ones."""
        self._output = sweep.output if self.is_shared else Path(tempfile.mkdtemp(prefix="sae-lens-metrics-"))

    def evaluate(self, place: int, there: Mapping[str, str]) -> Answer:
        """Evaluates an SAE, unless its result is there.

        Args:
            place: Its place among the jobs.
            there: Results that may be its own, by the names of their files, where the worker does not have them itself.

        Raises:
            ConfigError: If the folder does not take what it is sent.
        """
        for name, text in there.items():
            (self._output / name).write_text(text, encoding="utf-8")
        folder = SweepFolder(self._output, self._sweep.keys)
        job = self._sweep.jobs[place]
        found = Sweep([job.target.name], folder)
        outcome = SweepWorker(self._shared, found, Clock(1), self._sweep.overwrite).attempt(job)
        record = found.record(job.target.name)
        if record is None:
            raise ConfigError(f"nothing is known of {job.target.name}")
        result = None if self.is_shared or outcome is None else _content(outcome)
        if not self.is_shared:  # or the disk of a machine that nobody looks at would fill
            shutil.rmtree(self._output)
            self._output.mkdir()
        return Answer(record.to_json(), outcome is not None and not outcome.was_there, outcome is None or outcome.path is not None, result)


def _content(outcome: Outcome) -> str | None:
    """What is in a new result file."""
    return None if outcome.path is None or outcome.was_there else outcome.path.read_text(encoding="utf-8")


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return None
