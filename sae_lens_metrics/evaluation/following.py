"""What the processes of torchrun's do that are not the first one: their part of each evaluation that it begins."""

from pathlib import Path

from sae_lens_metrics.evaluation.controls import report_with_controls
from sae_lens_metrics.evaluation.one_sae import begin
from sae_lens_metrics.evaluation.shared_loads import SharedLoads, free_memory
from sae_lens_metrics.integrations.interrupts import interrupts
from sae_lens_metrics.ranks import Ranks

__all__ = ["follow"]


def follow(ranks: Ranks) -> None:
    """Takes part in all that the first process evaluates, until that says ``None``.

    The first process alone looks into the folder of results and writes there, speaks to the user, and notes what failed.

    Args:
        ranks: The processes, of which this is not the first one.

    Raises:
        ProcessLostError: If one of them has ended.
    """
    shared: SharedLoads | None = None
    while (told := ranks.heard()) is not None:
        if shared is None or isinstance(told, tuple):
            shared = SharedLoads(*told, ranks=ranks)
            continue
        try:
            run, _, kept = begin(told, shared, Path(), overwrite=True)
            if kept is None:
                report_with_controls(run, on_error=_go_on)
        except Exception as error:
            _go_on("", error)
        finally:
            free_memory()


def _go_on(metric: str, error: Exception) -> None:
    """Passes over what the first process has noted."""
    if isinstance(error, interrupts()):
        raise error
