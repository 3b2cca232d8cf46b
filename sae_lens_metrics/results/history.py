"""Metrics over a training run, as ``metrics.jsonl`` has them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sae_lens_metrics.errors import ResultError
from sae_lens_metrics.results.dataclass_schema import LARGEST, LARGEST_WHOLE
from sae_lens_metrics.results.reading import parsed
from sae_lens_metrics.results.report import Report
from sae_lens_metrics.results.sae_names import short_names
from sae_lens_metrics.results.shapes import shape_of_schema

__all__ = ["METRICS_FILENAME", "History", "Point", "histories_of", "read_histories", "run_of"]

METRICS_FILENAME = "metrics.jsonl"
_ABOUT: dict[str, dict[str, Any]] = {
    "sae": {"type": ["string", "null"]},
    "step": {"type": "integer", "minimum": 0, "maximum": LARGEST_WHOLE},
    "n_training_samples": {"type": "integer", "minimum": 0, "maximum": LARGEST_WHOLE},
    "final": {"type": "boolean"},
    "held_out": {},
    "seconds": {},
    "errors": {},
}
"""What a line holds besides numbers by their full names."""
_LINE = shape_of_schema(
    {
        "type": "object",
        "properties": _ABOUT,
        "required": ["sae", "step", "n_training_samples", "final"],
        "additionalProperties": {"type": "number", "minimum": -LARGEST, "maximum": LARGEST},
    }
)


@dataclass(frozen=True)
class Point:
    """One evaluation."""

    step: int
    """Training steps done."""
    samples: int
    """Activations trained on."""
    final: bool
    """Whether it was made after the last step."""
    values: dict[str, float]
    """Numbers by full name, and their standard errors under the same name with ``_stderr``, and so on, as ``Report.flat`` gives them."""


@dataclass(frozen=True)
class History:
    """The evaluations of one SAE during its training, in their order."""

    points: list[Point] = field(default_factory=list)


def read_histories(path: str | Path) -> dict[str, History]:
    """Reads a ``metrics.jsonl``: a history for each SAE that was trained in that run, by its name, ``""`` for an only one.

    A last line that was cut off, as by a run that is still writing, is left out.

    Raises:
        ResultError: If a line is none that training writes.
        OSError: If the file cannot be read.
    """
    lines = Path(path).read_bytes().split(b"\n")
    histories: dict[str, History] = {}
    for number, line in enumerate(lines[:-1], start=1):  # a whole line ends in a line break
        if line.strip():
            try:
                name, point = _point(parsed(line.decode("utf-8")))
            except ValueError as error:
                raise ResultError(f"{path}, line {number}, is no line of a {METRICS_FILENAME} ({error})") from error
            histories.setdefault(name, History()).points.append(point)
    if not histories:
        raise ResultError(f"{path} holds no evaluation: was the run stopped before its first one?")
    return histories


def histories_of(reports: Mapping[str, Report]) -> dict[str, History]:
    """The evaluations of checkpoints as histories of their training runs, by the run's folder and the SAE's name.

    Args:
        reports: Any reports; runs of which there are two checkpoints at least have a history.
    """
    by_run: dict[str, list[Point]] = {}
    for report in reports.values():
        moment = report.provenance.get("training")
        if isinstance(moment, dict):
            point = Point(int(moment["step"]), int(moment["n_training_samples"]), bool(moment["final"]), report.flat())
            by_run.setdefault(run_of(moment), []).append(point)
    several = {run: sorted(points, key=lambda point: point.samples) for run, points in by_run.items() if len(points) > 1}
    names = short_names(list(several))
    return {names[run]: History(points) for run, points in several.items()}


def run_of(moment: Mapping[str, Any]) -> str:
    """Which SAE of which training run a checkpoint is of: the run's folder, and the SAE's name in it if there are several."""
    return "/".join(str(moment[key]) for key in ("run", "sae") if moment[key])


def _point(data: Any) -> tuple[str, Point]:
    """The name of the SAE, and its evaluation."""
    if not _LINE.fits(data):
        raise ValueError(_LINE.fault(data, ""))
    values = {name: float(value) for name, value in data.items() if name not in _ABOUT}
    return data["sae"] or "", Point(data["step"], data["n_training_samples"], data["final"], values)
