"""How far two distributions over the vocabulary are from each other."""

from jaxtyping import Float
from torch import Tensor

__all__ = ["kl_divergence"]


def kl_divergence(log_q: Float[Tensor, "*batch vocab"], log_p: Float[Tensor, "*batch vocab"]) -> Float[Tensor, "*batch"]:
    """KL(p || q) = Σ_v p_v (log p_v - log q_v) in nats; 0 or more.

    Args:
        log_q: Log-probabilities of q.
        log_p: Log-probabilities of p.
    """
    return (log_p.exp() * (log_p - log_q)).sum(-1).clamp_min(0)  # rounding may leave it below
