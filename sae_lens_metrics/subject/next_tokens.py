"""What a model predicts of the next tokens, with its own activation at a hook or others in its place."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from sae_lens_metrics.errors import SubjectError
from sae_lens_metrics.functional.divergence import kl_divergence
from sae_lens_metrics.subject.backends import Backend, Prefix, each_part, unembedded_at_once

__all__ = ["losses", "losses_beside_clean"]

_LOGITS_AT_ONCE = 2**27
"""Logits that a run of the whole model may leave: half a gigabyte in float32."""


def losses(
    backend: Backend, prefix: Prefix, activation: Float[Tensor, "batch pos ..."] | None, vocabulary: int | None
) -> Float[Tensor, "batch pos-1"]:
    """Next-token cross-entropy in nats at every position but the last.

    Args:
        backend: Runs the model.
        prefix: The tokens, run up to the hook.
        activation: What is put in the place of the activation there, in its shape; ``None`` for the model's own.
        vocabulary: Number of tokens that the model knows, if it says so.

    Raises:
        SubjectError: If the logits hold NaN or infinity.
    """
    (each,) = _checked(_each_part(backend, prefix, [activation], vocabulary, _negative_log))
    return each[:, :-1]


def losses_beside_clean(
    backend: Backend, prefix: Prefix, activation: Float[Tensor, "batch pos ..."], vocabulary: int | None
) -> tuple[Float[Tensor, "batch pos-1"], Float[Tensor, "batch pos-1"], Float[Tensor, "batch pos"]]:
    """What ``losses`` gives without a replacement and with one, and the KL divergence from the former's outputs to the latter's.

    Args:
        backend: Runs the model.
        prefix: The tokens, run up to the hook.
        activation: What is put in the place of the activation there, in its shape.
        vocabulary: Number of tokens that the model knows, if it says so.

    Raises:
        SubjectError: If the logits hold NaN or infinity.
    """
    clean, changed, divergence = _checked(_each_part(backend, prefix, [None, activation], vocabulary, _losses_and_divergence))
    return clean[:, :-1], changed[:, :-1], divergence


def _each_part(
    backend: Backend, prefix: Prefix, activations: Sequence[Tensor | None], vocabulary: int | None, summarised: Callable[..., list[Tensor]]
) -> list[Float[Tensor, "batch pos"]]:
    """Runs the model on with each of the activations, and summarises the log-probabilities of every position, a few at a time."""
    tokens_of_tile = unembedded_at_once(prefix.activation.device, vocabulary)

    def of_part(rows: slice) -> list[Tensor]:
        part = prefix.rows(rows)
        outputs = [backend.before_unembedding(part, None if each is None else each[rows]).flatten(0, 1) for each in activations]
        next_tokens = part.tokens.roll(-1, 1).flatten().to(outputs[0].device)  # of a last position it is none: whoever asks leaves it out
        tiles = zip(next_tokens.split(tokens_of_tile), *(each.split(tokens_of_tile) for each in outputs), strict=True)
        summaries = [summarised([backend.unembedded(each).float().log_softmax(-1) for each in tile], target) for target, *tile in tiles]
        return [torch.cat(each).view(part.tokens.shape) for each in zip(*summaries, strict=True)]

    # where the parts have logits themselves, as few as may be held
    at_most = None if backend.abilities.unembeds else _LOGITS_AT_ONCE // len(activations) // (vocabulary or 2**16)
    parts = each_part(backend, prefix.tokens, of_part, at_most=at_most)
    return [torch.cat(each) for each in zip(*parts, strict=True)]


def _negative_log(log_p: Sequence[Tensor], next_tokens: Tensor) -> list[Tensor]:
    return [-each.gather(-1, next_tokens[:, None])[:, 0] for each in log_p]


def _losses_and_divergence(log_p: Sequence[Tensor], next_tokens: Tensor) -> list[Tensor]:
    clean, changed = log_p
    return [*_negative_log(log_p, next_tokens), kl_divergence(changed, clean)]


def _checked(summaries: list[Tensor]) -> list[Tensor]:
    if not all(bool(each.isfinite().all()) for each in summaries):
        raise SubjectError("the model's logits hold NaN or infinity: load it in float32 or bfloat16, and check the SAE's reconstruction")
    return summaries
