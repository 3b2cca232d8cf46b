"""What the metric "shrinkage" says about itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sae_lens_metrics.metrics.figure_specs import DistributionFigure, NumbersFigure
from sae_lens_metrics.metrics.shrinkage.memory import shrinkage_memory
from sae_lens_metrics.metrics.spec import Given, MetricSpec, Number, Scale, moves_sample

__all__ = ["SPEC", "ShrinkageConfig"]


@dataclass
class ShrinkageConfig:
    """Activation shrinkage: what a refinement of the active latents changes (Gao et al. 2024, section 5.1)."""

    solver: Literal["exact", "pgd"] = "exact"
    """"exact" solves to the optimum, "pgd" is the paper's projected gradient descent; both minimise the same error."""
    tokens: int = field(default=32_768, metadata=moves_sample())
    """Tokens to refine, whole sequences from the beginning of the corpus."""


def _cost(settings: ShrinkageConfig, scale: Scale, others: Mapping[str, Any]) -> float:
    """Sequences are run up to the hook and three times on from it."""
    return min(settings.tokens, scale.tokens) / scale.tokens


_LOSS: tuple[Given, ...] = ("model", "hook", "context", "bos")
_ADDED: tuple[Given, ...] = ("model", "hook")
"""What losses depend on besides the SAE, and what differences of two of them do, as do changes in units of the activation."""

_READ = "With the latents that the SAE gives, and with the best values of the same active latents. Lower is better."

SPEC = MetricSpec(
    name="shrinkage",
    title="Activation shrinkage",
    summary="are active latents too small",
    meaning="Are latents too small: how much larger the values are that reconstruct best with the same latents active.",
    trust="Solved to the optimum, with small errors; it does not say whether the right latents are active.",
    paper="5.1",
    headline="ratio",
    numbers={
        "ratio": Number(
            "refined over raw latents",
            "",
            "one",
            "refined over raw latents; above 1: the SAE shrinks them",
            shown=True,
            followed=True,
            overview=True,
        ),
        "ratio_mean": Number("mean over active latents of refined over raw", "", "one", "… mean of ratios, latent by latent", shown=False),
        "change_mean": Number("mean change of what active latents add, by refinement", shown=False, given=_ADDED),
        "change_sd": Number("spread of the change of what active latents add", shown=False, given=_ADDED),
        "change_relative": Number("sum of changes over sum of latents", same_as="ratio", shown=False),
        "mse_raw": Number(
            "squared error over variance",
            "",
            "lower",
            "normalised squared error",
            shown=True,
            followed=True,
            mirrors="sanity/explained_variance",
        ),
        "mse_refined": Number("squared error over variance, after refinement", "", "lower", "… after refinement", shown=True),
        "mse_raw_activation": Number(
            "squared error over variance, of the model's activation", "", "lower", shown=False, mirrors="shrinkage/mse_raw"
        ),
        "mse_refined_activation": Number(
            "squared error over variance, of the model's activation, after refinement",
            "",
            "lower",
            shown=False,
            mirrors="shrinkage/mse_refined",
        ),
        "ce_clean": Number(
            "next-token loss of the model, nats", "nats", baseline_of="ce_raw", shown=False, given=("model", "context", "bos")
        ),
        "ce_raw": Number(
            "next-token loss with the reconstruction in place, nats",
            "nats",
            "lower",
            shown=False,
            mirrors="sanity/ce_reconstructed",
            given=_LOSS,
        ),
        "ce_refined": Number("next-token loss with the refined reconstruction in place, nats", "nats", "lower", shown=False, given=_LOSS),
        "ce_added_raw": Number(
            "loss added, nats",
            "nats",
            "lower",
            "loss added by the reconstruction, nats",
            shown=True,
            followed=True,
            difference_of=("ce_raw", "ce_clean"),
            same_given=("ce_raw", "ce_clean"),
            given=_ADDED,
        ),
        "ce_added_refined": Number(
            "loss added after refinement, nats",
            "nats",
            "lower",
            "… after refinement",
            shown=True,
            difference_of=("ce_refined", "ce_clean"),
            same_given=("ce_refined", "ce_clean"),
            given=_ADDED,
        ),
        "ce_gained": Number("loss gained by refinement, nats", "nats", difference_of=("ce_raw", "ce_refined"), shown=False, given=_ADDED),
        "gamma": Number("E|x̂|² / E[x̂·x]", "", "one", "below 1: the reconstruction is too short", shown=True),
        "not_refined": Number("share of tokens that were not refined", "share", "lower", shown=False),
        "kkt_residual": Number("largest violation of the optimum's conditions", "", "lower", shown=False),
    },
    settings=ShrinkageConfig,
    presets={"train": {"tokens": 2_048}, "paper": {"tokens": 262_144}},
    cost=_cost,
    memory=shrinkage_memory,
    given=(),
    version=2,
    # whether values are too small says nothing about whether the right latents are active, so others need not be worse
    controls={"permuted_decoder": "beaten"},
    figures=(
        DistributionFigure(
            "change",
            "Change of active latents by refinement",
            "The change of each active latent that reconstructs best, over the latent: right of 0 the SAE shrinks it. "
            "What is beyond either end is in the outer bins. Figure 9a of Gao et al. 2024.",
            "(refined - raw) / raw",
            "share of active latents",
            histogram="change",
        ),
        NumbersFigure(
            "before_after",
            "Squared error before and after refinement",
            f"{_READ} Figure 9b of Gao et al. 2024.",
            "squared error over variance",
            {"mse_raw": "raw", "mse_refined": "refined"},
        ),
        NumbersFigure(
            "loss_before_after",
            "Loss added before and after refinement",
            f"{_READ} Figure 9c of Gao et al. 2024.",
            "loss added to the model, nats",
            {"ce_added_raw": "raw", "ce_added_refined": "refined"},
        ),
    ),
    compute="sae_lens_metrics.metrics.shrinkage.compute:shrinkage",
)
