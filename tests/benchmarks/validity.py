"""Does each metric rank SAEs as the truth does? Spearman's rho with what is known of them, where all features are known.

Two worlds: a planted language, on which all five metrics are computed as users compute them, and SAELens's synthetic activations, which
have no text, for the probes and the refinement alone. SAEs are trained by SAELens to different lengths, sparsities, widths and
architectures; beside them stand controls: random SAEs, SAEs whose decoder is permuted, and the oracle, which has the true directions.

Run it with `python tests/benchmarks/validity.py --output FOLDER`; it needs about 15 minutes of one core. It writes `validity.json`, with
every number of every SAE, and the tables as `validity.md`, anew after each SAE. `--quick` takes two minutes, and says less.
"""

# ruff: noqa: T201 (its output is what it is for)

import argparse
import json
import logging
import sys
import time
import warnings
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from agreement import agreement, directed, judged_numbers
from graded_saes import Recipe, oracle, permuted, random_sae, train
from planted_study import PlantedStudy
from synthetic_study import SyntheticStudy

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

TRUTHS = {
    "mcc": "cosine of decoder rows and directions",
    "mcc_activations": "correlation of activations",
    "mcc_both": "product of the two",
    "recovery": "best cosine, by frequency",
}


def saes(world, recipes):
    """Trained SAEs, then controls: name, SAE, whether it is a control."""
    best = None
    for recipe in recipes:
        for name, sae in train(recipe, world.x):
            best = sae if best is None or name.startswith(recipes[0].name) else best
            yield name, sae, False
    yield "random, ReLU", random_sae(world.x, LATENTS), True
    yield "random, TopK", random_sae(world.x, LATENTS, k=recipes[0].sparsity), True
    yield f"permuted decoder of {recipes[0].name}", permuted(best), True
    yield "oracle", oracle(*world), True


def evaluated(study, recipes):
    """What each SAE scores and what is true of it, one after the other."""
    for name, sae, control in saes(study.training, recipes):
        started = time.perf_counter()
        row = {"name": name, "control": control, **study.evaluate(sae)}
        truth = ", ".join(f"{key} {value:.3f}" for key, value in row["truth"].items() if value is not None)
        print(f"{name}: {truth} ({time.perf_counter() - started:.0f} s)", flush=True)
        yield row


def agreements(rows):
    """For each number, each truth and each set of SAEs: Spearman's rho with its interval."""
    metrics = dict.fromkeys(name.split("/")[0] for row in rows for name in row["numbers"])
    result = {}
    for number, headline in judged_numbers(metrics).items():
        scores = {row["name"]: directed(number, row["numbers"][number]) for row in rows if number in row["numbers"]}
        by_truth = {truth: _by_set(scores, rows, truth) for truth in TRUTHS}
        if any(by_truth["mcc"].values()):
            result[number] = {"headline": headline, **by_truth}
    return result


def _by_set(scores, rows, truth):
    known = {row["name"]: row["truth"][truth] for row in rows}
    trained = {row["name"] for row in rows if not row["control"]}
    sets = {"trained": {name: score for name, score in scores.items() if name in trained}, "with_controls": scores}
    found = {name: agreement(members, known) for name, members in sets.items()}
    return {name: None if each is None else each._asdict() for name, each in found.items()}


def shrinkage_agreement(rows):
    """The refined ratio of trained SAEs against their true one, both as they are."""
    trained = [row for row in rows if not row["control"]]
    scores = {row["name"]: row["numbers"].get("shrinkage/ratio") for row in trained}
    found = agreement(scores, {row["name"]: row["truth"]["true_ratio"] for row in trained})
    return None if found is None else found._asdict()


# --- tables ------------------------------------------------------------------------------------------------------------------

COLUMNS = [("mcc", "trained"), ("mcc", "with_controls"), ("mcc_both", "trained"), ("mcc_both", "with_controls")]


def agreement_table(found):
    """A row for each number: rho and interval for two truths, over trained SAEs and with controls."""
    titles = ["number", *(f"{truth}, {members.replace('_', ' ')}" for truth, members in COLUMNS)]
    lines = [_row(titles), _row(["---"] * len(titles))]
    for number, each in found.items():
        name = f"**`{number}`**" if each["headline"] else f"`{number}`"
        lines.append(_row([name, *(_in_words(each[truth][members]) for truth, members in COLUMNS)]))
    return "\n".join(lines)


def sae_table(rows):
    """A row for each SAE: what is true of it, and every metric's headline."""
    headlines = [number for number, is_one in judged_numbers(dict.fromkeys(n.split("/")[0] for n in rows[0]["numbers"])).items() if is_one]
    titles = ["SAE", *rows[0]["truth"], *headlines]
    lines = [_row(titles), _row(["---"] * len(titles))]
    for row in rows:
        values = [*row["truth"].values(), *(row["numbers"].get(number) for number in headlines)]
        lines.append(_row([row["name"], *("" if value is None else f"{value:.3f}" for value in values)]))
    return "\n".join(lines)


def _in_words(found):
    return "" if found is None else f"{found['rho']:+.2f} ({found['low']:+.2f} to {found['high']:+.2f}; {found['n']})"


def _row(cells):
    return "| " + " | ".join(cells) + " |"


def report(worlds):
    """Both worlds' tables."""
    words = [
        "Spearman's rho with the truth, 1 where better numbers mean better SAEs; in brackets the 95 % bootstrap interval over SAEs, and "
        "their number. Headlines are bold.",
        *(f"- `{name}`: {meaning}" for name, meaning in TRUTHS.items()),
    ]
    for name, world in worlds.items():
        ratio = _in_words(world["true_ratio"])
        words += [f"\n## {name}\n", agreement_table(world["agreement"]), f"\n`shrinkage/ratio` against the true ratio: {ratio}\n"]
        words.append(sae_table(world["saes"]))
    return "\n".join(words) + "\n"


def write(worlds, folder):
    """Everything that is known so far."""
    judged = {
        name: {"agreement": agreements(rows), "true_ratio": shrinkage_agreement(rows), "saes": rows}
        for name, rows in worlds.items()
        if rows
    }
    (folder / "validity.json").write_text(json.dumps(judged, indent=1), encoding="utf-8")
    (folder / "validity.md").write_text(report(judged), encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for validity.json and validity.md")
    parser.add_argument("--sequences", type=int, default=1_024, help="sequences of the planted language to evaluate on")
    parser.add_argument("--quick", action="store_true", help="few SAEs, evaluated on little text")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    recipes, sequences = (QUICK, 256) if options.quick else ([*LADDERS, *VARIANTS], options.sequences)
    studies = {
        "Synthetic activations": lambda: SyntheticStudy(training=131_072, evaluation=16_384, tasks=24),
        "Planted language": lambda: PlantedStudy(options.output / "tasks", training=4_096, evaluation=sequences, tasks=24),
    }
    worlds = {name: [] for name in studies}
    for name, study in studies.items():
        for row in evaluated(study(), recipes):
            worlds[name].append(row)
            write(worlds, options.output)
    print((options.output / "validity.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    torch.set_num_threads(1)  # small tensors: threads cost more than they give
    main()
