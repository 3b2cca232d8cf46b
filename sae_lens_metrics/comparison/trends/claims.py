"""The findings of Gao et al. 2024 about kinds of SAEs, as sums that tell whether a grid of SAEs shows them."""

from collections.abc import Callable
from dataclasses import dataclass

from sae_lens_metrics.comparison.trends.means import Means
from sae_lens_metrics.comparison.trends.sums import (
    DENSE,
    NEAR,
    Line,
    above_best,
    average,
    best_than,
    last_step,
    relu_alone,
    relu_minus_topk,
    share_minus_topk,
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
_CHANGE = "shrinkage/change_mean"
_LOSS, _SHARE, _MEAN = "nats of loss", "share of variance", "mean change"
_PER_K, _PER_N = "for each doubling of k", "for each doubling of n"

CLAIMS = (
    Claim("6a", "Probes get better as k grows from its smallest", _LOSS, above_best(_PROBE, 0), paper=0.010),
    Claim("6a", "Probes get worse again as k nears d_model", _LOSS, above_best(_PROBE, -1), paper=0.013),
    Claim("6a", "On held-out texts, probes get better as k grows from its smallest", _LOSS, above_best(_HELD, 0), own=True),
    Claim("6a", "On held-out texts, probes get worse again as k nears d_model", _LOSS, above_best(_HELD, -1), own=True),
    Claim("6a", "A latent probes better than a channel", _LOSS, average(_OVER_CHANNELS, -1.0)),
    Claim("6a", "On held-out texts, a latent probes better than a random direction", _LOSS, average(_OVER_RANDOM, -1.0), own=True),
    Claim("23", "TopK probes better than ReLU at the same L0", _LOSS, relu_minus_topk(_PROBE)),
    Claim("23", "On held-out texts, TopK probes better than ReLU at the same L0", _LOSS, relu_minus_topk(_HELD), own=True),
    Claim("25b", "N2G precision rises with n", _PER_N, with_n("n2g/precision", 1.0, DENSE), paper=0.013),
    Claim("25b", "N2G precision falls as k grows", _PER_K, with_k("n2g/precision", -1.0, DENSE), paper=0.018),
    Claim("25a", "N2G recall rises with n", _PER_N, with_n("n2g/recall", 1.0, DENSE), paper=0.016),
    Claim("25a", "N2G recall falls as k grows", _PER_K, with_k("n2g/recall", -1.0, DENSE), paper=0.028),
    Claim("25", "N2G F1 of latents with a full sample rises with n", _PER_N, with_n("n2g/f1_full_sample", 1.0, DENSE), own=True),
    Claim("25", "N2G F1 of latents with a full sample falls as k grows", _PER_K, with_k("n2g/f1_full_sample", -1.0, DENSE), own=True),
    Claim("24", "N2G recall is better for TopK than for ReLU", "times", topk_over_relu("n2g/recall"), 1.0, 1.47),
    Claim("24", "N2G recall is more than 1.5 times as good for TopK", "times", topk_over_relu("n2g/recall"), 1.5, 1.5),
    Claim("24", "N2G precision of TopK is more than .9 times that of ReLU", "times", topk_over_relu("n2g/precision"), 0.9, 0.95),
    Claim("24", "N2G F1 is better for TopK than for ReLU", "times", topk_over_relu("n2g/f1"), 1.0, 1.53),
    Claim("8", "Explanations lose less with more latents", _PER_N, with_n(_EXPLAINED, -1.0)),
    Claim("8", "Explanations lose less with fewer active latents", _PER_K, with_k(_EXPLAINED, 1.0), paper=0.42),
    Claim("8", "Explanations of the widest, sparsest SAEs lose less than bigrams", "nats", best_than(_BIGRAM, _EXPLAINED), paper=0.37),
    Claim("6b", "Effects of latents get sparser as k grows", _PER_K, with_k(_SPARSITY, -1.0, NEAR), paper=0.0026),
    Claim("6b", "Effects get less sparse as k nears d_model", "last step of k", last_step(_SPARSITY), paper=0.003),
    Claim("6b", "Effects of latents are sparser than those of channels", "share", average(_OVER_CHANNELS_SPARSITY, -1.0), paper=0.47),
    Claim("9a", "Refinement raises ReLU's latents", _MEAN, relu_alone(_CHANGE), paper=0.59),
    Claim("9a", "Refinement raises TopK's latents by less than a quarter of that", _MEAN, share_minus_topk(_CHANGE, 0.25), paper=0.13),
    Claim("9b", "Refinement lowers ReLU's squared error", _SHARE, relu_alone(_MSE, _MSE_REFINED), paper=0.039),
    Claim("9b", "Refined, ReLU's squared error is still above TopK's at the same L0", _SHARE, relu_minus_topk(_MSE_REFINED, _MSE)),
    Claim("9c", "Refinement lowers the loss that ReLU adds", "nats", relu_alone(_CE, _CE_REFINED), paper=0.07),
    Claim("9c", "Refined, ReLU still adds more loss than TopK at the same L0", "nats", relu_minus_topk(_CE_REFINED, _CE)),
)  # fmt: skip
"""All of them, in the order of the paper's sections."""
