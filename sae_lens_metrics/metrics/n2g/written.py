"""Explanations as they stand in a result: token ids beside their text, with the rules by which they match."""

import numpy as np

from sae_lens_metrics.functional.ngrams import NGram
from sae_lens_metrics.metrics.n2g.explanations import Explanations
from sae_lens_metrics.results import ExplanationNGram, LatentExplanation, MatchingRules, NGramExplanations
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.token_text import TokenText

__all__ = ["written"]


def written(explanations: Explanations, subject: Subject) -> NGramExplanations:
    """The explanations of all latents that were asked about, with the text of their tokens.

    Args:
        explanations: The explanations.
        subject: The model whose tokens they are.
    """
    tokens = sorted({int(token) for token in explanations.patterns.tokens.unique() if token >= 0})
    texts = dict(zip(tokens, TokenText(subject.language.tokenizer).write([[token] for token in tokens]), strict=True))

    def with_texts(ngram: NGram) -> ExplanationNGram:
        words = [None if token is None else texts[token] for token in ngram.tokens]
        # the shortest number that is read as the same float32
        return ExplanationNGram(list(ngram.tokens), words, ngram.at_start, float(str(np.float32(ngram.value))))

    latents = [
        LatentExplanation(latent, [with_texts(ngram) for ngram in explanations.ngrams.get(latent, [])])
        for latent in explanations.latents.tolist()
    ]
    rules = MatchingRules(explanations.depends_on["variant"], subject.language.special_tokens.tolist(), subject.language.bos_token)
    return NGramExplanations(rules, latents)
