"""What the metric "probe" says about itself."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.metrics.figure_specs import NumbersFigure, RowsFigure
from sae_lens_metrics.metrics.probe.memory import probe_memory
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
    "channels_": "a channel of the activation",
    "random_": "a random direction",
    "shuffled_": "one latent, labels shuffled",
    "dense_": "all channels at once, the ceiling",
}
_BASELINES = {
    "channels_loss": ("channels", "baseline: the activation's channels"),
    "random_loss": ("random directions", "baseline: random directions"),
    "shuffled_loss": ("shuffled labels", "baseline: shuffled labels, what luck gives"),
    "dense_held_out_loss": ("", "ceiling: a regularised probe on all channels at once, on held-out text"),
    "dense_held_out_accuracy": ("", "… its accuracy there"),
}
"""Baselines that are shown, with what they are called beside the headline, if it is comparable, and what they mean."""
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
_DIFFERENCES = {
    ("loss", "channels"): "paired difference over tasks; below 0: latents are better",
    ("loss", "random"): "… to random directions",
    ("loss", "shuffled"): "… to shuffled labels",
    ("held_out_loss", "random"): "paired difference to random directions on held-out text",
    ("held_out_loss", "dense"): "… to the ceiling: what one latent lacks",
}
_OTHERS = {
    "channels": "channels",
    "random": "random directions",
    "shuffled": "shuffled labels",
    "dense": "all channels at once",
}
_HIDDEN = ("held_out_auc", "loss_minus_shuffled")
_FOLLOWED = ("held_out_loss", "held_out_loss_minus_random")
_LUCK = "the best of more latents is better by luck alone"


def _numbers() -> Iterator[tuple[str, Number]]:
    yield from ((name, _own(name)) for name in _MEASURES)
    yield "tasks_probed", Number("tasks that the means are over", "tasks", shown=False)
    yield "family_correlation", _FAMILY_CORRELATION
    for prefix, what in _CANDIDATES.items():
        fitted = prefix != "dense_"  # which separates whatever it is fitted on
        yield from ((prefix + name, _baseline(prefix, what, name)) for name in _MEASURES if fitted or name != "loss")
    yield from ((f"{name}_minus_{other}", _difference(name, other)) for name, other in _DIFFERENCES)


def _own(name: str) -> Number:
    label, unit, better = _MEASURES[name]
    shown, followed, overview = name not in _HIDDEN, name in _FOLLOWED, name == "held_out_loss"
    number = Number(label, unit, better, _MEANINGS[name], shown=shown, followed=followed, overview=overview)
    return _lucky(number) if name == "loss" else number


def _baseline(prefix: str, what: str, of: str) -> Number:
    label, unit, _ = _MEASURES[of]
    called, meaning = _BASELINES.get(prefix + of, ("", f"the same of {what}"))
    shown = prefix + of in _BASELINES
    label = f"{label}: {what}"
    return Number(label, unit, meaning=meaning, shown=shown, baseline_of=of, baseline=called, of_the_sae=prefix == "shuffled_")


def _difference(name: str, other: str) -> Number:
    pair, key = (name, f"{other}_{name}"), f"{name}_minus_{other}"
    number = Number(
        f"{'held-out ' if name.startswith('held_out') else ''}loss minus that of {_OTHERS[other]}, nats",
        "nats",
        "lower",
        _DIFFERENCES[name, other],
        shown=key not in _HIDDEN,
        followed=key in _FOLLOWED,
        difference_of=pair,
        same_given=None if other == "shuffled" else pair,
    )
    return _lucky(number) if key == "loss_minus_channels" else number  # the others are of as many candidates, and as lucky


def _lucky(number: Number) -> Number:
    """A number that is better where there are more candidates."""
    return replace(number, depends_on_size=_LUCK, instead="held_out_loss")


_FAMILY_CORRELATION = Number(
    "correlation of the losses of two tasks of one family",
    "",
    meaning="how alike the losses of tasks of one family are; the more, the wider errors over families are than over tasks",
    qualifies="loss",
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
    "paired differences to channels and random directions, and by the held-out loss. Errors are over families of tasks, as tasks of one "
    "family are alike; with few families they are wide. SAEs that answered the same tasks are compared on these, by what each text did.",
    paper="4.2",
    headline="loss",
    leading="held_out_loss",
    numbers=dict(_numbers()),
    settings=ProbeConfig,
    presets={"train": {"examples": 200, "max_tokens": 64}, "paper": {"tasks": ["all"], "examples": 8_000}},
    cost=_cost,
    memory=probe_memory,
    given=(),
    count_units=_tasks,
    files=_files,
    version=2,
    units=Units(of=("tasks", "families"), table="tasks", key="task", fingerprint="fingerprint", called="probe tasks"),
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
