"""Where the results of a training run go: a line of scalars each, and at the end the whole report beside the trained SAE."""

import errno
import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sae_lens_metrics.evaluation.rescue import save_somewhere
from sae_lens_metrics.results import Report, write_atomically
from sae_lens_metrics.results.history import METRICS_FILENAME

__all__ = ["Evaluated", "Sink", "append_line", "begin", "save_last"]

logger = logging.getLogger("sae_lens_metrics")


@dataclass(frozen=True)
class Evaluated:
    """One evaluation during a training run."""

    report: Report
    """What came out."""
    sae: str = ""
    """The SAE's name, empty for the only one of a run."""
    step: int = 0
    """Training steps so far."""
    samples: int | None = None
    """Activations trained on so far; ``None`` where nobody says."""
    final: bool = False
    """Whether it was made after the last step."""


Sink = Callable[[Evaluated], None]
"""Something that is given every evaluation, such as another logger than W&B."""


def begin(cfg: Any, samples: int) -> None:
    """Begins ``metrics.jsonl``, or goes on with that of the run that is resumed, as it was at the checkpoint.

    Args:
        cfg: SAELens's configuration of the run.
        samples: Activations trained on so far.

    Raises:
        OSError: If it cannot be read or written.
    """
    path = _file(cfg)
    if path is None:
        return
    earlier = path
    if cfg.resume_from_checkpoint is not None and not path.is_file():
        earlier = Path(cfg.resume_from_checkpoint).parent / METRICS_FILENAME
    lines = earlier.read_text(encoding="utf-8").splitlines() if earlier.is_file() else []
    if cfg.resume_from_checkpoint is None:
        if lines:  # of another run that was saved into the same folder
            _put_aside(path)
        return
    kept = [line for line in lines if (at := _samples_of(line)) is not None and at <= samples]
    if lines:
        write_atomically(path, "".join(f"{line}\n" for line in kept))


def append_line(cfg: Any, evaluated: Evaluated) -> None:
    """Appends a line to ``metrics.jsonl``, beside the checkpoints or, where none are kept, beside the SAE.

    Args:
        cfg: SAELens's configuration of the run.
        evaluated: An evaluation.

    Raises:
        OSError: If it cannot be written.
    """
    path, report = _file(cfg), evaluated.report
    if path is None:
        return
    line = {
        "sae": evaluated.sae or None,
        "step": evaluated.step,
        "n_training_samples": evaluated.samples,
        "final": evaluated.final,
        "held_out": report.provenance["corpus"]["held_out"],
        "seconds": report.provenance["seconds"],
        **report.flat(),
        "errors": report.errors,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    _append(path, json.dumps(line, allow_nan=False) + "\n")


def save_last(cfg: Any, report: Report, name: str) -> Path | None:
    """Saves the last report beside the trained SAE, where that is saved; in a temporary folder where that cannot be written.

    Args:
        cfg: SAELens's configuration of the run.
        report: The last evaluation.
        name: The SAE's name, empty for the only one of a run.

    Returns:
        The file, if there is one.
    """
    for text in report.warnings:
        logger.warning("%s%s", f"{name}: " if name else "", text)
    if cfg.output_path is None:
        return None
    saved = save_somewhere(report, Path(cfg.output_path) / name / "metrics.json")
    if saved.fault:
        logger.warning("metrics of the trained SAE: %s", saved.fault)
    else:
        logger.info("metrics of the trained SAE are in %s", saved.path)
    return saved.path


def _file(cfg: Any) -> Path | None:
    folder = cfg.checkpoint_path or cfg.output_path
    return None if folder is None else Path(folder) / METRICS_FILENAME


def _samples_of(line: str) -> int | None:
    """At how many activations a line was written; ``None`` of one that was cut off when a run was killed."""
    try:
        return int(json.loads(line)["n_training_samples"])
    except (ValueError, KeyError, TypeError):
        return None


def _append(path: Path, line: str) -> None:
    """Appends a line whole or not at all, as to a disk that is full."""
    with path.open("ab", buffering=0) as file:
        before = file.seek(0, os.SEEK_END)
        content = line.encode()
        try:
            written = file.write(content)
            if written < len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        except BaseException:
            file.truncate(before)
            raise


def _put_aside(path: Path) -> None:
    number = 1
    while (other := path.with_name(f"{path.stem}.{number}{path.suffix}")).exists():
        number += 1
    path.rename(other)
