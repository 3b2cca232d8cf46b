"""Result files in SAEBench's form, against its schema."""

import json
import math
import uuid

import jsonschema
import pytest
from runners import small_metrics
from saes import training_sae

from sae_lens_metrics import Corpus, Estimate, Subject, evaluate
from sae_lens_metrics.cli.main import main
from sae_lens_metrics.results import Histogram, MetricResult, Report
from sae_lens_metrics.views.saebench import save_saebench, to_saebench

SCALAR = {"type": ["string", "number", "boolean", "null"]}
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": [
        *("eval_type_id", "eval_config", "eval_id", "datetime_epoch_millis", "eval_result_metrics", "sae_bench_commit_hash"),
        *("sae_lens_id", "sae_lens_release_id", "sae_lens_version", "sae_cfg_dict"),
    ],
    "properties": {
        "eval_type_id": {"type": "string", "minLength": 1},
        "eval_config": {"type": "object", "additionalProperties": {"anyOf": [SCALAR, {"type": "array", "items": SCALAR}]}},
        "eval_id": {"type": "string", "minLength": 1},
        "datetime_epoch_millis": {"type": "integer", "minimum": 0},
        "eval_result_metrics": {
            "type": "object",
            "additionalProperties": {"type": "object", "additionalProperties": {"type": ["number", "null"]}},
        },
        "eval_result_details": {"type": "array", "items": {"type": "object"}},
        "sae_bench_commit_hash": {"type": "string"},
        "sae_lens_id": {"type": ["string", "null"]},
        "sae_lens_release_id": {"type": ["string", "null"]},
        "sae_lens_version": {"type": ["string", "null"]},
        "sae_cfg_dict": {
            "type": ["object", "null"],
            "required": ["architecture", "d_sae"],
            "properties": {"architecture": {"type": "string"}, "d_sae": {"type": "integer"}},
        },
    },
}


def validate(data):
    jsonschema.validate(data, SCHEMA, cls=jsonschema.Draft202012Validator)


@pytest.fixture(scope="module")
def report(model, tokens):
    return evaluate(Subject(model, training_sae("topk")), Corpus.from_tokens(tokens[:8]), small_metrics())


def test_a_real_report_is_valid_and_holds_every_number(report):
    data = json.loads(json.dumps(to_saebench(report, "some/release", "blocks.1/x"), allow_nan=False))
    validate(data)
    metrics = data["eval_result_metrics"]
    assert set(metrics) == {"sanity", *report.metrics}
    for key, estimate in report.estimates():
        metric, name = key.split("/")
        assert metrics[metric][name] == estimate.value
        assert metrics[metric][f"{name}_stderr"] == estimate.stderr
    assert data["eval_config"]["probe.tasks"] == ["base64", "code_against_prose"]
    assert data["eval_config"]["tokens"] == 512
    rows = [row for row in data["eval_result_details"] if (row["metric"], row["table"]) == ("probe", "tasks")]
    assert [row["task"] for row in rows] == ["base64", "code_against_prose"]
    assert (data["sae_lens_release_id"], data["sae_lens_id"]) == ("some/release", "blocks.1/x")
    assert uuid.UUID(data["eval_id"]).version == 4
    assert to_saebench(report, "some/release")["eval_id"] != data["eval_id"]


def test_what_is_absent_is_null_with_its_reason():
    estimates = {"f1": Estimate.absent("nothing fires", of="latents")}
    provenance = {"sae": {"architecture": "topk", "d_sae": 4}}
    bare = Report(MetricResult({}), {"n2g": MetricResult(estimates, histograms={"h": Histogram([0.0, 1.0], [2])})}, provenance=provenance)
    data = to_saebench(bare, "folder")
    validate(data)
    assert data["eval_result_metrics"]["n2g"] == {"f1": None, "f1_stderr": None}
    assert data["eval_result_unstructured"]["reasons"] == {"n2g/f1": "nothing fires"}
    assert data["sae_lens_id"] is None


def test_the_schema_can_fail(report):
    good = to_saebench(report, "release")
    for change in ({"eval_config": {"probe": {"tasks": []}}}, {"eval_result_metrics": {"a": {"b": {"c": 1.0}}}}, {"sae_lens_version": 6}):
        with pytest.raises(jsonschema.ValidationError):
            validate(good | change)
    with pytest.raises(jsonschema.ValidationError):
        validate({key: value for key, value in good.items() if key != "eval_id"})
    with pytest.raises(ValueError, match="finite"):
        Estimate(math.nan, None, 1, "latents")


def test_files_have_the_saes_name_and_configurations_are_apart(report, tmp_path):
    first = save_saebench(report, tmp_path, "some/release", "blocks.1/x")
    assert first.name == "some_release_blocks.1_x_eval_results.json"
    assert save_saebench(report, tmp_path, "some/release", "blocks.2/x").parent == first.parent
    other = Report(report.sanity, report.metrics, provenance=report.provenance | {"config": {"seed": 1}})
    assert save_saebench(other, tmp_path, "some/release", "blocks.1/x").parent != first.parent


def test_the_command_writes_it_beside_its_own_file_and_compares(model, tmp_path, documents, capsys):
    from importlib.resources import files

    from sae_lens_metrics.subject.inference_sae import inference_sae

    texts = tmp_path / "texts.jsonl"
    texts.write_text("\n".join(json.dumps({"text": text}) for text in documents[:40]))
    for name in ("a", "b"):
        inference_sae(training_sae("topk", seed=ord(name))).save_model(tmp_path / "saes" / name)
    tiny = str(files("sae_lens_metrics.demo") / "tiny_lm")
    options = ["--model", tiny, "--dataset", str(texts), "--tokens", "512", "--metrics", "shrinkage", "--shrinkage.tokens", "512"]
    command = ["evaluate", str(tmp_path / "saes"), *options, "--output", str(tmp_path / "out"), "--format", "saebench", "--compare"]
    assert main(command) == 0
    written = sorted((tmp_path / "out").glob("saebench_*/*_eval_results.json"))
    assert len(written) == 2
    for path in written:
        validate(json.loads(path.read_text()))
    printed = capsys.readouterr().out.replace("\n", "")
    assert str(written[0].parent) in printed
    assert "Holm-Bonferroni" in printed
    assert len(list((tmp_path / "out").glob("*.json"))) == 2
    command[1] = str(tmp_path / "saes" / "a")
    assert main(command) == 2
    assert "--compare takes two SAEs at least" in capsys.readouterr().err
