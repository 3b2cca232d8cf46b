"""N2G: can n-grams with wildcards say where a latent fires (Gao et al. 2024, section 4.3)?"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae_lens_metrics.functional.statistics import ratio_with_error
from sae_lens_metrics.metrics.context import MetricContext
from sae_lens_metrics.metrics.n2g.examples import examples
from sae_lens_metrics.metrics.n2g.explanations import Explanations
from sae_lens_metrics.metrics.n2g.scores import Scores
from sae_lens_metrics.metrics.n2g.shared import explanations_of, scores_of, texts_of
from sae_lens_metrics.metrics.n2g.written import written
from sae_lens_metrics.results import Estimate, MetricResult, Row
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.corpus import Corpus
from sae_lens_metrics.text.token_text import TokenText

__all__ = ["n2g"]

DENSE = 0.1
"""Share of positions above which a latent counts as dense: patterns that nearly always fire are trivially precise."""


def n2g(context: MetricContext) -> MetricResult:
    """Explains latents by n-grams, and measures how well the explanations say where the latents fire.

    Explanations are built from random activations in the first half of the corpus's documents. ``recall``, P(predicted | fires), is
    measured on other random activations there, ``precision``, P(fires | predicted), on all positions of the second half; ``f1`` is the
    harmonic mean of the two, latent by latent. All are in [0, 1], means over the explained latents, which are those that fire at least
    twice in the first half. An explanation that never fires on the second half has no precision and an F1 of 0.

    - ``precision``, ``recall``, ``f1``: means over latents with their standard errors; ``…_by_density`` weights latents by how often they
      fire; ``f1_sparse`` leaves out dense latents.
    - ``recall_text``: mean over latents of P(predicted | fires) on all positions of the second half, beside the paper's recall.
    - ``explained``, ``dead``, ``rare``, ``unexplained``, ``never_fired``, ``dense``: how many of the latents asked about are explained;
      fire nowhere; fire, but fewer than twice in the first half; fire often enough but have no pattern (strict variant); have an
      explanation that never fires on the second half; fire on more than 10 % of positions.

    Args:
        context: The run: subject, text and settings.
    """
    subject, config = context.subject, context.config
    (text, scoring), explanations, scores = context.once(texts_of), context.once(explanations_of), context.once(scores_of)
    table = _Table(explanations, scores)
    return MetricResult(
        table.estimates(),
        tables={"latents": _rows(table, explanations, scores)},
        explanations=written(explanations, subject),
        examples=examples(explanations, scores, subject, text, scoring, config),
        notes=_notes(subject, explanations, text, scoring),
    )


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
        self.counts = {
            "explained": self.explained,
            "dead": count + scores.fired == 0,
            "rare": ~frequent & (count + scores.fired > 0),
            "unexplained": frequent & ~self.explained,
            "never_fired": self.explained & ~self.fires_on_text,
            "dense": self.density > DENSE,
        }
        self.scores = scores

    def estimates(self) -> dict[str, Estimate]:
        """The metric's numbers."""
        scores, explained = self.scores, self.explained
        recall_text = scores.hits.double() / scores.fired
        means = {
            "precision": _mean(scores.precision, self.fires_on_text),
            "recall": _mean(scores.recall, explained),
            "f1": _mean(scores.f1, explained),
            "precision_by_density": _mean(scores.precision, self.fires_on_text, self.density),
            "recall_by_density": _mean(scores.recall, explained, self.density),
            "f1_by_density": _mean(scores.f1, explained, self.density),
            "f1_sparse": _mean(scores.f1, explained & ~self.counts["dense"]),
            "recall_text": _mean(recall_text, explained & (scores.fired > 0)),
        }
        asked = len(explained)
        return means | {
            name: Estimate(float(which.sum()), None, asked, "latents", "an exact count on this text") for name, which in self.counts.items()
        }


def _mean(values: Float[Tensor, "latents"], which: Bool[Tensor, "latents"], weights: Float[Tensor, "latents"] | None = None) -> Estimate:
    """Weighted mean over some latents."""
    n = int(which.sum())
    if n == 0:
        return Estimate.absent("no latent has an explanation that this could be measured on", of="latents")
    weight = torch.ones(n, dtype=torch.float64) if weights is None else weights[which]
    value, stderr = ratio_with_error(values[which] * weight, weight)
    return Estimate(value, stderr, n, "latents", None if stderr is not None else "one latent has no standard error")


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
        f"explanations and recall come from the first {len(text)} sequences, precision from the last {len(scoring)}, {documents}",
    ]
