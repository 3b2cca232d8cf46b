"""Shapes of a model and an SAE at its hook, and the arithmetic that they ask for."""

from dataclasses import dataclass

__all__ = ["GEMMA_2_2B", "GPT2_SMALL", "MISTRAL_LARGE_2", "SHAPES", "TINY", "Shape"]

_PER_WEIGHT = 2
"""Floating-point operations of one weight on one token: a multiplication and an addition."""


@dataclass(frozen=True)
class Shape:
    """A model of transformer blocks, and an SAE after one of them.

    Counted are the products with weights. Attention itself, norms and everything elementwise are not: some percent of the whole at
    sequences of 128 tokens.
    """

    name: str
    """What it is called."""
    n_layers: int
    """Blocks of the model."""
    d_model: int
    """Width of the residual stream, which the SAE reads."""
    n_heads: int
    """Heads of queries."""
    d_head: int
    """Width of a head."""
    d_mlp: int
    """Width of the MLP."""
    vocabulary: int
    """Tokens that the model knows."""
    layers_to_hook: int
    """Blocks that are run before the SAE reads."""
    d_sae: int
    """Latents."""
    key_value_heads: int = 0
    """Heads of keys and values, where there are fewer of them."""
    gated: bool = False
    """Whether the MLP has a gate: three matrices instead of two."""
    context: int = 128
    """Tokens of a sequence."""

    @property
    def layer_weights(self) -> int:
        """Weights of one block that every token is multiplied with."""
        shared = self.key_value_heads or self.n_heads
        attention = 2 * self.d_model * self.d_head * (self.n_heads + shared)
        return attention + (3 if self.gated else 2) * self.d_model * self.d_mlp

    @property
    def parameters(self) -> int:
        """Weights of the model with embeddings and unembedding, which TransformerLens holds apart, but without biases and norms."""
        return self.n_layers * self.layer_weights + 2 * self.d_model * self.vocabulary

    @property
    def to_hook(self) -> int:
        """Operations of one token up to the hook."""
        return _PER_WEIGHT * self.layers_to_hook * self.layer_weights

    @property
    def onwards(self) -> int:
        """Operations of one token from the hook to the logits."""
        return _PER_WEIGHT * ((self.n_layers - self.layers_to_hook) * self.layer_weights + self.d_model * self.vocabulary)

    @property
    def forward(self) -> int:
        """Operations of one token through the whole model."""
        return self.to_hook + self.onwards

    @property
    def encoding(self) -> int:
        """Operations of one token through the encoder."""
        return _PER_WEIGHT * self.d_model * self.d_sae

    @property
    def sanity(self) -> int:
        """Operations of one token in the sanity line: up to the hook, three times on from it, and through encoder and decoder."""
        return self.to_hook + 3 * self.onwards + 2 * self.encoding

    def ablation(self, tokens: int) -> int:
        """Operations of one change at the hook, and what it does to the logits of so many tokens.

        Queries, keys and values of the first block after the hook are new at the changed token only.

        Args:
            tokens: From the changed one on.
        """
        layers = self.n_layers - self.layers_to_hook
        shared = self.key_value_heads or self.n_heads
        projected = self.d_model * self.d_head * (self.n_heads + 2 * shared) if layers else 0
        onwards = tokens * (layers * self.layer_weights + self.d_model * self.vocabulary)
        return _PER_WEIGHT * (onwards - projected * (tokens - 1))


GPT2_SMALL = Shape("GPT-2 small", 12, 768, 12, 64, 3_072, 50_257, layers_to_hook=9, d_sae=24_576)
GEMMA_2_2B = Shape("Gemma 2 2B", 26, 2_304, 8, 256, 9_216, 256_000, layers_to_hook=13, d_sae=16_384, key_value_heads=4, gated=True)
MISTRAL_LARGE_2 = Shape(
    "Mistral Large 2", 88, 12_288, 96, 128, 28_672, 32_768, layers_to_hook=44, d_sae=131_072, key_value_heads=8, gated=True
)
TINY = Shape("tiny", 3, 32, 2, 16, 64, 199, layers_to_hook=2, d_sae=128, context=32)

SHAPES = {"gpt2-small": GPT2_SMALL, "tiny": TINY}
"""Shapes to measure at, by the name that a command takes."""
