"""How much a model is run on at once: on a GPU as much as its memory allows, on a CPU as much as its caches hold."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from jaxtyping import Int
from torch import Tensor

from sae_lens_metrics.functional.threads import Map, chunk_threads
from sae_lens_metrics.subject.backends.full_run import evaluating, widest_layer
from sae_lens_metrics.subject.backends.protocol import Backend

__all__ = ["concurrently", "each_part", "rows_of", "tokens_at_once", "tokens_of_a_run", "unembedded_at_once"]

Answer = TypeVar("Answer")

_OF_A_THREAD = 1024
"""Tokens that a thread of a CPU runs at once: enough to keep its arithmetic busy, few enough for what a layer writes to stay in cache."""
_MOST = {"cpu": 2**15, "cuda": 2**16}
_ELSEWHERE = 2**13
_SHARE = 1 / 4
"""Of a GPU's free memory that one run of the model may take."""
_LOGITS = {"cpu": 2**19}
_LOGITS_ELSEWHERE = 2**27
"""Half a gigabyte in float32."""
_FEWEST = 128
"""Tokens that are unembedded at once at least, as all weights of the unembedding are read each time."""


def tokens_of_a_run(model: Any, device: torch.device) -> int:
    """Tokens that one run of a model is best given: of a thread, on a CPU.

    A GPU waits for the start of each operation, however little that has to do, so it gets as many tokens as fit: a power of two, so
    that the number is the same in the next run.

    Args:
        model: The model.
        device: Where it runs.
    """
    if device.type == "cuda":
        fitting = max(1, int(_free(device) * _SHARE / (4 * widest_layer(model))))
        return min(_MOST["cuda"], max(_OF_A_THREAD, 2 ** (fitting.bit_length() - 1)))
    return 2 * _OF_A_THREAD if device.type == "cpu" else _ELSEWHERE


def tokens_at_once(model: Any, device: torch.device) -> int:
    """Tokens of a batch of text: those of a run, for each thread of a CPU.

    Args:
        model: The model.
        device: Where it runs.
    """
    of_a_run = tokens_of_a_run(model, device)
    return min(_MOST["cpu"], of_a_run * torch.get_num_threads()) if device.type == "cpu" else of_a_run


def unembedded_at_once(device: torch.device, vocabulary: int | None) -> int:
    """Tokens whose logits are held at once while something is computed from them.

    Args:
        device: Where the logits are.
        vocabulary: Logits of a token, if that is known.
    """
    return max(_FEWEST, _LOGITS.get(device.type, _LOGITS_ELSEWHERE) // (vocabulary or 2**16))


def rows_of(tokens: int, length: int, ceiling: int | None = None) -> int:
    """Rows of some length that have so many tokens, at least one.

    Args:
        tokens: How many tokens.
        length: Tokens of a row.
        ceiling: Rows at most, if there is a limit.
    """
    return max(1, min(tokens // max(1, length), ceiling or tokens))


@contextmanager
def concurrently(backend: Backend, device: torch.device) -> Iterator[Map]:
    """A `map` for questions to a backend: on several threads, where it allows that.

    Args:
        backend: Runs the model.
        device: Whose threads are used.
    """
    with evaluating(backend.model):  # here already, as threads must not switch modes under each other
        if backend.abilities.concurrent:
            with chunk_threads(device) as threads:
                yield threads
        else:
            yield map


def each_part(
    backend: Backend, tokens: Int[Tensor, "rows pos"], answer: Callable[[slice], Answer], *, at_most: int | None = None
) -> list[Answer]:
    """Answers for some of the rows at a time, as many as one run of the model is best given.

    Args:
        backend: Runs the model.
        tokens: The rows.
        answer: Asks the backend about a part of the rows; on several threads, where the backend allows it.
        at_most: Tokens of a part, if there is a limit.
    """
    device = backend.device
    tokens_of_part = tokens.numel() if at_most is None else at_most
    if device.type == "cpu" and backend.abilities.unembeds:
        tokens_of_part = min(tokens_of_part, _OF_A_THREAD * (1 if backend.abilities.concurrent else torch.get_num_threads()))
    rows = rows_of(tokens_of_part, tokens.shape[1])
    with concurrently(backend, device) as every:
        return list(every(answer, [slice(i, i + rows) for i in range(0, len(tokens), rows)]))


def _free(device: torch.device) -> int:
    """Bytes that new tensors may take, those that PyTorch holds for reuse included."""
    return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
