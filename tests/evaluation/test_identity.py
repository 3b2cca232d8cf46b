"""Only settings that move numbers decide whether a result is there already."""

from dataclasses import dataclass, field, replace

import pytest
from report_data import make_report
from saes import training_sae

from sae_lens_metrics import Corpus, MetricsConfig, Subject
from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.evaluation.identity import finished, identity, result_path
from sae_lens_metrics.metrics import registry
from sae_lens_metrics.metrics.ablation.spec import AblationConfig
from sae_lens_metrics.metrics.explanation.spec import ExplanationConfig
from sae_lens_metrics.metrics.n2g.spec import N2GConfig
from sae_lens_metrics.metrics.probe.spec import ProbeConfig
from sae_lens_metrics.metrics.registry import metric_spec, register_metric
from sae_lens_metrics.metrics.shrinkage.spec import ShrinkageConfig
from sae_lens_metrics.metrics.spec import moves_nothing

BASE = MetricsConfig(names=["shrinkage", "explanation"], seed=1)


@pytest.fixture(scope="module")
def subject(model):
    return Subject(model, training_sae("topk"))


@pytest.fixture(scope="module")
def corpus(tokens):
    return Corpus.from_tokens(tokens)


def file_of(subject, corpus, config, tmp_path):
    return result_path(tmp_path, "sae", identity(subject, corpus, config)).name


@pytest.mark.parametrize(
    "changes",
    [
        {"memory_gb": 0.5},
        {"max_overhead": 0.5},
        {"batch_size": 1},
        {"all_numbers": True},
        {"evaluate_at_start": True},
        {"n2g": N2GConfig(folder="somewhere", shown=0)},
        {"probe": ProbeConfig(examples=20)},  # of a metric that is not asked for
        {"ablation": AblationConfig(tokens=3)},
        {"names": ["explanation", "shrinkage"]},
    ],
    ids=str,
)
def test_what_moves_no_number_reuses_the_file(changes, subject, corpus, tmp_path):
    assert file_of(subject, corpus, replace(BASE, **changes), tmp_path) == file_of(subject, corpus, BASE, tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 2},
        {"shrinkage": ShrinkageConfig(solver="pgd")},
        {"shrinkage": ShrinkageConfig(tokens=64)},
        {"n2g": N2GConfig(variant="strict")},  # which explanation needs
        {"explanation": ExplanationConfig(baseline_tokens=64)},  # which says how much text there is beyond the corpus
        {"names": ["shrinkage"]},
    ],
    ids=str,
)
def test_what_moves_numbers_does_not(changes, subject, corpus, tmp_path):
    assert file_of(subject, corpus, replace(BASE, **changes), tmp_path) != file_of(subject, corpus, BASE, tmp_path)


def test_nor_does_another_text_or_number_of_tokens(subject, corpus, tokens, tmp_path):
    files = {file_of(subject, each, BASE, tmp_path) for each in (corpus, corpus.head(128), Corpus.from_tokens(tokens.flip(0)))}
    assert len(files) == 3


def test_nor_does_another_version_of_a_metric(subject, corpus, tmp_path, monkeypatch):
    before = file_of(subject, corpus, BASE, tmp_path)
    specs = registry.metric_spec
    newer = {"shrinkage": replace(specs("shrinkage"), version=99)}
    monkeypatch.setattr("sae_lens_metrics.metrics.config.metric_spec", lambda name: newer.get(name) or specs(name))
    assert file_of(subject, corpus, BASE, tmp_path) != before


@dataclass
class WidthConfig:
    """Settings of a metric of another package."""

    power: int = 1
    """Moves its number."""
    folder: str = field(default="", metadata=moves_nothing())
    """Does not."""


def test_settings_of_a_foreign_metric_are_told_apart_likewise(subject, corpus, tmp_path, metric):
    metric("width", lambda context: None, settings=WidthConfig)
    config = MetricsConfig(names=["width"])
    before = file_of(subject, corpus, config, tmp_path)
    assert file_of(subject, corpus, replace(config, width=WidthConfig(folder="x")), tmp_path) == before
    assert file_of(subject, corpus, replace(config, width={"power": 2}), tmp_path) != before
    with pytest.raises(ConfigError, match=r"unknown settings \['powr'\] of WidthConfig"):
        replace(config, width={"powr": 2})
    assert MetricsConfig.from_dict(config.to_dict()) == config
    assert metric_spec("width").effects() == {"power": "meaning", "folder": "nothing"}
    with pytest.raises(ConfigError, match="already"):
        register_metric("width", lambda context: None)


@pytest.mark.parametrize(
    "damage",
    {
        "cut off": lambda path: path.write_text(path.read_text()[:-100]),
        "of a later release": lambda path: path.write_text(path.read_text().replace('"format_version": "2', '"format_version": "9')),
        "impossible": lambda path: path.write_text(path.read_text().replace('"seconds": ', '"seconds": -')),
        "too deep": lambda path: path.write_text("[" * 200_000),
        "empty": lambda path: path.write_text(""),
        "binary": lambda path: path.write_bytes(b"\xff\x00"),
        "a folder": lambda path: (path.unlink(), path.mkdir()),
        "a link to nothing": lambda path: (path.unlink(), path.symlink_to("nothing")),
    }.items(),
    ids=lambda each: each[0],
)
def test_what_is_no_whole_report_is_kept_under_another_name(damage, tmp_path, caplog):
    path = tmp_path / "sae_0123.json"
    report = make_report(2)
    for number in ("", "-2"):
        report.save(path)
        assert finished(path) == report
        damage[1](path)
        before = None if path.is_dir() or path.is_symlink() else path.read_bytes()
        assert finished(path) is None
        assert not path.exists()
        aside = tmp_path / f"sae_0123.json.damaged{number}"
        assert aside.is_dir() or aside.is_symlink() or aside.read_bytes() == before
        assert str(path) in caplog.messages[-1]
        assert aside.name in caplog.messages[-1]
    assert finished(path) is None
    assert len(caplog.messages) == 2
