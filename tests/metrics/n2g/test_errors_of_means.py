"""Errors of means over latents against what is known of the variance: explanations and documents are drawn from known distributions."""

import pytest
import torch

from sae_lens_metrics.functional.jackknife import GROUPS
from sae_lens_metrics.metrics.n2g.errors import Average, Errors, moved_by_rebuilding
from sae_lens_metrics.metrics.n2g.scores import GroupCounts, Rebuilt, Scores

LATENTS, PREDICTIONS = 400, 6
UNIFORM = 1 / 12


def counted(generator):
    """How often explanations fire, and are right, in groups of documents; each has a precision of its own, uniform between 0 and 1."""
    group = torch.randint(GROUPS, (LATENTS, PREDICTIONS), generator=generator)
    right = torch.rand(LATENTS, PREDICTIONS, generator=generator) < torch.rand(LATENTS, 1, generator=generator)
    counts = torch.zeros(2, LATENTS, GROUPS, dtype=torch.long)
    return counts.scatter_add_(2, group.expand(2, -1, -1), torch.stack([torch.ones_like(group), right.long()]))


def drawn(generator, *, again):
    (predicted, hits), other = counted(generator), counted(generator)
    none = torch.zeros(LATENTS, 1, dtype=torch.long)
    return Scores(
        fired=hits.sum(1),
        predicted=predicted.sum(1),
        hits=hits.sum(1),
        held_out=none == 0,
        held_out_predicted=none.float(),
        tokens=0,
        shown=none,
        top=none,
        by_group=GroupCounts(hits, predicted, hits, none),
        rebuilt=Rebuilt(torch.arange(0, LATENTS, LATENTS // again), *(counts[:: LATENTS // again] for counts in other)),
    )


def error(scores):
    """Of the mean precision."""
    every = torch.ones(LATENTS, dtype=torch.bool)
    whole, *without = (
        {"precision": Average.over(each.precision, every)} for each in (scores, *(scores.without(group) for group in range(GROUPS)))
    )
    return Errors(whole, without, moved_by_rebuilding(scores), 0.0).of("precision").stderr


@pytest.mark.parametrize("again", [LATENTS, 40])
def test_what_documents_and_explanations_move_together_is_counted_once(again):
    """Six predictions each, of a precision drawn anew: it was a quarter too large in variance, as both parts held what documents move."""
    generator = torch.Generator().manual_seed(0)
    errors = torch.tensor([error(drawn(generator, again=again)) for _ in range(60)])
    variance = UNIFORM + (1 / 2 - UNIFORM - 1 / 4) / PREDICTIONS  # of the precision, and of six draws given it: E q(1 - q) / 6
    assert float(errors.square().mean()) == pytest.approx(variance / LATENTS, rel=0.07)
