"""How a map changes on average, to first order: its Jacobian, averaged over points."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["mean_jacobian"]


def mean_jacobian(function: Callable[[Tensor], Tensor], points: Float[Tensor, "n d"], *, at_once: int = 2**18) -> Float[Tensor, "d_out d"]:
    """The mean over points of the Jacobian of a map that takes each row by itself, such as a norm.

    To first order ``function(x + δ) - function(x)`` is ``jacobian(x) @ δ``; of a norm with a fixed scale that is δ, scaled.

    Args:
        function: A differentiable map [1, rows, d] -> [1, rows, d_out], each row by itself.
        points: Where.
        at_once: Numbers of input that are differentiated at once, but for one copy of the points at least.
    """
    n, d = points.shape
    copies = max(1, at_once // max(1, n * d))
    with torch.enable_grad():
        x = points.detach().repeat(copies, 1)[None].requires_grad_()
        y = function(x)[0].view(copies, n, -1)
        width, rows = y.shape[-1], []
        for start in range(0, width, copies):
            here = min(copies, width - start)
            wanted = torch.zeros_like(y)
            wanted[torch.arange(here), :, start + torch.arange(here)] = 1
            (gradient,) = torch.autograd.grad(y, x, wanted, retain_graph=start + copies < width)
            rows.append(gradient[0].view(copies, n, d)[:here].float().mean(1))
    return torch.cat(rows)
