"""Options of the demo."""

from dataclasses import dataclass

__all__ = ["DemoOptions"]


@dataclass
class DemoOptions:
    """What the demo does."""

    output: str = "sae-lens-metrics-demo"
    """Folder for the SAEs and their results."""
    quick: bool = False
    """A short form, to see that everything works: the SAEs are trained on a twentieth of the text, so the numbers mean little."""
    tasks: str = "generated"
    """Probe tasks and families to evaluate on, separated by commas; "offline" for the 49 of the paper's that need no network."""
    wandb_project: str = "sae-lens-metrics-demo"
    """W&B project."""
    wandb_online: bool = False
    """Send the runs to W&B; by default they stay on disk, in the output folder."""
