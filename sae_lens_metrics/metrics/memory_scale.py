"""How large an evaluation is, for what metrics say of their memory. Needs no torch."""

from dataclasses import dataclass

__all__ = ["FLOAT", "MemoryScale"]

FLOAT = 4
"""Bytes of a number: all but weights is in float32."""
_DENSE, _LOGITS = 2**26, 2**26
"""Dense latents, and logits, that are held at once, in numbers."""
_ENCODING = 4
"""Tensors of all latents while some tokens are encoded and decoded."""
_LOSSES = 8
"""Tensors of all logits while losses are computed: those of two runs, their probabilities, and what was there before."""
_MLP, _RESIDUAL, _SCORES = 4, 8, 2
"""Tensors of the width of an MLP (four times the model's), of the model, and of attention scores, while a block runs."""


@dataclass(frozen=True)
class MemoryScale:
    """How much there is to hold on the SAE's device."""

    tokens: int
    """Tokens of the corpus."""
    context: int
    """Tokens of a sequence."""
    batch_size: int
    """Sequences at once."""
    d_in: int
    """Width of the activation."""
    d_sae: int
    """Latents."""
    n_layers: int
    """Layers of the model."""
    vocabulary: int
    """Tokens that the model knows."""
    memory: float
    """Bytes of ``memory_gb``."""
    l0: int = 64
    """Active latents of a token, as many as are to be reckoned with."""
    on_cpu: bool = False
    """Whether chunks are those of a processor's cache."""

    @property
    def at_once(self) -> int:
        """Tokens of a batch."""
        return min(self.batch_size * self.context, self.tokens)

    @property
    def encoded(self) -> int:
        """Tokens whose dense latents are held at once."""
        return min(max(16, _DENSE // self.d_sae), self.at_once)

    @property
    def dense(self) -> float:
        """Bytes of dense latents while they are encoded and decoded."""
        return FLOAT * _ENCODING * self.encoded * self.d_sae

    @property
    def batch(self) -> float:
        """Bytes of a run of the model on a batch."""
        heads = max(1, self.d_in // 64)
        return FLOAT * self.at_once * ((4 * _MLP + _RESIDUAL) * self.d_in + _SCORES * heads * self.context)

    @property
    def losses(self) -> float:
        """Bytes of logits while losses are computed."""
        return FLOAT * _LOSSES * min(_LOGITS, self.at_once * self.vocabulary)

    def run(self, positions: int) -> float:
        """Bytes of a run on so many positions that begin with remembered ones: keys and values twice, and a block.

        Args:
            positions: How many.
        """
        return FLOAT * positions * (4 * self.n_layers + 4 * _MLP + _RESIDUAL) * self.d_in
