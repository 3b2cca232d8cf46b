"""Running a model up to a hook, and onwards from it with another activation in place.

Only this file and ``subject.py`` know hooks. Every backend answers two questions, ``prefix`` and ``logits``; the universal one runs
the whole model with hooks and serves as the reference for the others.
"""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from sae_lens.util import extract_layer_from_tlens_hook_name
from torch import Tensor
from transformer_lens import HookedTransformer

from sae_lens_metrics.errors import SubjectError

__all__ = ["FromHookBackend", "FullRunBackend", "Prefix", "make_backend"]


@dataclass(frozen=True)
class Prefix:
    """A batch of tokens, run up to the hook."""

    tokens: Int[Tensor, "batch pos"]
    """Tokens, on the model's device."""
    activation: Float[Tensor, "batch pos ..."]
    """Activation at the hook, in the model's own shape."""
    residual: Float[Tensor, "batch pos d_model"] | None = field(default=None, repr=False)
    """The residual stream from which a backend goes on, if it can."""


class FullRunBackend:
    """Runs the whole model with a hook for every question: works for any model with hook points, and is the reference."""

    def __init__(self, model: Any, hook_name: str, model_kwargs: dict[str, Any] | None = None) -> None:
        self.model = model
        self.hook_name = hook_name
        self.model_kwargs = model_kwargs or {}

    @property
    def device(self) -> torch.device:
        """Where the model takes its tokens."""
        return next(self.model.parameters()).device

    def prefix(self, tokens: Int[Tensor, "batch pos"]) -> Prefix:
        """Runs the model on tokens and keeps the activation at the hook."""
        tokens = tokens.to(self.device)
        seen: list[Tensor] = []
        self._run(tokens, lambda activation, hook: seen.append(activation))
        return Prefix(tokens, seen[-1])

    def logits(self, prefix: Prefix, activation: Float[Tensor, "batch pos ..."] | None) -> Float[Tensor, "batch pos vocab"]:
        """The model's logits with another activation at the hook, or its own where that is ``None``."""
        return self._run(prefix.tokens, None if activation is None else lambda _, hook: activation)

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
