"""Evaluating many SAEs: each model is loaded once, each text drawn once, each result made once, by one process or by several."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from sae_lens_metrics.evaluation.clock import Clock
from sae_lens_metrics.evaluation.clusters import RayCluster
from sae_lens_metrics.evaluation.found import Sweep
from sae_lens_metrics.evaluation.on_ray import work_on_ray
from sae_lens_metrics.evaluation.order import Overrides, plan
from sae_lens_metrics.evaluation.remote_worker import RemoteSweep
from sae_lens_metrics.evaluation.shards import Shard
from sae_lens_metrics.evaluation.shared_loads import SharedLoads
from sae_lens_metrics.evaluation.sweep_folder import SweepFolder, task_keys
from sae_lens_metrics.evaluation.sweep_in_wandb import SweepInWandb
from sae_lens_metrics.evaluation.sweep_worker import SweepWorker
from sae_lens_metrics.loading.downloads import with_retries
from sae_lens_metrics.loading.targets import Target
from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.ranks import ALONE, Ranks
from sae_lens_metrics.text.datasets import load_text_dataset

__all__ = ["Sweep", "renewed", "require_dataset", "sweep"]

logger = logging.getLogger("sae_lens_metrics")


def sweep(
    targets: Sequence[Target],
    config: MetricsConfig,
    output: str | Path,
    *,
    overrides: Overrides | Mapping[Target, Overrides] | None = None,
    overwrite: bool = False,
    wandb_project: str | None = None,
    shard: Shard | None = None,
    cluster: RayCluster | None = None,
    ranks: Ranks = ALONE,
) -> Sweep:
    """Evaluates many SAEs; one that fails is recorded, and the others go on.

    SAEs of one model come one after the other, and those at one hook of it: the model is loaded once, SAEs with the same context, BOS
    and data set see the same text, and runs of the model up to a hook are kept for the next SAE there, in up to ``config.memory_gb``.

    Each result is a file in ``output``, whose name holds a hash of all that it depends on. A sweep that was interrupted, at whatever
    moment, goes on where it was when it is started again with the same settings; what had failed is tried again. A result that cannot
    be written there is written into a temporary folder, which is an error of that SAE; where it cannot be written at all, the sweep ends
    there.

    Any number of processes, on any number of machines, may do the same sweep in the same folder: each SAE is evaluated by one of them, and
    each process returns when all are done. One that is killed leaves its SAE to the others. ``summary.csv`` and ``errors.json`` tell of
    the latest sweep in the folder; they are renewed now and then, and when a process ends.

    Args:
        targets: The SAEs, as ``targets.find_targets`` finds them.
        config: What to compute.
        output: Folder for the results.
        overrides: What is known better than by the SAEs' metadata; the same for all, or by target.
        overwrite: Whether results that were there before this process began are made again.
        wandb_project: Logs a W&B run for each new result, after its file is written; checkpoints of one training run are the steps of one
            W&B run, at the end. A failure there is a warning.
        shard: Which part of the SAEs to evaluate here; the summary tells of all that is known of the others, too.
        cluster: Workers that evaluate them, fed by this process; default this process itself.
        ranks: The processes that evaluate each of them together. This is the first one, the others ``follow``.

    Returns:
        What was found out.

    Raises:
        ConfigError: If there is no such cluster.
        CorpusError: If the data set in ``config`` cannot be loaded.
        SubjectError: If a shard is asked for, and a connection fails that says which SAEs belong together.
    """
    require_dataset(config)
    jobs = plan(targets, overrides or Overrides(), certain=shard is not None)
    keys = task_keys(jobs, config)
    folder = SweepFolder(Path(output), {target.name: keys[target.name] for target in targets})
    folder.begin()
    mine = jobs if shard is None else shard.part(jobs)
    if shard is not None:
        logger.info("shard %s: %d of %d SAEs", shard, len(mine), len(jobs))
    names = {job.target.name for job in mine}
    found = Sweep([target.name for target in targets if target.name in names], folder)
    in_wandb = SweepInWandb(wandb_project, jobs)
    with renewed(found):
        if cluster is None:
            SweepWorker(SharedLoads.announced(config, mine, ranks), found, Clock(len(mine)), overwrite, in_wandb.log).work(mine)
        elif mine:
            on_new = None if wandb_project is None else in_wandb.log
            work_on_ray(cluster, RemoteSweep(config, mine, Path(output).absolute(), keys, overwrite), found, on_new)
    in_wandb.finish(found)
    return found


def require_dataset(config: MetricsConfig) -> None:
    """Makes sure of the data set that the configuration names: a mistake there would fail every SAE, each after its download.

    Raises:
        CorpusError: If it cannot be loaded.
    """
    if dataset := config.dataset:
        with_retries(lambda: load_text_dataset(dataset, config.split), f"the data set {dataset!r}")


@contextmanager
def renewed(found: Sweep) -> Iterator[None]:
    """Renews the summary in the end, also where the work is interrupted; not if nothing came of it.

    Args:
        found: What the sweep finds out.
    """
    try:
        yield
    finally:
        if found.files or found.errors:
            found.summary.renew()
