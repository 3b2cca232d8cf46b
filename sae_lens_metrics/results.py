"""What an evaluation returns: estimates with standard errors, their tables, and the report that holds them all."""

import json
import math
import os
import sys
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sae_lens_metrics.errors import ResultError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Estimate", "Example", "Histogram", "MetricResult", "Report", "summary", "write_atomically"]

FORMAT_VERSION = "1.2"
"""Version of the result file: the major number changes when an older reader would misread it. 1.1 adds influences, 1.2 examples."""

Scalar = str | int | float | bool | None
Row = dict[str, Scalar]
Part = Literal["influences", "tables", "histograms", "examples"]

_DIGITS = 6
"""Significant digits of an influence: a thousand of them take some 12 KB in a file."""
_COLUMNS = ("value", "stderr", "n", "of", "reason")


@dataclass(frozen=True)
class Estimate:
    """A number, its standard error and what it was averaged over; or, where there is none, the reason why."""

    value: float | None
    """The estimate; ``None`` where it could not be computed."""
    stderr: float | None
    """Standard error over the sampling units; ``None`` where it could not be computed, or where the value is exact."""
    n: int
    """Number of sampling units."""
    of: str
    """What a sampling unit is: ``"sequences"``, ``"tasks"``, ``"latents"`` ..."""
    reason: str | None = None
    """Why the value or its standard error is absent."""
    influence: list[float] | None = field(default=None, repr=False, hash=False)
    """How far each sampling unit moves the value, in the order of the units, for paired comparisons of reports on the same units
    (``compare``). A unit of weight zero has influence 0 and does not count in ``n``; stderr² = n / (n - 1) Σ influence². Kept to six
    significant digits, in memory as in a file. ``None`` where there is no error, or where two SAEs have no units in common, as latents."""

    def __post_init__(self) -> None:
        for number in (self.value, self.stderr, *(self.influence or ())):
            if number is not None and not math.isfinite(number):
                raise ValueError(f"an estimate must be finite, not {number}: leave it out and give the reason")
        if self.value is None and not self.reason:
            raise ValueError("an absent estimate needs a reason")
        if self.influence is not None:
            rounded = [float(f"{number:.{_DIGITS}g}") + 0.0 for number in self.influence]  # + 0.0: no negative zeros
            object.__setattr__(self, "influence", rounded)

    @classmethod
    def absent(cls, reason: str, *, of: str, n: int = 0) -> "Estimate":
        """An estimate that could not be computed."""
        return cls(value=None, stderr=None, n=n, of=of, reason=reason)

    def function(self, value: float, slope: float) -> "Estimate":
        """A smooth function f of the estimate, by the delta method: the error is |f'| times its error, influences are f' times its own.

        Args:
            value: f at the estimate.
            slope: f' there.
        """
        stderr = None if self.stderr is None else abs(slope) * self.stderr
        influence = None if self.influence is None else [slope * number for number in self.influence]
        return Estimate(value, stderr, self.n, self.of, self.reason, influence)

    def one_minus(self) -> "Estimate":
        """One minus the estimate, with the same standard error."""
        return self if self.value is None else self.function(1 - self.value, -1.0)

    def __str__(self) -> str:
        if self.value is None:
            return f"absent ({self.reason})"
        return f"{self.value:.4g}" if self.stderr is None else f"{self.value:.4g} ± {self.stderr:.2g}"


@dataclass(frozen=True)
class Histogram:
    """Counts between edges."""

    edges: list[float]
    """n + 1 increasing edges, in the units of the quantity."""
    counts: list[int]
    """n counts; values beyond the outer edges are in the outer bins."""


@dataclass(frozen=True)
class Example:
    """A stretch of text, with what one latent is on each of its tokens and what its explanation predicts there."""

    latent: int
    """The latent."""
    kind: str
    """How the token in question was chosen: ``"random"`` among those where the latent fires, ``"top"`` where it is largest, or
    ``"predicted"``, at random where its explanation says that it fires."""
    at: int
    """Index of that token."""
    tokens: list[str]
    """The tokens as text."""
    activations: list[float]
    """What the latent is on each token."""
    predictions: list[float]
    """What the explanation predicts there, 0 for nothing."""


@dataclass(frozen=True)
class MetricResult:
    """What one metric found out."""

    estimates: dict[str, Estimate]
    """The metric's numbers by name."""
    tables: dict[str, list[Row]] = field(default_factory=dict, repr=False)
    """Tables by name; every row of a table has the same columns."""
    histograms: dict[str, Histogram] = field(default_factory=dict, repr=False)
    """Distributions by name."""
    examples: list[Example] = field(default_factory=list, repr=False)
    """Text on which latents fire, latent by latent."""
    notes: list[str] = field(default_factory=list)
    """Choices and warnings that belong to the numbers."""
    seconds: float = 0.0
    """Wall-clock time that the metric took."""

    def __post_init__(self) -> None:
        names = [*self.estimates, *self.tables, *self.histograms, *(["examples"] if self.examples else [])]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} names two results: estimates, tables, histograms and examples share one section of a log")


@dataclass(frozen=True)
class Report:
    """The results of one SAE, with everything that they depend on."""

    sanity: MetricResult
    """L0, explained variance, dead latents and cross-entropies: is the SAE what it claims to be?"""
    metrics: dict[str, MetricResult]
    """Results by metric."""
    errors: dict[str, str] = field(default_factory=dict)
    """Metrics that failed, with the error."""
    warnings: list[str] = field(default_factory=list)
    """What a reader of the numbers must know first."""
    provenance: dict[str, Any] = field(default_factory=dict, repr=False)
    """Configuration, seeds, versions, the SAE and its weights' hash, the model, the corpus and its hash."""

    def results(self) -> Iterator[tuple[str, MetricResult]]:
        """The sanity line, then each metric, with its name."""
        yield "sanity", self.sanity
        yield from self.metrics.items()

    def estimates(self) -> Iterator[tuple[str, Estimate]]:
        """Every estimate under its full name, such as ``"shrinkage/ratio"``."""
        for name, result in self.results():
            for key, estimate in result.estimates.items():
                yield f"{name}/{key}", estimate

    def without(self, *parts: Part) -> "Report":
        """The report without what takes much memory: "influences", "tables", "histograms", "examples".

        Args:
            parts: What to leave out.
        """
        return replace(
            self, sanity=_without(self.sanity, parts), metrics={name: _without(each, parts) for name, each in self.metrics.items()}
        )

    def flat(self) -> dict[str, float]:
        """The present values by full name, and their standard errors under the same name with ``_stderr``."""
        values: dict[str, float] = {}
        for key, estimate in self.estimates():
            if estimate.value is not None:
                values[key] = estimate.value
            if estimate.stderr is not None:
                values[f"{key}_stderr"] = estimate.stderr
        return values

    def to_frame(self) -> "pd.DataFrame":
        """One row per estimate: metric, name, value, stderr, n, of, reason."""
        import pandas as pd

        rows = [[*key.split("/", 1), *(getattr(estimate, name) for name in _COLUMNS)] for key, estimate in self.estimates()]
        return pd.DataFrame(rows, columns=["metric", "name", *_COLUMNS])

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON types, with the version of the format."""
        head = {"format": "sae-lens-metrics", "format_version": FORMAT_VERSION}
        results = {name: _plain(result) for name, result in self.metrics.items()}
        return {**head, **vars(self), "sanity": _plain(self.sanity), "metrics": results}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Report":
        """The inverse of ``to_dict``; unknown keys of a newer minor version are ignored.

        Raises:
            ResultError: If the data are not a report, or of another major version.
        """
        if data.get("format") != "sae-lens-metrics":
            raise ResultError("this is not a result of sae-lens-metrics: the key 'format' is missing or different")
        version = str(data.get("format_version"))
        if version.split(".")[0] != FORMAT_VERSION.split(".")[0]:
            raise ResultError(f"this result has format version {version}, this release reads {FORMAT_VERSION}: evaluate again")
        try:
            return cls(
                sanity=_metric_result(data["sanity"]),
                metrics={name: _metric_result(result) for name, result in data["metrics"].items()},
                errors=dict(data.get("errors", {})),
                warnings=list(data.get("warnings", [])),
                provenance=dict(data.get("provenance", {})),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ResultError(f"this result is damaged ({type(error).__name__}: {error}): evaluate again") from error

    def save(self, path: str | Path) -> Path:
        """Writes the report as JSON; a file that is there is replaced at once or not at all.

        Raises:
            OSError: If the folder cannot be written.
        """
        return write_atomically(path, _json(self.to_dict()))

    @classmethod
    def load(cls, path: str | Path) -> "Report":
        """Reads a report that ``save`` wrote.

        Raises:
            ResultError: If the file is not a complete report.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ResultError(f"{path} is not JSON ({error}): it is no result file, or was cut short; evaluate again") from error
        if not isinstance(data, dict):
            raise ResultError(f"{path} holds a {type(data).__name__}, a report is a JSON object")
        try:
            return cls.from_dict(data)
        except ResultError as error:
            raise ResultError(f"{path}: {error}") from error


def summary(reports: Mapping[str, Report]) -> "pd.DataFrame":
    """Several SAEs in one table: a row for each, with its architecture, its size, and every number and standard error by full name.

    Args:
        reports: Reports by the SAEs' names; on the same corpus and seed they can be compared row by row.
    """
    import pandas as pd

    rows = {
        name: {key: report.provenance.get("sae", {}).get(key) for key in ("architecture", "d_sae", "hook_name")} | report.flat()
        for name, report in reports.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("name")


def _without(result: MetricResult, parts: Collection[Part]) -> MetricResult:
    changes: dict[str, Any] = {"tables": {}, "histograms": {}, "examples": []}
    changes["estimates"] = {name: replace(estimate, influence=None) for name, estimate in result.estimates.items()}
    left_out = {"estimates" if part == "influences" else part for part in parts}
    return replace(result, **{name: value for name, value in changes.items() if name in left_out})


def _plain(result: MetricResult) -> dict[str, Any]:
    """As JSON types, which share their lists with the result: there may be very many."""
    estimates = {name: dict(vars(estimate)) for name, estimate in result.estimates.items()}
    histograms = {name: dict(vars(histogram)) for name, histogram in result.histograms.items()}
    return {**vars(result), "estimates": estimates, "histograms": histograms, "examples": [dict(vars(each)) for each in result.examples]}


def _metric_result(data: Mapping[str, Any]) -> MetricResult:
    return MetricResult(
        estimates={name: _known(Estimate, estimate) for name, estimate in data["estimates"].items()},
        tables=data.get("tables", {}),
        histograms={name: _known(Histogram, histogram) for name, histogram in data.get("histograms", {}).items()},
        examples=[_example(example) for example in data.get("examples", [])],
        notes=data.get("notes", []),
        seconds=data.get("seconds", 0.0),
    )


def _example(data: Mapping[str, Any]) -> Example:
    # a token occurs in many examples, and most numbers are zero: one object for all of them is a third of the memory
    tokens = [sys.intern(token) for token in data["tokens"]]
    numbers = {name: [value or 0.0 for value in data[name]] for name in ("activations", "predictions")}
    return _known(Example, {**data, "tokens": tokens, **numbers})


_LAYERS = 4
"""Of a report's objects, those that are written over several lines: report, metrics, a metric, its estimates."""


def _json(value: Any, layer: int = 0) -> str:
    """JSON that people can read: a line for each number, row of a table and example."""
    inner = " " * (layer + 1)
    if isinstance(value, dict) and value and layer < _LAYERS:
        lines = [f"{inner}{json.dumps(name)}: {_json(each, layer + 1)}" for name, each in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{inner[1:]}}}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(f"{inner}{_flat(each)}" for each in value) + f"\n{inner[1:]}]"
    return _flat(value)


def _flat(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _known(cls: type, data: Mapping[str, Any]) -> Any:
    """A dataclass from its fields; a newer minor version may have written more."""
    names = {f.name for f in fields(cls)}
    return cls(**{name: value for name, value in data.items() if name in names})


def write_atomically(path: str | Path, text: str) -> Path:
    """Writes text to a temporary file beside the target, then renames it.

    Raises:
        OSError: If the folder cannot be made or written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("x", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path
