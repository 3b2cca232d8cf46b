"""What a metric says about itself: its settings, its numbers, what it costs, and what to draw of it. Needs no torch to be read.

Every view, the comparison, the command line, the time estimates and the documentation are made from these; nothing else in the package
knows a metric or a number by name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.metrics.controls import CONTROLS
from sae_lens_metrics.metrics.figure_specs import FigureSpec
from sae_lens_metrics.metrics.memory_scale import MemoryScale
from sae_lens_metrics.results import Expectation

__all__ = [
    "Better",
    "Effect",
    "EffectsWords",
    "Given",
    "LatentColumn",
    "MetricSpec",
    "Number",
    "Scale",
    "Units",
    "moves_nothing",
    "moves_sample",
    "names_units",
]

Better = Literal["lower", "higher", "one"]
Effect = Literal["meaning", "sample", "units", "nothing"]
Given = Literal["model", "hook", "context", "bos", "text_size"]
"""What a number may depend on besides the SAE: the model, the hook, the length of a sequence, whether it begins with BOS, how much text
there is. Which text that is moves every number on text, and is told of beside a comparison."""


@dataclass(frozen=True)
class Number:
    """One number of a metric."""

    label: str
    """What it is called where its name would be too short to understand, with its unit."""
    unit: str = ""
    """Its unit: ``"nats"``, ``"share"``, ``"latents"``, ``"logits"``; empty for a ratio."""
    better: Better | None = None
    """Whether less or more of it is better, or to be near one; ``None`` where that cannot be said."""
    meaning: str = ""
    """What it is, in a few words; "…" stands for the number above it."""
    shown: bool = True
    """Whether tables and pages show it; all numbers are in the result file."""
    followed: bool = False
    """Whether it is followed during training: logged to W&B at each evaluation, and drawn over training."""
    overview: bool = False
    """Whether an overview of many SAEs shows it."""
    baseline_of: str | None = None
    """The number that it is there to judge; a baseline is not the SAE's own, and no difference of it is tested."""
    baseline: str = ""
    """What it is called beside the metric's headline, where it stands there to compare with."""
    of_the_sae: bool = False
    """Of a baseline: whether it differs between SAEs by its nature, as what luck finds among an SAE's own latents does."""
    difference_of: tuple[str, str] | None = None
    """The two numbers of which it is the paired difference, first minus second."""
    same_as: str | None = None
    """A number that says the same, so that this one is not tested again."""
    same_given: tuple[str, str] | None = None
    """A number that says the same where another one, a baseline, is the same in both results; and that other one."""

    qualifies: str | None = None
    """A number that it tells how far to trust; no difference of it is tested."""
    mirrors: str | None = None
    """Full name of another metric's number that says the same on the same text, being equal to it or to one minus it."""
    given: tuple[Given, ...] | None = None
    """What has to be alike for it to be compared; ``None`` for what the metric says of all its numbers."""
    depends_on_size: str = ""
    """Why it depends on the number of latents as such, in a clause; it is not tested between SAEs that differ in it. Empty where it does
    not."""
    instead: str = ""
    """The metric's number to look at instead, between such SAEs."""
    over: str = ""
    """What the units are that it is a mean over, where that is not obvious: ``"those whose explanation fires"``."""

    @property
    def is_share(self) -> bool:
        """Whether it is a part of a whole, between 0 and 1."""
        return self.unit == "share"


@dataclass(frozen=True)
class LatentColumn:
    """A column of a metric's table of latents, for the page's table that joins those of all metrics."""

    name: str
    """Its name in the result."""
    label: str
    """What the page calls it."""
    title: str = ""
    """What it is, in a few words."""
    log: bool = False
    """Whether it is to be read on a logarithmic scale."""
    percent: bool = False
    """Whether it is written in percent."""
    leading: bool = False
    """Whether the page's table is sorted by it at first, the largest first."""


@dataclass(frozen=True)
class EffectsWords:
    """What the page calls the tokens that a metric's ``effects`` name for each latent."""

    title: str
    """The heading."""
    meaning: str
    """What is measured, in a sentence or two; ``{name}`` stands for a setting of the result, and is left out where that has none."""
    column: str
    """What the table of latents calls the tokens that are raised most; empty where it does not show them."""


@dataclass(frozen=True)
class Units:
    """A table with a row for each sampling unit, or each part of one, by which two results show that they are over the same ones."""

    of: tuple[str, ...]
    """What a unit may be, as ``Estimate.of`` says it: what the rows are, which comes first, or groups of them."""
    table: str
    """Name of the table."""
    key: str
    """Column with the unit's name."""
    fingerprint: str
    """Column that changes with what the unit consists of."""
    called: str
    """What the rows are called in a sentence."""


@dataclass(frozen=True)
class Scale:
    """How much there is to do, for ``MetricSpec.cost``."""

    tokens: int
    """Tokens of the corpus."""
    context: int
    """Tokens of a sequence."""
    d_sae: int
    """Latents."""
    units: int = 0
    """What ``MetricSpec.count_units`` counts."""


@dataclass(frozen=True)
class MetricSpec:
    """One metric."""

    name: str
    """What its results' names begin with; an identifier."""
    title: str
    """What it is called."""
    summary: str = ""
    """What it asks, in a line of ``--help``."""
    meaning: str = ""
    """What it measures, in a sentence."""
    trust: str = ""
    """How far to trust it, in a sentence or two."""
    paper: str = ""
    """Section of Gao et al. 2024, if it is from there."""
    headline: str = ""
    """Name of its main number; by default the first."""
    leading: str = ""
    """Name of the number that stands for it during training, where evaluations are small; by default the headline."""
    numbers: Mapping[str, Number] = field(default_factory=dict)
    """Every number by name, in the order in which they are shown."""
    settings: type | None = None
    """A dataclass whose fields have defaults and docstrings: they become flags, and stand in the result file."""
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Settings that differ from their defaults, by preset."""
    left_out_of: tuple[str, ...] = ()
    """Presets that do not compute it."""
    needs: tuple[str, ...] = ()
    """Metrics whose settings its numbers depend on too, as it uses what they compute."""
    cost: Callable[[Any, Scale, Mapping[str, Any]], float] | None = None
    """Its work in passes of the model over the corpus, given its settings, the scale, and the settings of all metrics by name."""
    memory: Callable[[Any, MemoryScale, Mapping[str, Any]], float] | None = None
    """Bytes that it holds at most on the SAE's device, beside the model and the SAE, given its settings, the scale, and the settings of
    all metrics by name."""
    count_units: Callable[[Any], int] | None = None
    """How many units (``Scale.units``) its settings name, such as probe tasks; raises ``ConfigError`` if one is not there."""
    files: Callable[[Any], list[Path]] | None = None
    """Files and folders that its settings name, on whose content its numbers depend."""
    version: int = 1
    """Changes when its numbers change; results of different versions are not compared."""
    units: Units | None = None
    """Where its sampling units stand, if they are none of text."""
    given: tuple[Given, ...] = get_args(Given)
    """What has to be alike for its numbers to be compared, besides their versions and settings: what would move them if the SAE were the
    same. By default all that there is: a comparison that is left out is a smaller mistake than one that is wrong."""
    cut_by: str = ""
    """Full name of the setting that longer sequences are cut by, such as ``"overlap.context"``: its numbers know no longer context."""
    controls: Mapping[str, Expectation] = field(default_factory=dict)
    """What controls must do to its headline, by the control's name: be ``"unmoved"`` or ``"beaten"`` by the SAE, by more than noise. It
    is not computed on a control of which it says nothing."""
    figures: tuple[FigureSpec, ...] = ()
    """What to draw of it."""
    latents: tuple[LatentColumn, ...] = ()
    """Columns of its table ``latents`` that the page shows."""
    logit_effects: EffectsWords | None = None
    """What its ``effects`` are, if it names tokens whose logits latents change."""
    examples: bool = False
    """Whether it gives examples of text on which latents fire."""
    compute: str | Callable[..., Any] = ""
    """The function that computes it, ``context -> MetricResult``, or where it is, as ``"package.module:function"``."""

    def __post_init__(self) -> None:
        if self.headline and self.headline not in self.numbers:
            raise ConfigError(f"the headline of the metric {self.name!r} is {self.headline!r}, which is none of its numbers")
        for control in self.controls:
            if control not in CONTROLS:
                raise ConfigError(f"the metric {self.name!r} names a control {control!r}, expected some of {', '.join(CONTROLS)}")
        if not self.headline and self.numbers:
            object.__setattr__(self, "headline", next(iter(self.numbers)))
        if self.leading and self.leading not in self.numbers:
            raise ConfigError(f"the metric {self.name!r} is led by {self.leading!r} in training, which is none of its numbers")
        object.__setattr__(self, "leading", self.leading or self.headline)

    def number(self, name: str) -> Number:
        """What a number is; of one that the spec does not list, its name in words.

        Args:
            name: Its name within the metric, such as ``"loss"``.
        """
        return self.numbers.get(name) or Number(name.replace("_", " "))

    def given_of(self, name: str) -> tuple[Given, ...]:
        """What has to be alike for a number to be compared."""
        own = self.number(name).given
        return self.given if own is None else own

    def full(self, name: str) -> str:
        """A number's full name, such as ``"probe/loss"``."""
        return f"{self.name}/{name}"

    def baselines(self) -> dict[str, str]:
        """The numbers that stand beside the headline to compare it with, and what to call them."""
        return {name: number.baseline for name, number in self.numbers.items() if number.baseline}

    def shown(self) -> dict[str, Number]:
        """The numbers that tables and pages show, in order."""
        return {name: number for name, number in self.numbers.items() if number.shown}

    def followed(self) -> list[str]:
        """Names of the numbers to follow during training; the headline where none is marked."""
        return [name for name, number in self.numbers.items() if number.followed] or [self.headline]

    def cited(self) -> list[str]:
        """Names of the numbers to put into a paper: the headline, and those of which it must be said what they are means over."""
        return [name for name, number in self.numbers.items() if name == self.headline or number.over] or [self.headline]

    def overview(self) -> list[str]:
        """Names of the numbers that an overview of many SAEs shows; the headline where none is marked."""
        return [name for name, number in self.numbers.items() if number.overview] or [self.headline]

    def effects(self) -> dict[str, Effect]:
        """What each setting does to the numbers, by the setting's name."""
        return {} if self.settings is None else {each.name: each.metadata.get("effect", "meaning") for each in fields(self.settings)}


def moves_nothing(**metadata: Any) -> dict[str, Any]:
    """Metadata of a setting that moves no number, such as a folder or an amount of memory: no part of a result's identity."""
    return {"effect": "nothing", **metadata}


def names_units(**metadata: Any) -> dict[str, Any]:
    """Metadata of a setting that names the sampling units, such as probe tasks, of which a table tells better whether they are the same."""
    return {"effect": "units", **metadata}


def moves_sample(**metadata: Any) -> dict[str, Any]:
    """Metadata of a setting that changes which units a number is over, not what it means: results are compared, but not unit by unit."""
    return {"effect": "sample", **metadata}
