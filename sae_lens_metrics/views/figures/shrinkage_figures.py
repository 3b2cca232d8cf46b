"""Figures of activation shrinkage."""

from collections.abc import Iterator, Mapping

from sae_lens_metrics.results import Report
from sae_lens_metrics.views.figures.distributions import of_results
from sae_lens_metrics.views.figures.figure import Figure
from sae_lens_metrics.views.figures.numbers import Numbers

__all__ = ["shrinkage_figures"]

_READ = "With the latents that the SAE gives, and with the best values of the same active latents. Lower is better."
_ERROR = Numbers(
    "shrinkage/before_after",
    "Squared error before and after refinement",
    f"{_READ} Figure 9b of Gao et al. 2024.",
    "squared error over variance",
    {"shrinkage/mse_raw": "raw", "shrinkage/mse_refined": "refined"},
)
_LOSS = Numbers(
    "shrinkage/loss_before_after",
    "Loss added before and after refinement",
    f"{_READ} Figure 9c of Gao et al. 2024.",
    "loss added to the model, nats",
    {"shrinkage/ce_added_raw": "raw", "shrinkage/ce_added_refined": "refined"},
)


def shrinkage_figures(reports: Mapping[str, Report]) -> Iterator[Figure]:
    """How latents change when they are refined, and what that buys."""
    series = of_results(reports, "shrinkage", "change")
    if series:
        caption = (
            "The change of each active latent that reconstructs best, over the latent: right of 0 the SAE shrinks it. "
            "What is beyond either end is in the outer bins. Figure 9a of Gao et al. 2024."
        )
        title = "Change of active latents by refinement"
        yield Figure("shrinkage/change", title, caption, "(refined - raw) / raw", "share of active latents", series)
    yield from _ERROR.figures(reports)
    yield from _LOSS.figures(reports)
