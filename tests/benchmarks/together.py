"""What torchrun makes of an evaluation of the demo's SAEs: how much sooner it is done, and whether its numbers are those of one process.

    python tests/benchmarks/together.py [--sizes 1 2 3] [--saes TopK L1] [--tokens 8192] [more flags of evaluate]

Each process has one core; seconds of several mean something on a machine that has as many which do nothing else. The first line is the
command without torchrun, so that the second, of one process of torchrun's, tells what that costs by itself. Seconds of the command hold the
start of the processes, in which each imports torch and SAELens. A difference is relative to the number, or absolute below 1.
"""

# ruff: noqa: T201 - a script prints

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

from sae_lens_metrics import Report
from sae_lens_metrics.demo import shipped
from sae_lens_metrics.text.standard_library import standard_library_documents

DEMO = Path(shipped.__file__).parent


def evaluated(size, output, saes, texts, tokens, more):
    """Seconds of the command, and the reports by their files' names; a size of 0 is a process without torchrun."""
    command = ["-m", "sae_lens_metrics", "evaluate", *(str(DEMO / "saes" / sae) for sae in saes), "--model", str(DEMO / "tiny_lm")]
    command += ["--dataset", str(texts), "--tokens", str(tokens), "--device", "cpu", "--no-report", "--output", str(output), *more]
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(size)] if size else []
    started = time.perf_counter()
    subprocess.run([sys.executable, *launcher, *command], check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    seconds = time.perf_counter() - started
    return seconds, {path.name: Report.load(path) for path in output.glob("[!.]*_*.json")}


def furthest(one, other):
    """The estimate that differs most, how far, and in how many parts examples differ."""
    worst, examples = (0.0, "none"), 0
    for metric, result in one.results():
        for name, estimate in result.estimates.items():
            value, their = estimate.value, other.metrics.get(metric, other.sanity).estimates[name].value
            assert (value is None) == (their is None), f"{metric}/{name}"
            if value is not None:
                worst = max(worst, (abs(value - their) / max(1.0, abs(value)), f"{metric}/{name}"))
        theirs = other.metrics.get(metric, other.sanity).examples
        examples += sum(mine != their for mine, their in zip(result.examples, theirs, strict=True))
    return worst, examples


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--saes", nargs="+", default=["TopK", "L1"])
    parser.add_argument("--tokens", type=int, default=8192)
    options, more = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        texts = Path(folder) / "texts.jsonl"
        texts.write_text("".join(json.dumps({"text": text}) + "\n" for text in islice(standard_library_documents("held_out"), 400)))
        base: dict[str, Report] = {}
        for size in (0, *options.sizes):
            seconds, reports = evaluated(size, Path(folder) / str(size), options.saes, texts, options.tokens, more)
            base = base or reports
            total = {name: sum(each.metrics[name].seconds for each in reports.values()) for name in next(iter(reports.values())).metrics}
            said = ", ".join(f"{name} {value:.1f}" for name, value in total.items())
            working = sum(each.provenance["seconds"] for each in reports.values())
            print(f"{f'{size} of torchrun' if size else 'one process'}: {seconds:.1f} s, evaluating {working:.1f} s ({said})")
            for name, report in reports.items() if size else ():
                (difference, where), examples = furthest(base[name], report)
                print(f"  {name}: the largest difference is {difference:.1e}, of {where}; {examples} examples differ")


if __name__ == "__main__":
    main()
