"""Short lists of rules that say where latents fire, and where they say so."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_lens_metrics.functional.rule_counts import spread
from sae_lens_metrics.functional.rule_text import FIRST, NONE, Postings, RuleText

__all__ = ["AT_ONCE", "Matches", "Rules", "Unless", "first_rules"]

AT_ONCE = 2**20
"""About how many matches are found at once."""


class Unless(NamedTuple):
    """Exceptions from rules."""

    rule: Int[Tensor, "exceptions"]
    """From which rule, ascending."""
    kind: Int[Tensor, "exceptions"]
    """As in ``Rules``."""
    other: Int[Tensor, "exceptions"]
    """As in ``Rules``."""


class Matches(NamedTuple):
    """Where latents are said to fire, each place once, by latent and place."""

    latent: Int[Tensor, "matches"]
    place: Int[Tensor, "matches"]
    """In the text."""
    rule: Int[Tensor, "matches"]
    """The first of the latent's rules that says so."""


@dataclass(frozen=True)
class Rules:
    """The rules of many latents, by latent, the more telling ones first; what no rule names is predicted not to fire."""

    latent: Int[Tensor, "rules"]
    """Which latent a rule is about, ascending."""
    token: Int[Tensor, "rules"]
    """The token on which it fires, ``NONE`` for any."""
    kind: Int[Tensor, "rules"]
    """What else it asks for, as in ``rule_text``."""
    other: Int[Tensor, "rules"]
    """The other token, or among how many first ones; 0 where nothing else is asked for."""
    value: Float[Tensor, "rules"]
    """The activation that it predicts."""
    unless: Unless

    def __len__(self) -> int:
        return len(self.latent)

    @property
    def rank(self) -> Int[Tensor, "rules"]:
        """The place of each rule in its latent's list, from 0 on."""
        return torch.arange(len(self), device=self.latent.device) - torch.searchsorted(self.latent, self.latent)

    @classmethod
    def none(cls, device: torch.device | str = "cpu") -> "Rules":
        """No rules."""
        empty = torch.zeros(0, dtype=torch.long, device=device)
        return cls(empty, empty, empty, empty, empty.float(), Unless(empty, empty, empty))

    @classmethod
    def joined(cls, parts: "list[Rules]") -> "Rules":
        """The rules of several groups of latents, the groups in ascending order."""
        first = [0]
        for part in parts:
            first.append(first[-1] + len(part))
        names = ("latent", "token", "kind", "other", "value")
        unless = Unless(
            torch.cat([part.unless.rule + start for part, start in zip(parts, first, strict=False)]),
            torch.cat([part.unless.kind for part in parts]),
            torch.cat([part.unless.other for part in parts]),
        )
        latent, token, kind, other, value = (torch.cat([getattr(part, name) for part in parts]) for name in names)
        return cls(latent, token, kind, other, value, unless)

    def some(self, which: Int[Tensor, "n"]) -> "Rules":
        """Some of the rules with their exceptions, in the order given, which must be one by latent."""
        place = torch.full((len(self),), -1, device=self.latent.device)
        place[which] = torch.arange(len(which), device=place.device)
        moved = place[self.unless.rule]
        kept = (moved >= 0).nonzero()[:, 0]
        kept = kept[moved[kept].argsort(stable=True)]
        unless = Unless(moved[kept], self.unless.kind[kept], self.unless.other[kept])
        return self._changed(lambda column: column[which], unless)

    def to(self, device: torch.device | str) -> "Rules":
        """The same on another device."""
        return self._changed(lambda column: column.to(device), Unless(*(column.to(device) for column in self.unless)))

    def _changed(self, change: Callable[[Tensor], Tensor], unless: Unless) -> "Rules":
        latent, token, kind, other, value = map(change, (self.latent, self.token, self.kind, self.other, self.value))
        return Rules(latent, token, kind, other, value, unless)

    def with_values(self, value: Float[Tensor, "rules"]) -> "Rules":
        """The same with other values."""
        return replace(self, value=value)

    def match(self, text: RuleText, at_once: int = AT_ONCE) -> Matches:
        """Where the rules say that latents fire.

        Args:
            text: The text.
            at_once: About how many matches are found at once; a latent's are never parted.
        """
        found = [first_rules(self, rule, place, len(text)) for rule, place in self._found(text, at_once)]
        if not found:
            empty = torch.zeros(0, dtype=torch.long, device=self.latent.device)
            return Matches(empty, empty, empty)
        return Matches(*(torch.cat(column) for column in zip(*found, strict=True)))

    def _found(self, text: RuleText, at_once: int) -> "list[tuple[Tensor, Tensor]]":
        """Pairs of rule and place, those of some latents after those of others."""
        families = self._families(text)
        count = torch.zeros(len(self), dtype=torch.long, device=self.latent.device)
        for rules, keys, postings in families:
            count[rules] = postings.ranges(keys)[1]
        parts = []
        for part in _whole_latents(self.latent, count, at_once):
            pairs = [(self.latent[:0], self.latent[:0])]
            for rules, keys, postings in families:
                here = (rules >= part.start) & (rules < part.stop)
                of, place = postings.places(keys[here])
                pairs.append((rules[here][of], place))
            rule, place = (torch.cat(column) for column in zip(*pairs, strict=True))
            kept = ~self.excepted(text, rule, place)
            parts.append((rule[kept], place[kept]))
        return parts

    def _families(self, text: RuleText) -> "list[tuple[Tensor, Tensor, Postings]]":
        """Rules that ask for the same kind of thing, with their keys and what these are looked up in."""
        families = []
        for any_token in (False, True):
            for kind in range(FIRST + 1):
                rules = ((self.kind == kind) & ((self.token == NONE) == any_token)).nonzero()[:, 0]
                # a token that the text lacks must not be taken for another one
                known = (self.token[rules] < text.vocabulary) & (self.other[rules] < text.vocabulary)
                rules = rules[known]
                if len(rules):
                    keys = text.key(self.token[rules], self.other[rules])
                    families.append((rules, keys, text.postings(kind, any_token=any_token)))
        return families

    def excepted(self, text: RuleText, rule: Int[Tensor, "n"], place: Int[Tensor, "n"]) -> Bool[Tensor, "n"]:
        """Where an exception from a rule holds.

        Args:
            text: The text.
            rule: The rules, by index.
            place: A place of each.
        """
        first = torch.searchsorted(self.unless.rule, rule)
        count = torch.searchsorted(self.unless.rule, rule, right=True) - first
        of, which = spread(first, count)
        holds = text.says(self.unless.kind[which], self.unless.other[which], place[of])
        return torch.zeros(len(rule), dtype=torch.bool, device=rule.device).index_put_((of[holds],), torch.tensor(True, device=rule.device))


def first_rules(rules: Rules, rule: Int[Tensor, "n"], place: Int[Tensor, "n"], places: int) -> Matches:
    """The first rule of each latent and place, by latent and place.

    Args:
        rules: The rules.
        rule: A rule that matches.
        place: Where it does.
        places: How many places the text has.
    """
    count = max(1, len(rules))
    key = ((rules.latent[rule] * places + place) * count + rule).sort().values  # rules are in the order of their latents and ranks
    at = key // count
    new = torch.ones_like(at, dtype=torch.bool)
    new[1:] = at[1:] != at[:-1]
    at = at[new]
    return Matches(at // max(1, places), at % max(1, places), key[new] % count)


def _whole_latents(latent: Int[Tensor, "rules"], count: Int[Tensor, "rules"], at_once: int) -> list[slice]:
    """Runs of rules that have about so many matches at most, none of which parts a latent's."""
    if len(latent) == 0:
        return []
    begins = torch.searchsorted(latent, latent)  # the first rule of each one's latent
    part = (count.cumsum(0) - count)[begins] // max(1, at_once)
    starts = [0, *((part[1:] != part[:-1]).nonzero()[:, 0] + 1).tolist(), len(latent)]
    return [slice(start, stop) for start, stop in pairwise(starts)]
