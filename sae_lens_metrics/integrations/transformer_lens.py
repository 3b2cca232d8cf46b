"""What this package needs of TransformerLens that it does not document: each name with what it stands in for."""

from transformer_lens import loading_from_pretrained  # a Hugging Face folder as a HookedTransformer, which its loader takes by name only

__all__ = ["loading_from_pretrained"]
