"""Holds every result file that a test writes to the published schema."""

import json
from collections.abc import Iterator
from functools import cache, wraps
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from sae_lens_metrics.results import Report
from sae_lens_metrics.results.schema import schema

_SOME = 20
"""So much of a long list is looked at: its entries are made by the same code."""
_LARGE = 30_000_000


@cache
def validator() -> Draft202012Validator:
    return Draft202012Validator(schema())


def check_result(path: Path) -> None:
    """Fails where a file is not as the schema says."""
    if path.stat().st_size < _LARGE:
        validator().validate(_beginnings(json.loads(path.read_text(encoding="utf-8"))))


def results_are_valid() -> Iterator[None]:
    """While it lasts, ``Report.save`` checks what it wrote."""
    save = Report.save

    @wraps(save)
    def checked(self: Report, path: str | Path) -> Path:
        written = save(self, path)
        check_result(written)
        return written

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Report, "save", checked)
        yield


def _beginnings(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _beginnings(each) for name, each in value.items()}
    return [_beginnings(each) for each in value[:_SOME]] if isinstance(value, list) else value
