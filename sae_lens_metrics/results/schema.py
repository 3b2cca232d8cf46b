"""The published JSON Schema of a result file, made from the dataclasses that are written into it."""

import ast
import inspect
import textwrap
from dataclasses import fields, is_dataclass
from itertools import pairwise
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from sae_lens_metrics.results.json_form import FORMAT, FORMAT_VERSION
from sae_lens_metrics.results.report import Report

__all__ = ["schema"]

_SCALARS: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    NoneType: {"type": "null"},
    Any: {},
}


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of what this release writes with ``Report.save``.

    It describes just this version of the format: files of a newer minor version may hold more, and have a schema of their own.
    """
    definitions: dict[str, Any] = {}
    whole = _object(Report, definitions)
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


def _object(cls: type, definitions: dict[str, Any]) -> dict[str, Any]:
    """A dataclass, all of whose fields are written."""
    hints, documented = get_type_hints(cls), _documentation(cls)
    properties = {field.name: {**_typed(hints[field.name], definitions), "description": documented[field.name]} for field in fields(cls)}
    return {
        "description": _plain(cls.__doc__ or ""),
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _typed(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """A type hint."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in _SCALARS:
        return dict(_SCALARS[hint])
    if origin in (Union, UnionType):
        return _either([_typed(each, definitions) for each in arguments])
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is list:
        return {"type": "array", "items": _typed(arguments[0], definitions)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _typed(arguments[1], definitions)}
    if is_dataclass(hint) and isinstance(hint, type):
        if hint.__name__ not in definitions:
            definitions[hint.__name__] = {}  # a place, for those that hold themselves
            definitions[hint.__name__] = _object(hint, definitions)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    raise TypeError(f"{hint!r} has no form in a result file: give a field of it a type that JSON has")


def _either(options: list[dict[str, Any]]) -> dict[str, Any]:
    if all(option.keys() == {"type"} for option in options):
        return {"type": [option["type"] for option in options]}
    return {"anyOf": options}


def _documentation(cls: type) -> dict[str, str]:
    """The strings that stand below the fields of a dataclass."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(definition, ast.ClassDef)
    found: dict[str, str] = {}
    for statement, following in pairwise(definition.body):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
        ):
            found[statement.target.id] = _plain(str(following.value.value))
    return found


def _plain(text: str) -> str:
    """A docstring for readers of JSON, in one line."""
    return " ".join(text.replace("``None``", "null").split()).replace("``", "`")
