"""A grid of SAEs, trained through SAELens with the flag on: those of one seed together, on one stream of activations."""

import logging
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset, IterableDataset
from sae_lens import LoggingConfig, StandardTrainingSAEConfig, TopKTrainingSAEConfig, TrainingSAEConfig

from sae_lens_metrics.comparison.trends.grid import Cell, Trained
from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.metrics.shrinkage.spec import ShrinkageConfig
from sae_lens_metrics.training.attach import MultiMetricsRunnerConfig, MultiMetricsTrainingRunner

__all__ = ["GridTraining", "train_grid"]

logger = logging.getLogger("sae_lens_metrics")

_CONTEXT, _SMALL_BATCH, _BATCH = 128, 1024, 4096
_MANY_STEPS = 4_000
"""Steps of small batches from which batches are large."""


@dataclass(frozen=True)
class GridTraining:
    """How SAEs are trained."""

    model: Any
    """The model, loaded."""
    model_name: str
    """What their metadata call it."""
    hook: str
    """Where they sit."""
    d_in: int
    """Dimension of the activation there."""
    text: Callable[[], Dataset | IterableDataset]
    """What they read; asked for if there is anything to train."""
    text_name: str
    """What their metadata call that."""
    tokens: int
    """How much of it."""
    device: str = "cpu"

    @property
    def batch(self) -> int:
        """Tokens of a step: few where there are few steps."""
        return _SMALL_BATCH if self.tokens < _MANY_STEPS * _SMALL_BATCH else _BATCH

    @property
    def steps(self) -> int:
        """Steps of each SAE."""
        return self.tokens // self.batch

    def sae(self, cell: Cell) -> TrainingSAEConfig:
        """SAELens's configuration of a kind of SAE."""
        common: Any = {"d_in": self.d_in, "d_sae": cell.n, "normalize_activations": "expected_average_only_in", "device": self.device}
        if cell.architecture == "TopK":
            return TopKTrainingSAEConfig(**common, k=int(cell.dial))
        return StandardTrainingSAEConfig(**common, l1_coefficient=cell.dial, l1_warm_up_steps=self.steps // 6)


def train_grid(wanted: Iterable[Trained], training: GridTraining, output: Path) -> dict[str, Path]:
    """Trains SAEs, those of one seed at once; seeds that are there already are passed over.

    All SAEs of a seed read the same activations in the same order, and the model runs once for all of them.

    Args:
        wanted: The SAEs.
        training: How.
        output: Their folders are below it, each by its name.

    Returns:
        The folders by the SAEs' names.
    """
    by_seed: dict[int, list[Trained]] = {}
    for each in wanted:
        by_seed.setdefault(each.seed, []).append(each)
    for seed, together in by_seed.items():
        folder = output / f"seed-{seed}"
        if not folder.exists():
            gib = 16 * 2 * training.d_in * sum(each.cell.n for each in together) / 2**30  # weights, gradients, and what Adam keeps
            said = len(together), seed, f"{training.tokens:,}", gib
            logger.info("training %d SAEs with seed %d on %s tokens, with metrics on; they take some %.2g GiB beside the model", *said)
            unfinished = output / f"unfinished-{seed}"
            shutil.rmtree(unfinished, ignore_errors=True)
            _train({each.cell.name: training.sae(each.cell) for each in together}, training, seed, unfinished)
            unfinished.rename(folder)  # at once, so that what is called so is whole
    return {each.name: output / each.name for together in by_seed.values() for each in together}


def _train(saes: Mapping[str, TrainingSAEConfig], training: GridTraining, seed: int, output: Path) -> None:
    steps = training.steps
    cfg = MultiMetricsRunnerConfig(
        saes=saes,
        hook_names=training.hook,
        metrics=MetricsConfig(names=["shrinkage"], tokens=2_048, shrinkage=ShrinkageConfig(tokens=2_048)),
        model_name=training.model_name,
        dataset_path=training.text_name,
        context_size=_CONTEXT,
        training_tokens=training.tokens,
        train_batch_size_tokens=training.batch,
        n_batches_in_buffer=64,
        store_batch_size_prompts=32,
        n_batches_for_norm_estimate=20,
        exclude_special_tokens=True,
        dead_feature_window=max(1, steps // 3),
        feature_sampling_window=max(1, min(100, steps // 4)),  # SAELens notes the L0 of the last window
        lr=2e-3 * (128 / training.d_in) ** 0.5,
        lr_warm_up_steps=min(50, steps // 4),
        lr_decay_steps=steps // 4,
        n_eval_batches=2,
        seed=42 + seed,
        device=training.device,
        logger=LoggingConfig(log_to_wandb=False, wandb_log_frequency=max(1, steps // 8), eval_every_n_wandb_logs=2),
        checkpoint_path=str(output / "checkpoints"),
        output_path=str(output),
    )
    MultiMetricsTrainingRunner(cfg, override_dataset=training.text(), override_model=training.model).run()
