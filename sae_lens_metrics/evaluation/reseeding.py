"""The same SAEs evaluated with several seeds, to see how far their numbers move."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, groupby
from pathlib import Path
from statistics import fmean
from typing import Any

from sae_lens_metrics.comparison.audit import Audit, audit_files
from sae_lens_metrics.comparison.resolution import check_wanted
from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.evaluation.clock import Clock, time_in_words
from sae_lens_metrics.evaluation.costs import expected_seconds
from sae_lens_metrics.evaluation.identity import finished
from sae_lens_metrics.evaluation.order import Job, Overrides, plan
from sae_lens_metrics.evaluation.shared_loads import SharedLoads
from sae_lens_metrics.evaluation.sweep import Sweep, prepare, require_dataset, sweep_jobs
from sae_lens_metrics.integrations.interrupts import interrupts
from sae_lens_metrics.loading.targets import Target
from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.results.sae_names import short_names
from sae_lens_metrics.text.corpus import Corpus
from sae_lens_metrics.text.fingerprints import share_in_common
from sae_lens_metrics.text.parts import Part

__all__ = ["SEEDS", "Reseeded", "audit", "audit_of", "reseed"]

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


def audit(
    targets: Sequence[Target],
    config: MetricsConfig,
    output: str | Path,
    *,
    seeds: Sequence[int] = SEEDS,
    disjoint: bool = False,
    wanted_s: Mapping[str, float] | None = None,
    overrides: Overrides | Mapping[Target, Overrides] | None = None,
    overwrite: bool = False,
    names: Mapping[str, str] | None = None,
) -> Audit:
    """Evaluates SAEs with several seeds, and tells how noisy their numbers are and what those can tell apart.

    Args:
        targets: The SAEs, as ``find_targets`` finds them.
        config: What to compute; its seed is not used.
        output: Folder: a folder of results for each seed, ``audit.json`` and ``audit.csv``. Results that are there are not made again.
        seeds: At least two. They move the text, what metrics sample of it, and splits.
        disjoint: Draws the text of each seed from rows of the data set of its own, as standard errors are about other text each time.
        wanted_s: Standard deviations that are wanted, by full names of numbers.
        overrides: What is known better than by the SAEs' metadata; the same for all, or by target.
        overwrite: Whether results that are there are made again.
        names: What to call the SAEs; default the shortest names that differ.

    Returns:
        What was found.

    Raises:
        ConfigError: If there are fewer than two seeds, two are the same, one is out of range, or a number that is wanted does not exist.
        CorpusError: If the data set in ``config`` cannot be loaded.
        ResultError: If no SAE has results of two seeds.
        OSError: If the folder cannot be written.
    """
    check_wanted(wanted_s or {})
    found = reseed(targets, config, output, seeds=seeds, disjoint=disjoint, overrides=overrides, overwrite=overwrite)
    return audit_of(found, output, wanted_s=wanted_s, names=names)


def audit_of(
    found: Reseeded, output: str | Path, *, wanted_s: Mapping[str, float] | None = None, names: Mapping[str, str] | None = None
) -> Audit:
    """Audits what ``reseed`` has evaluated, and writes ``audit.json`` and ``audit.csv``.

    Args:
        found: What was evaluated.
        output: The folder.
        wanted_s: Standard deviations that are wanted, by full names of numbers.
        names: What to call the SAEs; default the shortest names that differ.

    Raises:
        ResultError: If no SAE has results of two seeds.
        OSError: If the folder cannot be written.
    """
    files = found.files(names or short_names(next(iter(found.sweeps.values())).names))
    result = audit_files(
        files,
        wanted_s=wanted_s,
        disjoint=found.disjoint,
        overlap=found.overlap,
        notes=list(_warnings(found)),
        failed=[f"{name}: {text}" for name, text in found.errors.items()],
    )
    for name in ("audit.json", "audit.csv"):
        result.save(Path(output) / name)
    return result


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

    Args and errors are as in ``audit``. The results of seed 42 are in the folder ``seed-42``, as those of a sweep.
    """
    if len(seeds) < 2 or len({*seeds}) < len(seeds):
        raise ConfigError(f"an audit takes two or more different seeds, not {', '.join(map(str, seeds)) or 'none'}")
    configs = {seed: replace(config, seed=seed) for seed in seeds}
    parts = {seed: Part(i, len(seeds)) if disjoint else None for i, seed in enumerate(seeds)}
    require_dataset(config)
    jobs = plan(targets, overrides or Overrides())
    found = Reseeded({seed: Sweep([target.name for target in targets]) for seed in seeds}, disjoint)
    shared = SharedLoads(configs[seeds[0]], jobs, parts[seeds[0]])
    clock = Clock(len(jobs) * len(seeds))
    _announce(jobs, len(seeds), shared, _folder(output, seeds[0]))
    for _, of_model in groupby(jobs, key=_model):
        those = list(of_model)
        for seed in seeds:
            logger.info("seed %d", seed)
            shared.reconfigure(configs[seed], parts[seed])
            sweep_jobs(those, shared, found.sweeps[seed], _folder(output, seed), clock, overwrite=overwrite)
            found.texts.setdefault(seed, {}).update(shared.texts())
    return found


def _folder(output: str | Path, seed: int) -> Path:
    return Path(output) / f"seed-{seed}"


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


def _warnings(found: Reseeded) -> Iterator[str]:
    """What the texts warn of, as of being too short, each with the seeds that it is about."""
    seeds: dict[str, list[str]] = {}
    for seed, texts in found.texts.items():
        for warning in {text for corpus in texts.values() for text in corpus.warnings}:
            seeds.setdefault(warning, []).append(str(seed))
    return (f"{warning} (seed {', '.join(which)})" for warning, which in seeds.items())
