"""Many tokens' least-squares problems on a fixed support, in chunks and in units in which x and every decoder row have length 1."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_lens_metrics.functional.threads import Map

__all__ = ["TABLE_BYTES", "Chunk", "Problem", "chunks", "cut", "gram_table", "normal_equations", "pose", "precision_of", "tokens_at_once"]

TABLE_BYTES = 2**30
"""The largest table of inner products."""
_TABLE_BLOCK = 256  # latents whose inner products are computed in one go


@dataclass(frozen=True)
class Problem:
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
class Chunk:
    """Some tokens' problems in units in which x has length 1 too, trimmed to the largest of their supports."""

    x: Float[Tensor, "b d_in"]
    indices: Int[Tensor, "b k"]
    signs: Float[Tensor, "b k"]
    """1, -1, or 0 in unused slots."""
    scale: Float[Tensor, "b k"]
    """The activation that a solution of 1 stands for, |x| / |d_i|."""
    raw: Float[Tensor, "b k"]
    """Raw activations in these units, nonnegative."""


def pose(x: Tensor, decoder: Tensor, indices: Tensor, values: Tensor, dtype: torch.dtype) -> Problem:
    """The problems of tokens with these supports, in a type."""
    active, local = _active_latents(indices, values, len(decoder))
    return Problem(x.to(dtype), *_unit_rows(decoder[active].to(dtype)), local, values.to(dtype))


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


def cut(problem: Problem, tokens: Tensor, width: int) -> Chunk:
    """Some of the tokens, of whose slots the first are used."""
    indices, values = problem.indices[tokens, :width], problem.values[tokens, :width]
    x, length = _unit_rows(problem.x[tokens])
    scale = length[:, None] / problem.lengths[indices]
    return Chunk(x, indices, values.sign(), scale, values.abs() / scale)


def chunks(problem: Problem, *, gathered: bool) -> Iterator[tuple[Tensor, int]]:
    """Tokens by falling size of their support, and the size of the chunk's largest; tokens without a support are left out."""
    sizes, order = (problem.values != 0).sum(1).sort(descending=True, stable=True)
    widths = sizes.tolist()
    start = 0
    while start < len(widths) and widths[start] > 0:
        stop = start + tokens_at_once(problem.x, widths[start], gathered=gathered)
        yield order[start:stop], widths[start]
        start = stop


def tokens_at_once(x: Tensor, k: int, *, gathered: bool) -> int:
    """Tokens in a chunk: on a CPU as many as keep its Gram matrices in the cache, elsewhere enough to keep the device busy."""
    numbers = 2**19 if x.device.type == "cpu" else 2**26
    return max(1, numbers // (k * max(k, x.shape[1] // 4 if gathered else k)))


def gram_table(problem: Problem, run: Map, table_bytes: int) -> Tensor | None:
    """Inner products of all active latents, or None where they do not fit or cost more than computing each token's own.

    Only entries on or below the diagonal are set; in blocks of rows, that is hardly more than half of the work of all.
    """
    rows = problem.rows
    m = len(rows)
    pairs = float((problem.values != 0).sum(1).float().square().sum())
    if m * m * rows.element_size() > table_bytes or 2 * pairs < m * m or rows.device.type not in ("cpu", "cuda"):
        return None
    table = rows.new_empty(m, m)

    def fill(start: int) -> None:
        stop = min(start + _TABLE_BLOCK, m)
        torch.mm(rows[start:stop], rows[:stop].T, out=table[start:stop, :stop])

    for _ in run(fill, range(0, m, _TABLE_BLOCK)):
        pass
    return table


def normal_equations(rows: Tensor, table: Tensor | None, chunk: Chunk) -> tuple[Tensor, Tensor]:
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
    indices = indices.to(torch.int32 if table.numel() < 2**31 else torch.int64)  # half of the memory to go through
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


def precision_of(*tensors: Tensor) -> torch.dtype:
    """The widest of the tensors' types, at least float32."""
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return dtype
