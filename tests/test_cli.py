import json
from pathlib import Path

import pytest
import torch
from runners import BATCH, STEPS
from saes import D_IN, D_SAE, HOOK

from sae_lens_metrics import Report
from sae_lens_metrics.cli import main


@pytest.fixture
def offline(model, dataset, monkeypatch):
    """SAELens's own loading, answered from this machine."""
    monkeypatch.setattr("sae_lens.llm_sae_training_runner.load_model", lambda *args, **kwargs: model)
    monkeypatch.setattr("sae_lens.training.activations_store.load_dataset", lambda *args, **kwargs: dataset)


def flags(tmp_path):
    return [
        *("--architecture", "topk", "--k", "8", "--d_in", str(D_IN), "--d_sae", str(D_SAE)),
        *("--model_name", "tiny_lm", "--hook_name", HOOK, "--dataset_path", "some/text", "--context_size", "64"),
        *("--training_tokens", str(STEPS * BATCH), "--train_batch_size_tokens", str(BATCH), "--n_batches_in_buffer", "8"),
        *("--store_batch_size_prompts", "4", "--log_to_wandb", "False", "--wandb_log_frequency", "1", "--eval_every_n_wandb_logs", "6"),
        *("--checkpoint_path", str(tmp_path / "checkpoints"), "--output_path", str(tmp_path / "output"), "--verbose", "False"),
    ]


def test_train_takes_every_flag_of_saelens_and_ours(offline, tmp_path):
    ours = ["--metrics", "shrinkage", "--metrics.preset", "train", "--metrics.tokens", "640", "--metrics.shrinkage.tokens=320"]
    assert main(["train", *ours, *flags(tmp_path)]) == 0
    report = Report.load(tmp_path / "output" / "metrics.json")
    config = report.provenance["config"]
    assert list(report.metrics) == ["shrinkage"]
    assert (config["tokens"], config["shrinkage"]["tokens"]) == (640, 320)
    assert config["probe"]["examples"] == 200  # the preset's
    saved = json.loads((tmp_path / "output" / "runner_cfg.json").read_text())
    assert saved["metrics"]["tokens"] == 640
    assert Path(saved["checkpoint_path"]).parent == tmp_path / "checkpoints"  # one id is appended, not two
    assert list((tmp_path / "checkpoints").rglob("metrics.jsonl"))


def test_train_equals_saelenss_own_command(offline, tmp_path):
    from sae_lens.llm_sae_training_runner import _run_cli
    from sae_lens.saes.sae import SAE

    torch.manual_seed(0)
    _run_cli(flags(tmp_path / "theirs"))
    torch.manual_seed(0)
    assert main(["train", "--metrics", "shrinkage", *flags(tmp_path / "ours")]) == 0
    theirs, ours = (SAE.load_from_disk(tmp_path / name / "output").state_dict() for name in ("theirs", "ours"))
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)


def test_mistakes_in_train(offline, tmp_path, capsys):
    assert main(["train", "--metrics", "probes", *flags(tmp_path)]) == 2
    assert "no metric 'probes'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["train", "--metrics.preset", "fast", *flags(tmp_path)])


@pytest.mark.parametrize(
    ("arguments", "taught"),
    [
        (["--help"], ["demo", "evaluate", "train"]),
        (
            ["evaluate", "--help"],
            ["RELEASE", "--metrics", "--dataset", "--tokens", "--wandb-project", "--probe.tasks", "tokens of evaluation"],
        ),
        (["train", "--help"], ["--metrics.preset", "--metrics.max_overhead", "--hook_name", "SAELens's own flags"]),
        (["demo", "--help"], ["--quick", "--output", "no network"]),
    ],
)
def test_help_teaches(arguments, taught, capsys):
    with pytest.raises(SystemExit) as status:
        main(arguments)
    assert status.value.code in (0, None)
    printed = capsys.readouterr().out.lower()
    for text in taught:
        assert text.lower() in printed, text


def test_an_unknown_command(capsys):
    with pytest.raises(SystemExit) as status:
        main(["evalute"])
    assert status.value.code == 2
    assert "evaluate" in capsys.readouterr().err


def test_help_does_not_wait_for_torch():
    import subprocess
    import sys

    program = "import sys; from sae_lens_metrics import cli; cli._evaluate_options(['a', 'b']); print('torch' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "False"
