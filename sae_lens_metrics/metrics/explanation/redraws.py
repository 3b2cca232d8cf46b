"""Explanation reconstruction as it would be had other activations been drawn to explain latents from: for its errors."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae_lens_metrics.functional.jackknife import random_groups
from sae_lens_metrics.functional.redraws import Redrawn, redrawn_variance
from sae_lens_metrics.metrics.explanation.simulation import Latents, Simulation
from sae_lens_metrics.metrics.n2g.explanations import Explanations
from sae_lens_metrics.metrics.n2g.scores import Scores
from sae_lens_metrics.metrics.sums import SequenceSums
from sae_lens_metrics.text.batches import ActivationBatch
from sae_lens_metrics.text.corpus import Corpus

__all__ = ["Redraws", "well_explained_again"]

_GROUPS = 8
"""Of latents: the fewer, the more of the text there is for each; the more, the better is their spread known."""
_UNITS = 4
"""Sampling units of the text at least that each group is for."""


class Redraws:
    """Puts rebuilt explanations in the place of others: those of one group of latents in each document.

    One more run of the model over the text is then enough to see what each group moves, on documents of its own.

    Args:
        explanations: The explanations.
        rebuilt: Some of them as another draw of activations gives them.
        simulation: Of both.
        scoring: The text that losses are measured on.
        good: Latents that count as explained well.
        again: Those that do in another draw.
        seed: Chooses the groups of latents, and which documents are for which.
    """

    def __init__(
        self,
        explanations: Explanations,
        rebuilt: Explanations,
        simulation: Simulation,
        scoring: Corpus,
        *,
        good: Bool[Tensor, "d_sae"],
        again: Bool[Tensor, "d_sae"],
        seed: int,
    ) -> None:
        some, units = len(rebuilt.latents), int(scoring.units.max()) + 1
        groups = max(1, min(_GROUPS, some, units // _UNITS))
        self._share = some / int((explanations.held_out >= 0).any(1).sum())
        self._of_unit = random_groups(torch.arange(units), groups, seed=seed)
        self._of_sequence = self._of_unit[scoring.units].to(simulation.of.device)
        self._of_latent = torch.full_like(simulation.of[:-some], -1)
        self._of_latent[rebuilt.latents] = random_groups(torch.arange(some), groups, seed=seed + 1).to(simulation.of.device)
        self._simulation = simulation
        self._changing = (good != again).nonzero()[:, 0]
        self._sign = (again.int() - good.int())[self._changing]

    def simulated(self, simulated: Latents, batch: ActivationBatch) -> Latents:
        """Simulated latents of a batch, those of some latents from rebuilt explanations.

        Args:
            simulated: What all explanations give, by index.
            batch: The batch.
        """
        latent = self._simulation.of[simulated.latent]
        exchanged = self._of_latent[latent] == self._group(batch)[simulated.row]
        kept = exchanged == (simulated.latent >= len(self._of_latent))
        return Latents(simulated.row[kept], latent[kept], simulated.value[kept])

    def change(self, batch: ActivationBatch, rows: slice, z: Float[Tensor, "rows d_sae"]) -> Float[Tensor, "rows d_out"]:
        """By how much the reconstruction from the true latents that count changes where other latents of a group do.

        Args:
            batch: The batch.
            rows: Which of its activations.
            z: Their latents.
        """
        dictionary = batch.subject.dictionary
        exchanged = self._of_latent[self._changing] == self._group(batch)[rows, None]
        scale, _ = dictionary.scale_and_offset(batch.x[rows])
        return scale * ((z[:, self._changing] * exchanged * self._sign) @ dictionary.decoder[self._changing])

    def variance(self, sums: SequenceSums, differences: Float[Tensor, "sequences"], weights: Float[Tensor, "sequences"]) -> Redrawn | None:
        """Variance of Σ numerators / Σ weights over draws of explanations.

        Args:
            sums: Those of the text.
            differences: By how much the numerators change where rebuilt explanations are in place.
            weights: The denominators.
        """
        return redrawn_variance(sums.per_unit(differences), sums.per_unit(weights), self._of_unit, share=self._share)

    def _group(self, batch: ActivationBatch) -> Tensor:
        """The group of latents that each activation of a batch is for."""
        return self._of_sequence[batch.first + batch.sequence]


def well_explained_again(
    good: Bool[Tensor, "d_sae"], scores: Scores, rebuilt: Explanations, min_f1: float, generator: torch.Generator
) -> Bool[Tensor, "d_sae"]:
    """Which latents would count as explained well in another draw, of those that were explained once more; the others as they do.

    Their recall is drawn as that of as many held-out activations, from the share that is predicted on the scoring text.

    Args:
        good: Which latents count.
        scores: The scores that this follows from.
        rebuilt: Explanations of another draw.
        min_f1: The least F1.
        generator: Draws recall.
    """
    again = scores.rebuilt
    assert again is not None
    hits, predicted, fired = again.hits.sum(1), again.predicted.sum(1), scores.fired[again.at]
    held_out = scores.held_out[again.at].sum(1).float()
    recall = torch.binomial(held_out, hits / fired.clamp_min(1), generator=generator) / held_out
    precision = hits / predicted.clamp_min(1)
    f1 = 2 * precision * recall / (precision + recall).clamp_min(torch.finfo(torch.float32).tiny)
    changed = good.clone()
    changed[rebuilt.latents.to(good.device)] = (f1 >= min_f1).to(good.device)
    return changed
