"""Small random HookedTransformers of many kinds."""

import torch
from transformer_lens import HookedTransformer, HookedTransformerConfig

__all__ = ["KINDS", "SMALL", "small_transformer"]

SMALL = {"n_layers": 3, "d_model": 16, "n_heads": 4, "d_head": 4, "d_mlp": 32, "n_ctx": 32, "d_vocab": 30, "act_fn": "gelu_new"}
KINDS = {
    "learned positions": {},
    "rotary positions": {"positional_embedding_type": "rotary", "rotary_dim": 4},
    "part of each head rotary": {"positional_embedding_type": "rotary", "rotary_dim": 2},
    "grouped queries": {"positional_embedding_type": "rotary", "rotary_dim": 4, "n_key_value_heads": 2},
    "RMS norm": {"normalization_type": "RMS"},
    "RMS norm, gated MLP, rotary": {
        "normalization_type": "RMS",
        "gated_mlp": True,
        "final_rms": True,
        "positional_embedding_type": "rotary",
        "rotary_dim": 4,
    },
    "parallel attention and MLP": {"parallel_attn_mlp": True},
    "RMS norm, parallel attention and MLP": {"normalization_type": "RMS", "parallel_attn_mlp": True},
    "no MLP": {"attn_only": True},
    "split inputs of queries, keys and values": {"use_split_qkv_input": True},
    "split inputs of heads": {"use_attn_in": True},
    "split inputs of the MLP": {"use_hook_mlp_in": True},
    "results of heads": {"use_attn_result": True},
    "local attention": {"use_local_attn": True, "window_size": 3, "attn_types": ["global", "local", "local"]},
    "alibi": {"positional_embedding_type": "alibi"},
    "norms of queries and keys": {"use_qk_norm": True},
    "a norm on both sides": {"normalization_type": "RMS", "use_normalization_before_and_after": True},
}


def small_transformer(kind):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = HookedTransformer(HookedTransformerConfig(**(SMALL | {"seed": None} | KINDS[kind])))
        for parameter in model.parameters():  # biases and norms would be at 0 and 1
            parameter.data += torch.randn_like(parameter) * 0.2
    return model.eval()
