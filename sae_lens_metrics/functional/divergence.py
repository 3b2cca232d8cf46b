"""How far two distributions over the vocabulary are from each other."""

from jaxtyping import Float
from torch import Tensor

__all__ = ["kl_divergence"]


def kl_divergence(logits: Float[Tensor, "*batch vocab"], reference: Float[Tensor, "*batch vocab"]) -> Float[Tensor, "*batch"]:
    """KL(p || q) = Σ_v p_v (log p_v - log q_v) in nats, p of the reference's logits and q of the others; 0 or more, in float32.

    Args:
        logits: Logits of q.
        reference: Logits of p.
    """
    log_p, log_q = reference.float().log_softmax(-1), logits.float().log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1).clamp_min(0)  # rounding may leave it below
