"""What each number means, which way is better, what to compare it with and how far to trust it: said once, for every view."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["GUIDE", "MetricGuide", "Number", "guide_to"]

Better = Literal["lower", "higher", "one"]


@dataclass(frozen=True)
class Number:
    """One number of a metric."""

    meaning: str
    """What it is, in a few words; "…" stands for the number above it."""
    better: Better | None = None
    """Whether less or more of it is better, or to be near one; ``None`` where that cannot be said."""
    is_share: bool = False
    """Whether it is a part of a whole, between 0 and 1."""


@dataclass(frozen=True)
class MetricGuide:
    """How to read one metric."""

    title: str
    """What it is called."""
    meaning: str
    """What it measures, in a sentence."""
    trust: str
    """How far to trust it, in a sentence."""
    headline: str
    """Name of its main number."""
    numbers: Mapping[str, Number] = field(default_factory=dict)
    """What a reader wants to see, by name and in order; everything else is in the result file."""
    baselines: Mapping[str, str] = field(default_factory=dict)
    """Numbers to judge the main number by, with what to call them."""
    paper: str = ""
    """Section of the paper (Gao et al. 2024), if it is from there."""


GUIDE: dict[str, MetricGuide] = {
    "sanity": MetricGuide(
        title="Sanity",
        meaning="Is the SAE what it claims to be: how many latents fire, how well they reconstruct, and what that costs the model.",
        trust="Read it first: hubs hold SAEs that load with the wrong architecture or at the wrong hook.",
        headline="explained_variance",
        numbers={
            "l0": Number("active latents per token"),
            "explained_variance": Number("of the activation, by the reconstruction", "higher", is_share=True),
            "dead_latents": Number("fraction that never fires on this text", "lower", is_share=True),
            "ce_clean": Number("next-token loss of the model, nats"),
            "ce_reconstructed": Number("… with the reconstruction in place", "lower"),
            "ce_zeroed": Number("… with zeros in place"),
            "loss_recovered": Number("of the loss between zeros and clean, by the reconstruction", "higher", is_share=True),
        },
    ),
    "probe": MetricGuide(
        title="Probe loss",
        meaning="How well one latent tells a known feature: the loss of the best 1d logistic probe, mean over tasks; 0.693 is chance.",
        trust="Quite noisy by its authors' own words, and a minimum over thousands of latents is low by luck alone: judge an SAE by the "
        "paired differences to channels and random directions, and by the held-out loss.",
        headline="loss",
        numbers={
            "loss": Number("best 1d probe on one latent, nats, mean over tasks", "lower"),
            "held_out_loss": Number("… of the same latents on held-out text", "lower"),
            "held_out_accuracy": Number("… their accuracy there", "higher", is_share=True),
            "channels_loss": Number("baseline: the activation's channels"),
            "random_loss": Number("baseline: random directions"),
            "loss_minus_channels": Number("paired difference over tasks; below 0: latents are better", "lower"),
            "loss_minus_random": Number("… to random directions", "lower"),
            "shuffled_loss": Number("baseline: shuffled labels, what luck gives"),
        },
        baselines={"channels_loss": "channels", "random_loss": "random directions", "shuffled_loss": "shuffled labels"},
        paper="4.2",
    ),
    "n2g": MetricGuide(
        title="N2G explanations",
        meaning="Can n-grams with wildcards say where a latent fires: precision and recall of such explanations, mean over latents.",
        trust="A low score does not say that a latent means nothing, only that it is no n-gram; dense latents are easy, and only whether "
        "a latent fires counts, not how strongly.",
        headline="f1",
        numbers={
            "precision": Number("of an n-gram explanation: share of its predictions where the latent fires", "higher", is_share=True),
            "recall": Number("… share of the latent's activations that it predicts", "higher", is_share=True),
            "f1": Number("… harmonic mean, latent by latent", "higher", is_share=True),
            "f1_by_density": Number("… latents weighted by how often they fire", "higher", is_share=True),
            "explained": Number("latents explained, of those asked about"),
            "dead": Number("… that never fire on this text", "lower"),
            "rare": Number("… that fire too rarely to explain"),
            "never_fired": Number("… of the explained, whose explanation never fires", "lower"),
            "dense": Number("… that fire on more than 10 % of tokens"),
        },
        paper="4.3",
    ),
    "explanation": MetricGuide(
        title="Explanation reconstruction",
        meaning="What the model loses if the SAE's latents are replaced by what their explanations predict, in nats per token.",
        trust="Compare with the means given one and two tokens, on the same text: an explanation that tells no more than the last two "
        "tokens gains nothing. On little text these baselines are strong.",
        headline="ce_explanation",
        numbers={
            "ce_clean": Number("next-token loss of the model on this text, nats"),
            "ce_reconstruction": Number("… with the SAE's reconstruction in place", "lower"),
            "ce_explanation": Number("… with the reconstruction from simulated latents", "lower"),
            "ce_bigram": Number("… with the mean activation given two tokens"),
            "ce_unigram": Number("… given one token"),
            "ce_bias": Number("… with what no latent at all decodes to"),
            "ce_zeroed": Number("… with zeros"),
            "explanation_minus_bigram": Number("below 0: the explanations tell more than two tokens", "lower"),
            "recovered_explanation": Number("of the loss between zeros and clean, by the explanations", "higher", is_share=True),
        },
        baselines={
            "ce_clean": "the model itself",
            "ce_reconstruction": "the SAE's reconstruction",
            "ce_bigram": "mean given two tokens",
            "ce_unigram": "mean given one token",
            "ce_mean": "mean activation",
            "ce_bias": "decoder bias",
            "ce_zeroed": "zeros",
        },
        paper="4.4",
    ),
    "ablation": MetricGuide(
        title="Sparsity of ablation effects",
        meaning="How many logits change when one latent is taken away, over 16 tokens: 0 is one logit, 1 is all of them alike.",
        trust="Depends on the layer more than on the SAE, since near the end of a model an effect cannot reach other tokens: compare with "
        "random directions, and only with SAEs at the same hook.",
        headline="sparsity",
        numbers={
            "sparsity": Number("of what subtracting a latent does to the logits of 16 tokens; lower is sparser", "lower"),
            "sparsity_weighted": Number("… latents weighted by the size of their effect", "lower"),
            "random_sparsity": Number("baseline: random directions, as long as what latents add"),
            "channels_sparsity": Number("baseline: zeroing a channel at the position"),
            "channels_lasting_sparsity": Number("baseline: zeroing a channel at all of the tokens"),
            "sparsity_minus_random": Number("paired difference; below 0: latents are sparser", "lower"),
            "sparsity_minus_channels": Number("… to channels at the position", "lower"),
            "tokens_affected": Number("share of the tokens that an effect touches", is_share=True),
        },
        baselines={
            "random_sparsity": "random directions",
            "channels_sparsity": "channels at the position",
            "channels_lasting_sparsity": "channels at all tokens",
            "gaussian": "2/π: independent effects",
        },
        paper="4.5",
    ),
    "shrinkage": MetricGuide(
        title="Activation shrinkage",
        meaning="Are latents too small: how much larger the values are that reconstruct best with the same latents active.",
        trust="Solved to the optimum, with small errors; it does not say whether the right latents are active.",
        headline="ratio",
        numbers={
            "ratio": Number("refined over raw latents; above 1: the SAE shrinks them", "one"),
            "mse_raw": Number("normalised squared error", "lower"),
            "mse_refined": Number("… after refinement", "lower"),
            "ce_added_raw": Number("loss added by the reconstruction, nats", "lower"),
            "ce_added_refined": Number("… after refinement", "lower"),
            "gamma": Number("below 1: the reconstruction is too short", "one"),
        },
        paper="5.1",
    ),
}
"""By metric."""


def guide_to(metric: str, there: Mapping[str, object]) -> MetricGuide:
    """The guide to a metric; of another package's metric, which has none, it shows every number.

    Args:
        metric: Its name.
        there: Its estimates.
    """
    if metric in GUIDE:
        return GUIDE[metric]
    return MetricGuide(metric, "", "", next(iter(there), ""), {name: Number("") for name in there})
