"""The inference SAE that SAELens would save at this moment of a training run."""

import copy
import warnings
from typing import Any

import torch
from sae_lens import SAE, TrainingSAE

from sae_lens_metrics.integrations.saelens import ActivationScaler

__all__ = ["SCALED_OUTSIDE", "inference_sae"]

SCALED_OUTSIDE = {"expected_average_only_in": "scaling_factor", "covariance_whitening": "whitening"}
"""Normalisations that SAELens's trainer does, not the SAE, until it folds them into the weights; by what its scaler keeps of them."""


@torch.no_grad()
def inference_sae(sae: TrainingSAE[Any], scaler: ActivationScaler | None = None) -> SAE[Any]:
    """Builds a separate inference SAE from a training SAE, with the activation scaler folded in.

    Everything that differs between training and inference (running thresholds, scaling, whitening, sparse activations) is
    handled by SAELens's own code for saving, so the result is what would be saved. The training SAE is left untouched, and no
    random number is drawn: both SAEs are made on the meta device and take over copies of the weights.

    Args:
        sae: An SAE in training, of any architecture that SAELens can train.
        scaler: The run's activation scaler, if it is not folded into the weights yet.

    Returns:
        An SAE in evaluation mode that encodes raw activations of the model.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(?s).*model_from_pretrained_kwargs")  # advice for loading; the model is here
        return _inference_sae(sae, scaler)


def _inference_sae(sae: TrainingSAE[Any], scaler: ActivationScaler | None) -> SAE[Any]:
    device = sae.W_dec.device
    config = copy.deepcopy(sae.cfg)
    config.device = "meta"
    folded = type(sae)(config)
    folded.load_state_dict({name: value.detach().clone() for name, value in sae.state_dict().items()}, assign=True)
    folded.to(device)
    _fold(folded, scaler)

    weights = folded.state_dict()
    folded.process_state_dict_for_saving_inference(weights)
    inference_config = {**folded.cfg.get_inference_sae_cfg_dict(), "device": "meta"}
    inference = SAE.from_dict(inference_config)
    inference.process_state_dict_for_loading(weights)
    inference.load_state_dict(weights, assign=True)
    return inference.to(device).requires_grad_(False).eval()


def _fold(sae: TrainingSAE[Any], scaler: ActivationScaler | None) -> None:
    if scaler is None:
        return
    if scaler.scaling_factor is not None:
        sae.fold_activation_norm_scaling_factor(scaler.scaling_factor)
    whitening = getattr(scaler, "whitening", None)  # not in the oldest SAELens that is supported
    if whitening is not None:
        sae.fold_activation_whitening(mean=whitening.mean, whitening_matrix=whitening.matrix, unwhitening_matrix=whitening.inverse_matrix)
