"""The same SAEs evaluated with several seeds, to see how far their numbers move."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, groupby
from pathlib import Path
from statistics import fmean
from typing import Any

from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.evaluation.clock import Clock, time_in_words
from sae_lens_metrics.evaluation.costs import expected_seconds
from sae_lens_metrics.evaluation.identity import finished
from sae_lens_metrics.evaluation.one_sae import prepare
from sae_lens_metrics.evaluation.order import Job, Overrides, plan
from sae_lens_metrics.evaluation.shared_loads import SharedLoads
from sae_lens_metrics.evaluation.sweep import Sweep, renewed, require_dataset
from sae_lens_metrics.evaluation.sweep_folder import SweepFolder, task_keys
from sae_lens_metrics.evaluation.sweep_worker import SweepWorker
from sae_lens_metrics.integrations.interrupts import interrupts
from sae_lens_metrics.loading.targets import Target
from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.text.corpus import Corpus
from sae_lens_metrics.text.fingerprints import share_in_common
from sae_lens_metrics.text.parts import Part

__all__ = ["SEEDS", "Reseeded", "reseed"]

logger = logging.getLogger("sae_lens_metrics")

SEEDS = (42, 123, 456, 789, 2024)
"""Those of "Are Sparse Autoencoder Benchmarks Reliable?" (arXiv 2605.18229)."""


@dataclass
class Reseeded:
    """SAEs evaluated with several seeds."""

    sweeps: dict[int, Sweep]
    """What came of each seed."""
    disjoint: bool = False
    """Whether each seed drew from rows of its own."""
    texts: dict[int, dict[Any, Corpus]] = field(default_factory=dict, repr=False)
    """The texts of each seed, by data set and form."""

    @property
    def errors(self) -> dict[str, str]:
        """Why an SAE, or some of its metrics, failed, by SAE and seed."""
        return {f"{name} with seed {seed}": text for seed, found in self.sweeps.items() for name, text in found.errors.items()}

    def files(self, names: Mapping[str, str]) -> dict[int, dict[str, Path]]:
        """The result files by seed and SAE.

        Args:
            names: What to call the SAEs.
        """
        return {
            seed: {called: found.files[name] for name, called in names.items() if name in found.files}
            for seed, found in self.sweeps.items()
        }

    @property
    def overlap(self) -> float | None:
        """Share of documents that the texts of two seeds have in common, mean over pairs; ``None`` where it is not known."""
        shares = [share for one, other in combinations(self.texts.values(), 2) for share in _shares(one, other)]
        return fmean(shares) if shares else None


def reseed(
    targets: Sequence[Target],
    config: MetricsConfig,
    output: str | Path,
    *,
    seeds: Sequence[int] = SEEDS,
    disjoint: bool = False,
    overrides: Overrides | Mapping[Target, Overrides] | None = None,
    overwrite: bool = False,
) -> Reseeded:
    """Evaluates SAEs with several seeds; each model is loaded once, and what was evaluated already is not evaluated again.

    The results of seed 42 are in the folder ``seed-42``, as those of a sweep.

    Args:
        targets: The SAEs, as ``find_targets`` finds them.
        config: What to compute; its seed is not used.
        output: Folder for the folders of the seeds.
        seeds: At least two.
        disjoint: Draws the text of each seed from rows of the data set of its own.
        overrides: What is known better than by the SAEs' metadata; the same for all, or by target.
        overwrite: Whether results that are there are made again.

    Raises:
        ConfigError: If there are fewer than two seeds, two are the same, or one is out of range.
        CorpusError: If the data set in ``config`` cannot be loaded.
    """
    turns = _turns(config, Path(output), seeds, disjoint=disjoint)
    require_dataset(config)
    jobs = plan(targets, overrides or Overrides())
    found = Reseeded({seed: _begun(turn, targets, jobs) for seed, turn in turns.items()}, disjoint)
    first = turns[seeds[0]]
    shared, clock = SharedLoads(first.config, jobs, first.part), Clock(len(jobs) * len(turns))
    _announce(jobs, len(turns), shared, first.output)
    for _, of_model in groupby(jobs, key=_model):
        those = list(of_model)
        for seed, turn in turns.items():
            logger.info("seed %d", seed)
            shared.reconfigure(turn.config, turn.part)
            with renewed(found.sweeps[seed]):
                kept = SweepWorker(shared, found.sweeps[seed], clock, overwrite).work(those)
            found.texts.setdefault(seed, {}).update(shared.texts())
            if not kept:
                return found
    return found


@dataclass(frozen=True)
class _Turn:
    """What is different with one seed."""

    config: MetricsConfig
    part: Part | None
    output: Path


def _begun(turn: _Turn, targets: Sequence[Target], jobs: Sequence[Job]) -> Sweep:
    keys = task_keys(jobs, turn.config, turn.part)
    folder = SweepFolder(turn.output, {target.name: keys[target.name] for target in targets})
    folder.begin()
    return Sweep([target.name for target in targets], folder)


def _turns(config: MetricsConfig, output: Path, seeds: Sequence[int], *, disjoint: bool) -> dict[int, _Turn]:
    if len(seeds) < 2 or len({*seeds}) < len(seeds):
        raise ConfigError(f"an audit takes two or more different seeds, not {', '.join(map(str, seeds)) or 'none'}")
    parts = [Part(i, len(seeds)) if disjoint else None for i in range(len(seeds))]
    each = zip(seeds, parts, strict=True)
    return {seed: _Turn(replace(config, seed=seed), part, output / f"seed-{seed}") for seed, part in each}


def _model(job: Job) -> Any:
    """The model that a job runs on; its own where that is not known."""
    return job.target if job.place is None else (job.place.model, job.place.device)


def _announce(jobs: Sequence[Job], seeds: int, shared: SharedLoads, output: Path) -> None:
    """Tells how long it will take, from what the first SAE took if its result is there, else from its sanity line."""
    many = f"{len(jobs) * seeds} evaluations: {len(jobs)} SAE{'s' if len(jobs) > 1 else ''} with {seeds} seeds each"
    try:
        seconds = _seconds(jobs[0], shared, output) * len(jobs) * seeds
    except Exception as error:  # it will fail again in its turn, which is recorded then
        if isinstance(error, interrupts()):
            raise
        logger.info(many)
        return
    logger.info("%s, %s if all are still to do", many, time_in_words(seconds))


def _seconds(job: Job, shared: SharedLoads, output: Path) -> float:
    run, path = prepare(job, shared, output)
    kept = finished(path)
    if kept is not None:
        return float(kept.provenance.get("seconds", 0.0))
    sanity = run.sanity.seconds
    return sanity + sum(expected_seconds(run.config, run.corpus, run.subject.d_sae, sanity).values())


def _shares(one: Mapping[Any, Corpus], other: Mapping[Any, Corpus]) -> Iterator[float]:
    """What the texts of two seeds have in common, of each data set and form."""
    for key in one.keys() & other.keys():
        first, second = one[key].fingerprints, other[key].fingerprints
        if first and second:
            yield share_in_common(first, second)
