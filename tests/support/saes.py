"""SAEs of every architecture, small and random, for tests."""

import copy
from dataclasses import replace

import torch
from sae_lens import (
    BatchTopKTrainingSAEConfig,
    GatedTrainingSAEConfig,
    JumpReLUTrainingSAEConfig,
    MatryoshkaBatchTopKTrainingSAEConfig,
    StandardTrainingSAEConfig,
    TopKTrainingSAEConfig,
)
from sae_lens.registry import get_sae_training_class
from sae_lens.saes.abstopk_sae import AbsTopKTrainingSAEConfig
from sae_lens.saes.matching_pursuit_sae import MatchingPursuitTrainingSAEConfig

HOOK = "blocks.1.hook_resid_post"
D_IN, D_SAE = 128, 96

TRAINING_CONFIGS = {
    "standard": lambda **k: StandardTrainingSAEConfig(l1_coefficient=1.0, **k),
    "gated": lambda **k: GatedTrainingSAEConfig(l1_coefficient=1.0, **k),
    "jumprelu": lambda **k: JumpReLUTrainingSAEConfig(l0_coefficient=0.01, **k),
    "topk": lambda **k: TopKTrainingSAEConfig(k=8, **k),
    "abstopk": lambda **k: AbsTopKTrainingSAEConfig(k=8, **k),
    "batchtopk": lambda **k: BatchTopKTrainingSAEConfig(k=8, **k),
    "matryoshka_batchtopk": lambda **k: MatryoshkaBatchTopKTrainingSAEConfig(k=8, matryoshka_widths=[32, 96], **k),
    "matching_pursuit": lambda **k: MatchingPursuitTrainingSAEConfig(residual_threshold=0.1, max_iterations=8, **k),
}
SUPPORTED = [name for name in TRAINING_CONFIGS if name != "matching_pursuit"]


def training_sae(architecture, *, hook=HOOK, seed=0, context_size=64, normalize="none", randomize=True, d_in=D_IN, **kwargs):
    """A training SAE with weights that are not at their symmetric start: biases and decoder norms differ between latents."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        cfg = TRAINING_CONFIGS[architecture](d_in=d_in, d_sae=D_SAE, normalize_activations=normalize, **kwargs)
        sae = get_sae_training_class(architecture)[0](cfg)
        if randomize:
            with torch.no_grad():
                for name, parameter in sae.named_parameters():
                    if "threshold" in name:
                        continue
                    parameter.add_(torch.randn_like(parameter) * (0.05 if parameter.ndim > 1 else 0.1))
                sae.W_dec.mul_(torch.rand(D_SAE, 1) + 0.5)
        if hasattr(sae, "topk_threshold"):
            sae.topk_threshold.fill_(0.3)
    metadata = sae.cfg.metadata
    metadata.hook_name, metadata.context_size, metadata.prepend_bos = hook, context_size, True
    metadata.model_name, metadata.model_class_name = "tiny_lm", "HookedTransformer"
    return sae


def through(subject, **backends):
    """The same subject, asked through other backends than those that were found."""
    other = copy.copy(subject)
    other.site = subject.site.using(replace(subject.site.capabilities, **backends))
    return other


def without_affine_encoder(subject):
    """The same subject, as if its SAE had to encode everything to give a few pre-activations."""
    other = copy.copy(subject)
    other.dictionary = subject.dictionary.using(replace(subject.dictionary.capabilities, affine_encoder=None))
    return other
