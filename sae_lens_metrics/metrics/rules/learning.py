"""Learns rules of all of an SAE's latents from a text, some latents at a time."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_lens_metrics.functional.rule_learning import RuleLearner
from sae_lens_metrics.functional.rule_selection import entropies
from sae_lens_metrics.functional.rule_text import RuleText
from sae_lens_metrics.functional.rules import Rules
from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.metrics.rules.firings import firings
from sae_lens_metrics.metrics.rules.memory import at_once, kept
from sae_lens_metrics.metrics.rules.text import text_of_corpus
from sae_lens_metrics.ranks import ALONE, Ranks
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.corpus import Corpus

__all__ = ["LearnedRules", "learn"]


@dataclass(frozen=True)
class LearnedRules:
    """The rules of all latents, on the CPU."""

    rules: Rules
    tokens: Rules
    """The best that tokens alone can do."""
    fired: Int[Tensor, "d_sae"]
    """How often latents fire in the text that the rules were learned from."""
    entropy: Float[Tensor, "d_sae"]
    """Entropy of the tokens on which a latent fires there, in bits; 0 where it never does."""
    bits: Float[Tensor, "d_sae"]
    """Bits that it takes to write a latent's rules down."""
    places: int
    """Positions of that text that count."""


class _Part(NamedTuple):
    """What was learned of some latents."""

    rules: Rules
    tokens: Rules
    fired: Int[Tensor, "latents"]
    entropy: Float[Tensor, "latents"]


def learn(subject: Subject, text: Corpus, config: MetricsConfig, ranks: Ranks = ALONE) -> LearnedRules:
    """Learns the rules of all latents.

    Args:
        subject: The model and SAE.
        text: The text to learn from.
        config: ``batch_size``, ``memory_gb`` and ``rules`` are used.
        ranks: The processes that learn together, each the rules of some latents.
    """
    seen = text_of_corpus(text, subject, config.rules.within)
    learner = RuleLearner(seen, penalty=config.rules.penalty)
    latents = ranks.mine(range(subject.d_sae))
    assert isinstance(latents, range)
    learned = ranks.each(lambda: list(_learned(subject, text, config, learner, seen, latents)))
    parts = [part for own in learned for part in own]
    rules, tokens = (Rules.joined([getattr(part, name) for part in parts]) for name in ("rules", "tokens"))
    fired, entropy = (torch.cat([getattr(part, name) for part in parts]) for name in ("fired", "entropy"))
    return LearnedRules(rules, tokens, fired, entropy, learner.bits(rules, subject.d_sae), len(seen))


def _learned(
    subject: Subject, text: Corpus, config: MetricsConfig, learner: RuleLearner, seen: RuleText, latents: range
) -> Iterator[_Part]:
    """What is learned of some latents, on the CPU, part by part."""
    memory = config.memory_gb * 2**30
    most = at_once(memory, config.rules.within)
    for part in firings(subject, text, config.batch_size, memory=kept(memory), at_once=most, latents=latents):
        learned = learner.learn(part.latents, part.firings)
        rules, tokens = (replace(each, latent=each.latent + part.first).to("cpu") for each in learned)
        token, latent = seen.token[part.firings.place], part.firings.latent
        fired = torch.bincount(latent, minlength=part.latents).cpu()
        yield _Part(rules, tokens, fired, entropies(token, latent, part.latents).cpu())
