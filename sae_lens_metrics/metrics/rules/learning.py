"""Learns rules of all of an SAE's latents from a text, some latents at a time."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_lens_metrics.functional.rule_learning import RuleLearner
from sae_lens_metrics.functional.rule_selection import entropies
from sae_lens_metrics.functional.rules import Rules
from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.metrics.rules.firings import firings
from sae_lens_metrics.metrics.rules.memory import at_once, kept
from sae_lens_metrics.metrics.rules.text import text_of_corpus
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


def learn(subject: Subject, text: Corpus, config: MetricsConfig) -> LearnedRules:
    """Learns the rules of all latents.

    Args:
        subject: The model and SAE.
        text: The text to learn from.
        config: ``batch_size``, ``memory_gb`` and ``rules`` are used.
    """
    seen = text_of_corpus(text, subject, config.rules.within)
    learner = RuleLearner(seen, penalty=config.rules.penalty)
    memory = config.memory_gb * 2**30
    rules, tokens, fired, entropy = [], [], [], []
    for part in firings(subject, text, config.batch_size, memory=kept(memory), at_once=at_once(memory, config.rules.within)):
        learned = learner.learn(part.latents, part.firings)
        for found, into in ((learned.rules, rules), (learned.tokens, tokens)):
            into.append(replace(found, latent=found.latent + part.first).to("cpu"))
        fired.append(torch.bincount(part.firings.latent, minlength=part.latents).cpu())
        entropy.append(entropies(seen.token[part.firings.place], part.firings.latent, part.latents).cpu())
    own = Rules.joined(rules)
    return LearnedRules(own, Rules.joined(tokens), torch.cat(fired), torch.cat(entropy), learner.bits(own, subject.d_sae), len(seen))
