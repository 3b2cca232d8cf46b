"""What figures say about numbers."""

from sae_lens_metrics.metrics.spec import Better, Number

__all__ = ["better"]

_BETTER: dict[Better | None, str] = {"lower": "Lower is better.", "higher": "Higher is better.", "one": "Best near 1.", None: ""}


def better(number: Number) -> str:
    """Which way a number is better, as a sentence; empty where that cannot be said."""
    return _BETTER[number.better]
