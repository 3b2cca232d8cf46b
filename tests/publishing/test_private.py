"""What is private leaves no trace in what is published, and what comparisons need stays."""

import json
from pathlib import Path

import pytest
from report_data import HOSTILE, hostile_report, make_report

from sae_lens_metrics import Report, compare_reports
from sae_lens_metrics.publishing import Private
from sae_lens_metrics.publishing.cleaning import clean_copy, cleaned_stem

HOME, HERE = "/home/quokka", "/mnt/lab-budgie/my work"
PRIVATE = Private((HERE, HOME), ("quokka", "wombat7"), ("s3cr3t-value-1",))
TOKEN = "hf_" + "a1B2" * 8


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cannot read /home/quokka/saes/TopK/cfg.json: give another", "cannot read cfg.json: give another"),
        ("the file '/data/other lab/x y.jsonl' is damaged", "the file 'x y.jsonl' is damaged"),
        (f"in {HERE}/texts.jsonl.", "in texts.jsonl."),
        (HOME, "folder"),
        ("../shared/a.json and ~/b.json and ~quokka/c.json", "a.json and b.json and c.json"),
        (r"C:\Users\Quokka\x.json", "x.json"),
        (r"\\fileserver\share\x.json", "x.json"),
        ("file:///srv/x/y.txt", "y.txt"),
        ("https://quokka:pw@hub.example/a/b", "https://hub.example/a/b"),
        ("by Quokka on wombat7", "by (removed) on (removed)"),
        (f"token {TOKEN} or s3cr3t-value-1", "token (removed) or (removed)"),
        (
            "see https://arxiv.org/abs/2406.04093, F1 and/or loss, 3 nats/token",
            "see https://arxiv.org/abs/2406.04093, F1 and/or loss, 3 nats/token",
        ),
        ("quokkas", "quokkas"),
        ("/home/quokka2/x.json", "x.json"),
        ("quokka", "quokka"),
        ("a quokka_length of 8", "a quokka_length of 8"),
        ("on wombat7.", "on (removed)."),
        ("blocks.2.hook_resid_post of NeelNanda/pile-10k", "blocks.2.hook_resid_post of NeelNanda/pile-10k"),
    ],
)
def test_text(text, expected):
    assert PRIVATE.cleaned(text) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("NeelNanda/pile-10k", "NeelNanda/pile-10k"),
        ("gpt2", "gpt2"),
        ("data/texts.jsonl", "texts.jsonl"),
        ("a/b/c", "c"),
        ("../models/mine", "mine"),
        (f"{HOME}/models/mine/", "mine"),
        ("in memory", "in memory"),
        ("quokka/mine", "quokka/mine"),
        ("quokka_run", "(removed)_run"),
    ],
)
def test_names(name, expected):
    assert PRIVATE.named(name) == expected


def test_a_name_that_is_a_folder_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("quartz/mine").mkdir(parents=True)
    assert PRIVATE.named("quartz/mine") == "mine"


def test_names_of_result_files(tmp_path):
    assert cleaned_stem("home_quokka_saes_topk_0123456789", PRIVATE) == "topk_0123456789"
    assert (
        cleaned_stem("gpt2-small-res-jb_blocks.8.hook_resid_pre_0123456789", PRIVATE)
        == "gpt2-small-res-jb_blocks.8.hook_resid_pre_0123456789"
    )
    assert cleaned_stem("TopK", PRIVATE) == "TopK"
    (tmp_path / "top k_16").mkdir()
    (tmp_path / "topk_16").mkdir()
    stem = "_".join([*tmp_path.parts[1:], "topk_16", "0123456789"])
    assert cleaned_stem(stem, PRIVATE) == "topk_16_0123456789"


def test_what_is_private_here(monkeypatch):
    monkeypatch.setenv("USER", "quokka")
    monkeypatch.setattr(Path, "home", lambda: Path(HOME))
    monkeypatch.setattr("socket.gethostname", lambda: "wombat7.lab.example")
    private = Private.here(
        "the-token", {"USER": "quokka", "MY_API_KEY": "very secret", "LANG": "en_US.UTF-8", "TOKENIZERS_PARALLELISM": "falsefalse"}
    )
    assert HOME in private.places
    assert str(Path.cwd()) in private.places
    assert {"quokka", "wombat7"} <= {*private.words}
    assert {*private.secrets} == {"the-token", "very secret"}
    assert "quokka" not in private.but("quokka").words


def with_private_parts(report):
    sae = {"model_name": f"{HOME}/models/mine", "weights_sha256": "ab" * 32}
    corpus = {"name": f"{HERE}/texts.jsonl", "tokens_sha256": "cd" * 32, "documents": 8}
    config = {"dataset": f"{HERE}/texts.jsonl", "seed": 0, "probe": {"task_files": [f"{HOME}/tasks/spam.csv:yes"]}, "n2g": {"folder": HOME}}
    report = report.with_provenance(
        sae=sae,
        corpus=corpus,
        config=config,
        training={"run": f"{HOME}/runs/1", "sae": "a", "step": 1, "n_training_samples": 8, "final": True},
        **{f"{HOME}/x": "on wombat7", "model_sha256": "ef" * 32},
    )
    report.metrics["n2g"].notes.append(f"read {HOME}/a and {TOKEN}")
    report.metrics["n2g"].examples[0].tokens[0] = "s3cr3t-value-1"
    report.errors["probe"] = f"cannot open '{HERE}/p.csv'"
    return report.with_warnings(f'in {HERE}: see "{HOME}/b c"')


def test_a_report(tmp_path):
    """Numbers, influences, hashes and examples are those of the original; it compares with it as with itself."""
    report = with_private_parts(make_report(12))
    path = clean_copy(report, tmp_path / "it.json", PRIVATE)
    text = path.read_text()
    for secret in ("quokka", "wombat7", "budgie", "my work", TOKEN, "s3cr3t", "/home", "/mnt"):
        assert secret not in text.lower().replace(TOKEN.lower(), TOKEN)
    clean = Report.load(path)
    assert dict(clean.estimates()) == dict(report.estimates())
    assert clean.metrics["n2g"].tables == report.metrics["n2g"].tables
    assert clean.metrics["n2g"].examples[1:] == report.metrics["n2g"].examples[1:]
    assert clean.section("corpus")["name"] == "texts.jsonl"
    assert clean.section("corpus")["tokens_sha256"] == "cd" * 32
    assert clean.section("sae")["model_name"] == "mine"
    assert clean.section("config", "probe")["task_files"] == ["spam.csv:yes"]
    assert clean.errors == {"probe": "cannot open 'p.csv'"}
    assert clean.warnings == ['in folder: see "b c"']
    with_original, with_itself = (compare_reports({"a": report, "b": other}) for other in (clean, report))
    pairs = [[(each.number, each.paired, each.verdict) for each in comparison.differences] for comparison in (with_original, with_itself)]
    assert pairs[0] == pairs[1]


def test_a_report_without_texts(tmp_path):
    report = make_report(6)
    clean = Report.load(clean_copy(report, tmp_path / "it.json", PRIVATE, text=False))
    assert not clean.metrics["n2g"].examples
    assert clean.metrics["n2g"].explanations is None
    assert dict(clean.estimates()) == dict(report.estimates())


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_any_text_stays_a_report(text, tmp_path):
    clean = Report.load(clean_copy(hostile_report(text), tmp_path / "it.json", PRIVATE))
    json.dumps(clean.to_dict())
