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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_lens_metrics.errors import MetricsError
from sae_lens_metrics.functional.nnls import block_pivot, lawson_hanson, natural_residual, pack_nonzero, projected_gradient
from sae_lens_metrics.functional.threads import Map, chunk_threads

__all__ = [
    "RefinementInputError",
    "Solver",
    "kkt_residual",
    "kkt_residual_on_support",
    "refine_activations",
    "refine_on_support",
    "to_support",
]

Solver = Literal["exact", "pgd"]

_TABLE_BYTES = 2**30
_SLAB = 1024  # tokens whose dense activations are read or written in one go
_TABLE_BLOCK = 256  # latents whose inner products are computed in one go
_RIDGE = 1e-13  # in float64 and relative to unit rows: above the rounding errors of a Gram matrix, below all that matters


class RefinementInputError(MetricsError):
    """The tensors given to a refinement cannot be used; the message says what to change."""


@torch.no_grad()
def refine_activations(
    x: Float[Tensor, "n d_in"],
    decoder: Float[Tensor, "d_sae d_in"],
    feature_acts: Float[Tensor, "n d_sae"],
    *,
    solver: Solver = "exact",
    max_iterations: int = 1000,
) -> Float[Tensor, "n d_sae"]:
    """Minimises |x - z @ decoder|² over the nonzero entries of `feature_acts`, with their signs kept (arXiv 2406.04093, section 5.1).

    Args:
        x: Activations at the hook, the decoder's bias already subtracted.
        decoder: One row per latent, of any length.
        feature_acts: Raw activations; which of them are nonzero, and with which sign, is all that `solver="exact"` takes from them.
        solver: ``"exact"`` finds the optimum of every token; ``"pgd"`` is the paper's projected gradient descent, here accelerated and
            started from the raw activations. Where decoder rows are linearly dependent the optimum is not unique: some optimum is found.
        max_iterations: Most gradient steps of ``"pgd"``; ``"exact"`` has no use for it.

    Returns:
        Refined activations, in the units of `feature_acts`, float32 or the widest of the inputs' types. Zero where `feature_acts` is
        zero, otherwise zero or of the same sign.

    Raises:
        RefinementInputError: The shapes do not fit together, a value is not finite, or the solver is unknown.
    """
    _check_tokens(x, decoder, feature_acts, "feature_acts", len(decoder))
    with chunk_threads(x.device) as run:
        indices, values = _to_support(feature_acts, run)
        _check_finite("feature_acts", values)  # all others are zero
        refined = _refine(x, decoder, indices, values, solver, max_iterations, run)
        return _from_support(indices, values, refined, feature_acts.shape[1], run)


@torch.no_grad()
def refine_on_support(
    x: Float[Tensor, "n d_in"],
    decoder: Float[Tensor, "d_sae d_in"],
    indices: Int[Tensor, "n k"],
    values: Float[Tensor, "n k"],
    *,
    solver: Solver = "exact",
    max_iterations: int = 1000,
) -> Float[Tensor, "n k"]:
    """`refine_activations` for activations in sparse form, as `to_support` returns them.

    Args:
        x: Activations at the hook, the decoder's bias already subtracted.
        decoder: One row per latent, of any length.
        indices: The active latents of each token, each of them once, in any order.
        values: Their raw activations; 0 marks an unused slot, whose index is ignored. Unused slots may lie anywhere.
        solver: See `refine_activations`.
        max_iterations: See `refine_activations`.

    Returns:
        The refined activation in each slot, 0 in unused ones.

    Raises:
        RefinementInputError: The shapes do not fit together, a value is not finite, an index is out of range, or the solver is unknown.
    """
    _check_tokens(x, decoder, values, "values", None)
    _check_indices(indices, values, len(decoder))
    columns, filled = pack_nonzero(values)
    inside = columns.clamp(max=max(values.shape[1] - 1, 0))
    with chunk_threads(x.device) as run:
        refined = _refine(x, decoder, indices.gather(1, inside), values.gather(1, inside) * filled, solver, max_iterations, run)
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
    _check_tokens(x, decoder, feature_acts, "feature_acts", len(decoder))
    _check_tokens(x, decoder, refined, "refined", len(decoder))
    indices, values = to_support(feature_acts)
    _check_finite("feature_acts", values)
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
    _check_tokens(x, decoder, values, "values", None)
    _check_tokens(x, decoder, refined, "refined", values.shape[1])
    _check_indices(indices, values, len(decoder))
    if values.numel() == 0:
        return x.new_zeros(len(x), dtype=_precision(x, decoder, values))
    problem = _pose(x, decoder, indices, values, _precision(x, decoder, values))
    tokens = torch.arange(len(x), device=x.device)
    residual = []
    for rows in tokens.split(_tokens_at_once(x, values.shape[1], gathered=True)):
        chunk = _chunk(problem, rows, values.shape[1])
        directions = problem.rows[chunk.indices]
        z = refined[rows] / chunk.scale
        reconstruction = torch.bmm(z[:, None], directions)[:, 0]
        descent = torch.bmm(directions, (chunk.x - reconstruction)[:, :, None])[:, :, 0]
        lengths = chunk.x.norm(dim=1) + reconstruction.norm(dim=1)
        residual.append(natural_residual(z * chunk.signs, descent * chunk.signs) / lengths.clamp(min=torch.finfo(z.dtype).tiny))
    return torch.cat(residual)


def to_support(feature_acts: Float[Tensor, "n d_sae"]) -> tuple[Int[Tensor, "n k"], Float[Tensor, "n k"]]:
    """The nonzero entries of each row, k being the largest number of them in a row.

    Returns:
        Their latents in ascending order and their values; unused slots, all at the end, hold latent 0 and value 0.
    """
    with chunk_threads(feature_acts.device) as run:
        return _to_support(feature_acts, run)


def _to_support(feature_acts: Tensor, run: Map) -> tuple[Tensor, Tensor]:
    slabs = feature_acts.split(_SLAB)
    packed = list(run(pack_nonzero, slabs))
    width = max(columns.shape[1] for columns, _ in packed)
    indices = torch.zeros(len(feature_acts), width, dtype=torch.long, device=feature_acts.device)
    values = feature_acts.new_zeros(indices.shape)
    for (columns, filled), slab, into, out in zip(packed, slabs, indices.split(_SLAB), values.split(_SLAB), strict=True):
        k = columns.shape[1]
        into[:, :k] = columns.masked_fill_(~filled, 0)
        out[:, :k] = slab.gather(1, columns).masked_fill_(~filled, 0)
    return indices, values


def _from_support(indices: Tensor, values: Tensor, refined: Tensor, d_sae: int, run: Map) -> Tensor:
    """The dense form of refined activations; `values` tells which slots are used."""
    result = refined.new_empty(len(refined), d_sae)

    def fill(into: Tensor, indices: Tensor, values: Tensor, refined: Tensor) -> None:
        row, slot = values.nonzero(as_tuple=True)
        into.zero_().view(-1)[row * d_sae + indices[row, slot]] = refined[row, slot]

    for _ in run(fill, result.split(_SLAB), indices.split(_SLAB), values.split(_SLAB), refined.split(_SLAB)):
        pass
    return result


@dataclass(frozen=True)
class _Problem:
    """Many tokens' least-squares problems, with the decoder in units in which its rows have length 1."""

    x: Float[Tensor, "n d_in"]
    rows: Float[Tensor, "active d_in"]
    """Unit decoder rows of the latents that are active on any token; zero where the decoder's row is zero."""
    lengths: Float[Tensor, "active"]
    """The length of these rows in the decoder; 1 where it is zero."""
    indices: Int[Tensor, "n k"]
    """Each slot's row in `rows`."""
    values: Float[Tensor, "n k"]
    """Raw activations, 0 in unused slots."""


@dataclass(frozen=True)
class _Chunk:
    """Some tokens' problems in units in which x has length 1 too, trimmed to the largest of their supports."""

    x: Float[Tensor, "b d_in"]
    indices: Int[Tensor, "b k"]
    signs: Float[Tensor, "b k"]
    """1, -1, or 0 in unused slots."""
    scale: Float[Tensor, "b k"]
    """The activation that a solution of 1 stands for, |x| / |d_i|."""
    raw: Float[Tensor, "b k"]
    """Raw activations in these units, nonnegative."""


_Solve = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]  # (gram, correlation, raw) -> (solution, which are optimal)


def _refine(x: Tensor, decoder: Tensor, indices: Tensor, values: Tensor, solver: Solver, max_iterations: int, run: Map) -> Tensor:
    """Refines packed supports; what float32 cannot settle is solved again in float64."""
    if solver not in ("exact", "pgd"):
        raise RefinementInputError(f"solver is {solver!r}; it must be 'exact' or 'pgd'.")

    def descend(gram: Tensor, correlation: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        return projected_gradient(gram, correlation, raw, iterations=max_iterations), torch.ones_like(raw[:, 0], dtype=torch.bool)

    problem = _pose(x, decoder, indices, values, _precision(x, decoder, values))
    refined, unsettled = _sweep(problem, descend if solver == "pgd" else _solve_fast, run)
    if len(unsettled):
        device = torch.device("cpu") if x.device.type == "mps" else x.device  # MPS has no float64
        hard_x, rows, hard_indices, hard_values = (
            part.to(device) for part in (x[unsettled], decoder, indices[unsettled], values[unsettled])
        )
        settled, _ = _sweep(_pose(hard_x, rows, hard_indices, hard_values, torch.float64), _solve_safely, run)
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


def _pose(x: Tensor, decoder: Tensor, indices: Tensor, values: Tensor, dtype: torch.dtype) -> _Problem:
    active, local = _active_latents(indices, values, len(decoder))
    return _Problem(x.to(dtype), *_unit_rows(decoder[active].to(dtype)), local, values.to(dtype))


def _active_latents(indices: Tensor, values: Tensor, d_sae: int) -> tuple[Tensor, Tensor]:
    """The latents in use, at least one, and each slot's position among them; unused slots get any valid position."""
    seen = torch.zeros(d_sae, dtype=torch.bool, device=indices.device)
    seen[indices[values != 0]] = True
    seen[0] |= ~seen.any()
    position = seen.cumsum(0) - 1
    return seen.nonzero()[:, 0], position[indices].clamp(min=0)


def _unit_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of length 1 and their lengths; a zero row stays as it is and counts as of length 1."""
    length = rows.norm(dim=1, keepdim=True)
    if bool(((length > 1e-12) & (length < 1e12)).all()):
        return rows / length, length[:, 0]
    peak = rows.abs().amax(1, keepdim=True)
    peak = torch.where(peak > 0, peak, 1)
    scaled = rows / peak  # so that no square under- or overflows
    length = scaled.norm(dim=1, keepdim=True)
    length = torch.where(length > 0, length, 1)
    return scaled / length, (peak * length)[:, 0]


def _chunk(problem: _Problem, tokens: Tensor, width: int) -> _Chunk:
    indices, values = problem.indices[tokens, :width], problem.values[tokens, :width]
    x, length = _unit_rows(problem.x[tokens])
    scale = length[:, None] / problem.lengths[indices]
    return _Chunk(x, indices, values.sign(), scale, values.abs() / scale)


def _sweep(problem: _Problem, solve: _Solve, run: Map) -> tuple[Tensor, Tensor]:
    """Solves chunk by chunk.

    Returns:
        Activations [n, k] in the units of the raw ones, and the tokens that are not settled.
    """
    table = _gram_table(problem, run)

    def solve_chunk(tokens: Tensor, width: int) -> tuple[Tensor, Tensor]:
        chunk = _chunk(problem, tokens, width)
        z, optimal = solve(*_normal_equations(problem.rows, table, chunk), chunk.raw)
        return z * chunk.scale * chunk.signs, optimal

    refined = torch.zeros_like(problem.values)
    unsettled = [torch.empty(0, dtype=torch.long, device=refined.device)]
    where = list(_chunks(problem, gathered=table is None))
    if not where:
        return refined, unsettled[0]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        for (tokens, width), (solution, optimal) in zip(where, run(solve_chunk, *zip(*where, strict=True)), strict=True):
            refined[tokens, :width] = solution
            unsettled.append(tokens[~optimal])
    return refined, torch.cat(unsettled)


def _chunks(problem: _Problem, *, gathered: bool) -> Iterator[tuple[Tensor, int]]:
    """Tokens by falling size of their support, and the size of the chunk's largest; tokens without a support are left out."""
    sizes, order = (problem.values != 0).sum(1).sort(descending=True, stable=True)
    widths = sizes.tolist()
    start = 0
    while start < len(widths) and widths[start] > 0:
        stop = start + _tokens_at_once(problem.x, widths[start], gathered=gathered)
        yield order[start:stop], widths[start]
        start = stop


def _tokens_at_once(x: Tensor, k: int, *, gathered: bool) -> int:
    """Tokens in a chunk: on a CPU as many as keep its Gram matrices in the cache, elsewhere enough to keep the device busy."""
    numbers = 2**19 if x.device.type == "cpu" else 2**26
    return max(1, numbers // (k * max(k, x.shape[1] // 4 if gathered else k)))


def _gram_table(problem: _Problem, run: Map) -> Tensor | None:
    """Inner products of all active latents, or None where they do not fit or cost more than computing each token's own.

    Only entries on or below the diagonal are set; in blocks of rows, that is hardly more than half of the work of all.
    """
    rows = problem.rows
    m = len(rows)
    pairs = float((problem.values != 0).sum(1).float().square().sum())
    if m * m * rows.element_size() > _TABLE_BYTES or 2 * pairs < m * m or rows.device.type not in ("cpu", "cuda"):
        return None
    table = rows.new_empty(m, m)

    def fill(start: int) -> None:
        stop = min(start + _TABLE_BLOCK, m)
        torch.mm(rows[start:stop], rows[:stop].T, out=table[start:stop, :stop])

    for _ in run(fill, range(0, m, _TABLE_BLOCK)):
        pass
    return table


def _normal_equations(rows: Tensor, table: Tensor | None, chunk: _Chunk) -> tuple[Tensor, Tensor]:
    """Gram matrices [b, k, k] with unit diagonal and correlations [b, k], signs included."""
    if table is None:
        directions = rows[chunk.indices]
        gram = torch.bmm(directions, directions.mT)
        correlation = torch.bmm(directions, chunk.x[:, :, None])[:, :, 0]
    else:
        gram = _look_up(table, chunk.indices)
        correlation = _correlations(rows, chunk.x, chunk.indices)
    if bool((chunk.signs != 1).any()):
        gram *= chunk.signs[:, :, None] * chunk.signs[:, None, :]
    gram.diagonal(dim1=1, dim2=2).fill_(1)  # also in unused slots and for zero rows
    return gram, correlation * chunk.signs


def _look_up(table: Tensor, indices: Tensor) -> Tensor:
    """Gram matrices from the lower triangle of the table."""
    i, j = indices[:, :, None], indices[:, None, :]
    position = torch.maximum(i, j).mul_(len(table)).add_(torch.minimum(i, j))
    # One-dimensional index_select is several times faster than take and than indexing with two index tensors.
    return table.view(-1).index_select(0, position.view(-1)).view(position.shape)


def _correlations(rows: Tensor, x: Tensor, indices: Tensor) -> Tensor:
    """X · row for the rows of each token's support, without gathering those."""
    b, k = indices.shape
    start = torch.arange(0, b * k + 1, k, device=x.device)
    zero = torch.sparse_csr_tensor(start, indices.reshape(-1), x.new_zeros(b * k), (b, len(rows)), check_invariants=False)
    return torch.sparse.sampled_addmm(zero, x, rows.T, beta=0.0).values().view(b, k)


def _precision(*tensors: Tensor) -> torch.dtype:
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return dtype


def _check_tokens(x: Tensor, decoder: Tensor, activations: Tensor, name: str, width: int | None) -> None:
    """Refuses shapes that do not fit together and values that are not finite (those of `activations` only where it is sparse)."""
    if x.ndim != 2 or decoder.ndim != 2 or x.shape[1] != decoder.shape[1]:
        raise RefinementInputError(
            f"x has shape {list(x.shape)} and decoder {list(decoder.shape)}; pass [n, d_in] and [d_sae, d_in] with the same d_in "
            "(transpose a decoder that is [d_in, d_sae])."
        )
    if (
        activations.ndim != 2
        or len(activations) != len(x)
        or activations.shape[1] != (width if width is not None else activations.shape[1])
    ):
        columns = "k" if width is None else width
        raise RefinementInputError(
            f"{name} has shape {list(activations.shape)}; it must be [{len(x)}, {columns}], one row for each row of x."
        )
    _check_finite("x", x)
    _check_finite("decoder", decoder)
    if width is None or name == "refined":
        _check_finite(name, activations)


def _check_indices(indices: Tensor, values: Tensor, d_sae: int) -> None:
    if indices.shape != values.shape:
        raise RefinementInputError(
            f"indices has shape {list(indices.shape)} and values {list(values.shape)}; they must have the same shape."
        )
    used = indices[values != 0]
    if len(used) and (int(used.min()) < 0 or int(used.max()) >= d_sae):
        raise RefinementInputError(f"indices go from {int(used.min())} to {int(used.max())}; the decoder has rows 0 to {d_sae - 1}.")


def _check_finite(name: str, tensor: Tensor) -> None:
    if bool(tensor.sum().isfinite()):  # one pass without a temporary; a finite tensor whose sum overflows takes the other path
        return
    finite = tensor.isfinite()
    if not bool(finite.all()):
        raise RefinementInputError(
            f"{name} holds {int((~finite).sum())} values that are not finite; drop those tokens or mend what produced them."
        )
