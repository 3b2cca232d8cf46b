"""Options of the demo, and the sizes that follow from them."""

from dataclasses import dataclass

from sae_lens_metrics.metrics.ablation.spec import AblationConfig
from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.metrics.n2g.spec import N2GConfig
from sae_lens_metrics.metrics.probe.spec import ProbeConfig
from sae_lens_metrics.metrics.shrinkage.spec import ShrinkageConfig

__all__ = ["DemoOptions", "evaluation_config", "training_config"]


@dataclass
class DemoOptions:
    """What the demo does."""

    output: str = "sae-lens-metrics-demo"
    """Folder for results, the page, and what is trained."""
    train: bool = False
    """Train the two SAEs here too, on 640,000 tokens each, instead of taking those that come with the package (some three minutes more)."""
    quick: bool = False
    """A short form, to see that everything works: so little text that the numbers mean little."""
    tasks: str = "generated"
    """Probe tasks and families to evaluate on, separated by commas; "offline" for the 49 of the paper's that need no network."""
    wandb_project: str = "sae-lens-metrics-demo"
    """W&B project."""
    wandb_online: bool = False
    """Send the runs to W&B; by default they stay on disk, in the output folder."""


def evaluation_config(options: DemoOptions) -> MetricsConfig:
    """How the demo's SAEs are evaluated: on a fifth of the default preset's text, so that both take half a minute on two cores.

    Args:
        options: The demo's options.
    """
    tokens, examples, sequences = (2_048, 40, 16) if options.quick else (12_288, 100, 96)
    return MetricsConfig(
        tokens=tokens,
        probe=ProbeConfig(tasks=[options.tasks], examples=examples),
        n2g=N2GConfig(max_length=8, latents=16 if options.quick else None),
        ablation=AblationConfig(sequences=sequences),
        shrinkage=ShrinkageConfig(tokens=tokens),
    )


def training_config(options: DemoOptions) -> MetricsConfig:
    """What is evaluated while an SAE is trained.

    Args:
        options: The demo's options.
    """
    if options.train and not options.quick:
        return MetricsConfig.preset("train")
    return MetricsConfig(
        names=["probe", "n2g", "shrinkage"],
        tokens=512 if options.quick else 2_048,
        max_overhead=1.0,  # or a run of some seconds would be too short for any evaluation but the last
        probe=ProbeConfig(tasks=["base64", "code_against_prose"], examples=40 if options.quick else 100),
        n2g=N2GConfig(max_length=4 if options.quick else 8, latents=16 if options.quick else 32),
        shrinkage=ShrinkageConfig(tokens=2_048),
    )
