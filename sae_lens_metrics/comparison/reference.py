"""Published numbers, each with a band that was fixed before anything was run, and the settings to compute them anew with."""

import dataclasses
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from sae_lens_metrics.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

__all__ = ["Figure", "Reference", "ReferenceSAE", "Unchecked", "load_reference", "reference_names"]

T = TypeVar("T")

_FOLDER = "sae_lens_metrics.comparison.references"


@dataclass(frozen=True)
class ReferenceSAE:
    """A public SAE that numbers were published of."""

    name: str
    """What figures call it."""
    release: str
    """As in SAELens's directory, a repository on the hub, or a folder."""
    id: str | None = None
    """Which SAE of the release; ``None`` for a folder."""

    @property
    def target(self) -> str:
        """What its results are called."""
        return self.release if self.id is None else f"{self.release}/{self.id}"


@dataclass(frozen=True)
class Figure:
    """A published number, and how far from it one computed anew may lie."""

    sae: str
    """The SAE's name."""
    number: str
    """The number's full name here, ``metric/number``."""
    expected: float
    """What was published."""
    read: float
    """By how much it may have been read wrongly: half of the last digit, or of what a figure shows."""
    spread: float
    """Standard deviation of the publisher's own: neighbouring cells, other texts, other seeds."""
    noise: float
    """Standard deviation of this package's number over seeds and texts, with these settings."""
    where: str
    """Where it was published."""
    why_spread: str = ""
    """What the spread is taken from."""

    @property
    def half_width(self) -> float:
        """Of the band: what may be read wrongly, and twice the two standard deviations together."""
        return self.read + 2 * math.hypot(self.spread, self.noise)

    @property
    def band(self) -> tuple[float, float]:
        """Lowest and highest value that agrees with what was published."""
        return self.expected - self.half_width, self.expected + self.half_width


@dataclass(frozen=True)
class Unchecked:
    """Something published that cannot be computed anew."""

    what: str
    why: str


@dataclass(frozen=True)
class Settings:
    """How the numbers are computed; ``None`` where the SAE's own metadata, or the preset, say."""

    preset: str = "paper"
    model: str | None = None
    dataset: str | None = None
    split: str = "train"
    tokens: int | None = None
    context_size: int | None = None
    prepend_bos: bool | None = None
    seed: int = 0
    metrics: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    """Settings of metrics that are not the preset's, by metric."""


@dataclass(frozen=True)
class Reference:
    """Published numbers of some SAEs."""

    title: str
    source: str
    set_on: str
    """The day on which the bands were fixed."""
    confirmed: bool
    """Whether it has been run on the SAEs themselves, with the bands as they are."""
    saes: tuple[ReferenceSAE, ...]
    figures: tuple[Figure, ...]
    settings: Settings = Settings()
    unchecked: tuple[Unchecked, ...] = ()
    notes: tuple[str, ...] = ()

    def metrics(self, sae: ReferenceSAE) -> tuple[str, ...]:
        """The metrics that figures of an SAE are of, but for the sanity line, which is always there."""
        names = dict.fromkeys(figure.number.split("/")[0] for figure in self.figures if figure.sae == sae.name)
        return tuple(name for name in names if name != "sanity")


def reference_names() -> list[str]:
    """The references that come with the package."""
    return sorted(each.name.removesuffix(".toml") for each in files(_FOLDER).iterdir() if each.name.endswith(".toml"))


def load_reference(name: str) -> Reference:
    """Reads a reference.

    Args:
        name: One of ``reference_names``, or a TOML file of the same form.

    Raises:
        ConfigError: If there is none, or the file is not of that form; it says what is wrong.
        OSError: If the file cannot be read.
    """
    if name in reference_names():
        text = (files(_FOLDER) / f"{name}.toml").read_text(encoding="utf-8")
    elif name.endswith(".toml"):
        text = Path(name).read_text(encoding="utf-8", errors="replace")
    else:
        raise ConfigError(f"there is no reference {name!r}: expected {' or '.join(reference_names())}, or a file that ends in .toml")
    try:
        return _reference(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, ConfigError) as error:
        raise ConfigError(f"the reference {name!r} cannot be used: {error}") from error


def _reference(data: Mapping[str, Any]) -> Reference:
    lists = {"saes": ReferenceSAE, "figures": Figure, "unchecked": Unchecked}
    parsed = {key: tuple(_made(kind, each, key) for each in data.get(key, ())) for key, kind in lists.items()}
    own = {key: value for key, value in data.items() if key not in lists} | parsed
    own["settings"], own["notes"] = _made(Settings, data.get("settings", {}), "settings"), tuple(data.get("notes", ()))
    found = _made(Reference, own, "the file")
    names = [sae.name for sae in found.saes]
    for figure in found.figures:
        if figure.sae not in names:
            raise ConfigError(f"a figure is of {figure.sae!r}, expected one of {', '.join(map(repr, names)) or 'some [[saes]]'}")
        if "/" not in figure.number:
            raise ConfigError(f"a figure is of the number {figure.number!r}, expected METRIC/NUMBER")
        if not (figure.half_width > 0 and math.isfinite(figure.expected)):
            raise ConfigError(f"{figure.number} of {figure.sae!r} has no band: give read, spread and noise, not all of them 0")
    if len(set(names)) < len(names) or not found.figures:
        raise ConfigError("expected [[saes]] of different names, and [[figures]]")
    return found


def _made(kind: type[T], data: Any, where: str) -> T:
    """A dataclass from a table, whose entries have the fields' types."""
    if not isinstance(data, Mapping):
        raise ConfigError(f"{where} holds {data!r}, expected a table")
    fields = {field.name: field for field in dataclasses.fields(kind)}  # pyright: ignore[reportArgumentType]
    unknown = [key for key in data if key not in fields]
    if unknown:
        raise ConfigError(f"{where} has {unknown[0]!r}, expected some of {', '.join(fields)}")
    missing = [
        name
        for name, field in fields.items()
        if name not in data and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{where} lacks {missing[0]!r}")
    for name, value in data.items():
        if fields[name].type is float and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ConfigError(f"{where} has {value!r} for {name!r}, expected a number")
        if fields[name].type is str and not isinstance(value, str):
            raise ConfigError(f"{where} has {value!r} for {name!r}, expected text")
    return kind(**data)
