"""Which findings of the paper a grid of SAEs shows."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from sae_lens_metrics.comparison.difference_errors import p_value
from sae_lens_metrics.comparison.trends.claims import CLAIMS, Claim
from sae_lens_metrics.comparison.trends.contrasts import Evaluated, Size
from sae_lens_metrics.comparison.trends.grid import Grid
from sae_lens_metrics.comparison.trends.means import Means
from sae_lens_metrics.comparison.trends.sums import Line
from sae_lens_metrics.errors import ResultError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ALPHA", "Finding", "Findings", "find"]

Shown = Literal["shown", "not shown", "the opposite", "not checkable"]

ALPHA = 0.05
"""How often a finding that is not there seems to be there, or its opposite, each by itself."""


@dataclass(frozen=True)
class Finding:
    """A finding of the paper's, and whether it is there."""

    figure: str
    """Of the paper."""
    statement: str
    own: bool
    """Whether it is this package's question, beside the paper's."""
    of: str
    """What the size is."""
    paper: float | None
    """The size in the paper, where it tells."""
    above: float
    """What the size is to be above."""
    size: float | None
    """``None`` where it cannot be told."""
    stderr: float | None
    """Its standard error: of evaluation and of training."""
    evaluation: float | None
    """The part of it that texts and latents make."""
    training: float | None
    """The part that other training seeds make; ``None`` where an architecture has no kind of SAE that was trained with two."""
    df: float | None
    """Degrees of freedom of the error."""
    p: float | None
    """Two-sided p-value of the size being no more and no less than ``above`` (Student's t)."""
    verdict: Shown
    reason: str = ""
    """Why it cannot be checked."""


@dataclass(frozen=True)
class Findings:
    """All findings of the paper's, on one grid of SAEs."""

    model: str
    hook: str
    grid: Grid
    findings: tuple[Finding, ...]
    saes: int
    """How many SAEs they are from."""
    wanted: int
    """How many there were to be."""
    notes: tuple[str, ...] = ()

    def count(self, which: Shown) -> int:
        """How many findings are so."""
        return sum(each.verdict == which for each in self.findings)

    @property
    def all_shown(self) -> bool:
        """Whether every finding is there, on all SAEs."""
        return self.count("shown") == len(self.findings) and self.saes == self.wanted

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON types."""
        return {
            "source": "Gao et al. 2024, arXiv 2406.04093v1",
            "all_shown": self.all_shown,
            "alpha": ALPHA,
            **{key: value for key, value in asdict(self).items() if key != "findings"},
            "findings": [asdict(each) for each in self.findings],
        }

    def to_frame(self) -> "pd.DataFrame":
        """A row for each finding."""
        import pandas as pd

        return pd.DataFrame([asdict(each) for each in self.findings])


def find(evaluated: Evaluated, d_in: int, claims: Iterable[Claim] = CLAIMS) -> tuple[Finding, ...]:
    """Judges each claim by a two-sided t test of its size against what it must be above, each by itself at the level ``ALPHA``.

    Args:
        evaluated: The SAEs with their results.
        d_in: Dimension of the activation.
        claims: What is claimed.
    """
    means = Means(d_in, tuple(evaluated.cells), evaluated.mean)
    return tuple(_found(claim, means, evaluated) for claim in claims)


def _found(claim: Claim, means: Means, evaluated: Evaluated) -> Finding:
    said = claim.figure, claim.statement, claim.own, claim.size, claim.paper, claim.above
    try:
        size = _size(claim.line(means), evaluated)
    except ResultError as error:
        return Finding(*said, None, None, None, None, None, None, "not checkable", str(error))
    p = p_value(size.value - claim.above, max(size.scale, claim.above), size.stderr, size.df)
    verdict: Shown = "not shown" if p > ALPHA else "shown" if size.value > claim.above else "the opposite"
    return Finding(*said, size.value, size.stderr, size.evaluation, size.training, size.df, p, verdict)


def _size(line: Line, evaluated: Evaluated) -> Size:
    """A sum, or a ratio with the error of its linear form (the delta method)."""
    if line.under is None:
        return evaluated.size(line.over)
    under = evaluated.value(line.under)
    if not under:
        raise ResultError("what it is divided by is 0")
    ratio = evaluated.value(line.over) / under
    linear = {key: weight / under for key, weight in line.over.items()}
    for key, weight in line.under.items():
        linear[key] = linear.get(key, 0.0) - ratio * weight / under
    found = evaluated.size(linear)
    return Size(ratio, abs(ratio), found.evaluation, found.evaluation_df, found.training, found.training_df)
