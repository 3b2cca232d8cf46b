"""Evaluating many SAEs one after the other: each model is loaded once, each text drawn once, each result made once."""

import gc
import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sae_lens_metrics.errors import CorpusError, MetricsError, SubjectError
from sae_lens_metrics.evaluation.identity import finished, identity, result_path
from sae_lens_metrics.evaluation.run import EvaluationRun
from sae_lens_metrics.integrations.interrupts import interrupts
from sae_lens_metrics.loading.downloads import with_retries
from sae_lens_metrics.loading.pretrained import ModelSpec, SAEInfo, load_spec, load_subject, read_info
from sae_lens_metrics.loading.targets import Target
from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.results import Report, summary, write_atomically
from sae_lens_metrics.subject.shared_prefixes import SharedRuns
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.corpus import Corpus, load_text_dataset
from sae_lens_metrics.text.tokenization import Tokenization
from sae_lens_metrics.views.wandb.log import log_report, wandb_run

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Outcome", "Overrides", "Sweep", "evaluate_target", "sweep"]

logger = logging.getLogger("sae_lens_metrics")

SUMMARY, ERRORS = "summary.csv", "errors.json"


@dataclass(frozen=True)
class Overrides:
    """What is known better than by the SAEs' metadata; ``None`` where the metadata hold."""

    model: str | None = None
    """Name or folder of the model."""
    device: str | None = None
    """Where models and SAEs go; default a GPU if there is one."""
    hook_name: str | None = None
    """The hook."""
    output_hook_name: str | None = None
    """The hook of a transcoder's output."""
    context_size: int | None = None
    """Tokens a sequence."""
    prepend_bos: bool | None = None
    """Whether sequences begin with BOS."""
    special_tokens: tuple[int, ...] | None = None
    """Tokens that do not count, besides those of the tokenizer."""

    def subject(self, target: Target, model: Any) -> Subject:
        """Loads an SAE, onto a model at hand if there is one."""
        return load_subject(
            target.release,
            target.sae_id,
            model=self.model if model is None else model,
            device=self.device,
            hook_name=self.hook_name,
            output_hook_name=self.output_hook_name,
            context_size=self.context_size,
            prepend_bos=self.prepend_bos,
            special_tokens=self.special_tokens,
        )


@dataclass(frozen=True)
class Outcome:
    """The result of one SAE, and its file."""

    report: Report
    path: Path
    was_there: bool = False
    """Whether an earlier evaluation had made it."""


@dataclass
class Sweep:
    """What a sweep has found out; everything is by the SAEs' names, and in their order."""

    names: list[str]
    """All SAEs."""
    reports: dict[str, Report] = field(default_factory=dict)
    """Reports; tables, histograms, examples and influences of documents stay in the files."""
    files: dict[str, Path] = field(default_factory=dict)
    """The result files."""
    errors: dict[str, str] = field(default_factory=dict)
    """Why an SAE, or some of its metrics, failed."""

    def to_frame(self) -> "pd.DataFrame":
        """A row for each SAE that was dealt with: its numbers, its result file, its error."""
        done = [name for name in self.names if name in self.reports or name in self.errors]
        frame = summary({name: self.reports[name] for name in done if name in self.reports})
        frame = frame.reindex(done).rename_axis("name")
        frame["file"] = [self.files[name].name if name in self.files else None for name in done]
        frame["error"] = [self.errors.get(name) for name in done]
        return frame


def sweep(
    targets: Sequence[Target],
    config: MetricsConfig,
    output: str | Path,
    *,
    overrides: Overrides | None = None,
    overwrite: bool = False,
    wandb_project: str | None = None,
) -> Sweep:
    """Evaluates many SAEs; one that fails is recorded, and the others go on.

    SAEs of one model come one after the other, and those at one hook of it: the model is loaded once, SAEs with the same context, BOS
    and data set see the same text, and runs of the model up to a hook are kept for the next SAE there, in up to ``config.memory_gb``.

    Each result is a file in ``output``, whose name holds a hash of all that it depends on. A sweep that was interrupted, at whatever
    moment, goes on where it was when it is started again with the same settings; what had failed is tried again. ``summary.csv`` and
    ``errors.json`` there tell of the latest sweep, and are renewed after each SAE.

    Args:
        targets: The SAEs, as ``targets.find_targets`` finds them.
        config: What to compute.
        output: Folder for the results.
        overrides: What is known better than by the SAEs' metadata.
        overwrite: Whether results that are there are made again.
        wandb_project: Logs a W&B run for each new result, after its file is written; a failure there is a warning.

    Returns:
        What was found out.

    Raises:
        CorpusError: If the data set in ``config`` cannot be loaded.
        OSError: If the folder cannot be written.
    """
    if config.dataset:
        dataset = config.dataset  # a mistake here would fail every SAE, each after its download
        with_retries(lambda: load_text_dataset(dataset, config.split), f"the data set {dataset!r}")
    found = Sweep([target.name for target in targets])
    jobs = _plan(targets, overrides or Overrides())
    shared = _Shared(config, jobs, overrides or Overrides())
    clock = _Clock(len(jobs))
    for job in jobs:
        clock.announce(job.target.name)
        outcome = _attempt(job, shared, found, Path(output), overwrite=overwrite)
        clock.count(outcome is not None and not outcome.was_there)
        if outcome is not None and not outcome.was_there and wandb_project:
            _log(wandb_project, job.target.name, outcome)
        _record(found, Path(output))
    return found


def evaluate_target(target: Target, config: MetricsConfig, output: str | Path, *, overrides: Overrides | None = None) -> Outcome:
    """Evaluates one SAE, anew in any case, and writes its result file; whatever fails is raised.

    Args:
        target: The SAE.
        config: What to compute.
        output: Folder for the result file.
        overrides: What is known better than by the SAE's metadata.

    Raises:
        MetricsError: If the SAE, its model or its text cannot be loaded, or do not fit together.
        OSError: If the folder cannot be written.
    """
    overrides = overrides or Overrides()
    job = _Job(target, read_info(target.release, target.sae_id))
    return _evaluate(job, _Shared(config, [job], overrides), Path(output), overwrite=True)


# --- the order ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Place:
    """Which model, and at which hooks of it: SAEs at the same place can share runs of the model."""

    model: ModelSpec
    hooks: str


@dataclass(frozen=True)
class _Job:
    """One SAE, and what its configuration says; nothing where that could not be read, which loading it will tell again."""

    target: Target
    info: SAEInfo

    def place(self, overrides: Overrides) -> "_Place | None":
        """The model and where the SAE sits in it."""
        if self.info.metadata is None:
            return None
        try:
            model = self.info.model(overrides.model)
        except SubjectError:  # no model is named: loading it will tell
            return None
        if model is None:
            return None
        hooks = (
            overrides.hook_name or self.info.metadata.get("hook_name"),
            overrides.output_hook_name or self.info.metadata.get("hook_name_out"),
        )
        return _Place(model, str(hooks))


def _plan(targets: Sequence[Target], overrides: Overrides) -> list[_Job]:
    """The SAEs in an order that keeps those of one model together, and those at one of its hooks; otherwise as they were given."""
    logger.info("reading the configurations of %d SAEs", len(targets))
    jobs = [_Job(target, _info(target)) for target in targets]
    places = [job.place(overrides) for job in jobs]
    models = list(dict.fromkeys(place.model for place in places if place))
    known = list(dict.fromkeys(place for place in places if place))

    def order(i: int) -> tuple[int, int]:
        place = places[i]
        return (len(models), 0) if place is None else (models.index(place.model), known.index(place))

    return [jobs[i] for i in sorted(range(len(jobs)), key=order)]


def _info(target: Target) -> SAEInfo:
    try:
        return read_info(target.release, target.sae_id)
    except MetricsError:  # this one will fail in its turn, which is recorded then
        return SAEInfo(None)


# --- what SAEs share ---------------------------------------------------------------------------------------------------------


class _Shared:
    """The model and the texts that the SAEs at hand have in common; what cannot be loaded is not tried again for each of them."""

    def __init__(self, config: MetricsConfig, jobs: Sequence[_Job], overrides: Overrides) -> None:
        self.config, self._overrides = config, overrides
        places = [job.place(overrides) for job in jobs]
        self._at_place = {place: places.count(place) for place in places}
        self._kept: dict[Any, Any] = {}
        self._spec: ModelSpec | None = None

    def subject(self, job: _Job) -> Subject:
        """Loads an SAE onto its model."""
        place = job.place(self._overrides)
        if place is None:
            self._forget()
            return self._overrides.subject(job.target, None)
        if place.model != self._spec:
            self._forget()  # before the next model is loaded: there may be no room for two
            self._spec = place.model
        model = self._once(place.model, lambda: load_spec(place.model, self._overrides.device))
        subject = self._overrides.subject(job.target, model)
        if self._at_place[place] > 1:
            subject.shared_runs = self._runs(place)
        return subject

    def corpus(self, subject: Subject, dataset: str) -> Corpus:
        """The text; every SAE of a model that is trained on sequences of the same form sees the same one."""
        config = self.config

        def draw() -> Corpus:
            return Corpus.from_dataset(dataset, subject, tokens=config.tokens, seed=config.seed, split=config.split)

        return self._once((Tokenization.of_subject(subject), dataset), lambda: with_retries(draw, f"the data set {dataset!r}"))

    def _runs(self, place: _Place) -> SharedRuns:
        if place not in self._kept:
            for other in [key for key, value in self._kept.items() if isinstance(value, SharedRuns)]:
                del self._kept[other]  # there is room for those of one hook
            self._kept[place] = SharedRuns(self.config.memory_gb * 2**30)
        return self._kept[place]

    def _once(self, key: Any, load: Callable[[], Any]) -> Any:
        if key not in self._kept:
            try:
                self._kept[key] = load()
            except MetricsError as error:
                self._kept[key] = type(error), str(error)  # not the error itself, which would keep all that it passed alive
        if isinstance(kept := self._kept[key], tuple):
            raise kept[0](kept[1])
        return kept

    def _forget(self) -> None:
        self._kept.clear()
        self._spec = None
        _free()


# --- one SAE -----------------------------------------------------------------------------------------------------------------


def _attempt(job: _Job, shared: _Shared, found: Sweep, output: Path, *, overwrite: bool) -> Outcome | None:
    """Evaluates one SAE of many and notes what came of it."""
    name, failed = job.target.name, {}
    try:
        outcome = _evaluate(job, shared, output, overwrite=overwrite, on_error=lambda metric, error: _keep(failed, metric, error))
    except Exception as error:  # whatever one SAE of a hub may raise must not end the others
        if isinstance(error, interrupts()):
            raise
        logger.debug("%s failed", name, exc_info=True)
        found.errors[name] = _words(error)
        logger.error("%s failed: %s", name, found.errors[name])
        return None
    finally:
        _free()
    if outcome.was_there:
        logger.info("its result is there already: %s", outcome.path)
    for metric, reason in failed.items():
        logger.error("%s: the metric %s failed: %s", name, metric, reason)
    if failed:
        found.errors[name] = "; ".join(f"{metric}: {reason}" for metric, reason in failed.items())
    found.reports[name], found.files[name] = outcome.report.without("influences", "tables", "histograms", "examples"), outcome.path
    return replace(outcome, report=found.reports[name]) if outcome.was_there else outcome


def _evaluate(
    job: _Job, shared: _Shared, output: Path, *, overwrite: bool, on_error: Callable[[str, Exception], None] | None = None
) -> Outcome:
    """Evaluates one SAE, unless its result is there, and writes its file."""
    subject = shared.subject(job)
    dataset = shared.config.dataset or subject.sae.cfg.metadata.dataset_path
    if not dataset:
        raise CorpusError("the SAE's metadata name no data set: give one with --dataset")
    config = replace(shared.config, dataset=dataset)
    corpus = shared.corpus(subject, dataset)
    path = result_path(output, job.target.name, identity(subject, corpus, config))
    kept = None if overwrite else finished(path)
    if kept is not None:
        return Outcome(kept, path, was_there=True)
    report = EvaluationRun(subject, corpus, config).report(on_error=on_error)
    report = report.with_warnings(*job.info.remarks, first=True)
    return Outcome(report, report.save(path))


def _keep(failed: dict[str, str], metric: str, error: Exception) -> None:
    if isinstance(error, interrupts()):
        raise error
    failed[metric] = _words(error)


def _words(error: Exception) -> str:
    """An error on one line; those of other packages with their type, as their text may be a single name."""
    text = " ".join(str(error).split())
    return text if isinstance(error, MetricsError | OSError) else f"{type(error).__name__}: {text}"


def _free() -> None:
    gc.collect()  # models and SAEs hold hooks that refer back to them
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


# --- what is told ------------------------------------------------------------------------------------------------------------


class _Clock:
    """Tells how far a sweep is, and how long the rest will take if it goes on as so far."""

    def __init__(self, jobs: int) -> None:
        self._jobs, self._begun, self._evaluated = jobs, 0, 0
        self._seconds = 0.0
        self._started = time.perf_counter()

    def announce(self, name: str) -> None:
        """Tells which SAE is next."""
        self._begun += 1
        self._started = time.perf_counter()
        left = ""
        if self._evaluated:
            left = f", {_about(self._seconds / self._evaluated * (self._jobs - self._begun + 1))} left"
        logger.info("%d of %d%s: %s", self._begun, self._jobs, left, name)

    def count(self, evaluated: bool) -> None:
        """Counts the time of an SAE that was evaluated; one whose result was there says nothing about the others."""
        if evaluated:
            self._evaluated += 1
            self._seconds += time.perf_counter() - self._started


def _about(seconds: float) -> str:
    if seconds < 60:
        return "less than a minute"
    return f"about {math.ceil(seconds / 60)} minutes" if seconds < 5_400 else f"about {seconds / 3600:.1f} hours"


def _record(found: Sweep, output: Path) -> None:
    """Writes what is known so far."""
    write_atomically(output / SUMMARY, found.to_frame().to_csv())
    if found.errors:
        errors = {name: found.errors[name] for name in found.names if name in found.errors}
        write_atomically(output / ERRORS, json.dumps(errors, indent=1))
    else:
        (output / ERRORS).unlink(missing_ok=True)


def _log(project: str, name: str, outcome: Outcome) -> None:
    """Logs to W&B; the result file is there already, so that a failure there costs no result."""
    try:
        with wandb_run(project, name=name, config=outcome.report.provenance) as run:
            if run is not None:
                log_report(run, outcome.report, outcome.path)
    except Exception as error:
        if isinstance(error, interrupts()):
            raise
        logger.warning("%s could not be logged to W&B (%s): its result is in %s", name, _words(error), outcome.path)
