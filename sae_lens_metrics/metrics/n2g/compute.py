"""N2G: can n-grams with wildcards say where a latent fires (Gao et al. 2024, section 4.3)?"""

import logging
import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae_lens_metrics.functional.jackknife import GROUPS, jackknife_stderr
from sae_lens_metrics.functional.significance import welch_degrees_of_freedom
from sae_lens_metrics.functional.statistics import ratio_influence, ratio_with_error
from sae_lens_metrics.metrics.context import MetricContext
from sae_lens_metrics.metrics.n2g.examples import examples
from sae_lens_metrics.metrics.n2g.explanations import Explanations
from sae_lens_metrics.metrics.n2g.scores import Scores
from sae_lens_metrics.metrics.n2g.shared import explanations_of, sampled_text_of, scores_of, texts_of
from sae_lens_metrics.metrics.n2g.written import written
from sae_lens_metrics.results import Estimate, MetricResult, Row
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.corpus import Corpus
from sae_lens_metrics.text.token_text import TokenText

__all__ = ["n2g"]

logger = logging.getLogger("sae_lens_metrics")

_ENOUGH_FULL = 0.5
"""Share of living latents with a full sample below which there is a warning."""
DENSE = 0.1
"""Share of positions above which a latent counts as dense: patterns that nearly always fire are trivially precise."""


def n2g(context: MetricContext) -> MetricResult:
    """Explains latents by n-grams, and measures how well the explanations say where the latents fire.

    Explanations are built from random activations in the first half of the corpus's documents, and in more text of the same source where
    ``n2g.tokens`` asks for it. ``recall``, P(predicted | fires), is
    measured on other random activations there, ``precision``, P(fires | predicted), on all positions of the second half; ``f1`` is the
    harmonic mean of the two, latent by latent. All are in [0, 1], means over the explained latents, which are those that fire at least
    twice in the first half. An explanation that never fires on the second half has no precision and an F1 of 0.

    - ``precision``, ``recall``, ``f1``: means over latents with their standard errors; ``…_by_density`` weights latents by how often they
      fire; ``f1_sparse`` leaves out dense latents.
    - ``precision_full_sample``, ``recall_full_sample``, ``f1_full_sample``: means over the ``full_sample`` latents that have all of their
      examples, to build and to hold out, and 8 predictions at least. The mean of all latents depends on how often they fire, and so on
      the length of the text and on how many latents share it: only these are comparable between SAEs of different sizes.
      ``f1_of_means`` is the harmonic mean of the first two, which has less of a bias than the mean of ratios of small counts.
    - ``recall_text``: mean over latents of P(predicted | fires) on all positions of the second half, beside the paper's recall.
    - ``explained``, ``dead``, ``rare``, ``unexplained``, ``never_fired``, ``dense``: how many of the latents asked about are explained;
      fire nowhere; fire, but fewer than twice in the first half; fire often enough but have no pattern (strict variant); have an
      explanation that never fires on the second half; fire on more than 10 % of positions.

    Standard errors join the spread over latents with that of leaving out groups of documents, as all latents share one text.

    Args:
        context: The run: subject, text and settings.
    """
    subject, config = context.subject, context.config
    text, (_, scoring) = context.once(sampled_text_of), context.once(texts_of)
    explanations, scores = context.once(explanations_of), context.once(scores_of)
    table = _Table(explanations, scores)
    return MetricResult(
        table.estimates(),
        tables={"latents": _rows(table, explanations, scores)},
        explanations=written(explanations, subject),
        examples=examples(explanations, scores, subject, text, scoring, config),
        notes=[*_notes(subject, explanations, text, scoring), *_too_little_text(table, explanations)],
    )


class _Average(NamedTuple):
    """A weighted mean over latents."""

    values: Float[Tensor, "latents"]
    weights: Float[Tensor, "latents"]
    """0 for a latent that does not count."""

    @classmethod
    def over(cls, values: Float[Tensor, "latents"], which: Bool[Tensor, "latents"], weights: Tensor | None = None) -> "_Average":
        """The mean over some latents, which all have a value."""
        weight = which.double() if weights is None else weights * which
        return cls(values.where(which, 0).double(), weight)

    @property
    def value(self) -> float | None:
        """The mean; ``None`` where no latent counts."""
        total = float(self.weights.sum())
        return float((self.values * self.weights).sum()) / total if total else None


class _Table:
    """What is known of each latent that was asked about."""

    def __init__(self, explanations: Explanations, scores: Scores) -> None:
        count = explanations.activations
        self.density = (count + scores.fired).double() / max(1, explanations.tokens + scores.tokens)
        has_patterns = torch.zeros(int(explanations.latents.max()) + 1, dtype=torch.bool)
        has_patterns[explanations.patterns.latent] = True
        frequent = count >= 2
        self.explained = has_patterns[explanations.latents]
        self.fires_on_text = self.explained & (scores.predicted > 0)
        self.full = self.explained & scores.full(explanations.depends_on["examples"])
        self.counts = {
            "explained": self.explained,
            "full_sample": self.full,
            "dead": count + scores.fired == 0,
            "rare": ~frequent & (count + scores.fired > 0),
            "unexplained": frequent & ~self.explained,
            "never_fired": self.explained & ~self.fires_on_text,
            "dense": self.density > DENSE,
        }
        self.scores = scores

    def estimates(self) -> dict[str, Estimate]:
        """The metric's numbers."""
        whole, asked = self._averages(self.scores), len(self.explained)
        without = [self._averages(self.scores.without(group)) for group in range(GROUPS)]
        means = {name: _estimate(average, [each[name] for each in without]) for name, average in whole.items()}
        return means | {
            "f1_of_means": _f1_of_means(whole, without, means),
            **{
                name: Estimate(float(which.sum()), None, asked, "latents", "an exact count on this text")
                for name, which in self.counts.items()
            },
        }

    def _averages(self, scores: Scores) -> dict[str, _Average]:
        """The means over latents, of these scores or of those without some documents; which latents count follows from all documents."""
        explained, fires = self.explained, self.explained & (scores.predicted > 0)
        recalled = explained & scores.held_out.any(1)
        own = {"precision": (scores.precision, fires), "recall": (scores.recall, recalled), "f1": (scores.f1, explained)}
        kinds = {"": (explained, None), "_by_density": (explained, self.density), "_full_sample": (self.full, None)}
        averages = {
            f"{name}{kind}": _Average.over(values, which & among, weights)
            for kind, (among, weights) in kinds.items()
            for name, (values, which) in own.items()
        }
        return averages | {
            "f1_sparse": _Average.over(scores.f1, explained & ~self.counts["dense"]),
            "recall_text": _Average.over(scores.hits.double() / scores.fired, explained & (scores.fired > 0)),
        }


def _count(which: Bool[Tensor, "latents"], asked: int) -> Estimate:
    return Estimate(float(which.sum()), None, asked, "latents", "an exact count on this text")


def _estimate(average: _Average, without: list[_Average]) -> Estimate:
    """A mean with its standard error: the spread over latents, and that of the mean without each group of documents."""
    value, n = average.value, int((average.weights != 0).sum())
    if value is None:
        return Estimate.absent("no latent has an explanation that this could be measured on", of="latents")
    spread = ratio_with_error(average.values * average.weights, average.weights).stderr
    return _joined(value, n, spread, [each.value for each in without])


def _joined(value: float, n: int, spread: float | None, without: list[float | None]) -> Estimate:
    """The error from what latents do not share, and from the documents that they do."""
    documents = jackknife_stderr([each for each in without if each is not None])
    if spread is None or documents is None:
        return Estimate(value, None, n, "latents", "one latent, or one document, has no standard error")
    stderr = math.hypot(spread, documents)
    freedom = welch_degrees_of_freedom(spread, n - 1, documents, GROUPS - 1) if stderr else None
    return Estimate(value, stderr, n, "latents", df=freedom)


def _f1_of_means(whole: dict[str, _Average], without: list[dict[str, _Average]], means: dict[str, Estimate]) -> Estimate:
    """The harmonic mean of mean precision and mean recall, each over latents with a full sample."""
    names = ("precision_full_sample", "recall_full_sample")
    p, r = (means[name] for name in names)
    if p.value is None or r.value is None:
        return Estimate.absent("no latent has a full sample", of="latents")
    value = _harmonic(p.value, r.value)
    if value is None or p.stderr is None or r.stderr is None:
        return Estimate(value or 0.0, None, r.n, "latents", "one latent, or a mean of zero, has no standard error")
    slopes = (2 * (r.value / (p.value + r.value)) ** 2, 2 * (p.value / (p.value + r.value)) ** 2)
    influences = [slope * ratio_influence(*_sums(whole[name])) for slope, name in zip(slopes, names, strict=True)]
    spread = float((r.n / (r.n - 1) * torch.stack(influences).sum(0).square().sum()).sqrt())
    return _joined(value, r.n, spread, [_harmonic(*(each[name].value for name in names)) for each in without])


def _sums(average: _Average) -> tuple[Tensor, Tensor]:
    return average.values * average.weights, average.weights


def _harmonic(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None or a + b == 0 else 2 * a * b / (a + b)


def _rows(table: _Table, explanations: Explanations, scores: Scores) -> list[Row]:
    """A row for each latent: how often it fires, of how many n-grams its explanation is, and how good that is."""
    present = {"precision": table.fires_on_text, "recall": table.explained, "f1": table.explained}
    columns = {name: getattr(scores, name).where(which, torch.nan) for name, which in present.items()}
    rows: list[Row] = []
    for i, latent in enumerate(explanations.latents.tolist()):
        measured = {name: None if value.isnan() else float(value) for name, column in columns.items() for value in [column[i]]}
        rows.append(
            {
                "latent": latent,
                "density": float(table.density[i]),
                "ngrams": len(explanations.ngrams.get(latent, [])),
                **measured,
                "predicted": int(scores.predicted[i]),
                "fired": int(scores.fired[i]),
            }
        )
    return rows


def _notes(subject: Subject, explanations: Explanations, text: Corpus, scoring: Corpus) -> list[str]:
    settings = explanations.depends_on
    documents = "which are of other documents" if text.is_apart_from(scoring) else "which may be of the same documents"
    pad = TokenText(subject.language.tokenizer).write([[settings["pad_token"]]])[0]
    return [
        f"explanations of the variant {settings['variant']!r}, of at most {settings['longest']} tokens; padding token {pad!r}",
        f"explanations and recall come from {len(text)} sequences, precision from {len(scoring)}, {documents}",
    ]


def _too_little_text(table: _Table, explanations: Explanations) -> list[str]:
    """A warning where most latents fire too rarely for their full number of examples, which makes F1 depend on how often they fire."""
    living, full = explanations.activations > 0, int(table.full.sum())
    if not bool(living.any()) or full >= _ENOUGH_FULL * int(living.sum()):
        return []
    wanted = 2 * explanations.depends_on["examples"] / float(explanations.activations[living].double().quantile(1 - _ENOUGH_FULL))
    warning = (
        f"only {full} of {int(living.sum())} living latents have a full sample: f1, recall and precision over all latents depend on how "
        f"often latents fire, so compare SAEs by f1_full_sample; some {wanted * explanations.tokens:,.0f} tokens to sample from "
        "(n2g.tokens) would do for half of them"
    )
    logger.warning("n2g: %s", warning)
    return [warning]
