"""Tokens on which latents fire sometimes, split by what stands before them."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_lens_metrics.functional.rule_counts import Tally, best_of_groups, spread
from sae_lens_metrics.functional.rule_selection import surprise
from sae_lens_metrics.functional.rule_text import ALONE, FIRST, PREVIOUS, REACHES, WITHIN, RuleText

__all__ = ["Cells", "Leaves", "Places", "frequent_contexts", "split"]

TURNS = 4
"""How often a cell is split at most."""
LEAST = 0.05
"""A rate below which no part of a cell could ever be worth predicting."""
_KINDS = (PREVIOUS, WITHIN, FIRST)
_FREQUENT = 32
"""Contexts of a token, of a kind, that are tried as exceptions: those that come most often."""


class Places(NamedTuple):
    """Places of groups, such as those where latents fire."""

    group: Int[Tensor, "n"]
    place: Int[Tensor, "n"]

    def some(self, which: Bool[Tensor, "n"]) -> "Places":
        """Some of them."""
        return Places(self.group[which], self.place[which])

    def joined(self, other: "Places", places: int) -> "Places":
        """These and others, each once."""
        key = torch.cat([self.group * places + self.place, other.group * places + other.place]).unique()
        return Places(key // places, key % places)


class Cells(NamedTuple):
    """Parts of a text: all places of a token that nothing else has decided, one part for each latent that fires there."""

    group: Int[Tensor, "cells"]
    """The latent."""
    token: Int[Tensor, "cells"]
    hits: Int[Tensor, "cells"]
    """Places of the cell where the latent fires."""
    places: Int[Tensor, "cells"]
    """All of its places."""


class Leaves(NamedTuple):
    """Parts of cells that differ from the rest, in the order in which they were found: a place is in the first that it fits."""

    cell: Int[Tensor, "leaves"]
    kind: Int[Tensor, "leaves"]
    other: Int[Tensor, "leaves"]
    hits: Int[Tensor, "leaves"]
    places: Int[Tensor, "leaves"]
    turn: Int[Tensor, "leaves"]
    """Those of one turn have no place in common."""


class _Contexts(NamedTuple):
    """What often stands before tokens."""

    key: Int[Tensor, "contexts"]
    """The token, ascending."""
    other: Int[Tensor, "contexts"]


def frequent_contexts(text: RuleText, kind: int, most: int = _FREQUENT) -> _Contexts:
    """What comes most often before each token, at least twice.

    Args:
        text: The text.
        kind: What is asked of it.
        most: How many a token.
    """
    key, count = torch.unique_consecutive(text.postings(kind, any_token=False).key, return_counts=True)
    key, count = key[count > 1], count[count > 1]
    order = count.argsort(descending=True, stable=True)
    order = order[(key[order] // text.vocabulary).argsort(stable=True)]
    token = key[order] // text.vocabulary
    rank = torch.arange(len(token), device=token.device) - torch.searchsorted(token, token)
    return _Contexts(token[rank < most], (key[order] % text.vocabulary)[rank < most])


def split(
    text: RuleText, cells: Cells, fires: Places, covered: Places, costs: dict[int, float], frequent: dict[int, _Contexts]
) -> tuple[Leaves, Cells]:
    """Splits cells by what stands before their token, as long as that says more of where latents fire than it takes to say it.

    Args:
        text: The text.
        cells: The cells.
        fires: Places of the cells where the latents fire, by cell.
        covered: Other places of the cells' tokens that are none of theirs, by cell; each once.
        costs: Bits that it takes to say which context of each kind.
        frequent: ``frequent_contexts`` of ``PREVIOUS`` and ``WITHIN``, which are tried as exceptions.

    Returns:
        The parts that differ, and what is left of the cells.
    """
    found = []
    hits, count = cells.hits, cells.places
    for turn in range(TURNS):
        rest = cells._replace(hits=hits, places=count)
        active = (hits > 1) & (surprise(hits, count) > min(costs.values()))
        if turn:
            active &= torch.zeros_like(active).index_fill_(0, found[-1].cell, True)
        if not bool(active.any()):
            break
        leaves = _leaves(text, rest, fires.some(active[fires.group]), covered.some(active[covered.group]), active, costs, frequent)
        if len(leaves.cell) == 0:
            break
        found.append(leaves._replace(turn=torch.full_like(leaves.cell, turn)))
        hits = hits.index_add(0, leaves.cell, -leaves.hits)
        count = count.index_add(0, leaves.cell, -leaves.places)
        fires = fires.some(~_in_leaves(text, leaves, fires, len(hits)))
        covered = covered.joined(_places_of(text, leaves, cells.token), len(text))
    empty = torch.zeros(0, dtype=torch.long, device=text.token.device)
    joined = Leaves(*(torch.cat(column) for column in zip(*found, strict=True))) if found else Leaves(*[empty] * 6)
    return joined, cells._replace(hits=hits, places=count)


def _leaves(
    text: RuleText,
    cells: Cells,
    fires: Places,
    covered: Places,
    active: Bool[Tensor, "cells"],
    costs: dict[int, float],
    frequent: dict[int, _Contexts],
) -> Leaves:
    """The best next leaves of each cell: of a previous token as many as differ, of all else one."""
    hits, gone = _tally(text, fires), _tally(text, covered)
    key = torch.cat([hits.key[hits.number > 1], _tried(text, cells, active, frequent)]).unique()
    cell, kind, other = key // (4 * text.vocabulary), key // text.vocabulary % 4, key % text.vocabulary
    h, n = hits.at(key), _count(text, cells.token[cell], kind, other) - gone.at(key)
    all_h, all_n = cells.hits[cell], cells.places[cell]
    cost = torch.tensor([0.0, *(costs[each] for each in _KINDS)], dtype=surprise(h, n).dtype, device=key.device)[kind]
    gain = surprise(all_h, all_n) - surprise(h, n) - surprise(all_h - h, all_n - n) - cost
    rate, usual = h / n.clamp_min(1), all_h / all_n
    kept = (gain > 0) & (n > 1) & torch.where(rate > usual, rate, usual).ge(LEAST)
    leaves = Leaves(cell[kept], kind[kept], other[kept], h[kept], n[kept], cell[kept])
    return Leaves(*(column[_best(leaves, cells, gain[kept], cost[kept])] for column in leaves))


def _best(leaves: Leaves, cells: Cells, gain: Float[Tensor, "leaves"], cost: Float[Tensor, "leaves"]) -> Bool[Tensor, "leaves"]:
    """All leaves of a previous token, or the one that gains most, whichever of the two gains more."""
    groups = len(cells.token)
    single = best_of_groups(gain, leaves.cell, groups)
    before = leaves.kind == PREVIOUS
    rest_hits, rest_count = (
        whole.index_add(0, leaves.cell, -part * before) for whole, part in ((cells.hits, leaves.hits), (cells.places, leaves.places))
    )
    told = (surprise(leaves.hits, leaves.places) + cost) * before
    together = surprise(cells.hits, cells.places) - surprise(rest_hits, rest_count)
    together = together.index_add(0, leaves.cell, -told)
    alone = torch.zeros_like(together).index_copy(0, leaves.cell[single], gain[single])
    all_before = (together >= alone)[leaves.cell]
    return torch.where(all_before, before, single)


def _tally(text: RuleText, places: Places) -> Tally:
    """How often cells have each answer to each question."""
    keys = []
    for kind in _KINDS:
        of, other = text.answers(kind, places.place)
        keys.append((places.group[of] * 4 + kind) * text.vocabulary + other)
    return Tally.of(torch.cat(keys))


def _tried(text: RuleText, cells: Cells, active: Bool[Tensor, "cells"], frequent: dict[int, _Contexts]) -> Int[Tensor, "keys"]:
    """What is tried as an exception from cells where latents fire often, whether they fire there or not."""
    (cell,) = (active & (cells.hits >= LEAST * cells.places) & (cells.places - cells.hits > 1)).nonzero(as_tuple=True)
    keys = [((cell * 4 + FIRST) * text.vocabulary)[:, None] + torch.tensor(REACHES, device=cell.device)]
    for kind, contexts in frequent.items():
        first = torch.searchsorted(contexts.key, cells.token[cell])
        count = torch.searchsorted(contexts.key, cells.token[cell], right=True) - first
        of, which = spread(first, count)
        keys.append((cell[of] * 4 + kind) * text.vocabulary + contexts.other[which])
    return torch.cat([key.flatten() for key in keys])


def _count(text: RuleText, token: Int[Tensor, "n"], kind: Int[Tensor, "n"], other: Int[Tensor, "n"]) -> Int[Tensor, "n"]:
    """How often tokens stand where something holds."""
    count = torch.zeros_like(token)
    for each in _KINDS:
        which = (kind == each).nonzero()[:, 0]
        count[which] = text.postings(each, any_token=False).ranges(text.key(token[which], other[which]))[1]
    return count


def _in_leaves(text: RuleText, leaves: Leaves, places: Places, cells: int) -> Bool[Tensor, "n"]:
    """Which places are in new leaves of their cells."""
    before = leaves.kind == PREVIOUS
    wanted = Tally.of((leaves.cell * text.vocabulary + leaves.other)[before])
    previous = text.earlier[places.place, 0].long()
    inside = wanted.holds(places.group * text.vocabulary + previous.clamp_min(0)) & (previous >= 0)
    kind, other = (torch.zeros(cells, dtype=torch.long, device=inside.device) for _ in range(2))
    kind[leaves.cell[~before]], other[leaves.cell[~before]] = leaves.kind[~before], leaves.other[~before]
    asked = (kind[places.group] != ALONE).nonzero()[:, 0]
    of = places.group[asked]
    inside[asked] |= text.says(kind[of], other[of], places.place[asked])
    return inside


def _places_of(text: RuleText, leaves: Leaves, token: Int[Tensor, "cells"]) -> Places:
    """All places of leaves, those of earlier leaves among them."""
    found = []
    for kind in _KINDS:
        which = (leaves.kind == kind).nonzero()[:, 0]
        cell = leaves.cell[which]
        of, place = text.postings(kind, any_token=False).places(text.key(token[cell], leaves.other[which]))
        found.append((cell[of], place))
    return Places(*(torch.cat(column) for column in zip(*found, strict=True)))
