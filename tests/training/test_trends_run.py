"""The paper's findings on SAEs that are trained for it: from a model to a page, and on again after a stop."""

import json
from dataclasses import replace
from importlib.resources import files

import pytest
from datasets import Dataset

from sae_lens_metrics import MetricsConfig, Report
from sae_lens_metrics.cli.main import main
from sae_lens_metrics.cli.statuses import OUTSIDE, REFUSED
from sae_lens_metrics.comparison.trends.claims import CLAIMS
from sae_lens_metrics.comparison.trends.grid import Grid
from sae_lens_metrics.errors import ConfigError, CorpusError
from sae_lens_metrics.text.datasets import load_text_dataset
from sae_lens_metrics.text.held_out_rows import keep_rows, other_rows
from sae_lens_metrics.training import grid as grid_training
from sae_lens_metrics.training import trends

LITTLE = MetricsConfig(
    probe={"tasks": ["base64", "code_against_prose"], "examples": 40}, n2g={"max_length": 4}, ablation={"sequences": 24}
).settings
SMALL = ["--training-tokens", "16384", "--tokens", "1024"]


@pytest.mark.slow
def test_a_small_grid_from_the_model_to_the_page_and_on_after_a_stop(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Grid, "of_size", lambda d_in, *, quick, seeds: Grid(d_in, (128, 192), (4, 10, 80), (2.0,), seeds))
    config = trends._config
    monkeypatch.setattr(trends, "_config", lambda *given: replace(config(*given), settings=LITTLE))
    (tmp_path / "reproduced-paper-trends" / "saes" / "unfinished-0").mkdir(parents=True)
    trained, train = [], grid_training._train
    monkeypatch.setattr(grid_training, "_train", lambda *given: trained.append(given[2]) or train(*given))
    assert main(["reproduce", "paper-trends", *SMALL]) == OUTSIDE
    output = tmp_path / "reproduced-paper-trends"
    assert trained == [0, 1]
    assert not list(output.rglob("unfinished-*"))
    found = json.loads((output / "findings.json").read_text())
    assert found["saes"] == 8 + 4
    verdicts = {each["statement"]: each for each in found["findings"]}
    assert len(verdicts) == len(CLAIMS)
    assert [each for each in verdicts.values() if each["verdict"] == "not checkable"] == []
    assert all(each["training"] is not None and each["p"] is not None for each in verdicts.values())
    # with weights that are hardly trained these hold all the same
    assert verdicts["Effects of latents are sparser than those of channels"]["verdict"] == "shown"
    assert verdicts["Refinement lowers ReLU's squared error"]["verdict"] == "shown"
    results = list((output / "results").glob("*.json"))
    assert all(Report.load(path).provenance["corpus"]["name"].endswith("held_out_text") for path in results if path.name != "errors.json")
    assert len(list((output / "trends").glob("*.png"))) == 10
    assert (output / "report.html").stat().st_size > 1_000_000
    assert "findings.md" in capsys.readouterr().out
    times = {path: path.stat().st_mtime_ns for path in [*results, *output.glob("saes/*/*/sae_weights.safetensors")]}
    assert main(["reproduce", "paper-trends", *SMALL]) == OUTSIDE
    assert trained == [0, 1]
    assert times == {path: path.stat().st_mtime_ns for path in times}
    assert main(["reproduce", "paper-trends", "--training-tokens", "32768", "--tokens", "1024"]) == REFUSED
    assert "another grid" in capsys.readouterr().err


def test_rows_that_are_kept_are_not_trained_on(tmp_path):
    rows = [f"text {i} " * 20 for i in range(300)]
    some_texts(tmp_path)
    keep_rows(str(tmp_path / "all"), tmp_path / "kept", 100)
    rest = other_rows(str(tmp_path / "all"), tmp_path / "kept", 10)
    kept = load_text_dataset(str(tmp_path / "kept"))
    assert [*kept["text"], *rest["text"]] == rows
    assert 64 <= len(kept) < 100
    keep_rows(str(tmp_path / "all"), tmp_path / "kept", 10_000)
    assert len(load_text_dataset(str(tmp_path / "kept"))) == len(kept)


def test_a_stream_is_split_in_the_same_way(tmp_path, monkeypatch):
    rows = [{"text": f"text {i} " * 20, "other": i} for i in range(300)]
    stream = Dataset.from_list(rows).to_iterable_dataset()
    monkeypatch.setattr("sae_lens_metrics.text.held_out_rows.load_text_dataset", lambda name: stream)
    keep_rows("some/stream", tmp_path / "kept", 100)
    rest = other_rows("some/stream", tmp_path / "kept", 10)
    assert load_text_dataset(str(tmp_path / "kept")).to_list() + list(rest) == rows


def test_a_data_set_that_is_too_small_is_refused(tmp_path):
    Dataset.from_dict({"text": ["short"] * 70}).save_to_disk(str(tmp_path / "all"))
    keep_rows(str(tmp_path / "all"), tmp_path / "kept", 1_000)
    with pytest.raises(CorpusError, match="larger"):
        other_rows(str(tmp_path / "all"), tmp_path / "kept", 10)


@pytest.mark.parametrize(
    "wrong",
    [
        ["--model", "no-such-model-at-all"],
        ["--hook", "blocks.9.hook_resid_post"],
        ["--hook", "blocks.1.attn.hook_z"],
        ["--dataset", "no-such-file.jsonl"],
        ["--tokens", "-5"],
        ["--tokens", "0"],
        ["--training-tokens", "0"],
        ["--seeds", "0"],
    ],
)
def test_what_cannot_be_trained_is_refused_at_once(tmp_path, monkeypatch, capsys, wrong):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trends, "train_grid", lambda *given: pytest.fail("it was trained"))
    assert main(["reproduce", "paper-trends", *wrong]) == REFUSED
    assert wrong[1] in capsys.readouterr().err


def test_what_only_trends_take_is_refused_elsewhere(capsys):
    with pytest.raises(SystemExit, match=str(REFUSED)):
        main(["reproduce", "gao2024", "--model", "gpt2", "--seeds", "3"])
    assert "--model, --seeds" in capsys.readouterr().err


def test_another_dimension_than_the_models_is_that_of_the_hook_and_a_folder_without_saes_is_free(tmp_path, monkeypatch):
    asked = []

    def train(wanted, training, output):
        asked.append(training)
        raise RuntimeError("it would be trained")

    monkeypatch.setattr(trends, "train_grid", train)
    for hook in ("blocks.1.mlp.hook_post", "blocks.1.hook_resid_post"):
        order = trends.TrendsOrder(str(files("sae_lens_metrics.demo") / "tiny_lm"), hook=hook, dataset=str(some_texts(tmp_path)))
        with pytest.raises(RuntimeError, match="would be"):
            trends.reproduce_trends(order, tmp_path / "output")
    assert [each.d_in for each in asked] == [512, 128]
    assert str(tmp_path) not in (tmp_path / "output" / "grid.json").read_text()
    assert asked[0].model_name == "tiny_lm"
    Dataset.from_dict({"text": [f"other {i} " * 20 for i in range(300)]}).save_to_disk(str(tmp_path / "others"))
    with pytest.raises(RuntimeError, match="would be"):
        trends.reproduce_trends(replace(order, dataset=str(tmp_path / "others")), tmp_path / "output")
    assert load_text_dataset(str(tmp_path / "output" / "held_out_text"))["text"][0].startswith("other")
    (tmp_path / "output" / "saes" / "seed-0").mkdir(parents=True)
    with pytest.raises(ConfigError, match="another grid"):
        trends.reproduce_trends(replace(order, tokens=1_024), tmp_path / "output")


def some_texts(folder):
    if not (folder / "all").exists():
        Dataset.from_dict({"text": [f"text {i} " * 20 for i in range(300)]}).save_to_disk(str(folder / "all"))
    return folder / "all"
