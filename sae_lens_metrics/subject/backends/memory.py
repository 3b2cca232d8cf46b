"""What a run of the model leaves for the next one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["KeysValues", "Onwards", "Past", "Prefix"]

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

    def rows(self, part: slice) -> "Prefix":
        """Some of the sequences, without what is read."""
        return Prefix(self.tokens[part], self.activation[part], None if self.residual is None else self.residual[part])

    @classmethod
    def joined(cls, parts: Sequence["Prefix"]) -> "Prefix":
        """Parts of a batch, one after the other."""
        if len(parts) == 1:
            return parts[0]
        tokens, activation = (torch.cat([getattr(part, name) for part in parts]) for name in ("tokens", "activation"))
        residuals = [part.residual for part in parts if part.residual is not None and part.residual is not part.activation]
        if not residuals:  # it is the activation itself, or there is none
            return cls(tokens, activation, None if parts[0].residual is None else activation)
        return cls(tokens, activation, torch.cat(residuals))


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

    def tokens(self, rows: Int[Tensor, "n"]) -> Int[Tensor, "n pos"]:
        """The tokens of some sequences; parts of a model may be on other devices than its embeddings."""
        return self.prefix.tokens[rows.to(self.prefix.tokens.device)]

    def changed(self, rows: Int[Tensor, "n"], change: Float[Tensor, "n c ..."] | None) -> Float[Tensor, "n length ..."]:
        """The activation of some sequences from the first changed position on."""
        activation = self.activation[rows, self.start :]
        if change is not None:
            activation[:, : change.shape[1]] = change
        return activation
