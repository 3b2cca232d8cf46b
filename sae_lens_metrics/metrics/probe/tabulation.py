"""From the rows of a table of probe tasks to the metric's numbers, tables and notes."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from sae_lens_metrics.functional.statistics import mean_with_error
from sae_lens_metrics.metrics.probe.repeated_tasks import GroupedInfluences, RepeatedTasks
from sae_lens_metrics.metrics.probe.sampled_tasks import SampledTasks
from sae_lens_metrics.metrics.probe.search import CANDIDATES
from sae_lens_metrics.metrics.probe.spec import SPEC, ProbeConfig
from sae_lens_metrics.metrics.probe.tasks import LoadedTasks
from sae_lens_metrics.results import Estimate, MetricResult, Row

__all__ = ["probe_result"]

_SCORES = ("loss", "held_out_loss", "held_out_accuracy", "held_out_auc")
_COLUMNS = [("" if name == "latents" else f"{name}_") + score for name in CANDIDATES for score in _SCORES]
_COLUMNS += [f"dense_{score}" for score in _SCORES if score != "loss"]
_DIFFERENCES = {name: number.difference_of for name, number in SPEC.numbers.items() if number.difference_of is not None}
_POOLED = {
    "last": "the last token of each text",
    "mean": "the mean over all tokens of each text but the first position",
    "max": "the maximum over all tokens of each text but the first position",
}


def probe_result(
    rows: list[Row],
    influences: Sequence[GroupedInfluences],
    loaded: LoadedTasks,
    config: ProbeConfig,
    *,
    neuronpedia_id: str | None,
    has_pre_activations: bool = True,
) -> MetricResult:
    """The metric's result.

    Args:
        rows: For each task that was probed what ``probe_activations`` gives, with ``task``, ``family`` and ``fingerprint``.
        influences: What groups of texts do to the scores of each of these tasks.
        loaded: The tasks that were asked for, with the reasons why some are missing.
        config: The settings of the metric.
        neuronpedia_id: Of the SAE, "model/layer-set", if Neuronpedia has it.
        has_pre_activations: Whether the SAE's encoder has values before its activation function, for probes to read.
    """
    rows = [_with_address(row, neuronpedia_id) for row in rows]
    notes = [f"{name}: {what}" for name, what in CANDIDATES.items()]
    if not has_pre_activations:
        notes.append("the SAE has no pre-activations: probes read the latents themselves, which say nothing where they are zero")
    notes += [f"what a probe reads: {_POOLED[config.pooling]}", *_missing(loaded, len(rows), config), *_left_out(rows), *_of_one(rows)]
    return MetricResult(_estimates(rows, influences), tables={"tasks": rows, "families": _families(rows)}, notes=notes)


def _with_address(row: Row, neuronpedia_id: str | None) -> Row:
    """The row with the page of the best latent next to its index."""
    end = list(row).index("latent") + 1
    address: Row = {"neuronpedia": f"https://neuronpedia.org/{neuronpedia_id}/{row['latent']}" if neuronpedia_id else None}
    items = list(row.items())
    return dict(items[:end]) | address | dict(items[end:])


def _estimates(rows: list[Row], influences: Sequence[GroupedInfluences]) -> dict[str, Estimate]:
    if not rows:
        keys = [*_COLUMNS, *_DIFFERENCES, "tasks_probed", "family_correlation"]
        return {key: Estimate.absent("no probe task could be used", of="families") for key in keys}
    columns = {key: _column(rows, key) for key in _COLUMNS}
    columns |= {key: columns[first] - columns[second] for key, (first, second) in _DIFFERENCES.items()}
    units = SampledTasks([str(row["family"]) for row in rows])
    count = Estimate(float(len(rows)), None, len(rows), "tasks", "an exact count")
    repeated, own = RepeatedTasks(influences), {*_SCORES, *_DIFFERENCES}  # baselines are not compared
    errors = {key: repeated.error(*_DIFFERENCES.get(key, (key,)), kept=key in own) for key in columns}
    means = {key: replace(units.mean(values), repeated=errors[key]) for key, values in columns.items()}
    return means | {"tasks_probed": count, "family_correlation": units.correlation(columns["loss"])}


def _families(rows: list[Row]) -> list[Row]:
    """Means over the tasks of each family, and the standard error of the first of them."""
    members: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        members[str(row["family"])].append(row)
    table: list[Row] = []
    for family, tasks in members.items():
        means = {key: mean_with_error(_column(tasks, key)) for key in ("loss", "held_out_loss", "channels_loss", "random_loss")}
        table.append({"family": family, "tasks": len(tasks), "loss": means["loss"].value, "loss_stderr": means["loss"].stderr})
        table[-1].update({key: mean.value for key, mean in means.items() if key != "loss"})
    return table


def _column(rows: list[Row], key: str) -> Float[Tensor, "tasks"]:
    return torch.tensor([row[key] for row in rows], dtype=torch.float64)


def _left_out(rows: list[Row]) -> list[str]:
    """How many texts of which tasks could not be probed."""
    short = [f"{row['left_out']} of {row['task']}" for row in rows if row["left_out"]]
    return [f"texts are left out that have no token after the first: {', '.join(short)}"] if short else []


def _of_one(rows: list[Row]) -> list[str]:
    """A warning where errors are over tasks that may be alike."""
    families = {str(row["family"]) for row in rows}
    if len(rows) < 2 or len(families) > 1:
        return []
    return [f"all tasks are of the family {families.pop()}: errors are over tasks as if they were unrelated, which makes them too small"]


def _missing(loaded: LoadedTasks, probed: int, config: ProbeConfig) -> list[str]:
    """Why tasks are missing, each reason once with all of its tasks."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for name, reason in loaded.missing.items():
        by_reason[reason].append(name)
    if not by_reason:
        return []
    asked = probed + len(loaded.missing)
    paper = config.tasks == ["all"] and not config.task_files
    which = f"the {asked} tasks {'of the paper' if paper else 'asked for'}"
    notes = [f"{len(names)} of {which} are missing ({reason.rstrip('.')}): {', '.join(names)}" for reason, names in by_reason.items()]
    return [*notes, f"the means are over {probed} of {which}"]
