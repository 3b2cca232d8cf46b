"""SAELens's trainers, of one SAE and of several, seen alike."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from sae_lens import TrainingSAE

from sae_lens_metrics.integrations.progress import others_are_silent, progress
from sae_lens_metrics.integrations.saelens import ActivationScaler

__all__ = ["SINGLE", "first_trainer", "telling_how_far", "trained"]

SINGLE = ""
"""Name of the only SAE of a run."""

_IN_A_BAR = 3
"""SAEs whose losses leave room in a bar for how far training is."""


@contextmanager
def telling_how_far(trainer: Any, tokens: int) -> Iterator[None]:
    """How far training is, where SAELens's own bar is switched off, or names so many SAEs that it says nothing else."""
    if not others_are_silent() and len(getattr(trainer, "trainers", ())) <= _IN_A_BAR:
        yield
        return
    first = first_trainer(trainer)
    step = first.step
    with progress("training", unit="token", total=tokens, scaled=True) as bar:

        def step_and_tell(batch: torch.Tensor) -> Any:
            result = step(batch)
            bar.update(len(batch))
            return result

        first.step = step_and_tell
        try:
            yield
        finally:
            first.step = step


def first_trainer(trainer: Any) -> Any:
    """The trainer of the only SAE, or of the first of several."""
    return next(iter(trainer.trainers.values())) if hasattr(trainer, "trainers") else trainer


def trained(trainer: Any) -> tuple[dict[str, TrainingSAE[Any]], dict[str, ActivationScaler]]:
    """The SAEs and scalers of SAELens's single-SAE or multi-SAE trainer."""
    trainers = getattr(trainer, "trainers", None) or {SINGLE: trainer}
    return {name: t.sae for name, t in trainers.items()}, {name: t.activation_scaler for name, t in trainers.items()}
