"""What SAELens refuses when a training run starts is one sentence with status 2, found before anything is trained."""

import re

import pytest
from loopback_hub import LoopbackHub
from tiny_release import gpt2_folder, parquet, run_commands

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
