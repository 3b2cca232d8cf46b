"""The paper's reference on a loopback hub, with stand-ins for the SAEs and the model at the very addresses of the true ones."""

import json
import os
import re
import subprocess
import sys
from importlib.resources import files
from itertools import islice

import pytest
from loopback_hub import LoopbackHub
from tiny_release import gpt2_folder, new_sae, parquet, run_commands

from sae_lens_metrics.comparison.reference import load_reference
from sae_lens_metrics.text.standard_library import standard_library_documents

REPOSITORIES = {"32k": "jbloom/GPT2-Small-OAI-v5-32k-resid-post-SAEs", "128k": "jbloom/GPT2-Small-OAI-v5-128k-resid-post-SAEs"}
PATHS = {"32k": "v5_32k_layer_{}.pt", "128k": "v5_128k_layer_{}"}
SMALL = """[settings]
preset = "train"
tokens = 1024
[settings.metrics]
probe = { tasks = ["base64"], examples = 40 }
n2g = { max_length = 3, latents = 48 }
ablation = { sequences = 6, latents = 4, baselines = 2 }
shrinkage = { tokens = 512 }
explanation = { baseline_tokens = 0 }
"""
KILLED = """
import os
from sae_lens_metrics.evaluation import one_sae
save = one_sae.save_somewhere
def save_and_die(report, path):
    save(report, path)
    os.kill(os.getpid(), 9)
one_sae.save_somewhere = save_and_die
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """What the releases hold, of other sizes."""
    folder = tmp_path_factory.mktemp("reproduce")
    models = {"gpt2": gpt2_folder(folder / "gpt2", layers=12)}
    for width, layers in (("32k", (0, 8, 11)), ("128k", (8,))):
        models[REPOSITORIES[width]] = {
            name: content
            for layer in layers
            for name, content in new_sae(
                PATHS[width].format(layer),
                metadata={"hook_name": f"blocks.{layer}.hook_resid_post", "context_size": 64, "prepend_bos": False},
                architecture="topk",
                k=4,
                rescale_acts_by_decoder_norm=False,
                normalize_activations="layer_norm",
            ).items()
        }
    texts = [text[:600] for text in islice(standard_library_documents("train"), 200)]
    with LoopbackHub(models, {"Skylion007/openwebtext": {"data/train-00000-of-00001.parquet": parquet(texts)}}) as server:
        yield folder, server


def small(path, changed=None):
    """The paper's reference with small settings, and some of its expected values changed."""
    text = (files("sae_lens_metrics.comparison.references") / "gao2024.toml").read_text(encoding="utf-8")
    head, rest = text.split("[settings]\n", 1)
    rest = rest.replace('preset = "paper"\n', "", 1)
    own, saes = rest.split("[[saes]]", 1)
    saes, *figures = saes.split("[[figures]]")
    for figure in (load_reference("gao2024").figures) if changed else ():
        place = load_reference("gao2024").figures.index(figure)
        figures[place] = re.sub(r"expected = .*", f"expected = {changed[figure.sae, figure.number]!r}", figures[place])
    settings, metrics = SMALL.split("[settings.metrics]")
    path.write_text(f"{head}{settings}{own}[settings.metrics]{metrics}[[saes]]{'[[figures]]'.join([saes, *figures])}")
    return path


@pytest.mark.slow
@pytest.mark.hub
def test_the_papers_reference(hub):
    folder, server = hub
    environment = {"HF_HOME": str(folder / "hf"), "HF_ENDPOINT": server.url}
    first, output = small(folder / "first.toml"), folder / "out"
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    asked = ["reproduce", str(first), "--output", str(output), "--device", "cpu"]
    code = f"{KILLED}\nimport sys\nfrom sae_lens_metrics.cli.main import main\nmain(sys.argv[1:])"
    killed = subprocess.run([sys.executable, "-c", code, *asked], env=inherited | environment, capture_output=True, text=True, timeout=300)
    assert killed.returncode == -9, killed.stderr
    kept = {path: path.stat().st_mtime_ns for path in output.rglob("*blocks*.json")}
    assert len(kept) == 1
    assert not (output / "verdicts.json").exists()

    figures = load_reference("gao2024").figures
    ran = run_commands([asked], environment)  # goes on
    assert ran.statuses == [4]
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    found = json.loads((output / "verdicts.json").read_text())["verdicts"]
    assert [(each["sae"], each["number"]) for each in found] == [(figure.sae, figure.number) for figure in figures]
    values = {(each["sae"], each["number"]): each["value"] for each in found}
    assert None not in values.values(), [each for each in found if each["value"] is None]
    assert all(each["verdict"] == ("within" if each["low"] <= each["value"] <= each["high"] else "outside") for each in found)

    out_of_it = (figures[-1].sae, figures[-1].number)
    within = small(folder / "within.toml", values)
    outside = small(folder / "outside.toml", values | {out_of_it: values[out_of_it] + 1.01 * figures[-1].half_width})
    again = [[*asked[:1], str(path), *asked[2:]] for path in (within, outside)]
    ran = run_commands(again, environment)
    assert ran.statuses == [0, 4]
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    verdicts = json.loads((output / "verdicts.json").read_text())
    assert [each["number"] for each in verdicts["verdicts"] if each["verdict"] == "outside"] == [figures[-1].number]
    assert f"Of {len(figures)} figures {len(figures) - 1} within, 1 outside." in (output / "verdicts.md").read_text()
    assert "</html>" in (output / "report.html").read_text()
