"""What is known of the provenance of a result: the parts of it that comparisons, tables and pages read."""

from typing import Any

from sae_lens_metrics.results.dataclass_schema import LARGEST, LARGEST_WHOLE

__all__ = ["PROVENANCE"]

_TEXT = {"type": ["string", "null"]}
_COUNT = {"type": ["integer", "null"], "minimum": 0, "maximum": LARGEST_WHOLE}
_WHOLE = {"type": "integer", "minimum": 0, "maximum": LARGEST_WHOLE}
_OBJECT = {"type": "object", "additionalProperties": {}}


def _section(description: str, required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"description": description, **_OBJECT, "properties": properties, "required": list(required)}


PROVENANCE = {
    "created": {"type": "string", "description": "When it was made, as ISO 8601 writes it."},
    "seconds": {"type": "number", "minimum": 0, "maximum": LARGEST, "description": "Wall-clock time of the evaluation."},
    "config": _section("The configuration: what all metrics have in common, and the settings of each under its name."),
    "metric_versions": _section("Versions of the metrics, by name."),
    "units": {
        "description": "How many sampling units that are none of text were asked for, by metric and by what a unit is.",
        "type": "object",
        "additionalProperties": {"type": "object", "additionalProperties": _WHOLE},
    },
    "sae": _section(
        "The SAE.",
        architecture=_TEXT,
        d_sae=_COUNT,
        hook_name=_TEXT,
        model_name=_TEXT,
        neuronpedia_id=_TEXT,
        weights_sha256=_TEXT,
    ),
    "corpus": _section("The text.", tokens=_COUNT, context_size=_COUNT, documents=_COUNT, tokens_sha256=_TEXT),
    "processes": {"type": "integer", "minimum": 1, "maximum": LARGEST_WHOLE, "description": "How many processes computed it together."},
    "versions": {
        "description": "Versions of packages.",
        "type": "object",
        "additionalProperties": _TEXT,
    },
    "training": _section(
        "Of a checkpoint: the moment of its training.",
        ("run", "sae", "step", "n_training_samples", "final"),
        run=_TEXT,
        sae=_TEXT,
        step=_WHOLE,
        n_training_samples=_WHOLE,
        final={"type": "boolean"},
    ),
}
"""Schemas of the sections of a provenance; any may be missing, and there may be others."""
