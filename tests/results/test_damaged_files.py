"""Whatever a result file holds, it is read as it is meant, or refused with the file, the field, what is there and what should be."""

import json
import os
import re

import pytest
from any_result import outcome
from damage import KINDS, VALUES, bases, damaged, written
from hypothesis import given, settings
from hypothesis import strategies as st
from report_data import make_report
from valid_results import validator

from sae_lens_metrics.cli.main import main
from sae_lens_metrics.errors import ResultError
from sae_lens_metrics.results import Report
from sae_lens_metrics.results.history import read_histories
from sae_lens_metrics.results.reading import LARGEST_FILE
from sae_lens_metrics.results.shapes import shape_of

N2G = ("metrics", "n2g")
F1 = (*N2G, "estimates", "f1")
EXAMPLE = (*N2G, "examples", 0)
CHANGE = ("metrics", "shrinkage", "histograms", "change")
SEPARATE = [
    ((*F1, "n"), None, "metrics.n2g.estimates.f1.n: found null, expected a whole number from 0"),
    ((*F1, "n"), "8", "metrics.n2g.estimates.f1.n: found '8', expected a whole number"),
    ((*F1, "n"), [8], "metrics.n2g.estimates.f1.n: found [8], expected"),
    ((*F1, "n"), {}, "metrics.n2g.estimates.f1.n: found an object of 0, expected"),
    ((*F1, "n"), -5, "metrics.n2g.estimates.f1.n: found -5, expected"),
    ((*F1, "n"), True, "metrics.n2g.estimates.f1.n: found true, expected"),
    ((*F1, "n"), "\x00raw:" + "9" * 5000, "metrics.n2g.estimates.f1.n: found inf, expected"),
    ((*F1, "value"), 10**400, "metrics.n2g.estimates.f1.value: found a whole number of 401 digits, expected a number from -1e+100"),
    ((*F1, "stderr"), -1, "metrics.n2g.estimates.f1.stderr: found -1, expected a number from 0 to 1e+100 or null"),
    ((*F1, "influence"), [0.5], "metrics.n2g.estimates.f1: influence has 1 numbers, expected one for each of the 8 documents"),
    ((*F1, "influence"), [], "metrics.n2g.estimates.f1: influence has 0 numbers"),
    ((*F1, "influence", 3), "x", "metrics.n2g.estimates.f1.influence[3]: found 'x', expected a number"),
    ((*N2G, "seconds"), float("nan"), "metrics.n2g.seconds: found NaN, expected a number from 0"),
    ((*N2G, "seconds"), "\x00raw:1e999", "metrics.n2g.seconds: found inf"),
    ((*N2G, "tables"), "text", "metrics.n2g.tables: found 'text', expected an object"),
    ((*N2G, "tables", "latents"), [1, 2], "metrics.n2g.tables.latents[0]: found 1, expected an object"),
    ((*N2G, "tables", "latents", 1, "f1"), float("nan"), "metrics.n2g.tables.latents[1].f1: found NaN"),
    ((*N2G, "tables", "latents", 1, "f1"), [1], "metrics.n2g.tables.latents[1].f1: found [1], expected text or"),
    ((*CHANGE, "edges", 1), float("inf"), "metrics.shrinkage.histograms.change.edges[1]: found inf"),
    ((*CHANGE, "edges"), [0.0], "metrics.shrinkage.histograms.change: counts has 2 numbers, expected 0"),
    ((*CHANGE, "edges"), [1.0, 0.0, 2.0], "metrics.shrinkage.histograms.change: edges are not in ascending order"),
    ((*CHANGE, "counts", 0), -1, "metrics.shrinkage.histograms.change.counts[0]: found -1"),
    ((*EXAMPLE, "latent"), "x", "metrics.n2g.examples[0].latent: found 'x', expected a whole number"),
    ((*EXAMPLE, "activations", 2), float("nan"), "metrics.n2g.examples[0].activations[2]: found NaN"),
    ((*EXAMPLE, "predictions"), [0.0], "metrics.n2g.examples[0]: it has 6 tokens, 6 activations and 1 predictions"),
    ((*EXAMPLE, "at"), 99, "metrics.n2g.examples[0]: at is 99, expected the place of one of the 6 tokens"),
    ((*N2G, "explanations", "latents", 1, "latent"), 0, "metrics.n2g.explanations.latents: the latents are not in ascending order"),
    ((*N2G, "explanations", "latents", 1, "ngrams", 0, "texts"), [], "metrics.n2g.explanations.latents[1]: an n-gram has"),
    (("warnings",), "mind", "warnings: found 'mind', expected a list"),
    (("provenance",), "here", "provenance: found 'here', expected an object"),
    (("provenance", "config", "memory_gb"), float("inf"), "provenance.config.memory_gb: found inf, expected JSON with numbers"),
    (("provenance", "sae", "d_sae"), "many", "provenance.sae.d_sae: found 'many', expected a whole number"),
    (
        ("provenance", "config", "deep"),
        json.loads("[" * 60 + "]" * 60),
        "expected JSON with numbers from -1e+100 to 1e+100, at most 50 objects",
    ),
    (("controls", "random", "verdicts", "n2g", "number"), "x", "controls.random: a verdict is about 'x' of 'n2g'"),
    ((*N2G, "notes", 0), "\x00raw:" + "[" * 200_000, "too many objects or lists in one another"),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "whole.json"
    path.write_bytes(written(bases()[0]))
    return path


def put(data, path, value):
    for key in path[:-1]:
        data = data[key]
    if isinstance(data, list) and path[-1] == len(data):
        data.append(value)
    data[path[-1]] = value


@pytest.mark.parametrize(
    ("path", "value", "message"), SEPARATE, ids=lambda each: ".".join(map(str, each)) if isinstance(each, tuple) else ""
)
def test_the_field_is_named_with_what_is_there_and_what_should_be(whole, tmp_path, path, value, message, capsys):
    data = bases()[0]
    put(data, path, value)
    file = tmp_path / "own.json"
    file.write_bytes(written(data))
    with pytest.raises(ResultError, match=re.escape(message)) as raised:
        Report.load(file)
    assert str(raised.value).startswith(str(file))
    assert len(str(raised.value)) < 600
    for command in (["compare", str(whole), str(file), "--no-report"], ["report", str(file), "-o", str(tmp_path / "page.html")]):
        assert main(command) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
    assert os.listdir(tmp_path) == ["own.json"]


def test_a_name_that_is_no_word_is_quoted(tmp_path):
    data = bases()[0]
    data["metrics"]["\x1b[31mred " + "x" * 500] = {"estimates": 3}
    (tmp_path / "r.json").write_bytes(written(data))
    with pytest.raises(ResultError, match=re.escape(r"metrics['\x1b[31mred xxx")) as raised:
        Report.load(tmp_path / "r.json")
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 400


def test_what_is_no_file_or_too_large_is_refused_before_it_is_read(tmp_path):
    with pytest.raises(ResultError, match="is a folder"):
        Report.load(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ResultError, match="no regular file"):
        Report.load(tmp_path / "pipe")
    with pytest.raises(ResultError, match="no regular file"):
        Report.load("/dev/zero")
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(LARGEST_FILE + 1)  # takes no room on the disk
    with pytest.raises(ResultError, match=r"has 8.0 GiB, expected a result file of at most 8"):
        Report.load(tmp_path / "large.json")


@given(st.sampled_from(range(3)), st.sampled_from(KINDS), st.sampled_from(VALUES), st.integers(0, 2**32))
@settings(max_examples=50, deadline=None, derandomize=True, database=None)
def test_any_damage_is_read_or_refused(tmp_path_factory, whole, base, kind, value, seed):
    file = tmp_path_factory.mktemp("any") / "damaged.json"
    file.write_bytes(damaged(bases()[base], kind, value, seed))
    outcome(file, whole, page=False)


@given(st.sampled_from([value for value in VALUES if value != 0]), st.integers(0, 2**32))
@settings(max_examples=50, deadline=None, derandomize=True, database=None)
def test_what_the_published_schema_lets_in_is_read(value, seed):
    """Two readers of one schema agree, but for numbers that are none, and depth, which JSON Schema cannot say."""
    try:
        data = json.loads(damaged(bases()[0], "another value", value, seed))
    except (ValueError, RecursionError):
        return
    shape = shape_of(Report)
    head = {"format", "format_version"}
    if validator().is_valid({**data, **{name: bases()[0][name] for name in head}}) and not shape.fits(data):
        assert shape.fault(data, "").expected.startswith("JSON with")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"sae": null, "step": 1e999}', "step is inf, expected a whole number"),
        (b'{"sae": null, "step": "5"}', "step is '5', expected"),
        (b'{"sae": [1]}', "sae is [1], expected text or null"),
        (b'{"sae": null, "sanity/l0": NaN}', "sanity/l0'] is NaN, expected a number"),
        (b'{"sae": null, "sanity/l0": ' + b"9" * 5000 + b"}", "is inf, expected a number"),
        (b'{"sae": null, "sanity/l0": null}', "is null, expected a number"),
        (b"[" * 200_000, "in one another"),
        (b"\xff\xfe{", "codec can't decode"),
        (b"[]", "the whole is [], expected an object"),
        (b'{"sae": null, "final": null}', "final is null"),
    ],
)
def test_a_damaged_line_of_a_history_is_named(tmp_path, line, message):
    whole = {"sae": None, "step": 5, "n_training_samples": 50, "final": True, "sanity/l0": 3.5}
    if line.startswith(b'{"'):
        end = json.dumps({name: value for name, value in whole.items() if name.encode() not in line})
        line = line[:-1] + b", " + end.encode()[1:]
    (tmp_path / "metrics.jsonl").write_bytes(json.dumps(whole).encode() + b"\n" + line + b"\n")
    with pytest.raises(ResultError, match=f"line 2, is no line .*{re.escape(message)}"):
        read_histories(tmp_path / "metrics.jsonl")
    assert main(["report", str(tmp_path), "-o", str(tmp_path / "page.html")]) == 2


def test_a_large_result_is_checked_in_little_time():
    """Checking takes less than a third of what reading takes otherwise; it is 10 to 15 % where nothing else runs."""
    import time

    text = json.dumps(make_report(2_000, examples=1).to_dict())
    shape_of(Report)
    seconds = {"read": 9e9, "check": 9e9}
    for _ in range(3):
        started = time.process_time()
        data = json.loads(text)
        read = time.process_time()
        assert shape_of(Report).fits(data)
        seconds = {"read": min(seconds["read"], read - started), "check": min(seconds["check"], time.process_time() - read)}
    assert seconds["check"] < seconds["read"]
