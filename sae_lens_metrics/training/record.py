"""Where the results of a training run go: a line of scalars each, and at the end the whole report beside the trained SAE."""

import json
import logging
from pathlib import Path
from typing import Any

from sae_lens_metrics.results import Report
from sae_lens_metrics.results.history import METRICS_FILENAME

__all__ = ["append_line", "save_last"]

logger = logging.getLogger("sae_lens_metrics")


def append_line(cfg: Any, report: Report, name: str, *, steps: int, samples: int, final: bool) -> None:
    """Appends a line to ``metrics.jsonl``, beside the checkpoints or, where none are kept, beside the SAE.

    Args:
        cfg: SAELens's configuration of the run.
        report: An evaluation.
        name: The SAE's name, empty for the only one of a run.
        steps: Training steps so far.
        samples: Activations trained on so far.
        final: Whether it is the last one.

    Raises:
        OSError: If it cannot be written.
    """
    folder = cfg.checkpoint_path or cfg.output_path
    if folder is None:
        return
    line = {
        "sae": name or None,
        "step": steps,
        "n_training_samples": samples,
        "final": final,
        "held_out": report.provenance["corpus"]["held_out"],
        "seconds": report.provenance["seconds"],
        **report.flat(),
        "errors": report.errors,
    }
    path = Path(folder) / METRICS_FILENAME
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
