"""Whether a GPU gives the numbers that a CPU gives, and how long it takes: one script, at most eight minutes on an H200.

python tests/gpu/device_checks.py [--device cuda] [--limit 470] [--output device-checks.jsonl]

It needs no network, nothing but this clone and what the tests need. It checks, on the demo's model, every metric of SAEs of every
architecture and dtype on the CPU against the device; that a seed gives the same numbers again; and that training with the flag gives the
weights that it gives without, under deterministic algorithms. Then it measures, at GPT-2 small's shape with 32,768 latents, what the
table that it ends with holds. With ``--dry-run`` everything is tiny, on the CPU: the tests run that.

A stage that does not fit the time that is left is skipped, each finding is a line of JSON as soon as there is one, and the exit status is
1 if something is wrong.
"""
# ruff: noqa: T201, E402 - a script prints; the environment comes before torch

import argparse
import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or CUDA's matrix products do not repeat themselves
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("WANDB_SILENT", "true")
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "support")]

import copy
import json
import tempfile
from dataclasses import dataclass, replace
from itertools import islice

import torch
from datasets import Dataset
from runners import single_runner, small_metrics
from sae_lens import LanguageModelSAERunnerConfig, LanguageModelSAETrainingRunner, LoggingConfig, TopKTrainingSAEConfig
from saes import TRAINING_CONFIGS, training_sae
from stages import Stages

from sae_lens_metrics import Corpus, MetricsConfig, N2GConfig, ProbeConfig, Subject, attach_metrics, evaluate
from sae_lens_metrics.benchmark.ablation_rates import ablation_rate
from sae_lens_metrics.benchmark.machine import measured_machine
from sae_lens_metrics.benchmark.shapes import GPT2_SMALL, TINY, Shape
from sae_lens_metrics.benchmark.synthetic import Bench, synthetic_bench
from sae_lens_metrics.demo.shipped import load_tiny_lm
from sae_lens_metrics.subject.inference_sae import inference_sae
from sae_lens_metrics.text.standard_library import standard_library_documents
from sae_lens_metrics.text.tokenization import Tokenization, choose_sequences, read_sequences, token_store

TODAY = {
    "probe": ("13 tasks x 2,000 texts x 32,768 latents, GPT-2 shape", "14.5 s", "2 s"),
    "n2g": ("N2G + explanation, 32,768 latents alive, any length, 65k tokens of building text", "380 s", "60 s"),
    "ablation": ("ablation at GPT-2 shape, share of the float32 matrix-product rate", "33 %", "60 %"),
    "training": ('evaluation in training (preset "train", 32,768 latents)', "4-10 s", "1 s"),
}
"""What is measured: the work, what it took when this was written, and what is wanted."""
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 2e-2}
"""Largest relative difference of a number on the device, by the SAE's type; besides, ``NOISE`` standard errors."""
NOISE = {torch.float32: 0.02, torch.bfloat16: 0.25}
ABSOLUTE = 1e-5


@dataclass(frozen=True)
class Sizes:
    """How much is done."""

    shape: Shape
    architectures: tuple[str, ...]
    dtypes: tuple[torch.dtype, ...]
    documents: int
    examples: int
    tasks: tuple[str, ...]
    tokens: int
    sample: int
    trained_tokens: int
    metrics: dict


FULL = Sizes(
    shape=replace(GPT2_SMALL, d_sae=32_768),
    architectures=tuple(TRAINING_CONFIGS),
    dtypes=(torch.float32, torch.bfloat16),
    documents=600,
    examples=2_000,
    tasks=("generated",),
    tokens=131_072,
    sample=512,
    trained_tokens=1_000_000,
    metrics={"names": ["probe", "n2g", "explanation", "ablation", "shrinkage", "rules"], "tokens": 2_048},
)
DRY = Sizes(
    shape=replace(TINY, vocabulary=4_096),
    architectures=("topk",),
    dtypes=(torch.float32,),
    documents=40,
    examples=20,
    tasks=("base64",),
    tokens=1_024,
    sample=4,
    trained_tokens=2_048,
    metrics={"names": ["shrinkage", "ablation"], "tokens": 512},
)


class Checks:
    """What all stages share.

    Args:
        stages: Where findings go.
        sizes: How much to do.
        device: The device that is checked.
    """

    def __init__(self, stages: Stages, sizes: Sizes, device: str) -> None:
        self.stages, self.sizes, self.device = stages, sizes, device
        self.dry = sizes is DRY
        self.model = load_tiny_lm()
        self.dataset = Dataset.from_dict({"text": list(islice(standard_library_documents("train"), sizes.documents))})
        self.measured: dict[str, str] = {}
        self._bench: Bench | None = None

    def all(self) -> None:
        """The checks, then the measurements that take longest last."""
        run, short = self.stages.run, 0 if self.dry else 1
        run("machine and ablation", 40 * short, self.ablation)
        run("a seed repeats", 20 * short, self.repeats)
        run("training is the same", 40 * short, self.same_training)
        run("CPU against device", 60 * short, self.against_cpu)
        run("probes", 40 * short, self.probes)
        run("evaluation in training", 60 * short, self.in_training)
        run("N2G of all latents", 40 * short, self.all_latents)

    # --- the same numbers ------------------------------------------------------------------------------------------------------

    def small_corpus(self) -> Corpus:
        store = token_store(self.dataset, self.model, Tokenization(64, True, False, "bos"))
        n = self.sizes.metrics["tokens"] // 64
        return Corpus.from_tokens(choose_sequences(read_sequences(store, n), n, seed=0).tokens)

    def config(self) -> MetricsConfig:
        return small_metrics(**self.sizes.metrics)

    def subject(self, architecture: str, dtype: torch.dtype, device: str) -> Subject:
        sae = inference_sae(training_sae(architecture)).to(device=device, dtype=dtype)
        sae.cfg.dtype, sae.cfg.device = str(dtype).removeprefix("torch."), device
        return Subject(copy.deepcopy(self.model).to(device), sae)

    def against_cpu(self) -> None:
        """Every number of every metric, architecture by architecture."""
        corpus = self.small_corpus()
        for dtype in self.sizes.dtypes:
            for architecture in self.sizes.architectures:
                if self.stages.left < (0 if self.dry else 20):
                    self.stages.say(check="CPU against device", skipped=f"{architecture}, {dtype}: no time is left")
                    continue
                reports = [numbers(self.subject(architecture, dtype, where), corpus, self.config()) for where in ("cpu", self.device)]
                self.stages.say(check="CPU against device", architecture=architecture, dtype=str(dtype), **compared(*reports, dtype))

    def repeats(self) -> None:
        """Twice with a seed, then with another."""
        corpus, subject = self.small_corpus(), self.subject("topk", torch.float32, self.device)
        first, second = (numbers(subject, corpus, self.config()) for _ in range(2))
        other = numbers(subject, corpus, replace_seed(self.config(), 1))
        different = [name for name in first if first[name] != second[name]]
        worst = max((distance(first[name][0], second[name][0]) for name in different), default=0.0)
        moved = sum(first[name] != other.get(name) for name in first)
        self.stages.say(check="a seed repeats", ok=worst <= 1e-5 and moved > 0, bitwise=not different, worst=worst, moved_by_seed=moved)

    def same_training(self) -> None:
        """SAELens's training with and without the flag, and how it fares without deterministic algorithms."""
        for deterministic in (True, False) if not self.dry else (True,):
            torch.use_deterministic_algorithms(deterministic)
            try:
                plain, flagged = (self.trained(metrics) for metrics in (None, self.config()))
            finally:
                torch.use_deterministic_algorithms(False)
            same = all(torch.equal(plain[name], flagged[name]) for name in plain)
            judged = {"ok": same} if deterministic else {"same": same}
            self.stages.say(check="training is the same", deterministic_algorithms=deterministic, **judged)

    def trained(self, metrics: MetricsConfig | None) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        with tempfile.TemporaryDirectory() as folder:
            model = copy.deepcopy(self.model).to(self.device)
            runner = single_runner(Path(folder), model, self.dataset, metrics=metrics, device=self.device)
            sae = runner.run()
            if metrics is not None:
                failed = sorted({name for line in evaluations(folder) for name in line["errors"]})
                self.stages.say(check="metrics in that training", ok=not failed, failed=failed)
        return {name: value.cpu() for name, value in sae.state_dict().items()}

    # --- how long it takes -----------------------------------------------------------------------------------------------------

    @property
    def bench(self) -> Bench:
        """A random model of GPT-2 small's shape that reads text with the demo's tokenizer."""
        if self._bench is None:
            seconds = 0 if self.dry else 1
            self._bench = synthetic_bench(self.sizes.shape, self.device, seconds=seconds, tokenizer=self.model.tokenizer)
        return self._bench

    def tell(self, work: str, value: str, **finding: object) -> None:
        self.measured[work] = value
        self.stages.say(measured=TODAY[work][0], value=value, today=TODAY[work][1], wanted=TODAY[work][2], **finding)

    def ablation(self) -> None:
        machine = measured_machine(self.bench.device, at_least=self.bench.seconds, small=self.dry)
        self.stages.say(machine=machine.name, torch=machine.torch, tflops=machine.products / 1e12, gb_per_s=machine.bandwidth / 1e9)
        rate = ablation_rate(self.bench)
        share = rate.rate * rate.work.amount / machine.products
        self.tell("ablation", f"{share:.0%}", latents_per_second=rate.rate, times=rate.times)

    def probes(self) -> None:
        config = MetricsConfig(names=["probe"], probe=ProbeConfig(tasks=list(self.sizes.tasks), examples=self.sizes.examples))
        report = evaluate(self.bench.subject, self.random_text(8), config)
        result = report.metrics["probe"]
        self.tell("probe", f"{result.seconds:.1f} s", tasks=len(result.tables["tasks"]))

    def random_text(self, sequences: int) -> Corpus:
        tokens = self.bench.tokens(sequences).cpu() % self.model.cfg.d_vocab
        tokens[:, 0] = self.bench.subject.language.bos_token
        return Corpus.from_tokens(tokens)

    def all_latents(self) -> None:
        """A sample first; all of them if that says that there is time, and else what the sample says."""
        context = self.sizes.shape.context
        corpus, names = self.random_text(max(4, self.sizes.tokens // context)), ["n2g", "explanation"]
        shape = self.sizes.shape
        sample = evaluate(self.bench.subject, corpus, MetricsConfig(names=["n2g"], n2g=N2GConfig(latents=self.sizes.sample)))
        expected = sample.metrics["n2g"].seconds * shape.d_sae / self.sizes.sample
        self.stages.say(sampled=self.sizes.sample, seconds=sample.metrics["n2g"].seconds, expected_of_all=expected)
        if self.stages.left < expected / 2:  # batches of all latents are fuller
            self.tell("n2g", f"{expected:.0f} s (from {self.sizes.sample} latents)")
            return
        report = evaluate(self.bench.subject, corpus, MetricsConfig(names=names))
        seconds = sum(report.metrics[name].seconds for name in names)
        dead = report.sanity.estimates["dead_latents"].value
        self.tell("n2g", f"{seconds:.0f} s", parts={name: report.metrics[name].seconds for name in names}, dead_latents=dead)

    def in_training(self) -> None:
        shape, subject = self.sizes.shape, self.bench.subject
        batch = 256 if self.dry else 4_096
        logger = LoggingConfig(log_to_wandb=False, wandb_log_frequency=1, eval_every_n_wandb_logs=4 if self.dry else 60)
        with tempfile.TemporaryDirectory() as folder:
            cfg = LanguageModelSAERunnerConfig(
                sae=TopKTrainingSAEConfig(d_in=shape.d_model, d_sae=shape.d_sae, k=min(32, shape.d_model // 4)),
                model_name="random",
                hook_name=subject.hook_name,
                dataset_path="standard library",
                context_size=shape.context,
                training_tokens=self.sizes.trained_tokens,
                train_batch_size_tokens=batch,
                n_batches_in_buffer=8,
                store_batch_size_prompts=8,
                n_eval_batches=1,
                device=self.device,
                verbose=False,
                logger=logger,
                output_path=f"{folder}/output",
                checkpoint_path=f"{folder}/checkpoints",
            )
            runner = LanguageModelSAETrainingRunner(cfg, override_dataset=self.dataset, override_model=subject.site.model)
            metrics = self.config() if self.dry else replace_overhead(MetricsConfig.preset("train"))
            attach_metrics(runner, metrics).run()
            seconds = [line["seconds"] for line in evaluations(folder)]
            failed = [line["errors"] for line in evaluations(folder) if line["errors"]]
        self.tell("training", " ".join(f"{each:.1f} s" for each in seconds), failed=failed)

    def table(self) -> str:
        rows = [(*TODAY[work], self.measured.get(work, "not measured")) for work in TODAY]
        heading = ("work", "today", "wanted", f"here ({self.device})")
        return "\n".join(f"| {' | '.join(row)} |" for row in (heading, ("---",) * 4, *rows))


def replace_seed(config: MetricsConfig, seed: int) -> MetricsConfig:
    return MetricsConfig.from_dict({**config.to_dict(), "seed": seed})


def replace_overhead(config: MetricsConfig) -> MetricsConfig:
    return MetricsConfig.from_dict({**config.to_dict(), "max_overhead": 1.0})


def evaluations(folder: str) -> list[dict]:
    """The record of a training run somewhere in a folder."""
    return [json.loads(line) for path in sorted(Path(folder).rglob("metrics.jsonl")) for line in path.read_text().splitlines()]


def numbers(subject: Subject, corpus: Corpus, config: MetricsConfig) -> dict[str, tuple[float, float]]:
    """Every number with its standard error, 0 where there is none."""
    found = evaluate(subject, corpus, config).estimates()
    return {name: (each.value, each.stderr or 0.0) for name, each in found if each.value is not None}


def distance(a: float, b: float) -> float:
    """Relative."""
    return abs(a - b) / max(abs(a), abs(b), 1e-12)


def compared(cpu: dict, device: dict, dtype: torch.dtype) -> dict:
    """How many numbers there are, and those that differ by more than is tolerated."""
    missing = sorted(set(cpu) ^ set(device))
    judged = {name for name in cpu if dtype == torch.float32 or not name.startswith(COUNTED)}
    far = {
        name: {"cpu": value, "device": device[name][0], "relative": distance(value, device[name][0])}
        for name, (value, stderr) in cpu.items()
        if name in device
        and abs(value - device[name][0]) > max(TOLERANCE[dtype] * abs(value), NOISE[dtype] * stderr, ABSOLUTE)
        and name not in ROUNDING
    }
    both = {name: distance(cpu[name][0], device[name][0]) for name in cpu if name in device and name not in ROUNDING}
    worst = max(both, key=lambda name: both[name])
    return {"ok": not judged & {*far} and not missing, "numbers": len(both), "worst": (worst, both[worst]), "far": far, "missing": missing}


COUNTED = ("n2g/", "explanation/")
"""Metrics that count which latents fire, at which few tokens: in bfloat16 rounding decides, so that they are told of, not judged."""
ROUNDING = ("shrinkage/kkt_residual", "ablation/noise_floor", "ablation/effect_over_noise")
"""Numbers that are about the machine's own rounding."""


def main(arguments: list[str] | None = None) -> int:
    """Runs it all; gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--limit", type=float, default=470, help="seconds in all")
    parser.add_argument("--output", type=Path, default=Path("device-checks.jsonl"), help="findings are appended there")
    parser.add_argument("--dry-run", action="store_true", help="tiny, on the CPU")
    options = parser.parse_args(arguments)
    device = "cpu" if options.dry_run else options.device
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stages = Stages(options.limit, options.output, device)
        checks = Checks(stages, DRY if options.dry_run else FULL, device)
        checks.all()
    print(checks.table())
    stages.say(end=True, wrong=len(stages.wrong))
    return int(bool(stages.wrong))


if __name__ == "__main__":
    raise SystemExit(main())
