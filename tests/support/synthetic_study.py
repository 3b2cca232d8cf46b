"""SAELens's synthetic activations, on which probes and refinement are computed from their pure functions, as there is no text."""

import torch
from ground_truth import World, truths
from sae_lens.synthetic import SyntheticModel, SyntheticModelConfig, ZipfianFiringProbabilityConfig

from sae_lens_metrics.functional.best_probe import best_probes, held_out
from sae_lens_metrics.functional.refinement import refine_activations
from sae_lens_metrics.subject.dictionary import Dictionary

__all__ = ["SyntheticStudy"]

FEATURES, D_IN = 160, 96
EXAMPLES = 400
"""Activations for each probe, half of them with the feature; half are fitted on."""


class SyntheticStudy:
    """Everything that is the same for all SAEs.

    Args:
        training: Activations to train on.
        evaluation: Activations to evaluate on.
        tasks: Features to probe for, at equal distances from the most frequent to the rarest.
        seed: Of the features and the activations.
    """

    def __init__(self, *, training, evaluation, tasks, seed=0):
        often = ZipfianFiringProbabilityConfig(exponent=0.8, max_prob=0.1, min_prob=0.01)
        config = SyntheticModelConfig(
            FEATURES, D_IN, often, mean_firing_magnitudes=1.5, std_firing_magnitudes=0.3, seed=seed, orthogonalization=None
        )
        model = SyntheticModel(config)
        self.training, self.seen = sample(model, training, seed + 1), sample(model, evaluation, seed + 2)
        self._tasks = torch.linspace(0, FEATURES - 1, tasks).round().long().tolist()
        self._seed = seed

    @torch.no_grad()
    def evaluate(self, sae):
        """What the pure functions say of an SAE, and what is true of it."""
        dictionary = Dictionary(sae, D_IN)
        return {"numbers": self._probes(dictionary) | self._refinement(dictionary), "truth": truths(dictionary, self.seen)}

    def _probes(self, dictionary):
        generator = torch.Generator().manual_seed(self._seed)
        losses = torch.tensor([self._probe(dictionary, self.seen.features[:, feature] > 0, generator) for feature in self._tasks])
        return dict(zip(("probe/loss", "probe/held_out_loss"), losses.mean(0).tolist(), strict=True))

    def _probe(self, dictionary, fires, generator):
        classes = [(fires == label).nonzero()[:, 0] for label in (True, False)]
        chosen = torch.cat([members[torch.randperm(len(members), generator=generator)[: EXAMPLES // 2]] for members in classes])
        fit, test = (torch.arange(start, len(chosen), 2) for start in (0, 1))
        z = dictionary.pre_activations(self.seen.x[chosen])
        [best] = best_probes(lambda part: z[fit][:, part], dictionary.d_sae, [fires[chosen][fit]], at_once=dictionary.d_sae)
        return best.loss, held_out(best, z[test][:, best.index], fires[chosen][test], len(fit)).loss

    def _refinement(self, dictionary):
        x, rows = self.seen.x, dictionary.decoder
        z = dictionary.encode(x)
        fits = (z != 0).sum(1) <= D_IN  # beyond that the best values are not unique
        scale, offset = dictionary.scale_and_offset(x)
        refined = torch.where(fits[:, None], refine_activations((x - offset) / scale, rows, z * fits[:, None]), z)
        length = rows.norm(dim=1)
        ratio = {"shrinkage/ratio": float((refined[fits] @ length).sum() / (z[fits] @ length).sum())} if bool(z[fits].any()) else {}
        errors = {
            f"shrinkage/mse_{name}": _normalised_error(x, dictionary.decode(acts, x)) for name, acts in (("raw", z), ("refined", refined))
        }
        active = {"sanity/l0": float((z != 0).sum(1).float().mean()), "sanity/explained_variance": 1 - errors["shrinkage/mse_raw"]}
        return ratio | errors | active


def sample(model, n, seed):
    """Activations with their features; SAELens draws them from the global generator, which is put back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        x, features = model.sample_with_features(n)
    return World(x, features, model.feature_dict.feature_vectors.data, model.feature_dict.bias.data)


def _normalised_error(x, reconstruction):
    return float((x - reconstruction).square().sum() / (x - x.mean(0)).square().sum())
