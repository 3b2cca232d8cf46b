"""The published JSON Schema of a result file, made from the dataclasses that are written into it."""

from typing import Any

from sae_lens_metrics.results.dataclass_schema import object_schema
from sae_lens_metrics.results.json_form import FORMAT, FORMAT_VERSION
from sae_lens_metrics.results.report import Report

__all__ = ["schema"]


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of what this release writes with ``Report.save``.

    It describes just this version of the format: files of a newer minor version may hold more, and have a schema of their own. What
    ``Report.load`` reads is checked with it, but for fields that are missing and have a default, and for those that it does not know.
    """
    definitions: dict[str, Any] = {}
    whole = object_schema(Report, definitions)
    head = {
        "format": {"const": FORMAT, "description": "What kind of file this is."},
        "format_version": {"const": FORMAT_VERSION, "description": "Version of the format, major.minor."},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Result file of {FORMAT}, format {FORMAT_VERSION}",
        **whole,
        "properties": {**head, **whole["properties"]},
        "required": [*head, *whole["required"]],
        "$defs": dict(sorted(definitions.items())),
    }
