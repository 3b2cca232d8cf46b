"""SAEs evaluated with several seeds, and what that tells of their numbers."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sae_lens_metrics.comparison.audit import Audit, audit_files
from sae_lens_metrics.comparison.resolution import check_wanted
from sae_lens_metrics.evaluation.order import Overrides
from sae_lens_metrics.evaluation.reseeding import SEEDS, Reseeded, reseed
from sae_lens_metrics.loading.targets import Target
from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.results.sae_names import short_names

__all__ = ["audit", "audit_of", "save_audit"]


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
    result = audit_of(found, wanted_s=wanted_s, names=names)
    save_audit(result, output)
    return result


def save_audit(result: Audit, output: str | Path) -> None:
    """Writes ``audit.json`` and ``audit.csv``.

    Args:
        result: The audit.
        output: The folder.

    Raises:
        OSError: If the folder cannot be written.
    """
    for name in ("audit.json", "audit.csv"):
        result.save(Path(output) / name)


def audit_of(found: Reseeded, *, wanted_s: Mapping[str, float] | None = None, names: Mapping[str, str] | None = None) -> Audit:
    """Audits what ``reseed`` has evaluated.

    Args:
        found: What was evaluated.
        wanted_s: Standard deviations that are wanted, by full names of numbers.
        names: What to call the SAEs; default the shortest names that differ.

    Raises:
        ResultError: If no SAE has results of two seeds.
    """
    files = found.files(names or short_names(next(iter(found.sweeps.values())).names))
    return audit_files(
        files,
        wanted_s=wanted_s,
        disjoint=found.disjoint,
        overlap=found.overlap,
        notes=list(_warnings(found)),
        failed=[f"{name}: {text}" for name, text in found.errors.items()],
    )


def _warnings(found: Reseeded) -> Iterator[str]:
    """What the texts warn of, as of being too short, each with the seeds that it is about."""
    seeds: dict[str, list[str]] = {}
    for seed, texts in found.texts.items():
        for warning in {text for corpus in texts.values() for text in corpus.warnings}:
            seeds.setdefault(warning, []).append(str(seed))
    return (f"{warning} (seed {', '.join(which)})" for warning, which in seeds.items())
