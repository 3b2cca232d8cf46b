"""What several metrics of one run need of N2G: its texts, the explanations, their scores; each made once."""

from sae_lens_metrics.errors import CorpusError
from sae_lens_metrics.metrics.context import MetricContext
from sae_lens_metrics.metrics.n2g.building import explain, in_context, rebuilt, texts
from sae_lens_metrics.metrics.n2g.explanations import Explanations
from sae_lens_metrics.metrics.n2g.scores import Scores, score
from sae_lens_metrics.text.corpus import Corpus

__all__ = ["explanations_of", "more_text", "rebuilt_of", "sampled_text_of", "scores_of", "texts_of"]


def texts_of(context: MetricContext) -> tuple[Corpus, Corpus]:
    """The texts that explanations are built from, and scored on; to be asked for by ``context.once``.

    Raises:
        CorpusError: If the corpus is too short.
        ExplanationError: If the context is longer than the model's.
    """
    return texts(context.subject, context.corpus, context.config)


def more_text(context: MetricContext, tokens: int) -> tuple[Corpus | None, str]:
    """Text of the corpus's source beyond the corpus, in sequences as ``texts_of`` has them.

    No document of it is in the text that explanations are scored on.

    Args:
        context: The run.
        tokens: How many tokens.

    Returns:
        The text, with fewer tokens where the source holds fewer; and what to note about it in a result. ``None`` where there is none.
    """
    if tokens == 0:
        return None, "no further text was asked for"
    _, scoring = context.once(texts_of)
    try:
        more = context.corpus.more(tokens, context.subject, apart_from=scoring)
    except CorpusError as error:
        return None, f"there is no further text: {error}"
    known = more.describe()
    note = (
        f"further text of the same source: {known['tokens']:,} tokens of {known['documents']:,} documents, none of which is in the text "
        f"that numbers are measured on (SHA-256 of the tokens {known['tokens_sha256']})"
    )
    return in_context(context.subject, more, context.config), note


def sampled_text_of(context: MetricContext) -> Corpus:
    """The text that activations are sampled from: the first of ``texts_of``, and more where ``n2g.tokens`` asks for it; likewise."""
    text, _ = context.once(texts_of)
    asked = context.config.n2g.tokens
    more, _ = more_text(context, max(0, (context.corpus.tokens.numel() if asked is None else asked) - text.tokens.numel()))
    return text if more is None else text.followed_by(more)


def explanations_of(context: MetricContext) -> Explanations:
    """Explanations of the subject's latents; likewise.

    Raises:
        ExplanationError: If the padding token is none of the model's.
    """
    return explain(context.subject, context.once(sampled_text_of), context.config, context.ranks)


def rebuilt_of(context: MetricContext) -> Explanations | None:
    """Some latents' explanations as they would be had other activations been drawn, for standard errors; likewise."""
    return rebuilt(context.once(explanations_of), context.subject, context.once(sampled_text_of), context.config, context.ranks)


def scores_of(context: MetricContext) -> Scores:
    """How well the explanations predict where latents fire; likewise."""
    text, (_, scoring) = context.once(sampled_text_of), context.once(texts_of)
    explanations, again = context.once(explanations_of), context.once(rebuilt_of)
    return score(explanations, context.subject, text, scoring, context.config, again, context.ranks)
