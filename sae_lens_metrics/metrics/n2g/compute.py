"""N2G: can n-grams with wildcards say where a latent fires (Gao et al. 2024, section 4.3)?"""

import logging

import torch

from sae_lens_metrics.functional.jackknife import GROUPS
from sae_lens_metrics.metrics.context import MetricContext
from sae_lens_metrics.metrics.n2g.errors import Average, Errors, moved_by_rebuilding
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

    Standard errors join what leaving out groups of documents moves, as all latents share one text; what building explanations from other
    activations moves; and the spread over latents, where only some of the SAE's are asked about.

    Args:
        context: The run: subject, text and settings.
    """
    subject, config = context.subject, context.config
    text, (_, scoring) = context.once(sampled_text_of), context.once(texts_of)
    explanations, scores = context.once(explanations_of), context.once(scores_of)
    table = _Table(explanations, scores, subject.d_sae)
    return MetricResult(
        table.estimates(),
        tables={"latents": _rows(table, explanations, scores)},
        explanations=written(explanations, subject),
        examples=examples(explanations, scores, subject, text, scoring, config, context.ranks),
        notes=[*_notes(subject, explanations, text, scoring), *_too_little_text(table, explanations)],
    )


class _Table:
    """What is known of each latent that was asked about."""

    def __init__(self, explanations: Explanations, scores: Scores, d_sae: int) -> None:
        self._left_out = 1 - len(explanations.latents) / d_sae
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
        asked = len(self.explained)
        without = [self._averages(self.scores.without(group)) for group in range(GROUPS)]
        errors = Errors(self._averages(self.scores), without, moved_by_rebuilding(self.scores), self._left_out)
        return {
            **{name: errors.of(name) for name in without[0]},
            "f1_of_means": errors.of_harmonic("precision_full_sample", "recall_full_sample"),
            **{
                name: Estimate(float(which.sum()), None, asked, "latents", "an exact count on this text")
                for name, which in self.counts.items()
            },
        }

    def _averages(self, scores: Scores) -> dict[str, Average]:
        """The means over latents, of these scores or of those without some documents; which latents count follows from all documents."""
        explained, fires = self.explained, self.explained & (scores.predicted > 0)
        recalled = explained & scores.held_out.any(1)
        own = {"precision": (scores.precision, fires), "recall": (scores.recall, recalled), "f1": (scores.f1, explained)}
        kinds = {"": (explained, None), "_by_density": (explained, self.density), "_full_sample": (self.full, None)}
        averages = {
            f"{name}{kind}": Average.over(values, which & among, weights)
            for kind, (among, weights) in kinds.items()
            for name, (values, which) in own.items()
        }
        return averages | {
            "f1_sparse": Average.over(scores.f1, explained & ~self.counts["dense"]),
            "recall_text": Average.over(scores.hits.double() / scores.fired, explained & (scores.fired > 0)),
        }


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
