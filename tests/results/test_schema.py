"""The published schema: it says what every field is, lets in what is written, and nothing else."""

import json

import pytest
from jsonschema import Draft202012Validator
from report_data import HOSTILE, hostile_report, make_report
from valid_results import check_result, validator

from sae_lens_metrics.results import Estimate, MetricResult, Report
from sae_lens_metrics.results.schema import schema


def test_it_is_a_schema_that_explains_every_field():
    made = schema()
    Draft202012Validator.check_schema(made)
    assert made == json.loads(json.dumps(made))
    objects = [made, *made["$defs"].values()]
    assert {"Estimate", "MetricResult", "NGramExplanations", "ExplanationNGram", "MatchingRules", "LatentEffects"} <= made["$defs"].keys()
    for each in objects:
        assert each["description"]
        assert each["required"] == list(each["properties"])
        assert all(field["description"] for field in each["properties"].values())
    assert "\N{GREEK CAPITAL LETTER SIGMA} influence" in made["$defs"]["Estimate"]["properties"]["influence"]["description"]


@pytest.mark.parametrize("report", [make_report(20), *(hostile_report(text) for text in HOSTILE.values()), Report(MetricResult({}), {})])
def test_what_is_written_is_valid(report, tmp_path):
    check_result(report.save(tmp_path / "r.json"))


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.update(format_version="1.2"),
        lambda data: data.update(more=1),
        lambda data: data["metrics"]["n2g"].pop("explanations"),
        lambda data: data["metrics"]["n2g"]["explanations"]["rules"].update(variant="other"),
        lambda data: data["metrics"]["n2g"]["explanations"]["latents"][0]["ngrams"][0].update(tokens=["a"]),
        lambda data: data["metrics"]["n2g"]["tables"]["latents"][0].update(explanation=["a"]),
        lambda data: data["metrics"]["ablation"]["effects"][0]["raised"][0].update(by="0.5"),
        lambda data: data["sanity"]["estimates"]["l0"].update(value="16"),
    ],
)
def test_what_is_not_written_is_not_valid(change):
    data = make_report(4).to_dict() | {}
    data = json.loads(json.dumps(data))
    assert validator().is_valid(data)
    change(data)
    assert not validator().is_valid(data)


def test_a_field_of_another_kind_is_not_written(tmp_path):
    wrong = Report(MetricResult({"l0": Estimate(1.0, None, 1, "tokens")}, tables={"t": [{"a": [1, 2]}]}), {})
    check_result(wrong.save(tmp_path / "r.json"))
    assert '"a":null' in (tmp_path / "r.json").read_text()


def test_what_an_older_version_lacks_has_a_default():
    for name in ("influence", "df", "repeated", "examples", "controls"):
        found = [each["properties"][name] for each in [schema(), *schema()["$defs"].values()] if name in each["properties"]]
        assert found
        assert all("default" in field for field in found)
