"""What many changes of activations do to the logits: runs of the layers after the hook, in chunks that keep to a memory limit."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_lens_metrics.functional.block_topk import largest_by_blocks
from sae_lens_metrics.functional.effect_sparsity import EffectNorms, effect_norms, sparsity, tokens_affected
from sae_lens_metrics.functional.lower_median import lower_median
from sae_lens_metrics.subject.backends import Onwards
from sae_lens_metrics.subject.changes import Changes
from sae_lens_metrics.subject.subject import Subject

__all__ = ["Ablations", "Changed", "Effects", "joined"]

_LOGITS_AT_ONCE = {"cpu": 2**25}
"""Numbers: enough positions for one reading of the unembedding, which is the larger part of a product with few of them."""
_POSITIONS_AT_ONCE = {"cpu": 2**10}
_ELSEWHERE = 2**28
_BYTES_PER_LOGIT = {"cpu": 4}
"""The number itself, and elsewhere what finding medians takes beside it."""
_BYTES_PER_LOGIT_ELSEWHERE = 8


Changed = Callable[[slice], Float[Tensor, "m c d_out"]]
"""Gives the activations at the first c positions of a slice of some changes."""


class Effects(NamedTuple):
    """The effects of some changes."""

    sparsity: Float[Tensor, "n"]
    """(L1 / L2)² / (V·T); 0 where no logit changes."""
    norm: Float[Tensor, "n"]
    """L2 norm of the logit differences around their medians, in logits."""
    tokens_affected: Float[Tensor, "n"]
    """Fraction of the T tokens that are touched."""
    tokens: Int[Tensor, "n 2 shown"]
    """Tokens whose logits the change raises most, and lowers most."""
    by: Float[Tensor, "n 2 shown"]
    """By how much, summed over T tokens, around the median of the vocabulary."""


class Ablations:
    """Measures what changes of some sequences, from one position on, do to the logits from there on; a context manager.

    Only what can change is run: the layers after the hook, at the T positions from the first changed one on. Logit differences are
    formed and reduced in chunks; whatever is held at once stays below the limit, as long as that has room for one change and for the
    logits of one token.

    Args:
        subject: The model and SAE.
        changes: Runs the model.
        memory: Limit in bytes.
    """

    def __init__(self, subject: Subject, changes: Changes, memory: float) -> None:
        self._subject, self._changes = subject, changes
        self._vocabulary = subject.language.vocabulary or 2**16
        threads = torch.get_num_threads() if subject.device.type == "cpu" else 1  # each of which may hold a chunk
        self._memory = memory / threads
        self._stack = ExitStack()

    def __enter__(self) -> "Ablations":
        self._map = self._stack.enter_context(self._changes.many())
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def __call__(self, onwards: Onwards, rows: Int[Tensor, "n"], changed: Changed, *, shown: int = 0) -> Effects:
        """The effects of changes, in their order.

        Args:
            onwards: The sequences and the position, from ``Changes.onwards``.
            rows: The sequence that each change is about, in increasing order.
            changed: The activations at the first c positions of a slice of the changes.
            shown: How many tokens to name for each change, of those raised and of those lowered; at most the vocabulary.

        Raises:
            ValueError: If a difference is not finite.
        """
        each = self._changes.bytes_per_change(onwards)
        together = max(1, int(self._memory / 4 / each))  # sequences whose unchanged outputs are held
        found = joined([self._effects(onwards, rows, changed, part, shown) for part in _runs(rows.cpu() // together)])
        found = Effects(*(column.cpu() for column in found))  # here the device is waited for
        if not bool(found.norm.isfinite().all()):
            raise ValueError("logit differences hold NaN or infinity")
        return found

    def _effects(self, onwards: Onwards, rows: Int[Tensor, "n"], changed: Changed, part: slice, shown: int) -> Effects:
        """The effects of the changes of a few sequences."""
        sequences, which = rows[part].unique(return_inverse=True)
        unchanged = self._changes.outputs(onwards, sequences)
        which = which.to(unchanged.device)
        step = self._changes_at_once(onwards, unchanged.shape[-1])

        def measure(first: int) -> Effects:
            some = slice(first, min(first + step, part.stop))
            outputs = self._changes.outputs(onwards, rows[some], changed(some))
            return self._measure(outputs, unchanged, which[first - part.start : some.stop - part.start], shown)

        return joined(list(self._map(measure, range(part.start, part.stop, step))))

    def _changes_at_once(self, onwards: Onwards, d_output: int) -> int:
        each = self._changes.bytes_per_change(onwards) + 3 * 4 * onwards.length * d_output
        wanted = max(1, _POSITIONS_AT_ONCE.get(self._subject.device.type, _ELSEWHERE // 2**10) // onwards.length)
        return max(1, min(wanted, int(self._memory / 2 / each)))

    def _measure(
        self,
        outputs: Float[Tensor, "n pos d_output"],
        unchanged: Float[Tensor, "sequences pos d_output"],
        rows: Int[Tensor, "n"],
        shown: int,
    ) -> Effects:
        """Forms logit differences of some changes, or of some tokens of one, at a time."""
        n, length = outputs.shape[:2]
        kind = outputs.device.type
        room = int(self._memory / 2 / _BYTES_PER_LOGIT.get(kind, _BYTES_PER_LOGIT_ELSEWHERE))
        room = min(_LOGITS_AT_ONCE.get(kind, _ELSEWHERE), room) // self._vocabulary
        named = 3 if shown else 0  # the sum over tokens, and two copies of it
        step = max(1, room // (length + named))
        positions = length if step > 1 else max(1, min(length, room - named))
        return joined([self._reduce(outputs[i : i + step], unchanged[rows[i : i + step]], positions, shown) for i in range(0, n, step)])

    def _reduce(
        self, outputs: Float[Tensor, "n pos d_output"], unchanged: Float[Tensor, "n pos d_output"], step: int, shown: int
    ) -> Effects:
        norms: list[EffectNorms] = []
        total: Tensor | None = None
        vocabulary = 0
        n, length = outputs.shape[:2]
        for i in range(0, length, step):
            differences = self._changes.logit_differences(outputs[:, i : i + step], unchanged[:, i : i + step])
            vocabulary = differences.shape[-1]
            if shown:
                total = differences.sum(1) if total is None else total + differences.sum(1)
            norms.append(effect_norms(differences, overwrite=True))
        whole = EffectNorms(*(torch.cat(column, -1) for column in zip(*norms, strict=True)))
        size = whole.squares.sum(-1).sqrt()
        most = (outputs.new_zeros(n, 2, 0, dtype=torch.long), outputs.new_zeros(n, 2, 0)) if total is None else _most_changed(total, shown)
        return Effects(sparsity(whole, vocabulary), size, tokens_affected(whole), *most)


def _runs(groups: Int[Tensor, "n"]) -> list[slice]:
    """Where each group of consecutive equal numbers is."""
    ends = groups.unique_consecutive(return_counts=True)[1].cumsum(0).tolist()
    return [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=False)]


def _most_changed(total: Float[Tensor, "n vocab"], shown: int) -> tuple[Int[Tensor, "n 2 shown"], Float[Tensor, "n 2 shown"]]:
    """The tokens with the largest and the smallest sums, and those sums around their median."""
    shown = min(shown, total.shape[1])
    raised, lowered = largest_by_blocks(total, shown), largest_by_blocks(-total, shown)
    by = torch.stack([raised[0], -lowered[0]], 1) - lower_median(total)[:, None, None]
    return torch.stack([raised[1], lowered[1]], 1), by


def joined(parts: list[Effects]) -> Effects:
    """The effects of all changes, of which there may be none, in all parts or in some."""
    parts = [part for part in parts if len(part.sparsity)]  # those without changes name no tokens, whatever was asked for
    if not parts:
        nothing = torch.zeros(0)
        return Effects(nothing, nothing, nothing, torch.zeros(0, 2, 0, dtype=torch.long), torch.zeros(0, 2, 0))
    return Effects(*(torch.cat(column) for column in zip(*parts, strict=True)))
