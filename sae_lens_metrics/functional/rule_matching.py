"""Matches the rules of all latents with a little text at a time, as batches come."""

import torch
from jaxtyping import Int
from torch import Tensor

from sae_lens_metrics.functional.rule_text import FIRST, NONE, Postings, RuleText
from sae_lens_metrics.functional.rules import Matches, Rules, first_rules

__all__ = ["RuleMatcher"]


class RuleMatcher:
    """Looks the tokens of a text up among the rules, where ``Rules.match`` looks the rules up in the text; both find the same.

    Args:
        rules: The rules.
        vocabulary: Above every token, of the rules and of any text that is asked about.
    """

    def __init__(self, rules: Rules, vocabulary: int) -> None:
        self.rules = rules
        self._vocabulary = vocabulary
        self._families: list[tuple[int, bool, Postings]] = []
        for any_token in (False, True):
            for kind in range(FIRST + 1):
                which = ((rules.kind == kind) & ((rules.token == NONE) == any_token)).nonzero()[:, 0]
                if len(which):
                    self._families.append((kind, any_token, Postings.of(self._key(rules.token[which], rules.other[which]), which)))

    def match(self, text: RuleText) -> Matches:
        """Where the rules say that latents fire, as ``Rules.match``.

        Args:
            text: The text.
        """
        everywhere = torch.arange(len(text), device=text.token.device)
        rule, place = [everywhere[:0]], [everywhere[:0]]
        for kind, any_token, index in self._families:
            at, other = text.answers(kind, everywhere)
            token = torch.full_like(at, NONE) if any_token else text.token[at]
            of, found = index.places(self._key(token, other))
            rule.append(found)
            place.append(at[of])
        rules, places = torch.cat(rule), torch.cat(place)
        kept = ~self.rules.excepted(text, rules, places)
        return first_rules(self.rules, rules[kept], places[kept], len(text))

    def _key(self, token: Int[Tensor, "n"], other: Int[Tensor, "n"]) -> Int[Tensor, "n"]:
        return token.clamp_min(0) * self._vocabulary + other
