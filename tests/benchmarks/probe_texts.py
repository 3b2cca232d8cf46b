"""What the probe metric takes for its texts, against a plain run of transformers' own class over the same texts.

python tests/benchmarks/probe_texts.py [--threads 2] [--processor-time]

The model is the demo's, the tasks are the metric's default ones. The plain run has the layers up to the hook only, and takes 32 texts at
a time, shortest first, padded to the longest of them. What is compared is the time for the texts, and the time for all of the metric, its
tasks and their tokens having been made before.
"""
# ruff: noqa: T201 - a script prints

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from sae_lens_metrics import Corpus, MetricsConfig, demo
from sae_lens_metrics.demo.shipped import load_shipped_subject, load_tiny_lm
from sae_lens_metrics.evaluation.run import EvaluationRun
from sae_lens_metrics.metrics.probe.compute import _ready
from sae_lens_metrics.metrics.probe.tasks import load_tasks
from sae_lens_metrics.metrics.probe.text_activations import text_activations
from sae_lens_metrics.metrics.probe.text_forms import TextForm

REPETITIONS = 3
FOLDER = Path(demo.__file__).parent / "tiny_lm"
BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=None, help="of torch")
    parser.add_argument("--processor-time", action="store_true", help="count processor time, on a machine that has other work")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    clock = time.process_time if arguments.processor_time else time.perf_counter
    subject = load_shipped_subject("L1", load_tiny_lm())
    config = MetricsConfig(names=["probe"])
    loaded = load_tasks(config.probe.tasks, n_examples=config.probe.examples, seed=config.seed)
    form = TextForm.of(subject, config.probe.max_tokens)
    halves = [half for task in loaded.tasks for half in _ready(task, form, config.seed).halves]
    texts = sorted((text for half in halves for text in half), key=len)
    plain = AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32, attn_implementation="sdpa").eval().transformer
    plain.h = plain.h[: int(subject.hook_name.split(".")[1]) + 1]
    run = EvaluationRun(subject, Corpus.from_tokens(torch.randint(1, 4096, (16, 128))), config)

    def plain_run() -> None:
        with torch.no_grad():
            for i in range(0, len(texts), BATCH):
                rows = [torch.tensor(text) for text in texts[i : i + BATCH]]
                plain(torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), use_cache=False)

    ours = {
        "texts": lambda: text_activations(subject, halves, "last", batch_size=None, keep_bytes=0),
        "whole metric": lambda: run.compute("probe"),
    }
    seconds = {"plain run": [], **{name: [] for name in ours}}
    for _ in range(REPETITIONS):
        for name, function in {"plain run": plain_run, **ours}.items():
            seconds[name].append(_timed(function, clock))
    reference = statistics.median(seconds["plain run"])
    print(f"{torch.get_num_threads()} threads, {len(texts)} texts of {sum(map(len, texts))} tokens, median of {REPETITIONS}")
    for name, times in seconds.items():
        print(f"{name}: {statistics.median(times):.1f} s, {statistics.median(times) / reference:.2f} of the plain run")


def _timed(function: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    function()
    return clock() - start


if __name__ == "__main__":
    main()
