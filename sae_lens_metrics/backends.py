"""Running a model up to a hook, and onwards from it with another activation in place.

Only this file and ``subject.py`` know hooks. Every backend answers the same questions: ``prefix`` and ``logits`` about whole sequences,
``past`` and ``last`` about many short rows that begin alike. The universal one asks nothing of a model but hooks, and serves as the
reference for the others.
"""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from sae_lens.util import extract_layer_from_tlens_hook_name
from torch import Tensor
from transformer_lens import HookedTransformer
from transformer_lens.cache.key_value_cache_entry import TransformerLensKeyValueCacheEntry

from sae_lens_metrics.errors import SubjectError

__all__ = ["FromHookBackend", "FullRunBackend", "Past", "Prefix", "make_backend"]


@dataclass(frozen=True)
class Prefix:
    """A batch of tokens, run up to the hook."""

    tokens: Int[Tensor, "batch pos"]
    """Tokens, on the model's device."""
    activation: Float[Tensor, "batch pos ..."]
    """Activation at the hook, in the model's own shape."""
    residual: Float[Tensor, "batch pos d_model"] | None = field(default=None, repr=False)
    """The residual stream from which a backend goes on, if it can."""


@dataclass(frozen=True)
class Past:
    """The beginnings of some rows, with what a backend remembers of its run on them."""

    tokens: Int[Tensor, "rows past"]
    """The beginnings."""
    keys_values: tuple[tuple[Float[Tensor, "rows past heads d_head"], Float[Tensor, "rows past heads d_head"]], ...] = ()
    """Keys and values of each layer up to the hook, if the backend can go on from them."""

    def beginnings(self, rows: Int[Tensor, "n"], length: int) -> "Past":
        """The first tokens of some of the rows; a row may be taken more than once."""
        rows = rows.to(self.tokens.device)
        cut = tuple((keys[rows, :length], values[rows, :length]) for keys, values in self.keys_values)
        return Past(self.tokens[rows, :length], cut)


class _HookReachedError(Exception):
    """Ends a run of which nothing more is wanted."""


class FullRunBackend:
    """Runs the model with a hook for every question: works for any model with hook points, and is the reference."""

    concurrent = False
    """Whether several threads may ask at once."""
    remembers = False
    """Whether it goes on from what it remembers of a past, rather than from its beginning."""

    def __init__(self, model: Any, hook_name: str, model_kwargs: dict[str, Any] | None = None) -> None:
        self.model = model
        self.hook_name = hook_name
        self.model_kwargs = model_kwargs or {}

    @property
    def device(self) -> torch.device:
        """Where the model takes its tokens."""
        return next(self.model.parameters()).device

    def prefix(self, tokens: Int[Tensor, "batch pos"]) -> Prefix:
        """Runs the model on tokens up to the hook, and keeps the activation there."""
        tokens = tokens.to(self.device)
        seen: list[Tensor] = []

        def leave(activation: Tensor, hook: Any) -> None:
            seen.append(activation)
            raise _HookReachedError

        with suppress(_HookReachedError):
            self._run(tokens, leave)
        return Prefix(tokens, seen[-1])

    def logits(self, prefix: Prefix, activation: Float[Tensor, "batch pos ..."] | None) -> Float[Tensor, "batch pos vocab"]:
        """The model's logits with another activation at the hook, or its own where that is ``None``."""
        return self._run(prefix.tokens, None if activation is None else lambda _, hook: activation)

    def past(self, tokens: Int[Tensor, "rows past"]) -> Past:
        """Remembers beginnings that many rows share."""
        return Past(tokens.to(self.device))

    def last(self, past: Past, tokens: Int[Tensor, "rows new"]) -> Float[Tensor, "rows 1 ..."]:
        """The activation at the hook on the last token of rows, given what is remembered of their beginnings and all that follows."""
        return self.prefix(torch.cat([past.tokens, tokens.to(self.device)], 1)).activation[:, -1:]

    def _run(self, tokens: Tensor, at_hook: Any) -> Tensor:
        hooks = [] if at_hook is None else [(self.hook_name, at_hook)]
        with evaluating(self.model), torch.no_grad():
            return self.model.run_with_hooks(tokens, return_type="logits", fwd_hooks=hooks, **self.model_kwargs)


class FromHookBackend(FullRunBackend):
    """For a HookedTransformer and a hook inside a block: runs only the layers before, or only those from the hook on."""

    def __init__(self, model: HookedTransformer, hook_name: str, model_kwargs: dict[str, Any] | None = None) -> None:
        super().__init__(model, hook_name, model_kwargs)
        layer = extract_layer_from_tlens_hook_name(hook_name)
        if layer is None:
            raise SubjectError(f"{hook_name!r} is not inside a block")
        self._residual_is_activation = hook_name.endswith(("hook_resid_pre", "hook_resid_post"))
        # after hook_resid_post the next block's input is the activation itself
        self._layer = layer + 1 if hook_name.endswith("hook_resid_post") else layer
        self.remembers = not self.model_kwargs and getattr(model.cfg, "n_devices", 1) == 1  # blocks are run one by one, where they are
        self._trims_last_block = _keys_and_values_are_plain(model.cfg)
        self.concurrent = self._residual_is_activation  # otherwise a thread would see what passes another one's hook

    def prefix(self, tokens: Int[Tensor, "batch pos"]) -> Prefix:
        """Runs the layers before the hook."""
        tokens = tokens.to(self.device)
        with evaluating(self.model), torch.no_grad():
            residual = self.model(tokens, stop_at_layer=self._layer, **self.model_kwargs)
            if self._residual_is_activation:
                return Prefix(tokens, residual, residual)
            seen: list[Tensor] = []
            capture = [(self.hook_name, lambda activation, hook: seen.append(activation))]
            self.model.run_with_hooks(
                residual, start_at_layer=self._layer, stop_at_layer=self._layer + 1, fwd_hooks=capture, **self.model_kwargs
            )
        return Prefix(tokens, seen[-1], residual)

    def logits(self, prefix: Prefix, activation: Float[Tensor, "batch pos ..."] | None) -> Float[Tensor, "batch pos vocab"]:
        """Runs the layers from the hook on."""
        residual, hooks = prefix.residual, []
        if activation is not None and self._residual_is_activation:
            residual = activation
        elif activation is not None:
            hooks = [(self.hook_name, lambda _, hook: activation)]
        with evaluating(self.model), torch.no_grad():
            return self.model.run_with_hooks(
                residual, start_at_layer=self._layer, return_type="logits", fwd_hooks=hooks, **self.model_kwargs
            )

    def past(self, tokens: Int[Tensor, "rows past"]) -> Past:
        """Runs the layers up to the hook, and keeps their keys and values."""
        tokens = tokens.to(self.device)
        blocks = self._blocks_to_hook()
        entries = [TransformerLensKeyValueCacheEntry.init_cache_entry(self.model.cfg, self.device, len(tokens)) for _ in blocks]
        if blocks and tokens.shape[1]:
            with evaluating(self.model), torch.no_grad():
                residual = self._embed(tokens, 0)
                for block, entry in zip(blocks[:-1], entries[:-1], strict=True):
                    residual = block(residual, past_kv_cache_entry=entry)
                self._remember(blocks[-1], entries[-1], residual)
        return Past(tokens, tuple((entry.past_keys, entry.past_values) for entry in entries))

    def last(self, past: Past, tokens: Int[Tensor, "rows new"]) -> Float[Tensor, "rows 1 ..."]:
        """Runs the layers up to the hook on what follows the past; the last of them computes the last position only."""
        tokens = tokens.to(self.device)
        with evaluating(self.model), torch.no_grad():
            residual = self._embed(tokens, past.tokens.shape[1])
            blocks = self._blocks_to_hook()
            entries = [TransformerLensKeyValueCacheEntry(keys, values) for keys, values in past.keys_values]
            for block, entry in zip(blocks[:-1], entries[:-1], strict=True):
                residual = block(residual, past_kv_cache_entry=entry)
            if not blocks:
                return residual[:, -1:]
            if self._trims_last_block:
                self._remember(blocks[-1], entries[-1], residual[:, :-1])
                residual = residual[:, -1:]
            return self._at_hook(blocks[-1], entries[-1], residual)[:, -1:]

    def _blocks_to_hook(self) -> list[Any]:
        """The blocks that a run up to the hook needs; the hook is in the last of them, or at its end."""
        return list(self.model.blocks[: self._layer + (not self._residual_is_activation)])

    def _embed(self, tokens: Tensor, offset: int) -> Tensor:
        return self.model.get_residual(self.model.hook_embed(self.model.embed(tokens)), offset, tokens=tokens)[0]

    def _remember(self, block: Any, entry: TransformerLensKeyValueCacheEntry, residual: Tensor) -> None:
        """Appends a block's keys and values for its input; where that is possible, nothing else is computed."""
        if not self._trims_last_block:
            block(residual, past_kv_cache_entry=entry)
        elif residual.shape[1]:
            normalised = block.ln1(residual)
            # of the queries, one position's is the least that can be asked for
            _, keys, values = block.attn.calculate_qkv_matrices(normalised[:, :1], normalised, normalised)
            entry.append(keys, values)

    def _at_hook(self, block: Any, entry: TransformerLensKeyValueCacheEntry, residual: Tensor) -> Tensor:
        if self._residual_is_activation:
            return block(residual, past_kv_cache_entry=entry)
        seen: list[Tensor] = []
        with self.model.hooks(fwd_hooks=[(self.hook_name, lambda activation, hook: seen.append(activation))]):
            block(residual, past_kv_cache_entry=entry)
        return seen[-1]


def make_backend(model: Any, hook_name: str, model_kwargs: dict[str, Any] | None = None) -> FullRunBackend:
    """The fastest backend that can serve the model and the hook.

    Raises:
        SubjectError: If the model has no such hook; some models ignore an unknown hook in silence.
    """
    hooks = getattr(model, "hook_dict", None)
    if hooks is None or not hasattr(model, "run_with_hooks"):
        raise SubjectError(
            f"a {type(model).__name__} has no hook points: pass a HookedTransformer, or what sae_lens.load_model.load_model returns"
        )
    if hook_name not in hooks:
        near = difflib.get_close_matches(hook_name, hooks, n=3, cutoff=0.0)
        raise SubjectError(f"the model has no hook {hook_name!r}: the nearest names are {', '.join(near)}")
    in_block = hook_name.startswith("blocks.") and extract_layer_from_tlens_hook_name(hook_name) is not None
    plain_positions = getattr(getattr(model, "cfg", None), "positional_embedding_type", None) != "shortformer"
    fast = isinstance(model, HookedTransformer) and in_block and plain_positions and not _pads_left(model)
    return (FromHookBackend if fast else FullRunBackend)(model, hook_name, model_kwargs)


def _keys_and_values_are_plain(cfg: Any) -> bool:
    """Whether a block's keys and values are its normalised input times weights, and nothing more."""
    changed = cfg.use_split_qkv_input or cfg.use_attn_in or getattr(cfg, "clip_qkv", None) is not None
    return not changed and not str(cfg.original_architecture).startswith("Olmo")


def _pads_left(model: Any) -> bool:
    """With left padding the attention mask follows from the tokens, which a run from a later layer does not see."""
    return getattr(getattr(model, "tokenizer", None), "padding_side", "right") == "left"


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """The model in evaluation mode, restored afterwards."""
    was_training = model.training
    if was_training:
        model.eval()
    try:
        yield
    finally:
        if was_training:
            model.train()
