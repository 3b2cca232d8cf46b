"""Pages about real evaluations: a sweep of eight SAEs, and a training run over time."""

import json

import pytest
from browser import LAPTOP
from runners import single_runner, small_metrics
from saes import training_sae
from tiny_release import TINY_LM

from sae_lens_metrics.cli.main import main
from sae_lens_metrics.results import Report
from sae_lens_metrics.results.history import read_histories

KS = (2, 4, 6, 8, 12, 16, 24, 32)
LITTLE = ["--tokens", "2048", "--tasks", "code_against_prose", "--probe.examples", "40", "--n2g.max_length", "3", "--device", "cpu"]
LITTLE += ["--ablation.sequences", "8", "--ablation.latents", "4", "--ablation.baselines", "2", "--shrinkage.tokens", "512"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory, documents):
    """The folder of a sweep over eight SAEs, made by the command."""
    folder = tmp_path_factory.mktemp("swept")
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text[:2000]}) + "\n" for text in documents))
    for k in KS:
        training_sae("topk", context_size=64).save_inference_model(str(folder / "saes" / f"k{k}"))
        config = folder / "saes" / f"k{k}" / "cfg.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"k": k}))
    arguments = ["--model", str(TINY_LM), "--dataset", str(folder / "texts.jsonl"), "--output", str(folder / "out"), *LITTLE]
    assert main(["evaluate", str(folder / "saes"), *arguments]) == 0
    return folder / "out"


@pytest.mark.slow
def test_a_sweep_of_eight(swept, reader):
    reports = [Report.load(path) for path in swept.glob("[!.]*.json")]
    l0s = sorted(report.sanity.estimates["l0"].value for report in reports)
    assert l0s == pytest.approx(KS, abs=0.01)
    opened = reader(swept / "report.html")
    tab = opened.open("#/")
    assert tab.locator("#metric-sanity table tbody tr td:first-child").all_inner_texts() == [f"k{k}" for k in KS]
    assert "8 of 8 SAEs have warnings" in tab.inner_text("#main .remarks summary")
    assert not tab.locator("#main .remarks li").first.is_visible()
    tab.locator("#main .remarks summary").click()
    assert tab.locator("#main .remarks li").first.is_visible()
    for report in reports:
        assert f"{report.metrics['shrinkage'].estimates['ratio'].value:.3f}"[:4] in tab.inner_text("#metric-shrinkage")
    assert tab.locator("#metric-shrinkage table tbody tr").count() == 8
    tab = opened.open("#/explore?x=sanity/l0&y=n2g/f1&by=architecture")
    tab.wait_for_selector(".plot.drawn .points path")
    assert tab.locator(".plot .points path.point").count() == 8
    drawn = opened.open("#/figures")
    drawn.wait_for_selector(".plot.drawn")
    assert "L0" in drawn.inner_text("#main")


@pytest.mark.slow
def test_a_training_run_over_time(tmp_path, model, dataset, reader):
    single_runner(tmp_path, model, dataset, metrics=small_metrics(names=["shrinkage"])).run()
    assert main(["report", str(tmp_path / "checkpoints"), str(tmp_path / "output"), "-o", str(tmp_path / "page.html")]) == 0
    (log,) = (tmp_path / "checkpoints").rglob("metrics.jsonl")
    points = read_histories(log)[""].points
    assert [point.step for point in points] == [4, 8, 12]
    opened = reader(tmp_path / "page.html", viewport=LAPTOP)
    tab = opened.open("#/figures")
    tab.wait_for_selector(".plot.drawn")
    assert "training" in tab.inner_text("#main").lower()
    final = Report.load(tmp_path / "output" / "metrics.json")
    assert final.flat()["shrinkage/ratio"] == points[-1].values["shrinkage/ratio"]
    tab = opened.open("#/explore?from=training&x=samples&y=shrinkage/ratio")
    tab.wait_for_selector(".plot.drawn .points path")
    assert tab.locator(".plot .points path.point").count() == 3
