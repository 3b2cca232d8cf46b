"""What every backend does, by whole runs of the model with a hook."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_lens_metrics.errors import SubjectError
from sae_lens_metrics.integrations.offloading import input_device
from sae_lens_metrics.subject.backends.memory import Onwards, Past, Prefix
from sae_lens_metrics.subject.backends.protocol import Abilities, Backend
from sae_lens_metrics.subject.backends.unembedding import difference

__all__ = ["FullRunBackend", "evaluating", "last_seen", "putting", "widest_layer"]


class _HookReachedError(Exception):
    """Ends a run of which nothing more is wanted."""


class FullRunBackend:
    """Runs the model with a hook for every question: works for any model with hook points, and is the reference."""

    abilities = Abilities(runs_whole=True)

    def __init__(self, model: Any, hook_name: str, model_kwargs: dict[str, Any] | None = None) -> None:
        self.model = model
        self.hook_name = hook_name
        self.model_kwargs = model_kwargs or {}

    @property
    def device(self) -> torch.device:
        """Where the model takes its tokens."""
        return input_device(self.model)

    def on(self, model: Any) -> Backend:
        """The same for another model of the same layers."""
        return type(self)(model, self.hook_name, self.model_kwargs)

    def onward_layers(self) -> list[torch.nn.Module]:
        """The modules that runs from the hook on call: all of them."""
        return [self.model]

    def simpler(self) -> "Backend | None":
        """A slower backend that remembers too, and may serve where this one does not; the slowest of all needs no mention."""
        return None

    def prefix(self, tokens: Int[Tensor, "batch pos"]) -> Prefix:
        """Runs the model on tokens up to the hook, and keeps the activation there."""
        tokens = tokens.to(self.device)
        seen: list[Tensor] = []

        def leave(activation: Tensor, hook: Any) -> None:
            seen.append(activation)
            raise _HookReachedError

        with suppress(_HookReachedError):
            self._run(tokens, leave)
        return Prefix(tokens, last_seen(seen, self.hook_name))

    def logits(self, prefix: Prefix, activation: Float[Tensor, "batch pos ..."] | None) -> Float[Tensor, "batch pos vocab"]:
        """The model's logits with another activation at the hook, or its own where that is ``None``."""
        return self.unembedded(self.before_unembedding(prefix, activation))

    def before_unembedding(self, prefix: Prefix, activation: Float[Tensor, "batch pos ..."] | None) -> Float[Tensor, "batch pos d_output"]:
        """What those logits are computed from, each position's by itself, by ``unembedded``: here the logits themselves."""
        return self._run(prefix.tokens, None if activation is None else putting(activation))

    def unembedded(self, outputs: Float[Tensor, "*batch d_output"]) -> Float[Tensor, "*batch vocab"]:
        """Logits of some positions from what ``before_unembedding`` gives for them."""
        return outputs

    def at(self, tokens: Int[Tensor, "batch pos"], position: Int[Tensor, "batch"]) -> Float[Tensor, "batch 1 ..."]:
        """The activation at the hook at one position of each sequence."""
        activation = self.prefix(tokens).activation
        return activation[torch.arange(len(activation), device=activation.device), position.to(activation.device)][:, None]

    def past(self, tokens: Int[Tensor, "rows past"]) -> Past:
        """Remembers beginnings that many rows share."""
        return Past(tokens.to(self.device))

    def last(self, past: Past, tokens: Int[Tensor, "rows new"]) -> Float[Tensor, "rows 1 ..."]:
        """The activation at the hook on the last token of rows, given what is remembered of their beginnings and all that follows."""
        return self.prefix(torch.cat([past.tokens, tokens.to(self.device)], 1)).activation[:, -1:]

    def onwards(self, prefix: Prefix, activation: Float[Tensor, "batch pos ..."], start: int) -> Onwards:
        """Remembers what many changes from one position on share: the run before it, with some activation at the hook."""
        return Onwards(prefix, activation, start)

    def outputs(
        self, onwards: Onwards, rows: Int[Tensor, "n"], change: Float[Tensor, "n c ..."] | None
    ) -> Float[Tensor, "n length d_output"]:
        """What the logits from the changed position on are computed from, in the terms of ``logit_differences``.

        Args:
            onwards: The sequences and the position.
            rows: The sequence that each run is about.
            change: The activation at the first positions from the changed one on in each run; ``None`` where nothing is changed.
        """
        activation = torch.cat([onwards.activation[rows, : onwards.start], onwards.changed(rows, change)], 1)
        return self._run(onwards.tokens(rows), putting(activation))[:, onwards.start :]

    def logit_differences(
        self, outputs: Float[Tensor, "n pos d_output"], unchanged: Float[Tensor, "n pos d_output"]
    ) -> Float[Tensor, "n pos vocab"]:
        """Logits of changed runs minus those of unchanged ones; the tensors are new."""
        return difference(outputs, unchanged).float()

    def bytes_per_output(self, onwards: Onwards, vocabulary: int) -> int:
        """Memory that ``outputs`` takes for each run while it computes, roughly, in bytes."""
        return 4 * onwards.prefix.tokens.shape[1] * (2 * vocabulary + widest_layer(self.model))

    def _run(self, tokens: Tensor, at_hook: Any) -> Tensor:
        hooks = [] if at_hook is None else [(self.hook_name, at_hook)]
        with evaluating(self.model), torch.no_grad():
            return self.model.run_with_hooks(tokens, return_type="logits", fwd_hooks=hooks, **self.model_kwargs)


def last_seen(seen: list[Tensor], hook_name: str) -> Tensor:
    """What passed a hook last.

    Raises:
        SubjectError: If nothing did: some models have hooks that belong to settings, or to branches, that they do not use.
    """
    if not seen:
        raise SubjectError(f"nothing passes the hook {hook_name!r} when the model runs: give another hook near it")
    return seen[-1]


def putting(activation: Tensor) -> Callable[..., Tensor]:
    """A hook that puts an activation into the place of the model's own; some models need its numbers in their order in memory."""
    activation = activation.contiguous()
    return lambda _, hook: activation


def widest_layer(model: Any) -> int:
    """Numbers per position that the layers of a model hold at once, roughly."""
    cfg = getattr(model, "cfg", None) or model.model.config
    width = getattr(cfg, "d_model", None) or getattr(cfg, "hidden_size", 1024)
    heads = getattr(cfg, "n_heads", None) or getattr(cfg, "num_attention_heads", 16)
    context = getattr(cfg, "n_ctx", None) or 128
    return 12 * width + 3 * (getattr(cfg, "d_mlp", None) or 4 * width) + 3 * heads * min(context, 128)


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """The model in evaluation mode, restored afterwards; each module of its own, as a wrapper may be in another mode than what it wraps."""
    parts = (model, getattr(model, "original_model", None)) if model.training else ()
    training = [module for part in parts if isinstance(part, torch.nn.Module) for module in part.modules() if module.training]
    if training:
        model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
