"""What a latent does to the logits, as data."""

from dataclasses import dataclass, field

from sae_lens_metrics.results.dataclass_schema import at_least

__all__ = ["LatentEffects", "TokenChange"]


@dataclass(frozen=True, slots=True)
class TokenChange:
    """By how much the logit of a token changes."""

    token: int | None
    """Its id; ``None`` in results of format 1, which have no ids."""
    text: str
    """Its text."""
    by: float
    """The change, in logits."""

    def to_text(self) -> str:
        """For people: ``' the' +0.083``."""
        return f"{self.text!r} {self.by:+.3g}"


@dataclass(frozen=True)
class LatentEffects:
    """The tokens whose logits a latent changes most: where it is taken away, or by what it writes, as its metric says."""

    latent: int = field(metadata=at_least(0))
    """The latent."""
    raised: list[TokenChange]
    """Those that are raised most, the largest change first."""
    lowered: list[TokenChange]
    """Those that are lowered most, the largest change first."""
