"""Activations as far as the last one or two tokens say: the baselines of explanation reconstruction."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_lens_metrics.functional.conditional_means import ConditionalMeans
from sae_lens_metrics.functional.runs_of_rows import runs_of_rows
from sae_lens_metrics.metrics.explanation.token_state import TokenState
from sae_lens_metrics.ranks import Ranks
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.batches import ActivationBatch
from sae_lens_metrics.text.corpus import Corpus

__all__ = ["TokenMeans", "parts_that_fit"]


class TokenMeans:
    """Mean activations: over all positions, given the token, and given the last two tokens.

    A pair that the training text lacks backs off to the token alone, a token that it lacks to the mean over all. Means are of activations
    with one state of the SAE's normalisation, and get back the state of the token at which they are asked for, as reconstructions do.

    Only the tokens and pairs that will be asked for are kept, which changes no mean.

    Args:
        subject: The model and SAE.
        asked: The sequences for which ``predict`` will be called, [sequences, pos].
    """

    def __init__(self, subject: Subject, asked: Int[Tensor, "sequences pos"]) -> None:
        self._means = [ConditionalMeans(key.to(subject.device), subject.d_out) for key in _keys(asked)]

    def learn(self, batch: ActivationBatch) -> None:
        """Adds training positions."""
        y = TokenState(batch.subject.dictionary, batch.x).remove(batch.y)
        for means, key in zip(self._means, _keys_at_positions(batch), strict=True):
            means.add(key, y)

    def combine(self, ranks: Ranks) -> None:
        """Takes in what other processes have learned from their parts of the training positions."""
        for means in self._means:
            means.combine(ranks.total)

    def predict(self, batch: ActivationBatch) -> tuple[dict[str, Float[Tensor, "n d_out"]], Float[Tensor, "n"]]:
        """The three baselines, ``mean``, ``unigram`` and ``bigram``; and where the last of them backs off, as 0 and 1."""
        found = [means.lookup(key) for means, key in zip(self._means, _keys_at_positions(batch), strict=True)]
        (mean, _), (of_token, token_known), (of_pair, pair_known) = found
        unigram = torch.where(token_known[:, None], of_token, mean)
        bigram = torch.where(pair_known[:, None], of_pair, unigram)
        state = TokenState(batch.subject.dictionary, batch.x)
        baselines = {"mean": mean, "unigram": unigram, "bigram": bigram}
        return {name: state.restore(y) for name, y in baselines.items()}, (~pair_known).float()


def parts_that_fit(corpus: Corpus, width: int, memory: float) -> Iterator[Int[Tensor, "part pos"]]:
    """Consecutive parts of a corpus, each of them with so few different tokens and pairs that their means fit in memory.

    Args:
        corpus: What means will be asked for.
        width: Length of the means.
        memory: Bytes; a part has at least one sequence, whatever that takes.
    """
    _, token, pair = _keys(corpus.tokens)
    keys = torch.cat([-1 - token, pair], dim=1)  # no token is taken for a pair
    for rows in runs_of_rows(keys, int(memory / ConditionalMeans.bytes_per_key(width))):
        yield corpus.tokens[rows]


def _keys(tokens: Int[Tensor, "sequences pos"]) -> tuple[Tensor, Tensor, Tensor]:
    """One key for all positions, the tokens, and the pairs of tokens, none negative; before a sequence's first token there is none."""
    token = tokens.long()
    before = torch.nn.functional.pad(token + 1, (1, 0))[:, :-1]
    return torch.zeros_like(token), token, before * 2**31 + token


def _keys_at_positions(batch: ActivationBatch) -> Iterator[Int[Tensor, "n"]]:
    """The same where activations count."""
    return (key.flatten()[batch.position] for key in _keys(batch.prefix.tokens.to(batch.position.device)))
