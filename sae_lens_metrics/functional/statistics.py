"""Means, ratios and their standard errors over sampling units that do not share text."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["WithError", "histogram", "mean_with_error", "ratio_influence", "ratio_with_error", "widest_float"]


def widest_float(device: torch.device) -> torch.dtype:
    """The most precise type of numbers that a device has."""
    return torch.float32 if device.type == "mps" else torch.float64


class WithError(NamedTuple):
    """A value and its standard error; the error is ``None`` for fewer than two units."""

    value: float
    stderr: float | None


def mean_with_error(values: Float[Tensor, "units"]) -> WithError:
    """Mean over units and its standard error, s / sqrt(n) with s² the unbiased variance.

    Args:
        values: One number per unit, [units], at least one.

    Raises:
        ValueError: If there is no unit.
    """
    return ratio_with_error(values, torch.ones_like(values))


def ratio_with_error(numerators: Float[Tensor, "units"], denominators: Float[Tensor, "units"]) -> WithError:
    """Ratio of sums R = Σa / Σb, with the standard error of the linearised ratio over units.

    With r_i = a_i - R b_i the error is sqrt(n / (n - 1) Σ r_i²) / |Σb| (Cochran, Sampling Techniques, section 6.3). A mean over
    tokens that are grouped into sequences is the ratio of the sequences' sums to their counts of tokens.

    Args:
        numerators: a_i, the sum of each unit, [units].
        denominators: b_i, the count or weight of each unit, [units]; a unit of weight zero contributes nothing.

    Raises:
        ValueError: If the denominators sum to zero: the ratio does not exist.
    """
    ratio, residual, total = _linearised(numerators, denominators)
    n = int((denominators != 0).sum())
    if n < 2:
        return WithError(float(ratio), None)
    return WithError(float(ratio), float((n / (n - 1) * residual.square().sum()).sqrt() / total.abs()))


def ratio_influence(numerators: Float[Tensor, "units"], denominators: Float[Tensor, "units"]) -> Float[Tensor, "units"]:
    """How far each unit moves R = Σa / Σb: (a_i - R b_i) / Σb, which sum to zero; and 0 for a unit of weight zero.

    The error of ``ratio_with_error`` is sqrt(n / (n - 1) Σ influence²), with n units of weight. For two ratios over the same units the
    error of their difference follows from the differences of their influences in the same way.

    Args:
        numerators: As in ``ratio_with_error``.
        denominators: Likewise.

    Raises:
        ValueError: If the denominators sum to zero.
    """
    _, residual, total = _linearised(numerators, denominators)
    return residual / total


def _linearised(
    numerators: Float[Tensor, "units"], denominators: Float[Tensor, "units"]
) -> tuple[Float[Tensor, ""], Float[Tensor, "units"], Float[Tensor, ""]]:
    """R, a_i - R b_i and Σb; units of weight zero have a residual of zero."""
    b = denominators.double()
    a = numerators.double().where(b != 0, 0)
    total = b.sum()
    if total == 0:
        raise ValueError("the denominators sum to zero: there is nothing to take a ratio over")
    ratio = a.sum() / total
    return ratio, a - ratio * b, total


def histogram(values: Float[Tensor, "n"], *, low: float, high: float, bins: int) -> tuple[list[float], list[int]]:
    """Edges and counts of equal bins between two limits; values beyond a limit are counted in the outer bin.

    Args:
        values: Finite numbers, [n].
        low: Left edge of the first bin.
        high: Right edge of the last bin, above ``low``.
        bins: Number of bins.

    Raises:
        ValueError: If the limits are not in order.
    """
    if not low < high:
        raise ValueError(f"the limits of a histogram must increase, not {low} to {high}")
    counts = torch.histc(values.double().clamp(low, high), bins=bins, min=low, max=high)
    edges = torch.linspace(low, high, bins + 1, dtype=torch.float64)
    return edges.tolist(), counts.long().tolist()
