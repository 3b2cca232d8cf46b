"""What numbers must not depend on: the units of latents."""

import re

import pytest
from other_units import in_other_units
from saes import SUPPORTED, training_sae
from slow import slow_but

from sae_lens_metrics import Corpus, MetricsConfig, Subject, evaluate
from sae_lens_metrics.metrics.ablation.spec import AblationConfig
from sae_lens_metrics.metrics.n2g.spec import N2GConfig
from sae_lens_metrics.metrics.probe.spec import ProbeConfig
from sae_lens_metrics.metrics.registry import built_in_metrics

SOLVER = re.compile("kkt_residual|noise")
"""Numbers that measure how exactly the others are computed."""


def configured():
    return MetricsConfig(
        probe=ProbeConfig(tasks=["base64", "inside_string"], examples=100),
        n2g=N2GConfig(max_length=3, latents=None),
        ablation=AblationConfig(tokens=4, sequences=6, positions=2, baselines=2),
    )


def numbers(report):
    return {name: value for name, value in report.flat().items() if not SOLVER.search(name)}


@pytest.mark.parametrize(
    ("architecture", "normalize"),
    slow_but([(name, "none") for name in SUPPORTED] + [("topk", "layer_norm")], lambda case: case[1] == "layer_norm"),
)
def test_no_number_depends_on_the_units_of_latents(architecture, normalize, model, tokens):
    """Shrinkage did: its changes counted in the latents' own units."""
    subject, corpus = Subject(model, training_sae(architecture, normalize=normalize)), Corpus.from_tokens(tokens[:12, :32])
    own, other = (evaluate(each, corpus, configured()) for each in (subject, in_other_units(subject)))
    assert numbers(other) == pytest.approx(numbers(own), rel=1e-3, abs=1e-5)
    assert own.metrics.keys() == {*built_in_metrics()}
