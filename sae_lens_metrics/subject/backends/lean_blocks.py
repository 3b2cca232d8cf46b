"""A HookedTransformer's layer without what is only there for hooks, from the same weights."""

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear, scaled_dot_product_attention

from sae_lens_metrics.integrations.transformer_lens import (
    MLP,
    Attention,
    GroupedQueryAttention,
    LayerNorm,
    LayerNormPre,
    TransformerLensKeyValueCacheEntry,
)

__all__ = ["LeanBlock", "Projections"]

_UNLIKE = (
    "load_in_4bit",
    "normalization_before_and_after",
    "use_attention_sinks",
    "use_attn_in",
    "use_attn_result",
    "use_local_attn",
    "use_logn_attn",
    "use_normalization_before_and_after",
    "use_split_qkv_input",
)
"""Settings of models whose layers compute more, or something else, than is written here."""
_TANH_GELUS = ("gelu_fast", "gelu_new")
"""Names of functions that spell out in several steps what PyTorch does in one."""


class Projections(NamedTuple):
    """What attention makes of each position by itself, before positions see each other."""

    queries: Float[Tensor, "rows pos heads d_head"]
    keys: Float[Tensor, "rows all heads d_head"]
    """Of earlier positions too."""
    values: Float[Tensor, "rows all heads d_head"]

    @property
    def earlier(self) -> int:
        """Positions that have no queries."""
        return self.keys.shape[1] - self.queries.shape[1]

    def taken(self, rows: Int[Tensor, "n"], changed: "Projections | None") -> "Projections":
        """Those of some rows, which may be taken more than once, with other ones at the first positions that have queries."""
        taken = Projections(*(each[rows] for each in self))
        if changed is not None:
            for each, new, first in zip(taken, changed, (0, self.earlier, self.earlier), strict=True):
                each[:, first : first + new.shape[1]] = new
        return taken


class LeanBlock:
    """A layer that is run by PyTorch's own attention, norm and GELU, where nobody looks at what happens inside.

    A HookedTransformer writes out attention patterns, and each step of norms and GELUs, so that hooks may see them, which takes about
    half of its time. The layer itself is called where it has hooks at the moment, or is not known to be of the usual kind.

    Args:
        block: A block of a HookedTransformer; it is not changed, and no weight is copied.
    """

    def __init__(self, block: Any) -> None:
        self.block = block
        self._modules = tuple(block.modules())
        self._usual = _is_usual(block)

    def __call__(
        self, residual: Float[Tensor, "rows pos d_model"], past_kv_cache_entry: TransformerLensKeyValueCacheEntry | None = None
    ) -> Float[Tensor, "rows pos d_model"]:
        """The residual stream after the layer.

        Args:
            residual: The residual stream before it.
            past_kv_cache_entry: Keys and values of earlier positions, to which those of these are added.
        """
        block = self.block
        if not self.is_lean(residual):
            return block(residual, past_kv_cache_entry=past_kv_cache_entry)
        return self._after(residual, self.project(residual, past_kv_cache_entry))

    def is_lean(self, residual: Float[Tensor, "rows pos d_model"]) -> bool:
        """Whether the layer would be run in this way on a residual stream of this type, and now."""
        return self._usual and residual.dtype == self.block.attn.W_O.dtype and not self._is_hooked()

    def project(
        self, residual: Float[Tensor, "rows pos d_model"], past_kv_cache_entry: TransformerLensKeyValueCacheEntry | None = None
    ) -> Projections:
        """Queries, keys and values from the residual stream before the layer, as a lean layer has them; arguments as when it is run."""
        x = _normalised(self.block.ln1, residual)
        queries, keys, values = _queries_keys_values(self.block.attn, x, x)
        return Projections(queries, *(keys, values) if past_kv_cache_entry is None else past_kv_cache_entry.append(keys, values))

    def changed(
        self, residual: Float[Tensor, "n pos d_model"], known: Projections, rows: Int[Tensor, "n"], positions: int
    ) -> Float[Tensor, "n pos d_model"]:
        """The residual stream after the layer, where it differs before it from what is known at the first positions only.

        Args:
            residual: The residual stream before the layer.
            known: What ``project`` gave for some rows.
            rows: Which of these each run is about.
            positions: How many positions differ.
        """
        new = self.project(residual[:, :positions]) if positions else None
        return self._after(residual, known.taken(rows, new))

    def at(self, residual: Float[Tensor, "rows pos d_model"], position: Int[Tensor, "rows"]) -> Float[Tensor, "rows 1 d_model"]:
        """The residual stream after the layer at one position of each row: queries and the MLP are computed for these only.

        Args:
            residual: The residual stream before it.
            position: The position in each row.
        """
        block, rows = self.block, torch.arange(len(residual), device=residual.device)
        if not self.is_lean(residual):
            return block(residual)[rows, position][:, None]
        here = residual[rows, position][:, None]
        attended = here + _attention_at(block.attn, _normalised(block.ln1, residual), rows, position)
        return self._with_mlp(here, attended)

    def keys_values(self, residual: Float[Tensor, "rows pos d_model"]) -> tuple[Tensor, Tensor]:
        """Keys and values of the layer for its input, before any turning by position.

        Args:
            residual: The residual stream before the layer.
        """
        normalised = self.block.ln1(residual)
        # of the queries, one position's is the least that can be asked for
        return _queries_keys_values(self.block.attn, normalised[:, :1], normalised)[1:]

    def _after(self, residual: Float[Tensor, "rows pos d_model"], projections: Projections) -> Float[Tensor, "rows pos d_model"]:
        return self._with_mlp(residual, residual + _attention(self.block.attn, projections))

    def _with_mlp(self, residual: Tensor, attended: Tensor) -> Tensor:
        block = self.block
        if block.cfg.attn_only:
            return attended
        return attended + _mlp(block.mlp, _normalised(block.ln2, residual if block.cfg.parallel_attn_mlp else attended))

    def _is_hooked(self) -> bool:
        return any(module._forward_hooks or module._forward_pre_hooks for module in self._modules)


def _is_usual(block: Any) -> bool:
    cfg, attn = block.cfg, block.attn
    return (
        type(attn) in (Attention, GroupedQueryAttention)
        and not any(getattr(cfg, name, False) for name in _UNLIKE)
        and cfg.positional_embedding_type in ("standard", "rotary")
        and (getattr(attn, "_attention_dir_override", None) or cfg.attention_dir) == "causal"
        and (getattr(cfg, "attn_scores_soft_cap", None) or 0) <= 0
        and getattr(cfg, "clip_qkv", None) is None
        and not str(cfg.original_architecture).startswith("Olmo")  # norms in other places
    )


def _normalised(norm: Any, x: Float[Tensor, "rows pos d_model"]) -> Float[Tensor, "rows pos d_model"]:
    if type(norm) is LayerNorm:
        return layer_norm(x, x.shape[-1:], norm.w, norm.b, norm.eps)
    return layer_norm(x, x.shape[-1:], eps=norm.eps) if type(norm) is LayerNormPre else norm(x)


def _attention(attn: Any, projections: Projections) -> Float[Tensor, "rows pos d_model"]:
    (q, k, v), earlier = projections, projections.earlier
    if attn.cfg.positional_embedding_type == "rotary":
        q, k = attn.apply_rotary(q, earlier, None), attn.apply_rotary(k, 0, None)
    return _attended(attn, q, k, v, _mask(q.shape[1], earlier, q.device), is_causal=not earlier and q.shape[1] > 1)


def _queries_keys_values(
    attn: Any, asking: Float[Tensor, "rows new d_model"], x: Float[Tensor, "rows pos d_model"]
) -> tuple[Float[Tensor, "rows new heads d_head"], Float[Tensor, "rows pos heads d_head"], Float[Tensor, "rows pos heads d_head"]]:
    plain = type(attn) is Attention and not attn.cfg.use_qk_norm and attn.W_Q.device == x.device
    if not plain or any(hook._forward_hooks for hook in (attn.hook_q, attn.hook_k, attn.hook_v)):
        return attn.calculate_qkv_matrices(asking, x, x)
    return _heads(asking, attn.W_Q, attn.b_Q), _heads(x, attn.W_K, attn.b_K), _heads(x, attn.W_V, attn.b_V)


def _heads(
    x: Float[Tensor, "rows pos d_model"], weight: Float[Tensor, "heads d_model d_head"], bias: Float[Tensor, "heads d_head"]
) -> Float[Tensor, "rows pos heads d_head"]:
    return linear(x, weight.transpose(0, 1).flatten(1).T, bias.flatten()).view(*x.shape[:-1], *bias.shape)


def _attention_at(
    attn: Any, x: Float[Tensor, "rows pos d_model"], rows: Int[Tensor, "rows"], position: Int[Tensor, "rows"]
) -> Float[Tensor, "rows 1 d_model"]:
    if attn.cfg.positional_embedding_type == "rotary":  # which turns each position in its own way
        q, k, v = _queries_keys_values(attn, x, x)
        q, k = attn.apply_rotary(q, 0, None)[rows, position][:, None], attn.apply_rotary(k, 0, None)
    else:
        q, k, v = _queries_keys_values(attn, x[rows, position][:, None], x)
    sees = torch.arange(x.shape[1], device=x.device) <= position[:, None]
    return _attended(attn, q, k, v, sees[:, None, None], is_causal=False)


def _attended(
    attn: Any,
    q: Float[Tensor, "rows new heads d_head"],
    k: Float[Tensor, "rows all key_heads d_head"],
    v: Float[Tensor, "rows all key_heads d_head"],
    mask: Bool[Tensor, "..."] | None,
    *,
    is_causal: bool,
) -> Float[Tensor, "rows new d_model"]:
    repeats = q.shape[2] // k.shape[2]
    if repeats > 1:
        k, v = k.repeat_interleave(repeats, 2), v.repeat_interleave(repeats, 2)
    heads = (each.transpose(1, 2) for each in (q, k, v))
    z = scaled_dot_product_attention(*heads, attn_mask=mask, is_causal=is_causal, scale=1 / attn.attn_scale)
    return linear(z.transpose(1, 2).flatten(2), attn.W_O.flatten(0, 1).T, attn.b_O)


def _mask(new: int, earlier: int, device: torch.device) -> Bool[Tensor, "new all"] | None:
    """What each of the new positions sees, where there are earlier ones; ``None`` where the first one's triangle, or all, is seen."""
    return torch.ones(new, earlier + new, dtype=torch.bool, device=device).tril(earlier) if earlier and new > 1 else None


def _mlp(mlp: Any, x: Float[Tensor, "rows pos d_model"]) -> Float[Tensor, "rows pos d_model"]:
    if type(mlp) is not MLP or mlp.cfg.is_layer_norm_activation():
        return mlp(x)
    inside = linear(x, mlp.W_in.T, mlp.b_in)
    named = getattr(mlp.act_fn, "__name__", None)
    return linear(_tanh_gelu(inside) if named in _TANH_GELUS else mlp.act_fn(inside), mlp.W_out.T, mlp.b_out)


def _tanh_gelu(x: Float[Tensor, "rows pos d_mlp"]) -> Float[Tensor, "rows pos d_mlp"]:
    """GELU(x) ≈ x σ(√(8/π) (x + 0.044715 x³)), the form with tanh written with a sigmoid, which CPUs do in about 2/3 of the time."""
    if x.device.type != "cpu" or x.dtype != torch.float32:
        return gelu(x, approximate="tanh")
    scale = math.sqrt(8 / math.pi)
    return (x * x).mul_(0.044715 * scale).add_(scale).mul_(x).sigmoid_().mul_(x)
