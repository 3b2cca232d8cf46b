"""Latents on the last tokens of many short rows: what building N2G explanations asks of a subject."""

from contextlib import ExitStack
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_lens_metrics.functional.ngram_questions import Rows
from sae_lens_metrics.metrics.memory_scale import positions_that_fit
from sae_lens_metrics.ranks import ALONE, Ranks
from sae_lens_metrics.subject.subject import Subject

__all__ = ["ShortRuns"]

_TOGETHER = 8
"""Positions at most whose masked rows are run together; more would run too much that is known."""


class _Call(NamedTuple):
    """Rows that are run at once, from the same position on: consecutive in the order of a plan."""

    start: int
    rows: slice


class ShortRuns:
    """Runs the model up to the hook on rows of tokens and encodes their last positions; a context manager.

    Where sequences begin with BOS, it is put in front of every row. Rows that differ in one position share the run on what comes
    before it. The dense latents of at most a quarter of ``subject.dictionary.chunk`` rows are held at once, per thread.

    Args:
        subject: The model and SAE.
        ranks: The processes that are asked the same questions; each runs a part of the rows.

    Attributes:
        positions: Token positions that were run, here.
    """

    def __init__(self, subject: Subject, ranks: Ranks = ALONE) -> None:
        self._subject, self._ranks = subject, ranks
        self._stack = ExitStack()
        self._at_once = min(subject.site.tokens_of_a_run(), positions_that_fit(subject.d_in, subject.language.layers))
        self._rows_at_once = max(16, subject.dictionary.chunk // 4)
        self.positions = 0

    def __enter__(self) -> "ShortRuns":
        self._map = self._stack.enter_context(self._subject.many_short_runs())
        bos = self._subject.language.bos_token
        self._start = self._subject.site.past(torch.tensor([[] if bos is None else [bos]], dtype=torch.long))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def __call__(self, rows: Rows, row: Int[Tensor, "asked"], latent: Int[Tensor, "asked"]) -> Float[Tensor, "asked"]:
        """The activation of each latent asked about, on the last token of its row."""
        plan = _Plan(rows, row, latent, self._per_chunk(rows), self._at_once)
        mine = self._ranks.mine(self._jobs(plan))
        self.positions += self._ranks.together(lambda: sum(self._map(lambda calls: self._run(plan, calls), mine)))
        return self._ranks.total(plan.answers)

    def _per_chunk(self, rows: Rows) -> int:
        """n-grams whose beginnings are remembered at once; on average half of their tokens are left to run."""
        return max(1, min(self._rows_at_once, 2 * self._at_once // rows.tokens.shape[1]))

    def _jobs(self, plan: "_Plan") -> list[list[_Call]]:
        """What each thread does as a whole: some rows from their start on, or all of those that go on from some beginnings."""
        length = plan.rows.tokens.shape[1]
        step = max(1, min(self._rows_at_once, self._at_once // length))
        whole = [[_Call(0, slice(i, min(i + step, plan.whole)))] for i in range(0, plan.whole, step)]
        return whole + plan.chunks()

    def _run(self, plan: "_Plan", calls: list[_Call]) -> int:
        if calls[0].start == 0:
            tokens = plan.rows.materialise(plan.order[calls[0].rows])
            self._answer(plan, calls[0].rows, self._last(tokens))
            return tokens.numel()
        every = plan.rows.ngram[plan.order[calls[0].rows.start : calls[-1].rows.stop]]
        ngrams, which = every.unique(return_inverse=True)
        start = self._start.tokens
        past = self._subject.site.past(torch.cat([start.expand(len(ngrams), -1).to(ngrams), plan.rows.tokens[ngrams, :-1].to(ngrams)], 1))
        positions = past.tokens.numel()
        for first, rows in calls:
            beginnings = past.beginnings(which[rows.start - calls[0].rows.start : rows.stop - calls[0].rows.start], start.shape[1] + first)
            tokens = plan.rows.materialise(plan.order[rows])[:, first:]
            self._answer(plan, rows, self._subject.site.last(beginnings, tokens.long()))
            positions += tokens.numel()
        return positions

    def _last(self, tokens: Int[Tensor, "rows length"]) -> Float[Tensor, "rows d_in"]:
        same = torch.zeros(len(tokens), dtype=torch.long, device=tokens.device)
        return self._subject.site.last(self._start.beginnings(same, self._start.tokens.shape[1]), tokens.long())

    def _answer(self, plan: "_Plan", rows: slice, x: Float[Tensor, "rows d_in"]) -> None:
        """Encodes the last positions of consecutive rows, and writes down what was asked about them."""
        asked = plan.asked(rows)
        plan.answers[asked] = self._subject.dictionary.encode(x)[plan.rank[asked] - rows.start, plan.latent[asked]]


class _Plan:
    """In which order rows are run: those without a beginning to share before those that go on from one.

    A row could go on from the position that is masked. Where few rows are masked at each, those of several next to each other are run
    together, from the first of them on.
    """

    def __init__(self, rows: Rows, row: Int[Tensor, "asked"], latent: Int[Tensor, "asked"], per_chunk: int, at_once: int) -> None:
        self.rows, self.latent = rows, latent
        self.answers = torch.zeros(len(latent), device=latent.device)
        start = rows.masked.clamp_min(0)
        start = start - start % self._together(rows, per_chunk, at_once)
        shares = start > 0
        self.whole = int((~shares).sum())
        chunk = torch.full_like(rows.ngram, -1)
        chunk[shares] = rows.ngram[shares].unique(return_inverse=True)[1] // per_chunk
        length = rows.tokens.shape[1]
        group = chunk * length + start
        group[~shares] = -1
        self.order = group.argsort(stable=True)
        self._group = group[self.order][self.whole :]
        self._length = length
        rank = torch.empty_like(self.order)
        rank[self.order] = torch.arange(len(rank), device=rank.device)
        self.rank = rank[row]
        self._by_rank = self.rank.argsort(stable=True)
        counts = torch.bincount(self.rank, minlength=len(rank))
        self._ends = torch.cat([counts.new_zeros(1), counts.cumsum(0)]).cpu()

    @staticmethod
    def _together(rows: Rows, per_chunk: int, at_once: int) -> int:
        """Positions whose rows are run together, so that a call has something to do."""
        length = rows.tokens.shape[1]
        masked_at_one = int((rows.masked > 0).sum()) / max(1, length - 1) / -(-len(rows.tokens) // per_chunk)
        tokens = masked_at_one * length / 2  # of which half are behind the masked one, on average
        return max(1, min(_TOGETHER, round(at_once / 4 / max(1, tokens))))

    def asked(self, rows: slice) -> Int[Tensor, "n"]:
        """The questions about consecutive rows."""
        return self._by_rank[int(self._ends[rows.start]) : int(self._ends[rows.stop])]

    def chunks(self) -> list[list[_Call]]:
        """The rows that share beginnings, chunk by chunk, in each by the position that they are run from."""
        groups, counts = self._group.unique_consecutive(return_counts=True)
        chunks: dict[int, list[_Call]] = {}
        first = self.whole
        for group, count in zip(groups.tolist(), counts.tolist(), strict=True):
            chunks.setdefault(group // self._length, []).append(_Call(group % self._length, slice(first, first + count)))
            first += count
        return list(chunks.values())
