"""What every backend does, by whole runs of the model with a hook."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_lens_metrics.errors import SubjectError
from sae_lens_metrics.subject.backends.unembedding import difference

__all__ = ["FullRunBackend", "Onwards", "Past", "Prefix", "evaluating", "last_seen", "putting", "widest_layer"]

KeysValues = tuple[tuple[Float[Tensor, "rows past heads d_head"], Float[Tensor, "rows past heads d_head"]], ...]
"""Keys and values of some layers."""


@dataclass(frozen=True)
class Prefix:
    """A batch of tokens, run up to the hook."""

    tokens: Int[Tensor, "batch pos"]
    """Tokens, on the model's device."""
    activation: Float[Tensor, "batch pos ..."]
    """Activation at the hook, in the model's own shape."""
    residual: Float[Tensor, "batch pos d_model"] | None = field(default=None, repr=False)
    """The residual stream from which a backend goes on, if it can."""
    read: Float[Tensor, "batch pos ..."] | None = field(default=None, repr=False)
    """Activation at the hook that is read, where that is another one, as of a transcoder."""


@dataclass(frozen=True)
class Past:
    """The beginnings of some rows, with what a backend remembers of its run on them."""

    tokens: Int[Tensor, "rows past"]
    """The beginnings."""
    keys_values: KeysValues = ()
    """Keys and values of each layer up to the hook, if the backend can go on from them."""

    def beginnings(self, rows: Int[Tensor, "n"], length: int) -> "Past":
        """The first tokens of some of the rows; a row may be taken more than once."""
        rows = rows.to(self.tokens.device)
        cut = tuple((keys[rows, :length], values[rows, :length]) for keys, values in self.keys_values)
        return Past(self.tokens[rows, :length], cut)


@dataclass(frozen=True)
class Onwards:
    """Sequences in which the activation is about to be changed from one position on, many times."""

    prefix: Prefix
    """The sequences up to the last position that is asked about."""
    activation: Float[Tensor, "batch pos ..."]
    """The activation that is changed: the model's own, or another one in its place."""
    start: int
    """The first position that is changed."""
    memory: Any = field(default=None, repr=False)
    """What a backend remembers of its run before that position, in the layers that come after the hook."""

    @property
    def length(self) -> int:
        """Positions from the first changed one on."""
        return self.prefix.tokens.shape[1] - self.start

    def changed(self, rows: Int[Tensor, "n"], change: Float[Tensor, "n c ..."] | None) -> Float[Tensor, "n length ..."]:
        """The activation of some sequences from the first changed position on."""
        activation = self.activation[rows, self.start :]
        if change is not None:
            activation[:, : change.shape[1]] = change
        return activation


class _HookReachedError(Exception):
    """Ends a run of which nothing more is wanted."""


class FullRunBackend:
    """Runs the model with a hook for every question: works for any model with hook points, and is the reference."""

    concurrent = False
    """Whether several threads may ask at once."""
    remembers_past = False
    """Whether ``last`` goes on from what it remembers of a past, rather than from its beginning."""
    remembers_onwards = False
    """The same of ``outputs``."""

    def __init__(self, model: Any, hook_name: str, model_kwargs: dict[str, Any] | None = None) -> None:
        self.model = model
        self.hook_name = hook_name
        self.model_kwargs = model_kwargs or {}

    @property
    def device(self) -> torch.device:
        """Where the model takes its tokens."""
        return next(self.model.parameters()).device

    def simpler(self) -> "FullRunBackend | None":
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
        return self._run(prefix.tokens, None if activation is None else putting(activation))

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
        return self._run(onwards.prefix.tokens[rows], putting(activation))[:, onwards.start :]

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
