"""A card of somebody else's keeps all that is theirs, and what is put into it is nothing but text."""

import pytest
import yaml
from huggingface_hub import ModelCard
from report_data import HOSTILE, hostile_report, make_report

from sae_lens_metrics.errors import PublishError
from sae_lens_metrics.publishing import Address
from sae_lens_metrics.publishing.front_matter import BEGIN, END, settings_of, with_section, with_settings
from sae_lens_metrics.publishing.model_index import model_index
from sae_lens_metrics.publishing.sections import dataset_section, escaped, model_section

CARD = """---
license: mit   # ours
tags: [a, 'b']
model-index:
- name: mine
  results: []
# about the text
datasets:
    - some/text
---

# Mine

---
model-index: not a setting
"""


def test_one_setting_is_changed_and_the_rest_stays_to_the_byte():
    changed = with_settings(CARD, {"model-index": [{"name": "new"}], "extra": 1})
    assert settings_of(changed) == {**settings_of(CARD), "model-index": [{"name": "new"}], "extra": 1}
    assert changed == CARD.replace("- name: mine\n  results: []\n", "- name: new\n").replace(
        "    - some/text\n", "    - some/text\nextra: 1\n"
    )


@pytest.mark.parametrize(
    "card", ["", "# Mine\n", "---\n---\nx", "---\nlicense: mit\n---", "\ufeff---\r\nlicense: mit\r\n---\r\n# Mine\r\n"]
)
def test_settings_of_any_card(card):
    changed = with_settings(card, {"configs": [{"a": "ü: #"}]})
    assert settings_of(changed) == {**settings_of(card), "configs": [{"a": "ü: #"}]}
    assert ("\r\n" in card) == ("\r\n" in changed)
    assert with_settings(changed, {"configs": [{"a": "ü: #"}]}) == changed


@pytest.mark.parametrize(
    "card", ["---\n{license: mit}\n---\n", "---\na: &x [1]\nmodel-index: &y 1\nb: *y\n---\n", "---\n- a\n---\n", "---\na: [\n---\n"]
)
def test_settings_that_cannot_be_changed_alone(card):
    with pytest.raises(PublishError, match="README's settings"):
        with_settings(card, {"model-index": []})


def test_a_section_takes_the_place_of_the_former_one():
    first = with_section("# Mine\n\nwords\n", "one\ntwo")
    assert first == f"# Mine\n\nwords\n\n{BEGIN}\n\none\ntwo\n\n{END}\n"
    assert with_section(f"{first}\nmore\n", "three") == f"# Mine\n\nwords\n\n{BEGIN}\n\nthree\n\n{END}\n\nmore\n"
    assert with_section(first, "one\ntwo") == first
    with pytest.raises(PublishError, match="without the other"):
        with_section(f"{BEGIN} x", "y")


def test_results_of_others_stay_in_the_index():
    theirs = {"task": {"type": "t"}, "dataset": {"name": "d", "type": "d"}, "metrics": [{"type": "m", "value": 1}]}
    reports = {"A": make_report(6), "B": make_report(6, seed=1)}
    index = model_index(reports, [{"name": "mine", "results": [theirs]}], "unused")
    again = model_index(reports, index, "unused")
    assert again == index
    assert [each["name"] for each in index] == ["mine"]
    assert index[0]["results"][0] == theirs
    assert len(index[0]["results"]) == 3
    names = [each["type"] for each in index[0]["results"][1]["metrics"]]
    assert "n2g/f1" in names
    assert "probe/random_loss" not in names  # a baseline is not the SAE's


def test_the_hubs_own_reader_finds_the_numbers():
    report = make_report(6)
    card = ModelCard(with_settings("# Mine", {"model-index": model_index({"A": report}, None, "mine")}))
    found = {each.metric_type: each for each in card.data.eval_results}
    assert found["n2g/f1"].metric_value == report.metrics["n2g"].estimates["f1"].value
    assert found["n2g/f1"].metric_args["stderr"] == report.metrics["n2g"].estimates["f1"].stderr


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_whatever_is_in_a_report_is_text(text):
    reports = {text: hostile_report(text)}
    for section in (dataset_section(reports, {text: "results/x.json"}, "a/b", "a/b"), model_section(reports, None, None)):
        card = with_section(with_settings("", {"model-index": model_index(reports, None, text)}), section)
        assert yaml.safe_load(card.encode("utf-8", "backslashreplace").split(b"---\n")[1])
        assert "<script" not in card.split("---\n", 2)[2]
        assert card.count(BEGIN) == card.count(END) == 1
        heads = [line for line in card.splitlines() if line.startswith("|") and "---" in line]
        rows = [line.replace("\\|", "").count("|") for line in section.splitlines() if line.startswith("|")]
        assert heads
        assert {*rows} <= {3, 4, 5, 6}


def test_markdown_of_names():
    assert escaped("a*b_c|`d`<e>") == r"a\*b_c\|\`d\`&lt;e&gt;"


@pytest.mark.parametrize("name", ["results", "a/b/c", "a--b/c", "", "alice/", "alice/x.git", "a b/c", "hf://datasets/a/b"])
def test_names_that_no_repository_can_have(name):
    with pytest.raises(PublishError, match=r"--to takes USER/NAME"):
        Address.of("dataset", name, "--to")
