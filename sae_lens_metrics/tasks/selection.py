"""Choosing probe tasks by name or family."""

from collections.abc import Sequence
from functools import lru_cache

from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.tasks.generated import generate_task, generated_tasks
from sae_lens_metrics.tasks.task import ProbeTask

__all__ = ["load_tasks"]

_generate = lru_cache(maxsize=64)(generate_task)  # every evaluation of a training run asks for the same ones


def load_tasks(names: Sequence[str], *, n_examples: int, seed: int) -> list[ProbeTask]:
    """The tasks that are asked for, each once, in the catalogue's order.

    Args:
        names: Names of tasks, names of families, or "all".
        n_examples: Texts per task, at least 20; an odd number is rounded down.
        seed: Chooses the texts.

    Raises:
        ConfigError: If a name is neither a task's nor a family's, or none is given.
    """
    known, wanted = generated_tasks(), set(names)
    if not wanted:
        raise ConfigError('no probe task is given: expected names of tasks or families, or "all"')
    if wanted <= set(known):
        return [_generate(name, n_examples, seed) for name in known if name in wanted]
    tasks = [_generate(name, n_examples, seed) for name in known]  # only a task itself knows its family
    families = sorted({task.family for task in tasks})
    unknown = wanted - {"all", *known, *families}
    if unknown:
        expected = f"expected some of {', '.join(known)}; or the families {', '.join(families)}; or all"
        raise ConfigError(f"there is no probe task or family {', '.join(sorted(unknown))}: {expected}")
    return [task for task in tasks if wanted & {"all", task.name, task.family}]
