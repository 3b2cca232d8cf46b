"""Choosing probe tasks by name or family, and loading them from wherever they are."""

import difflib
import logging
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.metrics.probe.tasks.catalogue import CatalogueEntry, catalogue
from sae_lens_metrics.metrics.probe.tasks.generated import GENERATORS, generate_task
from sae_lens_metrics.metrics.probe.tasks.hub import hub_examples
from sae_lens_metrics.metrics.probe.tasks.preparation import LabelledText, prepare, rng_of
from sae_lens_metrics.metrics.probe.tasks.sae_probes_files import sae_probes_examples
from sae_lens_metrics.metrics.probe.tasks.task import MIN_EXAMPLES, ProbeTask, TaskError
from sae_lens_metrics.metrics.probe.tasks.user_files import load_task_file, split_positive, task_file_name

__all__ = ["LoadedTasks", "load_named_task", "load_tasks", "select_tasks", "warn_once"]

_log = logging.getLogger("sae_lens_metrics")

_READERS: dict[str, Callable[[CatalogueEntry, int, random.Random], list[LabelledText]]] = {
    "sae-probes": sae_probes_examples,
    "hub": hub_examples,
}
_NAMED = 4
"""How many tasks a warning names."""


@dataclass(frozen=True)
class LoadedTasks:
    """The tasks that were asked for, as far as they are at hand."""

    tasks: list[ProbeTask]
    """Each once: the paper's in its order, then the other generated ones, then those of files."""

    missing: dict[str, str] = field(default_factory=dict)
    """For each task that could not be loaded, why, and what to do."""


def load_tasks(names: Sequence[str], *, n_examples: int, seed: int, files: Sequence[str] = (), strict: bool = False) -> LoadedTasks:
    """Loads the tasks that are asked for; one whose source is not at hand is left out, with a warning.

    Args:
        names: Names of tasks or of families, "all" for the paper's 61, "offline" for the 49 of them that need no network, "generated"
            for those that need no package either. May be empty if there are files.
        n_examples: Texts per task at most, at least 20; an odd number is rounded down. Where there are fewer, all are taken.
        seed: Chooses the texts.
        files: Files with tasks of one's own (`load_task_file` says of what form), as well.
        strict: Whether a task that cannot be loaded is an error.

    Raises:
        ConfigError: A name is unknown, or nothing is asked for.
        TaskError: A file cannot be used; no task could be loaded; or, if strict, one could not.
    """
    chosen = select_tasks(names, files)
    if n_examples < MIN_EXAMPLES:
        raise TaskError(f"{n_examples} examples were asked of each probe task; ask for at least {MIN_EXAMPLES}")
    own = [_load_file(file, n_examples, seed, _stamp(file)) for file in files]
    tasks, missing = _load_all(chosen, n_examples, seed)
    for name, reason in missing.items():
        if strict:
            raise TaskError(f"the probe task {name!r} cannot be loaded: {reason}")
    if not tasks and not own:
        raise TaskError("none of the probe tasks can be loaded: " + "; ".join(_summaries(missing)))
    for summary in _summaries(missing):
        warn_once(f"left out: {summary}")
    return LoadedTasks([*tasks, *own], missing)


def select_tasks(names: Sequence[str], files: Sequence[str] = ()) -> list[str]:
    """The names of the tasks that are asked for, each once, in a fixed order; nothing is loaded.

    Args:
        names: As of `load_tasks`.
        files: Files with tasks of one's own, whose names must not be among them.

    Raises:
        ConfigError: A name is unknown, or two tasks would have the same one, or nothing is asked for.
        TaskError: There is no such file.
    """
    wanted = {name.strip() for name in names} - {""}
    if not wanted and not files:
        raise ConfigError('no probe task is given: expected names of tasks or families, "all", "offline" or "generated"')
    known = _selectors()
    for name in sorted(wanted - known.keys() - set().union(*known.values())):
        near = difflib.get_close_matches(name, [*known, *set().union(*known.values())], n=3)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise ConfigError(f"there is no probe task or family {name}: {hint}expected some of those that `sae-lens-metrics tasks` lists")
    chosen = wanted.union(*(known[name] for name in wanted & known.keys()))
    own = [task_file_name(file) for file in files]
    for name in own:
        if own.count(name) > 1 or name in _order():
            raise ConfigError(f"there are two probe tasks of the name {name!r}: rename the task file")
    return [name for name in _order() if name in chosen]


def _order() -> list[str]:
    return list(dict.fromkeys([*catalogue(), *GENERATORS]))


def _selectors() -> dict[str, set[str]]:
    """What stands for several tasks: families, and three words."""
    selectors: defaultdict[str, set[str]] = defaultdict(set)
    for task in (*catalogue().values(), *GENERATORS.values()):
        selectors[task.family].add(task.name)
    entries = catalogue().values()
    return {
        **selectors,
        "all": {entry.name for entry in entries},
        "offline": {entry.name for entry in entries if entry.kind != "hub"},
        "generated": set(GENERATORS),
    }


def _load_all(names: list[str], n_examples: int, seed: int) -> tuple[list[ProbeTask], dict[str, str]]:
    tasks: list[ProbeTask] = []
    missing: dict[str, str] = {}
    for name in names:
        try:
            tasks.append(load_named_task(name, n_examples, seed))
        except TaskError as error:
            missing[name] = str(error)
    return tasks, missing


@lru_cache(maxsize=128)  # every evaluation of a training run asks for the same ones
def load_named_task(name: str, n_examples: int, seed: int) -> ProbeTask:
    """One task of the catalogue or a generated one, kept for the next time.

    Args:
        name: The task.
        n_examples: Examples at most.
        seed: Which of them, and in which order.

    Raises:
        TaskError: If it cannot be loaded.
    """
    if name in GENERATORS:
        return generate_task(name, n_examples, seed, allow_fewer=True)
    entry, rng = catalogue()[name], rng_of(name, seed)
    examples = _READERS[entry.kind](entry, n_examples, rng)
    return prepare(name, entry.family, entry.description, examples, n_examples, rng)


@lru_cache(maxsize=16)
def _load_file(file: str, n_examples: int, seed: int, stamp: tuple[int, int]) -> ProbeTask:
    del stamp  # a file that has changed is read again
    return load_task_file(file, n_examples, seed)


def _stamp(file: str) -> tuple[int, int]:
    status = Path(split_positive(file)[0]).stat()
    return status.st_mtime_ns, status.st_size


def _summaries(missing: dict[str, str]) -> list[str]:
    """One line for each reason."""
    names: defaultdict[str, list[str]] = defaultdict(list)
    for name, reason in missing.items():
        names[reason].append(name)
    return [f"{_count(of)} ({_some(of)}): {reason}" for reason, of in names.items()]


def _count(names: list[str]) -> str:
    return "1 probe task" if len(names) == 1 else f"{len(names)} probe tasks"


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


@lru_cache(maxsize=256)
def warn_once(message: str) -> None:
    """Logs a warning the first time that it comes."""
    _log.warning("%s", message)
