"""Trains the two SAEs that the demo ships, through SAELens with the flag on, and writes them as 16-bit floats.

It needs no network and some 15 minutes on two cores::

    python examples/train_demo_saes.py --output sae_lens_metrics/demo/saes

Each folder then holds SAELens's ``cfg.json`` and ``sae_weights.safetensors``: 0.26 MB for 512 latents. SAELens loads them as float32.
"""

import argparse
import json
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from sae_lens_metrics import MetricsConfig
from sae_lens_metrics.demo.shipped import load_tiny_lm
from sae_lens_metrics.demo.training import TrainingSize, demo_saes, train_sae, training_text

WEIGHTS = "sae_weights.safetensors"


def write_small(trained: Path, output: Path) -> None:
    """Copies an SAE as SAELens saved it, with 16-bit weights and a configuration that names no folder of this machine."""
    output.mkdir(parents=True, exist_ok=True)
    weights = {name: value.to(torch.float16).contiguous() for name, value in load_file(trained / WEIGHTS).items()}
    save_file(weights, output / WEIGHTS, metadata={"format": "pt"})
    config = json.loads((trained / "cfg.json").read_text(encoding="utf-8"))
    (output / "cfg.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def main() -> None:
    """Trains both SAEs and writes their folders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("saes"), help="folder that receives the SAEs (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=2_500_000, help="tokens to train each on (default: %(default)s)")
    options = parser.parse_args()
    model, text = load_tiny_lm(), training_text(4_000)
    for name, sae in demo_saes().items():
        with tempfile.TemporaryDirectory() as folder:
            size = TrainingSize(options.tokens, evaluations=4)
            metrics = MetricsConfig.preset("train")
            train_sae(name, sae, model=model, text=text, size=size, metrics=metrics, output=Path(folder), wandb_project=None)
            write_small(Path(folder) / name, options.output / name)


if __name__ == "__main__":
    main()
