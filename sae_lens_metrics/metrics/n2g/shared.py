"""What several metrics of one run need of N2G: the two texts, the explanations, their scores; each made once."""

from sae_lens_metrics.metrics.context import MetricContext
from sae_lens_metrics.metrics.n2g.explanations import Explanations, explain, texts
from sae_lens_metrics.metrics.n2g.scores import Scores, score
from sae_lens_metrics.text.corpus import Corpus

__all__ = ["explanations_of", "scores_of", "texts_of"]


def texts_of(context: MetricContext) -> tuple[Corpus, Corpus]:
    """The texts that explanations are built from, and scored on; to be asked for by ``context.once``.

    Raises:
        CorpusError: If the corpus is too short.
        ExplanationError: If the context is longer than the model's.
    """
    return texts(context.subject, context.corpus, context.config)


def explanations_of(context: MetricContext) -> Explanations:
    """Explanations of the subject's latents; likewise.

    Raises:
        ExplanationError: If the padding token is none of the model's.
    """
    text, _ = context.once(texts_of)
    return explain(context.subject, text, context.config)


def scores_of(context: MetricContext) -> Scores:
    """How well the explanations predict where latents fire; likewise."""
    text, scoring = context.once(texts_of)
    return score(context.once(explanations_of), context.subject, text, scoring, context.config)
