"""Controls beside an SAE, from evaluating to what a reader sees."""

import io
import json
from dataclasses import replace
from functools import partial
from importlib.resources import files

import pytest
import torch
from rich.console import Console
from saes import training_sae

from sae_lens_metrics import Corpus, MetricsConfig, Report, Subject, evaluate
from sae_lens_metrics.cli.main import main
from sae_lens_metrics.comparison.controls import control_findings
from sae_lens_metrics.demo.shipped import load_shipped_subject
from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.evaluation.controls import report_with_controls
from sae_lens_metrics.evaluation.costs import expected_seconds
from sae_lens_metrics.evaluation.identity import finished
from sae_lens_metrics.evaluation.run import EvaluationRun
from sae_lens_metrics.functional.encoder_fitting import fit_encoder
from sae_lens_metrics.metrics.controls import CONTROLS
from sae_lens_metrics.subject import control_saes
from sae_lens_metrics.subject.control_saes import Activations, random_sae
from sae_lens_metrics.training.reports import TrainingReports
from sae_lens_metrics.views.terminal import print_reports

ALL = list(CONTROLS)
LITTLE = MetricsConfig(
    names=["probe", "n2g", "shrinkage"],
    controls=ALL,
    tokens=2_048,
    probe={"tasks": ["base64", "inside_string"], "examples": 60, "max_tokens": 16},
    n2g={"latents": 10, "max_length": 6},
    shrinkage={"tokens": 1_024},
)


@pytest.fixture(scope="module", autouse=True)
def _quick():
    """An encoder that is fitted in fewer steps reconstructs nearly as well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(control_saes, "fit_encoder", partial(fit_encoder, steps=100))
        yield


@pytest.fixture(scope="module")
def corpus(tokens):
    return Corpus.from_tokens(tokens[:32])


@pytest.fixture(scope="module")
def subject(model):
    return load_shipped_subject("TopK", model)


@pytest.fixture(scope="module")
def report(subject, corpus):
    return evaluate(subject, corpus, LITTLE)


def found(report):
    return {(each.metric, each.control): each.verdict.outcome for each in control_findings(report)}


def test_a_trained_sae_beats_its_controls_where_it_must(report):
    outcomes = found(report)
    expected = [("sanity", control) for control in ALL] + [("probe", "permuted_decoder"), ("n2g", "permuted_decoder")]
    assert {outcomes[pair] for pair in [*expected, ("shrinkage", "permuted_decoder")]} == {"as expected"}


def test_a_permuted_decoder_moves_nothing_that_only_reads(report):
    control = report.controls["permuted_decoder"]
    for metric in ("probe", "n2g"):
        for name, estimate in control.results[metric].estimates.items():
            own = report.metrics[metric].estimates[name]
            assert (estimate.value is None) == (own.value is None)
            assert estimate.value is None or estimate.value == pytest.approx(own.value, rel=1e-5)
    own, other = (each.estimates["explained_variance"].value for each in (report.sanity, control.results["sanity"]))
    assert other < 0 < 0.8 < own


def test_controls_fire_as_often_as_the_sae(report):
    own = report.sanity.estimates["l0"].value
    for control in report.controls.values():
        assert control.results["sanity"].estimates["l0"].value == pytest.approx(own, rel=0.05)


def test_a_control_has_only_those_metrics_that_it_says_something_about(report):
    assert report.controls.keys() == {*ALL}
    assert report.controls["permuted_decoder"].results.keys() == {"sanity", "probe", "n2g", "shrinkage"}
    assert report.controls["random"].results.keys() == {"sanity", "probe", "n2g"}
    assert list(report.controls["random"].results["probe"].tables) == ["tasks"]
    assert not report.controls["random"].results["n2g"].tables


def test_the_same_seed_gives_the_same_controls(subject, corpus, report):
    before = torch.random.get_rng_state()
    again = evaluate(subject, corpus, replace(LITTLE, names=["shrinkage"], controls=["random"]))
    assert torch.equal(before, torch.random.get_rng_state())
    assert again.controls["random"].sae == report.controls["random"].sae
    assert again.controls["random"].results["sanity"].estimates == report.controls["random"].results["sanity"].estimates


def test_random_directions_that_pose_as_an_sae_are_flagged(model, corpus):
    subject = Subject(model, training_sae("topk"))
    x = torch.cat([batch.x for batch in corpus.activations(subject, 32, progress="x")])
    planted = Subject(model, random_sae(subject.dictionary, Activations(x, x), torch.Generator().manual_seed(7)))
    report = evaluate(planted, corpus, replace(LITTLE, names=["n2g"], controls=["frozen_decoder", "random"]))
    outcomes = found(report)
    assert outcomes["sanity", "frozen_decoder"] == outcomes["n2g", "frozen_decoder"] == outcomes["n2g", "random"] == "not as expected"
    assert sum("does not beat the control" in text for text in report.warnings) >= 3


def test_an_sae_of_which_there_is_no_such_control(model, corpus):
    subject = Subject(model, training_sae("matching_pursuit"))
    report = evaluate(subject, corpus.head(256), replace(LITTLE, names=[], controls=["permuted_decoder"]))
    assert not report.controls
    assert any("no control 'permuted decoder'" in text and "encodes with its decoder" in text for text in report.warnings)


def test_a_metric_that_fails_on_a_control_is_told_and_the_result_is_not_finished(subject, corpus, metric, tmp_path):
    def fails(context):
        raise ValueError("no glow")

    metric("shine", fails, controls={"random": "beaten"})
    run = EvaluationRun(subject, corpus.head(512), replace(LITTLE, names=["shine"], controls=["random", "permuted_decoder"]))
    told = []
    report = report_with_controls(run, on_error=lambda name, error: told.append(name))
    assert told == ["shine", "shine of the control random"]
    assert report.controls["random"].errors == {"shine": "ValueError: no glow"}
    assert finished(replace(report, errors={}).save(tmp_path / "r.json")) is None
    with pytest.raises(ValueError, match="no glow"):
        report_with_controls(run)


def test_their_cost_is_part_of_the_estimate(corpus):
    alone = expected_seconds(replace(LITTLE, controls=[]), corpus, 512, 10.0)
    several = expected_seconds(LITTLE, corpus, 512, 10.0)
    assert "controls" not in alone
    assert several["controls"] == pytest.approx(3 * 20 + 3 * (alone["probe"] + alone["n2g"]) + alone["shrinkage"])


def test_they_are_part_of_a_results_identity():
    plain, with_controls = replace(LITTLE, controls=[]).moving_numbers(), LITTLE.moving_numbers()
    assert "controls" not in plain  # as results without them were before
    assert with_controls == {**plain, "controls": sorted(ALL)}
    assert MetricsConfig.from_dict(json.loads(json.dumps(LITTLE.to_dict()))) == LITTLE


def test_the_terminal_shows_them_beside_the_sae(report):
    out = io.StringIO()
    print_reports({"mine": report}, Console(file=out, width=160))
    text = out.getvalue()
    assert "controls of mine" in text
    for part in ("permuted decoder", "frozen decoder", "unmoved, as it must be", "beaten"):
        assert part in text


@pytest.mark.slow
def test_the_flag_from_the_command_line_to_the_page(model, documents, tmp_path, capsys, reader):
    saes, texts, out = tmp_path / "saes", tmp_path / "texts.jsonl", tmp_path / "out"
    for name, seed in (("one", 0), ("two", 1)):
        training_sae("topk", seed=seed).save_inference_model(str(saes / name))
    texts.write_text("".join(json.dumps({"text": text[:2000]}) + "\n" for text in documents))
    tiny = str(files("sae_lens_metrics.demo") / "tiny_lm")
    settings = ["--metrics", "shrinkage", "--tokens", "1024", "--shrinkage.tokens", "512", "--output", str(out)]
    command = ["evaluate", str(saes), "--model", tiny, "--dataset", str(texts), *settings]
    assert main([*command, "--controls", "permuted_decoder,random"]) == 0
    assert "controls of one" in capsys.readouterr().out  # also where the terminal is too narrow for all numbers
    reports = [Report.load(path) for path in out.glob("*.json")]
    assert [[*each.controls] for each in reports] == [["permuted_decoder", "random"]] * 2
    assert "sanity/control_random_explained_variance" in (out / "summary.csv").read_text()
    tab = reader(out / "report.html").open("#/")
    shown = tab.inner_text("#metric-sanity")
    assert "Controls of one" in shown
    assert "permuted decoder" in shown
    assert main(command) == 0  # without the flag it is another result
    assert len(list(out.glob("*.json"))) == 4


def test_training_refuses_them_in_words(model):
    with pytest.raises(ConfigError, match="not evaluated in training"):
        TrainingReports(model, LITTLE, {})


@pytest.mark.parametrize(
    ("given", "said"),
    [(["x", "--controls", "rndom"], "did you mean random?"), (["--controls", "some/folder"], "targets stand before --controls")],
)
def test_a_mistake_is_told_in_a_line(given, said, capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", *given])
    assert said in capsys.readouterr().err
