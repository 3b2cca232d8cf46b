"""What to evaluate and how: what all metrics have in common, the settings of each, and presets. Needs no torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, make_dataclass, replace
from math import isfinite
from typing import Any, Literal

from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.metrics.controls import CONTROLS
from sae_lens_metrics.metrics.registry import SANITY, built_in_metrics, metric_names, metric_spec, readable_specs

__all__ = ["CommonConfig", "MetricsConfig", "Preset", "options_dataclass"]

Preset = Literal["train", "default", "paper"]

_TOKENS = {"train": 8_192, "default": 65_536, "paper": 1_048_576}


@dataclass
class CommonConfig:
    """What all metrics have in common."""

    names: list[str] = field(default_factory=lambda: list(built_in_metrics()), metadata={"cmd": False})
    """Metrics to compute; on the command line this is ``--metrics NAME,NAME``."""
    controls: list[str] = field(default_factory=list, metadata={"cmd": False})
    """Controls to evaluate besides, but not in training: SAEs that are bad on purpose, "permuted_decoder", "frozen_decoder", "random".
    On the command line this is ``--controls``."""
    tokens: int = _TOKENS["default"]
    """Tokens of evaluation text. Probes have texts of their own: for a quick look take the preset "train"."""
    seed: int = 0
    """Seed of the evaluation tokens and of every metric's random numbers."""
    batch_size: int | None = None
    """Sequences that the model runs at once at most, by default as many as suit the device. It changes no number."""
    dataset: str | None = None
    """Data set of the evaluation text: a hub name, a folder written by `datasets`, or a .txt, .jsonl or .parquet file.
    In training the default is the rows of the training set that training will not reach."""
    split: str = "train"
    """Split of `dataset`."""
    memory_gb: float = 2.0
    """Memory in GiB for what a metric holds at once, beyond the model, the SAE and the text. Less takes longer, and moves no number.
    In training a quarter of it is taken besides, for runs of the model up to the hook, which all evaluations have in common."""
    max_overhead: float = 0.05
    """In training: the share of wall-clock time that metrics may take, the last evaluation not counted."""
    evaluate_at_start: bool = False
    """In training: evaluate before the first step, too: where every curve begins."""
    checkpoints: bool = False
    """In training: evaluate at each checkpoint that SAELens writes, too, whatever time it takes."""
    all_numbers: bool = False
    """In training: log every number to W&B, not only those that are marked to be followed."""


@dataclass(init=False, eq=False, repr=False)
class MetricsConfig(CommonConfig):
    """Everything that a result depends on besides the SAE, the model and the text.

    The settings of a metric are its dataclass, by the metric's name: ``MetricsConfig(tokens=8_192, probe=ProbeConfig(examples=200))``,
    read as ``config.probe.examples``. Settings that are not given have their defaults.

    Args:
        settings: Settings by metric, as another way to give them.
        **given: Fields of ``CommonConfig``, and settings by the metrics' names, as their dataclasses or as plain dictionaries.

    Raises:
        ConfigError: If a name is unknown or a value is out of range.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    """Settings by metric: of all of this package's, and of the others that are asked for."""

    def __init__(self, *, settings: Mapping[str, Any] | None = None, **given: Any) -> None:
        common = {each.name for each in fields(CommonConfig)}
        super().__init__(**{name: value for name, value in given.items() if name in common})
        by_metric = {**(settings or {}), **{name: value for name, value in given.items() if name not in common}}
        known = metric_names()
        unknown = sorted(set(by_metric) - set(known))
        if unknown:
            raise ConfigError(f"unknown settings {unknown} of MetricsConfig, expected some of {sorted([*common, *known])}")
        self._check()
        wanted = [*built_in_metrics(), *(name for name in [*self.names, *by_metric] if name in known)]
        self.settings = {name: made for name in dict.fromkeys(wanted) if (made := _settings(name, by_metric.get(name))) is not None}
        for name, settings in self.settings.items():
            _require_numbers(settings, f"{name}.")

    def __getattr__(self, name: str) -> Any:
        settings = self.__dict__.get("settings", {})
        if name not in settings:
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")
        return settings[name]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MetricsConfig) and self.to_dict() == other.to_dict()

    def __repr__(self) -> str:
        values = {**{each.name: getattr(self, each.name) for each in fields(CommonConfig)}, **self.settings}
        return f"MetricsConfig({', '.join(f'{name}={value!r}' for name, value in values.items())})"

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def preset(cls, name: Preset) -> "MetricsConfig":
        """A named configuration.

        Args:
            name: ``"train"`` is cheap enough to repeat during training, ``"default"`` takes minutes, ``"paper"`` has the
                sizes at which standard errors are well below the differences that the paper reports.

        Raises:
            ConfigError: If there is no such preset.
        """
        if name not in _TOKENS:
            raise ConfigError(f"there is no preset {name!r}: expected 'train', 'default' or 'paper'")
        specs = [metric_spec(metric) for metric in built_in_metrics()]
        settings = {spec.name: spec.settings(**spec.presets.get(name, {})) for spec in specs if spec.settings is not None}
        return cls(names=[spec.name for spec in specs if name not in spec.left_out_of], tokens=_TOKENS[name], settings=settings)

    def for_control(self, control: str) -> "MetricsConfig":
        """The same for a control: those metrics to whose headline it must do something.

        Args:
            control: Name of the control.
        """
        return replace(self, names=[name for name in self.names if control in metric_spec(name).controls], controls=[])

    def options(self) -> Any:
        """The same as an instance of ``options_dataclass``, for a parser's defaults."""
        common = {each.name: getattr(self, each.name) for each in fields(CommonConfig)}
        return options_dataclass()(**common, **self.settings)

    def require_known(self) -> None:
        """Finds a misspelt name before a download or a training run does.

        Raises:
            ConfigError: If there is no such metric, or nothing that its settings name, such as a probe task.
        """
        for spec in map(metric_spec, self.names):
            if spec.count_units is not None:
                spec.count_units(self.settings[spec.name])

    def moving_numbers(self) -> dict[str, Any]:
        """What the numbers depend on, as JSON types.

        That is the seed, the controls and, of the metrics that are asked for and those that they need, the version and the settings that
        move numbers; neither memory, folders and batch sizes nor other metrics' settings.
        """
        specs = [metric_spec(name) for name in (SANITY, *self.names)]
        needed = dict.fromkeys(name for spec in specs for name in (spec.name, *spec.needs))
        moved = {name: {"version": metric_spec(name).version, **self._moving(name)} for name in needed}
        controls = {"controls": sorted(self.controls)} if self.controls else {}
        return {"names": sorted(self.names), "seed": self.seed, **controls, **moved}

    def _moving(self, name: str) -> dict[str, Any]:
        settings = self.settings.get(name)
        effects = metric_spec(name).effects()
        return {} if settings is None else {key: value for key, value in asdict(settings).items() if effects[key] != "nothing"}

    def to_dict(self) -> dict[str, Any]:
        """The configuration as JSON types: the common fields, and each metric's settings under its name."""
        common = {each.name: getattr(self, each.name) for each in fields(CommonConfig)}
        return {**common, **{name: asdict(settings) for name, settings in self.settings.items()}}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "MetricsConfig":
        """The inverse of ``to_dict``.

        Raises:
            ConfigError: If a key is unknown.
        """
        return cls(**data)

    def _check(self) -> None:
        _require_numbers(self)
        for name in ("tokens", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}, expected at least 1")
        if not 0 < self.max_overhead <= 1:
            raise ConfigError(f"max_overhead is {self.max_overhead}, expected a share of time above 0 and up to 1")
        if not 0 <= self.seed < 2**31:
            raise ConfigError(f"seed is {self.seed}, expected 0 to {2**31 - 1}")
        if not self.memory_gb > 0:
            raise ConfigError(f"memory_gb is {self.memory_gb}, expected more than 0")
        self._check_names()

    def _check_names(self) -> None:
        for what, names in (("metric", self.names), ("control", self.controls)):
            if len(set(names)) != len(names):
                raise ConfigError(f"a {what} is named twice in {names}")
        unknown = [name for name in self.controls if name not in CONTROLS]
        if unknown:
            raise ConfigError(f"there is no control {unknown[0]!r}: expected some of {', '.join(CONTROLS)}")


def options_dataclass() -> type:
    """A dataclass with the common fields and, under its name, the settings of each metric: what a parser of flags takes.

    Its instances hold the same values as a ``MetricsConfig``, which ``MetricsConfig(**vars(options))`` makes of one.
    """
    specs, _ = readable_specs()
    nested = [(spec.name, spec.settings, field(default_factory=spec.settings)) for spec in specs if spec.settings is not None]
    return make_dataclass("MetricsOptions", nested, bases=(CommonConfig,), namespace={"__doc__": "What to compute, and how."})


def _require_numbers(settings: Any, prefix: str = "") -> None:
    """Makes sure that numbers among settings are some that result files can hold."""
    for each in fields(settings):
        value = getattr(settings, each.name, None)
        for number in value if isinstance(value, list | tuple) else (value,):
            if isinstance(number, float) and not isfinite(number):
                raise ConfigError(f"{prefix}{each.name} is {number}, expected a finite number")
            if isinstance(number, int) and not -(2**63) <= number < 2**63:
                raise ConfigError(f"{prefix}{each.name} is too large, expected a number below 2**63")


def _settings(name: str, given: Any) -> Any:
    """A metric's settings: those given, made of a plain dictionary where SAELens's ``from_dict`` hands one over, or the defaults."""
    cls = metric_spec(name).settings
    if cls is None:
        return None
    if given is None:
        return cls()
    if not isinstance(given, Mapping):
        return given
    known = {each.name for each in fields(cls)}
    unknown = set(given) - known
    if unknown:
        raise ConfigError(f"unknown settings {sorted(unknown)} of {cls.__name__}, expected some of {sorted(known)}")
    return cls(**given)
