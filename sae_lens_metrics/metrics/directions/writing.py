"""What latents write: their decoder rows, through the final norm and the unembedding."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_lens_metrics.functional.vocabulary_changes import VocabularyChanges, vocabulary_changes
from sae_lens_metrics.metrics.context import MetricContext
from sae_lens_metrics.metrics.directions.memory import AT_ONCE, POSITIONS
from sae_lens_metrics.subject.readout import Readout, find_readout
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.corpus import Corpus

__all__ = ["Writing", "next_tokens", "own_latents", "writing_of"]

_SEQUENCES = 16
"""Sequences that the positions are of, over which the final norm's slope is averaged."""
_TOKENS = 2**12
"""Tokens whose unembedding is held at once."""


@dataclass(frozen=True)
class Writing:
    """What one unit of each latent writes, before an SAE's normalisation is undone."""

    changes: VocabularyChanges
    """The tokens that it raises and lowers most, and the mean and spread of what it does to the vocabulary."""
    positions: int
    """Over how many positions the final norm's slope is averaged."""
    _readout: Readout
    _decoder: Float[Tensor, "d_sae d_model"]
    _slope: Float[Tensor, "d_model d_model"]
    """What the final norm does to small changes."""
    _usual: Float[Tensor, "d_model"]
    """The mean unembedding of the tokens that come next on the text."""

    def lift(self, following: Int[Tensor, "n"]) -> Float[Tensor, "n d_sae"]:
        """How far each latent raises some tokens, above the mean of those that come next on the text, in its own standard deviations.

        Args:
            following: The tokens.
        """
        columns = self._readout.columns(following).to(self._decoder.device) - self._usual
        return ((columns @ self._slope) @ self._decoder.T).div_(self.changes.sd.where(self.changes.sd > 0, torch.inf))


def writing_of(context: MetricContext, part: Corpus) -> Writing:
    """Multiplies all decoder rows with the final norm's mean slope and with the unembedding; each process does so with some of them.

    Args:
        context: The run.
        part: The text.

    Raises:
        SubjectError: If the model has no unembedding that can be reached from the hook.
    """
    subject, shown = context.subject, context.config.directions.shown
    readout = find_readout(subject.site)
    stream = _stream(subject, readout, part, context.config.batch_size)
    decoder, slope = subject.dictionary.decoder, readout.mean_slope(stream).to(subject.device)

    def logits(rows: Float[Tensor, "n d_model"]) -> Float[Tensor, "n vocabulary"]:
        return readout.logits(rows @ slope.T)

    own = own_latents(context)
    parts = context.ranks.each(lambda: vocabulary_changes(decoder[own], logits, readout.vocabulary, shown=shown, at_once=AT_ONCE))
    changes = VocabularyChanges(*(torch.cat(column) for column in zip(*parts, strict=True)))
    return Writing(changes, len(stream), readout, decoder, slope, _usual(subject, readout, part).to(subject.device))


def own_latents(context: MetricContext) -> slice:
    """The latents whose rows this process works on; those of all processes, in their order, are all latents."""
    own = context.ranks.mine(range(context.subject.d_sae))
    return slice(own[0], own[-1] + 1) if own else slice(0, 0)


def next_tokens(subject: Subject, tokens: Int[Tensor, "batch pos"]) -> Int[Tensor, "batch pos"]:
    """The token after each position; -1 where there is none, or a special one."""
    following = tokens.roll(-1, 1)
    special = subject.language.special(following).to(tokens.device)
    special[:, -1] = True
    return following.masked_fill(special, -1)


def _stream(subject: Subject, readout: Readout, part: Corpus, batch_size: int | None) -> Float[Tensor, "n d_model"]:
    """The residual stream before the final norm, at positions that count, at equal distances."""
    rows = [
        readout.stream(batch.prefix)[subject.site.valid(batch.prefix.tokens).to(batch.prefix.tokens.device)]
        for batch in part.spread(_SEQUENCES).activations(subject, batch_size, progress="directions")
    ]
    stream = torch.cat(rows)
    some = torch.linspace(0, len(stream) - 1, min(POSITIONS, len(stream)), dtype=torch.float64).round().long()
    return stream[some.to(stream.device)]


def _usual(subject: Subject, readout: Readout, part: Corpus) -> Float[Tensor, "d_model"]:
    """The mean unembedding over all tokens that come next at positions that count."""
    following = next_tokens(subject, part.tokens)[subject.site.valid(part.tokens).cpu()]
    tokens, count = following[following >= 0].unique(return_counts=True)
    total = torch.zeros(readout.weight.shape[0], device=readout.weight.device)
    for some, times in zip(tokens.split(_TOKENS), count.split(_TOKENS), strict=True):
        total += times.to(total) @ readout.columns(some)
    return total / max(1, int(count.sum()))
