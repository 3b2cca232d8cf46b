"""Every command and code block of the README, and of the pages that it sends its reader to, run as printed but for sizes and the hub.

The hub is a loopback server, and 768 channels and 100 million tokens of GPT-2 become those of a random model with 32.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from loopback_hub import LoopbackHub
from quick_command import quick_command
from tiny_release import HUB_D_IN, REPOSITORY, TEXTS, gpt2_folder, parquet, sae_repository

from sae_lens_metrics import Report

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(kind, page="README.md"):
    """The code blocks of one kind on a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [block.strip() for found, block in re.findall(r"```(\w+)\n(.*?)```", text, flags=re.DOTALL) if found == kind]


TRAINING, EVALUATION, VIEWS = (f"sae_lens_metrics/{room}/README.md" for room in ("training", "evaluation", "views"))
INSTALL, TEST, EVALUATE, LOOK = blocks("bash")
FLAG, PYTHON = blocks("python")

LITTLE = {"probe": {"tasks": ["base64"], "examples": 20}, "ablation": {"sequences": 8}, "n2g": {"max_length": 4}}
LITTLE_FLAGS = "--probe.tasks base64 --probe.examples 20 --ablation.sequences 8 --n2g.max_length 4"
SMALLER = {
    "d_in=768, d_sae=24576, k=32": f"d_in={HUB_D_IN}, d_sae=64, k=8",
    '"training_tokens": 100_000_000': '"training_tokens": 8192, "n_batches_in_buffer": 64',
    "training_tokens=100_000_000": "training_tokens=8192",
    "--d_in 768 --d_sae 24576 --k 32": f"--d_in {HUB_D_IN} --d_sae 64 --k 8",
    "--training_tokens 100000000": "--training_tokens 8192",
    "--dataset NeelNanda/pile-10k": f"--dataset NeelNanda/pile-10k --tokens 1024 {LITTLE_FLAGS}",
    "tokens=65_536": "tokens=1024",
    "evaluate(subject, corpus)": f"evaluate(subject, corpus, sae_lens_metrics.MetricsConfig(**{LITTLE}))",
}


def smaller(text):
    for old, new in SMALLER.items():
        text = text.replace(old, new)
    return text


def commands(*texts):
    """A program that runs commands of the package as the command line does."""
    lines = [shlex.split(line)[1:] for text in texts for line in text.splitlines()]
    given = [[*line, *(["--dry-run"] if line[0] == "dashboard" else [])] for line in lines]  # or it would need W&B's server
    return f"from sae_lens_metrics.cli.main import main\nfor each in {given}: assert main(each) == 0, each"


ONE_BY_ONE = """
import json, os, sys, traceback
import sae_lens_metrics
for name, program in json.loads(sys.argv[1]).items():
    os.makedirs(name)
    os.chdir(name)
    status = 0
    try:
        exec(compile(program, name, "exec"), {"__name__": "__main__", "sae_lens_metrics": sae_lens_metrics})
    except BaseException:
        status = 1
        traceback.print_exc()
    os.chdir("..")
    for stream in (sys.stdout, sys.stderr):
        print(f"ENDED {name} {status}", file=stream, flush=True)
"""
COMPARED = "import shutil; [shutil.copy('report.json', f'sae-metrics/{name}.json') for name in 'AB']"


def programs():
    """What each test is about."""
    *_, compare = blocks("bash", EVALUATION)
    evaluating = (smaller(PYTHON), *blocks("python", EVALUATION), *blocks("python", VIEWS))
    looking = (commands(smaller(EVALUATE)), COMPARED, commands(compare, LOOK, *blocks("bash", VIEWS)))
    training = (*map(smaller, blocks("python", TRAINING)), commands(*map(smaller, blocks("bash", TRAINING))))
    return {"flag": smaller(FLAG), "training": "\n".join(training), "pretrained": "\n".join((*evaluating, *looking))}


@pytest.fixture(scope="module")
def ran(tmp_path_factory, documents):
    """All programs, one after the other in one process, each in a folder and with names of its own, against the hub: what they leave."""
    folder = tmp_path_factory.mktemp("readme")
    data = {"data/train-00000-of-00001.parquet": parquet([text[:3000] for text in documents])}
    models = {"gpt2": gpt2_folder(folder / "gpt2"), REPOSITORY: sae_repository()}
    with LoopbackHub(models, {TEXTS: data, "Skylion007/openwebtext": data}) as server:
        environment = {
            **{"PATH": str(Path(sys.executable).parent), "HOME": str(folder), "HF_HOME": str(folder / "hf"), "HF_ENDPOINT": server.url},
            **{"WANDB_MODE": "offline", "WANDB_DIR": str(folder), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        }
        process = subprocess.run(
            [sys.executable, "-c", ONE_BY_ONE, json.dumps(programs())],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )

    def of(name):
        """The folder, and what was printed; a failure is one of the test that asks."""
        found = []
        for said in (process.stdout, process.stderr):
            before, mark, _ = said.partition(f"ENDED {name} ")
            assert mark, process.stderr
            found.append(re.split(r"^ENDED \w+ \d\n", before, flags=re.MULTILINE)[-1])
        assert f"ENDED {name} 0" in process.stderr, found[1]
        return folder / name, found[0]

    return of


def test_it_is_short_and_every_block_is_covered():
    assert len(README.splitlines()) <= 120
    assert INSTALL.startswith("python -m pip install ")
    assert INSTALL.endswith(" && sae-lens-metrics demo")  # tests/demo runs it
    assert TEST.endswith(" && python -m pytest")
    assert all(len(block.splitlines()) <= 8 for block in (FLAG, EVALUATE, PYTHON))
    pages = [(ROOT / page).read_text(encoding="utf-8") for page in ("README.md", TRAINING, EVALUATION)]
    for old in SMALLER:
        assert any(old in page for page in pages), f"{old!r} is on no page any more"


@pytest.mark.slow
def test_the_flag(ran):
    folder, _ = ran("flag")
    assert (folder / "output" / "metrics.json").is_file()
    assert list((folder / "checkpoints").rglob("metrics.jsonl"))


@pytest.mark.slow
def test_the_other_ways_to_train(ran):
    folder, _ = ran("training")
    assert len(list((folder / "checkpoints").rglob("metrics.jsonl"))) >= 2


@pytest.mark.slow
def test_a_pretrained_sae(ran):
    assert blocks("bash", EVALUATION)[0].startswith(EVALUATE)
    folder, printed = ran("pretrained")
    assert re.search(r"^0\.\d+ ± 0\.\d+$", printed, flags=re.MULTILINE)  # the estimate
    assert "shrinkage/ratio" in printed
    written = {path.name for path in (folder / "sae-metrics").iterdir()}
    assert {"A.json", "B.json"} < written
    assert {Path(name).suffix for name in written} == {".html", ".json"}
    for page in ("report.html", "page.html", "comparison.html"):
        assert (folder / page).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert json.loads(printed[printed.rindex("\n{") :])["section"]


SBATCH = """#!/usr/bin/env bash
# what sbatch does with an array of two tasks, one after the other
set -e
[ "$1" = --wait ] && shift
grep -q '^#SBATCH --array=0-7$' "$1"
for task in 0 1; do
    SLURM_ARRAY_TASK_ID=$task SLURM_ARRAY_TASK_MIN=0 SLURM_ARRAY_TASK_MAX=1 SLURM_ARRAY_TASK_COUNT=2 bash "$@"
done
"""


@pytest.mark.slow
def test_many_saes_on_slurm_on_ray_and_by_torchrun(tmp_path):
    """As a shell runs it, in a clone. Slurm is played; Ray finds that all is there but for one result; torchrun makes all anew."""
    _, slurm, ray, torchrun, _ = blocks("bash", EVALUATION)
    (tmp_path / "sbatch").write_text(SBATCH)
    (tmp_path / "sbatch").chmod(0o755)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": f"A text of {i} words. " * 40}) + "\n" for i in range(60)))
    little = "--metrics shrinkage --tokens 512 --shrinkage.tokens 256 --device cpu"
    sizes = {"'.*'": r"'blocks\.[67]\..*'", "--dataset NeelNanda/pile-10k": f"--dataset texts.jsonl {little}"}
    sizes |= {"--cluster ray": "--cluster ray --workers 1", "--nproc-per-node 4": "--nproc-per-node 2"}
    assert all(old in slurm + ray + torchrun for old in sizes)
    first = "rm sae-metrics/*blocks.7.*.json"
    script = "\n".join(["set -e", slurm, "ls sae-metrics/*.json", first, ray, "ls sae-metrics/*.json", torchrun, "ls together/*.json"])
    for old, new in sizes.items():
        script = script.replace(old, new)
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    with LoopbackHub({"gpt2": gpt2_folder(tmp_path / "gpt2"), REPOSITORY: sae_repository((6, 7))}) as server:
        own = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": server.url}
        with quick_command(tmp_path, inherited | own):
            process = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=inherited | own, capture_output=True, text=True, timeout=400)
    assert process.returncode == 0, process.stdout + process.stderr
    assert process.stdout.count(".hook_resid_pre_") == 6
    assert "shard 2/2: 1 of 2 SAEs" in process.stderr
    assert "1 worker on Ray" in process.stderr
    one, two = (next((tmp_path / folder).glob("*blocks.7.*.json")) for folder in ("sae-metrics", "together"))
    assert one.name == two.name
    values = [Report.load(each).metrics["shrinkage"].estimates["ratio"].value for each in (one, two)]
    assert values[0] == pytest.approx(values[1], rel=1e-6)
    assert (tmp_path / "together.html").is_file()
    assert (tmp_path / "report.html").is_file()


def test_ci_runs_the_test_command_as_printed():
    script = (ROOT / ".ci" / "run").read_text()
    assert 'block for block in blocks if "pytest" in block' in script
    assert 'eval "$command"' in script


def test_the_picture_asks_for_nothing():
    assert not re.search(r"(url|href)\W+http", (ROOT / "examples" / "demo.svg").read_text())


@pytest.mark.parametrize("page", ["README.md", TRAINING, EVALUATION, VIEWS])
def test_every_picture_and_page_is_there(page):
    links = [link for link in re.findall(r"\]\(([^)]+)\)", (ROOT / page).read_text(encoding="utf-8")) if "://" not in link]
    assert all(((ROOT / page).parent / link).exists() for link in links), links
    assert page != "README.md" or sum(link.endswith((".png", ".svg")) for link in links) == 3
