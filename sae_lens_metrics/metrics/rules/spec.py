"""What the metric "rules" says about itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.metrics.figure_specs import DistributionFigure, NumbersFigure
from sae_lens_metrics.metrics.rules.memory import rules_memory
from sae_lens_metrics.metrics.spec import LatentColumn, MetricSpec, Number, Scale

__all__ = ["SPEC", "RulesConfig"]


@dataclass
class RulesConfig:
    """Explanations by rules about tokens, learned from where latents fire, without any further run of the model."""

    within: int = 16
    """How many tokens in front of one a rule may ask about."""
    penalty: float = 1.0
    """How much more a rule must tell than it takes to write it down: 0 learns anecdotes, above 1 is more careful."""

    def __post_init__(self) -> None:
        if not 1 <= self.within <= 256:
            raise ConfigError(f"rules.within is {self.within}, expected 1 to 256")
        if not self.penalty >= 0:
            raise ConfigError(f"rules.penalty is {self.penalty}, expected at least 0")


def _cost(settings: RulesConfig, scale: Scale, others: Mapping[str, Any]) -> float:
    """The model up to the hook on both halves of the text; counting takes about as long."""
    return 2 / 4


_RARE = "of more latents more fire too rarely to learn from"
_LENGTHS = (1, 4, 16, 64)


def _at(length: int) -> Number:
    rules = "the first rule" if length == 1 else f"the first {length} rules"
    return Number(
        f"F1 of {rules}, mean over latents",
        "share",
        "higher",
        f"… of {rules}",
        shown=length in (1, 16),
        depends_on_size=_RARE,
        instead="f1_frequent",
    )


SPEC = MetricSpec(
    name="rules",
    title="Explanations by rules",
    summary="can short lists of rules about tokens say where latents fire",
    meaning="Can a short list of rules about the token, the tokens before it and the start of the text say where a latent fires: F1 on "
    "other text, mean over latents.",
    trust="A low score does not say that a latent means nothing, only that it is not about tokens close by; a list may be long. All "
    "latents are learned from one text: a rare one has few rules, as few firings cannot tell a rule from an accident.",
    headline="f1",
    numbers={
        "f1": Number(
            "F1, mean over latents",
            "share",
            "higher",
            "of a latent's list of rules, on all positions of other text",
            shown=True,
            followed=True,
            overview=True,
            depends_on_size=_RARE,
            instead="f1_frequent",
        ),
        "f1_frequent": Number(
            "F1, mean over latents that fire 32 times in the text that is learned from",
            "share",
            "higher",
            "… of latents that fire often enough to learn from",
            shown=True,
            over="those that fire 32 times",
        ),
        "precision": Number(
            "precision, mean over latents",
            "share",
            "higher",
            "… share of its predictions where the latent fires",
            shown=True,
            over="those whose rules fire",
            depends_on_size=_RARE,
            instead="f1_frequent",
        ),
        "recall": Number(
            "recall, mean over latents",
            "share",
            "higher",
            "… share of the places where the latent fires that it predicts",
            shown=True,
            depends_on_size=_RARE,
            instead="f1_frequent",
        ),
        **{f"f1_{length}": _at(length) for length in _LENGTHS},
        "f1_token_set": Number(
            "F1 of a set of tokens, mean over latents",
            "share",
            "higher",
            "… of the best set of tokens, learned likewise",
            shown=True,
            baseline_of="f1",
            baseline="tokens alone",
            of_the_sae=True,
        ),
        "f1_minus_token_set": Number(
            "F1 minus that of a set of tokens",
            "share",
            None,
            "above 0: context matters",
            shown=True,
            difference_of=("f1", "f1_token_set"),
        ),
        "f1_n2g": Number(
            "F1 of N2G's explanations on the same positions, mean over latents that they explain",
            "share",
            "higher",
            shown=False,
            baseline_of="f1",
            of_the_sae=True,
        ),
        "f1_minus_n2g": Number(
            "F1 minus that of N2G's explanations, on the same positions and latents",
            "share",
            None,
            "above 0: rules say better than n-grams where latents fire",
            shown=True,
        ),
        "one_token": Number(
            "share of latents that one token explains", "share", None, "of latents: one token has an F1 of at least 0.5", shown=True
        ),
        "length": Number("rules of a latent, mean", "rules", "lower", "rules of a latent, mean", shown=True),
        "length_token_set": Number("tokens of a latent's set, mean", "tokens", None, shown=False),
        "bits": Number("bits of a latent's rules, mean", "bits", "lower", "bits to write a latent's rules down, mean", shown=True),
        "explained": Number("latents that fire in both halves of the text", "latents", shown=True),
        "without_rules": Number("latents of which no rule is worth its words", "latents", "lower", "… without any rule", shown=True),
        "rare": Number("latents that fire too rarely to learn from", "latents", None, "… that fire too rarely", shown=False),
    },
    settings=RulesConfig,
    left_out_of=("train",),
    needs=("n2g",),
    cost=_cost,
    memory=rules_memory,
    given=("model", "context", "text_size"),
    cut_by="n2g.context",
    # latents are read, nothing is decoded
    controls={"permuted_decoder": "unmoved", "frozen_decoder": "beaten", "random": "beaten"},
    figures=(
        NumbersFigure(
            "lengths",
            "F1 of explanations by rules",
            "Mean over latents, of so many of each latent's rules; of the best set of tokens; and of all rules. Higher is better.",
            "F1, mean over latents",
            {**{f"f1_{length}": str(length) for length in _LENGTHS}, "f1": "all", "f1_token_set": "tokens alone"},
        ),
        DistributionFigure(
            "latents",
            "F1 of rules, latent by latent",
            "How well rules say where each latent fires: 0 is not at all, 1 is always and nowhere else.",
            "F1 of a latent's rules",
            "share of latents",
            table="latents",
            column="f1",
            edges=tuple(i / 20 for i in range(21)),
        ),
        DistributionFigure(
            "entropy",
            "On how many tokens latents fire",
            "Entropy of the tokens on which each latent fires: 0 is one token, 3 is as many as eight that come alike.",
            "entropy of the tokens, bits",
            "share of latents",
            table="latents",
            column="entropy",
        ),
    ),
    latents=(
        LatentColumn("f1", "F1 of rules", "harmonic mean of precision and recall of its rules on other text", leading=True),
        LatentColumn("f1_token_set", "F1 of tokens", "that of the best set of tokens"),
        LatentColumn("length", "Rules", "how many rules it has"),
        LatentColumn("entropy", "Token entropy", "entropy of the tokens on which it fires, in bits"),
    ),
    rules="rules",
    compute="sae_lens_metrics.metrics.rules.compute:rules",
)
