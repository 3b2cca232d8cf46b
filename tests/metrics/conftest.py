"""Two SAEs that SAELens trained on the real language model, once for all tests of metrics."""

import pytest
import torch
from runners import single_runner
from saes import TO_TRAIN

from sae_lens_metrics import Subject


@pytest.fixture(scope="session")
def trained(model, dataset, tmp_path_factory):
    training = {
        "training_tokens": 150_000,
        "train_batch_size_tokens": 512,
        "n_batches_in_buffer": 32,
        "store_batch_size_prompts": 16,
        "lr": 3e-3,
        "dead_feature_window": 50,
        "feature_sampling_window": 50,
        "exclude_special_tokens": True,
    }
    torch.manual_seed(0)
    runs = {name: single_runner(tmp_path_factory.mktemp(name), model, dataset, sae=sae, **training).run() for name, sae in TO_TRAIN.items()}
    return {name: Subject(model, sae) for name, sae in runs.items()}
