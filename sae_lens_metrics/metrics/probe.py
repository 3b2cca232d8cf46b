"""1d probes on known features (Gao et al. 2024, section 4.2)."""

import hashlib
import math
import zlib
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from tqdm.auto import tqdm

from sae_lens_metrics.config import MetricsConfig, ProbeConfig
from sae_lens_metrics.corpus import Corpus
from sae_lens_metrics.errors import SubjectError
from sae_lens_metrics.functional.probing import accuracy, auc, fit_logistic_1d, label_entropy, logistic_loss
from sae_lens_metrics.functional.statistics import mean_with_error
from sae_lens_metrics.results import Estimate, MetricResult, Row
from sae_lens_metrics.subject import Subject
from sae_lens_metrics.tasks import ProbeTask, load_tasks

__all__ = ["last_token_activations", "probe"]

_CANDIDATES = {
    "latents": "the SAE's latents",
    "channels": "the channels of the activation itself",
    "random": "as many random unit directions as latents",
    "shuffled": "the SAE's latents, with shuffled labels",
}


def probe(subject: Subject, corpus: Corpus, config: MetricsConfig, generator: torch.Generator) -> MetricResult:
    """Can a single latent tell the two classes of a known feature apart?

    Per task and latent i the loss is min over (w, b) of E -[y log σ(w z_i + b) + (1 - y) log(1 - σ(w z_i + b))] in nats (eq. 4),
    with z_i the pre-activation at the text's last token; a task's loss is that of its best latent. Loss ranges from 0 (separable)
    to the entropy of the labels, log 2 = 0.693 for balanced classes.

    - ``loss``: the mean over tasks of the best loss on the data that the probes were fitted on, the paper's number.
    - ``held_out_loss``, ``held_out_accuracy``, ``held_out_auc``: of the same latents on the other half of each task. Log-odds are limited
      to ±log(n + 1) there, n being the examples fitted on: where those are separable, the best probe is infinitely steep.
    - ``channels_…``, ``random_…``, ``shuffled_…``: the same for the activation's channels, for as many random unit directions as there
      are latents, and for the latents with shuffled labels: what a minimum over so many candidates gives by luck.
    - ``loss_minus_channels``, ``loss_minus_random``: paired differences of the losses; negative where latents are better.

    The standard errors are over tasks.

    Args:
        subject: The model and SAE.
        corpus: Not used; every task brings its own text.
        config: ``seed``, ``batch_size`` and ``probe`` are used.
        generator: Splits the tasks, draws the random directions and shuffles labels.

    Raises:
        ConfigError: If a task is unknown.
    """
    tasks = load_tasks(config.probe.tasks, n_examples=config.probe.examples, seed=config.seed)
    directions = torch.randn(subject.d_in, subject.d_sae, generator=generator)
    directions = (directions / directions.norm(dim=0)).to(subject.device)
    rows: list[Row] = []
    for task in tqdm(tasks, desc="probe", unit="task", delay=2, leave=False):
        x = last_token_activations(subject, task, config.probe, config.batch_size)
        # a generator for each task, so that its split depends neither on the SAE's size nor on the other tasks
        own = torch.Generator().manual_seed(generator.initial_seed() ^ zlib.crc32(task.name.encode()))
        rows.append(_probe_task(subject, task, x, directions, own))
    return MetricResult(_estimates(rows), tables={"tasks": rows}, notes=[f"{name}: {what}" for name, what in _CANDIDATES.items()])


def last_token_activations(subject: Subject, task: ProbeTask, config: ProbeConfig, batch_size: int) -> Float[Tensor, "n d_in"]:
    """Activations at the last token of each text; long texts lose their beginning, BOS stays.

    Raises:
        SubjectError: If the model has no tokenizer.
    """
    tokenized = _tokenize(subject, task, config.max_tokens)
    order = sorted(range(len(tokenized)), key=lambda i: len(tokenized[i]))  # little padding
    x = torch.empty(len(tokenized), subject.d_in, device=subject.device)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        lengths = torch.tensor([len(tokenized[i]) for i in chosen])
        # padding stands to the right, where a causal model's last real token does not see it; any token will do
        tokens = torch.nn.utils.rnn.pad_sequence([torch.tensor(tokenized[i]) for i in chosen], batch_first=True)
        activations = subject.activations(subject.prefix(tokens))
        x[torch.tensor(chosen, device=x.device)] = activations[torch.arange(len(chosen)), lengths - 1]
    return x


def _tokenize(subject: Subject, task: ProbeTask, max_tokens: int) -> list[list[int]]:
    tokenizer = subject.tokenizer
    if tokenizer is None:
        raise SubjectError("probes read text, but the model has no tokenizer: load the model with one")
    bos = [tokenizer.bos_token_id] if subject.prepend_bos and tokenizer.bos_token_id is not None else []
    room = min(max_tokens, subject.context_size or max_tokens) - len(bos)
    return [bos + ids[-room:] for ids in tokenizer(list(task.texts), add_special_tokens=False)["input_ids"]]


@dataclass(frozen=True)
class _Halves:
    """A task's examples, split into halves to fit on and to test on."""

    fit: Bool[Tensor, "n"]
    y: Bool[Tensor, "n"]
    shuffled: Bool[Tensor, "n"]


def _split(task: ProbeTask, generator: torch.Generator, device: torch.device) -> _Halves:
    """Half of each class to fit on, so that both halves are as balanced as the task; and labels shuffled within the halves."""
    y = torch.tensor(task.labels)
    fit = torch.zeros(len(y), dtype=torch.bool)
    for label in (False, True):
        members = (y == label).nonzero()[:, 0]
        fit[members[torch.randperm(len(members), generator=generator)[: (len(members) + 1) // 2]]] = True
    shuffled = y.clone()
    for half in (fit, ~fit):
        shuffled[half] = y[half][torch.randperm(int(half.sum()), generator=generator)]
    return _Halves(fit.to(device), y.to(device), shuffled.to(device))


def _probe_task(
    subject: Subject, task: ProbeTask, x: Float[Tensor, "n d_in"], directions: Float[Tensor, "d_in d_sae"], generator: torch.Generator
) -> Row:
    halves = _split(task, generator, x.device)
    z = subject.pre_activations(x)
    row: Row = {
        "task": task.name,
        "family": task.family,
        "texts_sha256": hashlib.sha256("\0".join(task.texts).encode()).hexdigest()[:16],
        "fitted_on": int(halves.fit.sum()),
        "tested_on": int((~halves.fit).sum()),
        "entropy": float(label_entropy(halves.y[halves.fit])),
    }
    candidates = {
        "latents": (z, halves.y),
        "channels": (x, halves.y),
        "random": (x @ directions, halves.y),
        "shuffled": (z, halves.shuffled),
    }
    for name, (values, labels) in candidates.items():
        best = _best(values, labels, halves.fit)
        row.update(best if name == "latents" else {f"{name}_{key}": value for key, value in best.items()})
    row["latent"] = row.pop("index")
    return row


def _best(values: Float[Tensor, "n candidates"], y: Bool[Tensor, "n"], fit: Bool[Tensor, "n"]) -> dict[str, Any]:
    """Fits all candidates on one half, chooses the best there, and tests that one on the other half."""
    fitted = fit_logistic_1d(values[fit], y[fit])
    index = int(fitted.loss.argmin())
    log_odds = values[~fit, index].to(fitted.weight.dtype) * fitted.weight[index] + fitted.bias[index]
    most_certain = math.log(int(fit.sum()) + 1)  # the rule of succession: n examples without exception give odds of n + 1
    limited = log_odds.clamp(-most_certain, most_certain)[:, None]
    one, zero = limited.new_ones(1), limited.new_zeros(1)
    return {
        "loss": float(fitted.loss[index]),
        "held_out_loss": float(logistic_loss(limited, y[~fit], one, zero)),
        "held_out_accuracy": float(accuracy(limited, y[~fit], one, zero)),
        "held_out_auc": float(auc(log_odds, y[~fit])),
        "index": index,
    }


def _estimates(rows: list[Row]) -> dict[str, Estimate]:
    columns = {key: torch.tensor([row[key] for row in rows]) for key in rows[0] if key.endswith(("loss", "accuracy", "auc"))}
    columns["loss_minus_channels"] = columns["loss"] - columns["channels_loss"]
    columns["loss_minus_random"] = columns["loss"] - columns["random_loss"]
    return {key: _over_tasks(values) for key, values in columns.items()}


def _over_tasks(values: Float[Tensor, "tasks"]) -> Estimate:
    value, stderr = mean_with_error(values)
    return Estimate(value, stderr, len(values), "tasks", None if stderr is not None else "one task has no standard error")
