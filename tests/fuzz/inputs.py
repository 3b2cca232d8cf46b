"""Many inputs of every kind, each of which must end in a result or a refusal in words: ``python tests/fuzz/inputs.py --inputs 10000``.

Prints for each kind how many inputs were tried, how many gave a result, and what went wrong, each defect once.
"""

import argparse
import collections
import logging
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--inputs", type=int, default=2_000, help="how many of each kind")
    options.add_argument("--kinds", default="", help="which, separated by commas; default all")
    options.add_argument("--seed", type=int, default=0, help="another seed gives other inputs")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HF_DATASETS_CACHE"] = f"{folder}/cache"
        kinds = _kinds(Path(folder))
        wanted = given.kinds.split(",") if given.kinds else list(kinds)
        defects = sum(_fuzz(name, kinds[name], given.inputs, given.seed) for name in wanted)
    raise SystemExit(1 if defects else 0)


def _kinds(folder):
    import datasets
    from hostile_inputs import Configurations, DataSets, Names, TaskFiles
    from saes import training_sae

    from sae_lens_metrics import Subject
    from sae_lens_metrics.demo.shipped import load_tiny_lm

    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    datasets.disable_progress_bars()
    _try_each_site_once()
    model = load_tiny_lm()
    subject = Subject(model, training_sae("standard"))
    return {
        "configurations": Configurations(model, folder),
        "data_sets": DataSets(subject, folder),
        "task_files": TaskFiles(folder),
        "names": Names(folder),
    }


def _try_each_site_once():
    """Most inputs that can be used have the same hook of the same model, to try which takes longer than all else."""
    from sae_lens_metrics.subject import site

    tried, try_site = {}, site.try_site

    def remembered(model, place, **how):
        key = repr((id(model), place, how))
        if key not in tried:
            tried[key] = try_site(model, place, **how)
        return tried[key]

    site.try_site = remembered


def _fuzz(name, kind, n, seed):
    """Tries n inputs and tells what came of them; returns how many defects there are."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded

    results, defects, started = 0, collections.Counter(), time.monotonic()
    examples = {}

    @seeded(seed)
    @settings(max_examples=n, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(kind.inputs)
    def attempt(each):
        nonlocal results
        tried[0] += 1
        try:
            results += bool(kind.check(each))
        except Exception as error:  # what this looks for
            trace = error.__traceback__
            while trace.tb_next:
                trace = trace.tb_next
            key = f"{type(error).__name__} at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
            defects[key] += 1
            examples.setdefault(key, f"{str(error)[:300]!r} of {each!r:.400}")

    tried = [0]
    attempt()
    print(
        f"{name}: {tried[0]} inputs, {results} gave a result, {sum(defects.values())} defects, {time.monotonic() - started:.0f} s",
        flush=True,
    )
    for key, count in defects.most_common():
        print(f"  {count} x {key}: {examples[key]}", flush=True)
    return len(defects)


if __name__ == "__main__":
    main()
