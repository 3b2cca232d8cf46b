"""Explanations that need no run of the model: can short lists of rules about tokens say where latents fire?"""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae_lens_metrics.functional.jackknife import GROUPS, jackknife_variance_of_mean
from sae_lens_metrics.functional.significance import welch_degrees_of_freedom
from sae_lens_metrics.metrics.context import MetricContext
from sae_lens_metrics.metrics.n2g.errors import Average, Errors, Moved, moved_by_rebuilding
from sae_lens_metrics.metrics.n2g.scores import Scores
from sae_lens_metrics.metrics.n2g.shared import explanations_of, scores_of, texts_of
from sae_lens_metrics.metrics.rules.learning import LearnedRules
from sae_lens_metrics.metrics.rules.scores import LENGTHS, RuleScores
from sae_lens_metrics.metrics.rules.shared import learned_rules_of, rule_scores_of
from sae_lens_metrics.metrics.rules.written import written
from sae_lens_metrics.results import Estimate, MetricResult, Row

__all__ = ["rules"]

_FREQUENT = 32
"""Firings in the first half from which on a latent is not learned from too few; as many as N2G has of each at most."""
_ONE_TOKEN = 0.5
"""F1 from which on one token counts as explaining a latent."""
_NO_N2G = "it compares with N2G's explanations: ask for the metric n2g, too"


def rules(context: MetricContext) -> MetricResult:
    """Explains latents by rules about tokens, and measures how well these say where the latents fire.

    Rules are learned from where latents fire in the first half of the corpus's documents, and scored on all positions of the second half,
    as N2G's precision is. The mean is over latents that fire at least twice in the first half and once in the second; one of which no
    rule is worth its words has an F1 of 0.

    - ``f1_frequent``: F1 of those latents alone that fire 32 times in the first half, by which SAEs of different sizes can be compared.
    - ``f1``, ``precision``, ``recall``: means over latents; precision over those whose rules fire at all. ``f1_1`` … ``f1_64``: F1 of the
      first rules of each list.
    - ``f1_token_set``: the best set of tokens without any context, learned by the same measure; ``f1_minus_token_set``: the paired
      difference.
    - ``f1_n2g``, ``f1_minus_n2g``: that of N2G's explanations, on the same positions, of the latents that N2G explains; where ``n2g`` is
      among the metrics asked for.
    - ``one_token``: share of latents whose best single token has an F1 of at least 0.5.
    - ``length``, ``length_token_set``, ``bits``: rules of a latent, tokens of its set, and bits to write its rules down.

    Standard errors join what leaving out groups of documents to score on moves, and, of some latents, groups of documents to learn from;
    that of the difference to N2G also holds what other activations to explain from would move.

    Args:
        context: The run: subject, text and settings.
    """
    subject = context.subject
    learned, scores = context.once(learned_rules_of), context.once(rule_scores_of)
    table = _Table(learned, scores, _n2g(context))
    text, scoring = context.once(texts_of)
    documents = "which are of other documents" if text.is_apart_from(scoring) else "which may be of the same documents"
    return MetricResult(
        table.estimates(),
        tables={"latents": table.rows(), **written(learned.rules, subject, context.config.rules.within)},
        notes=[f"rules come from {len(text)} sequences, scores from {len(scoring)}, {documents}"],
    )


def _n2g(context: MetricContext) -> tuple[Tensor, Scores] | None:
    """N2G's latents and scores, where they were asked for."""
    if "n2g" not in context.config.names:
        return None
    return context.once(explanations_of).latents, context.once(scores_of)


class _Table:
    """What is known of each latent."""

    def __init__(self, learned: LearnedRules, scores: RuleScores, n2g: tuple[Tensor, Scores] | None) -> None:
        self._learned, self._scores, self._n2g = learned, scores, n2g
        fired = scores.fired_without(None)
        self.counted = (learned.fired > 1) & (fired > 0)
        self._frequent = self.counted & (learned.fired >= _FREQUENT)
        self._rare = ~self.counted & (learned.fired + fired > 0)
        self._length, self._tokens = (torch.bincount(each.latent, minlength=len(fired)) for each in (learned.rules, learned.tokens))

    def estimates(self) -> dict[str, Estimate]:
        """The metric's numbers."""
        estimates = _means(lambda group: _averages(self._scores, self.counted, self._frequent, group))
        if self._n2g is None:
            estimates |= {name: Estimate.absent(_NO_N2G, of="latents") for name in ("f1_n2g", "f1_minus_n2g")}
        else:
            latents, scores = self._n2g
            # errors that n-grams have of their own are those of the latents that N2G explains
            estimates |= _means(self._beside_n2g, moved_by_rebuilding(scores), 1 - len(latents) / len(self.counted))
        estimates |= self._with_other_text(estimates)
        asked = len(self.counted)
        for name, values in {"length": self._length, "length_token_set": self._tokens, "bits": self._learned.bits}.items():
            average = Average.over(values.double(), self.counted)
            estimates[name] = _exact(average.value, average.n)
        counts = {"explained": self.counted, "without_rules": self.counted & (self._length == 0), "rare": self._rare}
        return estimates | {name: _exact(float(which.sum()), asked) for name, which in counts.items()}

    def rows(self) -> list[Row]:
        """A row for each latent."""
        scores, learned = self._scores, self._learned
        predicted, hits = (each[:, -1] for each in scores.rules.without(None))
        fired = scores.fired_without(None)
        columns = {
            "density": (learned.fired + fired).double() / max(1, learned.places + scores.places),
            "f1": scores.f1(scores.rules)[:, -1].where(self.counted, torch.nan),
            "precision": (hits / predicted).where(self.counted & (predicted > 0), torch.nan),
            "recall": (hits / fired).where(self.counted, torch.nan),
            "f1_token_set": scores.f1(scores.tokens)[:, -1].where(self.counted, torch.nan),
            "entropy": learned.entropy.where(learned.fired > 0, torch.nan),
            "bits": learned.bits,
        }
        exact = {"length": self._length, "tokens": self._tokens, "predicted": predicted, "fired": fired}
        names = [*columns, *exact]
        values = [*(_numbers(column) for column in columns.values()), *(column.tolist() for column in exact.values())]
        return [{"latent": latent, **dict(zip(names, row, strict=True))} for latent, row in enumerate(zip(*values, strict=True))]

    def _with_other_text(self, estimates: dict[str, Estimate]) -> dict[str, Estimate]:
        """With what other text to learn from would move, as far as the rules tell that were learned without some documents each."""
        latents = None if self._learned.again is None else self._learned.again.latents
        if latents is None or not bool(self.counted[latents].any()):
            return estimates
        counted, frequent = self.counted[latents], self._frequent[latents]
        without = [_averages(scores, counted, frequent, None) for scores in self._scores.again]
        among = {name: frequent if name == "f1_frequent" else counted for name in without[0]}
        moves = {
            name: _moved(torch.stack([each[name].values for each in without])[:, which], estimates[name].n)
            for name, which in among.items()
            if bool(which.any())
        }
        if "f1_minus_n2g" in estimates:
            moves["f1_minus_n2g"] = moves["f1"]
        return {name: _joined(estimates[name], stderr, len(without) - 1) for name, stderr in moves.items()}

    def _beside_n2g(self, group: int | None) -> dict[str, Average]:
        """Likewise, over the latents that N2G was asked about."""
        assert self._n2g is not None
        latents, scores = self._n2g
        other = _f1_on_text(scores if group is None else scores.without(group))
        own, counted = self._scores.f1(self._scores.rules, group)[latents, -1], self.counted[latents]
        return {"f1_n2g": Average.over(other, counted), "f1_minus_n2g": Average.over(own - other, counted)}


def _averages(
    scores: RuleScores, counted: Bool[Tensor, "latents"], frequent: Bool[Tensor, "latents"], group: int | None
) -> dict[str, Average]:
    """The means over latents, without a group of documents; which latents count follows from all documents."""
    f1, tokens = scores.f1(scores.rules, group), scores.f1(scores.tokens, group)
    predicted, hits = (each[:, -1] for each in scores.rules.without(group))
    fired = scores.fired_without(group)
    return {
        "f1": Average.over(f1[:, -1], counted),
        "f1_frequent": Average.over(f1[:, -1], frequent),
        "precision": Average.over(hits.double() / predicted, counted & (predicted > 0)),
        "recall": Average.over(hits.double() / fired, counted & (fired > 0)),
        **{f"f1_{length}": Average.over(f1[:, i], counted) for i, length in enumerate(LENGTHS)},
        "f1_token_set": Average.over(tokens[:, -1], counted),
        "f1_minus_token_set": Average.over(f1[:, -1] - tokens[:, -1], counted),
        "one_token": Average.over((tokens[:, 0] >= _ONE_TOKEN).double(), counted),
    }


def _moved(without: Float[Tensor, "groups some"], members: int) -> float:
    """The standard error of a mean from what its members are without each group of documents."""
    return math.sqrt(jackknife_variance_of_mean(without, max(members, without.shape[1])))


def _joined(estimate: Estimate, stderr: float, df: int) -> Estimate:
    """An estimate with one more part of its error."""
    if estimate.stderr is None or not stderr:
        return estimate
    joined = welch_degrees_of_freedom((estimate.stderr, estimate.degrees_of_freedom), (stderr, df)) if estimate.stderr else df
    return replace(estimate, stderr=math.hypot(estimate.stderr, stderr), df=joined)


def _means(averages: Callable[[int | None], dict[str, Average]], moved: Moved | None = None, left_out: float = 0.0) -> dict[str, Estimate]:
    """Means with their errors, from the averages without each group of documents."""
    whole, without = averages(None), [averages(group) for group in range(GROUPS)]
    errors = Errors(whole, without, moved, left_out)
    return {name: errors.of(name) for name in whole}


def _f1_on_text(scores: Scores) -> Float[Tensor, "latents"]:
    """F1 of N2G's explanations on all positions of the second half, as that of rules is."""
    return 2 * scores.hits.double() / (scores.predicted + scores.fired).clamp_min(1)


def _exact(value: float | None, n: int) -> Estimate:
    if value is None:
        return Estimate.absent("no latent fires in both halves of the text", of="latents")
    return Estimate(value, None, n, "latents", "an exact count on this text")


def _numbers(column: Float[Tensor, "latents"]) -> list[float | None]:
    return [None if value != value else value for value in column.tolist()]
