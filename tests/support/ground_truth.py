"""How near an SAE is to features that are known, in four ways; and how much it truly shrinks them."""

from typing import NamedTuple

import torch
from sae_lens.synthetic.evals import mean_correlation_coefficient
from scipy.optimize import linear_sum_assignment
from torch.nn.functional import normalize

__all__ = ["World", "truths"]

MATCHED = 0.5
"""A latent stands for a feature where the product of cosine and correlation is at least this."""


class World(NamedTuple):
    """Activations whose features are known: ``x = features @ directions + bias``."""

    x: torch.Tensor
    """[n, d_in]."""
    features: torch.Tensor
    """Not negative, [n, features]."""
    directions: torch.Tensor
    """Of length 1, [features, d_in]."""
    bias: torch.Tensor
    """[d_in]."""


@torch.no_grad()
def truths(dictionary, world):
    """What is known of an SAE's latents.

    - ``mcc``: the mean cosine of directions and decoder rows, matched one to one so that it is greatest (SAELens's function).
    - ``mcc_activations``: the same with the correlation of activations in the place of the cosine, what the encoder finds.
    - ``mcc_both``: the same with the product of the two: a latent must read a feature and write it.
    - ``recovery``: the mean of each feature's best cosine, weighted by how often it fires; no penalty for several latents alike.
    - ``true_ratio``: sum of true activations over sum of latents times their decoder norms, where both are active, of the matched pairs
      whose product is at least one half; ``None`` where there are none.
    """
    z = dictionary.encode(world.x)
    cosine = (normalize(dictionary.decoder, dim=1) @ world.directions.T).clamp(min=0)
    correlation = _correlation(z, world.features).clamp(min=0)
    frequency = (world.features > 0).float().mean(0)
    matched = linear_sum_assignment((cosine * correlation).numpy(), maximize=True)
    return {
        "mcc": mean_correlation_coefficient(dictionary.decoder, world.directions),
        "mcc_activations": _matched_mean(correlation),
        "mcc_both": _matched_mean(cosine * correlation),
        "recovery": float((cosine.amax(0) * frequency).sum() / frequency.sum()),
        "true_ratio": _true_ratio(z * dictionary.decoder.norm(dim=1), world.features, cosine * correlation, matched),
    }


def _correlation(z, features):
    """Pearson's, [d_sae, features]; 0 for what never changes."""
    a, b = (normalize(values.double() - values.double().mean(0), dim=0) for values in (z, features))
    return (a.T @ b).float()


def _matched_mean(similarity):
    rows, columns = linear_sum_assignment(similarity.numpy(), maximize=True)
    return float(similarity[rows, columns].mean())


def _true_ratio(added, features, similarity, matched):
    rows, columns = (torch.as_tensor(each) for each in matched)
    good = similarity[rows, columns] >= MATCHED
    latents, true = added[:, rows[good]], features[:, columns[good]]
    both = (latents > 0) & (true > 0)
    return float(true[both].sum() / latents[both].sum()) if bool(both.any()) else None
