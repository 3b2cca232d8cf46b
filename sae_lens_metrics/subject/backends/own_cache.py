"""Runs of models that carry caches of their own: TransformerLens's bridge, and SAELens's wrapper of transformers models."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_lens_metrics.integrations.saelens import HookedProxyLM
from sae_lens_metrics.subject.backends.full_run import FullRunBackend, evaluating, putting, widest_layer
from sae_lens_metrics.subject.backends.memory import Onwards, Prefix
from sae_lens_metrics.subject.backends.protocol import Abilities, Backend
from sae_lens_metrics.subject.backends.unembedding import unembedded_differences

__all__ = ["OwnCacheBackend", "carries_own_cache"]

_STRETCH = 16
"""Hidden states this many times as large as real ones show whether a model bends its logits, as a soft cap does."""


def carries_own_cache(model: Any) -> bool:
    """Whether the model is one of transformers, under hooks, whose runs can go on from a cache of keys and values."""
    return callable(getattr(_wrapped(model), "get_output_embeddings", None))


class OwnCacheBackend(FullRunBackend):
    """For a model around one of transformers: changes are run from keys and values that the wrapped model itself remembers.

    The wrapped model runs all of its layers. Those before the hook are the same for all changes of a sequence, so they are run for one
    of them, and the batch grows at the hook: what the hook returns has more rows than what it was given.

    Args:
        model: A TransformerBridge or a HookedProxyLM.
        hook_name: The hook.
        model_kwargs: More arguments for the model's forward pass.
        grows: Whether the batch may grow at the hook.
    """

    abilities = Abilities(remembers_onwards=True)

    def __init__(self, model: Any, hook_name: str, model_kwargs: dict[str, Any] | None = None, *, grows: bool = True) -> None:
        super().__init__(model, hook_name, model_kwargs)
        self._grows = grows
        self._wrapped = _wrapped(model)

    def on(self, model: Any) -> Backend:
        """The same for another model of the same layers."""
        return OwnCacheBackend(model, self.hook_name, self.model_kwargs, grows=self._grows)

    def simpler(self) -> Backend | None:
        """The same without a batch that grows."""
        return OwnCacheBackend(self.model, self.hook_name, self.model_kwargs, grows=False) if self._grows else None

    def onwards(self, prefix: Prefix, activation: Float[Tensor, "batch pos ..."], start: int) -> Onwards:
        """Runs what comes before the position, up to the unembedding, and keeps the model's cache."""
        if not start:
            return Onwards(prefix, activation, start)
        seen: list[Any] = []

        def leave(module: Any, inputs: Any, output: Any) -> None:
            seen.append(output.past_key_values)
            raise _BodyEndedError

        handle = self._wrapped.base_model.register_forward_hook(leave)
        try:
            with suppress(_BodyEndedError):
                self._forward(prefix.tokens[:, :start], activation[:, :start], None)
        finally:
            handle.remove()
        return Onwards(prefix, activation, start, seen[-1])

    def outputs(
        self, onwards: Onwards, rows: Int[Tensor, "n"], change: Float[Tensor, "n c ..."] | None
    ) -> Float[Tensor, "n length d_output"]:
        """Runs the positions from the first changed one on; the outputs are what is unembedded, or logits if more happens to them."""
        activation = onwards.changed(rows, change)
        runs = torch.unique_consecutive(rows, return_counts=True)[1].tolist()
        if not self._grows or 2 * len(runs) > len(rows):  # few rows of a sequence are best run beside those of the others
            return self._outputs(onwards, rows, onwards.tokens(rows)[:, onwards.start :], activation)
        parts = zip(rows.split(runs), activation.split(runs), strict=True)
        return torch.cat([self._outputs(onwards, part, onwards.tokens(part[:1])[:, onwards.start :], x) for part, x in parts])

    def logit_differences(
        self, outputs: Float[Tensor, "n pos d_output"], unchanged: Float[Tensor, "n pos d_output"]
    ) -> Float[Tensor, "n pos vocab"]:
        """Unembeds differences where logits are linear in the outputs, which is more precise than to subtract logits."""
        if not self.unembeds:
            return super().logit_differences(outputs, unchanged)
        return unembedded_differences(outputs, unchanged, self.head.weight.T, self._cap, self.head)

    def bytes_per_output(self, onwards: Onwards, vocabulary: int) -> int:
        """Memory that ``outputs`` takes for each run while it computes, roughly, in bytes."""
        positions = onwards.prefix.tokens.shape[1]
        config = self._wrapped.config.get_text_config()
        heads = getattr(config, "num_attention_heads", None) or 16
        d_head = getattr(config, "head_dim", None) or getattr(config, "hidden_size", 1024) // heads
        keys_values = 2 * positions * heads * d_head  # of one layer; those that heads share may be written out for each
        logits = 0 if self.unembeds else 2 * vocabulary
        return 4 * (2 * keys_values + onwards.length * (widest_layer(self.model) + logits))

    def _outputs(self, onwards: Onwards, rows: Tensor, tokens: Tensor, activation: Tensor) -> Tensor:
        cache = None if onwards.memory is None else _for_rows(onwards.memory, rows)
        if not self.unembeds:
            return self._forward(tokens, activation, cache)
        with _ends_at(self.embeddings) as seen:
            self._forward(tokens, activation, cache)
        return seen[-1]

    def _forward(self, tokens: Tensor, activation: Tensor | None, cache: Any) -> Tensor:
        """Logits of a run that goes on from a cache, with an activation in the place of the model's own."""
        hooks = [] if activation is None else [(self.hook_name, putting(activation))]
        with evaluating(self.model), torch.no_grad(), self.model.hooks(fwd_hooks=hooks):
            if isinstance(self.model, HookedProxyLM):  # it hands no arguments on
                return self._wrapped(tokens, past_key_values=cache, use_cache=True).logits
            return self.model(tokens, return_type="logits", **self.model_kwargs | {"past_key_values": cache, "use_cache": True})

    @property
    def embeddings(self) -> Any:
        """The module that unembeds, as the model calls it."""
        return self._wrapped.get_output_embeddings()

    @property
    def head(self) -> Any:
        """The same without what a bridge puts around it."""
        return getattr(self.embeddings, "original_component", self.embeddings)

    @property
    def _cap(self) -> float:
        return getattr(self._wrapped.config.get_text_config(), "final_logit_softcapping", None) or 0.0

    def _unembed(self, outputs: Tensor) -> Tensor:
        logits = self.head(outputs)
        return self._cap * (logits / self._cap).tanh() if self._cap else logits

    @cached_property
    def unembeds(self) -> bool:
        """Whether logits are known to follow from what is unembedded: by a linear map and a soft cap, and nothing else."""
        weight = getattr(self.head, "weight", None)
        if not isinstance(self.head, torch.nn.Linear) or weight is None or weight.is_meta or not weight.is_floating_point():
            return False
        tokens = torch.arange(4, device=self.device)[None] % weight.shape[0]
        seen: list[Tensor] = []

        def stretch(module: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            seen.append(inputs[0] * _STRETCH)
            return (seen[-1], *inputs[1:])

        handle = self.embeddings.register_forward_pre_hook(stretch)
        try:
            logits = self._forward(tokens, None, None)
        finally:
            handle.remove()
        with torch.no_grad():
            return torch.allclose(
                self._unembed(seen[-1]), logits, rtol=0, atol=float(8 * torch.finfo(logits.dtype).eps * logits.abs().max())
            )


class _BodyEndedError(Exception):
    """Ends a run before the unembedding."""


@contextmanager
def _ends_at(module: torch.nn.Module) -> Iterator[list[Tensor]]:
    """Collects what a module is given, and ends runs there."""
    seen: list[Tensor] = []

    def leave(module: Any, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0])
        raise _BodyEndedError

    handle = module.register_forward_pre_hook(leave)
    try:
        with suppress(_BodyEndedError):
            yield seen
    finally:
        handle.remove()


def _wrapped(model: Any) -> Any:
    """The model of transformers inside, or ``None``."""
    return model.model if isinstance(model, HookedProxyLM) else getattr(model, "original_model", None)


def _for_rows(cache: Any, rows: Int[Tensor, "n"]) -> Any:
    """A cache that goes on from some rows of another one, and leaves that as it is.

    It does not keep what it is given: of all layers, only one at a time has its keys and values written out for each row.
    """
    taken = copy.copy(cache)
    taken.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in taken.layers:
        layer.update = partial(_appended, layer.keys, layer.values, rows.to(layer.keys.device))
    return taken


def _appended(
    keys: Tensor, values: Tensor, rows: Tensor, new_keys: Tensor, new_values: Tensor, *_: Any, **__: Any
) -> tuple[Tensor, Tensor]:
    """Keys and values of some rows with those of new tokens; before the batch has grown, there is but the first row."""
    taken = rows[: len(new_keys)]
    return torch.cat([keys[taken], new_keys], -2), torch.cat([values[taken], new_values], -2)
