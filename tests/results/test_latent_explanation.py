"""Explanations as objects: what they predict, how they are read and written."""

import json
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from report_data import hostile_report, make_report

from sae_lens_metrics.errors import ResultError
from sae_lens_metrics.functional.matching import Matcher
from sae_lens_metrics.functional.ngrams import NGram, Patterns
from sae_lens_metrics.results import Explanation, ExplanationNGram, MatchingRules, Report
from sae_lens_metrics.results.readable_tables import readable_tables

VARIANTS = ("released", "strict")
BOS = 0


def explanation(*ngrams, variant="released", special=(BOS,)):
    """From pairs of tokens and a value, with "^" in front for the start."""
    made = []
    for tokens, value in ngrams:
        ids = [token for token in tokens if token != "^"]
        texts = [None if token is None else f"t{token}" for token in ids]
        made.append(ExplanationNGram(ids, texts, tokens[0] == "^", value))
    return Explanation(3, made, MatchingRules(variant, list(special), BOS))


@st.composite
def problems(draw):
    token = st.integers(1, draw(st.integers(1, 4)))
    spelling = st.tuples(st.lists(st.none() | token, min_size=1, max_size=5), st.booleans())
    spellings = draw(st.lists(spelling, unique_by=lambda pair: (tuple(pair[0]), pair[1]), max_size=10))
    ngrams = [((["^"] if at_start else []) + tokens, float(i + 1)) for i, (tokens, at_start) in enumerate(spellings)]
    text = draw(st.lists(st.sampled_from([0, 1, 1, 2, 2, 3, 4, 9]), min_size=1, max_size=14))
    return ngrams, text


@pytest.mark.parametrize("variant", VARIANTS)
@settings(max_examples=250, deadline=None)
@given(problem=problems())
def test_as_the_matcher(variant, problem):
    ngrams, text = problem
    one = explanation(*ngrams, variant=variant)
    patterns = Patterns.from_ngrams({0: [NGram(tuple(each.tokens), each.at_start, each.value) for each in one.ngrams]})
    tokens = torch.tensor([text])
    positions = torch.arange(len(text))
    expected = Matcher(patterns, variant=variant).predict(tokens, tokens == BOS, positions, torch.zeros_like(positions))
    assert one.predict(text) == one.predict(tokens[0]) == expected.tolist()


def test_which_ngram_wins():
    ngrams = [([5], 1.0), ([None, 5], 2.0), ([3, 5], 3.0), (["^", 5], 4.0)]
    text = [BOS, 5, 3, 5, 4, 5]
    assert explanation(*ngrams, variant="strict").predict(text) == [0, 4, 0, 3, 0, 2]
    assert explanation(*ngrams, variant="released").predict(text) == [0, 1, 0, 1, 0, 1]  # the first value on the way


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_start_is_the_first_token_that_is_not_special(variant):
    one = explanation((["^", 5], 1.0), ([4, 6], 2.0), ([None, None, 7], 3.0), variant=variant)
    assert one.predict([5, 5]) == [1, 0]
    assert one.predict([BOS, 5, BOS, BOS, 5]) == [0, 1, 0, 0, 1]
    assert one.predict([4, BOS, 6, 4, 6]) == [0, 0, 0, 0, 2]
    assert one.predict([4, BOS, 7, 4, 7, 7]) == [0, 0, 0, 0, 3, 3]
    assert one.predict([]) == []
    assert explanation(variant=variant).predict([5, -1, 10**9]) == [0, 0, 0]


def test_tokens_are_one_sequence_of_ids():
    one = explanation(([5], 1.0))
    for wrong in ([[5, 5]], torch.tensor([[5]]), ["5"], [5.0], 5):
        with pytest.raises(ValueError, match="one sequence"):
            one.predict(wrong)


def test_for_people():
    one = explanation((["^", 4, None, 5], 1.0), ([6], 2.0))
    assert one.to_text() == "^ 't4' * 't5' | 't6'"
    assert explanation().to_text() == ""


def test_to_json_and_back():
    one = explanation((["^", 4, None, 5], 1.0), ([6], 2.5), variant="strict")
    written = json.loads(json.dumps(one.to_dict()))
    assert Explanation.from_dict(written) == one
    assert written["ngrams"][0] == {"tokens": [4, None, 5], "texts": ["t4", None, "t5"], "at_start": True, "value": 1.0}
    for damage in ({}, {"latent": 1}, written | {"ngrams": [{"a": 1}]}, written | {"rules": None}):
        with pytest.raises(ResultError, match="no explanation"):
            Explanation.from_dict(damage)


def test_a_report_gives_them_by_latent(tmp_path):
    report = Report.load(make_report(30).save(tmp_path / "r.json"))
    assert report == make_report(30)
    whole = report.metrics["n2g"].explanations
    assert report.explanations(7) == Explanation(7, whole.latents[7].ngrams, whole.rules)
    with pytest.raises(ResultError, match="latent 30 is not among the 30"):
        report.explanations(30)
    with pytest.raises(ResultError, match="explains no latents"):
        report.without("explanations").explanations(7)
    (line,) = (line for line in (tmp_path / "r.json").read_text().split("\n") if '"latent":7,"ngrams"' in line)
    assert json.loads(line.rstrip(",")) == {"latent": 7, "ngrams": report.explanations(7).to_dict()["ngrams"]}


def test_tables_for_people_have_them_in_words():
    report = hostile_report("it's")
    rows = readable_tables(report.metrics["n2g"])["latents"]
    assert [row["explanation"] for row in rows] == ['"it\'s" * | ^ "it\'s"', '"it\'s" *']
    assert [row["values"] for row in rows] == ["0.5 | 1", "0.5"]
    (row,) = readable_tables(report.metrics["ablation"])["latents"]
    assert (row["raised"], row["lowered"]) == ('"it\'s" +0.5', '"it\'s" -0.5')
    assert "explanation" not in report.metrics["n2g"].tables["latents"][0]


def test_results_are_read_and_predict_without_heavy_packages(tmp_path):
    path = make_report(4).save(tmp_path / "r.json")
    code = f"""
import sys
from sae_lens_metrics.results import Report
from sae_lens_metrics.results.schema import schema
schema()
assert len(Report.load({str(path)!r}).explanations(2).predict([1, 2, 3])) == 3
assert not {{"torch", "pandas", "matplotlib", "numpy", "sae_lens"}} & {{*sys.modules}}
"""
    subprocess.run([sys.executable, "-c", code], check=True)
