"""JSON Schemas of dataclasses: fields, their types, what their docstrings say, and the limits in their metadata."""

import ast
import inspect
import textwrap
from dataclasses import MISSING, Field, fields, is_dataclass
from itertools import pairwise
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

__all__ = ["LARGEST", "LARGEST_WHOLE", "at_least", "object_schema", "with_schema"]

LARGEST = 1e100
"""No number of a result is beyond it, up or down: what is made of two of them, as a square, is still a number."""
LARGEST_WHOLE = 2**53 - 1
"""No whole number of a result is beyond it: every reader of JSON keeps those up to here."""

_SCALARS: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer", "minimum": -LARGEST_WHOLE, "maximum": LARGEST_WHOLE},
    float: {"type": "number", "minimum": -LARGEST, "maximum": LARGEST},
    bool: {"type": "boolean"},
    NoneType: {"type": "null"},
    Any: {},
}
_KEY = "schema"


def with_schema(**more: Any) -> dict[str, Any]:
    """Metadata of a field: what its schema has besides what its type says.

    Args:
        more: Keywords of JSON Schema.
    """
    return {_KEY: more}


def at_least(minimum: float) -> dict[str, Any]:
    """Metadata of a field whose numbers have a lower end.

    Args:
        minimum: The smallest number that it may hold.
    """
    return with_schema(minimum=minimum)


def object_schema(cls: type, definitions: dict[str, Any]) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a dataclass, all of whose fields are written.

    A field that has a default, which is in the schema then, may be missing in files of earlier minor versions.

    Args:
        cls: The dataclass.
        definitions: Schemas of the dataclasses in it by their names; those that are missing are added.
    """
    hints, documented = get_type_hints(cls), _documentation(cls)
    properties = {
        field.name: {**_typed(hints[field.name], definitions), **_more(field), "description": documented[field.name]}
        for field in fields(cls)
    }
    return {
        "description": _plain(cls.__doc__ or ""),
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _more(field: Field[Any]) -> dict[str, Any]:
    """What a schema says of a field besides its type: the limits of its numbers, and its default."""
    more = dict(field.metadata.get(_KEY, {}))
    if field.default is not MISSING:
        more["default"] = field.default
    elif field.default_factory is not MISSING:
        more["default"] = field.default_factory()
    return more


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
            definitions[hint.__name__] = object_schema(hint, definitions)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    raise TypeError(f"{hint!r} has no form in a result file: give a field of it a type that JSON has")


def _either(options: list[dict[str, Any]]) -> dict[str, Any]:
    """One of several: of scalars as a list of types, whose limits are about numbers only."""
    if all(option.keys() <= {"type", "minimum", "maximum"} for option in options):
        limits = {"minimum": -LARGEST, "maximum": LARGEST} if any(option["type"] == "number" for option in options) else {}
        whole = next((option for option in options if option["type"] == "integer"), {})
        return {**(limits or whole), "type": [option["type"] for option in options]}
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
