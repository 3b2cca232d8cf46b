"""The latents for a token: what is known of where they fire, ranked."""

import io
import json
from dataclasses import replace

import pytest
from report_data import HOSTILE, hostile_report, make_report
from rich.console import Console

from sae_lens_metrics.cli.report import run_report
from sae_lens_metrics.errors import ResultError
from sae_lens_metrics.results import (
    ExplanationNGram,
    FiringExample,
    LatentExplanation,
    MatchingRules,
    MetricResult,
    NGramExplanations,
)
from sae_lens_metrics.views.firing_tokens import firing_tokens

RULES = MatchingRules("released", [0], 0)


def ngram(*texts, value=1.0):
    return ExplanationNGram([None if text is None else 1 for text in texts], list(texts), False, value)


def report_of(explained, examples=()):
    explanations = NGramExplanations(RULES, [LatentExplanation(latent, ngrams) for latent, ngrams in explained.items()])
    result = MetricResult({}, examples=list(examples), explanations=explanations)
    return replace(make_report(2), metrics={"n2g": result})


def found(report, query):
    return [(each.latent, pytest.approx(each.on), pytest.approx(each.after)) for each in firing_tokens(report).find(query)]


def test_shares_are_of_what_ngrams_predict_and_of_what_fires_in_examples():
    examples = [
        FiringExample(1, "top", 0, [" import", "b"], [6.0, 0.0], [0.0, 9.0]),
        FiringExample(1, "random", 1, ["a", "c"], [0.0, 2.0], [0.0, 0.0]),
        FiringExample(1, "predicted", 1, ["a", "d"], [0.0, 8.0], [0.0, 1.0]),
    ]
    explained = {
        1: [ngram(" import", value=3.0), ngram("x", value=1.0)],
        2: [ngram(" import"), ngram("x", None)],
        3: [ngram(" import", "x")],
    }
    report = report_of(explained, examples)
    # of latent 1 the n-grams and the examples both say three quarters; the wildcard of latent 2 is half of it
    assert found(report, " import") == [(1, 0.75, 0), (2, 0.5, 0), (3, 0, 1)]
    assert found(report, "c") == [(1, 0.125, 0)]
    assert found(report, "d") == []


def test_a_token_is_what_is_written_or_what_is_like_it():
    report = report_of({1: [ngram(" import")], 2: [ngram("import")], 3: [ngram("IMPORT ")], 4: [ngram(" important")]})
    assert found(report, " import") == [(1, 1, 0)]
    assert [latent for latent, *_ in found(report, " Import")] == [1, 2, 3]
    assert [latent for latent, *_ in found(report, "porta")] == [4]
    for nothing in ("", "  ", "zebra"):
        assert found(report, nothing) == []


def test_what_latents_rarely_do_is_left_out():
    many = [ngram(f"t{i}") for i in range(200)]
    report = report_of({1: many, 2: [*many[:30]]})
    tokens = firing_tokens(report)
    assert sum(1 in latents for latents in tokens.on.values()) == 0
    assert sum(2 in latents for latents in tokens.on.values()) == 24


def test_the_command_prints_the_latents_and_writes_no_page(tmp_path):
    report = make_report(8, directions=True)
    report.metrics["n2g"].explanations.latents[3] = LatentExplanation(3, [ngram(" needle[red]")])
    report.save(tmp_path / "a.json")
    make_report(4).save(tmp_path / "b.json")
    out = io.StringIO()
    run_report([str(tmp_path), "--find", " needle[red]"], Console(file=out, width=160))
    text = out.getvalue()
    assert "a: 1 latents for ' needle[red]'" in text
    (row,) = [line for line in text.splitlines() if "' needle[red]'" in line and "latents for" not in line]
    assert row.split()[0] == "3"
    assert "50 %" in row or "100 %" in row
    assert "' import' ' word3'" in row
    assert "b: 0 latents" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b.json"]


def test_what_cannot_be_looked_into_is_said(tmp_path, capsys):
    history = {"sae": None, "step": 5, "n_training_samples": 50, "final": True, "held_out": True, "seconds": 1.0, "sanity/l0": 3.5}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(history) + "\n")
    with pytest.raises(ResultError, match="--find looks into results, of which there are none"):
        run_report([str(tmp_path), "--find", "x"])
    with pytest.raises(SystemExit):
        run_report([str(tmp_path), "--find", "x", "--most", "0"])
    assert "--most is 0, expected at least 1" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["closing", "direction", "null"])
def test_hostile_text_is_printed_as_text(tmp_path, name):
    hostile_report(HOSTILE[name]).save(tmp_path / "a.json")
    out = io.StringIO()
    run_report([str(tmp_path / "a.json"), "--find", HOSTILE[name], "--most", "1"], Console(file=out, width=160))
    assert "2 latents" in out.getvalue()
    assert "the first 1" in out.getvalue()
    assert not {"\x00", "\u202e", "\x1b"} & {*out.getvalue()}
