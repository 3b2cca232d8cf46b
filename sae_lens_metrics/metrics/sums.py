"""Sums per sequence, from which every mean and ratio over text follows with its standard error."""

from collections import defaultdict
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from sae_lens_metrics.functional.statistics import degrees_of_freedom, ratio_influence, ratio_with_error
from sae_lens_metrics.results import Estimate
from sae_lens_metrics.text.batches import ActivationBatch
from sae_lens_metrics.text.corpus import Corpus

__all__ = ["SequenceSums", "moments", "variance"]


class SequenceSums:
    """Collects one number (or vector) per sequence and name; memory grows with sequences, not with tokens.

    Args:
        corpus: The sequences; its units, documents where they are known, are what standard errors are taken over.
    """

    def __init__(self, corpus: Corpus) -> None:
        self._parts: dict[str, list[Tensor]] = defaultdict(list)
        self._units = corpus.units
        self._of = corpus.unit

    @classmethod
    def joined(cls, corpus: Corpus, parts: "Iterable[SequenceSums]") -> "SequenceSums":
        """The sums of all sequences from those of consecutive parts, which have taken up nothing else.

        Args:
            corpus: The sequences.
            parts: Sums of some of them each, in their order.
        """
        whole = cls(corpus)
        for part in parts:
            for name, values in part._parts.items():
                whole._parts[name].extend(values)
        return whole

    def add(self, **sums: Float[Tensor, "batch ..."]) -> None:
        """Adds some names of the next batch of sequences."""
        for name, values in sums.items():
            self._parts[name].append(values.double().cpu())

    def __getitem__(self, name: str) -> Float[Tensor, "sequences ..."]:
        return torch.cat(self._parts[name])

    def ratio(self, numerator: str, denominator: str) -> Estimate:
        """Σ numerator / Σ denominator, by name."""
        return self.estimate(self[numerator], self[denominator])

    def estimate(self, numerators: Float[Tensor, "sequences"], denominators: Float[Tensor, "sequences"]) -> Estimate:
        """Σ numerators / Σ denominators with its standard error over units; absent where the denominators sum to zero."""
        a, b = self.per_unit(numerators), self.per_unit(denominators)
        n = int((b != 0).sum())
        if n == 0 or float(b.sum()) == 0:
            return Estimate.absent("there is nothing to average over", of=self._of)
        value, stderr = ratio_with_error(a, b)
        if stderr is None:
            return Estimate(value, None, n, self._of, f"one of {self._of} has no standard error")
        influence = ratio_influence(a, b).tolist()
        return Estimate(value, stderr, n, self._of, influence=influence, df=degrees_of_freedom(b))

    def per_unit(self, values: Float[Tensor, "sequences"]) -> Float[Tensor, "units"]:
        """Sums of the sequences of each unit, such as a document."""
        return torch.zeros(int(self._units.max()) + 1, dtype=torch.float64).index_add(0, self._units, values)

    def maximum(self, value: float) -> Estimate:
        """A largest value over the corpus."""
        return Estimate(value, None, len(self._units), "sequences", "a maximum has no standard error")


def moments(
    batch: ActivationBatch, values: Float[Tensor, "n d_out"] | None = None, *, of: str = "y"
) -> dict[str, Float[Tensor, "batch ..."]]:
    """Counts, sums and squares per sequence of vectors at a batch's positions, for ``variance``.

    Args:
        batch: The batch.
        values: The vectors; by default what the reconstructions should be.
        of: What to call them.
    """
    values = batch.y if values is None else values
    ones = torch.ones(len(values), device=values.device)
    return {
        "tokens": batch.per_sequence(ones),
        of: batch.per_sequence(values),
        f"{of}_squares": batch.per_sequence(values.square()).sum(-1),
    }


def variance(sums: SequenceSums, *, of: str = "y") -> Float[Tensor, "sequences"]:
    """Σ|y - μ|² of each sequence, with μ the mean over the whole corpus, from ``moments``."""
    mean = sums[of].sum(0) / sums["tokens"].sum().clamp_min(1)
    return sums[f"{of}_squares"] - 2 * sums[of] @ mean + sums["tokens"] * mean.square().sum()
