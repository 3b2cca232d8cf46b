"""Files of format 1, as they were written, open as results of today."""

import copy
import json

import pytest

from sae_lens_metrics.errors import ResultError
from sae_lens_metrics.results import ExplanationNGram, FiringExample, Report, TokenChange

LATENTS = [
    {"latent": 1, "density": 0.1, "explanation": "^ 'def' * '(' | ' | '", "values": "0.5 | 1.25e-05", "f1": 0.5, "fired": 3},
    {"latent": 2, "density": 0.0, "explanation": "", "values": "", "f1": None, "fired": 0},
    {
        "latent": 4,
        "density": 0.2,
        "explanation": r""""it's" | '\n\\\'"' | * '\ud83d\x00*^'""",
        "values": "1 | 2 | -3",
        "f1": 1.0,
        "fired": 1,
    },
]
EFFECTS = [{"latent": 1, "ablations": 2, "raised": r"""' a' +0.083 | '\n' +8e-05""", "lowered": '"it\'s | x" -1.2e+03'}]
TEXTS = [
    {"latent": 1, "kind": "recall", "text": "a «b» c", "activation": 1.5, "predicted": 0.5},
    {"latent": 1, "kind": "precision", "text": "«b\n»c", "activation": 0.0, "predicted": 0.5},
]


def file_of(version="1.2", latents=LATENTS, effects=EFFECTS, examples=(), texts=None):
    def result(**more):
        estimate = {"value": 0.5, "stderr": 0.1, "n": 8, "of": "latents", "reason": None}
        written = {"estimates": {"number": estimate}, "tables": {}, "histograms": {}, "notes": ["a note"], "seconds": 1.0, **more}
        if version != "1.0":
            estimate["influence"] = None
        return written if version in ("1.0", "1.1") else written | {"examples": []} | more

    tables = {"latents": latents} | ({} if texts is None else {"examples": texts})
    metrics = {"n2g": result(tables=tables, **({"examples": list(examples)} if version == "1.2" else {}))}
    metrics["ablation"] = result(tables={"latents": effects})
    head = {"format": "sae-lens-metrics", "format_version": version, "errors": {}, "warnings": ["mind"]}
    provenance = {"config": {"n2g": {"variant": "strict"}, "seed": 1}}
    return copy.deepcopy({**head, "sanity": result(), "metrics": metrics, "provenance": provenance})


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_text_becomes_data(version, tmp_path):
    before = file_of(version)
    report = Report.from_dict(before)
    assert before == file_of(version)
    n2g = report.metrics["n2g"]
    assert [each.latent for each in n2g.explanations.latents] == [1, 2, 4]
    assert report.explanations(1).ngrams == [
        ExplanationNGram([None] * 3, ["def", None, "("], True, 0.5),
        ExplanationNGram([None], [" | "], False, 1.25e-05),
    ]
    assert report.explanations(2).ngrams == []
    assert [ngram.texts for ngram in report.explanations(4).ngrams] == [["it's"], ["\n\\'\""], [None, "\ud83d\x00*^"]]
    assert [ngram.value for ngram in report.explanations(4).ngrams] == [1, 2, -3]
    assert report.explanations(1).to_text() == LATENTS[0]["explanation"]
    assert report.explanations(4).to_text() == LATENTS[2]["explanation"]
    assert n2g.explanations.rules.variant == "strict"
    assert n2g.tables["latents"][0] == {"latent": 1, "density": 0.1, "ngrams": 2, "f1": 0.5, "fired": 3}
    (effects,) = report.metrics["ablation"].effects
    assert effects.raised == [TokenChange(None, " a", 0.083), TokenChange(None, "\n", 8e-05)]
    assert effects.lowered == [TokenChange(None, "it's | x", -1200.0)]
    assert report.metrics["ablation"].tables["latents"] == [{"latent": 1, "ablations": 2}]
    assert report.warnings == ["mind"]
    assert Report.load(report.save(tmp_path / "r.json")) == report
    assert json.loads((tmp_path / "r.json").read_text())["format_version"] == "2.2"


def test_without_ids_nothing_can_be_predicted():
    report = Report.from_dict(file_of())
    with pytest.raises(ResultError, match="format 1, which has no token ids"):
        report.explanations(1).predict([1, 2])
    assert report.explanations(2).predict([1, 2]) == [0, 0]


def test_examples_with_guillemets_become_examples():
    (first, second) = Report.from_dict(file_of("1.1", texts=TEXTS)).metrics["n2g"].examples
    assert first == FiringExample(1, "random", 1, ["a ", "b", " c"], [0.0, 1.5, 0.0], [0.0, 0.5, 0.0])
    assert second == FiringExample(1, "predicted", 0, ["b\n", "c"], [0.0, 0.0], [0.5, 0.0])
    example = {"latent": 1, "kind": "top", "at": 0, "tokens": ["a"], "activations": [1.0], "predictions": [0.0]}
    assert Report.from_dict(file_of(examples=[example])).metrics["n2g"].examples == [FiringExample(**example)]


@pytest.mark.parametrize(
    "text",
    ["free words", "'a' |", "'a", "'a''b'", "| 'a'", "'a' ^ 'b'", r"'\q'", r"'\U99999999'", "'a' 3", "__import__('os')", "'a'\n"],
)
def test_text_of_another_form_stays_text(text):
    rows = [{"latent": 1, "explanation": text, "values": "1"}]
    result = Report.from_dict(file_of(latents=rows, effects=[{"latent": 1, "raised": text, "lowered": ""}])).metrics
    assert (result["n2g"].explanations, result["n2g"].tables["latents"]) == (None, rows)
    assert result["ablation"].effects == []
    assert result["ablation"].tables["latents"][0]["raised"] == text


def test_tables_of_others_stay_as_they_are():
    for rows in ([], [{"latent": 1}], [{"explanation": "'a'", "values": "1"}], [{"latent": "x", "raised": "", "lowered": ""}]):
        assert Report.from_dict(file_of(latents=rows, texts=[{"text": "a"}])).metrics["n2g"].tables == {
            "latents": rows,
            "examples": [{"text": "a"}],
        }


def test_damaged_ones_are_refused():
    for damage in ({"metrics": []}, {"sanity": None}, {"metrics": {"n2g": {"tables": {"latents": [1]}}}}, {"provenance": {"config": []}}):
        with pytest.raises(ResultError, match="damaged"):
            Report.from_dict(file_of() | damage)
