"""Every command and code block of the README, run as printed but for sizes and the hub, which is a loopback server."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from loopback_hub import LoopbackHub
from tiny_release import HUB_D_IN, REPOSITORY, TEXTS, gpt2_folder, parquet, sae_repository

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)
PYTHON = [block for kind, block in BLOCKS if kind == "python"]
BASH = [block.strip() for kind, block in BLOCKS if kind == "bash"]

# 768 channels and 100 million tokens of GPT-2 become those of a random model with 32
SMALLER = {
    "d_in=768, d_sae=24576, k=32": f"d_in={HUB_D_IN}, d_sae=64, k=8",
    "training_tokens=100_000_000": "training_tokens=8192",
    "--d_in 768 --d_sae 24576 --k 32": f"--d_in {HUB_D_IN} --d_sae 64 --k 8",
    "--training_tokens 100000000": "--training_tokens 8192",
    "--tokens 65536": "--tokens 1024 --probe.examples 20",
    "tokens=65_536": "tokens=1024",
    'MetricsConfig.preset("default")': 'MetricsConfig(probe={"examples": 20})',
}


def smaller(text):
    for old, new in SMALLER.items():
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def run(tmp_path_factory, documents):
    """Runs programs one after the other in one process, in a folder of their own, against the hub."""
    folder = tmp_path_factory.mktemp("readme")
    data = {"data/train-00000-of-00001.parquet": parquet([text[:3000] for text in documents])}
    models = {"gpt2": gpt2_folder(folder / "gpt2"), REPOSITORY: sae_repository()}

    def run(programs):
        with LoopbackHub(models, {TEXTS: data, "Skylion007/openwebtext": data}) as server:
            environment = {
                **{"PATH": str(Path(sys.executable).parent), "HOME": str(folder), "HF_HOME": str(folder / "hf"), "HF_ENDPOINT": server.url},
                **{"WANDB_MODE": "offline", "WANDB_DIR": str(folder), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
            }
            command = [sys.executable, "-c", "\n".join(programs)]
            return folder, subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=400)

    return run


def test_it_is_short_and_every_block_is_covered():
    assert len(README.splitlines()) < 200
    assert len(PYTHON) == 3
    commands = [part.split()[0:3] for block in BASH for part in block.split("&&")]
    assert [" ".join(command[-2:]) for command in commands] == [
        *("-m pip", "sae-lens-metrics demo", "-m pip", "-m pytest"),
        *("train --metrics.preset", "evaluate gpt2-small-res-jb", "report sae-metrics"),
    ]
    assert BASH[4].splitlines()[1].startswith("sae-lens-metrics dashboard ")
    for old in SMALLER:
        assert old in README, f"{old!r} is not in the README any more"


def test_the_training_blocks(run):
    command = shlex.split(smaller(BASH[2]))
    folder, process = run([smaller(PYTHON[0]), "from sae_lens_metrics.cli.main import main", f"raise SystemExit(main({command[1:]!r}))"])
    assert process.returncode == 0, process.stderr
    assert (folder / "output" / "metrics.json").is_file()
    assert len(list((folder / "checkpoints").rglob("metrics.jsonl"))) == 2


def test_the_blocks_for_pretrained_saes(run):
    commands = [shlex.split(line)[1:] for line in (smaller(BASH[3]), *BASH[4].splitlines())]
    commands[2].append("--dry-run")  # or it would need W&B's server
    own_metric = "evaluate(subject, corpus, config).flat()['decoder_norm/mean']"
    run_them = f"from sae_lens_metrics.cli.main import main\nfor each in {commands}: assert main(each) == 0"
    folder, process = run([smaller(PYTHON[1]), PYTHON[2], own_metric, run_them])
    assert process.returncode == 0, process.stderr
    assert (folder / "report.json").is_file()
    assert sorted(path.suffix for path in (folder / "sae-metrics").iterdir()) == [".html", ".json"]
    assert "shrinkage/ratio" in process.stdout
    assert (folder / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert json.loads(process.stdout[process.stdout.index("\n{") :])["section"]


def test_ci_runs_the_test_command_as_printed():
    assert "pytest" in BASH[1]
    script = (ROOT / ".ci" / "run").read_text()
    assert 'block for block in blocks if "pytest" in block' in script
    assert 'eval "$command"' in script


def test_the_picture_asks_for_nothing():
    assert not re.search(r"(url|href)\W+http", (ROOT / "examples" / "demo.svg").read_text())


def test_every_picture_is_there():
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README)
    assert len(pictures) == 3
    assert all((ROOT / picture).is_file() for picture in pictures)
