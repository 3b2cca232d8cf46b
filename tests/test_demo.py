"""The demo, in its short form, and what ships with it."""

import re
from importlib.resources import files

import torch

from sae_lens_metrics import Report
from sae_lens_metrics.cli import main
from sae_lens_metrics.demo.text import standard_library_documents

TINY_LM = files("sae_lens_metrics.demo") / "tiny_lm"


def test_the_demo_runs_and_puts_two_saes_side_by_side(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["demo", "--quick", "--output", str(tmp_path / "demo")]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"shrinkage/ratio +│ +[\d.]+ ± [\d.]+ +│ +[\d.]+ ± [\d.]+", printed)
    for name in ("L1", "TopK"):
        report = Report.load(tmp_path / "demo" / f"{name}.json")
        assert not report.errors
        assert report.metrics.keys() == {"probe", "n2g", "explanation", "ablation", "shrinkage"}
        assert Report.load(tmp_path / "demo" / name / "metrics.json")
    assert list((tmp_path / "demo" / "checkpoints").rglob("metrics.jsonl"))
    assert str(tmp_path / "demo") in printed


def test_the_language_model_is_small_and_well_below_a_bigram_model(model):
    assert sum(len(path.read_bytes()) for path in TINY_LM.iterdir()) <= 5_000_000
    card = (TINY_LM / "README.md").read_text()
    ours, bigram = (float(number) for number in re.findall(r"\| (\d\.\d{3}) \|", card))
    assert ours <= bigram - 0.5
    # the card's figure, roughly, on some of the held-out text
    text = "\n".join(document for document, _ in zip(standard_library_documents("held_out"), range(12), strict=False))
    ids = model.to_tokens(text, prepend_bos=False, truncate=False)[0]
    rows = ids[: len(ids) // 127 * 127].view(-1, 127)[:64]
    rows = torch.cat([torch.full((len(rows), 1), model.tokenizer.bos_token_id), rows], dim=1)
    assert abs(model(rows, return_type="loss").item() - ours) < 0.7


def test_the_splits_share_no_file():
    train = {hash(text) for text, _ in zip(standard_library_documents("train"), range(400), strict=False)}
    held_out = [hash(text) for text in standard_library_documents("held_out")]
    assert len(held_out) > 20
    assert sum(key in train for key in held_out) / len(held_out) < 0.02  # a few files are copies of each other
