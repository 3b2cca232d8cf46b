"""Text on which latents fire, token by token, with what their explanations predict there."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.metrics.n2g.explanations import Explanations
from sae_lens_metrics.metrics.n2g.scores import Scores
from sae_lens_metrics.ranks import ALONE, Ranks
from sae_lens_metrics.results import FiringExample
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.corpus import Corpus
from sae_lens_metrics.text.token_text import TokenText

__all__ = ["Windows", "examples", "windows"]

_BEFORE, _AFTER = 16, 8
_DIGITS = 4
"""Significant digits of what is shown."""
_AT_ONCE = 8_192


class Windows(NamedTuple):
    """Stretches of text around some tokens, of one width."""

    place: Int[Tensor, "n width"]
    """The tokens, as sequence times sequence length plus column; arbitrary where not ``inside``."""
    inside: Bool[Tensor, "n width"]
    """Which of them are of the same document as the token in question, which always is."""


class _Chosen(NamedTuple):
    """Tokens of one text that examples are shown of."""

    kind: list[str]
    latent: Int[Tensor, "n"]
    position: Int[Tensor, "n"]


def examples(
    explanations: Explanations,
    scores: Scores,
    subject: Subject,
    text: Corpus,
    scoring: Corpus,
    config: MetricsConfig,
    ranks: Ranks = ALONE,
) -> list[FiringExample]:
    """Shows where latents fire and where their explanations say so, latent by latent.

    Of each latent up to ``config.n2g.shown`` examples of each kind: its largest activations on the scoring text, of different sequences
    ("top"); random ones of those that were held out of the text that its explanation was built from ("random"); random predictions on the
    scoring text ("predicted"). Memory: some 1.5 KB for each example.

    Args:
        explanations: The explanations.
        scores: Their scores.
        subject: The model and SAE that they explain.
        text: The text that they were built from.
        scoring: The text that they were scored on.
        config: ``batch_size`` and ``n2g.shown`` are used.
        ranks: The processes that do it together.
    """
    shown = config.n2g.shown
    if shown == 0:
        return []
    latents = explanations.latents
    held_out = _chosen(latents, random=explanations.held_out[:, :shown])
    scored = _chosen(latents, top=_apart(scores.top, scoring.tokens.shape[1])[:, :shown], predicted=scores.shown)
    wanted = ((scoring, scored), (text, held_out))
    found = [each for corpus, chosen in wanted for each in _shown(explanations, subject, corpus, chosen, config, ranks)]
    return sorted(found, key=lambda example: example.latent)


def windows(
    tokens: Int[Tensor, "sequences pos"],
    special: Bool[Tensor, "sequences pos"],
    position: Int[Tensor, "n"],
    before: int = _BEFORE,
    after: int = _AFTER,
) -> Windows:
    """What stands around some tokens within their sequence and document.

    Args:
        tokens: Sequences.
        special: Where documents end.
        position: Sequence times sequence length plus column of each token.
        before: Tokens in front of it at most.
        after: Tokens behind it at most.
    """
    offsets = torch.arange(-before, after + 1)
    column = (position % tokens.shape[1])[:, None] + offsets
    index = (position[:, None] + offsets).clamp(0, tokens.numel() - 1)
    outside = (column < 0) | (column >= tokens.shape[1]) | special.flatten()[index]
    # from the middle outwards, what lies behind a special token belongs to another document
    outside[:, :before] = outside[:, :before].flip(1).cummax(1).values.flip(1)
    outside[:, before + 1 :] = outside[:, before + 1 :].cummax(1).values
    return Windows(index, ~outside)


def _chosen(latents: Int[Tensor, "latents"], **positions: Int[Tensor, "latents shown"]) -> _Chosen:
    """Those positions that there are, -1 being none."""
    there = {kind: position >= 0 for kind, position in positions.items()}
    return _Chosen(
        [kind for kind, which in there.items() for _ in range(int(which.sum()))],
        torch.cat([latents[:, None].expand_as(which)[which] for which in there.values()]),
        torch.cat([positions[kind][which] for kind, which in there.items()]),
    )


def _apart(position: Int[Tensor, "latents n"], length: int) -> Int[Tensor, "latents n"]:
    """The positions without those in the sequence of an earlier one; -1 behind the last of a row."""
    sequence = position.div(length, rounding_mode="floor")
    same = sequence[:, :, None] == sequence[:, None]
    again = (same & torch.ones_like(same[0]).tril(-1)).any(2)
    position = position.masked_fill(again, -1)
    return position.gather(1, (position < 0).int().argsort(dim=1, stable=True))


def _shown(
    explanations: Explanations, subject: Subject, corpus: Corpus, chosen: _Chosen, config: MetricsConfig, ranks: Ranks
) -> Iterator[FiringExample]:
    """An example for each token chosen."""
    special = subject.language.special(corpus.tokens).cpu()
    around = windows(corpus.tokens, special, chosen.position)
    activations = ranks.total(ranks.together(lambda: _activations(subject, corpus, chosen.latent, around, config.batch_size, ranks)))
    latent = chosen.latent[:, None].expand_as(around.place)
    predictions = torch.zeros(around.place.shape)
    matcher = explanations.matcher(subject.device)
    predicted = matcher.predict(corpus.tokens, special, around.place[around.inside], latent[around.inside])
    predictions[around.inside] = predicted.float().cpu()
    words = _Words(TokenText(subject.language.tokenizer), corpus.tokens)
    for some in (slice(start, start + _AT_ONCE) for start in range(0, len(latent), _AT_ONCE)):  # lists take ten times the memory
        columns = (column[some].tolist() for column in (chosen.latent, around.place, around.inside, activations, predictions))
        for kind, of, place, inside, activation, prediction in zip(chosen.kind[some], *columns, strict=True):
            there = slice(inside.index(True), len(inside) - inside[::-1].index(True))
            values = ([_rounded(value) for value in row[there]] for row in (activation, prediction))
            yield FiringExample(of, kind, _BEFORE - there.start, [words[i] for i in place[there]], *values)


def _activations(
    subject: Subject, corpus: Corpus, latent: Int[Tensor, "n"], around: Windows, batch_size: int | None, ranks: Ranks
) -> Float[Tensor, "n width"]:
    """What each window's latent is on its tokens, in this process's sequences; 0 elsewhere."""
    values = torch.zeros(around.place.shape)
    # the same batches as in other runs over this text, which SAEs may share
    for batch in corpus.activations(subject, batch_size, progress="n2g: examples", ranks=ranks):
        first, tokens = batch.first * corpus.tokens.shape[1], batch.prefix.tokens.numel()
        token = around.place[:, _BEFORE]
        here = ((token >= first) & (token < first + tokens)).nonzero()[:, 0]
        places = (around.place[here] - first).clamp(0, tokens - 1).to(batch.position.device)
        row = batch.row_of(places).masked_fill(~around.inside[here].to(places.device), -1)
        for part, z in batch.latents() if len(here) else ():
            window, column = ((row >= part.start) & (row < part.start + len(z))).nonzero(as_tuple=True)
            found = z[row[window, column] - part.start, latent[here].to(z.device)[window]]
            values[here[window.cpu()], column.cpu()] = found.float().cpu()
    return values


class _Words:
    """Tokens of a text as people read them, each by itself."""

    def __init__(self, writer: TokenText, tokens: Int[Tensor, "sequences pos"]) -> None:
        self._tokens = tokens.flatten()
        known = self._tokens.unique().tolist()
        self._words = dict(zip(known, writer.write([[token] for token in known]), strict=True))

    def __getitem__(self, index: int) -> str:
        return self._words[int(self._tokens[index])]


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}") if value else 0.0
