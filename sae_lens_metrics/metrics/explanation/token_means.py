"""Activations as far as the last one or two tokens say: the baselines of explanation reconstruction."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_lens_metrics.functional.conditional_means import ConditionalMeans
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.batches import ActivationBatch

__all__ = ["TokenMeans"]


class TokenMeans:
    """Mean activations: over all positions, given the token, and given the last two tokens.

    A pair that the training text lacks backs off to the token alone, a token that it lacks to the mean over all.

    Args:
        subject: The model and SAE.
        most: Different pairs to keep at most, those that come first; a pair takes 4 x d_out bytes and some.
    """

    def __init__(self, subject: Subject, *, most: int) -> None:
        self._all = ConditionalMeans(subject.d_out, most=1, device=subject.device)
        self._tokens = ConditionalMeans(subject.d_out, most=subject.language.vocabulary or most, device=subject.device)
        self._pairs = ConditionalMeans(subject.d_out, most=most, device=subject.device)

    @property
    def overflow(self) -> int:
        """Training positions whose pair was left out, as too many were kept already."""
        return self._pairs.overflow

    def learn(self, batch: ActivationBatch) -> None:
        """Adds training positions."""
        for means, key in zip((self._all, self._tokens, self._pairs), _keys(batch), strict=True):
            means.add(key, batch.y)

    def predict(self, batch: ActivationBatch) -> tuple[dict[str, Float[Tensor, "n d_out"]], Float[Tensor, "n"]]:
        """The three baselines, ``mean``, ``unigram`` and ``bigram``; and where the last of them backs off, as 0 and 1."""
        everywhere, token, pair = _keys(batch)
        mean, _ = self._all.lookup(everywhere)
        of_token, known = self._tokens.lookup(token)
        unigram = torch.where(known[:, None], of_token, mean)
        of_pair, known = self._pairs.lookup(pair)
        return {"mean": mean, "unigram": unigram, "bigram": torch.where(known[:, None], of_pair, unigram)}, (~known).float()


def _keys(batch: ActivationBatch) -> tuple[Int[Tensor, "n"], Int[Tensor, "n"], Int[Tensor, "n"]]:
    """One key for all positions, the tokens, and the pairs of tokens; before a sequence's first token there is none."""
    tokens = batch.prefix.tokens.to(batch.position.device).long()
    before = torch.nn.functional.pad(tokens + 1, (1, 0))[:, :-1]
    token = tokens.flatten()[batch.position]
    return torch.zeros_like(token), token, before.flatten()[batch.position] * 2**31 + token
