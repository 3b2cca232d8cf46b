"""A sweep on a Ray cluster: a worker for each GPU keeps its model, and this process feeds it SAEs of one model and hook.

What a worker writes, it writes as any process of a sweep does (``sweep_folder``); where it does not have the folder, it sends the result,
and this process alone writes. This process claims each SAE for its workers, so that other processes may be at the same sweep.
"""

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sae_lens_metrics.errors import ConfigError, MetricsError, ResultError
from sae_lens_metrics.evaluation.clusters import RayCluster
from sae_lens_metrics.evaluation.found import Sweep
from sae_lens_metrics.evaluation.one_sae import on_one_line
from sae_lens_metrics.evaluation.places import Waiting
from sae_lens_metrics.evaluation.remote_worker import Answer, RemoteSweep, RemoteWorker
from sae_lens_metrics.evaluation.rescue import save_somewhere
from sae_lens_metrics.evaluation.sweep_folder import Record
from sae_lens_metrics.evaluation.sweep_worker import NOT_KEPT
from sae_lens_metrics.integrations.interrupts import handlers_put_back
from sae_lens_metrics.integrations.progress import progress
from sae_lens_metrics.results import Report, write_atomically
from sae_lens_metrics.results.sae_names import file_stem

__all__ = ["work_on_ray"]

logger = logging.getLogger("sae_lens_metrics")

_TRIES = 2
"""How often an SAE may end its worker before it is recorded as failed."""
_STARTS = 3
"""How many workers may end while they start before it is taken for a fault of all of them."""
_LOOK_AGAIN = 1.0
"""Seconds in which something happens, or it is looked at what others are at."""


def work_on_ray(
    cluster: RayCluster, sweep: RemoteSweep, found: Sweep, on_new: Callable[[str, Report, Path | None], None] | None = None
) -> None:
    """Evaluates SAEs on a cluster, and notes what came of each.

    A worker that dies is replaced, and its SAE evaluated again; one that ends its worker twice has failed. An interrupt ends all workers.

    Args:
        cluster: Which workers.
        sweep: The SAEs, and what workers must know.
        found: What is known, and the folder.
        on_new: Told the name, report and file of each new result.

    Raises:
        ConfigError: If Ray is not installed, or there is no room for a worker.
        MetricsError: If workers cannot start.
    """
    with _connected() as ray, found.folder.marked() as mark, progress("SAEs", unit="SAE", total=len(sweep.jobs)) as bar:
        driver = _Driver(ray, cluster, replace(sweep, mark=mark), found, on_new, bar)
        try:
            driver.drive()
        finally:
            driver.dismiss()


@contextmanager
def _connected() -> Iterator[Any]:
    """Ray, connected; a cluster that was started for this ends with it."""
    try:
        import ray
    except ImportError as error:
        raise ConfigError("a cluster takes Ray: pip install 'sae-lens-metrics[cluster]'") from error
    if ray.is_initialized():
        yield ray
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = os.environ.get("RAY_ADDRESS") or "local"
    mine: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    with handlers_put_back():  # it puts its own in their place
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **mine)
    try:
        yield ray
    finally:
        ray.shutdown()


class _Actor(RemoteWorker):
    def begun(self) -> tuple[str, bool]:
        """On which machine it is, and whether the driver's folder is there, too."""
        import ray

        return ray.get_runtime_context().get_node_id(), self.is_shared


@dataclass
class _Worker:
    actor: Any
    node: str | None = None
    """The machine that it is on, once it has begun."""
    has_folder: bool = False
    at: int | None = None
    """The SAE that it evaluates."""
    last: int | None = None
    """The one before."""
    claim: ExitStack = field(default_factory=ExitStack)


class _Driver:
    """Feeds workers."""

    def __init__(
        self,
        ray: Any,
        cluster: RayCluster,
        sweep: RemoteSweep,
        found: Sweep,
        on_new: Callable[[str, Report, Path | None], None] | None,
        bar: Any,
    ) -> None:
        self._ray, self._sweep, self._found, self._on_new, self._bar = ray, sweep, found, on_new, bar
        self._told = ray.put(sweep)
        self._waiting = Waiting(sweep.jobs)
        self._workers: dict[Any, _Worker] = {}
        self._idle: list[_Worker] = []
        self._deaths = dict.fromkeys(range(len(sweep.jobs)), 0)
        self._failed_starts, self._look = 0, 0.0
        resources = ray.cluster_resources()
        self._most = cluster.workers or len(sweep.jobs)
        self._gpus = cluster.gpus_per_worker if cluster.gpus_per_worker is not None else float(resources.get("GPU", 0) >= 1)
        if not self._room():
            raise ConfigError(f"the cluster has no room for a worker with {self._gpus:g} GPUs and a CPU core: give --gpus-per-worker")
        each = f"{self._gpus:g} GPU" if self._gpus else "a CPU core"
        logger.info("%d worker%s on Ray, each with %s", self._room(), "s" if self._room() > 1 else "", each)

    def drive(self) -> None:
        """Until all SAEs are dealt with."""
        while len(self._waiting) or any(worker.at is not None for worker in self._workers.values()):
            self._hire()
            self._feed()
            refs = list(self._workers)
            if not refs:
                time.sleep(_LOOK_AGAIN)
                continue
            ready, _ = self._ray.wait(refs, num_returns=1, timeout=_LOOK_AGAIN)
            for ref in ready:
                self._hear(ref, self._workers.pop(ref))
            self._found.summary.renew_now_and_then()

    def dismiss(self) -> None:
        """Ends all workers, and their claims."""
        for worker in [*self._workers.values(), *self._idle]:
            worker.claim.close()
            self._ray.kill(worker.actor)

    # --- workers --------------------------------------------------------------------------------------------------------------

    def _room(self) -> int:
        """For how many workers there is room now, machines that came and went counted."""
        resources = self._ray.cluster_resources()
        fit = int(resources.get("CPU", 0))
        return min(self._most, len(self._sweep.jobs), int(resources.get("GPU", 0) / self._gpus) if self._gpus else fit)

    def _hire(self) -> None:
        there = len(self._workers) + len(self._idle)
        starting = sum(worker.node is None for worker in self._workers.values())
        for _ in range(min(self._room() - there, len(self._waiting) - starting - len(self._idle))):
            actor = self._ray.remote(_Actor).options(num_cpus=1, num_gpus=self._gpus).remote(self._told)
            self._workers[actor.begun.remote()] = _Worker(actor)

    def _feed(self) -> None:
        """Gives each idle worker an SAE that no other process is at."""
        if time.monotonic() < self._look:
            return
        for _ in range(len(self._waiting)):
            if not self._idle or not len(self._waiting):
                return
            worker = self._idle.pop()
            place = self._waiting.take(worker.last, [each.at for each in self._workers.values() if each.at is not None])
            if not self._give(worker, place):
                self._idle.append(worker)
        if self._idle and len(self._waiting):  # others are at all that is left
            self._look = time.monotonic() + _LOOK_AGAIN

    def _give(self, worker: _Worker, place: int) -> bool:
        folder, name = self._found.folder, self._sweep.jobs[place].target.name
        if not worker.claim.enter_context(folder.claimed(name)):
            worker.claim.close()
            self._waiting.put_back(place, first=False)
            return False
        if (record := folder.made_meanwhile(name)) is not None:
            worker.claim.close()
            self._note(record, kept=True)
            return False
        there = {} if worker.has_folder or self._sweep.overwrite else self._results(name)
        worker.at = worker.last = place
        self._workers[worker.actor.evaluate.remote(place, there)] = worker
        return True

    def _results(self, name: str) -> dict[str, str]:
        """Result files that may be this SAE's; there is one as a rule, of the same settings or of others."""
        files = self._found.folder.output.glob(f"{file_stem(name)}_*.json")
        return {path.name: path.read_text(encoding="utf-8", errors="replace") for path in files}

    # --- what came of it ------------------------------------------------------------------------------------------------------

    def _hear(self, ref: Any, worker: _Worker) -> None:
        from ray.exceptions import RayError, RayTaskError

        place, worker.at = worker.at, None
        try:
            answer = self._ray.get(ref)
        except RayTaskError as error:  # of the work itself
            if place is None:
                raise MetricsError(f"a worker cannot start: {on_one_line(error.cause)}") from error
            worker.claim.close()
            self._fail(place, on_one_line(error.cause))
        except RayError as error:
            worker.claim.close()
            self._bury(worker, place, error)
            return
        else:
            if place is None:
                worker.node, worker.has_folder = answer
                self._failed_starts = 0
            else:
                self._keep(answer)
                worker.claim.close()
        self._idle.append(worker)

    def _keep(self, answer: Answer) -> None:
        """Notes an answer, and writes what its worker could not."""
        folder, record = self._found.folder, Record.from_json(answer.record)
        if answer.result is not None and record.file is not None:
            record = _written(record, answer.result, folder.output)
        self._note(record, kept=folder.write(record))
        if answer.is_new and self._on_new is not None and record.file is not None:
            path = folder.path(record)
            self._on_new(record.name, Report.load(path), path)
        if not answer.is_kept or (answer.result is not None and record.file is None):
            while len(self._waiting):
                self._found.errors[self._sweep.jobs[self._waiting.take(None, [])].target.name] = NOT_KEPT

    def _note(self, record: Record, *, kept: bool) -> None:
        self._found.add(record, kept=kept)
        self._bar.update(1)

    def _fail(self, place: int, why: str) -> None:
        record = Record(self._sweep.jobs[place].target.name, error=why)
        logger.error("%s failed: %s", record.name, why)
        self._note(record, kept=self._found.folder.write(record))

    def _bury(self, worker: _Worker, place: int | None, error: Exception) -> None:
        """Lets the SAE of a worker that died be evaluated again, unless it seems to be the cause."""
        self._ray.kill(worker.actor)  # or one that is cut off would go on
        if place is None:
            self._failed_starts += 1
            if self._failed_starts >= _STARTS:
                raise MetricsError(f"workers cannot start: {' '.join(str(error).split())[:500]}") from error
            return
        alive = {node["NodeID"] for node in self._ray.nodes() if node["Alive"]}
        self._deaths[place] += worker.node in alive  # not with its whole machine, which no SAE can end
        name = self._sweep.jobs[place].target.name
        if self._deaths[place] >= _TRIES:
            self._fail(place, f"the worker that evaluated it died {_TRIES} times, as it does for lack of memory ({type(error).__name__})")
        else:
            logger.warning("the worker that evaluated %s died (%s): it is evaluated again", name, type(error).__name__)
            self._waiting.put_back(place, first=True)


def _written(record: Record, result: str, output: Path) -> Record:
    """The record of a result that is now written here."""
    path = output / str(record.file)
    try:
        write_atomically(path, result)
        return record
    except OSError:
        saved = save_somewhere(_report(result), path)
        error = "; ".join(filter(None, (record.error, saved.fault)))
        return replace(record, file=None if saved.path is None else str(saved.path), error=error)


def _report(result: str) -> Report:
    try:
        return Report.from_dict(json.loads(result))
    except ValueError as error:
        raise ResultError("a worker sent no report") from error
