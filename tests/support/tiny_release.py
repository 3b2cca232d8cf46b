"""A tiny release of one SAE, its model and a data set, as the hub would serve them; and commands run against it."""

import io
import json
import os
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace

import pyarrow
import pyarrow.parquet
import torch
from safetensors.torch import save
from transformers import GPT2Config, GPT2LMHeadModel

TINY_LM = Path(str(files("sae_lens_metrics.demo") / "tiny_lm"))
RELEASE, REPOSITORY, HUB_HOOK = "gpt2-small-res-jb", "jbloom/GPT2-Small-SAEs-Reformatted", "blocks.8.hook_resid_pre"
HUB_D_IN, HUB_D_SAE, HUB_CONTEXT, HUB_LAYERS = 32, 48, 32, 9
TEXTS = "NeelNanda/pile-10k"


def gpt2_folder(folder, layers=HUB_LAYERS):
    """A random GPT-2, laid out as the hub's gpt2, with the tokenizer of the package's own model."""
    config = GPT2Config(n_embd=HUB_D_IN, n_layer=layers, n_head=2, n_positions=128, vocab_size=4096, bos_token_id=0, eos_token_id=0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = GPT2LMHeadModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)  # so that layers matter
    model.save_pretrained(folder)
    written = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**written, "n_ctx": 128}))  # as in the hub's own file
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TINY_LM / name, folder / name)
    return folder


def sae_weights(seed=1):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"W_enc": (HUB_D_IN, HUB_D_SAE), "b_enc": (HUB_D_SAE,), "W_dec": (HUB_D_SAE, HUB_D_IN), "b_dec": (HUB_D_IN,)}
    return {name: torch.randn(*shape, generator=generator) * 0.2 for name, shape in shapes.items()}


def sae_repository(layers=(8,)):
    """Files as the release has them: configurations of SAELens before version 6, no sparsity."""
    files = {}
    for layer in layers:
        hook = f"blocks.{layer}.hook_resid_pre"
        files[f"{hook}/cfg.json"] = json.dumps(_old_config(hook, layer)).encode()
        files[f"{hook}/sae_weights.safetensors"] = save(sae_weights(1 + abs(8 - layer)))
    return files


def _old_config(hook, layer):
    return {
        "model_name": "gpt2-small",
        "hook_point": hook,
        "hook_point_layer": layer,
        "hook_point_head_index": None,
        "dataset_path": TEXTS,
        "is_dataset_tokenized": False,
        "context_size": HUB_CONTEXT,
        "d_in": HUB_D_IN,
        "d_sae": HUB_D_SAE,
        "dtype": "torch.float32",
        "device": "cpu",
        "prepend_bos": True,
    }


def new_sae(folder, weights=None, metadata=None, **changes):
    """Files of one SAE as SAELens 6 writes them, with some settings and metadata changed, or (``None``) left out."""
    known = {"model_name": "gpt2-small", "hook_name": HUB_HOOK, "context_size": HUB_CONTEXT, "prepend_bos": True, "dataset_path": TEXTS}
    known |= {"sae_lens_version": "6.54.0", **(metadata or {})}
    cfg = {"d_in": HUB_D_IN, "d_sae": HUB_D_SAE, "dtype": "float32", "device": "cpu", "architecture": "standard"}
    cfg |= {"apply_b_dec_to_input": True, "normalize_activations": "none", "reshape_activations": "none", **changes}
    cfg["metadata"] = {name: value for name, value in known.items() if value is not None}
    weights = save(sae_weights()) if weights is None else weights
    return {f"{folder}/cfg.json": json.dumps(cfg).encode(), f"{folder}/sae_weights.safetensors": weights}


def parquet(texts):
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"text": texts}), buffer)
    return buffer.getvalue()


def run_commands(commands, environment, first="pass"):
    """Runs the command line in a process of its own, several times to import everything once; ``first`` is run before."""
    code = f"{first}\nimport json, sys\nfrom sae_lens_metrics.cli.main import main\n"
    code += "print('STATUSES', [main(args) for args in json.loads(sys.argv[1])])"
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    process = subprocess.run(
        [sys.executable, "-c", code, json.dumps([[str(arg) for arg in command] for command in commands])],
        env=inherited | {"COLUMNS": "180", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    statuses = json.loads(process.stdout.split("STATUSES ")[-1])
    return SimpleNamespace(statuses=statuses, stdout=process.stdout, stderr=process.stderr)
