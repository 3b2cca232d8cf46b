"""What the metric "explanation" says about itself."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.metrics.explanation.memory import explanation_memory
from sae_lens_metrics.metrics.figure_specs import LadderFigure
from sae_lens_metrics.metrics.spec import Given, MetricSpec, Number, Scale

__all__ = ["SPEC", "ExplanationConfig"]


@dataclass
class ExplanationConfig:
    """Explanation reconstruction: the model run on latents simulated from their explanations (Gao et al. 2024, section 4.4)."""

    min_f1: float = 0.5
    """Latents whose explanation has at least this F1 count as explained, for the loss with those alone."""
    baseline_tokens: int | None = None
    """Tokens of further text, by default twice as many as the corpus has, that mean activations given one and two tokens are learned from,
    besides the half of the text that explanations are built from. None of it is of a document on which losses are measured. More make
    these baselines stronger, and the model runs up to the hook on each; 0 for none."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_f1 <= 1:
            raise ConfigError(f"explanation.min_f1 is {self.min_f1}, expected 0 to 1")
        if self.baseline_tokens is not None and self.baseline_tokens < 0:
            raise ConfigError(f"explanation.baseline_tokens is {self.baseline_tokens}, expected at least 0")


_OWN = {
    "reconstruction": ("the SAE's reconstruction", "… with the SAE's reconstruction in place"),
    "explanation": ("explanations", "… with the reconstruction from simulated latents"),
    "explained_latents": ("true latents that are explained well", "… with the reconstruction from the latents that are explained well"),
}
_BASELINES = {
    "clean": ("the model itself", "next-token loss of the model on this text, nats"),
    "bigram": ("mean given two tokens", "… with the mean activation given two tokens"),
    "unigram": ("mean given one token", "… given one token"),
    "mean": ("mean activation", "… with the mean activation"),
    "bias": ("decoder bias", "… with what no latent at all decodes to"),
    "zeroed": ("zeros", "… with zeros"),
}
_SHARES: tuple[Given, ...] = ("model", "hook", "context", "text_size")
_LOSSES: tuple[Given, ...] = (*_SHARES, "bos")
"""What has to be alike: explanations, and the baselines that know tokens, get better with more text."""
_SHOWN = ("clean", "reconstruction", "explanation", "bigram", "unigram", "bias", "zeroed")
_ORDER = ("clean", "reconstruction", "explanation", "explained_latents", "bigram", "unigram", "mean", "bias", "zeroed")


def _numbers() -> Iterator[tuple[str, Number]]:
    for name in _ORDER:
        called, meaning = {**_OWN, **_BASELINES}[name]
        is_baseline = name in _BASELINES
        yield (
            f"ce_{name}",
            Number(
                "next-token loss, nats" if name == "explanation" else f"next-token loss, nats: {called}",
                "nats",
                None if is_baseline else "lower",
                meaning,
                shown=name in _SHOWN,
                followed=name == "explanation",
                baseline_of="ce_explanation" if is_baseline else None,
                baseline=called if is_baseline or name == "reconstruction" else "",
                given=_LOSSES,
            ),
        )
    for other, words in (("bigram", "below 0: the explanations tell more than two tokens"), ("reconstruction", "… to the reconstruction")):
        yield (
            f"explanation_minus_{other}",
            Number(
                f"loss minus that of {({**_OWN, **_BASELINES})[other][0]}, nats",
                "nats",
                "lower",
                words,
                shown=other == "bigram",
                difference_of=("ce_explanation", f"ce_{other}"),
                same_given=("ce_explanation", "ce_bigram") if other == "bigram" else None,
            ),
        )
    for name in _ORDER[1:-1]:
        called, _ = {**_OWN, **_BASELINES}[name]
        own = name in _OWN
        yield (
            f"recovered_{name}",
            Number(
                "share of the loss recovered" if name == "explanation" else f"share of the loss recovered: {called}",
                "share",
                "higher" if own else None,
                "of the loss between zeros and clean, by the explanations" if name == "explanation" else "… by " + called,
                shown=name == "explanation",
                followed=name == "explanation",
                overview=name == "explanation",
                baseline_of=None if own else "recovered_explanation",
                same_given=(f"ce_{name}", "ce_clean") if own else None,
            ),
        )
    yield from _of_rules()
    yield "mse", Number("squared error over variance, of the simulated reconstruction", "", "lower", shown=False)
    yield "explained_variance", Number("explained variance of the simulated reconstruction", "share", "higher", same_as="mse", shown=False)
    yield "used", Number("latents whose explanation is used", "latents", "higher", shown=False)
    yield "unscaled", Number("latents whose explanation never fires on the fitting text", "latents", "lower", shown=False)
    backoff = "share of positions whose pair of tokens the fitting text lacks"
    yield "bigram_backoff", Number(backoff, "share", baseline_of="ce_explanation", shown=False)
    yield "baseline_tokens", Number("tokens that mean activations are over", "tokens", baseline_of="ce_explanation", shown=False)


def _of_rules() -> Iterator[tuple[str, Number]]:
    """Of latents that are simulated from rules about tokens."""
    called = "rules about tokens"
    yield (
        "ce_rules",
        Number(f"next-token loss, nats: {called}", "nats", "lower", f"… with {called} in place of n-grams", shown=False, given=_LOSSES),
    )
    yield "recovered_rules", Number(f"share of the loss recovered: {called}", "share", "higher", f"… by {called}", shown=False)
    for other, words in (
        ("bigram", "below 0: the rules tell more than two tokens"),
        ("explanation", "below 0: rules tell more than n-grams"),
    ):
        label = "the mean given two tokens" if other == "bigram" else "explanations"
        yield (
            f"rules_minus_{other}",
            Number(
                f"loss of {called} minus that of {label}, nats",
                "nats",
                "lower",
                words,
                shown=False,
                difference_of=("ce_rules", f"ce_{other}"),
            ),
        )


def _cost(settings: ExplanationConfig, scale: Scale, others: Mapping[str, Any]) -> float:
    """Eleven runs from the hook on, over half of the corpus, and one up to it over more text, where all latents are explained."""
    more = 2 * scale.tokens if settings.baseline_tokens is None else settings.baseline_tokens
    return 11 / 4 / 2 + more / scale.tokens / 4 if others["n2g"].latents is None else 0.0


SPEC = MetricSpec(
    name="explanation",
    title="Explanation reconstruction",
    summary="how much of the model do the explanations explain",
    meaning="What the model loses if the SAE's latents are replaced by what their explanations predict, in nats per token.",
    trust="Compare with the means given one and two tokens, on the same text: an explanation that tells no more than the last two "
    "tokens gains nothing. These baselines are the stronger the more text they are learned from (explanation.baseline_tokens).",
    paper="4.4",
    headline="ce_explanation",
    numbers=dict(_numbers()),
    settings=ExplanationConfig,
    presets={"train": {"baseline_tokens": 8_192}, "paper": {"baseline_tokens": 2_097_152}},
    left_out_of=("train",),
    needs=("n2g",),
    version=2,
    cost=_cost,
    memory=explanation_memory,
    given=_SHARES,
    cut_by="n2g.context",
    controls={"permuted_decoder": "beaten", "frozen_decoder": "beaten", "random": "beaten"},
    figures=(
        LadderFigure(
            "losses",
            "Loss with explanations in place of the residual stream",
            "The model's loss with its residual stream replaced by each of these, from the least harm to the most; left is better. "
            "Explanations left of the mean given two tokens tell more than those do.",
            "next-token loss, nats",
            {"ce_explanation": "explanations"},
            paper="Figure 8 of Gao et al. 2024.",
        ),
    ),
    compute="sae_lens_metrics.metrics.explanation.compute:explanation",
)
