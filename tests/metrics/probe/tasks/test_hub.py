"""Tasks of the Hugging Face hub, through the real download code, from small files of the same form on a loopback server."""

import io
import json
import subprocess
import sys
from types import SimpleNamespace

import pyarrow
import pyarrow.parquet
import pytest
from loopback_hub import LoopbackHub

from sae_lens_metrics.metrics.probe.tasks.catalogue import catalogue

HUB = {name: entry for name, entry in catalogue().items() if entry.kind == "hub"}
LANGUAGES = ("es", "en", "fr", "nl", "it", "el", "de", "pt", "sv")
PAIRS = ("en-es", "de-en", "fr-it", "nl-pt", "el-sv")
N = 64

# what loads the tasks asked for in processes of their own, as the hub's address is read on import
PROGRAM = """
import dataclasses, json, logging, sys
from sae_lens_metrics.errors import MetricsError
from sae_lens_metrics.metrics.probe.tasks import load_tasks
logging.basicConfig(format="WARNING %(message)s")
for names, seed, strict in json.loads(sys.argv[1]):
    try:
        loaded = load_tasks(names, n_examples=64, seed=seed, strict=strict)
        print("RESULT", json.dumps({"tasks": {t.name: [t.texts, t.labels] for t in loaded.tasks}, "missing": loaded.missing}))
    except MetricsError as error:
        print("RESULT", json.dumps({"error": f"{type(error).__name__}: {error}"}))
"""


def parquet(columns):
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), buffer, row_group_size=50)
    return buffer.getvalue()


def sentence(language, i):
    return "1234567890 1234567890" if i == 5 else f"{language} sentence number {i} of the debate" if i % 7 else f"({language})"


def datasets():
    """The four repositories, with their files' names and columns."""
    pairs = {pair: [{code: sentence(code, i) for code in pair.split("-")} for i in range(2000)] for pair in PAIRS}
    comments = {
        # sorted by class, as a source may be, with a repeated comment and one that has both labels
        "comment_text": ["the same"] * 40 + ["both"] + [f"toxic {i}" for i in range(80)] + ["both"] + [f"civil {i}" for i in range(800)],
        "toxic": [1] * 121 + [0] * 801,
    }
    return {
        "Helsinki-NLP/europarl": {
            **{f"{pair}/train-00000-of-00001.parquet": parquet({"translation": rows}) for pair, rows in pairs.items()},
            "da-de/train-00000-of-00001.parquet": parquet({"translation": pairs["de-en"]}),
        },
        "tcapelle/jigsaw-toxic-comment-classification-challenge": {
            "data/balanced_test-00000-of-00001.parquet": parquet({"id": list(map(str, range(922))), **comments}),
            "data/train-00000-of-00001.parquet": parquet({"comment_text": ["wrong split"] * 90, "toxic": [0, 1] * 45}),
        },
        "aps/super_glue": {
            "wic/train/0000.parquet": parquet(
                {
                    "word": [f"word{i}" for i in range(200)],
                    "sentence1": [f"First {i}." for i in range(200)],
                    "sentence2": [f"Second {i}." for i in range(200)],
                    "label": [i % 3 % 2 for i in range(200)],
                }
            ),
            "wic/test/0000.parquet": parquet({"word": ["test"] * 60, "label": [-1] * 60}),
        },
        "hendrycks/ethics": {
            "utilitarianism/train/0000.parquet": parquet(
                {"baseline": [f"Pleasant {i}." for i in range(300)], "less_pleasant": [f"Less so {i}." for i in range(300)]}
            )
        },
    }


def load(folder, url, *asked):
    environment = {"HOME": str(folder), "HF_HOME": str(folder / "hf"), "HF_ENDPOINT": url, "PATH": "", "OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, "-c", PROGRAM, json.dumps(asked)]
    process = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=200)
    assert process.returncode == 0, process.stderr
    results = [json.loads(line.removeprefix("RESULT ")) for line in process.stdout.splitlines() if line.startswith("RESULT ")]
    return results, [line.removeprefix("WARNING ") for line in process.stderr.splitlines() if line.startswith("WARNING ")]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """All tasks of the hub twice and with another seed; then without a network."""
    folder = tmp_path_factory.mktemp("hub")
    revisions = {entry.revision for entry in HUB.values()}
    with LoopbackHub(datasets=datasets(), revisions=revisions) as server:
        results, warnings = load(folder, server.url, [list(HUB), 0, True], [list(HUB), 1, False])
        unreachable = server.url
    offline = load(
        folder, unreachable, [["jigsaw", "true_sum", "language"], 0, False], [["jigsaw"], 0, False], [["wic", "base64"], 0, True]
    )
    return SimpleNamespace(first=results[0], other=results[1], warnings=warnings, server=server, offline=offline)


@pytest.mark.parametrize("name", HUB)
def test_balanced_without_duplicates_and_chosen_by_the_seed(loaded, name):
    texts, labels = loaded.first["tasks"][name]
    assert len(texts) == len(set(texts)) == len(labels) == N
    assert sum(labels) == N // 2
    assert not loaded.first["missing"]
    assert loaded.warnings == []
    assert loaded.other["tasks"][name] != loaded.first["tasks"][name]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_against_the_other_eight_evenly(loaded, language):
    texts, labels = loaded.first["tasks"][f"europarl_{language}"]
    negatives = [text[:2] for text, label in zip(texts, labels, strict=True) if not label]
    assert {text[:2] for text, label in zip(texts, labels, strict=True) if label} == {language}
    assert {code: negatives.count(code) for code in LANGUAGES} == {code: 0 if code == language else N // 2 // 8 for code in LANGUAGES}


def test_what_wic_asks(loaded):
    for text, label in zip(*loaded.first["tasks"]["wic"], strict=True):
        first, second, word = text.split("\n")
        i = int(word.removeprefix("word"))
        assert (first, second) == (f"First {i}.", f"Second {i}.")
        assert label == (i % 3 == 1)


def test_the_order_of_scenes_is_the_label(loaded):
    for text, label in zip(*loaded.first["tasks"]["utilitarianism"], strict=True):
        first, second = text.split("\n")
        assert first.startswith("Pleasant" if label else "Less so")
        assert first.split()[-1] == second.split()[-1]


def test_comments(loaded):
    for text, label in zip(*loaded.first["tasks"]["jigsaw"], strict=True):
        assert text != "both"
        assert text.startswith(("toxic", "the same") if label else "civil")


def test_pinned_revisions_and_no_more_files_than_needed(loaded):
    for name in datasets():
        revision = next(entry.revision for entry in HUB.values() if entry.source == name)
        assert loaded.server.asked_for(f"/api/datasets/{name}/revision/{revision.replace('/', '%2F')}")
    fetched = {
        request.path.split("/resolve/")[1].split("/", 1)[1]
        for request in loaded.server.asked_for(".parquet")
        if "/resolve/" in request.path
    }
    assert fetched == {
        *(f"{pair}/train-00000-of-00001.parquet" for pair in PAIRS),
        *("data/balanced_test-00000-of-00001.parquet", "wic/train/0000.parquet", "utilitarianism/train/0000.parquet"),
    }


def test_without_a_network_the_rest_goes_on(loaded):
    (some, none, strict), warnings = loaded.offline
    assert list(some["tasks"]) == ["true_sum"]
    assert set(some["missing"]) == {"jigsaw", *(f"europarl_{language}" for language in LANGUAGES)}
    assert all("cannot be reached" in reason and "offline" in reason for reason in some["missing"].values())
    (warning,) = [line for line in warnings if "left out" in line]
    assert "10 probe tasks (europarl_es, europarl_en, europarl_fr, europarl_nl and 6 more)" in warning
    assert none["error"].startswith("TaskError: none of the probe tasks can be loaded: 1 probe task (jigsaw): the Hugging Face hub")
    assert strict["error"].startswith("TaskError: the probe task 'wic' cannot be loaded: the Hugging Face hub cannot be reached")


def test_data_that_is_gone_or_different(tmp_path):
    served = {**datasets(), "aps/super_glue": {"wic/train/0000.parquet": parquet({"word": ["a"] * 30, "label": [0, 1] * 15})}}
    del served["hendrycks/ethics"]
    revisions = {entry.revision for entry in HUB.values()} - {HUB["europarl_es"].revision}
    with LoopbackHub(datasets=served, revisions=revisions) as server:
        (result,), warnings = load(tmp_path, server.url, [["wic", "utilitarianism", "europarl_es", "jigsaw"], 0, False])
    missing = result["missing"]
    assert "jigsaw" in result["tasks"]
    assert "aps/super_glue" in missing["wic"]
    assert "has no column sentence1, sentence2, but word, label" in missing["wic"]
    assert "hendrycks/ethics" in missing["utilitarianism"]
    assert "europarl" in missing["europarl_es"]
    assert HUB["europarl_es"].revision in missing["europarl_es"]
    assert len([line for line in warnings if "left out" in line]) == 3
