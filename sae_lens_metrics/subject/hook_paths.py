"""Hooks by TransformerLens's names in models of transformers, whose hooks are the outputs of modules.

A module is looked for by what passes it: in a whole run, the residual stream must be, bit for bit, what the model's own record of it says,
and what attention and MLP add must add up to it. Names of modules only say what to try.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from sae_lens_metrics.errors import SubjectError
from sae_lens_metrics.integrations.offloading import input_device
from sae_lens_metrics.integrations.saelens import HookedProxyLM
from sae_lens_metrics.subject.backends import evaluating

__all__ = ["hook_path"]

_HOOK = re.compile(r"blocks\.(\d+)\.(hook_resid_pre|hook_resid_post|hook_attn_out|hook_mlp_out)")
_ATTENTION, _MLP = re.compile(r"attn|attention"), re.compile(r"mlp|feed_?forward|ffn|moe")
_EQUAL = 0.99
"""Share of numbers that must be equal bit for bit; another order of adding three of them may round the odd one otherwise."""


def hook_path(model: Any, hook_name: str, suggested: str | None = None) -> str:
    """What a model calls a hook.

    Args:
        model: Any model with hook points; those of transformers, in SAELens's wrapper, call hooks by the paths of modules.
        hook_name: What the SAE calls it: as the model does, or as TransformerLens does.
        suggested: The path of a module, if the SAE's metadata know it (SAELens's ``hf_hook_name``).

    Returns:
        The model's name; ``hook_name`` itself where that is one, or is no name of TransformerLens's.

    Raises:
        SubjectError: If no output of a module is what passes the hook.
    """
    hooks = getattr(model, "hook_dict", {})
    if hook_name in hooks or not isinstance(model, HookedProxyLM):
        return hook_name
    module = (suggested or "").removesuffix(".output")
    if module in hooks:
        return module
    if not re.match(r"blocks\.\d+\.|hook_", hook_name):
        return hook_name  # whoever uses it says what is wrong with it
    parsed = _HOOK.fullmatch(hook_name)
    path = None if parsed is None else _Trial(model).path(parsed.group(2), int(parsed.group(1)))
    if path is None:
        raise SubjectError(
            f"no module of {type(model.model).__name__} puts out what TransformerLens calls {hook_name!r}: give the path of a module as "
            "the hook, or load the model as TransformerBridge (--model-class TransformerBridge), which knows such names"
        )
    return path


class _Trial:
    """One whole run, and what passed every module in it."""

    def __init__(self, model: HookedProxyLM) -> None:
        inner: Any = model.model
        tokens = torch.arange(1, 9).reshape(2, 4).to(input_device(inner))
        with evaluating(inner), torch.no_grad(), _outputs(inner) as self._seen:
            run = inner(tokens, output_hidden_states=True, use_cache=False)
        self._stream: tuple[Tensor, ...] = getattr(run, "hidden_states", None) or ()
        self._blocks = self._find_blocks(inner)

    def path(self, what: str, layer: int) -> str | None:
        """The module that puts it out, if there is one."""
        if self._blocks is None or f"{self._blocks}.{layer}" not in self._seen:
            return None
        if what == "hook_resid_post":
            return f"{self._blocks}.{layer}"
        if what == "hook_resid_pre":
            return f"{self._blocks}.{layer - 1}" if layer else self._embedding()
        attention, mlp = self._parts(layer)
        return attention if what == "hook_attn_out" else mlp

    def _find_blocks(self, model: torch.nn.Module) -> str | None:
        """The list of blocks: each puts out the residual stream that the next one is given."""
        n = len(self._stream) - 1  # the last of them is what comes after the final norm
        for name, module in model.named_modules():
            outputs = [self._seen.get(f"{name}.{i}") for i in range(n - 1)]
            if isinstance(module, torch.nn.ModuleList) and len(module) == n and all(map(_equal, outputs, self._stream[1:])):
                return name
        return None

    def _embedding(self) -> str | None:
        outside = {name: output for name, output in self._seen.items() if not name.startswith(f"{self._blocks}.")}
        same = [name for name, output in outside.items() if _equal(output, self._stream[0])]
        return same[-1] if same else None  # in the order of the run: the last one has all that is added to embeddings

    def _parts(self, layer: int) -> tuple[str | None, str | None]:
        """The modules that put out what attention and MLP add: the outermost ones, where some hand on the same."""
        block = f"{self._blocks}.{layer}"
        before, after = self._stream[layer].to(self._seen[block].device), self._seen[block]
        inside = [name for name, output in self._seen.items() if name.startswith(f"{block}.") and output.shape == after.shape]
        inside.sort(key=lambda name: name.count("."))
        for attention in (name for name in inside if _ATTENTION.search(name.removeprefix(block))):
            for mlp in (name for name in inside if _MLP.search(name.removeprefix(block)) and name != attention):
                a, m = self._seen[attention], self._seen[mlp]
                if any(_equal(total, after) for total in ((before + a) + m, (a + m) + before, (before + m) + a)):
                    return attention, mlp
        return None, None


@contextmanager
def _outputs(model: torch.nn.Module) -> Iterator[dict[str, Tensor]]:
    """The output of every module in a run, by name, in the order in which they are done."""
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            first = output[0] if isinstance(output, tuple) and output else output
            if isinstance(first, Tensor):
                seen[name] = first.detach().clone()  # some models go on in place

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in model.named_modules() if name]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _equal(a: Tensor | None, b: Tensor) -> bool:
    return a is not None and a.shape == b.shape and bool((a == b.to(a.device)).float().mean() > _EQUAL)
