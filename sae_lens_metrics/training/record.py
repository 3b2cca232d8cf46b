"""Where the results of a training run go: a line of scalars each, and at the end the whole report beside the trained SAE."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    kept = [line for line in lines if json.loads(line)["n_training_samples"] <= samples]
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
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, allow_nan=False) + "\n")


def save_last(cfg: Any, report: Report, name: str) -> Path | None:
    """Saves the last report beside the trained SAE, where that is saved.

    Args:
        cfg: SAELens's configuration of the run.
        report: The last evaluation.
        name: The SAE's name, empty for the only one of a run.

    Returns:
        The file.

    Raises:
        OSError: If it cannot be written.
    """
    for text in report.warnings:
        logger.warning("%s%s", f"{name}: " if name else "", text)
    if cfg.output_path is None:
        return None
    path = report.save(Path(cfg.output_path) / name / "metrics.json")
    logger.info("metrics of the trained SAE are in %s", path)
    return path


def _file(cfg: Any) -> Path | None:
    folder = cfg.checkpoint_path or cfg.output_path
    return None if folder is None else Path(folder) / METRICS_FILENAME


def _put_aside(path: Path) -> None:
    number = 1
    while (other := path.with_name(f"{path.stem}.{number}{path.suffix}")).exists():
        number += 1
    path.rename(other)
