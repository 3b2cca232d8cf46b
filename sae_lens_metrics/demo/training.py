"""SAEs of the tiny language model, trained through SAELens with the flag on."""

import math
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from datasets import Dataset
from sae_lens import LoggingConfig, StandardTrainingSAEConfig, TopKTrainingSAEConfig, TrainingSAEConfig

from sae_lens_metrics.demo.shipped import TINY_LM
from sae_lens_metrics.integrations.transformer_lens import HookedTransformer
from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.results.history import METRICS_FILENAME, History, read_histories
from sae_lens_metrics.text.standard_library import standard_library_documents
from sae_lens_metrics.training.attach import MetricsRunnerConfig, MetricsTrainingRunner

__all__ = ["HOOK", "TrainingSize", "demo_saes", "train_sae", "training_text"]

HOOK = "blocks.2.hook_resid_post"
_CONTEXT, _BATCH, _D_IN = 128, 1024, 128
_LOGGED = 5
"""Steps from one log call of SAELens to the next."""


@dataclass(frozen=True)
class TrainingSize:
    """How long an SAE is trained, and how often its metrics are evaluated."""

    tokens: int
    """Tokens to train on."""
    evaluations: int
    """Evaluations during training, besides the one at its end."""


def demo_saes(d_sae: int = 512) -> dict[str, TrainingSAEConfig]:
    """The demo's two SAEs: one with an L1 penalty and one TopK, at similar L0.

    Args:
        d_sae: Latents of each.
    """
    scaled: Any = {"d_in": _D_IN, "d_sae": d_sae, "normalize_activations": "expected_average_only_in"}
    return {
        "L1": StandardTrainingSAEConfig(**scaled, l1_coefficient=1.9, l1_warm_up_steps=200),
        "TopK": TopKTrainingSAEConfig(**scaled, k=16),
    }


def training_text(documents: int = 900) -> Dataset:
    """Real text to train on.

    Args:
        documents: Documents, more than training reaches, so that the flag finds rows to hold out.
    """
    return Dataset.from_dict({"text": list(islice(standard_library_documents("train"), documents))})


def train_sae(
    name: str,
    sae: TrainingSAEConfig,
    *,
    model: HookedTransformer,
    text: Dataset,
    size: TrainingSize,
    metrics: MetricsConfig,
    output: Path,
    wandb_project: str | None,
) -> History:
    """Trains an SAE with metrics on.

    Args:
        name: Its name.
        sae: What to train.
        model: The language model.
        text: What to train on.
        size: How long.
        metrics: What to compute during training and at its end.
        output: The SAE's folder becomes ``output/name``, its metrics over time stand in ``output/checkpoints/name``.
        wandb_project: W&B project to log to; ``None`` for none.

    Returns:
        Its metrics over training.
    """
    steps = size.tokens // _BATCH
    cfg = MetricsRunnerConfig(
        sae=sae,
        metrics=metrics,
        model_name=TINY_LM,
        hook_name=HOOK,
        dataset_path="standard library",
        context_size=_CONTEXT,
        training_tokens=size.tokens,
        train_batch_size_tokens=_BATCH,
        n_batches_in_buffer=64,
        store_batch_size_prompts=32,
        n_batches_for_norm_estimate=20,
        exclude_special_tokens=True,
        dead_feature_window=200,
        feature_sampling_window=min(100, steps // 4),  # SAELens notes the L0 of the last window
        lr=2e-3,
        lr_warm_up_steps=50,
        lr_decay_steps=steps // 4,
        n_eval_batches=2,
        logger=LoggingConfig(
            log_to_wandb=wandb_project is not None,
            wandb_project=wandb_project or "",
            run_name=name,
            wandb_log_frequency=_LOGGED,
            eval_every_n_wandb_logs=math.ceil(steps / (size.evaluations + 1) / _LOGGED),
            log_weights_to_wandb=False,
        ),
        checkpoint_path=str(output / "checkpoints" / name),
        output_path=str(output / name),
        verbose=False,
    )
    MetricsTrainingRunner(cfg, override_dataset=text, override_model=model).run()
    return read_histories(Path(str(cfg.checkpoint_path)) / METRICS_FILENAME)[""]
