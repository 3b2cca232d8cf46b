"""What can each number tell apart? SAEs of graded quality, evaluated on texts of a planted language that have nothing in common.

The SAEs are those of `validity.py` without its controls. Each is evaluated with each seed of `sae-lens-metrics audit`, on a text that the
language draws for that seed alone; what `audit` makes of the results is printed for the metrics' main numbers, and written to a file.

Run it with `python tests/benchmarks/graded_audit.py --output FILE.json`; it needs about 15 minutes of one core.
"""

# ruff: noqa: T201 (its output is what it is for)

import argparse
import logging
import statistics
import sys
import tempfile
import warnings
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from graded_saes import train
from planted_study import PlantedStudy
from validity import LADDERS, QUICK, VARIANTS

from sae_lens_metrics.comparison.audit import audit_reports
from sae_lens_metrics.evaluation.reseeding import SEEDS
from sae_lens_metrics.functional.reliability import error_ratio_interval


def reports_by_seed(folder, recipes, sequences):
    """What the metrics say of each SAE, by seed."""
    studies = {
        seed: PlantedStudy(Path(folder) / str(seed), training=4_096, evaluation=sequences, tasks=24, text=100 * seed) for seed in SEEDS
    }
    world = next(iter(studies.values())).training
    saes = dict(pair for recipe in recipes for pair in train(recipe, world.x))
    reports = {}
    for seed, study in studies.items():
        reports[seed] = {name: study.report(sae) for name, sae in saes.items()}
        print(f"seed {seed}: {len(saes)} SAEs", flush=True)
    return reports


def lines(found):
    """A row for each main number."""
    yield "| number | s | spread over SAEs | signal over noise | rank agreement | s over reported error |"
    yield "|---|---|---|---|---|---|"
    for each in found.separations:
        if each.headline or each.number in ("n2g/f1_full_sample", "probe/held_out_loss"):
            noises = [noise for noise in found.numbers if noise.number == each.number and noise.errors is not None]
            reported = statistics.fmean(noise.errors.reported**2 for noise in noises) ** 0.5
            low, high = error_ratio_interval(each.pooled_s / reported, len(SEEDS) - 1)
            ratio = f"{each.pooled_s / reported:.2f} ({low:.2f} to {high:.2f} if SAEs move together)"
            yield f"| `{each.number}` | {each.pooled_s:.2g} | {each.between:.2g} | {each.snr:.1f} | {each.tau:.2f} | {ratio} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="file for the audit, .json or .csv")
    parser.add_argument("--sequences", type=int, default=1_024, help="sequences of the planted language to evaluate on")
    parser.add_argument("--quick", action="store_true", help="few SAEs, evaluated on little text")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    recipes, sequences = (QUICK, 256) if options.quick else ([*LADDERS, *VARIANTS], options.sequences)
    with tempfile.TemporaryDirectory() as folder:
        found = audit_reports(reports_by_seed(folder, recipes, sequences), disjoint=True, overlap=0.0)
    found.save(options.output)
    print("\n".join(lines(found)))


if __name__ == "__main__":
    torch.set_num_threads(1)  # small tensors: threads cost more than they give
    main()
