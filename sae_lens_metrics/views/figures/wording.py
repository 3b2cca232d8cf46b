"""What numbers are called where their names would be too short to understand."""

from sae_lens_metrics.metrics.guide import Better, guide_to

__all__ = ["better", "spoken"]

_SPOKEN = {
    "sanity/l0": "L0: active latents per token",
    "sanity/dead_latents": "fraction of dead latents",
    "sanity/loss_recovered": "share of the loss recovered",
    "probe/loss": "loss of the best 1d probe, nats",
    "probe/held_out_loss": "held-out loss, nats",
    "probe/loss_minus_random": "loss minus that of random directions, nats",
    "n2g/f1": "F1, mean over latents",
    "n2g/precision": "precision, mean over latents",
    "n2g/recall": "recall, mean over latents",
    "explanation/ce_explanation": "next-token loss, nats",
    "explanation/recovered_explanation": "share of the loss recovered",
    "ablation/sparsity": "(L1 / L2)² over the number of logits",
    "ablation/sparsity_minus_random": "sparsity minus that of random directions",
    "shrinkage/ratio": "refined over raw latents",
    "shrinkage/mse_raw": "squared error over variance",
    "shrinkage/ce_added_raw": "loss added, nats",
}
_BETTER: dict[Better | None, str] = {"lower": "Lower is better.", "higher": "Higher is better.", "one": "Best near 1.", None: ""}


def spoken(full_name: str) -> str:
    """A number in words, with its unit.

    Args:
        full_name: Such as ``"probe/loss"``.
    """
    return _SPOKEN.get(full_name, full_name.partition("/")[2].replace("_", " "))


def better(full_name: str) -> str:
    """Which way a number is better, as a sentence; empty where that cannot be said."""
    metric, _, name = full_name.partition("/")
    number = guide_to(metric, {}).numbers.get(name)
    return _BETTER[number.better if number else None]
