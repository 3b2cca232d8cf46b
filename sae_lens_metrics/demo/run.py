"""The demo: two SAEs at similar L0, trained through SAELens with metrics on, evaluated on the same text and put side by side."""

import logging
import os
import shlex
import warnings
from itertools import islice
from pathlib import Path

from datasets import Dataset
from sae_lens import LoggingConfig, StandardTrainingSAEConfig, TopKTrainingSAEConfig, TrainingSAEConfig

from sae_lens_metrics.demo.model import load_tiny_lm
from sae_lens_metrics.demo.options import DemoOptions, evaluation_config
from sae_lens_metrics.evaluation.run import EvaluationRun
from sae_lens_metrics.loading.pretrained import load_pretrained
from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.results import Report, summary, write_atomically
from sae_lens_metrics.results.history import METRICS_FILENAME, History, read_histories
from sae_lens_metrics.text.corpus import Corpus
from sae_lens_metrics.text.standard_library import standard_library_documents
from sae_lens_metrics.training.attach import MetricsRunnerConfig, MetricsTrainingRunner
from sae_lens_metrics.views.page import write_report
from sae_lens_metrics.views.terminal import print_reports

__all__ = ["demo_saes", "run_demo"]

HOOK = "blocks.2.hook_resid_post"
_CONTEXT, _BATCH = 128, 1024
_TRAINING_TOKENS, _QUICK_TOKENS = 640_000, 100_000
_DOCUMENTS = 900
"""Documents of the training text, more than training reaches, so that the flag finds rows to hold out."""


def demo_saes() -> dict[str, TrainingSAEConfig]:
    """The two SAEs: one with an L1 penalty and one TopK, at similar L0."""
    return {
        "L1": StandardTrainingSAEConfig(
            d_in=128, d_sae=1024, l1_coefficient=2.9, l1_warm_up_steps=200, normalize_activations="expected_average_only_in"
        ),
        "TopK": TopKTrainingSAEConfig(d_in=128, d_sae=1024, k=16, normalize_activations="expected_average_only_in"),
    }


def run_demo(options: DemoOptions) -> dict[str, Report]:
    """Trains and evaluates the demo's two SAEs.

    Args:
        options: What to do, and where results go.

    Returns:
        The reports by the SAEs' names.
    """
    output = Path(options.output)
    os.environ.setdefault("WANDB_DIR", str(output))
    if not options.wandb_online:
        os.environ.setdefault("WANDB_MODE", "offline")
        os.environ.setdefault("WANDB_SILENT", "true")
    _quieten()
    model = load_tiny_lm()
    train = Dataset.from_dict({"text": list(islice(standard_library_documents("train"), _DOCUMENTS))})
    histories: dict[str, History] = {}
    for name, sae in demo_saes().items():
        print(f"training the {name} SAE, with metrics on", flush=True)
        cfg = _runner_config(name, sae, options)
        MetricsTrainingRunner(cfg, override_dataset=train, override_model=model).run()
        histories[name] = read_histories(Path(str(cfg.checkpoint_path)) / METRICS_FILENAME)[""]

    held_out = Dataset.from_dict({"text": list(standard_library_documents("held_out"))})
    subjects = {name: load_pretrained(str(output / name), model=model, device="cpu") for name in demo_saes()}
    corpus = Corpus.from_dataset(held_out, next(iter(subjects.values())), tokens=8_192 if options.quick else 65_536)
    reports: dict[str, Report] = {}
    for name, subject in subjects.items():
        print(f"evaluating the {name} SAE on held-out files of the standard library", flush=True)
        reports[name] = EvaluationRun(subject, corpus, evaluation_config(options)).report()
        reports[name].save(output / f"{name}.json")
    write_atomically(output / "summary.csv", summary(reports).to_csv())
    write_report(reports, output / "report.html", histories=histories, title="Two SAEs of the demo")
    print_reports(reports)
    _say_where(output, options)
    return reports


def _runner_config(name: str, sae: TrainingSAEConfig, options: DemoOptions) -> MetricsRunnerConfig[TrainingSAEConfig]:
    return MetricsRunnerConfig(
        sae=sae,
        metrics=MetricsConfig.preset("train"),
        model_name="tiny_lm",
        hook_name=HOOK,
        dataset_path="standard library",
        context_size=_CONTEXT,
        training_tokens=_QUICK_TOKENS if options.quick else _TRAINING_TOKENS,
        train_batch_size_tokens=_BATCH,
        n_batches_in_buffer=64,
        store_batch_size_prompts=32,
        n_batches_for_norm_estimate=20,
        exclude_special_tokens=True,
        dead_feature_window=200,
        feature_sampling_window=100,  # SAELens notes the L0 of the last window
        lr=2e-3,
        lr_warm_up_steps=50,
        lr_decay_steps=(_QUICK_TOKENS if options.quick else _TRAINING_TOKENS) // _BATCH // 4,
        n_eval_batches=2,
        logger=LoggingConfig(
            wandb_project=options.wandb_project,
            run_name=name,
            wandb_log_frequency=10,
            eval_every_n_wandb_logs=20,
            log_weights_to_wandb=False,
        ),
        checkpoint_path=str(Path(options.output) / "checkpoints" / name),
        output_path=str(Path(options.output) / name),
        verbose=False,
    )


def _quieten() -> None:
    """What other packages say about a model and text of our own making is of no use to the reader."""
    warnings.filterwarnings("ignore")
    for name in ("sae_lens", "transformer_lens", "transformers", "datasets"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _say_where(output: Path, options: DemoOptions) -> None:
    where = shlex.quote(str(output))
    print(f"\nreport:       {output}/report.html (open it in a browser: figures, every latent, examples)")
    print(f"results:      {output}/L1.json and TopK.json (sae_lens_metrics.Report.load, or any JSON reader)")
    print(f"in one table: {output}/summary.csv")
    print(f"SAEs:         {output}/L1 and {output}/TopK, with metrics.json of the end of training")
    print(f"over time:    {output}/checkpoints/*/*/metrics.jsonl")
    if not options.wandb_online:
        print(f"W&B offline:  wandb leet {where}/wandb   or   wandb sync {where}/wandb/offline-run-*")
