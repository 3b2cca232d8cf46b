"""What the sanity line says about itself."""

from sae_lens_metrics.metrics.sanity.memory import sanity_memory
from sae_lens_metrics.metrics.spec import Given, MetricSpec, Number

__all__ = ["L0", "SPEC"]

_LOSS: tuple[Given, ...] = ("model", "hook", "context", "bos")
"""What a loss with something in place of the activation depends on. What it adds to the model's own is about the same in any context."""

SPEC = MetricSpec(
    name="sanity",
    title="Sanity",
    summary="is the SAE what it claims to be (always computed)",
    memory=sanity_memory,
    meaning="Is the SAE what it claims to be: how many latents fire, how well they reconstruct, and what that costs the model.",
    trust="Read it first: hubs hold SAEs that load with the wrong architecture or at the wrong hook.",
    headline="explained_variance",
    numbers={
        "l0": Number(
            "L0: active latents per token", "latents", meaning="active latents per token", shown=True, followed=True, overview=True
        ),
        "explained_variance": Number(
            "explained variance",
            "share",
            "higher",
            "of the activation, by the reconstruction",
            shown=True,
            followed=True,
            overview=True,
        ),
        "dead_latents": Number(
            "fraction of dead latents",
            "share",
            "lower",
            "fraction that never fires on the whole text",
            shown=True,
            followed=True,
            given=("text_size",),
        ),
        "ce_clean": Number(
            "loss of the model, nats",
            "nats",
            None,
            "next-token loss of the model, nats",
            shown=True,
            baseline_of="ce_reconstructed",
            given=("model", "context", "bos"),
        ),
        "ce_reconstructed": Number(
            "loss with the reconstruction in place, nats", "nats", "lower", "… with the reconstruction in place", shown=True, given=_LOSS
        ),
        "ce_zeroed": Number(
            "loss with zeros in place, nats",
            "nats",
            None,
            "… with zeros in place",
            shown=True,
            baseline_of="ce_reconstructed",
            given=_LOSS,
        ),
        "kl_divergence": Number(
            "KL divergence of the outputs, nats",
            "nats",
            "lower",
            "of the model's outputs with the reconstruction in place from those without, nats",
            shown=True,
            followed=True,
            given=("model", "hook"),
        ),
        "loss_recovered": Number(
            "share of the loss recovered",
            "share",
            "higher",
            "of the loss between zeros and clean, by the reconstruction",
            shown=True,
            followed=True,
            overview=True,
            same_given=("ce_reconstructed", "ce_clean"),
            given=("model", "hook"),
        ),
    },
    given=(),
    controls={"permuted_decoder": "beaten", "frozen_decoder": "beaten", "random": "beaten"},
    compute="sae_lens_metrics.metrics.sanity.compute:sanity",
)

L0 = SPEC.full("l0")
"""The number that SAEs are placed by where they are many."""
