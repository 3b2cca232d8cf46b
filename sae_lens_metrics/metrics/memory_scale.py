"""How large an evaluation is, for what metrics say of their memory. Needs no torch."""

from dataclasses import dataclass

__all__ = ["FLOAT", "MemoryScale", "positions_that_fit", "run_bytes"]

FLOAT = 4
"""Bytes of a number: all but weights is in float32."""
_DENSE = 2**26
"""Dense latents that are held at once, in numbers."""
_LOGITS, _LOGITS_ELSEWHERE, _FEWEST = 2**19, 2**27, 128
"""Logits that are held at once, on a CPU and elsewhere, and the tokens that they are of at least."""
_ENCODING = 4
"""Tensors of all latents while some tokens are encoded and decoded."""
_LOSSES = 7
"""Tensors of all logits while losses are computed: those of two runs, their probabilities, and what was there before."""
_MLP, _RESIDUAL, _SCORES = 4, 8, 2
"""Tensors of the width of an MLP (four times the model's), of the model, and of attention scores, while a block runs."""


_KEYS_VALUES = 4
"""Keys and values of a layer, which are there twice while a run begins with remembered ones."""
_RUN_BYTES = 2**34
"""Memory of such a run."""


def run_bytes(d_in: int, n_layers: int) -> int:
    """Bytes of one position of a run that begins with remembered ones: keys and values, and a block.

    Args:
        d_in: Width of the model.
        n_layers: Its layers.
    """
    return FLOAT * (_KEYS_VALUES * n_layers + 4 * _MLP + _RESIDUAL) * d_in


def positions_that_fit(d_in: int, n_layers: int) -> int:
    """How many positions such a run may have.

    Args:
        d_in: Width of the model.
        n_layers: Its layers.
    """
    return max(2**10, _RUN_BYTES // run_bytes(d_in, n_layers))


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
        """Bytes of logits while losses are computed, and of what they are computed from."""
        tokens = min(self.at_once, max(_FEWEST, (_LOGITS if self.on_cpu else _LOGITS_ELSEWHERE) // self.vocabulary))
        return FLOAT * (_LOSSES * tokens * self.vocabulary + 2 * self.at_once * self.d_in)

    def run(self, positions: int) -> float:
        """Bytes of a run on so many positions that begin with remembered ones.

        Args:
            positions: How many.
        """
        return positions * run_bytes(self.d_in, self.n_layers)
