"""What this package needs of TransformerLens that its next version moves, or that it does not document."""

from transformer_lens import (
    HookedTransformer,  # a model whose layers can be run one by one
    HookedTransformerConfig,  # the shape of one
    TransformerLensKeyValueCacheEntry,  # the keys and values of one of them
    loading_from_pretrained,  # a Hugging Face folder as a HookedTransformer, which its loader takes by name only
)
from transformer_lens.components.attention import Attention  # the attention of a layer
from transformer_lens.components.grouped_query_attention import GroupedQueryAttention  # the same where heads share keys and values
from transformer_lens.components.layer_norm import LayerNorm  # the norm of a layer
from transformer_lens.components.layer_norm_pre import LayerNormPre  # the same without weights of its own
from transformer_lens.components.mlps.mlp import MLP  # the MLP of a layer
from transformer_lens.model_bridge import TransformerBridge  # a model of transformers under TransformerLens's hooks

__all__ = [
    "MLP",
    "Attention",
    "GroupedQueryAttention",
    "HookedTransformer",
    "HookedTransformerConfig",
    "LayerNorm",
    "LayerNormPre",
    "TransformerBridge",
    "TransformerLensKeyValueCacheEntry",
    "loading_from_pretrained",
]
