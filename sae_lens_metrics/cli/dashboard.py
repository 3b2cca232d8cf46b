"""The command ``sae-lens-metrics dashboard``: a saved workspace in a W&B project."""

import json
from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence

from sae_lens_metrics.cli.mistakes import CommandParser
from sae_lens_metrics.integrations.terminal import say

__all__ = ["run_dashboard"]

_DESCRIPTION = """Saves a workspace for these metrics in a W&B project, for its training and evaluation runs alike.

  sae-lens-metrics dashboard --entity TEAM --project sae_lens_training
  sae-lens-metrics dashboard --entity TEAM --project sae_lens_training --dry-run      prints what would be saved

It shows the main numbers against L0 with a point for each SAE, curves over training with a section for each metric, the explained latents
and where they fire, and the runs side by side. It needs the package wandb-workspaces: pip install "sae-lens-metrics[dashboard]"."""


def run_dashboard(arguments: Sequence[str]) -> None:
    """Runs the command.

    Args:
        arguments: Those after the command's name.

    Raises:
        MetricsError: A package is missing, or W&B does not save the workspace.
    """
    options = _parser().read(arguments)

    from sae_lens_metrics.views.wandb.workspace import dashboard, save_dashboard, specification

    workspace = dashboard(options.entity, options.project, options.name)
    said = json.dumps(specification(workspace), indent=1) if options.dry_run else f"saved: {save_dashboard(workspace)}"
    say(said)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="sae-lens-metrics dashboard",
        description=_DESCRIPTION,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--entity", required=True, help="user or team that the project belongs to")
    parser.add_argument("--project", required=True, help="W&B project with the runs")
    parser.add_argument("--name", default="SAE metrics", help="what to call the workspace (default: %(default)s)")
    parser.add_argument("--dry-run", "--dry_run", action="store_true", help="print its JSON; needs no network and no login")
    return parser
