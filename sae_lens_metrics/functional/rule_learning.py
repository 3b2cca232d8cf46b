"""Learns short lists of rules that say where latents fire, from counts of what stands where they do: no run of a model."""

import math
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_lens_metrics.functional.rule_cells import Cells, Leaves, Places, frequent_contexts, split
from sae_lens_metrics.functional.rule_counts import Tally, best_of_groups, find, spread
from sae_lens_metrics.functional.rule_selection import Chosen, best_by_f1, bits_above, shrunken
from sae_lens_metrics.functional.rule_text import ALONE, FIRST, NONE, PREVIOUS, REACHES, WITHIN, RuleText
from sae_lens_metrics.functional.rules import Matches, Rules, Unless
from sae_lens_metrics.functional.statistics import widest_float

__all__ = ["Firings", "Learned", "RuleLearner"]


class Firings(NamedTuple):
    """Where latents fire, by latent and place, each place once."""

    latent: Int[Tensor, "n"]
    """Counted from 0 on."""
    place: Int[Tensor, "n"]
    """In the text."""
    value: Float[Tensor, "n"]
    """The activation there, not 0."""


class Learned(NamedTuple):
    """What was learned of some latents."""

    rules: Rules
    """Their rules, those that gain most first."""
    tokens: Rules
    """The best that tokens alone can do, by the same measure."""


class RuleLearner:
    """Learns rules of latents from one text.

    A rule is worth its words if it tells more of where a latent fires than it takes to name it: with a vocabulary of V tokens, log2 V bits
    for each token that it names, and log2(n) / 2 for its rate at n places. Of the rules that are worth it, a list has those that make F1
    largest.

    Args:
        text: The text.
        penalty: Times that the bits of naming count: 0 learns anecdotes, more than 1 is careful.
    """

    def __init__(self, text: RuleText, *, penalty: float = 1.0) -> None:
        self._text, self._penalty = text, penalty
        words = math.log2(max(2, len(text.token.unique())))
        kinds = math.log2(FIRST + 1)
        self._bits = {ALONE: words, PREVIOUS: words + kinds, WITHIN: words + kinds, FIRST: math.log2(len(REACHES)) + kinds}
        self._costs = {kind: penalty * bits for kind, bits in self._bits.items()}
        self._frequent = {kind: frequent_contexts(text, kind) for kind in (PREVIOUS, WITHIN)}

    def learn(self, latents: int, firings: Firings) -> Learned:
        """The rules of some latents.

        Args:
            latents: How many there are.
            firings: Where they fire.
        """
        fires = Places(firings.latent, firings.place)
        task = _Task(self._text, latents, fires, self._costs, self._penalty)
        tokens = task.best_tokens()
        rules = task.general(task.prefer_general())
        rules = _joined(rules, self._specific(task, rules))
        rules = _joined(rules, task.general(torch.ones(latents, dtype=torch.bool, device=fires.place.device), rules))
        return Learned(*(task.valued(each, firings) for each in (task.pruned(task.pruned(rules)), task.pruned(tokens))))

    def bits(self, rules: Rules, latents: int) -> Float[Tensor, "latents"]:
        """Bits that it takes to write down each latent's rules, with their exceptions.

        Args:
            rules: The rules.
            latents: How many there are.
        """
        own = torch.tensor([0.0, *(self._bits[kind] for kind in (PREVIOUS, WITHIN, FIRST))])
        named = (rules.token != NONE).cpu() * self._bits[ALONE] + own[rules.kind.cpu()]
        total = torch.zeros(latents).index_add_(0, rules.latent.cpu(), named.float())
        return total.index_add_(0, rules.latent[rules.unless.rule].cpu(), own[rules.unless.kind.cpu()])

    def _specific(self, task: "_Task", before: Rules) -> Rules:
        """Rules that name a token, where others say nothing."""
        open_fires, covered = task.undecided(before)
        cells, of = task.cells(open_fires, covered)
        key = covered.group * self._text.vocabulary + self._text.token[covered.place]
        there = find(cells.group * self._text.vocabulary + cells.token, key)
        out = Places(there, covered.place).some(there >= 0)
        leaves, rest = split(self._text, cells, Places(of, open_fires.place), out, self._costs, self._frequent)
        return task.of_leaves(cells, leaves, rest)


class _Task:
    """Some latents whose rules are to be learned."""

    def __init__(self, text: RuleText, latents: int, fires: Places, costs: dict[int, float], penalty: float) -> None:
        self.text, self.latents, self.fires, self.costs, self._penalty = text, latents, fires, costs, penalty
        self.fired = torch.bincount(fires.group, minlength=latents)
        precise = widest_float(fires.place.device)
        self.base = (self.fired.to(precise) / max(1, len(text))).clamp(1e-12, 1 - 1e-7)

    def cells(self, fires: Places, covered: Places) -> tuple[Cells, Int[Tensor, "n"]]:
        """The tokens on which latents fire, and the cell of each firing."""
        key, of, hits = (fires.group * self.text.vocabulary + self.text.token[fires.place]).unique(return_inverse=True, return_counts=True)
        group, token = key // self.text.vocabulary, key % self.text.vocabulary
        gone = Tally.of(covered.group * self.text.vocabulary + self.text.token[covered.place])
        zeros = torch.zeros_like(token)
        count = self.text.postings(ALONE, any_token=False).ranges(self.text.key(token, zeros))[1] - gone.at(key)
        return Cells(group, token, hits, count), of

    @cached_property
    def _tokens(self) -> Cells:
        """All tokens on which latents fire."""
        return self.cells(self.fires, _nowhere(self.fires))[0]

    def best_tokens(self) -> Rules:
        """The best set of tokens."""
        group, token, hits, count = self._tokens
        alone = torch.full_like(token, ALONE)
        which = self._chosen(group, hits, count, self.base[group], self._cost(alone, count)).which
        return _rules(group[which], token[which], alone[which], torch.zeros_like(token[which]))

    def prefer_general(self) -> Bool[Tensor, "latents"]:
        """Latents of which the token in front, or the distance from the start, tells more than the token."""
        cells = self._tokens
        by_token = self._saved(cells.group, cells.hits, cells.places, torch.full_like(cells.token, ALONE))
        group, kind, _, hits, count = self._general_candidates(self.fires, _nowhere(self.fires))
        columns = (group, hits, count, kind)
        by_other = [self._saved(*(each[kind == asked] for each in columns), one=asked == FIRST) for asked in (PREVIOUS, FIRST)]
        return torch.maximum(*by_other) > by_token

    def general(self, latents: Bool[Tensor, "latents"], before: Rules | None = None) -> Rules:
        """Rules that name no token of the place itself, of some latents, where others say nothing."""
        fires, covered = (self.fires, _nowhere(self.fires)) if before is None else self.undecided(before)
        f1 = None if before is None else self._f1(fires, covered)
        fires, covered = fires.some(latents[fires.group]), covered.some(latents[covered.group])
        group, kind, other, hits, count = self._general_candidates(fires, covered)
        cost = self._cost(kind, count)
        gain = bits_above(hits, count, self.base[group]) - cost
        single = best_of_groups(torch.where(kind == FIRST, gain, -1.0), group, self.latents)
        kept = ((kind == PREVIOUS) | single) & (gain > 0)
        group, kind, other, hits, count, cost = (column[kept] for column in (group, kind, other, hits, count, cost))
        which = self._chosen(group, hits, count, self.base[group], cost, f1).which
        return _rules(group[which], torch.full_like(group[which], NONE), kind[which], other[which])

    def _general_candidates(self, fires: Places, covered: Places) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Latent, kind, what else is asked for, hits and places of what could be asked of any token."""
        columns = []
        for kind in (PREVIOUS, FIRST):
            hits, gone = (self._tally(places, kind) for places in (fires, covered))
            group, other = hits.key // self.text.vocabulary, hits.key % self.text.vocabulary
            count = self.text.postings(kind, any_token=True).ranges(other)[1] - gone.at(hits.key)
            columns.append((group, torch.full_like(group, kind), other, hits.number, count))
        return tuple(torch.cat(column) for column in zip(*columns, strict=True))  # type: ignore[return-value]

    def _tally(self, places: Places, kind: int) -> Tally:
        of, other = self.text.answers(kind, places.place)
        return Tally.of(places.group[of] * self.text.vocabulary + other)

    def undecided(self, rules: Rules) -> tuple[Places, Places]:
        """Where latents fire without a rule that says so, and where rules say that they do."""
        latent, place, _ = rules.match(self.text)
        covered = Places(latent, place)
        found = find(covered.group * len(self.text) + covered.place, self.fires.group * len(self.text) + self.fires.place)
        return self.fires.some(found < 0), covered

    def of_leaves(self, cells: Cells, leaves: Leaves, rest: Cells) -> Rules:
        """Rules of cells and of the parts that differ from the rest of them."""
        usual = (cells.hits / cells.places)[leaves.cell]
        group = torch.cat([cells.group, cells.group[leaves.cell]])
        hits, count = torch.cat([rest.hits, leaves.hits]), torch.cat([rest.places, leaves.places])
        expected = torch.cat([self.base[cells.group], usual.to(self.base.dtype)])
        kind = torch.cat([torch.full_like(cells.token, ALONE), leaves.kind])
        cost = self._cost(kind, count)
        cost[len(cells.token) :] += self.costs[ALONE]
        chosen = self._chosen(group, hits, count, expected, cost)
        whole, part = chosen.which[: len(cells.token)], chosen.which[len(cells.token) :]
        low = shrunken(leaves.hits, leaves.places, usual) <= chosen.f1[cells.group[leaves.cell]] / 2
        own = part & ~whole[leaves.cell]  # where the whole cell is predicted, its better parts need no words
        wholes = whole.nonzero()[:, 0]
        owns = own.nonzero()[:, 0]
        lows = (low & ~part).nonzero()[:, 0]
        return _rules(
            torch.cat([cells.group[wholes], cells.group[leaves.cell[owns]]]),
            torch.cat([cells.token[wholes], cells.token[leaves.cell[owns]]]),
            torch.cat([torch.full_like(wholes, ALONE), leaves.kind[owns]]),
            torch.cat([torch.zeros_like(wholes), leaves.other[owns]]),
            unless=_exceptions(leaves, wholes, owns, lows),
        )

    def _chosen(
        self,
        group: Int[Tensor, "n"],
        hits: Int[Tensor, "n"],
        count: Int[Tensor, "n"],
        expected: Float[Tensor, "n"],
        cost: Float[Tensor, "n"],
        f1: Float[Tensor, "latents"] | None = None,
    ) -> Chosen:
        """The candidates that are worth their words and make F1 largest."""
        worth = bits_above(hits, count, self.base[group]) > cost
        precision = torch.where(worth, shrunken(hits, count, expected), 0)
        if f1 is None:
            return best_by_f1(precision, count, group, self.fired)
        return Chosen(worth & (precision > f1[group] / 2), f1)

    def _f1(self, missed: Places, covered: Places) -> Float[Tensor, "latents"]:
        """F1 of rules on the text, from where latents fire without any and from where they hold."""
        misses, predicted = (torch.bincount(each.group, minlength=self.latents) for each in (missed, covered))
        return 2 * (self.fired - misses).to(self.base.dtype) / (predicted + self.fired).clamp_min(1)

    def where(self, matches: Matches) -> Int[Tensor, "matches"]:
        """Which firing is where rules match; -1 for none."""
        return find(self.fires.group * len(self.text) + self.fires.place, matches.latent * len(self.text) + matches.place)

    def pruned(self, rules: Rules) -> Rules:
        """The rules that still gain where others are there, those that gain most first."""
        matches = rules.match(self.text)
        fires = self.where(matches) >= 0
        count = torch.bincount(matches.rule, minlength=len(rules))
        hits = torch.bincount(matches.rule[fires], minlength=len(rules))
        precision = shrunken(hits, count, self.base[rules.latent])
        chosen = best_by_f1(precision.where(count > 0, 0), count, rules.latent, self.fired)
        which = (chosen.which & (count > 0)).nonzero()[:, 0]
        gain = (count * (precision - chosen.f1[rules.latent] / 2))[which]
        order = gain.argsort(descending=True, stable=True)
        order = order[rules.latent[which[order]].argsort(stable=True)]
        return rules.some(which[order])

    def valued(self, rules: Rules, firings: Firings) -> Rules:
        """With the values of least squares: the mean activation where a rule is the first to match."""
        matches = rules.match(self.text)
        where = self.where(matches)
        there = where >= 0
        sums = torch.zeros(len(rules), dtype=self.base.dtype, device=self.base.device)
        sums.index_add_(0, matches.rule[there], firings.value[where[there]].to(sums.dtype))
        count = torch.bincount(matches.rule, minlength=len(rules))
        return rules.with_values((sums / count.clamp_min(1)).float())

    def _saved(self, group: Tensor, hits: Tensor, count: Tensor, kind: Tensor, one: bool = False) -> Float[Tensor, "latents"]:
        """Bits that candidates save for each latent: all together, or the best of them."""
        saved = (bits_above(hits, count, self.base[group]) - self._cost(kind, count)).clamp_min(0)
        bits = torch.zeros_like(self.base)
        return bits.scatter_reduce_(0, group, saved, "amax") if one else bits.index_add_(0, group, saved)

    def _cost(self, kind: Int[Tensor, "n"], count: Int[Tensor, "n"]) -> Float[Tensor, "n"]:
        """Bits that it takes to name a candidate, and to say its rate as exactly as so many places tell it: half of log2 count."""
        named = torch.tensor([self.costs[each] for each in range(FIRST + 1)], dtype=self.base.dtype, device=kind.device)
        return named[kind] + self._penalty / 2 * count.clamp_min(1).to(self.base.dtype).log2()


def _nowhere(places: Places) -> Places:
    return Places(*(column[:0] for column in places))


def _exceptions(leaves: Leaves, wholes: Tensor, owns: Tensor, lows: Tensor) -> Unless:
    """Exceptions from the rules of whole cells, and of parts of cells: what was taken out of them before."""
    of_whole = find(wholes, leaves.cell[lows])
    excepted = (of_whole >= 0).nonzero()[:, 0]
    rule, leaf = [of_whole[excepted]], [lows[excepted]]
    if len(owns):
        order = leaves.cell[lows].argsort(stable=True)
        cell = leaves.cell[lows][order]
        first = torch.searchsorted(cell, leaves.cell[owns])
        count = torch.searchsorted(cell, leaves.cell[owns], right=True) - first
        of, entry = spread(first, count)
        low = lows[order[entry]]
        own = owns[of]
        apart = (leaves.kind[low] == PREVIOUS) & (leaves.kind[own] == PREVIOUS)
        kept = (leaves.turn[low] < leaves.turn[own]) & ~apart
        rule.append(len(wholes) + of[kept])
        leaf.append(low[kept])
    rules, which = torch.cat(rule), torch.cat(leaf)
    return Unless(rules, leaves.kind[which], leaves.other[which])


def _rules(latent: Tensor, token: Tensor, kind: Tensor, other: Tensor, unless: Unless | None = None) -> Rules:
    """Rules in the order of their latents, without values."""
    empty = latent[:0]
    unless = Unless(empty, empty, empty) if unless is None else unless
    rules = Rules(latent, token, kind, other, torch.zeros(len(latent), device=latent.device), unless)
    return rules.some(latent.argsort(stable=True))


def _joined(first: Rules, second: Rules) -> Rules:
    """The rules of the same latents from two lists, those of the first in front."""
    both = Rules.joined([first, second])
    return both.some(both.latent.argsort(stable=True))
