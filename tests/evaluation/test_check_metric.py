"""One call tests any metric; the built-in ones pass it, and each way of being wrong is found."""

import math

import pytest
import torch
from saes import training_sae

from sae_lens_metrics import Corpus, Estimate, MetricsConfig, Subject
from sae_lens_metrics.errors import MetricCheckError
from sae_lens_metrics.evaluation.check_metric import check_metric
from sae_lens_metrics.metrics.ablation.spec import AblationConfig
from sae_lens_metrics.metrics.n2g.spec import N2GConfig
from sae_lens_metrics.metrics.probe.spec import ProbeConfig
from sae_lens_metrics.metrics.registry import built_in_metrics
from sae_lens_metrics.metrics.shrinkage.spec import ShrinkageConfig
from sae_lens_metrics.metrics.spec import Number
from sae_lens_metrics.results import MetricResult, Repeated

SMALL = MetricsConfig(
    batch_size=8,
    probe=ProbeConfig(tasks=["code"], examples=40, max_tokens=16),
    n2g=N2GConfig(max_length=3, examples=4),
    ablation=AblationConfig(tokens=4, sequences=8, positions=2, latents=3, baselines=2),
    shrinkage=ShrinkageConfig(tokens=256),
)


@pytest.fixture(scope="module")
def subject(model):
    return Subject(model, training_sae("standard"))


@pytest.fixture(scope="module")
def corpus(tokens):
    return Corpus.from_tokens(tokens[:24])


@pytest.mark.parametrize("name", built_in_metrics())
def test_the_built_in_metrics_pass(name, subject, corpus):
    assert check_metric(name, subject, corpus, SMALL).estimates


def number(value=1.0, stderr=None, reason="exact", **more):
    return Estimate(value, stderr, 4, "documents", reason, **more)


DRAWN = torch.Generator().manual_seed(0)
WRONG = {
    "returned a int": lambda context: 1,
    "no estimate": lambda context: MetricResult({}),
    "neither a standard error nor a reason": lambda context: MetricResult({"a": number(reason=None)}),
    "none of the numbers that its spec lists": lambda context: MetricResult({"a": number(), "b": number()}),
    "headline 'a' is missing": lambda context: MetricResult({"b": number()}),
    "do not give its standard error": lambda context: MetricResult({"a": number(stderr=1.0, influence=[0.1, -0.1, 0.0, 0.0])}),
    "do not give its second error": lambda context: MetricResult({"a": number(repeated=Repeated(1.0, 2, "texts", influence=[0.1, -0.1]))}),
    "global random state": lambda context: MetricResult({"a": number(float(torch.rand(()) * 0))}),
    "same seed gives another result": lambda context: MetricResult({"a": number(float(torch.rand((), generator=DRAWN)) * 1e-6)}),
    "depends on the batch size": lambda context: MetricResult({"a": number(float(context.config.batch_size))}),
    "NaN or infinity": lambda context: MetricResult({"a": number()}, {"rows": [{"x": math.nan}]}),
    "cannot be written as JSON": lambda context: MetricResult({"a": number()}, {"rows": [{"x": torch.ones(1)}]}),
    r"rows\[0\].x: found \[1, 2\]": lambda context: MetricResult({"a": number()}, {"rows": [{"x": (1, 2)}]}),
    "after it was written as JSON": lambda context: MetricResult({"a": number()}, {"rows": [{1: 2}]}),
    "a MetricResult with parts of other types": lambda context: MetricResult({"a": 1.0}),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_found(what, subject, corpus, metric):
    metric("wrong", WRONG[what], numbers={"a": Number("a number")})
    with pytest.raises(MetricCheckError, match=what):
        check_metric("wrong", subject, corpus, SMALL)


def test_all_that_is_wrong_is_said_at_once(subject, corpus, metric):
    metric("wrong", lambda context: MetricResult({"b": number(float(context.config.batch_size), reason=None)}), numbers={"a": Number("a")})
    with pytest.raises(MetricCheckError, match=r"fails 4 checks: .*reason.*spec lists.*missing.*batch size"):
        check_metric("wrong", subject, corpus, SMALL)
