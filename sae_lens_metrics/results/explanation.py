"""What explanations by n-grams say, as data: n-grams, the rules by which they match, and what they predict on tokens."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from operator import index
from typing import Any, Literal

from sae_lens_metrics.errors import ResultError
from sae_lens_metrics.results.dataclass_schema import at_least
from sae_lens_metrics.results.matching import NO_TOKEN, START, best_of_all, first_on_the_way

__all__ = ["Explanation", "ExplanationNGram", "LatentExplanation", "MatchingRules", "NGramExplanations", "explanation_of"]


@dataclass(frozen=True, slots=True)
class ExplanationNGram:
    """Some consecutive tokens, and the activation that they predict on the last one."""

    tokens: list[int | None]
    """Ids of the tokens in the order of the text, at least one; ``None`` for any token. In results of format 1, which have no ids, all
    are ``None``."""
    texts: list[str | None]
    """The text of each token; ``None`` for any token. Many ids may have the same text, such as half a character."""
    at_start: bool
    """Whether the first token must be the first of its document."""
    value: float
    """The activation that it predicts."""

    def to_text(self) -> str:
        """For people: ``^ 'def' * '('`` is the token ``def`` at the start of a document, any token, and ``(``."""
        words = ["*" if text is None else repr(text) for text in self.texts]
        return ("^ " if self.at_start else "") + " ".join(words)


@dataclass(frozen=True)
class LatentExplanation:
    """The n-grams of one latent."""

    latent: int = field(metadata=at_least(0))
    """The latent."""
    ngrams: list[ExplanationNGram]
    """Its n-grams; none where no explanation could be built."""

    def to_text(self) -> str:
        """All n-grams for people, separated by ``|``."""
        return " | ".join(ngram.to_text() for ngram in self.ngrams)


@dataclass(frozen=True)
class MatchingRules:
    """How n-grams are matched with text."""

    variant: Literal["released", "strict"]
    """Which of several n-grams that match decides: the one that the authors' released code finds, or the longest and most specific."""
    special_tokens: list[int]
    """Ids of BOS, separators and EOS: nothing is predicted on them, and no n-gram reaches across them. A document begins behind each."""
    bos_token: int | None
    """The one of them that begins every sequence of the text that explanations were built from, ``None`` where none does. With it or
    without, the start of a sequence is its first token that is not special."""


@dataclass(frozen=True)
class NGramExplanations:
    """The explanations of many latents, all by the same rules."""

    rules: MatchingRules
    """How the n-grams are matched."""
    latents: list[LatentExplanation]
    """The latents that were asked about, ascending."""


@dataclass(frozen=True)
class Explanation:
    """The explanation of one latent, with all that it takes to predict the latent from tokens."""

    latent: int
    """The latent."""
    ngrams: list[ExplanationNGram]
    """Its n-grams; none where no explanation could be built."""
    rules: MatchingRules
    """How the n-grams are matched."""

    def predict(self, tokens: Sequence[int]) -> list[float]:
        """The activation that the explanation predicts on each token of a sequence, 0 where it says that the latent does not fire.

        Args:
            tokens: Ids of consecutive tokens, or a tensor of one dimension that holds them, with BOS in front or without. The first token
                begins a document, as does the first one behind special tokens.

        Raises:
            ResultError: If the explanation has no token ids, as it is of a result of format 1.
            ValueError: If the tokens are not one sequence.
        """
        ids = _ids(tokens)
        if any(token is None and text is not None for ngram in self.ngrams for token, text in zip(ngram.tokens, ngram.texts, strict=True)):
            raise ResultError("this explanation is of a result of format 1, which has no token ids: evaluate again to predict from it")
        patterns = [(ngram.tokens, ngram.at_start, ngram.value) for ngram in self.ngrams]
        match = first_on_the_way(patterns) if self.rules.variant == "released" else best_of_all(patterns)
        special = set(self.rules.special_tokens)
        text = [START, *(START if token in special else max(token, NO_TOKEN) for token in ids)]
        return [0.0 if token == START else match(text, place) for place, token in enumerate(text[1:], start=1)]

    def to_text(self) -> str:
        """For people, n-grams separated by ``|``: ``^ 'def' * '('`` is ``def`` at the start of a document, any token, and ``(``."""
        return LatentExplanation(self.latent, self.ngrams).to_text()

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Explanation":
        """The inverse of ``to_dict``.

        Raises:
            ResultError: If the data are no explanation.
        """
        try:
            ngrams = [ExplanationNGram(**ngram) for ngram in data["ngrams"]]
            return cls(int(data["latent"]), ngrams, MatchingRules(**data["rules"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ResultError(f"this is no explanation of a latent ({type(error).__name__}: {error})") from error


def explanation_of(explanations: NGramExplanations, latent: int) -> Explanation:
    """The explanation of one latent among many.

    Args:
        explanations: All of them.
        latent: The latent.

    Raises:
        ResultError: If the latent is not among them.
    """
    place = bisect_left(explanations.latents, latent, key=lambda each: each.latent)
    if place == len(explanations.latents) or explanations.latents[place].latent != latent:
        raise ResultError(f"latent {latent} is not among the {len(explanations.latents)} that this result explains")
    return Explanation(latent, explanations.latents[place].ngrams, explanations.rules)


def _ids(tokens: Any) -> list[int]:
    try:
        return [index(token) for token in (tokens.tolist() if hasattr(tokens, "tolist") else tokens)]
    except TypeError as error:
        raise ValueError(
            f"expected ids of one sequence of tokens: a list of whole numbers or a tensor of one dimension ({error})"
        ) from error
