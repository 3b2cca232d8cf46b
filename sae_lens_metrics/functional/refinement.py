"""The best activations for a fixed decoder and a fixed support (arXiv 2406.04093, section 5.1).

Per token with activation x [d_in], decoder rows d_i and raw activations a [d_sae],

    refined = argmin over z of |x - Σ_i z_i d_i|²   subject to   z_i = 0 where a_i = 0,  z_i a_i >= 0 elsewhere,

so that refined / raw tells how much the encoder shrinks its activations. The sign of a raw activation is kept: the paper's positivity
constraint, and its mirror image for the negative activations of SAEs that have them.

The solvers work on a padded support, [n, k] latent indices and values with 0 in the unused slots, and in units in which x and every
decoder row have length 1. Tokens are sorted by the size of their support and solved in chunks. Working memory, beside what is returned:
the decoder's active rows once more, the support, some 20 MB for each chunk in work on a CPU (2 GB elsewhere), and a table of the inner
products of the active latents where it is at most 1 GiB and costs less than computing them token by token.

The exact solver works on inner products, in float64 where a support is so nearly dependent that float32 cannot tell the optimum. That
resolves decoder rows that differ by some 1e-4 of their length or more; the optimum along smaller differences takes activations so large
that a float32 result could not hold it.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_lens_metrics.functional.nnls import block_pivot, lawson_hanson, natural_residual, pack_nonzero, projected_gradient
from sae_lens_metrics.functional.refinement_checks import RefinementInputError, check_finite, check_indices, check_tokens
from sae_lens_metrics.functional.support_problems import (
    TABLE_BYTES,
    Problem,
    chunks,
    cut,
    gram_table,
    normal_equations,
    pose,
    precision_of,
    tokens_at_once,
)
from sae_lens_metrics.functional.supports import pack_support, to_support, unpack_support
from sae_lens_metrics.functional.threads import Map, chunk_threads

__all__ = ["Solver", "kkt_residual", "kkt_residual_on_support", "refine_activations", "refine_on_support"]

Solver = Literal["exact", "pgd"]

_RIDGE = 1e-13  # in float64 and relative to unit rows: above the rounding errors of a Gram matrix, below all that matters
_Solve = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]  # (gram, correlation, raw) -> (solution, which are optimal)


@torch.no_grad()
def refine_activations(
    x: Float[Tensor, "n d_in"],
    decoder: Float[Tensor, "d_sae d_in"],
    feature_acts: Float[Tensor, "n d_sae"],
    *,
    solver: Solver = "exact",
    max_iterations: int = 1000,
    table_bytes: int = TABLE_BYTES,
) -> Float[Tensor, "n d_sae"]:
    """Minimises |x - z @ decoder|² over the nonzero entries of `feature_acts`, with their signs kept (arXiv 2406.04093, section 5.1).

    Args:
        x: Activations at the hook, the decoder's bias already subtracted.
        decoder: One row per latent, of any length.
        feature_acts: Raw activations; which of them are nonzero, and with which sign, is all that `solver="exact"` takes from them.
        solver: ``"exact"`` finds the optimum of every token; ``"pgd"`` is the paper's projected gradient descent, here accelerated and
            started from the raw activations. Where decoder rows are linearly dependent the optimum is not unique: some optimum is found.
        max_iterations: Most gradient steps of ``"pgd"``; ``"exact"`` has no use for it.
        table_bytes: Largest table of the active latents' inner products; without one, each token's are computed apart.

    Returns:
        Refined activations, in the units of `feature_acts`, float32 or the widest of the inputs' types. Zero where `feature_acts` is
        zero, otherwise zero or of the same sign.

    Raises:
        RefinementInputError: The shapes do not fit together, a value is not finite, or the solver is unknown.
    """
    check_tokens(x, decoder, feature_acts, "feature_acts", len(decoder))
    with chunk_threads(x.device) as run:
        indices, values = pack_support(feature_acts, run)
        check_finite("feature_acts", values)  # all others are zero
        refined = _refine(x, decoder, indices, values, _Options(solver, max_iterations, table_bytes), run)
        return unpack_support(indices, refined, feature_acts.shape[1], run)


@torch.no_grad()
def refine_on_support(
    x: Float[Tensor, "n d_in"],
    decoder: Float[Tensor, "d_sae d_in"],
    indices: Int[Tensor, "n k"],
    values: Float[Tensor, "n k"],
    *,
    solver: Solver = "exact",
    max_iterations: int = 1000,
    table_bytes: int = TABLE_BYTES,
) -> Float[Tensor, "n k"]:
    """`refine_activations` for activations in sparse form, as `to_support` returns them.

    Args:
        x: Activations at the hook, the decoder's bias already subtracted.
        decoder: One row per latent, of any length.
        indices: The active latents of each token, each of them once, in any order.
        values: Their raw activations; 0 marks an unused slot, whose index is ignored. Unused slots may lie anywhere.
        solver: See `refine_activations`.
        max_iterations: See `refine_activations`.
        table_bytes: See `refine_activations`.

    Returns:
        The refined activation in each slot, 0 in unused ones.

    Raises:
        RefinementInputError: The shapes do not fit together, a value is not finite, an index is out of range, or the solver is unknown.
    """
    check_tokens(x, decoder, values, "values", None)
    check_indices(indices, values, len(decoder))
    columns, filled = pack_nonzero(values)
    inside = columns.clamp(max=max(values.shape[1] - 1, 0))
    with chunk_threads(x.device) as run:
        packed = indices.gather(1, inside), values.gather(1, inside) * filled
        refined = _refine(x, decoder, *packed, _Options(solver, max_iterations, table_bytes), run)
    return refined.new_zeros(len(x), values.shape[1] + 1).scatter_(1, columns, refined)[:, :-1]


@torch.no_grad()
def kkt_residual(
    x: Float[Tensor, "n d_in"],
    decoder: Float[Tensor, "d_sae d_in"],
    feature_acts: Float[Tensor, "n d_sae"],
    refined: Float[Tensor, "n d_sae"],
) -> Float[Tensor, "n"]:
    """How far refined activations are from the optimum of each token, as a dimensionless number.

    With x̂ = refined @ decoder, z_i the refined activation times the sign of the raw one, and d_i the decoder row times that sign, it is

        max over the support of |d_i| · |z_i - max(0, z_i + d_i·(x - x̂) / |d_i|²)|  /  (|x| + |x̂|):

    the longest step that the exact minimisation over one entry would still take, as a share of the lengths involved. It is 0 exactly at
    the optimum (the KKT conditions: every entry is nonnegative, and its gradient is zero, or nonnegative where the entry is zero) and
    within rounding (some 1e-6 in float32) of it after ``solver="exact"``.

    Args:
        x: Activations at the hook, the decoder's bias already subtracted.
        decoder: One row per latent.
        feature_acts: Raw activations, which fix the support and the signs.
        refined: What `refine_activations` returned, or any other candidate on that support.

    Returns:
        One number of at least 0 per token; 0 where the support is empty.

    Raises:
        RefinementInputError: The shapes do not fit together, a value is not finite, or `refined` is nonzero off the support.
    """
    check_tokens(x, decoder, feature_acts, "feature_acts", len(decoder))
    check_tokens(x, decoder, refined, "refined", len(decoder))
    indices, values = to_support(feature_acts)
    check_finite("feature_acts", values)
    candidate = refined.gather(1, indices) * (values != 0)
    strays = int(refined.count_nonzero() - candidate.count_nonzero())
    if strays:
        raise RefinementInputError(
            f"refined is nonzero at {strays} entries where feature_acts is zero; it must keep the support of feature_acts."
        )
    return kkt_residual_on_support(x, decoder, indices, values, candidate)


@torch.no_grad()
def kkt_residual_on_support(
    x: Float[Tensor, "n d_in"],
    decoder: Float[Tensor, "d_sae d_in"],
    indices: Int[Tensor, "n k"],
    values: Float[Tensor, "n k"],
    refined: Float[Tensor, "n k"],
) -> Float[Tensor, "n"]:
    """`kkt_residual` for activations in sparse form: `refined` holds the refined activation of each slot of `values`."""
    check_tokens(x, decoder, values, "values", None)
    check_tokens(x, decoder, refined, "refined", values.shape[1])
    check_indices(indices, values, len(decoder))
    if values.numel() == 0:
        return x.new_zeros(len(x), dtype=precision_of(x, decoder, values))
    problem = pose(x, decoder, indices, values, precision_of(x, decoder, values))
    tokens = torch.arange(len(x), device=x.device)
    residual = []
    for rows in tokens.split(tokens_at_once(x, values.shape[1], gathered=True)):
        chunk = cut(problem, rows, values.shape[1])
        directions = problem.rows[chunk.indices]
        z = refined[rows] / chunk.scale
        reconstruction = torch.bmm(z[:, None], directions)[:, 0]
        descent = torch.bmm(directions, (chunk.x - reconstruction)[:, :, None])[:, :, 0]
        lengths = chunk.x.norm(dim=1) + reconstruction.norm(dim=1)
        residual.append(natural_residual(z * chunk.signs, descent * chunk.signs) / lengths.clamp(min=torch.finfo(z.dtype).tiny))
    return torch.cat(residual)


@dataclass(frozen=True)
class _Options:
    solver: Solver
    max_iterations: int
    table_bytes: int


def _refine(x: Tensor, decoder: Tensor, indices: Tensor, values: Tensor, options: _Options, run: Map) -> Tensor:
    """Refines packed supports; what float32 cannot settle is solved again in float64."""
    if options.solver not in ("exact", "pgd"):
        raise RefinementInputError(f"solver is {options.solver!r}; it must be 'exact' or 'pgd'.")

    def descend(gram: Tensor, correlation: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        return projected_gradient(gram, correlation, raw, iterations=options.max_iterations), torch.ones_like(raw[:, 0], dtype=torch.bool)

    problem = pose(x, decoder, indices, values, precision_of(x, decoder, values))
    refined, unsettled = _sweep(problem, descend if options.solver == "pgd" else _solve_fast, options, run)
    if len(unsettled):
        device = torch.device("cpu") if x.device.type == "mps" else x.device  # MPS has no float64
        hard_x, rows, hard_indices, hard_values = (
            part.to(device) for part in (x[unsettled], decoder, indices[unsettled], values[unsettled])
        )
        settled, _ = _sweep(pose(hard_x, rows, hard_indices, hard_values, torch.float64), _solve_safely, options, run)
        refined[unsettled] = settled.to(refined)
    return refined


def _solve_fast(gram: Tensor, correlation: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
    return block_pivot(gram, correlation, least_pivot=torch.finfo(gram.dtype).eps ** 0.5)


def _solve_safely(gram: Tensor, correlation: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
    """The optimum in float64, and in no case anything worse than the raw activations."""
    z, optimal = block_pivot(gram, correlation, ridge=_RIDGE)
    left = ~optimal
    z[left], optimal[left] = lawson_hanson(gram[left], correlation[left], ridge=_RIDGE)
    candidates = torch.stack([z, raw], dim=2)
    cost = (candidates * (torch.bmm(gram, candidates) / 2 - correlation[:, :, None])).sum(1)
    return torch.where((cost[:, 0] <= cost[:, 1])[:, None], z, raw), optimal


def _sweep(problem: Problem, solve: _Solve, options: _Options, run: Map) -> tuple[Tensor, Tensor]:
    """Solves chunk by chunk.

    Returns:
        Activations [n, k] in the units of the raw ones, and the tokens that are not settled.
    """
    table = gram_table(problem, run, options.table_bytes)

    def solve_chunk(tokens: Tensor, width: int) -> tuple[Tensor, Tensor]:
        chunk = cut(problem, tokens, width)
        z, optimal = solve(*normal_equations(problem.rows, table, chunk), chunk.raw)
        return z * chunk.scale * chunk.signs, optimal

    refined = torch.zeros_like(problem.values)
    unsettled = [torch.empty(0, dtype=torch.long, device=refined.device)]
    where = list(chunks(problem, gathered=table is None))
    if not where:
        return refined, unsettled[0]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        for (tokens, width), (solution, optimal) in zip(where, run(solve_chunk, *zip(*where, strict=True)), strict=True):
            refined[tokens, :width] = solution
            unsettled.append(tokens[~optimal])
    return refined, torch.cat(unsettled)
