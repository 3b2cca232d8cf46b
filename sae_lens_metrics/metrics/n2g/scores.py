"""Precision, recall and F1 of N2G explanations, latent by latent (Gao et al. 2024, section 4.3)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_lens_metrics.functional.jackknife import GROUPS, random_groups
from sae_lens_metrics.functional.nonzeros import nonzeros
from sae_lens_metrics.functional.sampling import GroupedLargest, GroupedSample
from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.metrics.n2g.explanations import Explanations
from sae_lens_metrics.metrics.n2g.gathering import gather_kept
from sae_lens_metrics.ranks import ALONE, Ranks
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.batches import ActivationBatch
from sae_lens_metrics.text.corpus import Corpus

__all__ = ["ENOUGH_PREDICTIONS", "GroupCounts", "Rebuilt", "Scores", "score"]


ENOUGH_PREDICTIONS = 8
"""Positions at least where an explanation must fire for its precision to count among those of full samples."""


@dataclass(frozen=True)
class GroupCounts:
    """Counts by groups of documents."""

    fired: Int[Tensor, "latents groups"]
    """As in ``Scores``, and likewise below."""
    predicted: Int[Tensor, "latents groups"]
    hits: Int[Tensor, "latents groups"]
    held_out: Int[Tensor, "latents examples"]
    """The group of each activation that was held out."""


@dataclass(frozen=True)
class Rebuilt:
    """Explanations of some latents that were built from the activations that were held out of the others."""

    at: Int[Tensor, "some"]
    """Their indices among the latents that were asked about."""
    predicted: Int[Tensor, "some groups"]
    """As in ``GroupCounts``, and likewise below."""
    hits: Int[Tensor, "some groups"]


@dataclass(frozen=True)
class Scores:
    """How well explanations predict where latents fire; each tensor has an entry for each latent that was asked about."""

    fired: Int[Tensor, "latents"]
    """Positions of the scoring text where the latent fires."""
    predicted: Int[Tensor, "latents"]
    """Positions where its explanation says that it does."""
    hits: Int[Tensor, "latents"]
    """Positions where both do."""
    held_out: Bool[Tensor, "latents examples"]
    """Where there is an activation that was held out of the text that the explanation was built from."""
    held_out_predicted: Float[Tensor, "latents examples"]
    """What the explanation predicts there, 0 for nothing."""
    tokens: int
    """Positions of the scoring text that count."""
    shown: Int[Tensor, "latents shown"]
    """A random sample of the predicted positions, as sequence times sequence length plus column; -1 where there are fewer."""
    top: Int[Tensor, "latents top"]
    """The positions of the scoring text where the latent is largest, in absolute value; likewise."""
    by_group: "GroupCounts"
    """What falls into each group of documents, for standard errors."""
    rebuilt: "Rebuilt | None" = None
    """Some of the explanations as they would be had other activations been drawn, for standard errors; ``None`` for none."""

    def without(self, group: int) -> "Scores":
        """The scores as they would be without the documents of a group, but for which latents have which explanations."""
        by = self.by_group
        return replace(
            self,
            fired=self.fired - by.fired[:, group],
            predicted=self.predicted - by.predicted[:, group],
            hits=self.hits - by.hits[:, group],
            held_out=self.held_out & (by.held_out != group),
            held_out_predicted=self.held_out_predicted.masked_fill(by.held_out == group, 0),
        )

    def full(self, examples: int) -> Bool[Tensor, "latents"]:
        """Latents with a full sample: as many activations held out as were to be, and enough predictions to tell a precision."""
        return (self.held_out.sum(1) >= examples) & (self.predicted >= ENOUGH_PREDICTIONS)

    @property
    def precision(self) -> Float[Tensor, "latents"]:
        """P(latent fires | predicted); NaN where nothing was predicted."""
        return self.hits.double() / self.predicted

    @property
    def recall(self) -> Float[Tensor, "latents"]:
        """P(predicted | latent fires), on the held-out activations; NaN where there are none."""
        return (self.held_out_predicted != 0).sum(1).double() / self.held_out.sum(1)

    @property
    def f1(self) -> Float[Tensor, "latents"]:
        """Harmonic mean of precision and recall; 0 where the explanation never fires, or either is 0."""
        precision, recall = self.precision.nan_to_num(0), self.recall.nan_to_num(0)
        return 2 * precision * recall / (precision + recall).clamp_min(torch.finfo(torch.float64).tiny)


_TOP = 4
"""As many times the positions to show are kept of the largest activations, as several can be in one sequence."""


def score(
    explanations: Explanations,
    subject: Subject,
    text: Corpus,
    scoring: Corpus,
    config: MetricsConfig,
    rebuilt: Explanations | None = None,
    ranks: Ranks = ALONE,
) -> Scores:
    """Scores explanations: recall on the activations held out of their text, precision on other text.

    Args:
        explanations: The explanations.
        subject: The model and SAE that they explain.
        text: The text that they were built from.
        scoring: Text of other documents.
        config: ``seed``, ``batch_size`` and ``n2g.shown`` are used.
        rebuilt: Other explanations of some of the latents, to be scored in the same pass.
        ranks: The processes that do it together.
    """
    shown = GroupedSample(subject.d_sae, max(1, config.n2g.shown), seed=config.seed, device=subject.device)
    firings, matching = _Firings(explanations.latents, subject, config), [_Matching(explanations, subject, shown)]
    if rebuilt is not None:
        matching.append(_Matching(rebuilt, subject))
    tokens = sum(ranks.each(lambda: _count_all(subject, scoring, config, firings, matching, ranks)))
    for each in (firings, *matching):
        each.combine(ranks)
    first, *again = matching
    latents = explanations.latents.to(subject.device)
    fired, predicted, hits = (_of(latents, counts) for counts in (firings.fired, first.predicted, first.hits))
    return Scores(
        fired=fired.sum(1),
        predicted=predicted.sum(1),
        hits=hits.sum(1),
        held_out=explanations.held_out >= 0,
        held_out_predicted=first.held_out_predicted(text),
        tokens=tokens,
        shown=_of(latents, shown.item),
        top=_of(latents, firings.top.item),
        by_group=GroupCounts(fired, predicted, hits, _groups_of_held_out(explanations, text, config)),
        rebuilt=again[0].rebuilt(explanations) if again else None,
    )


def _count_all(
    subject: Subject, scoring: Corpus, config: MetricsConfig, firings: "_Firings", matching: "Sequence[_Matching]", ranks: Ranks
) -> int:
    """Goes through this process's sequences; how many positions count there."""
    group = random_groups(scoring.units, GROUPS, seed=config.seed).to(subject.device)
    tokens = 0
    for batch in scoring.activations(subject, config.batch_size, progress="n2g: scoring", ranks=ranks):
        tokens += len(batch.x)
        of = group[batch.first :][batch.sequence]
        matched = [each.match(batch, of) for each in matching]
        for rows, z in batch.latents():  # encoded once for all
            firings.add(batch, of, rows, z)
            for each, matches in zip(matching, matched, strict=True):
                each.add(batch, of, matches, rows, z)
    return tokens


def _of(latents: Int[Tensor, "latents"], each: Int[Tensor, "d_sae n"]) -> Int[Tensor, "latents n"]:
    return each[latents].long().cpu()


def _groups_of_held_out(explanations: Explanations, text: Corpus, config: MetricsConfig) -> Int[Tensor, "latents examples"]:
    sequence = explanations.held_out.clamp_min(0) // text.tokens.shape[1]
    return random_groups(text.units, GROUPS, seed=config.seed)[sequence]


class _Firings:
    """Where latents fire: how often, and where they are largest."""

    def __init__(self, latents: Int[Tensor, "latents"], subject: Subject, config: MetricsConfig) -> None:
        self.fired = _no_counts(subject)
        self.top = GroupedLargest(subject.d_sae, _TOP * max(1, config.n2g.shown), device=subject.device)
        self._asked = torch.zeros(subject.d_sae, dtype=torch.bool, device=subject.device)
        self._asked[latents.to(subject.device)] = True

    def add(self, batch: ActivationBatch, group: Int[Tensor, "n"], rows: slice, z: Float[Tensor, "rows d_sae"]) -> None:
        """Adds the activations of some rows of a batch, each position of a group of documents."""
        for fires, of in nonzeros((z != 0) & self._asked):
            _count(self.fired, of, group[rows][fires])
            value = z[fires, of]
            large = value.abs() >= self.top.least[of]
            self.top.add(of[large], batch.in_corpus[rows][fires[large]], value[large])

    def combine(self, ranks: Ranks) -> None:
        """Takes in what other processes have found in their sequences."""
        self.fired = ranks.total(self.fired)
        gather_kept(self.top, ranks)


class _Matching:
    """How often explanations say that latents fire, and how often they are right."""

    def __init__(self, explanations: Explanations, subject: Subject, shown: GroupedSample | None = None) -> None:
        self._explanations, self._subject, self._shown = explanations, subject, shown
        self._matcher = explanations.matcher(subject.device)
        self.predicted, self.hits = _no_counts(subject), _no_counts(subject)

    def match(self, batch: ActivationBatch, group: Int[Tensor, "n"]) -> tuple[Int[Tensor, "matches"], Int[Tensor, "matches"]]:
        """Counts where explanations fire in a batch, each position of a group of documents; gives the rows and the latents."""
        tokens = batch.prefix.tokens.to(self._subject.device)
        matches = self._matcher.match(tokens, self._subject.language.special(tokens))
        row = batch.row_of(matches.position)
        evaluated = row >= 0
        row, latent = row[evaluated], matches.latent[evaluated]
        _count(self.predicted, latent, group[row])
        return row, latent

    def add(
        self,
        batch: ActivationBatch,
        group: Int[Tensor, "n"],
        matches: tuple[Int[Tensor, "matches"], Int[Tensor, "matches"]],
        rows: slice,
        z: Float[Tensor, "rows d_sae"],
    ) -> None:
        """Counts where the activations of some rows of a batch meet what ``match`` found."""
        row, latent = matches
        here = (row >= rows.start) & (row < rows.start + len(z))
        row, latent = row[here], latent[here]
        activation = z[row - rows.start, latent]
        _count(self.hits, latent[activation != 0], group[row[activation != 0]])
        if self._shown is not None:
            self._shown.add(latent, batch.in_corpus[row], activation)

    def combine(self, ranks: Ranks) -> None:
        """Takes in what other processes have found in their sequences."""
        self.predicted, self.hits = ranks.total(self.predicted), ranks.total(self.hits)
        if self._shown is not None:
            gather_kept(self._shown, ranks)

    def held_out_predicted(self, text: Corpus) -> Float[Tensor, "latents examples"]:
        """Predictions where activations were held out, 0 where there are fewer."""
        position = self._explanations.held_out
        there = position >= 0
        latent = self._explanations.latents[:, None].expand_as(there)[there]
        values = self._matcher.predict(text.tokens, self._subject.language.special(text.tokens), position[there], latent)
        return torch.zeros(there.shape).masked_scatter(there, values.float().cpu())

    def rebuilt(self, explanations: Explanations) -> Rebuilt:
        """What was counted, beside explanations of these latents and others."""
        latents = self._explanations.latents
        at = torch.searchsorted(explanations.latents, latents)
        return Rebuilt(at, *(_of(latents.to(self._subject.device), counts) for counts in (self.predicted, self.hits)))


def _no_counts(subject: Subject) -> Int[Tensor, "d_sae groups"]:
    return torch.zeros(subject.d_sae, GROUPS, dtype=torch.int32, device=subject.device)


def _count(counts: Int[Tensor, "d_sae groups"], latent: Int[Tensor, "n"], group: Int[Tensor, "n"]) -> None:
    """Adds one at each latent's group."""
    counts.flatten().index_add_(0, latent * counts.shape[1] + group, torch.ones_like(latent, dtype=counts.dtype))
