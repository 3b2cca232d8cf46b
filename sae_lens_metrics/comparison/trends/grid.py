"""A grid of kinds of SAEs: TopK of several widths and k, and ReLU with an L1 penalty."""

from dataclasses import dataclass
from typing import Literal

from sae_lens_metrics.errors import ConfigError

__all__ = ["Cell", "Grid", "Trained"]

_PAPERS_K, _PAPERS_WIDTH = (8, 16, 32, 64, 128, 256, 512), 768
"""The k of Gao et al. 2024 for GPT-2 small, and the dimension of its activations."""
_QUICK_K = (16, 64, 256, 512)
_TIMES = (2, 8, 16)
"""Latents for each dimension of the activation; the paper has 2.7, 43 and 171, which take more text than a short run has."""
_PENALTIES = (1.0, 2.0, 4.0)


@dataclass(frozen=True, order=True)
class Cell:
    """A kind of SAE."""

    architecture: Literal["TopK", "ReLU"]
    n: int
    """Latents."""
    dial: float
    """How sparse it is made: k of TopK, the coefficient of the L1 penalty of ReLU."""

    @property
    def name(self) -> str:
        """What its folder is called."""
        return f"{self.architecture}-n{self.n}-{'k' if self.architecture == 'TopK' else 'l1-'}{self.dial:g}"


@dataclass(frozen=True)
class Trained:
    """An SAE of a kind."""

    cell: Cell
    seed: int
    """Of its training: what it begins with, and the order of what it reads."""

    @property
    def name(self) -> str:
        """What its folder is called, with that of its seed."""
        return f"seed-{self.seed}/{self.cell.name}"

    @property
    def title(self) -> str:
        """What a reader sees."""
        return self.cell.name if self.seed == 0 else f"{self.cell.name}, seed {self.seed}"


@dataclass(frozen=True)
class Grid:
    """Which kinds of SAEs there are."""

    d_in: int
    """Dimension of the activation."""
    widths: tuple[int, ...]
    """Latents."""
    actives: tuple[int, ...]
    """k of TopK."""
    penalties: tuple[float, ...]
    """Coefficients of the L1 penalty of ReLU."""
    seeds: int = 1
    """Training seeds of each kind. With one, some kinds are trained with a second seed too, to learn what a seed moves."""

    def __post_init__(self) -> None:
        for what, values, least in (("widths", self.widths, 2), ("k", self.actives, 3), ("penalties", self.penalties, 1)):
            if len(set(values)) < least or min(values) <= 0:
                raise ConfigError(f"the grid's {what} are {values}, expected at least {least}, different and above 0")
        if max(self.actives) > min(self.widths):
            raise ConfigError(f"the grid has k = {max(self.actives)} and only {min(self.widths)} latents: expected no k above any width")
        if self.seeds < 1:
            raise ConfigError(f"the grid has {self.seeds} seeds, expected at least 1")

    @classmethod
    def of_size(cls, d_in: int, *, quick: bool = False, seeds: int = 1) -> "Grid":
        """The paper's k in proportion to the activation's dimension, with fewer latents than the paper's.

        Args:
            d_in: Dimension of the activation.
            quick: Whether a smaller grid is wanted.
            seeds: Training seeds of each kind.
        """
        actives = dict.fromkeys(max(1, round(k * d_in / _PAPERS_WIDTH)) for k in (_QUICK_K if quick else _PAPERS_K))
        times, penalties = (_TIMES[:2], _PENALTIES[1:]) if quick else (_TIMES, _PENALTIES)
        return cls(d_in, tuple(each * d_in for each in times), tuple(actives), penalties, seeds)

    def cells(self) -> list[Cell]:
        """All kinds."""
        return [
            *(Cell("TopK", n, k) for n in self.widths for k in self.actives),
            *(Cell("ReLU", n, c) for n in self.widths for c in self.penalties),
        ]

    def trained(self) -> list[Trained]:
        """All SAEs that are to be trained."""
        whole = [Trained(cell, seed) for seed in range(self.seeds) for cell in self.cells()]
        return whole if self.seeds > 1 else [*whole, *(Trained(cell, 1) for cell in self._repeated())]

    def _repeated(self) -> list[Cell]:
        """Some of both architectures: of a width in the middle those of least, middle and most active latents."""
        n = sorted(self.widths)[len(self.widths) // 2]
        found = []
        for cells in ([Cell("TopK", n, k) for k in sorted(self.actives)], [Cell("ReLU", n, c) for c in sorted(self.penalties)]):
            found += dict.fromkeys((cells[0], cells[len(cells) // 2], cells[-1]))
        return found
