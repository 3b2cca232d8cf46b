"""Controls: SAEs that are bad on purpose, beside which a metric shows whether its numbers mean anything. Needs no torch to be read."""

from dataclasses import dataclass

__all__ = ["CONTROLS", "ControlSpec"]


@dataclass(frozen=True)
class ControlSpec:
    """What a control is."""

    title: str
    """What it is called."""
    meaning: str
    """What it is, in a sentence."""


CONTROLS: dict[str, ControlSpec] = {
    "permuted_decoder": ControlSpec(
        "permuted decoder",
        "The same SAE, in which each latent adds the direction of another one; it encodes as before.",
    ),
    "frozen_decoder": ControlSpec(
        "frozen decoder",
        "Random decoder directions that were never trained, with an encoder fitted to them on the evaluation text, at the SAE's L0.",
    ),
    "random": ControlSpec(
        "random",
        "Random directions, with thresholds at which each latent fires as often as the SAE's own of that number.",
    ),
}
"""All controls by name, in the order in which they are shown."""
