"""How much sooner two workers of a cluster are done than one, and how much memory the driver and the workers take for more SAEs.

    python tests/benchmarks/cluster.py [--saes 24] [--workers 1 2] [--tokens 65536]

Each worker has one core; seconds mean something on a machine that has as many which do nothing else. They hold the start of Ray and of the
workers, in which each imports torch; "at work" is from the first SAE that is begun to the end. Of a busy machine, the core seconds of the
busiest worker tell how long it would have taken on free cores, from its start on.
"""

# ruff: noqa: E402, T201 - a script prints, and looks for helpers of the tests

import argparse
import json
import logging
import os
import sys
import tempfile
import threading
import time
from itertools import islice
from pathlib import Path

for variable, value in {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}.items():
    os.environ[variable] = value
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from saes import training_sae
from tiny_release import TINY_LM

from sae_lens_metrics import MetricsConfig, Overrides, RayCluster, ShrinkageConfig, find_targets, sweep
from sae_lens_metrics.text.standard_library import standard_library_documents


def make(folder, saes):
    """Texts and SAEs at two hooks."""
    texts = list(islice(standard_library_documents("train"), 400))
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    for place in range(saes):
        training_sae("standard", seed=place, hook=f"blocks.{1 + place % 2}.hook_resid_post").save_inference_model(
            folder / "saes" / str(place)
        )


def peaks():
    """Peak resident memory, in MB, of this process and of the workers, and the seconds of a core that they took."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            named = (place / "cmdline").read_bytes()
            peak = next(int(line.split()[1]) for line in (place / "status").read_text().splitlines() if line.startswith("VmHWM"))
            ticks = sum(map(int, (place / "stat").read_text().rpartition(")")[2].split()[11:13]))
        except (OSError, StopIteration):
            continue
        if place.name == str(os.getpid()) or b"_Actor" in named:
            found[place.name] = peak / 1000, ticks / os.sysconf("SC_CLK_TCK")
    return found


def timed(folder, output, config, workers):
    """Seconds in all, seconds at work, the peaks, and core seconds of the busiest worker."""
    begun, most, ended = [], {}, threading.Event()

    def watch():
        while not ended.wait(0.2):
            if not begun and list((output / ".sweep").glob("*.lease")):
                begun.append(time.perf_counter())
            most.update(peaks())

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    overrides = Overrides(model=str(TINY_LM), device="cpu")
    cluster = RayCluster(workers=workers, gpus_per_worker=0)
    found = sweep(find_targets([str(folder / "saes")]), config, output, overrides=overrides, cluster=cluster)
    end = time.perf_counter()
    ended.set()
    watcher.join()
    assert not found.errors, found.errors
    own, _ = most.pop(str(os.getpid()))
    return end - started, end - begun[0], own, max(peak for peak, _ in most.values()), max(seconds for _, seconds in most.values())


def main():
    """Prints a line for each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--saes", type=int, nargs="+", default=[24])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--tokens", type=int, default=65_536)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    for saes in options.saes:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            make(folder, saes)
            data = {"tokens": options.tokens, "shrinkage": ShrinkageConfig(tokens=options.tokens), "dataset": str(folder / "texts.jsonl")}
            for workers in options.workers:
                config = MetricsConfig(names=["shrinkage"], **data)
                took, worked, driver, worker, busiest = timed(folder, folder / str(workers), config, workers)
                print(f"{saes} SAEs, {workers} workers: {took:.1f} s, at work {worked:.1f} s, core seconds {busiest:.1f}; ", end="")
                print(f"driver {driver:.0f} MB, worker {worker:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
