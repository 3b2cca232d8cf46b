"""Large matrices of weights that take half of the memory and compute as in float32: what bfloat16 holds exactly is held in it.

Checkpoints of many SAEs hold bfloat16 or float16. Computing in that would move numbers, as every activation would be rounded; a float32
copy takes twice the memory. Here a matrix stays as small as it is in the checkpoint, and only the part that an operation works on is made
float32, for as long as it takes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from sae_lens import SAE
from torch import Tensor
from torch.utils._pytree import tree_map_only

__all__ = ["LEAST_BYTES", "HalfHeld", "exact_half", "held_bytes", "hold_in_half"]

LEAST_BYTES = 2**29
"""Float32 bytes from which on a matrix is worth it: below, making parts float32 costs more than the memory is worth."""
_PART_BYTES = 2**27
"""Float32 bytes of the parts that a product is computed in."""
_HALVES = (torch.bfloat16, torch.float16)
_ops = torch.ops.aten


class HalfHeld(Tensor):
    """A float32 matrix to all that use it, which is held in half precision; rows, columns and views of it are, too.

    Args:
        half: The matrix in half precision.

    Attributes:
        kept: The same.
    """

    kept: Tensor

    @staticmethod
    def __new__(cls: type["HalfHeld"], half: Tensor) -> "HalfHeld":
        """A float32 tensor without memory of its own."""
        made = Tensor._make_wrapper_subclass(  # pyright: ignore[reportAttributeAccessIssue] - PyTorch's types leave it out
            cls, half.shape, strides=half.stride(), storage_offset=0, dtype=torch.float32, device=half.device, requires_grad=False
        )
        made.kept = half
        return made

    def __repr__(self, **_: Any) -> str:
        """What it is, not what it holds."""
        return f"HalfHeld({tuple(self.shape)}, {self.kept.dtype})"

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Copied and pickled as what it holds."""
        return HalfHeld, (self.kept,)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        """A copy that takes as little memory."""
        copied = HalfHeld(self.kept.clone())
        return torch.nn.Parameter(copied, requires_grad=False) if isinstance(self, torch.nn.Parameter) else copied

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        """Views stay small, products are computed part by part; everything else is given the matrix in float32."""
        if function._schema.is_mutable and args and isinstance(args[0], HalfHeld):
            raise RuntimeError(f"{function} cannot write to weights that are held in half precision: make them float32 first, with + 0")
        own = _OWN.get(function)
        if own is not None:
            found = own(*args, **(kwargs or {}))
            if found is not NotImplemented:
                return found
        given = tree_map_only(HalfHeld, lambda each: each.kept.float(), [*args])
        named = {name: tree_map_only(HalfHeld, lambda each: each.kept.float(), value) for name, value in (kwargs or {}).items()}
        return function(*given, **named)


def _view(function: Any) -> Callable[..., Any]:
    return lambda held, *args, **kwargs: HalfHeld(function(held.kept, *args, **kwargs))


def _taken(function: Any) -> Callable[..., Any]:
    """Rows, columns or entries, which are few."""
    return lambda held, *args, **kwargs: function(held.kept, *args, **kwargs).float() if isinstance(held, HalfHeld) else NotImplemented


def _copied(held: HalfHeld, *, dtype: torch.dtype | None = None, device: Any = None, **_: Any) -> Tensor:
    if dtype not in (None, torch.float32):
        return held.kept.to(device=device, dtype=dtype)
    return HalfHeld(held.kept.to(device=device, copy=True))


def _product(a: Tensor, b: Tensor) -> Any:
    """A product with the matrix on the right: of its columns, or where it is long, of its rows, one part at a time."""
    if isinstance(a, HalfHeld) or not isinstance(b, HalfHeld):
        return NotImplemented
    long = b.shape[0] > b.shape[1]
    step = max(1, _PART_BYTES // (4 * min(b.shape)))
    out = a.new_zeros(a.shape[0], b.shape[1])
    for start in range(0, max(b.shape), step):
        part = slice(start, start + step)
        if long:
            out.addmm_(a[:, part], b.kept[part].to(a.dtype))
        else:
            out[:, part] = a @ b.kept[:, part].to(a.dtype)
    return out


def _sum_and_product(bias: Tensor, a: Tensor, b: Tensor, **scales: Any) -> Any:
    found = _product(a, b) if not scales else NotImplemented
    return found if found is NotImplemented else found.add_(bias)


def _bag(weight: Tensor, indices: Tensor, *rest: Any, **kwargs: Any) -> Any:
    """Weighted sums of rows: of those that are asked for."""
    if not isinstance(weight, HalfHeld):
        return NotImplemented
    rows, which = indices.unique(return_inverse=True)
    return _ops._embedding_bag(weight.kept[rows].float(), which, *rest, **kwargs)


def _sum(held: HalfHeld, *, dtype: Any = None) -> Tensor:
    return held.kept.sum(dtype=torch.float32 if dtype is None else dtype)


def _norm(held: HalfHeld, order: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    return _ops.linalg_vector_norm(held.kept, order, dim, keepdim, dtype=torch.float32)


def _norm_along(held: HalfHeld, order: Any, dim: Any, keepdim: bool = False) -> Any:
    return _norm(held, 2 if order is None else order, dim, keepdim)


_OWN: dict[Any, Callable[..., Any]] = {
    **{
        each: _view(each)
        for each in (
            _ops.detach.default,
            _ops.alias.default,
            _ops.t.default,
            _ops.transpose.int,
            _ops.slice.Tensor,
            _ops.clone.default,
            _ops.view.default,
            _ops.unsqueeze.default,
            _ops.permute.default,
        )
    },
    **{each: _taken(each) for each in (_ops.index.Tensor, _ops.index_select.default, _ops.select.int, _ops.embedding.default)},
    _ops._to_copy.default: _copied,
    _ops.mm.default: _product,
    _ops.addmm.default: _sum_and_product,
    _ops._embedding_bag.default: _bag,
    _ops._embedding_bag_forward_only.default: _bag,
    _ops.linalg_vector_norm.default: _norm,
    _ops.sum.default: _sum,
    _ops.norm.ScalarOpt_dim: _norm_along,
}


def held_bytes(weight: Tensor) -> int:
    """Memory that weights take."""
    return (weight.kept if isinstance(weight, HalfHeld) else weight).untyped_storage().nbytes()


def exact_half(matrix: Tensor) -> Tensor | None:
    """The matrix in half precision, if that holds it exactly; else ``None``.

    Args:
        matrix: In float32.
    """
    for dtype in _HALVES:
        half = torch.empty_like(matrix, dtype=dtype)
        step = max(1, _PART_BYTES // (4 * matrix.shape[1]))
        for part, target in zip(matrix.split(step), half.split(step), strict=True):
            target.copy_(part)
            if not torch.equal(target.float(), part):
                break
        else:
            return half
    return None


@torch.no_grad()
def hold_in_half(sae: SAE[Any], device: torch.device | str, *, least_bytes: int = LEAST_BYTES) -> SAE[Any]:
    """Puts an SAE on a device, with those large matrices in half precision that it holds exactly; no number depends on it.

    Args:
        sae: An SAE in float32; on the CPU, so that nothing larger is ever on the device. It is changed.
        device: Where to put it.
        least_bytes: Float32 bytes from which on a matrix is worth it.
    """
    held: dict[str, Tensor] = {}
    for name, weight in list(sae.named_parameters(recurse=False)):
        if weight.ndim == 2 and weight.dtype == torch.float32 and weight.nbytes >= least_bytes:
            half = exact_half(weight.detach())
            if half is not None:
                held[name] = half.to(device)
                delattr(sae, name)
                del weight
    sae.to(device)
    for name, half in held.items():
        sae.register_parameter(name, torch.nn.Parameter(HalfHeld(half), requires_grad=False))
    return sae
