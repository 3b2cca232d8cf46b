"""Evaluating SAEs with several seeds: what is shared, what is resumed, what the audit is of."""

import gc
import json
from importlib.resources import files
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from page_parts import parts_of

import sae_lens_metrics
from sae_lens_metrics import MetricsConfig, Report, find_targets
from sae_lens_metrics.cli.audit import audit_options
from sae_lens_metrics.cli.main import main
from sae_lens_metrics.errors import ConfigError, ResultError
from sae_lens_metrics.evaluation import shared_loads
from sae_lens_metrics.evaluation.auditing import audit
from sae_lens_metrics.evaluation.order import Overrides
from sae_lens_metrics.evaluation.reseeding import SEEDS, reseed
from sae_lens_metrics.evaluation.run import EvaluationRun
from sae_lens_metrics.metrics.shrinkage.spec import ShrinkageConfig
from sae_lens_metrics.text.standard_library import standard_library_documents

DEMO = Path(str(files("sae_lens_metrics.demo")))
SAES, MODEL = DEMO / "saes", Overrides(model=str(DEMO / "tiny_lm"), device="cpu")
TWO = (42, 123)


@pytest.fixture(scope="module", autouse=True)
def _quick_collections():
    """A sweep collects garbage after each SAE, which takes longer than these small ones if it goes over all that tests have imported."""
    gc.freeze()
    yield
    gc.unfreeze()


def written(path, documents, characters):
    texts = [text[:characters] for text in islice(standard_library_documents("held_out"), documents)]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return str(path)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    return written(tmp_path_factory.mktemp("texts") / "texts.jsonl", 40, 600)


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """So few texts that any seed reads them all."""
    return written(tmp_path_factory.mktemp("texts") / "few.jsonl", 8, 700)


def config(texts):
    return MetricsConfig(names=["shrinkage"], tokens=512, dataset=texts, shrinkage=ShrinkageConfig(tokens=512))


def results(output):
    return {path.relative_to(output): path for path in sorted(Path(output).glob("seed-*/*.json"))}


@pytest.fixture
def counted(monkeypatch):
    """Evaluations that are made, and models that are loaded."""
    made = {"reports": 0, "models": 0}
    report, load = EvaluationRun.report, shared_loads.load_spec

    def counting(self, **how):
        made["reports"] += 1
        if made["reports"] > made.get("most", 99):
            raise KeyboardInterrupt
        return report(self, **how)

    def loading(*spec):
        made["models"] += 1
        return load(*spec)

    monkeypatch.setattr(EvaluationRun, "report", counting)
    monkeypatch.setattr(shared_loads, "load_spec", loading)
    return made


def test_an_audit_is_of_the_results_in_its_folders(texts, tmp_path, counted):
    found = audit(find_targets([str(SAES)]), config(texts), tmp_path, overrides=MODEL, seeds=(1, 2, 3))
    assert counted == {"reports": 6, "models": 1}
    assert found.names == ["L1", "TopK"]
    files = results(tmp_path).values()
    by_seed = [{p.stem.split("_")[-2]: Report.load(p) for p in files if p.parent.name == f"seed-{seed}"} for seed in (1, 2, 3)]
    for each in found.numbers:
        estimates = [dict(reports[each.name].estimates())[each.number] for reports in by_seed]
        if all(estimate.value is not None for estimate in estimates):
            assert each.s == pytest.approx(np.std([estimate.value for estimate in estimates], ddof=1))
    assert {report.provenance["config"]["seed"] for reports in by_seed for report in reports.values()} == {1, 2, 3}
    moved = {each.number for each in found.numbers if each.s}
    assert {"shrinkage/ratio", "sanity/explained_variance"} <= moved
    assert json.loads((tmp_path / "audit.json").read_text())["seeds"] == [1, 2, 3]
    assert (tmp_path / "audit.csv").read_text().startswith("number,name,mean,s,cv,")


@pytest.mark.slow
def test_an_audit_that_was_interrupted_goes_on(texts, tmp_path, counted):
    targets, undisturbed, stopped = find_targets([str(SAES)]), tmp_path / "undisturbed", tmp_path / "stopped"
    whole = audit(targets, config(texts), undisturbed, overrides=MODEL, seeds=TWO)
    counted.update(reports=0, most=3)
    with pytest.raises(KeyboardInterrupt):
        audit(targets, config(texts), stopped, overrides=MODEL, seeds=TWO)
    kept = {name: path.read_bytes() for name, path in results(stopped).items()}
    assert len(kept) == 3
    assert not (stopped / "audit.json").exists()
    counted.update(reports=0, most=1)
    again = audit(targets, config(texts), stopped, overrides=MODEL, seeds=TWO)
    assert counted["reports"] == 1
    assert {name: results(stopped)[name].read_bytes() for name in kept} == kept
    assert again == whole
    assert [*results(stopped)] == [*results(undisturbed)]
    counted.update(reports=0, most=0)
    assert audit(targets, config(texts), stopped, overrides=MODEL, seeds=TWO) == whole


def test_seeds_with_text_of_their_own(few, tmp_path):
    """All of a small data set is read with any seed; parts of it have nothing in common, and the result files say so."""
    targets = find_targets([str(SAES / "L1")])
    everything = MetricsConfig(names=[], tokens=20_000, dataset=few)
    assert reseed(targets, everything, tmp_path, overrides=MODEL, seeds=TWO).overlap == 1
    apart = reseed(targets, everything, tmp_path, overrides=MODEL, seeds=TWO, disjoint=True)
    assert apart.overlap == 0
    (path,) = apart.files({targets[0].name: "L1"})[123].values()
    assert Report.load(path).provenance["corpus"]["part"] == {"index": 1, "of": 2}


def test_text_that_is_too_short_is_told_of(few, tmp_path):
    much = MetricsConfig(names=[], tokens=20_000, dataset=few)
    found = audit(find_targets([str(SAES / "L1")]), much, tmp_path, overrides=MODEL, seeds=TWO, disjoint=True)
    (note,) = found.notes
    assert "were asked for: errors are larger (seed 42, 123)" in note


def test_an_sae_that_fails_is_told_of(texts, tmp_path, caplog):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "cfg.json").write_text("{}")
    targets = find_targets([str(tmp_path / "broken"), str(SAES / "L1")])
    found = audit(targets, MetricsConfig(names=[], tokens=512, dataset=texts), tmp_path / "out", overrides=MODEL, seeds=TWO)
    assert [name[-2:] for name in found.names] == ["L1"]
    assert len(found.failed) == 2
    assert "broken with seed 42" in found.failed[0]
    with pytest.raises(ResultError, match="no SAE has results"):
        audit(targets[:1], MetricsConfig(names=[], tokens=512, dataset=texts), tmp_path / "none", overrides=MODEL, seeds=TWO)


@pytest.mark.parametrize(("seeds", "said"), [((1,), "two or more"), ((1, 1), "different"), ((1, -1), "seed is -1")])
def test_seeds_that_cannot_be(texts, tmp_path, seeds, said):
    with pytest.raises(ConfigError, match=said):
        audit(find_targets([str(SAES / "L1")]), config(texts), tmp_path, seeds=seeds)


def test_a_wanted_number_that_there_is_not_is_found_before_anything_is_done(texts, tmp_path):
    with pytest.raises(ConfigError, match="no number 'rato'"):
        audit(find_targets([str(SAES / "L1")]), config(texts), tmp_path, wanted_s={"shrinkage/rato": 1.0})
    assert not list(tmp_path.iterdir())


# --- the command -------------------------------------------------------------------------------------------------------------


def test_the_command(texts, tmp_path, capsys, monkeypatch, caplog):
    monkeypatch.setenv("COLUMNS", "150")
    flags = ["--tokens", "512", "--shrinkage.tokens", "512", "--metrics", "shrinkage", "--seeds", "1,2", "--disjoint", "--device", "cpu"]
    command = ["audit", str(SAES), "--model", MODEL.model, "--dataset", texts, "--output", str(tmp_path), *flags]
    assert main([*command, "--wanted-s", "shrinkage/ratio=.001", "--names", "one,two"]) == 0
    out = capsys.readouterr().out
    for expected in (
        "how noisy",
        "what they tell apart, of 2 SAEs",
        "two minus one",
        "times as many sampled units (shrinkage.tokens = 512",
        "audit.json",
    ):
        assert expected in out
    assert "so that s is that of other text each time" in out
    assert json.loads(parts_of(tmp_path / "audit.html")["audit"]) == json.loads((tmp_path / "audit.json").read_text())
    assert any("4 evaluations: 2 SAEs with 2 seeds each, less than a minute" in record.message for record in caplog.records)


def test_help_teaches(capsys):
    with pytest.raises(SystemExit):
        main(["audit", "--help"])
    out = capsys.readouterr().out
    for expected in ("how to read it", "s / error", "--disjoint", "--wanted-s", "42,123,456,789,2024", "--seeds"):
        assert expected in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to evaluate"),
        (["x", "--seed", "3"], "give --seeds, not --seed"),
        (["x", "--seeds", "1,b"], "is no list of seeds"),
        (["x", "--wanted-s", "ratio"], "is no NUMBER=S"),
    ],
)
def test_mistakes_take_two_lines(arguments, said, capsys):
    with pytest.raises(SystemExit) as stop:
        audit_options(arguments)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 2


def test_defaults():
    options, _ = audit_options(["x", "--wanted-s", "a/b=.5", "--wanted_s", "c/d=1"])
    assert tuple(options.seeds) == SEEDS
    assert options.wanted_s == [("a/b", 0.5), ("c/d", 1.0)]


def test_it_is_a_public_name():
    assert sae_lens_metrics.audit is audit
