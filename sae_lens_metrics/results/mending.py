"""What no result file can hold, left out with a note: what took hours must not be lost because of one number."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from sae_lens_metrics.results.control import ControlVerdict
from sae_lens_metrics.results.dataclass_schema import LARGEST
from sae_lens_metrics.results.estimate import Estimate
from sae_lens_metrics.results.explanation import LatentExplanation, MatchingRules
from sae_lens_metrics.results.json_form import result_to_dict
from sae_lens_metrics.results.latent_effects import LatentEffects
from sae_lens_metrics.results.metric_result import FiringExample, Histogram, MetricResult
from sae_lens_metrics.results.provenance_schema import PROVENANCE
from sae_lens_metrics.results.repeated import Repeated
from sae_lens_metrics.results.shapes import DEEPEST, Shape, shape_of, shape_of_schema

__all__ = ["mended"]

_SCALARS = (str, int, float, bool, type(None))
_ANYTHING = shape_of_schema({})
_SECONDS = shape_of_schema({"type": "number", "minimum": 0, "maximum": LARGEST})


def mended(data: Mapping[str, Any]) -> dict[str, Any]:
    """A report without what no result file can hold, such as numbers that are not finite.

    A number is absent with the reason, the cell of a table is empty, a histogram, an example or an explanation is left out, and so is a
    metric whose result is of no known form; a note, a warning or an error of the report says so.

    Args:
        data: A report as JSON types, but for what has to be left out.
    """
    metrics, failed = _results(data["metrics"])
    sanity, without = _results({"sanity": data["sanity"]})
    provenance, warnings = _provenance(data["provenance"])
    return {
        **data,
        "sanity": sanity.get("sanity", _empty(without.values())),
        "metrics": metrics,
        "errors": {**_texts_by_name(data["errors"]), **failed},
        "warnings": [*map(str, data["warnings"]), *warnings],
        "provenance": provenance,
        "controls": {str(name): _control(each) for name, each in data["controls"].items()},
    }


def _results(results: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The results that can be written, and why others cannot."""
    shape, made, failed = shape_of(MetricResult), {}, {}
    for name, result in results.items():
        try:
            written = result if shape.fits(result) else _result(result)
        except (TypeError, AttributeError, ValueError, KeyError):  # not even of the form of a result
            written = result
        if shape.fits(written):
            made[str(name)] = written
        else:
            failed[str(name)] = f"its result cannot be written: {shape.fault(written, '')}"
    return made, failed


def _empty(notes: Iterable[str]) -> dict[str, Any]:
    return result_to_dict(MetricResult({}, notes=list(notes)))


def _result(result: Mapping[str, Any]) -> dict[str, Any]:
    notes: list[str] = []
    explanations = result["explanations"]
    if explanations is not None:
        latents = _kept(explanations["latents"], shape_of(LatentExplanation), "explanations", notes)
        explanations = {**explanations, "latents": latents} if shape_of(MatchingRules).fits(explanations["rules"]) else None
    return {
        **result,
        "estimates": {str(name): _estimate(each) for name, each in result["estimates"].items()},
        "tables": {str(name): [_row(row, name, notes) for row in rows] for name, rows in result["tables"].items()},
        "histograms": {name: each for name, each in result["histograms"].items() if _has_form(each, Histogram, f"histogram {name}", notes)},
        "examples": _kept(result["examples"], shape_of(FiringExample), "examples", notes),
        "effects": _kept(result["effects"], shape_of(LatentEffects), "effects", notes),
        "explanations": explanations,
        "seconds": result["seconds"] if _SECONDS.fits(result["seconds"]) else 0.0,
        "notes": [*map(str, result["notes"]), *dict.fromkeys(notes)],
    }


def _estimate(estimate: dict[str, Any]) -> dict[str, Any]:
    shape = shape_of(Estimate)
    estimate = {name: _plain(value) for name, value in estimate.items()}
    repeated = estimate["repeated"]
    if repeated is not None:
        repeated = {name: _plain(value) for name, value in repeated.items()}
        estimate["repeated"] = repeated if shape_of(Repeated).fits(repeated) else None
    if shape.fits(estimate):
        return estimate
    return vars(Estimate.absent(f"no result file can hold it: {shape.fault(estimate, '')}", of=str(estimate["of"])))


def _row(row: Mapping[str, Any], table: str, notes: list[str]) -> dict[str, Any]:
    return {str(name): _cell(value, partial(notes.append, _lost(f"{name} of the table {table}"))) for name, value in row.items()}


def _cell(value: Any, lost: Callable[[], None]) -> Any:
    value = _plain(value)
    if isinstance(value, _SCALARS) and _ANYTHING.fits(value):
        return value
    lost()
    return None


def _plain(value: Any) -> Any:
    """A number of another library as one of Python."""
    try:
        return value.item()
    except (AttributeError, TypeError, ValueError, RuntimeError):  # a tensor of several numbers raises the last two
        return value


def _lost(what: str) -> str:
    return f"{what}: some of it is no number in range, or nothing that a result file can hold, and is left out"


def _kept(values: Iterable[Any], shape: Shape, what: str, notes: list[str]) -> list[Any]:
    """Those of a list that can be written."""
    values = list(values)
    if shape.all_fit(values):
        return values
    notes.append(_lost(what))
    return [each for each in values if shape.fits(each)]


def _has_form(value: Any, cls: type, what: str, notes: list[str]) -> bool:
    return bool(_kept([value], shape_of(cls), what, notes))


def _control(control: Mapping[str, Any]) -> dict[str, Any]:
    results, failed = _results(control["results"])
    return {
        **control,
        "results": {"sanity": _empty(failed.values()), **results},
        "errors": {**_texts_by_name(control["errors"]), **failed},
        "verdicts": {name: each for name, each in control["verdicts"].items() if name in results and shape_of(ControlVerdict).fits(each)},
        "sae": _json(control["sae"], "sae", []),
        "seconds": control["seconds"] if _SECONDS.fits(control["seconds"]) else 0.0,
    }


def _provenance(provenance: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The sections that can be written, and warnings about what cannot."""
    warnings: list[str] = []
    made = dict(_json(provenance, "provenance", warnings))
    for name, schema in PROVENANCE.items():
        shape = shape_of_schema(schema)
        if name in made and not shape.fits(made[name]):
            warnings.append(f"{shape.fault(made.pop(name), f'provenance.{name}')}: it is left out of the result file")
    return made, warnings


def _json(value: Any, path: str, warnings: list[str], depth: int = 0) -> Any:
    """JSON types, with null for what is none."""
    if _ANYTHING.fits(value):
        return value
    if isinstance(value, dict) and depth < DEEPEST:
        return {str(name): _json(each, f"{path}.{name}", warnings, depth + 1) for name, each in value.items()}
    if isinstance(value, list | tuple) and depth < DEEPEST:
        return [_json(each, f"{path}[{place}]", warnings, depth + 1) for place, each in enumerate(value)]
    warnings.append(f"{_ANYTHING.fault(value, path)}: null stands in the result file")
    return None


def _texts_by_name(texts: Mapping[Any, Any]) -> dict[str, str]:
    return {str(name): str(text) for name, text in texts.items()}
