"""SAEs of graded quality: trained by SAELens to different lengths, sparsities, widths and architectures; and controls."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import torch
from sae_lens import (
    SAE,
    BatchTopKTrainingSAEConfig,
    GatedTrainingSAEConfig,
    JumpReLUTrainingSAEConfig,
    StandardTrainingSAEConfig,
    TopKTrainingSAEConfig,
    TrainingSAE,
)
from sae_lens.config import LoggingConfig, SAETrainerConfig
from sae_lens.saes.standard_sae import StandardSAE, StandardSAEConfig
from sae_lens.saes.topk_sae import TopKSAE, TopKSAEConfig
from sae_lens.training.sae_trainer import SAETrainer

from sae_lens_metrics.subject.inference_sae import inference_sae

__all__ = ["Recipe", "oracle", "permuted", "random_sae", "train"]

ARCHITECTURES = {
    "topk": lambda sparsity, **shape: TopKTrainingSAEConfig(k=sparsity, **shape),
    "batchtopk": lambda sparsity, **shape: BatchTopKTrainingSAEConfig(k=sparsity, **shape),
    "l1": lambda sparsity, **shape: StandardTrainingSAEConfig(l1_coefficient=sparsity, l1_warm_up_steps=100, **shape),
    "gated": lambda sparsity, **shape: GatedTrainingSAEConfig(l1_coefficient=sparsity, l1_warm_up_steps=100, **shape),
    "jumprelu": lambda sparsity, **shape: JumpReLUTrainingSAEConfig(l0_coefficient=sparsity, l0_warm_up_steps=100, **shape),
}
"""Training configurations by architecture; ``sparsity`` is k, or the coefficient of the penalty."""

BATCH, LEARNING_RATE = 512, 2e-3


@dataclass(frozen=True)
class Recipe:
    """One training run, of which SAEs at several steps are kept."""

    architecture: str
    sparsity: float
    d_sae: int
    steps: tuple[int, ...] = field(default=(3_000,))
    """When to keep the SAE; the last one is the end of training."""
    seed: int = 0

    @property
    def name(self):
        """What the run is called."""
        return f"{self.architecture} {self.sparsity:g}, {self.d_sae} latents"


def train(recipe: Recipe, x: torch.Tensor) -> Iterator[tuple[str, SAE]]:
    """Trains on activations at hand, [n, d_in], in an order that the recipe's seed draws; gives names and copies of the SAE."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        cfg = ARCHITECTURES[recipe.architecture](recipe.sparsity, d_in=x.shape[1], d_sae=recipe.d_sae)
        trainer = _trainer(TrainingSAE.from_dict(cfg.to_dict()), recipe.steps[-1])
        batches = _batches(x, torch.Generator().manual_seed(recipe.seed))
        for step in range(1, recipe.steps[-1] + 1):
            trainer.step(next(batches))
            trainer.n_training_steps += 1
            if step in recipe.steps:
                yield f"{recipe.name}, {step} steps", inference_sae(trainer.sae)


def _trainer(sae, steps):
    return SAETrainer(
        SAETrainerConfig(
            total_training_samples=steps * BATCH,
            train_batch_size_samples=BATCH,
            lr=LEARNING_RATE,
            lr_end=LEARNING_RATE / 10,
            lr_warm_up_steps=min(50, steps // 4),
            lr_decay_steps=steps // 4,
            dead_feature_window=300,
            logger=LoggingConfig(log_to_wandb=False),
        ),
        sae,
        iter(()),
    )


def _batches(x, generator):
    while True:
        yield from (x[rows] for rows in torch.randperm(len(x), generator=generator).split(BATCH)[:-1])


# --- controls ----------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def random_sae(x, d_sae, *, k=None, seed=0):
    """Random unit directions, read and written; about half of the latents active, or ``k`` of them as in a TopK SAE."""
    directions = torch.randn(d_sae, x.shape[1], generator=torch.Generator().manual_seed(10_000 + seed))
    directions = torch.nn.functional.normalize(directions, dim=1)
    return _sae(directions.T.contiguous(), directions, torch.zeros(d_sae), x.mean(0), k=k)


@torch.no_grad()
def permuted(sae, seed=0):
    """The same SAE with its decoder rows in another order: latents write what others have read."""
    other = copy.deepcopy(sae)
    other.W_dec.copy_(sae.W_dec[torch.randperm(len(sae.W_dec), generator=torch.Generator().manual_seed(seed))])
    return other


def oracle(x, features, directions, bias, *, steps=400, seed=0):
    """The true directions, and the affine ReLU encoder that tells the true activations best.

    Args:
        x: Activations, [n, d_in].
        features: The true activations of the features, [n, features].
        directions: The true directions, [features, d_in].
        bias: What x is where no feature fires.
        steps: Of Adam, for the encoder.
        seed: Of its batches.
    """
    weight, threshold = directions.T.clone().requires_grad_(), torch.full((len(directions),), -0.3, requires_grad=True)
    optimizer = torch.optim.Adam([weight, threshold], lr=1e-2)
    for rows in islice(_batches(torch.arange(len(x)), torch.Generator().manual_seed(seed)), steps):
        optimizer.zero_grad()
        ((x[rows] - bias) @ weight + threshold).relu().sub(features[rows]).square().sum(1).mean().backward()
        optimizer.step()
    return _sae(weight.detach(), directions, threshold.detach(), bias)


@torch.no_grad()
def _sae(encoder, decoder, threshold, bias, *, k=None):
    shape = {"d_in": encoder.shape[0], "d_sae": encoder.shape[1]}
    sae = StandardSAE(StandardSAEConfig(**shape)) if k is None else TopKSAE(TopKSAEConfig(k=k, **shape))
    for name, value in {"W_enc": encoder, "W_dec": decoder, "b_enc": threshold, "b_dec": bias}.items():
        getattr(sae, name).copy_(value)
    return sae.requires_grad_(False).eval()
