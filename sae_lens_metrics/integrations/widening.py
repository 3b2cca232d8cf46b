"""A model in half precision as one that computes in float32, without touching the model: its weights may be in use elsewhere."""

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module, Parameter

from sae_lens_metrics.integrations.saelens import HookedProxyLM

__all__ = ["computes_in", "is_half", "widened"]

_DTYPES = ("dtype", "torch_dtype")
"""Fields of models' configurations by which their layers convert what they compute."""


def is_half(dtype: torch.dtype) -> bool:
    """Whether numbers of a type have less precision than float32."""
    return dtype.is_floating_point and torch.finfo(dtype).bits < 32


def computes_in(model: Module) -> torch.dtype:
    """The type of numbers of a model's weights; of mixed ones the least precise."""
    kinds = {value.dtype for value in model.parameters() if value.is_floating_point()}
    return max(kinds, key=lambda dtype: torch.finfo(dtype).eps, default=torch.float32)


def widened(model: Module, layers: Iterable[Module], memory: float) -> Module:
    """A model that shares a model's weights, but has float32 copies of those of some layers, and computes in float32.

    Where the copies of all those weights would take more than the memory allowed, each module's are made when it is called, and dropped
    after it: slower, and not for several threads.

    Args:
        model: A HookedTransformer, a TransformerBridge, or SAELens's wrapper of a transformers model.
        layers: The modules that will be called.
        memory: Bytes for copies that last.

    Raises:
        ValueError: If a weight is quantised, or not in memory.
    """
    values = {id(value): value for layer in layers for value in (*layer.parameters(), *layer.buffers())}
    half = {key: value for key, value in values.items() if is_half(value.dtype)}
    _check(values.values())
    at_once = 4 * sum(value.numel() for value in half.values()) <= memory
    taken = {key: _wide(value) for key, value in half.items()} if at_once else {}
    other = _copied(model, taken)
    for module in other.modules():
        _convert_to_float32(module)
        if not at_once:
            _widen_when_called(module)
    return other


def _check(values: Iterable[Tensor]) -> None:
    for value in values:
        if value.is_meta:
            raise ValueError("weights are not in memory")
        if isinstance(value, Parameter) and not value.is_floating_point():
            raise ValueError("weights are quantised")


def _wide(value: Tensor) -> Tensor:
    wide = value.detach().float()
    return Parameter(wide, requires_grad=False) if isinstance(value, Parameter) else wide


def _copied(model: Module, taken: dict[int, Tensor]) -> Module:
    """New modules around the same weights, but for those that others are taken for."""
    inner = model.model if isinstance(model, HookedProxyLM) else model
    memo: dict[int, Any] = {id(value): value for value in (*inner.parameters(), *inner.buffers())} | taken
    memo |= {id(kept): kept for module in inner.modules() if (kept := getattr(module, "tokenizer", None)) is not None}
    other = copy.deepcopy(inner, memo)
    if not isinstance(model, HookedProxyLM):
        return other
    for module in other.modules():  # the wrapper's hooks lead to the hook points of the one that was copied
        for key, hook in list(module._forward_hooks.items()):
            if getattr(hook, "__module__", "") == HookedProxyLM.__module__:
                del module._forward_hooks[key]
    return HookedProxyLM(other, model.tokenizer, getattr(model, "_allowed_hook_names", None))


def _convert_to_float32(module: Module) -> None:
    for config in (getattr(module, "cfg", None), getattr(module, "config", None)):
        for name in _DTYPES:
            if isinstance(kind := getattr(config, name, None), torch.dtype) and is_half(kind):
                setattr(config, name, torch.float32)


def _widen_when_called(module: Module) -> None:
    own = {name: value for name, value in module._parameters.items() if value is not None and is_half(value.dtype)}
    if not own:
        return

    def widen(module: Module, _: Any) -> None:
        module._parameters.update({name: Parameter(value.detach().float(), requires_grad=False) for name, value in own.items()})

    def narrow(module: Module, _: Any, __: Any) -> None:
        module._parameters.update(own)

    module.register_forward_pre_hook(widen)
    module.register_forward_hook(narrow, always_call=True)
