"""What the metric "probe" says about itself."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.metrics.figure_specs import NumbersFigure, RowsFigure
from sae_lens_metrics.metrics.spec import Better, MetricSpec, Number, Scale, Units, moves_nothing, names_units

__all__ = ["SPEC", "ProbeConfig"]

_TYPICAL_TOKENS = 128
"""Texts are seldom longer."""


@dataclass
class ProbeConfig:
    """1d probes on known features (Gao et al. 2024, section 4.2)."""

    tasks: list[str] = field(default_factory=lambda: ["generated"], metadata=names_units(short="--tasks"))
    """Names of probe tasks or of families; "all" for the paper's 61, "offline" for the 49 of them that need no network, "generated" for
    those that need no package either. `sae-lens-metrics tasks` lists them."""
    task_files: list[str] = field(default_factory=list, metadata=names_units(short="--task-file"))
    """Files with tasks of your own, besides `tasks`: .csv, .jsonl or .parquet with the columns text and label."""
    examples: int = 2_000
    """Texts per task at most, half of them held out."""
    max_tokens: int | None = None
    """A longer text loses its beginning; by default only where it exceeds the SAE's context."""
    pooling: Literal["last", "mean", "max"] = "last"
    """What a probe reads: the text's last token, or the mean or the maximum of a latent over all tokens but BOS."""
    strict: bool = field(default=False, metadata=moves_nothing(short="--strict"))
    """Whether a task that cannot be loaded is an error; otherwise it is named and left out."""

    def __post_init__(self) -> None:
        self.tasks = [name for names in self.tasks for name in names.split(",")]
        if self.max_tokens is not None and self.max_tokens < 2:
            raise ConfigError(f"probe.max_tokens is {self.max_tokens}, expected at least 2: one for BOS, one to probe")
        if self.examples < 20:
            raise ConfigError(f"probe.examples is {self.examples}, expected at least 20 to fit and test a probe")


_CANDIDATES = {
    "": "one latent",
    "channels_": "a channel of the activation",
    "random_": "a random direction",
    "shuffled_": "one latent, labels shuffled",
}
_BASELINES = {
    "channels_loss": ("channels", "baseline: the activation's channels"),
    "random_loss": ("random directions", "baseline: random directions"),
    "shuffled_loss": ("shuffled labels", "baseline: shuffled labels, what luck gives"),
}
_MEASURES: dict[str, tuple[str, str, Better]] = {
    "loss": ("loss of the best 1d probe, nats", "nats", "lower"),
    "held_out_loss": ("held-out loss, nats", "nats", "lower"),
    "held_out_accuracy": ("held-out accuracy", "share", "higher"),
    "held_out_auc": ("held-out AUC", "share", "higher"),
}
_MEANINGS = {
    "loss": "best 1d probe on one latent, nats, mean over tasks",
    "held_out_loss": "… of the same latents on held-out text",
    "held_out_accuracy": "… their accuracy there",
    "held_out_auc": "… the area under their ROC curve there",
}


def _numbers() -> Iterator[tuple[str, Number]]:
    for name, (label, unit, better) in _MEASURES.items():
        followed, overview = name in ("loss", "held_out_loss"), name == "held_out_loss"
        yield name, Number(label, unit, better, _MEANINGS[name], shown=name != "held_out_auc", followed=followed, overview=overview)
    for prefix, what in list(_CANDIDATES.items())[1:]:
        for name, (label, unit, _) in _MEASURES.items():
            called, meaning = _BASELINES.get(prefix + name, ("", f"the same of {what}"))
            yield (
                prefix + name,
                Number(
                    f"{label}: {what}",
                    unit,
                    meaning=meaning,
                    shown=bool(called),
                    baseline_of=name,
                    baseline=called,
                    of_the_sae=prefix == "shuffled_",
                ),
            )
    for other, label in (
        ("channels", "channels"),
        ("random", "random directions"),
        ("shuffled", "shuffled labels"),
    ):
        meaning = {"channels": "paired difference over tasks; below 0: latents are better", "random": "… to random directions"}
        yield (
            f"loss_minus_{other}",
            Number(
                f"loss minus that of {label}, nats",
                "nats",
                "lower",
                meaning.get(other, "… to shuffled labels"),
                shown=other in meaning,
                followed=other == "random",
                difference_of=("loss", f"{other}_loss"),
                same_given=("loss", f"{other}_loss") if other != "shuffled" else None,
            ),
        )


def _cost(settings: ProbeConfig, scale: Scale, others: Mapping[str, Any]) -> float:
    """Texts are half as long as they may be, and are run up to the hook only, once rather than four times."""
    return scale.units * settings.examples * min(settings.max_tokens or _TYPICAL_TOKENS, _TYPICAL_TOKENS) / 2 / 4 / scale.tokens


def _tasks(settings: ProbeConfig) -> int:
    from sae_lens_metrics.metrics.probe.tasks import select_tasks  # which knows data sets; only where work begins

    return len(select_tasks(settings.tasks, settings.task_files)) + len(settings.task_files)


def _files(settings: ProbeConfig) -> list[Path]:
    from sae_lens_metrics.metrics.probe.tasks.user_files import split_positive

    return [split_positive(given)[0] for given in settings.task_files]


_READ = "Lower is better, 0.693 is chance; beside the latents is what the same search finds among other directions."
_LOSS = _MEASURES["loss"][0]

SPEC = MetricSpec(
    name="probe",
    title="Probe loss",
    summary="does one latent tell a known feature: 1d logistic probes",
    meaning="How well one latent tells a known feature: the loss of the best 1d logistic probe, mean over tasks; 0.693 is chance.",
    trust="Quite noisy by its authors' own words, and a minimum over thousands of latents is low by luck alone: judge an SAE by the "
    "paired differences to channels and random directions, and by the held-out loss.",
    paper="4.2",
    headline="loss",
    numbers=dict(_numbers()),
    settings=ProbeConfig,
    presets={"train": {"examples": 200, "max_tokens": 64}, "paper": {"tasks": ["all"]}},
    cost=_cost,
    count_units=_tasks,
    files=_files,
    units=Units(of="tasks", table="tasks", key="task", fingerprint="fingerprint", called="probe tasks"),
    # latents are read, nothing is decoded
    controls={"permuted_decoder": "unmoved", "frozen_decoder": "beaten", "random": "beaten"},
    figures=(
        NumbersFigure(
            "loss",
            "Probe loss, mean over tasks",
            f"{_READ} Figure 6a of Gao et al. 2024.",
            _LOSS,
            {"loss": "latents"},
            baselines=True,
        ),
        RowsFigure(
            "by_family",
            "Probe loss by kind of task",
            f"Mean over the tasks of each kind. {_READ}",
            _LOSS,
            table="families",
            key="family",
            value="loss",
            whiskers=True,
            paper="Figure 23 of Gao et al. 2024.",
        ),
        RowsFigure(
            "by_task",
            "Probe loss of each task",
            f"Tasks of one kind are beside each other, from the best to the worst. {_READ}",
            _LOSS,
            table="tasks",
            key="task",
            value="loss",
            group="family",
            paper="Figure 33 of Gao et al. 2024.",
        ),
    ),
    compute="sae_lens_metrics.metrics.probe.compute:probe",
)
