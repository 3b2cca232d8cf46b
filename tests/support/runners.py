"""Small training runs through SAELens, for tests."""

from sae_lens import LanguageModelSAERunnerConfig, LanguageModelSAETrainingRunner, LoggingConfig
from sae_lens.multi_sae_training_runner import MultiSAETrainingRunner, MultiSAETrainingRunnerConfig
from saes import D_IN, D_SAE, HOOK, TRAINING_CONFIGS

from sae_lens_metrics import MetricsConfig, attach_metrics
from sae_lens_metrics.metrics.ablation.spec import AblationConfig
from sae_lens_metrics.metrics.n2g.spec import N2GConfig
from sae_lens_metrics.metrics.probe.spec import ProbeConfig
from sae_lens_metrics.metrics.shrinkage.spec import ShrinkageConfig

STEPS, BATCH, CONTEXT = 12, 256, 64


def small_metrics(**changes):
    """All metrics on very little text, as often as SAELens asks."""
    settings = {
        "tokens": 512,
        "max_overhead": 1.0,
        "probe": ProbeConfig(tasks=["base64", "code_against_prose"], examples=40),
        "n2g": N2GConfig(max_length=3),
        "ablation": AblationConfig(sequences=4, positions=2, latents=2, baselines=2),
        "shrinkage": ShrinkageConfig(tokens=512),
    }
    return MetricsConfig(**(settings | changes))


def logging_config(wandb, every=4):
    return LoggingConfig(log_to_wandb=wandb, log_weights_to_wandb=False, wandb_log_frequency=1, eval_every_n_wandb_logs=every)


def _shared(tmp_path, wandb, changes):
    shared = {
        "model_name": "tiny_lm",
        "dataset_path": "standard library",
        "context_size": CONTEXT,
        "training_tokens": STEPS * BATCH,
        "train_batch_size_tokens": BATCH,
        "n_batches_in_buffer": 8,
        "store_batch_size_prompts": 4,
        "n_batches_for_norm_estimate": 4,
        "n_eval_batches": 1,
        "lr": 1e-3,
        "seed": 42,
        "logger": logging_config(wandb),
        "checkpoint_path": str(tmp_path / "checkpoints"),
        "output_path": str(tmp_path / "output"),
    }
    return shared | changes


def single_runner(tmp_path, model, dataset, architecture="topk", *, normalize="none", wandb=False, metrics=None, sae=None, **changes):
    """SAELens's own runner, with metrics attached unless they are ``None``."""
    sae = sae or TRAINING_CONFIGS[architecture](d_in=D_IN, d_sae=D_SAE, normalize_activations=normalize)
    cfg = LanguageModelSAERunnerConfig(sae=sae, hook_name=HOOK, verbose=False, **_shared(tmp_path, wandb, changes))
    runner = LanguageModelSAETrainingRunner(cfg, override_dataset=dataset, override_model=model)
    return runner if metrics is None else attach_metrics(runner, metrics)


def multi_runner(tmp_path, model, dataset, *, wandb=False, metrics=None, **changes):
    """SAELens's multi-SAE runner: two architectures at two hooks."""
    saes = {name: TRAINING_CONFIGS[name](d_in=D_IN, d_sae=D_SAE) for name in ("standard", "topk")}
    hooks = {"standard": HOOK, "topk": "blocks.2.hook_resid_post"}
    cfg = MultiSAETrainingRunnerConfig(saes=saes, hook_names=hooks, **_shared(tmp_path, wandb, changes))
    runner = MultiSAETrainingRunner(cfg, override_dataset=dataset, override_model=model)
    return runner if metrics is None else attach_metrics(runner, metrics)
