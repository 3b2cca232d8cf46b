"""A command in several processes that torchrun has started: the first one runs it, the others take part in what it evaluates."""

import contextlib
import logging
import os
from collections.abc import Sequence

from sae_lens_metrics.cli.evaluate import run_evaluate
from sae_lens_metrics.cli.statuses import DONE, REFUSED
from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.evaluation.following import follow
from sae_lens_metrics.integrations.progress import silent
from sae_lens_metrics.ranks import Ranks

__all__ = ["run_together"]


def run_together(command: str, arguments: Sequence[str]) -> int:
    """Runs a command; only the first process says anything, but for its own end.

    Args:
        command: The command.
        arguments: Those after its name.

    Returns:
        The exit status.

    Raises:
        ConfigError: In the first process, if it is a command that one process does; in all, if there are fewer GPUs than processes.
        Exception: What the command raises.
    """
    ranks = Ranks.launched()
    if command != "evaluate":
        if not ranks.is_first:
            return REFUSED
        raise ConfigError(f"torchrun starts {ranks.size} processes, which evaluate together: start {command} without it")
    if not ranks.is_first:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), silent():
            logging.disable(logging.ERROR)  # the first process logs the same
            follow(ranks)
        return DONE
    try:
        status = run_evaluate(arguments, ranks)
    except (Exception, SystemExit):
        ranks.dismiss()
        raise
    ranks.dismiss()
    return status
