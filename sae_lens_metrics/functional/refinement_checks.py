"""What a refinement cannot work with, in words."""

from torch import Tensor

from sae_lens_metrics.errors import MetricsError

__all__ = ["RefinementInputError", "check_finite", "check_indices", "check_tokens"]


class RefinementInputError(MetricsError):
    """The tensors given to a refinement cannot be used; the message says what to change."""


def check_tokens(x: Tensor, decoder: Tensor, activations: Tensor, name: str, width: int | None) -> None:
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
    check_finite("x", x)
    check_finite("decoder", decoder)
    if width is None or name == "refined":
        check_finite(name, activations)


def check_indices(indices: Tensor, values: Tensor, d_sae: int) -> None:
    """Refuses indices that do not go with the values, or that are no latents where a value is not zero."""
    if indices.shape != values.shape:
        raise RefinementInputError(
            f"indices has shape {list(indices.shape)} and values {list(values.shape)}; they must have the same shape."
        )
    used = indices[values != 0]
    if len(used) and (int(used.min()) < 0 or int(used.max()) >= d_sae):
        raise RefinementInputError(f"indices go from {int(used.min())} to {int(used.max())}; the decoder has rows 0 to {d_sae - 1}.")


def check_finite(name: str, tensor: Tensor) -> None:
    """Refuses NaN and infinities."""
    if bool(tensor.sum().isfinite()):  # one pass without a temporary; a finite tensor whose sum overflows takes the other path
        return
    finite = tensor.isfinite()
    if not bool(finite.all()):
        raise RefinementInputError(
            f"{name} holds {int((~finite).sum())} values that are not finite; drop those tokens or mend what produced them."
        )
