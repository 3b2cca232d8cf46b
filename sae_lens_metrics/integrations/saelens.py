"""What this package needs of SAELens that it does not export at its top: each name with what it stands in for.

A missing one is named by ``tests/integrations/test_seams.py``; ``seams`` lists the attributes that are relied upon besides these names.
"""

from sae_lens.config import HfDataset  # the type of a data set that its runners take
from sae_lens.constants import (
    ACTIVATION_SCALER_CFG_FILENAME,  # where a checkpoint keeps the scale of its activations
    DTYPE_MAP,  # which dtypes a configuration may name
    RUNNER_CFG_FILENAME,  # where a checkpoint keeps its run's configuration
    SAE_CFG_FILENAME,  # what a folder that holds an SAE is known by
    SAE_WEIGHTS_FILENAME,  # which files to look at when weights are damaged
    SPARSITY_FILENAME,  # likewise
)
from sae_lens.evals import EvalConfig, run_evals  # its own evaluation, which ours adds to
from sae_lens.load_model import (
    HookedProxyLM,  # how a model of transformers' own is told from one with hook points
    load_model,  # a model by the class that an SAE's metadata name
)
from sae_lens.loading.pretrained_sae_loaders import (
    get_conversion_loader_name,  # whether a release is in SAELens's own format
    get_sae_lens_config_from_disk,  # an SAE's configuration without its weights
    get_sae_lens_config_from_hf,  # likewise
    handle_config_defaulting,  # older configurations as today's
    load_sae_config_from_huggingface,  # likewise, of other formats
)
from sae_lens.loading.pretrained_saes_directory import (
    get_config_overrides,  # what the directory knows better than a configuration
    get_pretrained_saes_directory,  # which releases and SAEs there are
    get_repo_id_and_folder_name,  # where an SAE of a release is
)
from sae_lens.registry import (
    SAE_CLASS_REGISTRY,  # which architectures there are
    SAE_TRAINING_CLASS_REGISTRY,  # likewise
    get_sae_class,  # whether an architecture is known
    get_sae_training_class,  # likewise
)
from sae_lens.saes.sae import T_TRAINING_SAE_CONFIG  # the type parameter of its runner's configuration
from sae_lens.training._interruption import InterruptedException  # what its signal handlers raise
from sae_lens.training.activation_scaler import ActivationScaler  # the scale that its trainer keeps outside the SAE
from sae_lens.training.prefetch import PrefetchingIterator  # a store that must be paused before the model is used
from sae_lens.util import (
    extract_layer_from_tlens_hook_name,  # the layer in a hook's name
    get_special_token_ids,  # which tokens its store leaves out
)

__all__ = [
    "ACTIVATION_SCALER_CFG_FILENAME",
    "DTYPE_MAP",
    "RUNNER_CFG_FILENAME",
    "SAE_CFG_FILENAME",
    "SAE_WEIGHTS_FILENAME",
    "SPARSITY_FILENAME",
    "T_TRAINING_SAE_CONFIG",
    "ActivationScaler",
    "EvalConfig",
    "HfDataset",
    "HookedProxyLM",
    "InterruptedException",
    "PrefetchingIterator",
    "extract_layer_from_tlens_hook_name",
    "get_config_overrides",
    "get_conversion_loader_name",
    "get_pretrained_saes_directory",
    "get_repo_id_and_folder_name",
    "get_sae_class",
    "get_sae_lens_config_from_disk",
    "get_sae_lens_config_from_hf",
    "get_sae_training_class",
    "get_special_token_ids",
    "handle_config_defaulting",
    "load_model",
    "load_sae_config_from_huggingface",
    "registered_architectures",
    "run_evals",
]


def registered_architectures(*, training: bool = True) -> list[str]:
    """The architectures of SAEs that can be loaded.

    Args:
        training: Whether those are among them that there are in training only.
    """
    return list(dict.fromkeys([*SAE_CLASS_REGISTRY, *(SAE_TRAINING_CLASS_REGISTRY if training else ())]))
