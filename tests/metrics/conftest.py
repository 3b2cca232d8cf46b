"""The two SAEs that SAELens trained on the real language model: the demo's, which come as files so that every machine judges the same."""

import pytest

from sae_lens_metrics.demo.shipped import SHIPPED_SAES, load_shipped_subject


@pytest.fixture(scope="session")
def trained(model):
    return {name: load_shipped_subject(name, model) for name in SHIPPED_SAES}
