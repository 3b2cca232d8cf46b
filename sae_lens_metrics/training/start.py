"""Whether a training run can start: what SAELens would only find out in its first step, and say in a traceback."""

import json
import math
from pathlib import Path
from typing import Any

import torch

from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.integrations.saelens import RUNNER_CFG_FILENAME
from sae_lens_metrics.subject.backends import make_backend
from sae_lens_metrics.training.isolation import isolated

__all__ = ["require_start"]


def require_start(runner: Any) -> None:
    """Makes sure that the model has the hook, that the activation there fits the SAE, and that buffer and context have a size that works.

    Args:
        runner: SAELens's runner for one SAE; nothing of it is changed, and no text is taken from it.

    Raises:
        ConfigError: If the buffer is too small for a batch, a sequence too long for the model, the activation does not fit the SAE, or
            the checkpoint to go on from is not whole.
        SubjectError: If the model lacks the hook.
    """
    cfg = runner.cfg
    longest = getattr(getattr(runner.model, "cfg", None), "n_ctx", None)
    if longest is not None and cfg.context_size > longest:
        raise ConfigError(f"sequences of {cfg.context_size} tokens (context_size) are too long for {cfg.model_name}, which takes {longest}")
    held = cfg.n_batches_in_buffer * cfg.context_size
    if held < cfg.train_batch_size_tokens:
        raise ConfigError(
            f"the buffer holds {held} activations (n_batches_in_buffer {cfg.n_batches_in_buffer} times context_size {cfg.context_size}), "
            f"less than a batch of {cfg.train_batch_size_tokens} (train_batch_size_tokens): set n_batches_in_buffer to "
            f"{-(-cfg.train_batch_size_tokens // cfg.context_size)} or more"
        )
    if cfg.resume_from_checkpoint is not None:
        _require_whole(Path(cfg.resume_from_checkpoint))
    with isolated(runner.model), torch.no_grad():
        backend = make_backend(runner.model, cfg.hook_name, cfg.model_kwargs)
        shape = backend.prefix(torch.arange(4).reshape(2, 2)).activation.shape[2:]
    width = shape[-1] if cfg.hook_head_index is not None else math.prod(shape)
    if width != runner.sae.cfg.d_in:
        raise ConfigError(f"activations at {cfg.hook_name} have {width} channels, the SAE reads {runner.sae.cfg.d_in}: set d_in to {width}")


def _require_whole(checkpoint: Path) -> None:
    """SAELens writes the configuration of the run last of a checkpoint: where it is whole, the other files are."""
    try:
        json.loads((checkpoint / RUNNER_CFG_FILENAME).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        others = sorted(each.parent.name for each in checkpoint.parent.glob(f"*/{RUNNER_CFG_FILENAME}") if each.parent != checkpoint)
        there = f"those beside it are {', '.join(others)}" if others else "there is none beside it, so begin anew"
        raise ConfigError(
            f"{str(checkpoint)!r} is no whole checkpoint to go on from ({RUNNER_CFG_FILENAME}, which SAELens writes last, is missing or "
            f"damaged): {there}"
        ) from error
