"""What one metric found out: estimates, tables, distributions, examples, explanations, effects."""

from dataclasses import dataclass, field
from itertools import pairwise

from sae_lens_metrics.results.dataclass_schema import LARGEST_WHOLE, at_least, with_schema
from sae_lens_metrics.results.estimate import Estimate
from sae_lens_metrics.results.explanation import NGramExplanations
from sae_lens_metrics.results.latent_effects import LatentEffects

__all__ = ["FiringExample", "Histogram", "MetricResult", "Row", "Scalar"]

Scalar = str | int | float | bool | None
Row = dict[str, Scalar]


@dataclass(frozen=True)
class Histogram:
    """Counts between edges."""

    edges: list[float]
    """n + 1 increasing edges, in the units of the quantity."""
    counts: list[int] = field(metadata=with_schema(items={"type": "integer", "minimum": 0, "maximum": LARGEST_WHOLE}))
    """n counts; values beyond the outer edges are in the outer bins."""

    def __post_init__(self) -> None:
        if len(self.edges) != len(self.counts) + 1:
            raise ValueError(f"counts has {len(self.counts)} numbers, expected {len(self.edges) - 1}: one less than there are edges")
        if any(left > right for left, right in pairwise(self.edges)):
            raise ValueError("edges are not in ascending order")


@dataclass(frozen=True)
class FiringExample:
    """A stretch of text, with what one latent is on each of its tokens and what its explanation predicts there."""

    latent: int = field(metadata=at_least(0))
    """The latent."""
    kind: str
    """How the token in question was chosen: ``"random"`` among those where the latent fires, ``"top"`` where it is largest, or
    ``"predicted"``, at random where its explanation says that it fires."""
    at: int = field(metadata=at_least(0))
    """Index of that token."""
    tokens: list[str]
    """The tokens as text."""
    activations: list[float]
    """What the latent is on each token."""
    predictions: list[float]
    """What the explanation predicts there, 0 for nothing."""

    def __post_init__(self) -> None:
        length = len(self.tokens)
        if not len(self.activations) == len(self.predictions) == length:
            lengths = f"{length} tokens, {len(self.activations)} activations and {len(self.predictions)} predictions"
            raise ValueError(f"it has {lengths}, expected as many of each")
        if not 0 <= self.at < length:
            raise ValueError(f"at is {self.at}, expected the place of one of the {length} tokens")


@dataclass(frozen=True)
class MetricResult:
    """What one metric found out."""

    estimates: dict[str, Estimate]
    """The metric's numbers by name."""
    tables: dict[str, list[Row]] = field(default_factory=dict, repr=False)
    """Tables by name; every row of a table has the same columns."""
    histograms: dict[str, Histogram] = field(default_factory=dict, repr=False)
    """Distributions by name."""
    examples: list[FiringExample] = field(default_factory=list, repr=False)
    """Text on which latents fire, latent by latent."""
    explanations: NGramExplanations | None = field(default=None, repr=False)
    """What latents are explained by, if the metric explains them."""
    effects: list[LatentEffects] = field(default_factory=list, repr=False)
    """What latents do to the logits, latent by latent."""
    notes: list[str] = field(default_factory=list)
    """Choices and warnings that belong to the numbers."""
    seconds: float = field(default=0.0, metadata=at_least(0))
    """Wall-clock time that the metric took."""

    def __post_init__(self) -> None:
        names = [*self.estimates, *self.tables, *self.histograms, *(["examples"] if self.examples else [])]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} names two results: estimates, tables, histograms and examples share one section of a log")
