import json
import math

import pytest

from sae_lens_metrics import MetricsConfig
from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.metrics.probe.spec import ProbeConfig


@pytest.mark.parametrize("name", ["train", "default", "paper"])
def test_presets_survive_json(name):
    config = MetricsConfig.preset(name)
    assert MetricsConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_presets_grow():
    sizes = [MetricsConfig.preset(name).tokens for name in ("train", "default", "paper")]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MetricsConfig.preset("fast"), "no preset 'fast'"),
        (lambda: MetricsConfig(tokens=0), "tokens is 0"),
        (lambda: MetricsConfig(seed=-1), "seed is -1"),
        (lambda: MetricsConfig(seed=2**40), "seed is"),
        (lambda: MetricsConfig(probe=ProbeConfig(max_tokens=1)), "max_tokens"),
        (lambda: MetricsConfig(max_overhead=0), "max_overhead"),
        (lambda: MetricsConfig(names=["probe", "probe"]), "named twice"),
        (lambda: MetricsConfig(probe=ProbeConfig(examples=3)), "at least 20"),
        (lambda: MetricsConfig.from_dict({"tokenz": 1}), "tokenz"),
        (lambda: MetricsConfig(probe={"task": []}), "task"),
        (lambda: MetricsConfig(memory_gb=math.inf), "memory_gb is inf, expected a finite number"),
        (lambda: MetricsConfig(memory_gb=math.nan), "memory_gb is nan"),
        (lambda: MetricsConfig(tokens=math.inf), "tokens is inf"),
        (lambda: MetricsConfig(shrinkage={"tokens": -math.inf}), "tokens"),
        (lambda: MetricsConfig.from_dict({"memory_gb": math.inf}), "memory_gb is inf"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
