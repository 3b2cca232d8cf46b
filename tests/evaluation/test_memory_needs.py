"""What metrics say that they hold bounds what they hold; what does not fit is refused before it runs."""

import logging
from dataclasses import replace

import pytest
from live_memory import PeakMemory
from slow import slow_but

from sae_lens_metrics import AblationConfig, Corpus, MetricsConfig, N2GConfig, ProbeConfig, evaluate
from sae_lens_metrics.benchmark.memory_table import README, memory_rows, with_memory
from sae_lens_metrics.benchmark.shapes import Shape
from sae_lens_metrics.benchmark.synthetic import synthetic_bench
from sae_lens_metrics.errors import SubjectError
from sae_lens_metrics.evaluation.memory_needs import Room, gpus_needed, memory_faults, memory_needs, scale_of
from sae_lens_metrics.evaluation.run import EvaluationRun
from sae_lens_metrics.metrics.registry import SANITY

SHAPE = Shape("small", 3, 64, 2, 32, 256, 4_096, layers_to_hook=2, d_sae=128, context=64)
FACTOR = 8
"""What is counted may be so many times what is held."""
CONFIG = MetricsConfig(
    batch_size=16,
    probe=ProbeConfig(tasks=["base64"], examples=100),
    n2g=N2GConfig(max_length=3),
    ablation=AblationConfig(sequences=8, positions=4, latents=4, baselines=2),
)
GIB = 2**30


def evaluation(d_sae, model):
    """A subject and a text for it."""
    bench = synthetic_bench(replace(SHAPE, d_sae=d_sae), "cpu", seconds=0, tokenizer=model.tokenizer)
    tokens = bench.tokens(16)
    tokens[:, 0] = bench.subject.language.bos_token
    return bench.subject, Corpus.from_tokens(tokens)


@pytest.mark.parametrize("d_sae", slow_but([256, 2_048, 8_192], lambda d_sae: d_sae == 256))
def test_what_is_counted_bounds_what_is_held(d_sae, model):
    subject, corpus = evaluation(d_sae, model)
    run, needs = EvaluationRun(subject, corpus, CONFIG), memory_needs(CONFIG, scale_of(subject, corpus, CONFIG))
    assert list(needs) == [SANITY, *CONFIG.names]
    weights = (*subject.site.model.parameters(), *subject.site.model.buffers(), *subject.dictionary.sae.parameters())
    for name, counted in needs.items():
        with PeakMemory().knows(*weights, subject.dictionary.decoder, corpus.tokens) as memory:
            run.compute(name)
        assert memory.peak <= counted <= FACTOR * memory.peak, (name, memory.peak, counted)


def test_what_does_not_fit_is_said(model, caplog):
    subject, corpus = evaluation(128, model)
    needs = memory_needs(CONFIG, scale_of(subject, corpus, CONFIG))
    largest = max(needs, key=needs.get)
    assert memory_faults(subject, corpus, CONFIG) == {}  # a processor's memory is not asked
    assert memory_faults(subject, corpus, CONFIG, Room(needs[largest], 80 * GIB)) == {}
    with caplog.at_level(logging.WARNING, logger="sae_lens_metrics"):
        assert not caplog.messages
        assert memory_faults(subject, corpus, CONFIG, Room(0.9 * needs[largest], 80 * GIB)) == {}
    assert caplog.messages[0].startswith("it may be too much: ")
    faults = memory_faults(subject, corpus, CONFIG, Room(0.4 * needs[largest], 80 * GIB))
    assert "on 128 latents of width 64 takes up to 0." in faults[largest]
    assert faults[largest].endswith("; a GPU with nothing else on it would do")
    assert "probe" not in faults
    (said, *_) = memory_faults(subject, corpus, CONFIG, Room(1, 0.5 * needs[largest])).values()
    assert said.endswith("no number of GPUs of this size would do, as an SAE is on one of them")


def test_an_evaluation_asks_before_it_begins(model, monkeypatch):
    subject, corpus = evaluation(128, model)
    monkeypatch.setattr("sae_lens_metrics.evaluation.memory_needs._room", lambda device: Room(1, 80 * GIB))
    monkeypatch.setattr(EvaluationRun, "compute", lambda run, name: pytest.fail("it has begun"))
    with pytest.raises(SubjectError, match="lower batch_size"):
        evaluate(subject, corpus, CONFIG)


def test_where_errors_are_collected_the_metrics_that_fit_go_on(model, monkeypatch):
    subject, corpus = evaluation(128, model)
    config = replace(CONFIG, names=["n2g", "ablation"])
    monkeypatch.setattr("sae_lens_metrics.evaluation.run.memory_faults", lambda *given: {"n2g": "too much"})
    failed = {}
    report = EvaluationRun(subject, corpus, config).report(on_error=lambda name, error: failed.update({name: str(error)}))
    assert failed == {"n2g": "too much"}
    assert list(report.metrics) == ["ablation"]


def test_how_many_gpus_would_do():
    def count(**bytes_of):
        return gpus_needed(**{"needed": 10, "sae": 20, "model": 30, "total": 100} | bytes_of)

    assert count() == 1
    assert count(model=70) == 1
    assert count(model=71) == 2
    assert count(model=271) == 4
    assert count(sae=91) is None


def test_the_table_is_what_is_counted():
    """Else: ``python -m sae_lens_metrics.benchmark.memory_table``."""
    text = README.read_text(encoding="utf-8")
    assert with_memory(text) == text
    assert [row[0].split(", ")[1] for row in memory_rows()[1:]] == ["131,072", "131,072", "1,048,576", "1,048,576"]
    with pytest.raises(ValueError, match="must have"):
        with_memory("nothing")


def test_less_memory_is_less():
    """Of what is bounded by ``memory_gb``."""
    scale = scale_of_many()
    some, less = (memory_needs(CONFIG, replace(scale, memory=gib * GIB)) for gib in (2, 0.5))
    assert less["probe"] < some["probe"]
    assert all(less[name] <= some[name] for name in some)


def scale_of_many():
    from sae_lens_metrics.metrics.memory_scale import MemoryScale

    return MemoryScale(65_536, 128, 32, 768, 131_072, 12, 50_257, 2 * GIB)
