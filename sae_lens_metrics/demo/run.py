"""The demo: two SAEs at similar L0 evaluated on the same text and put side by side, then a small one trained with metrics on."""

import os
import shlex
import time
from collections.abc import Mapping
from pathlib import Path

from datasets import Dataset

from sae_lens_metrics.comparison.comparison import Comparison, compare_reports
from sae_lens_metrics.demo.findings import findings
from sae_lens_metrics.demo.options import DemoOptions, evaluation_config, training_config
from sae_lens_metrics.demo.shipped import SHIPPED_SAES, load_shipped_subject, load_tiny_lm
from sae_lens_metrics.demo.training import TrainingSize, demo_saes, train_sae, training_text
from sae_lens_metrics.evaluation.run import EvaluationRun
from sae_lens_metrics.integrations.terminal import quieten_packages, say
from sae_lens_metrics.integrations.transformer_lens import HookedTransformer
from sae_lens_metrics.loading.pretrained import load_pretrained
from sae_lens_metrics.results import Report, summary, write_atomically
from sae_lens_metrics.results.history import History
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.corpus import Corpus
from sae_lens_metrics.text.standard_library import standard_library_documents
from sae_lens_metrics.views.comparison_table import print_comparison
from sae_lens_metrics.views.one_line import sanity_line
from sae_lens_metrics.views.page import write_report
from sae_lens_metrics.views.terminal import print_reports

__all__ = ["run_demo"]

_SMALL = "small"
"""Name of the SAE that is trained to show metrics arriving."""


def run_demo(options: DemoOptions) -> dict[str, Report]:
    """Evaluates the demo's two SAEs, compares them, and trains one.

    Args:
        options: What to do, and where results go.

    Returns:
        The reports by the SAEs' names.
    """
    started = time.perf_counter()
    output = Path(options.output)
    _prepare(output, options)
    model = load_tiny_lm()
    histories: dict[str, History] = {}
    if options.train:
        histories = _train_both(model, output, options)
    subjects = {name: _subject(name, model, output if options.train else None) for name in SHIPPED_SAES}
    reports = _evaluate(subjects, options)
    for name, report in reports.items():
        report.save(output / f"{name}.json")
    write_atomically(output / "summary.csv", summary(reports).to_csv())
    comparison = compare_reports(reports)
    _write_page(output, reports, comparison, histories)
    print_reports(reports)
    print_comparison(comparison, brief=True)
    say("\n".join(["What this tells:", *findings(reports)]))
    if not options.train:
        histories = {_SMALL: _train_small(model, output, options)}
        _write_page(output, reports, comparison, histories)
    _say_where(output, options, time.perf_counter() - started)
    return reports


def _prepare(output: Path, options: DemoOptions) -> None:
    """W&B on disk unless it is asked for; what other packages say about a model and text of our own making is of no use to the reader."""
    os.environ.setdefault("WANDB_DIR", str(output))
    if not options.wandb_online:
        os.environ.setdefault("WANDB_MODE", "offline")
        os.environ.setdefault("WANDB_SILENT", "true")
    quieten_packages()


def _subject(name: str, model: HookedTransformer, trained: Path | None) -> Subject:
    return load_shipped_subject(name, model) if trained is None else load_pretrained(str(trained / name), model=model, device="cpu")


def _evaluate(subjects: Mapping[str, Subject], options: DemoOptions) -> dict[str, Report]:
    """The sanity lines of all SAEs first, as there should be something to look at soon; then the metrics."""
    config = evaluation_config(options)
    held_out = Dataset.from_dict({"text": list(standard_library_documents("held_out"))})
    corpus = Corpus.from_dataset(held_out, next(iter(subjects.values())), tokens=config.tokens)
    say(f"Two SAEs of a tiny language model, on {corpus.tokens.numel():,} tokens of held-out files of the standard library.")
    runs = {name: EvaluationRun(subject, corpus, config) for name, subject in subjects.items()}
    for name, run in runs.items():
        say(f"{name}: {sanity_line(run.sanity)}")
    reports: dict[str, Report] = {}
    for name, run in runs.items():
        say(f"Evaluating {name}: {', '.join(config.names)}.")
        reports[name] = run.report()
    return reports


def _train_both(model: HookedTransformer, output: Path, options: DemoOptions) -> dict[str, History]:
    histories: dict[str, History] = {}
    text, size = training_text(), TrainingSize(100_000 if options.quick else 640_000, evaluations=3)
    for name, sae in demo_saes().items():
        say(f"Training {name} on {size.tokens:,} tokens, with metrics on.")
        histories[name] = train_sae(
            name,
            sae,
            model=model,
            text=text,
            size=size,
            metrics=training_config(options),
            output=output,
            wandb_project=options.wandb_project,
        )
    return histories


def _train_small(model: HookedTransformer, output: Path, options: DemoOptions) -> History:
    """Some ten seconds of training, to see metrics arrive."""
    size = TrainingSize(12_288 if options.quick else 45_056, evaluations=2)
    sae, metrics = demo_saes(d_sae=256)["TopK"], training_config(options)
    say(f"\nTraining a small SAE on {size.tokens:,} tokens, with metrics on (MetricsConfig: {', '.join(metrics.names)}).")
    return train_sae(
        _SMALL, sae, model=model, text=training_text(120), size=size, metrics=metrics, output=output, wandb_project=options.wandb_project
    )


def _write_page(output: Path, reports: dict[str, Report], comparison: Comparison, histories: dict[str, History]) -> None:
    write_report(reports, output / "report.html", histories=histories, comparison=comparison, title="Two SAEs of the demo")


def _say_where(output: Path, options: DemoOptions, seconds: float) -> None:
    where = shlex.quote(str(output))
    say(f"\nDone in {seconds:.0f} s.")
    say(f"page:         {output}/report.html (open it in a browser: findings, figures, every latent, examples)")
    say(f"results:      {output}/L1.json and TopK.json (sae_lens_metrics.Report.load, or any JSON reader)")
    say(f"in one table: {output}/summary.csv")
    say(f"training:     {output}/checkpoints/*/*/metrics.jsonl")
    if not options.wandb_online:
        say(f"W&B offline:  wandb leet {where}/wandb   or   wandb sync {where}/wandb/offline-run-*")
