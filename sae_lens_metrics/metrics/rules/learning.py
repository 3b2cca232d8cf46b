"""Learns rules of all of an SAE's latents from a text, some latents at a time."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_lens_metrics.functional.jackknife import random_groups
from sae_lens_metrics.functional.rule_learning import Firings, RuleLearner
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

__all__ = ["LearnedRules", "Relearned", "learn"]

_AGAIN, _GROUPS = 64, 8
"""Latents whose rules are learned again without each group of documents, and how many groups these are."""


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
    again: "Relearned | None" = None
    """Some latents' rules from less text, for standard errors; ``None`` where the text is of one document."""


@dataclass(frozen=True)
class Relearned:
    """The rules of some latents as they are learned without each group of documents."""

    latents: Int[Tensor, "some"]
    """The latents, ascending, drawn at random."""
    groups: int
    """How many groups of documents there are."""
    rules: Rules
    """The rules, without one group after the other: their latents are the group's number times those above, plus the place among these."""
    tokens: Rules
    """Likewise, of tokens alone."""


class _Part(NamedTuple):
    """What was learned of some latents."""

    rules: Rules
    tokens: Rules
    fired: Int[Tensor, "latents"]
    entropy: Float[Tensor, "latents"]
    drawn: Firings
    """Where those latents fire whose rules are learned again."""


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
    drawn = torch.randperm(subject.d_sae, generator=torch.Generator().manual_seed(config.seed))[:_AGAIN].sort().values
    learned = ranks.each(lambda: list(_learned(subject, text, config, learner, seen, latents, drawn)))
    parts = [part for own in learned for part in own]
    rules, tokens = (Rules.joined([getattr(part, name) for part in parts]) for name in ("rules", "tokens"))
    fired, entropy = (torch.cat([getattr(part, name) for part in parts]) for name in ("fired", "entropy"))
    fires = Firings(*(torch.cat(column).to(subject.device) for column in zip(*(part.drawn for part in parts), strict=True)))
    group = random_groups(text.units, _GROUPS, seed=config.seed)
    of_place = group[_sequences(text, subject)].to(subject.device)
    again = _relearned(seen, of_place, fires, drawn, config.rules.penalty, ranks)
    return LearnedRules(rules, tokens, fired, entropy, learner.bits(rules, subject.d_sae), len(seen), again)


def _sequences(text: Corpus, subject: Subject) -> Int[Tensor, "places"]:
    """The sequence of each position that counts."""
    return subject.site.valid(text.tokens).nonzero()[:, 0].cpu()


def _learned(
    subject: Subject,
    text: Corpus,
    config: MetricsConfig,
    learner: RuleLearner,
    seen: RuleText,
    latents: range,
    drawn: Int[Tensor, "some"],
) -> Iterator[_Part]:
    """What is learned of some latents, on the CPU, part by part."""
    memory = config.memory_gb * 2**30
    most = at_once(memory, config.rules.within)
    for part in firings(subject, text, config.batch_size, memory=kept(memory), at_once=most, latents=latents):
        learned = learner.learn(part.latents, part.firings)
        rules, tokens = (replace(each, latent=each.latent + part.first).to("cpu") for each in learned)
        latent, place, value = part.firings
        fired = torch.bincount(latent, minlength=part.latents).cpu()
        again = torch.isin(latent + part.first, drawn.to(latent.device))
        of_drawn = Firings((latent[again] + part.first).cpu(), place[again].cpu(), value[again].cpu())
        yield _Part(rules, tokens, fired, entropies(seen.token[place], latent, part.latents).cpu(), of_drawn)


def _relearned(
    seen: RuleText, group: Int[Tensor, "places"], fires: Firings, latents: Int[Tensor, "some"], penalty: float, ranks: Ranks
) -> Relearned | None:
    """The rules of some latents without each group of documents, between all processes."""
    groups = int(group.max()) + 1
    if groups < 2:
        return None
    at = torch.searchsorted(latents.to(fires.latent.device), fires.latent)

    def without(number: int) -> tuple[Rules, Rules]:
        kept = group != number
        place, there = kept.cumsum(0) - 1, kept[fires.place]
        own = Firings(at[there], place[fires.place[there]], fires.value[there])
        learned = RuleLearner(seen.some(kept), penalty=penalty).learn(len(latents), own)
        rules, tokens = (replace(each, latent=each.latent + number * len(latents)).to("cpu") for each in learned)
        return rules, tokens

    found = [each for own in ranks.each(lambda: [without(number) for number in ranks.mine(range(groups))]) for each in own]
    rules, tokens = (Rules.joined(list(each)) for each in zip(*found, strict=True))
    return Relearned(latents, groups, rules, tokens)
