"""The activations of a subject on some sequences, as metrics take them."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_lens_metrics.errors import CorpusError
from sae_lens_metrics.integrations.progress import progress as bar_of
from sae_lens_metrics.ranks import ALONE, Ranks
from sae_lens_metrics.subject.backends import Prefix
from sae_lens_metrics.subject.subject import Subject

__all__ = ["ActivationBatch", "activation_batches", "check_vocabulary"]


@dataclass(frozen=True)
class ActivationBatch:
    """The activations of some sequences at the positions that count."""

    subject: Subject = field(repr=False)
    """Whose activations they are."""
    prefix: Prefix
    """The sequences, run up to the hook."""
    x: Float[Tensor, "n d_in"]
    """Activations at the valid positions, as the SAE reads them."""
    y: Float[Tensor, "n d_out"]
    """What the SAE reconstructs there: the same, or, for a transcoder, the activations at its output."""
    position: Int[Tensor, "n"]
    """Where each activation is in the batch: its sequence times the sequences' length, plus its column."""
    first: int
    """Index of the batch's first sequence in the corpus."""

    @property
    def sequence(self) -> Int[Tensor, "n"]:
        """Index of each activation's sequence within the batch."""
        return self.position // self.prefix.tokens.shape[1]

    @property
    def in_corpus(self) -> Int[Tensor, "n"]:
        """Where each activation is in the corpus, counted as in ``position``."""
        return self.position + self.first * self.prefix.tokens.shape[1]

    def row_of(self, position: Int[Tensor, "m"]) -> Int[Tensor, "m"]:
        """Which activation is at some positions of the batch; -1 where none counts."""
        rows = torch.full((self.prefix.tokens.numel(),), -1, device=self.position.device)
        rows[self.position] = torch.arange(len(self.position), device=rows.device)
        return rows[position]

    def chunks(self) -> Iterator[slice]:
        """Parts of the activations whose dense latents fit in memory; none where no position counts."""
        chunk = self.subject.dictionary.chunk
        return (slice(start, start + chunk) for start in range(0, len(self.x), chunk))

    def latents(self) -> Iterator[tuple[slice, Float[Tensor, "part d_sae"]]]:
        """Each of ``chunks``, and the dense latents of its activations."""
        return ((rows, self.subject.dictionary.encode(self.x[rows])) for rows in self.chunks())

    def per_sequence(self, values: Float[Tensor, "n ..."]) -> Float[Tensor, "batch ..."]:
        """Sums values over the positions of each sequence, in float64."""
        values = values.cpu() if values.device.type == "mps" else values  # which has no float64
        sums = torch.zeros(len(self.prefix.tokens), *values.shape[1:], dtype=torch.float64, device=values.device)
        return sums.index_add_(0, self.sequence.to(values.device), values.double()).cpu()

    def to_positions(self, values: Float[Tensor, "n d_out"]) -> Float[Tensor, "batch pos d_out"]:
        """Puts one vector per valid position back into the shape of the sequences, zero elsewhere."""
        valid = self.subject.site.valid(self.prefix.tokens)
        full = torch.zeros(*valid.shape, values.shape[-1], dtype=values.dtype, device=values.device)
        full[valid] = values
        return full


def activation_batches(
    subject: Subject, tokens: Int[Tensor, "sequences pos"], batch_size: int | None, *, progress: str, ranks: Ranks = ALONE
) -> Iterator[ActivationBatch]:
    """Runs a subject over sequences, with a progress bar where that takes more than two seconds.

    Several processes share whole batches, so that each batch is what it would be in one process, but where those are too few.

    Args:
        subject: The model and SAE.
        tokens: The sequences.
        batch_size: Sequences at once at most; ``None`` for as many as suit the device.
        progress: What the bar says.
        ranks: The processes that do it together; the batches are those of this one.

    Raises:
        CorpusError: If a token is not in the model's vocabulary.
    """
    check_vocabulary(tokens, subject)
    batch_size = min(subject.site.rows_at_once(tokens.shape[1], batch_size), max(1, len(tokens) // ranks.size))
    mine = ranks.mine(range(0, len(tokens), batch_size))
    total = sum(len(tokens[first : first + batch_size]) for first in mine) * tokens.shape[1]
    with bar_of(progress, unit="token", total=total, scaled=True) as bar:
        for first in mine:
            part = tokens[first : first + batch_size]
            prefix = subject.site.prefix(part)
            valid = subject.site.valid(part)
            x = subject.site.activations(prefix)[valid]
            y = subject.site.targets(prefix)[valid] if subject.is_transcoder else x
            yield ActivationBatch(subject, prefix, x, y, valid.flatten().nonzero()[:, 0], first)
            bar.update(part.numel())


def check_vocabulary(tokens: Int[Tensor, "sequences pos"], subject: Subject) -> None:
    """Makes sure that the model knows every token; on a GPU, one that it does not know would end the process.

    Raises:
        CorpusError: If a token is not in the model's vocabulary.
    """
    largest, vocabulary = int(tokens.max()), subject.language.vocabulary
    if vocabulary is not None and (largest >= vocabulary or int(tokens.min()) < 0):
        raise CorpusError(f"token {largest} is not in the model's vocabulary of {vocabulary}: was this text made for it?")
