"""What directions do to the logits of a whole vocabulary, a few directions at a time."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_lens_metrics.functional.block_topk import largest_by_blocks

__all__ = ["VocabularyChanges", "vocabulary_changes"]


class VocabularyChanges(NamedTuple):
    """The logits that directions change, around their mean over the vocabulary, which no softmax sees."""

    tokens: Int[Tensor, "n 2 shown"]
    """Tokens that are raised most, the largest change first, and those that are lowered most."""
    by: Float[Tensor, "n 2 shown"]
    """Their changes, in logits."""
    mean: Float[Tensor, "n"]
    """The mean over the vocabulary, which is subtracted, in logits."""
    sd: Float[Tensor, "n"]
    """The standard deviation over the vocabulary, in logits."""


@torch.no_grad()
def vocabulary_changes(
    rows: Float[Tensor, "n d"], logits: Callable[[Tensor], Tensor], vocabulary: int, *, shown: int, at_once: int = 2**25
) -> VocabularyChanges:
    """The tokens whose logits each direction changes most, with mean and spread over the vocabulary.

    Args:
        rows: Directions.
        logits: A linear map of some directions [part, d] to the changes of the logits [part, vocabulary].
        vocabulary: How many logits there are.
        shown: How many tokens to name, of those raised and of those lowered; at most the vocabulary.
        at_once: Logits that are held at once, but for those of one direction at least; there are n · vocabulary in all.
    """
    parts = _each(rows, logits, min(shown, vocabulary), max(1, at_once // vocabulary))
    return VocabularyChanges(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _each(rows: Tensor, logits: Callable[[Tensor], Tensor], shown: int, step: int) -> Iterator[VocabularyChanges]:
    for part in rows.split(step):
        changes = logits(part).float()
        mean = changes.mean(1)
        changes = changes.sub_(mean[:, None])  # in place: there may be a hundred thousand for each direction
        sd = changes.square().mean(1).sqrt()
        raised, lowered = largest_by_blocks(changes, shown), largest_by_blocks(changes.neg_(), shown)
        yield VocabularyChanges(torch.stack([raised[1], lowered[1]], 1), torch.stack([raised[0], -lowered[0]], 1), mean, sd)
