"""What rules ask about a text: each token, those in front of it, how far the start is; and where each answer is found."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sae_lens_metrics.functional.rule_counts import spread

__all__ = ["ALONE", "FIRST", "NONE", "PREVIOUS", "REACHES", "WITHIN", "Postings", "RuleText"]

ALONE, PREVIOUS, WITHIN, FIRST = range(4)
"""What a rule asks besides for the token: nothing; which token stands before it; which token stands among those before it; that it is among
the first of its document."""
NONE = -1
"""No token: at the start of a document, where another is asked for; of a rule, that any will do."""
REACHES = (1, 2, 4, 8, 16, 32)
"""Among how many first tokens of a document a rule may ask for."""


@dataclass(frozen=True)
class Postings:
    """The places of a text under each key."""

    key: Int[Tensor, "entries"]
    """Ascending."""
    place: Int[Tensor, "entries"]
    """Ascending within a key."""

    @classmethod
    def of(cls, key: Int[Tensor, "entries"], place: Int[Tensor, "entries"]) -> "Postings":
        """Sorts entries, whose places come in ascending order."""
        key, order = key.sort(stable=True)
        return cls(key, place[order])

    def ranges(self, key: Int[Tensor, "n"]) -> tuple[Int[Tensor, "n"], Int[Tensor, "n"]]:
        """The first entry of each key, and how many it has."""
        first = torch.searchsorted(self.key, key)
        return first, torch.searchsorted(self.key, key, right=True) - first

    def places(self, key: Int[Tensor, "n"]) -> tuple[Int[Tensor, "found"], Int[Tensor, "found"]]:
        """All places of some keys: which of the keys, and the place."""
        first, count = self.ranges(key)
        of, entry = spread(first, count)
        return of, self.place[entry].long()


@dataclass(frozen=True)
class RuleText:
    """The tokens of a text that count, in its order, with what rules ask about each.

    Memory: some 24 bytes a token and token in reach, as soon as all is asked for.
    """

    token: Int[Tensor, "places"]
    """The token at each place."""
    earlier: Int[Tensor, "places within"]
    """The tokens in front of it, the nearest first; ``NONE`` in front of its document, and where a nearer one is the same."""
    column: Int[Tensor, "places"]
    """How many tokens of its document stand in front of it in its sequence."""
    vocabulary: int
    """Above every token."""
    _postings: dict[tuple[int, bool], Postings] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_sequences(
        cls,
        tokens: Int[Tensor, "sequences pos"],
        special: Bool[Tensor, "sequences pos"],
        counts: Bool[Tensor, "sequences pos"],
        within: int,
    ) -> "RuleText":
        """Reads sequences, of which none is the continuation of another.

        Args:
            tokens: The sequences.
            special: Where documents end: nothing is seen across these.
            counts: Which places are asked about; none of them special.
            within: How many tokens in front of a place are seen, at least 1.
        """
        place = counts.flatten().nonzero()[:, 0]
        columns = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        column = (columns - torch.where(special, columns, -1).cummax(1).values - 1).flatten()[place]
        flat = tokens.flatten()
        earlier = torch.full((len(place), within), NONE, dtype=torch.int32, device=tokens.device)
        for distance in range(1, within + 1):
            seen = flat[(place - distance).clamp_min(0)].int()
            there = (column >= distance) & ~(earlier[:, : distance - 1] == seen[:, None]).any(1)
            earlier[:, distance - 1] = torch.where(there, seen, NONE)
        vocabulary = max(int(tokens.max()) + 1, REACHES[-1] + 1)
        return cls(flat[place], earlier, column, vocabulary)

    def __len__(self) -> int:
        return len(self.token)

    def some(self, which: Bool[Tensor, "places"]) -> "RuleText":
        """Some of the places, with all that is seen from them."""
        return RuleText(self.token[which], self.earlier[which], self.column[which], self.vocabulary)

    def answers(self, kind: int, place: Int[Tensor, "n"]) -> tuple[Int[Tensor, "found"], Int[Tensor, "found"]]:
        """What may be asked about places such that they say yes: which of the places, and the token or reach asked for.

        Args:
            kind: ``PREVIOUS``, ``WITHIN`` or ``FIRST``; of ``ALONE`` there is one answer, 0.
            place: The places.
        """
        of = torch.arange(len(place), device=place.device)
        if kind == ALONE:
            return of, torch.zeros_like(of)
        if kind == FIRST:
            reaches = torch.tensor(REACHES, device=place.device)
            of, which = (self.column[place][:, None] < reaches).nonzero(as_tuple=True)
            return of, reaches[which]
        seen = self.earlier[place] if kind == WITHIN else self.earlier[place, :1]
        of, distance = (seen >= 0).nonzero(as_tuple=True)
        return of, seen[of, distance].long()

    def says(self, kind: Int[Tensor, "n"], other: Int[Tensor, "n"], place: Int[Tensor, "n"]) -> Bool[Tensor, "n"]:
        """Whether places say yes to questions, one each."""
        seen = self.earlier[place] == other[:, None].int()
        by_kind = torch.stack([torch.ones_like(seen[:, 0]), seen[:, 0], seen.any(1), self.column[place] < other])
        return by_kind.gather(0, kind[None])[0]

    def key(self, token: Int[Tensor, "n"], other: Int[Tensor, "n"]) -> Int[Tensor, "n"]:
        """The key of a token with what else is asked for; with ``NONE`` for the token, that of the latter alone."""
        return token.clamp_min(0) * self.vocabulary + other.clamp_min(0)

    def postings(self, kind: int, *, any_token: bool) -> Postings:
        """Where each token stands, with each answer to what else may be asked.

        Args:
            kind: As in ``answers``.
            any_token: Whether the token itself is not asked for.
        """
        if (kind, any_token) not in self._postings:
            place, other = self.answers(kind, torch.arange(len(self), device=self.token.device))
            token = torch.full_like(place, NONE) if any_token else self.token[place]
            self._postings[kind, any_token] = Postings.of(self.key(token, other), place.int())
        return self._postings[kind, any_token]
