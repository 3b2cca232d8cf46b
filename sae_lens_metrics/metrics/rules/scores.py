"""How well rules say where latents fire on other text, latent by latent and by groups of documents."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_lens_metrics.functional.jackknife import GROUPS, random_groups
from sae_lens_metrics.functional.nonzeros import nonzeros
from sae_lens_metrics.functional.rule_matching import RuleMatcher
from sae_lens_metrics.functional.rule_text import REACHES
from sae_lens_metrics.functional.rules import Matches, Rules
from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.metrics.rules.learning import LearnedRules, Relearned
from sae_lens_metrics.metrics.rules.text import text_of_batch
from sae_lens_metrics.ranks import ALONE, Ranks
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.corpus import Corpus

__all__ = ["LENGTHS", "Counts", "RuleScores", "score", "vocabulary_of"]

LENGTHS = (1, 4, 16, 64)
"""How many of a latent's rules F1 is told of, besides that of all."""


@dataclass(frozen=True)
class Counts:
    """What some latents' rules predict on a text, by how many of the rules are used and by group of documents."""

    predicted: Int[Tensor, "d_sae groups lengths"]
    """Places where one of the first rules says that the latent fires: of the first 1, 4, 16, 64 (of tokens 1), and of all."""
    hits: Int[Tensor, "d_sae groups lengths"]
    """Those of them where it does."""

    def some(self, latents: slice) -> "Counts":
        """Of some latents."""
        return Counts(self.predicted[latents], self.hits[latents])

    def without(self, group: int | None) -> tuple[Int[Tensor, "d_sae lengths"], Int[Tensor, "d_sae lengths"]]:
        """Both over all groups of documents but one; over all for ``None``."""
        both = (self.predicted, self.hits)
        predicted, hits = (each.sum(1) if group is None else each.sum(1) - each[:, group] for each in both)
        return predicted, hits


@dataclass(frozen=True)
class RuleScores:
    """What is known of all latents on the text that explanations are scored on."""

    fired: Int[Tensor, "d_sae groups"]
    """How often they fire."""
    rules: Counts
    tokens: Counts
    """Of the rules that name tokens alone."""
    places: int
    """Positions of the text that count."""
    again: "Sequence[RuleScores]" = ()
    """The same of some latents, whose rules were learned without each group of documents; all documents to score on are one group."""

    def fired_without(self, group: int | None) -> Int[Tensor, "d_sae"]:
        """How often latents fire in all groups of documents but one."""
        return self.fired.sum(1) if group is None else self.fired.sum(1) - self.fired[:, group]

    def f1(self, of: Counts, group: int | None = None) -> Float[Tensor, "d_sae lengths"]:
        """F1 = 2 hits / (predicted + fired), without a group of documents; 0 where there is neither."""
        predicted, hits = of.without(group)
        return 2 * hits.double() / (predicted + self.fired_without(group)[:, None]).clamp_min(1)


def vocabulary_of(rules: Rules, text: Corpus) -> int:
    """A number above every token of rules and of a text that they are matched with."""
    return 1 + max(REACHES[-1], int(text.tokens.max()), *(int(part.max()) for part in (rules.token, rules.other) if len(part)))


def score(learned: LearnedRules, subject: Subject, scoring: Corpus, config: MetricsConfig, ranks: Ranks = ALONE) -> RuleScores:
    """Scores rules on a text.

    Args:
        learned: The rules.
        subject: The model and SAE.
        scoring: Text of other documents than the rules were learned from.
        config: ``seed``, ``batch_size`` and ``rules.within`` are used.
        ranks: The processes that do it together.
    """
    every = torch.arange(subject.d_sae)
    counting = [_Counting(learned.rules, scoring, subject, every, LENGTHS), _Counting(learned.tokens, scoring, subject, every, LENGTHS[:1])]
    again = learned.again
    if again is not None:
        of = again.latents.repeat(again.groups)
        counting.append(_Counting(again.rules, scoring, subject, of, LENGTHS, groups=1))
        counting.append(_Counting(again.tokens, scoring, subject, of, LENGTHS[:1], groups=1))
    fired = torch.zeros(subject.d_sae, GROUPS, dtype=torch.int32, device=subject.device)
    places = sum(ranks.each(lambda: _count_all(subject, scoring, config, fired, counting, ranks)))
    fired = ranks.total(fired).cpu()
    counts = [each.counts(ranks) for each in counting]
    relearned = [] if again is None else _of_each_group(again, fired, counts[2], counts[3], places)
    return RuleScores(fired, counts[0], counts[1], places, relearned)


def _of_each_group(again: Relearned, fired: Int[Tensor, "d_sae groups"], rules: Counts, tokens: Counts, places: int) -> list[RuleScores]:
    """The scores of rules that were learned without each group of documents."""
    some, of_some = len(again.latents), fired[again.latents].sum(1, keepdim=True)
    parts = [slice(some * group, some * (group + 1)) for group in range(again.groups)]
    return [RuleScores(of_some, rules.some(part), tokens.some(part), places) for part in parts]


def _count_all(subject: Subject, scoring: Corpus, config: MetricsConfig, fired: Tensor, counting: "list[_Counting]", ranks: Ranks) -> int:
    """Goes through this process's sequences; how many positions count there."""
    groups = random_groups(scoring.units, GROUPS, seed=config.seed).to(subject.device)
    places = 0
    for batch in scoring.activations(subject, config.batch_size, progress="rules: scoring", ranks=ranks):
        places += len(batch.x)
        group = groups[batch.first :][batch.sequence]
        text = text_of_batch(batch, config.rules.within)
        matches = [each.matcher.match(text) for each in counting]
        for rows, z in batch.latents():
            for row, latent in nonzeros(z != 0):
                _count(fired, latent * GROUPS + group[rows][row])
            for each, found in zip(counting, matches, strict=True):
                each.add(found, group, rows, z)
    return places


class _Counting:
    """Counts what one set of rules says."""

    def __init__(
        self, rules: Rules, scoring: Corpus, subject: Subject, of: Int[Tensor, "latents"], lengths: Sequence[int], groups: int = GROUPS
    ) -> None:
        self.matcher = RuleMatcher(rules.to(subject.device), vocabulary_of(rules, scoring))
        self._of, self._groups = of.to(subject.device), groups
        self._length = torch.bucketize(self.matcher.rules.rank, torch.tensor(lengths, device=subject.device), right=True)
        shape = (len(of), groups, len(lengths) + 1)
        self._predicted, self._hits = (torch.zeros(shape, dtype=torch.int32, device=subject.device) for _ in range(2))

    def add(self, matches: Matches, group: Int[Tensor, "n"], rows: slice, z: Float[Tensor, "rows d_sae"]) -> None:
        """Counts the matches at some rows of a batch; what a rule's latent is called is one of the SAE's."""
        here = (matches.place >= rows.start) & (matches.place < rows.start + len(z))
        latent, place, rule = (column[here] for column in matches)
        group = group[place] if self._groups > 1 else torch.zeros_like(place)
        key = (latent * self._groups + group) * self._predicted.shape[2] + self._length[rule]
        _count(self._predicted, key)
        _count(self._hits, key[z[place - rows.start, self._of[latent]] != 0])

    def counts(self, ranks: Ranks) -> Counts:
        """What all processes have counted: rules that are in a shorter list are in all longer ones."""
        return Counts(*(ranks.total(each).cumsum(2).cpu() for each in (self._predicted, self._hits)))


def _count(counts: Int[Tensor, "..."], key: Int[Tensor, "n"]) -> None:
    counts.view(-1).index_add_(0, key, torch.ones_like(key, dtype=counts.dtype))
