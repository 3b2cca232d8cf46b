"""Figures of ablation effects."""

from collections.abc import Iterator, Mapping

from sae_lens_metrics.metrics.guide import GUIDE
from sae_lens_metrics.results import Report
from sae_lens_metrics.views.figures.distributions import of_results
from sae_lens_metrics.views.figures.figure import Figure
from sae_lens_metrics.views.figures.numbers import Numbers

__all__ = ["ablation_figures"]

_SPARSITY = "(L1 / L2)² over the number of logits"


def ablation_figures(reports: Mapping[str, Report]) -> Iterator[Figure]:
    """The mean sparsity of effects beside its baselines, and its distribution over ablations."""
    numbers = Numbers(
        "ablation/sparsity",
        "Sparsity of ablation effects",
        "How many logits change when one latent is taken away, lower is sparser; beside it is what other directions do. "
        "Figure 6b of Gao et al. 2024.",
        _SPARSITY,
        {"ablation/sparsity": "latents"},
        {f"ablation/{name}": label for name, label in GUIDE["ablation"].baselines.items()},
    )
    yield from numbers.figures(reports)
    series = of_results(reports, "ablation", "distribution")
    if series:
        caption = "Each ablation of one latent at one position: 0 is an effect on one logit, 1 on all of them alike."
        title = "Sparsity, ablation by ablation"
        yield Figure("ablation/distribution", title, caption, _SPARSITY, "share of ablations", series)
