"""What the metric "directions" says about itself."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.metrics.directions.memory import directions_memory
from sae_lens_metrics.metrics.spec import EffectsWords, LatentColumn, MetricSpec, Number, Scale, moves_nothing, moves_sample

__all__ = ["NEAR", "SAME", "SPEC", "DirectionsConfig"]

NEAR = 0.9
"""Cosine above which two latents of one SAE count as duplicates."""
SAME = 0.7
"""Cosine above which latents of two SAEs count as the same."""


@dataclass
class DirectionsConfig:
    """Decoder directions: what each latent writes, and which others it is like."""

    tokens: int = field(default=32_768, metadata=moves_sample())
    """Tokens of text, whole sequences from the beginning of the corpus: for the next tokens, and for correlations with a second SAE."""
    against: str = field(default="", metadata=moves_sample(short="--against"))
    """A second SAE at the same hook, in which each latent's best match is looked for: a folder, or RELEASE/SAE_ID."""
    shown: int = field(default=5, metadata=moves_nothing())
    """Tokens to show for each latent, of those that it raises and lowers most."""
    nearest: int = field(default=3, metadata=moves_nothing())
    """Nearest other latents to show for each."""

    def __post_init__(self) -> None:
        for name, least in {"tokens": 1, "shown": 1, "nearest": 1}.items():
            if getattr(self, name) < least:
                raise ConfigError(f"directions.{name} is {getattr(self, name)}, expected at least {least}")


def _cost(settings: DirectionsConfig, scale: Scale, others: Mapping[str, Any]) -> float:
    """Sequences are run up to the hook; besides, products of all latents with the vocabulary, and with each other."""
    runs = min(settings.tokens, scale.tokens) / 2
    return (runs * (2 if settings.against else 1) + scale.d_sae / 2 + scale.d_sae**2 / 1e5) / scale.tokens


def _files(settings: DirectionsConfig) -> list[Path]:
    """The second SAE, where it is a folder."""
    names = ("cfg.json", "sae_weights.safetensors") if os.path.isdir(settings.against) else ()
    return [path for name in names if (path := Path(settings.against) / name).is_file()]


_MORE = "among more directions a nearer one is found by chance alone"

SPEC = MetricSpec(
    name="directions",
    title="Decoder directions",
    summary="what does a latent write, and is there another one like it",
    meaning="What latents write, by their decoder rows alone: whether that is what comes next where they fire, and how alike they are.",
    trust="It tells an SAE from a bad one; that the better of two good ones has the larger number is not known. Direct effects only, to "
    "first order: what later layers make of a latent is not in it, so it says more near the end of a model. Two latents that are alike may "
    "be one feature split by context.",
    headline="next_token",
    numbers={
        "next_token": Number(
            "how far latents raise the next token, standard deviations",
            "standard deviations",
            "higher",
            "how far an active latent raises the token that comes next, above tokens that come next elsewhere; 0: it writes something else",
            followed=True,
            overview=True,
            given=("model", "hook"),
        ),
        "max_cosine": Number(
            "largest cosine with another latent's decoder row, mean over latents",
            "cosine",
            "lower",
            "cosine with the nearest other latent, mean over latents; 1: each is there twice",
            depends_on_size=_MORE,
            instead="max_cosine_above_random",
        ),
        "random_max_cosine": Number(
            "largest cosine of a random direction with a decoder row",
            "cosine",
            meaning="baseline: of random directions with the nearest latent",
            baseline_of="max_cosine",
        ),
        "max_cosine_above_random": Number(
            "largest cosine with another latent's decoder row, less that of a random direction, mean over latents",
            "cosine",
            "lower",
            "… less that of random directions: compare SAEs of different sizes by it",
        ),
        "duplicates": Number(
            f"share of latents with another one at a cosine above {NEAR}",
            "share",
            "lower",
            f"… share of latents with another one at a cosine above {NEAR}",
            depends_on_size=_MORE,
            instead="max_cosine_above_random",
        ),
        "match_cosine": Number(
            "cosine with the best match in a second SAE, mean over latents",
            "cosine",
            "higher",
            "cosine with the best match in the second SAE (--against), mean over latents; 1: all are there again",
        ),
        "random_match_cosine": Number(
            "largest cosine of a random direction with a decoder row of the second SAE",
            "cosine",
            meaning="baseline: of random directions with the nearest latent there",
            baseline_of="match_cosine",
        ),
        "match_correlation": Number(
            "correlation of activations with the best match in a second SAE, mean over latents that fire",
            "correlation",
            "higher",
            "… how alike both fire, mean over latents that fire on the text",
            over="those that fire, as do their matches",
        ),
        "matched": Number(
            f"share of latents with a match in a second SAE at a cosine above {SAME}",
            "share",
            "higher",
            f"… share of latents with a match at a cosine above {SAME}",
        ),
    },
    settings=DirectionsConfig,
    left_out_of=("train",),
    cost=_cost,
    memory=directions_memory,
    files=_files,
    given=(),
    # a latent of random directions fires where the activation is like what it writes, so that it says something of the next token, too
    controls={"permuted_decoder": "beaten", "frozen_decoder": "beaten", "random": "beaten"},
    latents=(
        LatentColumn("next_token", "Next token", "how far it raises the token that comes next where it fires, in standard deviations"),
        LatentColumn("written", "Writing strength", "how far it raises the token that it raises most, in standard deviations"),
        LatentColumn("max_cosine", "Nearest, cosine", "largest cosine with another latent's decoder row"),
        LatentColumn("match_cosine", "Match, cosine", "cosine with the best match in the second SAE"),
        LatentColumn("match_correlation", "Match, correlation", "correlation of its activations with those of that match"),
    ),
    logit_effects=EffectsWords(
        "What it writes",
        "Its decoder row, read by the unembedding: how much the logits of these tokens change where it fires as it does on average, "
        "around the mean of the vocabulary. What later layers make of it is not in this.",
        "Writes",
    ),
    compute="sae_lens_metrics.metrics.directions.compute:directions",
)
