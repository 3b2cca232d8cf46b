"""In which form the texts of probe tasks are given to a model."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sae_lens_metrics.errors import SubjectError
from sae_lens_metrics.subject.subject import Subject

__all__ = ["TextForm"]


@dataclass(frozen=True)
class TextForm:
    """How texts become tokens: the same for all SAEs of a model that are trained on sequences of one form."""

    tokenizer: Any
    """Of the model."""
    bos: int | None
    """The token in front of each text, if the SAE's sequences begin with one."""
    room: int
    """Tokens of a text at most, without that one."""

    @classmethod
    def of(cls, subject: Subject, max_tokens: int | None) -> "TextForm":
        """The form for a subject.

        Args:
            subject: The model and SAE.
            max_tokens: Tokens of a text at most, besides the limits of the SAE's context and the model's.

        Raises:
            SubjectError: If the model has no tokenizer.
        """
        language = subject.language
        if language.tokenizer is None:
            raise SubjectError("probes read text, but the model has no tokenizer: load the model with one")
        limits = (max_tokens, language.context_size, language.longest_context)
        longest = min((limit for limit in limits if limit), default=sys.maxsize)
        return cls(language.tokenizer, language.bos_token, max(1, longest - (language.bos_token is not None)))

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text; a longer text loses its beginning, never BOS."""
        bos = [] if self.bos is None else [self.bos]
        return [bos + ids[-self.room :] for ids in self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]]
