"""Probe tasks: texts with a binary label that a model can know at the last token."""

from sae_lens_metrics.metrics.probe.tasks.generated import generate_task, generated_tasks
from sae_lens_metrics.metrics.probe.tasks.selection import LoadedTasks, load_tasks, select_tasks
from sae_lens_metrics.metrics.probe.tasks.task import ProbeTask

__all__ = ["LoadedTasks", "ProbeTask", "generate_task", "generated_tasks", "load_tasks", "select_tasks"]
