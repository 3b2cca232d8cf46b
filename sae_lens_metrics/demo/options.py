"""Options of the demo."""

from dataclasses import dataclass

from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.metrics.n2g.spec import N2GConfig
from sae_lens_metrics.metrics.probe.spec import ProbeConfig
from sae_lens_metrics.metrics.shrinkage.spec import ShrinkageConfig

__all__ = ["DemoOptions", "evaluation_config"]


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


def evaluation_config(options: DemoOptions) -> MetricsConfig:
    """How the demo's SAEs are evaluated."""
    probe = ProbeConfig(tasks=[options.tasks], examples=200 if options.quick else 400)
    if options.quick:
        return MetricsConfig(tokens=8_192, probe=probe, n2g=N2GConfig(latents=32), shrinkage=ShrinkageConfig(tokens=8_192))
    return MetricsConfig(probe=probe, n2g=N2GConfig(max_length=16))
