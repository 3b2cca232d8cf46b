"""What SAELens refuses when a training run starts is one sentence with status 2, before anything is trained; so is what it cannot save."""

import json
import re
from types import SimpleNamespace

import pytest
import torch
import wandb
from full_disk import no_file_above
from loopback_hub import LoopbackHub
from safetensors.torch import save_file
from tiny_release import gpt2_folder, parquet, run_commands

from sae_lens_metrics.cli.train import run_to_the_end
from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.training.start import require_start

GIVEN = {
    **{"--architecture": "topk", "--model_name": "gpt2", "--hook_name": "blocks.8.hook_resid_pre", "--dataset_path": "someone/texts"},
    **{"--d_in": 32, "--d_sae": 64, "--k": 8, "--n_batches_in_buffer": 64, "--training_tokens": 8192},
}
REFUSED = {
    "data set": ({"--dataset_path": "nobody/nothing"}, r"Dataset 'nobody/nothing' doesn't exist on the Hub or cannot be accessed\."),
    "buffer": ({"--n_batches_in_buffer": 1}, r"the buffer holds 128 activations .* set n_batches_in_buffer to 32 or more"),
    "hook": ({"--hook_name": "blocks.8.hook_nothing"}, r"the model has no hook 'blocks.8.hook_nothing': the nearest names are .*"),
    "model": ({"--model_name": "gpt7"}, r"SAELens cannot train this: gpt7 not found\. .{100,300} \.\.\."),
    "channels": ({"--d_in": 48}, r"activations at blocks.8.hook_resid_pre have 32 channels, the SAE reads 48: set d_in to 32"),
    "context": ({"--context_size": 4096}, r"sequences of 4096 tokens \(context_size\) are too long for gpt2, which takes 128"),
    "class": ({"--model_class_name": "Nonsense"}, r"SAELens cannot train this: Unknown model class: Nonsense"),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory, documents):
    """What is answered, by case."""
    folder = tmp_path_factory.mktemp("refusals")
    data = {"someone/texts": {"data/train-00000-of-00001.parquet": parquet([text[:3000] for text in documents])}}
    commands = [["train", *(part for pair in (GIVEN | changes).items() for part in pair)] for changes, _ in REFUSED.values()]
    with LoopbackHub({"gpt2": gpt2_folder(folder / "gpt2")}, data) as server:
        environment = {"HF_HOME": str(folder / "hf"), "HF_ENDPOINT": server.url, "WANDB_DIR": str(folder)}
        done = run_commands(commands, environment, f"import os\nos.chdir({str(folder)!r})")
    assert "Traceback" not in done.stderr
    assert not (folder / "wandb").exists()
    said = re.findall(r"^sae-lens-metrics: error: (.*)$", done.stderr, re.MULTILINE)
    return {case: answer for case, *answer in zip(REFUSED, done.statuses, said, strict=True)}


@pytest.mark.slow
@pytest.mark.hub
@pytest.mark.parametrize("case", REFUSED)
def test_one_sentence(case, answers):
    status, said = answers[case]
    assert status == 2
    assert re.fullmatch(REFUSED[case][1], said)


# --- while it trains -------------------------------------------------------------------------------------------------------------


def training_that(raises):
    cfg = SimpleNamespace(checkpoint_path="checkpoints/1a2b", output_path="output")
    return SimpleNamespace(cfg=cfg, run=raises)


def as_json(path):
    with open(path, "w") as file:
        json.dump([0] * 10_000, file)


@pytest.mark.parametrize(
    ("write", "why"),
    [
        (lambda path: torch.save({"a": torch.zeros(10_000)}, path), "PyTorch could not write all of it, such as to a full disk"),
        (lambda path: save_file({"a": torch.zeros(10_000)}, path), "File too large|No space left on device"),
        (as_json, "File too large|No space left on device"),
    ],
    ids=["pytorch", "safetensors", "json"],
)
def test_what_cannot_be_saved_is_said_with_where_and_how_to_go_on(write, why, tmp_path):
    with no_file_above(1000), pytest.raises(OSError, match=why) as raised:
        run_to_the_end(training_that(lambda: write(tmp_path / "file")))
    said = str(raised.value)
    assert said.startswith("SAELens cannot save what it trains in 'checkpoints/1a2b' or 'output' (")
    assert said.endswith("): make room, and go on with --resume_from_checkpoint and the last checkpoint that is whole")


def test_a_wandb_that_refuses_the_run():
    def refusing():
        raise wandb.errors.UsageError("api_key not configured (no-tty).\nCall wandb.login()")

    with pytest.raises(ConfigError, match=r"W&B does not take this run \(api_key not configured \(no-tty\)\. Call .*--log_to_wandb false"):
        run_to_the_end(training_that(refusing))


def test_other_errors_are_as_they_are():
    for error in (RuntimeError("boom"), FileNotFoundError(2, "No such file or directory", "x"), ConnectionResetError(104, "reset")):

        def raising(error=error):
            raise error

        with pytest.raises(type(error)) as raised:
            run_to_the_end(training_that(raising))
        assert raised.value is error


@pytest.mark.parametrize("content", [None, "", '{"seed": 4'], ids=["missing", "empty", "cut off"])
def test_a_checkpoint_that_is_not_whole(content, tmp_path):
    for name, text in (("512", "{}"), ("1024", content)):
        (tmp_path / name).mkdir()
        if text is not None:
            (tmp_path / name / "runner_cfg.json").write_text(text)
    cfg = SimpleNamespace(context_size=8, n_batches_in_buffer=8, train_batch_size_tokens=8, resume_from_checkpoint=str(tmp_path / "1024"))
    with pytest.raises(ConfigError, match=r"1024' is no whole checkpoint to go on from .*: those beside it are 512$"):
        require_start(SimpleNamespace(cfg=cfg, model=None))
