"""From texts to what a probe reads of each: a model is run on them once, and every candidate is pooled over their tokens."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_lens_metrics.integrations.progress import progress
from sae_lens_metrics.subject.subject import Subject

__all__ = ["BLOCK", "Batch", "Dictionary", "Pooling", "TextActivations", "one_vector_each", "text_activations"]

BLOCK = 1024
"""Candidates whose values on single tokens are in memory at once."""

Pooling = Literal["last", "mean", "max"]

_PADDED = 1.25
"""How much longer than the shortest text of a batch its longest may be."""


@dataclass(frozen=True)
class Batch:
    """Activations of some texts, at one position each or at all that count."""

    texts: Int[Tensor, "batch"] | slice
    """Which texts they are; a slice where it is all of them, in order, which saves time."""
    x: Float[Tensor, "batch pos d_in"]
    """The model's activations, normalised where the SAE normalises them."""
    sae_input: Float[Tensor, "batch pos d_in"]
    """What latents are computed from: what the SAE's encoder applies its affine map to, or where none is known the model's activations."""
    counted: Bool[Tensor, "batch pos"]
    """Positions that count, at least one in each text: no padding, and never the first position of a text."""

    @property
    def nbytes(self) -> int:
        """Memory of the activations."""
        return self.x.nbytes + (0 if self.sae_input is self.x else self.sae_input.nbytes)


@dataclass(frozen=True)
class Dictionary:
    """Candidates for a probe: numbers that follow from one token's activation."""

    count: int
    """How many."""
    project: Callable[[Batch, slice], Float[Tensor, "batch pos candidates"]]
    """The values of some candidates on each token."""
    whole: bool = False
    """Whether computing a few of them costs what all of them cost, so that they should be asked for together."""


@dataclass(frozen=True)
class TextActivations:
    """The activations of texts, from which the pooled value of any candidate can be computed."""

    n: int
    """Number of texts."""
    batches: Callable[[], Iterable[Batch]]
    """All texts; each call runs the model again unless ``kept``."""
    pooling: Pooling
    """How the values of a text's tokens become one; no matter where every text has one position."""
    kept: bool
    """Whether the activations are in memory."""
    nbytes: int
    """Memory that they take for as long as this lives."""
    rows: int
    """Most tokens in one batch."""

    @classmethod
    def of_vectors(cls, x: Float[Tensor, "n d_in"], sae_input: Float[Tensor, "n d_in"]) -> "TextActivations":
        """One vector for each text: its last token's, or the mean."""
        batch = Batch(slice(None), x[:, None], sae_input[:, None], torch.ones(len(x), 1, dtype=torch.bool, device=x.device))
        return cls(len(x), lambda: [batch], "last", True, batch.nbytes, len(x))

    def columns(self, dictionary: Dictionary, candidates: slice) -> Float[Tensor, "n candidates"]:
        """The pooled values of some candidates for each text; start and stop of the slice must be given.

        The values on single tokens are computed for 1024 candidates at a time, which changes no result by more than rounding.
        """
        start, stop = candidates.start, candidates.stop
        width = stop - start if dictionary.whole else BLOCK
        z: Tensor | None = None
        for batch in self.batches():
            z = torch.empty(self.n, stop - start, device=batch.x.device) if z is None else z
            for first in range(start, stop, width):
                block = slice(first, min(first + width, stop))
                pooled = _pool(dictionary.project(batch, block), batch.counted, self.pooling)
                z[batch.texts, block.start - start : block.stop - start] = pooled
        assert z is not None, "there is at least one text"
        return z


def _pool(values: Float[Tensor, "batch pos k"], counted: Bool[Tensor, "batch pos"], pooling: Pooling) -> Float[Tensor, "batch k"]:
    """One number for each text from those of its tokens that count."""
    if values.shape[1] == 1:
        return values[:, 0]
    if pooling == "max":
        return values.masked_fill(~counted[..., None], -torch.inf).amax(1)
    if pooling == "mean":
        return values.masked_fill(~counted[..., None], 0).sum(1) / counted.sum(1, keepdim=True)
    last = counted.shape[1] - 1 - counted.flip(1).int().argmax(1)
    return values[torch.arange(len(values), device=values.device), last]


def one_vector_each(subject: Subject, pooling: Pooling) -> bool:
    """Whether one vector of each text is enough for what is asked about it.

    It is for the last token, and for the mean, from which the mean of an affine pre-activation can be computed.
    """
    return pooling == "last" or (pooling == "mean" and subject.dictionary.capabilities.affine_encoder is not None)


def text_activations(
    subject: Subject,
    parts: Sequence[Sequence[Sequence[int]]],
    pooling: Pooling,
    *,
    batch_size: int | None,
    keep_bytes: int,
) -> list[TextActivations]:
    """Runs the model on texts; those of all parts together where one vector of each is kept, which leaves little padding.

    For the maximum, and for the mean of what is not affine, the activations of all tokens are needed; they are kept if they fit,
    else the model runs again whenever values are asked for.

    Args:
        subject: The model and SAE.
        parts: Parts of the texts, as ``TextForm`` gives them.
        pooling: Which tokens of a text count, and how.
        batch_size: Texts that the model runs at once at most, if there is a limit.
        keep_bytes: Memory for the activations of all tokens, if they are needed.

    Returns:
        The activations of each part.

    Raises:
        SubjectError: If an activation holds NaN or infinity.
    """
    if one_vector_each(subject, pooling):
        return _of_vectors(subject, parts, pooling, batch_size)
    return [_of_all_tokens(subject, tokens, pooling, batch_size, keep_bytes) for tokens in parts]


def _of_all_tokens(
    subject: Subject, tokens: Sequence[Sequence[int]], pooling: Pooling, batch_size: int | None, keep_bytes: int
) -> TextActivations:
    chosen = _alike(subject, tokens, batch_size)

    def run() -> Iterator[Batch]:
        return (_run(subject, tokens, texts) for texts in chosen)

    rows = [len(texts) * len(tokens[texts[-1]]) for texts in chosen]
    nbytes = sum(rows) * subject.d_in * 4 * 2
    if nbytes > keep_bytes:
        return TextActivations(len(tokens), run, pooling, False, 0, max(rows))
    batches = list(run())
    return TextActivations(len(tokens), lambda: batches, pooling, True, nbytes, max(rows))


def _of_vectors(
    subject: Subject, parts: Sequence[Sequence[Sequence[int]]], pooling: Pooling, batch_size: int | None
) -> list[TextActivations]:
    tokens = [text for part in parts for text in part]
    x, given = torch.empty(len(tokens), subject.d_in, device=subject.device), None
    with progress("probe: reading texts", unit="token", total=sum(map(len, tokens)), scaled=True) as bar:
        for texts in _alike(subject, tokens, batch_size):
            batch = _run_to_last(subject, tokens, texts) if pooling == "last" else _run(subject, tokens, texts)
            x[batch.texts] = _pool(batch.x, batch.counted, pooling)
            # a mean is taken in float32, while one token's input stays as the SAE would have it
            pooled = _pool(batch.sae_input if pooling == "last" else batch.sae_input.float(), batch.counted, pooling)
            given = pooled.new_empty(len(tokens), subject.d_in) if given is None else given
            given[batch.texts] = pooled
            bar.update(sum(len(tokens[i]) for i in texts))
    assert given is not None, "there is at least one text"
    sizes = list(map(len, parts))
    return [TextActivations.of_vectors(*each) for each in zip(x.split(sizes), given.split(sizes), strict=True)]


def _alike(subject: Subject, tokens: Sequence[Sequence[int]], batch_size: int | None) -> list[list[int]]:
    """The texts, shortest first, in batches that need little padding."""
    batches: list[list[int]] = []
    for i in sorted(range(len(tokens)), key=lambda i: len(tokens[i])):
        length = len(tokens[i])
        batch = batches[-1] if batches else []
        fits = len(batch) < subject.site.rows_at_once(length, batch_size)
        if batch and fits and length <= _PADDED * len(tokens[batch[0]]) + 1:
            batch.append(i)
        else:
            batches.append([i])
    return batches


def _run(subject: Subject, tokens: Sequence[Sequence[int]], texts: list[int]) -> Batch:
    padded, lengths = _padded(subject, tokens, texts)
    x = subject.site.activations(subject.site.prefix(padded))
    position = torch.arange(x.shape[1], device=x.device)
    return _batch(subject, texts, x, (position > 0) & (position < lengths[:, None]))


def _run_to_last(subject: Subject, tokens: Sequence[Sequence[int]], texts: list[int]) -> Batch:
    padded, lengths = _padded(subject, tokens, texts)
    x = subject.site.activations_at(padded, lengths - 1)[:, None]
    return _batch(subject, texts, x, torch.ones(len(texts), 1, dtype=torch.bool, device=x.device))


def _padded(subject: Subject, tokens: Sequence[Sequence[int]], texts: list[int]) -> tuple[Int[Tensor, "batch pos"], Int[Tensor, "batch"]]:
    """The texts as rows, and their lengths.

    Padding stands to the right, where a causal model's last real token does not see it; any token will do.
    """
    rows = [torch.tensor(tokens[i]) for i in texts]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), torch.tensor(list(map(len, rows)), device=subject.device)


def _batch(subject: Subject, texts: list[int], x: Float[Tensor, "batch pos d_in"], counted: Bool[Tensor, "batch pos"]) -> Batch:
    given = subject.dictionary.encoder_input(x)
    return Batch(torch.tensor(texts, device=x.device), subject.dictionary.normalised(x), x if given is None else given, counted)
