"""The end of a model: how the residual stream becomes logits, by a final norm and a linear map."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import Module

from sae_lens_metrics.errors import SubjectError
from sae_lens_metrics.functional.mean_jacobian import mean_jacobian
from sae_lens_metrics.integrations.transformer_lens import HookedTransformer
from sae_lens_metrics.subject.backends import OwnCacheBackend, Prefix, carries_own_cache, evaluating
from sae_lens_metrics.subject.backends.unembedding import product_in_wider
from sae_lens_metrics.subject.site import Site

__all__ = ["Readout", "find_readout"]

_STREAM = frozenset({"hook_embed", "hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_attn_out", "hook_mlp_out"})
"""TransformerLens's hooks whose activation is, or is added to, the residual stream."""
_TINY = 4
"""Tokens of a run that shows which module does what."""


@dataclass(frozen=True)
class Readout:
    """What comes after the last block of a model."""

    norm: Module | None
    """The final norm; ``None`` where there is none."""
    weight: Float[Tensor, "d_model vocabulary"]
    """The unembedding, in the model's dtype and where the model has it."""
    _run: Callable[[Prefix], Tensor]
    """Runs the model on to the final norm."""

    @property
    def vocabulary(self) -> int:
        """How many logits there are."""
        return self.weight.shape[1]

    def stream(self, prefix: Prefix) -> Float[Tensor, "batch pos d_model"]:
        """The residual stream before the final norm, in a run of some tokens."""
        return self._run(prefix)

    def mean_slope(self, stream: Float[Tensor, "n d_model"]) -> Float[Tensor, "d_model d_model"]:
        """What the final norm does to small changes of the residual stream, as a matrix to multiply them with from the left.

        Args:
            stream: Residual streams over which it is averaged.
        """
        if self.norm is None:
            return torch.eye(stream.shape[1], device=stream.device)
        own = next((each.dtype for each in self.norm.parameters() if each.is_floating_point()), stream.dtype)
        with evaluating(self.norm):
            return mean_jacobian(self.norm, stream.to(own))

    def logits(self, changes: Float[Tensor, "n d_model"]) -> Float[Tensor, "n vocabulary"]:
        """The logits that changes of what is unembedded change, in float32, without a soft cap."""
        with torch.no_grad():
            return product_in_wider(changes.to(self.weight.device), self.weight).float().to(changes.device)

    def columns(self, tokens: Tensor) -> Float[Tensor, "n d_model"]:
        """The unembedding of some tokens."""
        return self.weight.detach()[:, tokens.to(self.weight.device)].T.float()


def find_readout(site: Site) -> Readout:
    """How a model reads logits from its residual stream, and whether what the SAE writes is in that stream.

    Args:
        site: The model at the SAE's hook.

    Raises:
        SubjectError: If what the SAE writes is not in the residual stream, or no linear map from there to the logits is known; it says why.
    """
    norm, unembeds, weight = _parts(site)
    port = site.place.output
    last = port.path.rsplit(".", 1)[-1]
    if port.width != weight.shape[0] or port.head is not None or (last.startswith("hook_") and last not in _STREAM):
        raise SubjectError(f"what the SAE writes at {port.hook_name} is not in the residual stream, which the unembedding reads")
    whole, entered = site.capabilities.whole, unembeds if norm is None else norm

    def run(prefix: Prefix) -> Tensor:
        with _entering(entered) as seen, suppress(_EnteredError):
            whole.before_unembedding(prefix, None)
        return seen[-1] if seen else whole.before_unembedding(prefix, None)

    return Readout(norm, weight, run)


def _parts(site: Site) -> tuple[Module | None, Module, Tensor]:
    """The final norm, the module that unembeds, and its weights."""
    model: Any = site.model
    if isinstance(model, HookedTransformer):
        return getattr(model, "ln_final", None), model.unembed, model.unembed.W_U
    if not carries_own_cache(model):
        raise SubjectError(f"no unembedding of a {type(model).__name__} is known")
    backend = OwnCacheBackend(model, site.place.output.path, site.capabilities.whole.model_kwargs)
    if not backend.unembeds:
        raise SubjectError(f"the logits of this {type(model).__name__} are no linear map of what it unembeds, or that is not in memory")
    return _final_norm(backend), backend.embeddings, backend.head.weight.T


def _final_norm(backend: OwnCacheBackend) -> Module:
    """The module whose output is what is unembedded, found by what passes it in a run of a few tokens.

    Raises:
        SubjectError: If there is none.
    """
    tokens = torch.arange(_TINY, device=backend.device)[None]
    done: list[tuple[Module, Tensor, Tensor]] = []

    def keep(module: Module, inputs: Any, output: Any) -> None:
        if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
            done.append((module, inputs[0], output))  # which keeps its memory from being used again

    handles = [module.register_forward_hook(keep) for module in backend.model.modules() if module is not backend.embeddings]
    try:
        with _entering(backend.embeddings) as seen, suppress(_EnteredError), evaluating(backend.model):
            backend.before_unembedding(Prefix(tokens, tokens), None)
    finally:
        for handle in handles:
            handle.remove()
    for module, given, output in done:
        if output.data_ptr() == seen[-1].data_ptr() != given.data_ptr() and given.shape == output.shape and _is_simple(module):
            return module
    raise SubjectError(f"no final norm of a {type(backend.model).__name__} is known: no module puts out what is unembedded")


def _is_simple(module: Module) -> bool:
    """Whether its parts have none themselves, as of a norm, which may be wrapped; a block, which looks at other positions, is not so."""
    return not any(True for part in module.children() for _ in part.children())


class _EnteredError(Exception):
    """Ends a run of which nothing more is wanted."""


@contextmanager
def _entering(module: Module) -> Iterator[list[Tensor]]:
    """What a module is given; the run ends there."""
    seen: list[Tensor] = []

    def leave(module: Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0].detach())
        raise _EnteredError

    handle = module.register_forward_pre_hook(leave)
    try:
        yield seen
    finally:
        handle.remove()
