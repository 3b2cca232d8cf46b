"""What every backend answers, and what it says about how it does so."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import Module

from sae_lens_metrics.subject.backends.memory import Onwards, Past, Prefix

__all__ = ["Abilities", "Backend"]


@dataclass(frozen=True)
class Abilities:
    """How a backend answers; each saves time where it is true, none changes an answer."""

    runs_whole: bool = False
    """It runs the whole model for every question: it needs no check, it is what others are checked against."""
    concurrent: bool = False
    """Several threads may ask at once."""
    unembeds: bool = False
    """``before_unembedding`` ends where it says; otherwise it gives the logits themselves."""
    remembers_past: bool = False
    """``last`` goes on from what ``past`` remembers, rather than from the beginning."""
    remembers_onwards: bool = False
    """``outputs`` goes on from what ``onwards`` remembers."""


class Backend(Protocol):
    """Runs a model up to a hook, and onwards from it with another activation in place.

    ``prefix``, ``logits``, ``before_unembedding`` and ``unembedded`` are about whole sequences, ``at`` about one position of each,
    ``past`` and ``last`` about many short rows that begin alike, ``onwards``, ``outputs`` and ``logit_differences`` about many changes
    from one position on. Activations have the model's own shape and dtype.
    """

    model: Any
    hook_name: str
    model_kwargs: dict[str, Any]
    abilities: Abilities

    @property
    def device(self) -> torch.device:
        """Where the model takes its tokens."""
        ...

    def on(self, model: Any) -> "Backend":
        """The same for another model of the same layers."""
        ...

    def onward_layers(self) -> list[Module]:
        """The modules that runs from the hook on call."""
        ...

    def simpler(self) -> "Backend | None":
        """A slower backend that remembers too, and may serve where this one does not; the slowest of all needs no mention."""
        ...

    def prefix(self, tokens: Int[Tensor, "batch pos"]) -> Prefix:
        """Runs the model on tokens up to the hook, and keeps the activation there."""
        ...

    def logits(self, prefix: Prefix, activation: Float[Tensor, "batch pos ..."] | None) -> Float[Tensor, "batch pos vocab"]:
        """The model's logits with another activation at the hook, or its own where that is ``None``."""
        ...

    def before_unembedding(self, prefix: Prefix, activation: Float[Tensor, "batch pos ..."] | None) -> Float[Tensor, "batch pos d_output"]:
        """What those logits are computed from, each position's by itself, by ``unembedded``."""
        ...

    def unembedded(self, outputs: Float[Tensor, "*batch d_output"]) -> Float[Tensor, "*batch vocab"]:
        """Logits of some positions from what ``before_unembedding`` gives for them."""
        ...

    def at(self, tokens: Int[Tensor, "batch pos"], position: Int[Tensor, "batch"]) -> Float[Tensor, "batch 1 ..."]:
        """The activation at the hook at one position of each sequence."""
        ...

    def past(self, tokens: Int[Tensor, "rows past"]) -> Past:
        """Remembers beginnings that many rows share."""
        ...

    def last(self, past: Past, tokens: Int[Tensor, "rows new"]) -> Float[Tensor, "rows 1 ..."]:
        """The activation at the hook on the last token of rows, given what is remembered of their beginnings and all that follows."""
        ...

    def onwards(self, prefix: Prefix, activation: Float[Tensor, "batch pos ..."], start: int) -> Onwards:
        """Remembers what many changes from one position on share: the run before it, with some activation at the hook."""
        ...

    def outputs(
        self, onwards: Onwards, rows: Int[Tensor, "n"], change: Float[Tensor, "n c ..."] | None
    ) -> Float[Tensor, "n length d_output"]:
        """What the logits from the changed position on are computed from, in the terms of ``logit_differences``."""
        ...

    def logit_differences(
        self, outputs: Float[Tensor, "n pos d_output"], unchanged: Float[Tensor, "n pos d_output"]
    ) -> Float[Tensor, "n pos vocab"]:
        """Logits of changed runs minus those of unchanged ones; the tensors are new."""
        ...

    def bytes_per_output(self, onwards: Onwards, vocabulary: int) -> int:
        """Memory that ``outputs`` takes for each run while it computes, roughly, in bytes."""
        ...
