"""Whether JSON types are as a JSON Schema says, fast enough for files of gigabytes, and where they are not.

Values are looked at column by column: all values that stand at one place of the schema at once, by functions that are written in C.
Libraries do not do: fastjsonschema takes three times as long (jsonschema a hundred), lets NaN through, and has no limit of depth; of a
value that may be null or an object it says that it fits neither, not where and why.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain
from operator import itemgetter
from typing import Any

from sae_lens_metrics.results.dataclass_schema import LARGEST, object_schema
from sae_lens_metrics.results.in_words import shown

__all__ = ["DEEPEST", "Fault", "Shape", "inside", "shape_of", "shape_of_schema"]

DEEPEST = 50
"""So many objects and lists may be in one another where the schema does not say what there is."""
_AT_ONCE = 10_000
"""Lists whose entries are looked at together: enough to be fast, and few beside the file."""
_LONGEST = 60
"""Characters of a name that is shown as it is."""
_KINDS: dict[str, tuple[type, str]] = {
    "string": (str, "text"),
    "integer": (int, "a whole number"),
    "number": (float, "a number"),
    "boolean": (bool, "true or false"),
    "null": (type(None), "null"),
    "array": (list, "a list"),
    "object": (dict, "an object"),
}
"""Types of JSON Schema, as Python types and in words."""


@dataclass(frozen=True)
class Fault:
    """Where a value is not as the schema says."""

    path: str
    """The place, as ``metrics.n2g.examples[3].latent``; empty for the whole."""
    found: str
    """What is there, in words."""
    expected: str
    """What should be there, in words."""

    def __str__(self) -> str:
        return f"{self.path or 'the whole'} is {self.found}, expected {self.expected}"


class Shape(ABC):
    """What a schema says of the values at one place."""

    @abstractmethod
    def all_fit(self, values: list[Any]) -> bool:
        """Whether all of these values are as the schema says.

        Args:
            values: JSON types; tuples count as lists.
        """

    @abstractmethod
    def fault(self, value: Any, path: str) -> Fault:
        """Where a value that does not fit first differs.

        Args:
            value: The value.
            path: Its place.
        """

    def fits(self, value: Any) -> bool:
        """Whether a value is as the schema says.

        Args:
            value: JSON types; tuples count as lists.
        """
        return self.all_fit([value])


@cache
def shape_of(cls: type) -> Shape:
    """What the published schema says of a dataclass: fields that have a default may be missing, those that it does not know may be there.

    Args:
        cls: The dataclass.
    """
    definitions: dict[str, Any] = {}
    whole = object_schema(cls, definitions)
    named: dict[str, Shape] = {}
    named.update({name: _shape(each, named) for name, each in definitions.items()})
    return _shape(whole, named)


def shape_of_schema(schema: Mapping[str, Any]) -> Shape:
    """What a schema says that holds no definitions.

    Args:
        schema: A JSON Schema of the keywords that ``object_schema`` makes.
    """
    return _shape(schema, {})


def _shape(schema: Mapping[str, Any], named: Mapping[str, Shape]) -> Shape:
    if "$ref" in schema:
        return _Named(schema["$ref"].rsplit("/", 1)[1], named)
    if "anyOf" in schema:
        return _Either([_shape(each, named) for each in schema["anyOf"]])
    if "enum" in schema:
        return _OneOf(schema["enum"])
    if schema.get("type") == "array":
        return _List(_shape(schema["items"], named))
    if schema.get("type") == "object":
        return _object(schema, named)
    return _Scalar(schema) if "type" in schema else _Anything()


def _object(schema: Mapping[str, Any], named: Mapping[str, Shape]) -> Shape:
    properties = schema.get("properties", {})
    others = schema.get("additionalProperties")
    return _Object(
        {name: _shape(each, named) for name, each in properties.items()},
        {name for name in schema.get("required", []) if "default" not in properties[name]},
        None if others is False or others is None else _shape(others, named),
    )


class _Named(Shape):
    """A definition, which is known when all are."""

    def __init__(self, name: str, named: Mapping[str, Shape]) -> None:
        self._name, self._named = name, named

    def all_fit(self, values: list[Any]) -> bool:
        return self._named[self._name].all_fit(values)

    def fault(self, value: Any, path: str) -> Fault:
        return self._named[self._name].fault(value, path)


class _Scalar(Shape):
    """Text, a number in a range, true, false or null."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        self._kinds = {_KINDS[name][0] for name in types} | ({int} if "number" in types else set())
        self._low, self._high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
        self._words = " or ".join(self._in_words(name) for name in types)

    def all_fit(self, values: list[Any]) -> bool:
        kinds = _kinds(values)
        return kinds <= self._kinds and _in_range(values, kinds, self._low, self._high)

    def fault(self, value: Any, path: str) -> Fault:
        return Fault(path, shown(value), self._words)

    def _in_words(self, name: str) -> str:
        if name not in ("integer", "number"):
            return _KINDS[name][1]
        return f"{_KINDS[name][1]} from {self._low} to {self._high}"


class _OneOf(Shape):
    """One of some values."""

    def __init__(self, options: list[Any]) -> None:
        self._options = options

    def all_fit(self, values: list[Any]) -> bool:
        return all(value in self._options for value in values)

    def fault(self, value: Any, path: str) -> Fault:
        return Fault(path, shown(value), " or ".join(map(shown, self._options)))


class _List(Shape):
    """A list whose entries are all alike."""

    def __init__(self, entry: Shape) -> None:
        self._entry = entry

    def all_fit(self, values: list[Any]) -> bool:
        return _kinds(values) <= {list} and all(
            self._entry.all_fit(list(chain.from_iterable(values[start : start + _AT_ONCE]))) for start in range(0, len(values), _AT_ONCE)
        )

    def fault(self, value: Any, path: str) -> Fault:
        if _kinds([value]) != {list}:
            return Fault(path, shown(value), "a list")
        place = next(i for i, each in enumerate(value) if not self._entry.fits(each))
        return self._entry.fault(value[place], f"{path}[{place}]")


class _Object(Shape):
    """An object: fields that are known, and others that are all alike."""

    def __init__(self, properties: Mapping[str, Shape], required: Iterable[str], others: Shape | None) -> None:
        self._properties, self._required, self._others = properties, set(required), others

    def all_fit(self, values: list[Any]) -> bool:
        return _kinds(values) <= {dict} and all(
            self._some_fit(values[start : start + _AT_ONCE]) for start in range(0, len(values), _AT_ONCE)
        )

    def _some_fit(self, values: list[Any]) -> bool:
        try:
            columns = {name: self._column(name, values) for name in self._properties}
        except KeyError:
            return False
        return all(shape.all_fit(columns[name]) for name, shape in self._properties.items()) and self._rest_fits(values)

    def _column(self, name: str, values: list[Any]) -> list[Any]:
        if name in self._required:
            return list(map(itemgetter(name), values))
        return [each[name] for each in values if name in each]

    def _rest_fits(self, values: list[Any]) -> bool:
        if self._others is None:
            return True
        if not self._properties:
            return self._others.all_fit(list(chain.from_iterable(map(dict.values, values))))
        return self._others.all_fit([other for each in values for name, other in each.items() if name not in self._properties])

    def fault(self, value: Any, path: str) -> Fault:
        if _kinds([value]) != {dict}:
            return Fault(path, shown(value), "an object")
        for name in sorted(self._required - value.keys()):
            return Fault(inside(path, name), "missing", "a value")
        shapes = {name: self._properties.get(name, self._others) for name in value}
        name, shape = next((name, shape) for name, shape in shapes.items() if shape is not None and not shape.fits(value[name]))
        return shape.fault(value[name], inside(path, name))


class _Either(Shape):
    """A value that fits one of several."""

    def __init__(self, options: list[Shape]) -> None:
        self._options = options

    def all_fit(self, values: list[Any]) -> bool:
        return all(any(option.fits(value) for option in self._options) for value in values)

    def fault(self, value: Any, path: str) -> Fault:
        faults = [option.fault(value, path) for option in self._options]
        deepest = max(faults, key=lambda fault: len(fault.path))
        return deepest if deepest.path != path else Fault(path, shown(value), " or ".join(fault.expected for fault in faults))


class _Anything(Shape):
    """Any JSON, whose numbers are in range, and which is not too deep."""

    def all_fit(self, values: list[Any]) -> bool:
        for _ in range(DEEPEST):
            kinds = _kinds(values)
            if not kinds <= _ANY or not _in_range(values, kinds, -LARGEST, LARGEST):
                return False
            if kinds.isdisjoint((dict, list)):
                return True
            lists = [each for each in values if isinstance(each, list | tuple)]
            values = list(chain(*lists, *(each.values() for each in values if isinstance(each, dict))))
        return False

    def fault(self, value: Any, path: str) -> Fault:
        for _ in range(DEEPEST):
            children = _children(value)
            wrong = next((place for place, each in children.items() if not self.fits(each)), None)
            if wrong is None:
                break
            path, value = inside(path, wrong), children[wrong]
        return Fault(path, shown(value), f"JSON with numbers from {-LARGEST:g} to {LARGEST:g}, at most {DEEPEST} objects deep")


_ANY = {str, int, float, bool, type(None), list, dict}
_NUMBER = (int, float)
_NUMBERS = set(_NUMBER)


def _children(value: Any) -> Mapping[Any, Any]:
    if isinstance(value, dict):
        return value
    return dict(enumerate(value)) if isinstance(value, list | tuple) else {}


def _kinds(values: Iterable[Any]) -> set[type]:
    """The types of values; those that JSON writes like one of its own types count as that."""
    kinds = set(map(type, values))
    return kinds if kinds <= _ANY else set(map(_like, kinds))


def _like(kind: type) -> type:
    bases: tuple[type, ...] = (bool, int, float, str, list, dict)
    return list if issubclass(kind, tuple) else next((base for base in bases if issubclass(kind, base)), kind)


def _in_range(values: list[Any], kinds: set[type], low: float, high: float) -> bool:
    """Whether all numbers among values, which are of some kinds, are from one to another; NaN is not."""
    if kinds.isdisjoint(_NUMBERS):
        return True
    numbers = values if kinds <= _NUMBERS else [value for value in values if isinstance(value, _NUMBER)]
    try:
        if math.isfinite(sum(numbers)) and low <= min(numbers) and max(numbers) <= high:
            return True
    except OverflowError:  # whole numbers beyond all range
        pass
    return all(map(partial(_is_between, low, high), numbers))


def _is_between(low: float, high: float, number: float) -> bool:
    return low <= number <= high


def inside(path: str, name: Any) -> str:
    """The place of something in an object or a list, as errors show it.

    Args:
        path: The place of the object or list; empty for the whole.
        name: The name or number of what is in it.
    """
    if isinstance(name, int):
        return f"{path}[{name}]"
    name = str(name)
    word = name if name.replace("_", "").isalnum() and len(name) < _LONGEST else f"[{shown(name)}]"
    return f"{path}.{word}" if path and not word.startswith("[") else f"{path}{word}"
