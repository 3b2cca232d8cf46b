"""Texts as rules read them."""

from sae_lens_metrics.functional.rule_text import RuleText
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.batches import ActivationBatch
from sae_lens_metrics.text.corpus import Corpus

__all__ = ["text_of_batch", "text_of_corpus"]


def text_of_corpus(corpus: Corpus, subject: Subject, within: int) -> RuleText:
    """All positions of a corpus that count, on the SAE's device.

    Args:
        corpus: The corpus.
        subject: The model and SAE.
        within: How many tokens in front of a position are seen.
    """
    tokens = corpus.tokens.to(subject.device)
    return RuleText.from_sequences(tokens, subject.language.special(tokens), subject.site.valid(tokens), within)


def text_of_batch(batch: ActivationBatch, within: int) -> RuleText:
    """The positions of a batch, in the order of its activations.

    Args:
        batch: The batch.
        within: How many tokens in front of a position are seen.
    """
    tokens = batch.prefix.tokens.to(batch.position.device)
    return RuleText.from_sequences(tokens, batch.subject.language.special(tokens), batch.subject.site.valid(tokens), within)
