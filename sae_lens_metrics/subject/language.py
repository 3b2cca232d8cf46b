"""What a model says about its tokens, and how its SAE's sequences are made of them."""

from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sae_lens_metrics.errors import SubjectError
from sae_lens_metrics.integrations.saelens import get_special_token_ids

__all__ = ["Language"]

_LAYERS = 32


class Language:
    """The tokens of a model, and the form of the sequences that its SAE was trained on.

    Args:
        model: The model.
        context_size: Tokens a sequence, the beginning-of-sequence token included; ``None`` if nobody knows.
        prepend_bos: Whether sequences begin with the beginning-of-sequence token; ``None`` if nobody knows.
        excluded: Tokens that do not count besides the tokenizer's own, as in SAELens's metadata.
        device: Where ``special`` answers.

    Attributes:
        context_size: Tokens a sequence.
        prepend_bos: Whether sequences begin with the beginning-of-sequence token.
        special_tokens: Ids of the special tokens, sorted, [special].
    """

    def __init__(
        self,
        model: Any,
        context_size: int | None,
        prepend_bos: bool | None,
        excluded: bool | list[int] | None,
        device: torch.device,
    ) -> None:
        self._model, self._device = model, device
        self.context_size, self.prepend_bos = context_size, prepend_bos
        ids = set(get_special_token_ids(self.tokenizer)) if self.tokenizer is not None else set()
        ids |= set(excluded) if isinstance(excluded, list) else set()
        self.special_tokens = torch.tensor(sorted(ids), dtype=torch.long)

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer, or ``None``."""
        return getattr(self._model, "tokenizer", None)

    @property
    def vocabulary(self) -> int | None:
        """Number of tokens that the model knows, or ``None`` if it does not say."""
        return self._said("d_vocab", "vocab_size")

    @property
    def longest_context(self) -> int | None:
        """Tokens that the model takes at most, or ``None`` if it does not say."""
        return self._said("n_ctx", "max_position_embeddings", "n_positions")

    @property
    def layers(self) -> int:
        """Layers of the model; as many as larger ones have if it does not say."""
        return self._said("n_layers", "num_hidden_layers", "n_layer") or _LAYERS

    @property
    def bos_token(self) -> int | None:
        """The token that begins every sequence, or ``None`` where sequences begin without one, as they do if the tokenizer has none.

        Raises:
            SubjectError: If sequences begin with one and the model has no tokenizer to say which.
        """
        if not self.prepend_bos:
            return None
        if self.tokenizer is None:
            raise SubjectError(
                "sequences begin with BOS, but the model has no tokenizer to say which token that is: pass prepend_bos=False"
            )
        token = getattr(self.tokenizer, "bos_token_id", None)
        return None if token is None else int(token)

    def _said(self, name: str, *names: str) -> int | None:
        """A number in the configuration of TransformerLens, or of the wrapped model of transformers."""
        inner = getattr(getattr(self._model, "model", None), "config", None)
        text = getattr(inner, "get_text_config", lambda: inner)()
        values = [getattr(getattr(self._model, "cfg", None), name, None), *(getattr(text, each, None) for each in names)]
        found = next((value for value in values if value), None)
        return int(found) if found else None

    def special(self, tokens: Int[Tensor, "batch pos"]) -> Bool[Tensor, "batch pos"]:
        """Where special tokens are; a document ends before and begins after each."""
        tokens = tokens.to(self._device)
        return torch.isin(tokens, self.special_tokens.to(self._device))
