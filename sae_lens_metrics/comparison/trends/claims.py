"""The findings of Gao et al. 2024 about kinds of SAEs, as sums that tell whether a grid of SAEs shows them."""

from collections.abc import Callable
from dataclasses import dataclass

from sae_lens_metrics.comparison.trends.means import Means
from sae_lens_metrics.comparison.trends.sums import (
    DENSE,
    NEAR,
    Line,
    average,
    best_than,
    falls_to_best,
    last_step,
    moved_more,
    relu_alone,
    relu_minus_topk,
    rises_from_best,
    topk_over_relu,
    with_k,
    with_n,
)

__all__ = ["CLAIMS", "Claim"]


@dataclass(frozen=True)
class Claim:
    """A finding of the paper's."""

    figure: str
    """Where it stands."""
    statement: str
    """What is found."""
    size: str
    """What its size is, with the unit."""
    line: Callable[[Means], Line]
    """The sum whose size it is."""
    above: float = 0.0
    """The size from which on it is there."""
    paper: float | None = None
    """The size in the paper, where it can be read off or computed from what can be."""
    own: bool = False
    """Whether it is this package's question, beside the paper's."""


_PROBE, _HELD = "probe/loss", "probe/held_out_loss"
_EXPLAINED, _BIGRAM = "explanation/ce_explanation", "explanation/ce_bigram"
_SPARSITY, _OVER_CHANNELS_SPARSITY = "ablation/sparsity", "ablation/sparsity_minus_channels_lasting"
_MSE, _MSE_REFINED = "shrinkage/mse_raw", "shrinkage/mse_refined"
_CE, _CE_REFINED = "shrinkage/ce_added_raw", "shrinkage/ce_added_refined"
_OVER_CHANNELS, _OVER_RANDOM = "probe/loss_minus_channels", "probe/held_out_loss_minus_random"
_PRECISION, _RECALL, _F1, _FULL = "n2g/precision", "n2g/recall", "n2g/f1", "_full_sample"
_CHANGE = "shrinkage/change_relative"
_LOSS, _SHARE, _CHANGED = "nats of loss", "share of variance", "share of the latents' sum"
_PER_K, _PER_N = "for each doubling of k", "for each doubling of n"

CLAIMS = (
    Claim("6a", "Probes get better as k grows from its smallest", _LOSS, falls_to_best(_PROBE), paper=0.010),
    Claim("6a", "Probes get worse again as k nears d_model", _LOSS, rises_from_best(_PROBE), paper=0.013),
    Claim("6a", "On held-out texts, probes get better as k grows from its smallest", _LOSS, falls_to_best(_HELD), own=True),
    Claim("6a", "On held-out texts, probes get worse again as k nears d_model", _LOSS, rises_from_best(_HELD), own=True),
    Claim("6a", "A latent probes better than a channel", _LOSS, average(_OVER_CHANNELS, -1.0)),
    Claim("6a", "On held-out texts, a latent probes better than a random direction", _LOSS, average(_OVER_RANDOM, -1.0), own=True),
    Claim("23", "TopK probes better than ReLU at the same L0", _LOSS, relu_minus_topk(_PROBE)),
    Claim("23", "On held-out texts, TopK probes better than ReLU at the same L0", _LOSS, relu_minus_topk(_HELD), own=True),
    Claim("25b", "N2G precision rises with n", _PER_N, with_n(_PRECISION, 1.0, DENSE), paper=0.013),
    Claim("25b", "N2G precision falls as k grows", _PER_K, with_k(_PRECISION, -1.0, DENSE), paper=0.018),
    Claim("25a", "N2G recall rises with n", _PER_N, with_n(_RECALL, 1.0, DENSE), paper=0.016),
    Claim("25a", "N2G recall falls as k grows", _PER_K, with_k(_RECALL, -1.0, DENSE), paper=0.028),
    Claim("25b", "N2G precision of fully sampled latents rises with n", _PER_N, with_n(f"{_PRECISION}{_FULL}", 1.0, DENSE), own=True),
    Claim("25a", "N2G recall of fully sampled latents rises with n", _PER_N, with_n(f"{_RECALL}{_FULL}", 1.0, DENSE), own=True),
    Claim("25", "N2G F1 of fully sampled latents rises with n", _PER_N, with_n(f"{_F1}{_FULL}", 1.0, DENSE), own=True),
    Claim("25", "N2G F1 of fully sampled latents falls as k grows", _PER_K, with_k(f"{_F1}{_FULL}", -1.0, DENSE), own=True),
    Claim("24", "N2G recall is better for TopK than for ReLU", "times", topk_over_relu(_RECALL), 1.0, 1.47),
    Claim("24", "N2G recall is more than 1.5 times as good for TopK", "times", topk_over_relu(_RECALL), 1.5, 1.5),
    Claim("24", "N2G precision of TopK is more than .9 times that of ReLU", "times", topk_over_relu(_PRECISION), 0.9, 0.95),
    Claim("24", "N2G F1 is better for TopK than for ReLU", "times", topk_over_relu(_F1), 1.0, 1.53),
    Claim("8", "Explanations lose less with more latents", _PER_N, with_n(_EXPLAINED, -1.0)),
    Claim("8", "Explanations lose less with fewer active latents", _PER_K, with_k(_EXPLAINED, 1.0), paper=0.42),
    Claim("8", "Explanations of the widest, sparsest SAEs lose less than bigrams", "nats", best_than(_BIGRAM, _EXPLAINED), paper=0.37),
    Claim("6b", "Effects of latents get sparser as k grows", _PER_K, with_k(_SPARSITY, -1.0, NEAR), paper=0.0026),
    Claim("6b", "Effects get less sparse as k nears d_model", "last step of k", last_step(_SPARSITY), paper=0.003),
    Claim("6b", "Effects of latents are sparser than those of channels", "share", average(_OVER_CHANNELS_SPARSITY, -1.0), paper=0.47),
    Claim("9a", "Refinement raises ReLU's latents", _CHANGED, relu_alone(_CHANGE)),
    Claim("9a", "Refinement changes ReLU's latents more than TopK's at the same L0", _CHANGED, moved_more(_CHANGE)),
    Claim("9a", "Refinement changes TopK's latents less than a quarter as much", _CHANGED, moved_more(_CHANGE, 0.25), own=True),
    Claim("9b", "Refinement lowers ReLU's squared error", _SHARE, relu_alone(_MSE, _MSE_REFINED), paper=0.039),
    Claim("9b", "Refined, ReLU's error is still above unrefined TopK's at the same L0", _SHARE, relu_minus_topk(_MSE_REFINED, _MSE)),
    Claim("9c", "Refinement lowers the loss that ReLU adds", "nats", relu_alone(_CE, _CE_REFINED), paper=0.07),
    Claim("9c", "Refined, ReLU still adds more loss than unrefined TopK at the same L0", "nats", relu_minus_topk(_CE_REFINED, _CE)),
)  # fmt: skip
"""All of them, in the order of the paper's sections."""
