"""1d probes on known features (Gao et al. 2024, section 4.2)."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch

from sae_lens_metrics.functional.probing import ProbeInputError
from sae_lens_metrics.integrations.progress import progress
from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.metrics.context import MetricContext
from sae_lens_metrics.metrics.probe.repeated_tasks import GroupedInfluences
from sae_lens_metrics.metrics.probe.search import Dictionaries, Memory, Split, probe_activations
from sae_lens_metrics.metrics.probe.tabulation import probe_result
from sae_lens_metrics.metrics.probe.tasks import ProbeTask, load_tasks
from sae_lens_metrics.metrics.probe.tasks.task import TaskError
from sae_lens_metrics.metrics.probe.text_activations import TextActivations, one_vector_each, text_activations
from sae_lens_metrics.metrics.probe.text_forms import TextForm
from sae_lens_metrics.metrics.probe.text_groups import text_groups
from sae_lens_metrics.results import MetricResult, Row
from sae_lens_metrics.subject.subject import Subject

__all__ = ["probe"]

_KEPT = 32
"""Tasks whose tokens are kept: a task of 2,000 texts takes some 4 MB."""


def probe(context: MetricContext) -> MetricResult:
    """Can a single latent tell the two classes of a known feature apart?

    Per task and latent i the loss is min over (w, b) of E -[y log σ(w z_i + b) + (1 - y) log(1 - σ(w z_i + b))] in nats (eq. 4),
    with z_i the pre-activation at the text's last token; a task's loss is that of its best latent. Loss ranges from 0 (separable)
    to the entropy of the labels, log 2 = 0.693 for balanced classes.

    - ``loss``: the mean over tasks of the best loss on the data that the probes were fitted on, the paper's number.
    - ``held_out_loss``, ``held_out_accuracy``, ``held_out_auc``: of the same latents on the other half of each task. Log-odds are limited
      to ±log(n + 1) there, n being the examples fitted on: where those are separable, the best probe is infinitely steep.
    - ``channels_…``, ``random_…``, ``shuffled_…``: the same for the activation's channels, for as many random unit directions as there
      are latents, and for the latents with shuffled labels. Channels and directions are of the activation as the SAE normalises it.
    - ``dense_held_out_…``: of a logistic probe on all channels at once with a quadratic penalty chosen by cross-validation, the ceiling.
    - ``loss_minus_…``, ``held_out_loss_minus_…``: paired differences; negative where latents are better.
    - ``family_correlation``: how alike the losses of tasks of one family are.

    What the minimum over so many candidates gives by luck can be read from the shuffled labels: nothing can be known about them, so how
    far ``shuffled_loss`` is below the entropy is luck alone (random directions with shuffled labels are about as lucky), and
    ``shuffled_held_out_loss`` is at the entropy or above. Whole groups are shuffled where all texts of a group have one label.

    The paper does not say which token it probes. ``probe.pooling`` is "last" by default, never the first position, which is BOS or acts
    like it; "mean" and "max" are of a candidate's values over all tokens but the first. Texts that share a group stay on one side of the
    split. The table "families" has the means of the families of tasks. Texts without a token after the first are left out.

    The standard errors are over families of tasks, and over tasks where all are of one family: they are about other tasks. The second error
    (``Estimate.repeated``) is about the same tasks with other texts, to first order, with the best probes as they are. It does not hold
    which random directions are drawn and how labels are shuffled.

    Args:
        context: The run: subject, text and settings; the generator draws what is random.

    Note:
        The model runs once on each text, on those of several tasks together. Of the latents and the random directions only a chunk is in
        memory, as large as ``memory_gb`` allows. For "max" (and for "mean" of an SAE whose pre-activations are no affine map) the
        activations of all tokens are kept while a task is probed; where half a task's take more than a quarter of ``memory_gb`` the model
        runs again for each chunk. The probe on all channels takes some 30 bytes for each text fitted on and channel, beyond ``memory_gb``.

    Raises:
        ConfigError: If a task is unknown, or ``memory_gb`` is too little.
        TaskError: With ``probe.strict``, if a task cannot be loaded or used.
    """
    subject, config, generator = context.subject, context.config, context.generator
    options = config.probe
    loaded = load_tasks(options.tasks, n_examples=options.examples, seed=config.seed, files=options.task_files, strict=options.strict)
    found = context.ranks.each(lambda: _probed(context, context.ranks.mine(loaded.tasks), generator.initial_seed()))
    rows = [row for part in found for row in part.rows]
    influences = [influence for part in found for influence in part.influences]
    missing = {**loaded.missing, **{name: reason for part in found for name, reason in part.missing.items()}}
    return probe_result(
        rows,
        influences,
        replace(loaded, missing=missing),
        options,
        neuronpedia_id=subject.neuronpedia_id,
        has_pre_activations=subject.dictionary.capabilities.has_pre_activations,
    )


@dataclass(frozen=True)
class _Probed:
    """What came of some tasks."""

    rows: list[Row]
    influences: list[GroupedInfluences]
    missing: dict[str, str]
    """Why some could not be used."""


def _probed(context: MetricContext, tasks: Sequence[ProbeTask], seed: int) -> _Probed:
    """Probes this process's tasks."""
    subject, config = context.subject, context.config
    options, memory = config.probe, Memory(config.memory_gb)
    dictionaries = Dictionaries.of(subject, seed, memory)
    form = TextForm.of(subject, options.max_tokens)
    found, ready = _Probed([], [], {}), list[_ReadyTask]()
    for task in tasks:
        try:
            ready.append(_ready(task, form, seed))
        except TaskError as error:
            if options.strict:
                raise
            found.missing[task.name] = str(error)
    with progress("probe", unit="task", total=len(ready)) as bar:
        for window in _windows(subject, ready, config, memory):
            halves = [half for task in window for half in task.halves]
            runs = text_activations(subject, halves, options.pooling, batch_size=config.batch_size, keep_bytes=memory.activations)
            for task, fit, test in zip(window, runs[::2], runs[1::2], strict=True):
                row, influence = _probe_task(subject, task, (fit, test), dictionaries, memory)
                found.rows.append(row)
                found.influences.append(influence)
                bar.update(1)
    return found


@dataclass(frozen=True)
class _ReadyTask:
    """A task whose texts are tokens, and split."""

    task: ProbeTask
    left_out: int
    """Texts without a token to probe."""
    split: Split
    halves: tuple[list[list[int]], list[list[int]]]
    """The texts of the half that is fitted on, and of the other."""


@lru_cache(maxsize=_KEPT)  # for the next SAE of the model, and the next evaluation of a training run
def _ready(task: ProbeTask, form: TextForm, seed: int) -> _ReadyTask:
    # a generator for each task, so that its split depends neither on the SAE's size nor on the other tasks
    generator = torch.Generator().manual_seed(seed ^ zlib.crc32(task.name.encode()))
    asked = len(task.texts)
    task, tokens = _with_tokens_to_probe(task, form.tokens(task.texts))
    try:
        split = Split.of(task, generator)
    except ProbeInputError as error:
        raise TaskError(f"The probe task {task.name!r} cannot be used: {error}.") from error
    return _ReadyTask(task, asked - len(tokens), split, split.halves(tokens))


def _windows(subject: Subject, tasks: Sequence[_ReadyTask], config: MetricsConfig, memory: Memory) -> Iterator[list[_ReadyTask]]:
    """Tasks whose texts are run together: as many as fit in memory by a vector for each text, or else one at a time."""
    several = one_vector_each(subject, config.probe.pooling)
    window: list[_ReadyTask] = []
    texts = 0
    for task in tasks:
        texts += len(task.split.fit)
        if window and not (several and texts * subject.d_in * 4 * 2 <= memory.activations):
            yield window
            window, texts = [], len(task.split.fit)
        window.append(task)
    if window:
        yield window


def _probe_task(
    subject: Subject, ready: _ReadyTask, activations: tuple[TextActivations, TextActivations], dictionaries: Dictionaries, memory: Memory
) -> tuple[Row, GroupedInfluences]:
    task, split = ready.task, ready.split
    identity: Row = {"task": task.name, "family": task.family, "fingerprint": task.fingerprint, "left_out": ready.left_out}
    probed = probe_activations(split, *activations, dictionaries, memory.columns(*activations, subject.d_in))
    return identity | probed.row, GroupedInfluences.of(probed.influences, text_groups(task), split.fit)


def _with_tokens_to_probe(task: ProbeTask, tokens: list[list[int]]) -> tuple[ProbeTask, list[list[int]]]:
    """The task without texts of a single token, whose only position is the first one; and the tokens of what is left.

    Raises:
        TaskError: If too little is left.
    """
    kept = [i for i, ids in enumerate(tokens) if len(ids) > 1]
    if len(kept) == len(tokens):
        return task, tokens
    groups = None if task.groups is None else tuple(task.groups[i] for i in kept)
    try:
        left = replace(task, texts=tuple(task.texts[i] for i in kept), labels=tuple(task.labels[i] for i in kept), groups=groups)
    except TaskError as error:
        short = len(tokens) - len(kept)
        raise TaskError(f"Without {short} texts that have no token after the first: {error}") from error
    return left, [tokens[i] for i in kept]
