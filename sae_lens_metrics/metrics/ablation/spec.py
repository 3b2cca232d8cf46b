"""What the metric "ablation" says about itself."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.metrics.ablation.memory import ablation_memory
from sae_lens_metrics.metrics.figure_specs import DistributionFigure, NumbersFigure
from sae_lens_metrics.metrics.spec import EffectsWords, LatentColumn, MetricSpec, Number, Scale, moves_nothing, moves_sample

__all__ = ["SPEC", "AblationConfig"]


@dataclass
class AblationConfig:
    """Sparsity of ablation effects: how few logits a latent touches (Gao et al. 2024, section 4.5)."""

    tokens: int = 16
    """Tokens over which effects are measured, from the ablated one on; the paper's T."""
    sequences: int = field(default=512, metadata=moves_sample())
    """Sequences of the corpus, each ablated at one position; where it has fewer, they are ablated at several.
    They vary more than the latents within one, so more of them buy smaller errors than more `latents` do."""
    positions: int = field(default=16, metadata=moves_sample())
    """Different positions, spread over the context; sequences take them in turn, as runs at one position are shared."""
    latents: int | None = field(default=16, metadata=moves_sample())
    """Active latents to ablate at a position: a random sample where there are more. None (in Python) for all of them."""
    baselines: int = field(default=8, metadata=moves_sample())
    """Channels to zero, and random directions to subtract, at a position."""
    reference: Literal["activation", "reconstruction"] = "activation"
    """What a latent is subtracted from: "activation" keeps the SAE's error term, "reconstruction" puts the SAE in place first."""
    shown: int = field(default=5, metadata=moves_nothing())
    """Tokens to show for each latent, of those that its ablation raises and lowers most."""

    def __post_init__(self) -> None:
        least = {"tokens": 1, "sequences": 2, "positions": 1, "latents": 1, "baselines": 1, "shown": 0}
        for name, value in ((name, getattr(self, name)) for name in least):
            if value is not None and value < least[name]:
                raise ConfigError(f"ablation.{name} is {value}, expected at least {least[name]}")


_SPARSITY = "(L1 / L2)² over the number of logits"
_BASELINES = {
    "random": ("random directions", "baseline: random directions, as long as what latents add"),
    "channels": ("channels at the position", "baseline: zeroing a channel at the position"),
    "channels_lasting": ("channels at all tokens", "baseline: zeroing a channel at all of the tokens"),
}
_AFFECTED, _EFFECT = "share of the tokens that an effect touches", "length of an effect, in logits"
_DIFFERENCES = {
    "random": "paired difference; below 0: latents are sparser",
    "channels": "… to channels at the position",
    "channels_lasting": "… to channels at all of the tokens",
}


def _numbers() -> Iterator[tuple[str, Number]]:
    yield (
        "sparsity",
        Number(
            _SPARSITY,
            "",
            "lower",
            "of what subtracting a latent does to the logits of 16 tokens; lower is sparser",
            shown=True,
            followed=True,
            overview=True,
        ),
    )
    weighted = "… latents weighted by the size of their effect"
    yield "sparsity_weighted", Number(f"{_SPARSITY}, latents weighted by the size of their effect", "", "lower", weighted, shown=True)
    for kind, (called, meaning) in _BASELINES.items():
        label = f"{_SPARSITY}: {called}"
        yield f"{kind}_sparsity", Number(label, meaning=meaning, shown=True, baseline_of="sparsity", baseline=called)
    for kind, meaning in _DIFFERENCES.items():
        pair = ("sparsity", f"{kind}_sparsity")
        label = f"sparsity minus that of {_BASELINES[kind][0]}"
        shown, given = kind != "channels_lasting", None if kind == "random" else pair  # random directions are as long as the SAE's latents
        yield (
            f"sparsity_minus_{kind}",
            Number(label, "", "lower", meaning, shown=shown, followed=kind == "random", difference_of=pair, same_given=given),
        )
    yield "tokens_affected", Number(_AFFECTED, "share", None, "share of the tokens that an effect touches", shown=True)
    yield "effect", Number(_EFFECT, "logits", shown=False)
    for kind, (called, _) in _BASELINES.items():
        yield f"{kind}_tokens_affected", Number(f"{_AFFECTED}: {called}", "share", baseline_of="tokens_affected", shown=False)
        yield f"{kind}_effect", Number(f"{_EFFECT}: {called}", "logits", baseline_of="effect", shown=False)
    yield (
        "gaussian",
        Number("sparsity of independent effects, 2/π", baseline_of="sparsity", baseline="2/π: independent effects", shown=False),
    )
    yield "noise_floor", Number("length of the effect of a change as small as rounding, in logits", "logits", shown=False)
    above = "times as long as the effect of rounding; below 10 nothing else is given"
    yield "effect_over_noise", Number("length of effects over that of rounding", "times", None, above, shown=False)
    yield "no_effect", Number("share of ablations that change no logit", "share", shown=False)
    yield "inactive", Number("share of positions with no active latent", "share", shown=False)


def _cost(settings: AblationConfig, scale: Scale, others: Mapping[str, Any]) -> float:
    """Runs of the layers after the hook on a few tokens each, of latents and three kinds of baselines."""
    return settings.sequences * ((settings.latents or 64) + 3 * settings.baselines) * settings.tokens / 2 / 4 / scale.tokens


SPEC = MetricSpec(
    name="ablation",
    title="Sparsity of ablation effects",
    summary="how few logits does a latent touch",
    meaning="How many logits change when one latent is taken away, over 16 tokens: 0 is one logit, 1 is all of them alike.",
    trust="Depends on the layer more than on the SAE, since near the end of a model an effect cannot reach other tokens: compare with "
    "random directions, and only with SAEs at the same hook.",
    paper="4.5",
    headline="sparsity",
    numbers=dict(_numbers()),
    settings=AblationConfig,
    presets={
        "train": {"sequences": 64, "positions": 4, "latents": 4, "baselines": 2},
        "paper": {"sequences": 8_192, "positions": 32},
    },
    cost=_cost,
    memory=ablation_memory,
    given=("model", "hook"),
    version=2,
    controls={"permuted_decoder": "beaten", "frozen_decoder": "beaten", "random": "beaten"},
    figures=(
        NumbersFigure(
            "sparsity",
            "Sparsity of ablation effects",
            "How many logits change when one latent is taken away, lower is sparser; beside it is what other directions do. "
            "Figure 6b of Gao et al. 2024.",
            _SPARSITY,
            {"sparsity": "latents"},
            baselines=True,
        ),
        DistributionFigure(
            "distribution",
            "Sparsity, ablation by ablation",
            "Each ablation of one latent at one position: 0 is an effect on one logit, 1 on all of them alike.",
            _SPARSITY,
            "share of ablations",
            histogram="distribution",
        ),
    ),
    latents=(
        LatentColumn("sparsity", "Ablation sparsity", "how many logits change without it: 0 is one, 1 is all alike"),
        LatentColumn("effect", "Ablation effect", "length of the change of the logits", log=True),
    ),
    logit_effects=EffectsWords(
        "Without it, these tokens become",
        "Of its ablation with the largest effect: how much the logits of these tokens change, summed over the {tokens} tokens from there "
        "on, around the median of the vocabulary.",
        "",
    ),
    compute="sae_lens_metrics.metrics.ablation.compute:ablation",
)
