"""Batched nonnegative least squares on normal equations, for many small problems at once.

Every problem is  min ½ zᵀGz - cᵀz  subject to  z >= 0,  with a Gram matrix G whose diagonal is 1 and a correlation vector c of the order
of 1: the form a least-squares problem takes once its columns and its target have unit length. In that form one absolute tolerance serves
every problem, however its activations or its decoder are scaled. An unused slot has c = 0 and a unit row in G, so its solution is 0.
"""

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

__all__ = ["block_pivot", "lawson_hanson", "natural_residual", "optimality_tolerance", "pack_nonzero", "projected_gradient"]

_EXCHANGES = 15  # full exchanges settle almost every problem in fewer than ten; what is left by then is likely to cycle
_NARROW = 24  # up to this size, cutting a Gram matrix down to the passive entries costs more than it saves
_CORRECTIONS = 3  # steps of iterative refinement, which take the ridge's bias back
_CHECK_EVERY = 10  # gradient steps between two looks at the residual


def optimality_tolerance(dtype: torch.dtype) -> float:
    """Largest `natural_residual` at which a solution computed in this precision counts as optimal, a few times its rounding noise."""
    return max(32 * torch.finfo(dtype).eps, 1e-11)


def pack_nonzero(entries: Shaped[Tensor, "b m"]) -> tuple[Int[Tensor, "b p"], Bool[Tensor, "b p"]]:
    """Moves the columns of each row's nonzero entries to the front, in one pass over the entries.

    Args:
        entries: Any matrix. NaN counts as nonzero.

    Returns:
        The columns in ascending order, padded with m to the largest number p of nonzero entries in a row, and which slots are filled.
    """
    row, column = entries.nonzero(as_tuple=True)
    start = torch.searchsorted(row, torch.arange(len(entries) + 1, device=row.device))
    count = start.diff()
    width = int(count.max()) if len(count) else 0
    filled = torch.arange(width, device=row.device) < count[:, None]
    columns = torch.full(filled.shape, entries.shape[1], device=row.device)
    columns.view(-1)[row * width + torch.arange(len(row), device=row.device) - start[row]] = column
    return columns, filled


def natural_residual(z: Float[Tensor, "b k"], descent: Float[Tensor, "b k"]) -> Float[Tensor, "b"]:
    """Distance from optimality, max over i of |z_i - max(0, z_i + descent_i)|; zero exactly where the KKT conditions hold.

    Args:
        z: Candidate solutions.
        descent: c - Gz, the negative gradient at `z`.
    """
    return (z - (z + descent).clamp(min=0)).abs().amax(1)


def block_pivot(
    gram: Float[Tensor, "b k k"], correlation: Float[Tensor, "b k"], *, ridge: float = 0.0, least_pivot: float = 0.0
) -> tuple[Float[Tensor, "b k"], Bool[Tensor, "b"]]:
    """Block principal pivoting (Kim and Park 2011, SIAM J. Sci. Comput. 33(6)) that gives up instead of cycling.

    Solves without constraints on a passive set (at first everything), then exchanges every entry with the wrong sign at once. Only the
    problems with such an entry go on to the next exchange.

    Args:
        gram: G, unit diagonal.
        correlation: c.
        ridge: Added to the diagonal before factorising.
        least_pivot: Problems give up at once where a pivot of G, the squared distance of a unit column from the span of those before it,
            is smaller: along such a column the objective is so flat that a gradient within rounding of zero does not prove an optimum.

    Returns:
        The solutions and whether each is optimal; rows that are not may hold anything and belong to `lawson_hanson`.
    """
    solution = torch.zeros_like(correlation)
    optimal = torch.zeros(len(correlation), dtype=torch.bool, device=correlation.device)
    open_rows = torch.arange(len(correlation), device=correlation.device)
    passive = torch.ones_like(correlation, dtype=torch.bool)
    for _ in range(_EXCHANGES):
        z, pivot = _solve_passive(gram, correlation, passive, ridge)
        z.masked_fill_((pivot < least_pivot)[:, None], torch.nan)  # which is never wrong, and never optimal
        descent = correlation - _product(gram, z)
        slack = 8 * torch.finfo(z.dtype).eps * (1 + z.abs().amax(1, keepdim=True))
        wrong = torch.where(passive, z < -slack, descent > slack)
        going_on = wrong.any(1)
        z = z.clamp(min=0)
        settled = open_rows[~going_on]
        solution[settled] = z[~going_on]
        optimal[settled] = natural_residual(z, descent)[~going_on] <= optimality_tolerance(z.dtype)
        if not going_on.any():
            break
        open_rows, gram, correlation = open_rows[going_on], gram[going_on], correlation[going_on]
        passive = (passive ^ wrong)[going_on]
    return solution, optimal


def lawson_hanson(
    gram: Float[Tensor, "b k k"], correlation: Float[Tensor, "b k"], *, ridge: float
) -> tuple[Float[Tensor, "b k"], Bool[Tensor, "b"]]:
    """The active-set method of Lawson and Hanson (1974, chapter 23) from z = 0: slower than `block_pivot`, but it always ends.

    The objective falls with each entry that is admitted, so no passive set returns; an entry that rounding makes leave at once is barred
    until the objective has fallen. Dependent columns are never admitted together, so rank-deficient problems are no special case.

    Args:
        gram: G, unit diagonal, float64.
        correlation: c.
        ridge: Added to the diagonal before factorising, of the order of the rounding errors in G.

    Returns:
        The solutions, feasible in any case, and whether each is optimal to within `optimality_tolerance`.
    """
    z = torch.zeros_like(correlation)
    passive, barred = torch.zeros_like(z, dtype=torch.bool), torch.zeros_like(z, dtype=torch.bool)
    reached = torch.zeros_like(z[:, :1])
    tolerance = optimality_tolerance(z.dtype)
    for _ in range(6 * z.shape[1] + 10):
        target, _ = _solve_passive(gram, correlation, passive, ridge)
        z, dropped, stuck = _step_towards(target, z, passive)
        passive, barred = passive & ~dropped, barred | stuck
        feasible = ~dropped.any(1, keepdim=True)
        gain = (correlation * z).sum(1, keepdim=True)
        barred &= ~(feasible & (gain > reached))
        reached = torch.where(feasible, reached.maximum(gain), reached)
        descent = (correlation - _product(gram, z)).masked_fill(passive | barred, 0)
        wanting = feasible & (descent.amax(1, keepdim=True) > tolerance)
        if not (wanting | ~feasible).any():
            break
        admitted = torch.zeros_like(passive).scatter_(1, descent.argmax(1, keepdim=True), wanting)
        passive = passive | admitted
    return z, natural_residual(z, correlation - _product(gram, z)) <= tolerance


def projected_gradient(
    gram: Float[Tensor, "b k k"], correlation: Float[Tensor, "b k"], start: Float[Tensor, "b k"], *, iterations: int
) -> Float[Tensor, "b k"]:
    """Accelerated projected gradient descent with adaptive restarts (O'Donoghue and Candès 2012, arXiv 1204.3982).

    Args:
        gram: G, unit diagonal.
        correlation: c.
        start: Where to start, nonnegative.
        iterations: Most steps to take; stops before where every problem is optimal to within `optimality_tolerance`.
    """
    # The largest absolute row sum bounds the largest eigenvalue, so that the step is always short enough.
    step = 1 / gram.abs().sum(2).amax(1, keepdim=True)
    z, ahead, momentum = start, start, torch.ones_like(step)
    for i in range(iterations):
        if i % _CHECK_EVERY == 0 and _is_optimal(gram, correlation, z):
            break
        following = (ahead + step * (correlation - _product(gram, ahead))).clamp(min=0)
        uphill = ((ahead - following) * (following - z)).sum(1, keepdim=True) > 0
        momentum = torch.where(uphill, 1, momentum)
        grown = (1 + (1 + 4 * momentum**2).sqrt()) / 2
        ahead = following + (momentum - 1) / grown * (following - z)
        z, momentum = following, grown
    return z


def _is_optimal(gram: Float[Tensor, "b k k"], correlation: Float[Tensor, "b k"], z: Float[Tensor, "b k"]) -> bool:
    return bool((natural_residual(z, correlation - _product(gram, z)) <= optimality_tolerance(z.dtype)).all())


def _product(gram: Float[Tensor, "b k k"], z: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
    return torch.bmm(gram, z[:, :, None])[:, :, 0]


def _step_towards(
    target: Float[Tensor, "b k"], z: Float[Tensor, "b k"], passive: Bool[Tensor, "b k"]
) -> tuple[Float[Tensor, "b k"], Bool[Tensor, "b k"], Bool[Tensor, "b k"]]:
    """Goes from `z` to `target` as far as every entry stays nonnegative.

    Returns:
        Where that ends, the passive entries that stopped it (none where the target is reached), and those of them that allowed no step.
    """
    blocking = passive & ~(target > 0)
    ratio = torch.where(blocking, z / (z - target).clamp(min=torch.finfo(z.dtype).tiny), torch.inf)
    length = ratio.amin(1, keepdim=True).clamp(max=1)
    moved = (z + length * (target - z)).clamp(min=0)
    dropped = blocking & (ratio <= length)
    return moved.masked_fill(dropped, 0), dropped, dropped & (ratio == 0)


def _solve_passive(
    gram: Float[Tensor, "b k k"], correlation: Float[Tensor, "b k"], passive: Bool[Tensor, "b k"], ridge: float
) -> tuple[Float[Tensor, "b k"], Float[Tensor, "b"]]:
    """The unconstrained solutions on the passive entries, 0 elsewhere, and the least pivot of each.

    A solution is NaN where the Gram matrix is not positive definite.
    """
    b, k = correlation.shape
    if bool(passive.all()):
        return _solve(gram, correlation, ridge)
    if k <= _NARROW:
        return _solve(_masked(gram.clone(), passive), correlation * passive, ridge)
    columns, filled = pack_nonzero(passive)
    if columns.shape[1] == 0:
        return torch.zeros_like(correlation), torch.ones_like(correlation[:, 0])
    inside = columns.clamp(max=k - 1)
    small = inside.to(torch.int32)
    start = torch.arange(0, b * k * k, k * k, dtype=torch.int32, device=gram.device)[:, None]
    offset = (start + small * k)[:, :, None] + small[:, None, :]
    # One-dimensional index_select is several times faster than gather and than indexing with two index tensors.
    part = _masked(gram.reshape(-1).index_select(0, offset.view(-1)).view(offset.shape), filled)
    z, pivot = _solve(part, correlation.gather(1, inside) * filled, ridge)
    return correlation.new_zeros(b, k + 1).scatter_(1, columns, z)[:, :k], pivot


def _masked(gram: Float[Tensor, "b k k"], kept: Bool[Tensor, "b k"]) -> Float[Tensor, "b k k"]:
    """Makes unit rows and columns of all but some, in place."""
    factor = kept.to(gram.dtype)  # in the same type, products are several times faster
    gram.mul_(factor[:, :, None]).mul_(factor[:, None, :]).diagonal(dim1=1, dim2=2).fill_(1)
    return gram


def _solve(
    gram: Float[Tensor, "b k k"], correlation: Float[Tensor, "b k"], ridge: float
) -> tuple[Float[Tensor, "b k"], Float[Tensor, "b"]]:
    regular = gram + ridge * torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device) if ridge else gram
    factor, failure = torch.linalg.cholesky_ex(regular)
    z = torch.cholesky_solve(correlation[:, :, None], factor)
    for _ in range(_CORRECTIONS if ridge else 0):
        z += torch.cholesky_solve(correlation[:, :, None] - torch.bmm(gram, z), factor)
    pivot = factor.diagonal(dim1=1, dim2=2).amin(1).square()
    return z[:, :, 0].masked_fill_((failure > 0)[:, None], torch.nan), pivot
