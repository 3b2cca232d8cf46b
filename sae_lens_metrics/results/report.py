"""The report: all results of one SAE, with everything that they depend on."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from sae_lens_metrics.errors import ResultError
from sae_lens_metrics.results.control import Control
from sae_lens_metrics.results.dataclass_schema import with_schema
from sae_lens_metrics.results.estimate import Estimate
from sae_lens_metrics.results.explanation import Explanation, explanation_of
from sae_lens_metrics.results.files import readable_json, write_atomically
from sae_lens_metrics.results.in_words import encodable, printable, shown
from sae_lens_metrics.results.json_form import (
    FORMAT,
    FORMAT_VERSION,
    PlacedError,
    control_from_dict,
    control_to_dict,
    each_at,
    result_from_dict,
    result_to_dict,
)
from sae_lens_metrics.results.mending import mended
from sae_lens_metrics.results.metric_result import MetricResult
from sae_lens_metrics.results.older_formats import OLDER_MAJOR, upgraded
from sae_lens_metrics.results.provenance_schema import PROVENANCE
from sae_lens_metrics.results.reading import read_json
from sae_lens_metrics.results.shapes import shape_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Report"]

S = TypeVar("S")
T = TypeVar("T")
Part = Literal["influences", "tables", "histograms", "examples", "explanations", "effects"]

_COLUMNS = ("value", "stderr", "n", "of", "reason")


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
    provenance: dict[str, Any] = field(default_factory=dict, repr=False, metadata=with_schema(properties=PROVENANCE))
    """Configuration, seeds, versions, the SAE and its weights' hash, the model, the corpus and its hash."""
    controls: dict[str, Control] = field(default_factory=dict, repr=False)
    """The results of SAEs that are bad on purpose, by name: whether the numbers above mean anything."""

    def results(self) -> Iterator[tuple[str, MetricResult]]:
        """The sanity line, then each metric, with its name."""
        yield "sanity", self.sanity
        yield from self.metrics.items()

    def estimates(self) -> Iterator[tuple[str, Estimate]]:
        """Every estimate under its full name, such as ``"overlap/max_cosine"``."""
        for name, result in self.results():
            for key, estimate in result.estimates.items():
                yield f"{name}/{key}", estimate

    def control(self, name: str) -> "Report":
        """The results of a control as a report, to be compared with this one.

        Args:
            name: The control, one of ``controls``.
        """
        control = self.controls[name]
        metrics = {metric: result for metric, result in control.results.items() if metric != "sanity"}
        return Report(control.results["sanity"], metrics, control.errors, provenance={**self.provenance, "sae": control.sae})

    def explanations(self, latent: int) -> Explanation:
        """What explains a latent: an object that predicts the latent from tokens, and that can be read.

        Args:
            latent: The latent.

        Raises:
            ResultError: If no latents are explained in this report, or not this one.
        """
        for _, result in self.results():
            if result.explanations is not None:
                return explanation_of(result.explanations, latent)
        raise ResultError("this report explains no latents: evaluate with a metric that does, such as n2g")

    def without(self, *parts: Part) -> "Report":
        """The report without what takes much memory: "influences", "tables", "histograms", "examples", "explanations", "effects".

        Args:
            parts: What to leave out.
        """
        slim = partial(_without, parts=parts)
        controls = {name: replace(each, results=_each(slim, each.results)) for name, each in self.controls.items()}
        return replace(self, sanity=slim(self.sanity), metrics=_each(slim, self.metrics), controls=controls)

    def with_warnings(self, *texts: str, first: bool = False) -> "Report":
        """The report with further warnings, but for those that it has already.

        Args:
            texts: What a reader of the numbers must know.
            first: Whether to put them in front of the others.
        """
        new = [text for text in dict.fromkeys(texts) if text not in self.warnings]
        return replace(self, warnings=[*new, *self.warnings] if first else [*self.warnings, *new])

    def with_provenance(self, **more: Any) -> "Report":
        """The report with more about what it depends on.

        Args:
            more: Entries of ``provenance``, as JSON types; a dictionary is merged into the one that is there under its name.
        """
        return replace(self, provenance=_merged(self.provenance, more))

    def section(self, *path: str) -> Mapping[str, Any]:
        """A section of the provenance; empty where there is none.

        Args:
            path: Its name, after those of the sections that it is in.
        """
        found: Any = self.provenance
        for name in path:
            found = found.get(name) if isinstance(found, Mapping) else None
        return found if isinstance(found, Mapping) else {}

    def flat(self) -> dict[str, float]:
        """The present values by full name, and their standard errors under the same name with ``_stderr``.

        Where a number is over something else than text (tasks, or some of the latents), over how many stands under its name with ``_n``:
        means over 49 tasks and over 61 are not the same number.

        The main numbers of controls are among them, as ``"overlap/control_random_max_cosine"``.
        """
        values: dict[str, float] = {}
        for key, estimate in self.estimates():
            if estimate.value is not None:
                values[key] = estimate.value
            if estimate.stderr is not None:
                values[f"{key}_stderr"] = estimate.stderr
            if estimate.value is not None and not estimate.is_over_text and not self._is_over_all_latents(estimate):
                values[f"{key}_n"] = estimate.n
        return values | dict(self._of_controls())

    def _of_controls(self) -> Iterator[tuple[str, float]]:
        for name, control in self.controls.items():
            for metric, verdict in control.verdicts.items():
                value = control.results[metric].estimates[verdict.number].value
                if value is not None:
                    yield f"{metric}/control_{name}_{verdict.number}", value

    def asked(self, metric: str, of: str) -> int | None:
        """Over how many units a number would be if none were missing; ``None`` where nobody says, as for documents.

        Args:
            metric: The number's metric.
            of: What a unit is, as ``Estimate.of`` says it.
        """
        if of == "latents":
            return self.section("sae").get("d_sae")
        return self.section("units", metric).get(of)

    def _is_over_all_latents(self, estimate: Estimate) -> bool:
        return estimate.of == "latents" and estimate.n == self.asked("", "latents")

    def to_frame(self) -> "pd.DataFrame":
        """One row per estimate: metric, name, value, stderr, n, of, reason."""
        import pandas as pd

        rows = [[*key.split("/", 1), *(getattr(estimate, name) for name in _COLUMNS)] for key, estimate in self.estimates()]
        rows = [[encodable(each) if isinstance(each, str) else each for each in row] for row in rows]
        return pd.DataFrame(rows, columns=["metric", "name", *_COLUMNS])

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON types, with the version of the format."""
        results = {
            "sanity": result_to_dict(self.sanity),
            "metrics": _each(result_to_dict, self.metrics),
            "controls": _each(control_to_dict, self.controls),
        }
        return {"format": FORMAT, "format_version": FORMAT_VERSION, **vars(self), **results}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Report":
        """The inverse of ``to_dict``; unknown keys of a newer minor version are ignored, and files of format 1 are read too.

        Raises:
            ResultError: If the data are not a report, or of a newer major version.
        """
        if data.get("format") != FORMAT:
            raise ResultError("this is not a result of sae-lens-metrics: the key 'format' is missing or different")
        version = data.get("format_version")
        major = str(version).split(".")[0]
        if major not in (OLDER_MAJOR, FORMAT_VERSION.split(".")[0]):
            raise ResultError(
                f"this result has format version {printable(str(version))[:60]}, this release reads {FORMAT_VERSION}: evaluate again"
            )
        try:
            return _report(_checked(upgraded(_checked(data)) if major == OLDER_MAJOR else data))
        except PlacedError as error:
            raise ResultError(f"this result is damaged, {error}: evaluate again, or take another copy of the file") from error

    def save(self, path: str | Path) -> Path:
        """Writes the report as JSON; a file that is there is replaced at once or not at all.

        What no result file can hold, as numbers that are not finite, is left out of the file, and a note or a warning in it says so.

        Raises:
            OSError: If the folder cannot be written.
        """
        return write_atomically(path, readable_json(self.storable()))

    def storable(self) -> dict[str, Any]:
        """The report as a result file can hold it: ``to_dict``, without numbers that are not finite."""
        data = self.to_dict()
        return data if shape_of(Report).fits(data) else mended(data)

    @classmethod
    def load(cls, path: str | Path) -> "Report":
        """Reads a report that ``save`` wrote.

        Raises:
            ResultError: If the file is not a complete report.
        """
        data = read_json(Path(path))
        if not isinstance(data, dict):
            raise ResultError(f"{path} is {shown(data)}, a report is a JSON object")
        try:
            return cls.from_dict(data)
        except ResultError as error:
            raise ResultError(f"{path}: {error}") from error


def _checked(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same, if it is as the schema says."""
    shape = shape_of(Report)
    if shape.fits(data):
        return data
    fault = shape.fault(data, "")
    raise PlacedError(fault.path or "the whole", f"found {fault.found}, expected {fault.expected}")


def _report(data: Mapping[str, Any]) -> Report:
    """A report from what is as the schema says."""
    return Report(
        sanity=each_at("", result_from_dict, {"sanity": data["sanity"]})["sanity"],
        metrics=each_at("metrics", result_from_dict, data["metrics"]),
        errors=dict(data.get("errors", {})),
        warnings=list(data.get("warnings", [])),
        controls=each_at("controls", control_from_dict, data.get("controls", {})),
        provenance=dict(data.get("provenance", {})),
    )


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Both, in new dictionaries; where both have an entry the new one counts, unless both are dictionaries."""
    merged = dict(old)
    for name, value in new.items():
        before = merged.get(name)
        merged[name] = _merged(before, value) if isinstance(before, Mapping) and isinstance(value, Mapping) else value
    return merged


def _each(change: Callable[[T], S], values: Mapping[str, T]) -> dict[str, S]:
    return {name: change(value) for name, value in values.items()}


def _without(result: MetricResult, parts: Collection[Part]) -> MetricResult:
    changes: dict[str, Any] = {"tables": {}, "histograms": {}, "examples": [], "explanations": None, "effects": []}
    changes["estimates"] = {name: estimate.without_influences() for name, estimate in result.estimates.items()}
    left_out = {"estimates" if part == "influences" else part for part in parts}
    return replace(result, **{name: value for name, value in changes.items() if name in left_out})
