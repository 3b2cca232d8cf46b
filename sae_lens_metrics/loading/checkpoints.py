"""Checkpoints of SAELens's training, read as the inference SAEs that it would have saved at that moment."""

import json
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from sae_lens import SAE, TrainingSAE

from sae_lens_metrics.errors import SubjectError
from sae_lens_metrics.integrations.saelens import (
    ACTIVATION_SCALER_CFG_FILENAME,
    RUNNER_CFG_FILENAME,
    ActivationScaler,
    get_sae_class,
    get_sae_training_class,
)
from sae_lens_metrics.subject.inference_sae import SCALED_OUTSIDE, inference_sae

__all__ = ["is_checkpoint", "load_checkpoint", "training_moment"]


def is_checkpoint(config: Mapping[str, Any]) -> bool:
    """Whether an SAE's configuration is of one in training: it has settings that mean nothing for inference.

    Args:
        config: What ``cfg.json`` holds. Before SAELens 6, which keeps metadata apart, inference SAEs had such settings too.
    """
    architecture = config.get("architecture")
    if not isinstance(config.get("metadata"), dict) or not isinstance(architecture, str):
        return False
    try:
        trained = {each.name for each in fields(get_sae_training_class(architecture)[1])}
    except KeyError:
        return False
    try:
        used = {each.name for each in fields(get_sae_class(architecture)[1])}
    except KeyError:  # it is trained only, and becomes another architecture when it is saved
        return True
    return bool((trained - used) & {*config})


def training_moment(folder: str | Path) -> dict[str, Any] | None:
    """Which moment of which training run a checkpoint is of, as JSON types: what ``histories_of`` draws a curve from.

    SAELens names a checkpoint by the activations trained on so far, those of several SAEs within by the SAE.

    Args:
        folder: Holds the checkpoint.

    Returns:
        The run's folder, the SAE's name in it (``None`` for an only one), activations and steps so far, and whether it is the last one;
        ``None`` for what is not called like a checkpoint.
    """
    path = Path(folder).absolute()
    places = sorted([(path, None), (path.parent, path.name)], key=lambda each: not (each[0] / RUNNER_CFG_FILENAME).is_file())
    for place, sae in places:
        if named := re.fullmatch(r"(final_)?(\d+)", place.name):
            samples = int(named[2])
            step = samples // _batch_size(place / RUNNER_CFG_FILENAME)
            return {"run": str(place.parent), "sae": sae, "n_training_samples": samples, "step": step, "final": named[1] is not None}
    return None


def _batch_size(file: Path) -> int:
    """Activations a step; 1 where nobody knows, so that steps are activations."""
    try:
        return max(1, int(json.loads(file.read_text(encoding="utf-8"))["train_batch_size_tokens"]))
    except (OSError, ValueError, LookupError, TypeError):
        return 1


def load_checkpoint(folder: str | Path, *, device: str, dtype: str) -> SAE[Any]:
    """Loads a checkpoint, with the scale that its trainer keeps beside the SAE folded in.

    Args:
        folder: Holds ``cfg.json``, ``sae_weights.safetensors`` and ``activation_scaler.json``, as SAELens's trainer writes them.
        device: Where to put it.
        dtype: Its dtype.

    Raises:
        SubjectError: If the SAE was trained on scaled activations and the scale is not there.
    """
    sae = TrainingSAE.load_from_disk(folder, device=device, dtype=dtype)
    return inference_sae(sae, _scaler(Path(folder) / ACTIVATION_SCALER_CFG_FILENAME, str(sae.cfg.normalize_activations)))


def _scaler(file: Path, normalization: str) -> ActivationScaler | None:
    needed = SCALED_OUTSIDE.get(normalization)
    if needed is None:
        return None
    scaler = ActivationScaler()
    if file.is_file():
        scaler.load(file)
    if getattr(scaler, needed, None) is None:
        lack = "it is not in that file" if file.is_file() else "there is no such file"
        raise SubjectError(
            f"the checkpoint was trained with normalize_activations={normalization!r}, whose "
            f"{needed.replace('_', ' ')} SAELens writes to {file.name} beside it, and {lack}: "
            "copy the whole folder of the checkpoint, or evaluate the SAE that the run saved at its end"
        )
    return scaler
