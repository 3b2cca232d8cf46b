"""The demo, in its short form, and what ships with it."""

import io
import re
from contextlib import redirect_stdout
from importlib.resources import files

import pytest
import torch
from browser import LAPTOP, PHONE
from specs import SPECS

from sae_lens_metrics import Report
from sae_lens_metrics.cli.main import main
from sae_lens_metrics.demo.shipped import SHIPPED_SAES, load_shipped_subject
from sae_lens_metrics.metrics.registry import built_in_metrics
from sae_lens_metrics.results.history import read_histories
from sae_lens_metrics.results.in_words import with_error
from sae_lens_metrics.text.standard_library import standard_library_documents

TINY_LM = files("sae_lens_metrics.demo") / "tiny_lm"


def printed_by(*arguments):
    """What the demo prints."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.setenv("COLUMNS", "160")
        patch.delenv("WANDB_DIR", raising=False)
        assert main(["demo", "--quick", "--tasks", "base64,code_against_prose,true_sum", *arguments]) == 0
    return printed.getvalue()


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo's folder, and what it printed."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    return folder, printed_by("--output", str(folder))


def shrinkage(folder, name):
    return Report.load(folder / f"{name}.json").metrics["shrinkage"].estimates["ratio"]


def test_the_demo_runs_and_puts_two_saes_side_by_side(demo):
    folder, printed = demo
    assert re.search(r"^L1: L0: active latents per token [\d.]+ ± .*\nTopK: L0", printed, flags=re.MULTILINE)  # something to look at first
    assert re.search(r"shrinkage/ratio +│ +[\d.]+ ± [\d.]+ +│ +[\d.]+ ± [\d.]+", printed)
    for name in ("L1", "TopK"):
        report = Report.load(folder / f"{name}.json")
        assert not report.errors
        assert report.metrics.keys() == {*built_in_metrics()}
    assert "first: L1, second: TopK" in printed
    for named in ("report.html", "L1.json", "summary.csv"):
        assert str(folder / named) in printed


def test_it_tells_what_shrinkage_costs(demo):
    folder, printed = demo
    l1, topk = shrinkage(folder, "L1"), shrinkage(folder, "TopK")
    assert l1.value - 5 * l1.stderr > 1.2
    assert abs(topk.value - 1) < 0.03
    assert 0 < topk.stderr < 0.01
    assert re.search(r"L1 shrinks its active latents: .* 1\.\d+ ± [\d.]+ times as large in sum\. That costs 0\.\d+ ± [\d.]+ nats", printed)
    assert "TopK hardly shrinks its active latents" in printed


def test_metrics_arrive_while_it_trains(demo):
    folder, _ = demo
    history = read_histories(next((folder / "checkpoints").rglob("metrics.jsonl")))[""]
    assert [point.final for point in history.points] == [False, False, True]
    assert all("shrinkage/ratio" in point.values for point in history.points)
    assert Report.load(folder / "small" / "metrics.json")
    assert list((folder / "wandb").glob("offline-run-*"))
    assert "small" in (folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_it_trains_the_two_on_demand(tmp_path):
    printed_by("--train", "--output", str(tmp_path / "demo"))
    for name in ("L1", "TopK"):
        assert Report.load(tmp_path / "demo" / name / "metrics.json").flat()["shrinkage/ratio"] > 0
        assert shrinkage(tmp_path / "demo", name).value > 0
    assert shrinkage(tmp_path / "demo", "L1").value != shrinkage(tmp_path / "demo", "TopK").value


def test_the_saes_are_small_and_float32_once_loaded(model):
    folder = files("sae_lens_metrics.demo") / "saes"
    assert sum(len((folder / name / "sae_weights.safetensors").read_bytes()) for name in SHIPPED_SAES) <= 2_000_000
    for name in SHIPPED_SAES:
        subject = load_shipped_subject(name, model)
        assert {parameter.dtype for parameter in subject.dictionary.sae.parameters()} == {torch.float32}


def test_the_page_shows_what_the_demo_found(demo, reader):
    folder, _ = demo
    reports = {name: Report.load(folder / f"{name}.json") for name in ("L1", "TopK")}
    opened = reader(folder / "report.html")
    for scheme, size in (("light", LAPTOP), ("dark", PHONE)):
        page = reader(folder / "report.html", color_scheme=scheme, viewport=size)
        for address in ("#/", "#/figures", "#/explore", "#/latents", "#/latent/L1/3", "#/config"):
            tab = page.open(address)
            assert tab.evaluate("document.documentElement.scrollWidth") <= size["width"]
    overview = opened.open("#/").inner_text("#main").replace("\u2212", "-")
    for report in reports.values():
        for metric, spec in SPECS.items():
            estimate = dict(report.estimates())[f"{metric}/{spec.headline}"]
            assert (estimate.reason if estimate.value is None else with_error(estimate.value, estimate.stderr, shown=False)) in overview
    opened.open("#/figures").wait_for_selector(".plot.drawn")
    examples = next(example for example in reports["TopK"].metrics["n2g"].examples if example.kind == "top")
    tab = opened.open(f"#/latent/TopK/{examples.latent}")
    tab.wait_for_selector("text=Largest activations")
    assert f"{max(map(abs, examples.activations)):.3g}" in tab.inner_text("#main")


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
    train = {hash(text) for text, _ in zip(standard_library_documents("train"), range(150), strict=False)}
    held_out = [hash(text) for text, _ in zip(standard_library_documents("held_out"), range(60), strict=False)]
    assert len(held_out) > 20
    assert sum(key in train for key in held_out) / len(held_out) < 0.02  # a few files are copies of each other
