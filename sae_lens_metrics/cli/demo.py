"""The command ``sae-lens-metrics demo``: everything on a tiny model, without a network."""

from collections.abc import Sequence
from pathlib import Path

from sae_lens_metrics.cli.options import settings_parser
from sae_lens_metrics.cli.outputs import writable
from sae_lens_metrics.demo.options import DemoOptions, evaluation_config

__all__ = ["run_demo"]

_DESCRIPTION = (
    "Evaluates two SAEs of a tiny language model, one with an L1 penalty and one TopK, compares them, and trains a small one with metrics "
    "on. All of it comes with the package: it needs no network, and takes about a minute on two cores."
)


def run_demo(arguments: Sequence[str]) -> None:
    """Runs the command.

    Args:
        arguments: Those after the command's name.

    Raises:
        MetricsError: There is no such probe task.
        OSError: The output cannot be written.
    """
    parser = settings_parser("demo", _DESCRIPTION, usage="[flags]")
    parser.add_arguments(DemoOptions, dest="options")
    options = parser.read(arguments).options
    writable(Path(options.output))
    evaluation_config(options).require_known()

    from sae_lens_metrics.demo import run  # after the options: --help and mistakes must not wait for torch

    run.run_demo(options)
