"""Does each metric rank SAEs as the truth does? Spearman's rho with what is known of them, where all features are known.

Two worlds: a planted language, on which all five metrics are computed as users compute them, and SAELens's synthetic activations, which
have no text, for the probes and the refinement alone. SAEs are trained by SAELens to different lengths, sparsities, widths and
architectures; beside them stand controls: random SAEs, SAEs whose decoder is permuted, and the oracle, which has the true directions.

Run it with `python tests/benchmarks/validity.py --output FOLDER`; it needs about 15 minutes of one core. It writes `validity.json`, with
every number of every SAE, and the tables as `validity.md`, anew after each SAE. `--quick` takes two minutes, and says less.
`validity_tables.py` makes the tables anew, and those of the metrics' READMEs.
"""

# ruff: noqa: T201 (its output is what it is for)

import argparse
import logging
import sys
import time
import warnings
from itertools import chain
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from graded_saes import Recipe, oracle, permuted, random_sae, train
from planted_study import PlantedStudy
from synthetic_study import SyntheticStudy
from validity_tables import save

LATENTS = 160  # as many as features in both worlds
LADDERS = [
    Recipe("topk", 5, LATENTS, (20, 60, 200, 600, 2_000)),
    Recipe("l1", 0.5, LATENTS, (60, 200, 600, 2_000)),
    Recipe("batchtopk", 5, LATENTS, (60, 200, 600, 2_000)),
]
"""Each of several lengths."""
VARIANTS = [
    Recipe("topk", 2, LATENTS, (2_000,)),
    Recipe("topk", 16, LATENTS, (2_000,)),
    Recipe("l1", 0.2, LATENTS, (2_000,)),
    Recipe("l1", 1.5, LATENTS, (2_000,)),
    Recipe("topk", 5, LATENTS // 2, (2_000,)),
    Recipe("topk", 5, 2 * LATENTS, (600, 2_000)),
    Recipe("gated", 0.5, LATENTS, (200, 2_000)),
    Recipe("jumprelu", 0.03, LATENTS, (2_000,)),
    Recipe("jumprelu", 0.1, LATENTS, (2_000,)),
]
"""Other sparsities, widths and architectures."""
QUICK = [Recipe("topk", 5, LATENTS, (30, 100, 400)), Recipe("l1", 0.5, LATENTS, (100, 400))]


def saes(world, recipes):
    """Trained SAEs, then controls: name, SAE, whether it is a control."""
    first = dict(train(recipes[0], world.x))
    others = (pair for recipe in recipes[1:] for pair in train(recipe, world.x))
    yield from ((name, sae, False) for name, sae in chain(first.items(), others))
    yield "random, ReLU", random_sae(world.x, LATENTS), True
    yield "random, TopK", random_sae(world.x, LATENTS, k=recipes[0].sparsity), True
    name, sae = list(first.items())[-1]
    yield f"{name}, decoder permuted", permuted(sae), True
    yield "oracle", oracle(*world), True


def evaluated(study, recipes):
    """What each SAE scores and what is true of it, one after the other."""
    for name, sae, control in saes(study.training, recipes):
        started = time.perf_counter()
        row = {"name": name, "control": control, **study.evaluate(sae)}
        truth = ", ".join(f"{key} {value:.3f}" for key, value in row["truth"].items() if value is not None)
        print(f"{name}: {truth} ({time.perf_counter() - started:.0f} s)", flush=True)
        yield row


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for validity.json and validity.md")
    parser.add_argument("--sequences", type=int, default=1_024, help="sequences of the planted language to evaluate on")
    parser.add_argument("--world", choices=["synthetic", "language"], help="one of the two only")
    parser.add_argument("--quick", action="store_true", help="few SAEs, evaluated on little text")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    recipes, sequences = (QUICK, 256) if options.quick else ([*LADDERS, *VARIANTS], options.sequences)
    studies = {
        "synthetic": lambda: SyntheticStudy(training=131_072, evaluation=16_384, tasks=24),
        "language": lambda: PlantedStudy(options.output / "tasks", training=4_096, evaluation=sequences, tasks=24),
    }
    worlds = {name: [] for name in studies if options.world in (name, None)}
    options.output.mkdir(parents=True, exist_ok=True)
    for name in worlds:
        for row in evaluated(studies[name](), recipes):
            worlds[name].append(row)
            save(worlds, options.output)
    print((options.output / "validity.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    torch.set_num_threads(1)  # small tensors: threads cost more than they give
    main()
