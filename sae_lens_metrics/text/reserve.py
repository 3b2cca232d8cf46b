"""More text of a corpus's own source, for what is learned from text apart from that on which numbers are measured."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from datasets import Dataset, IterableDataset
from jaxtyping import Bool, Int
from torch import Tensor

from sae_lens_metrics.errors import CorpusError
from sae_lens_metrics.text.tokenization import Sequences, Tokenization, choose_sequences, read_sequences, token_store

__all__ = ["Reserve", "draw_with_reserve"]

_CHOICE = 2
"""Sequences to read for each that is wanted: to read more, of more documents, takes longer and hardly makes means better."""


@dataclass(frozen=True)
class Reserve:
    """Where a corpus was drawn from, to draw more.

    What was read to draw the corpus is kept. Where that is too little the rows are read again, from their beginning, and further.
    """

    rows: Dataset | IterableDataset
    """The rows, in the order in which they were read."""
    tokenization: Tokenization
    """How they became sequences."""
    pool: Sequences
    """What was read; tokens as 32-bit numbers, some megabytes."""
    own: Int[Tensor, "sequences"]
    """Which of these sequences the corpus holds."""
    seed: int
    """What the corpus was drawn with."""
    _drawn: dict[tuple[int, bytes], Sequences] = field(default_factory=dict, repr=False)

    def draw(self, n: int, model: Any, *, apart_from: Int[Tensor, "documents"]) -> Sequences:
        """Draws n sequences that the corpus does not hold; the same ones each time.

        Args:
            n: How many; fewer come back where the data set holds fewer.
            model: Whose tokenizer made the corpus.
            apart_from: Documents of the corpus of which no sequence may hold a part.

        Raises:
            CorpusError: If there are none, or the rows are not those that the corpus was drawn from.
        """
        key = n, apart_from.unique().numpy().tobytes()
        if key not in self._drawn:
            free = self._free(self.pool, apart_from)
            if len(free.tokens) < n:
                free = self._free(self._read_further(n, model), apart_from)
            if len(free.tokens) == 0:
                raise CorpusError("the data set holds no text of other documents than the corpus")
            drawn = choose_sequences(free, n, seed=self.seed)
            self._drawn[key] = replace(drawn, tokens=drawn.tokens.long())
        return self._drawn[key]

    def _free(self, pool: Sequences, apart_from: Int[Tensor, "documents"]) -> Sequences:
        free = ~_touches(pool.documents, apart_from)
        free[self.own] = False
        return pool.some(free.nonzero()[:, 0])

    def _read_further(self, n: int, model: Any) -> Sequences:
        known = self.pool.tokens
        pool = read_sequences(token_store(self.rows, model, self.tokenization), len(self.own) + n, most=len(known) + _CHOICE * n)
        if not torch.equal(pool.tokens[: len(known)], known.long()):
            raise CorpusError("read a second time, the data set holds other text than the corpus was drawn from")
        return pool


def draw_with_reserve(
    rows: "Dataset | IterableDataset", model: Any, tokenization: Tokenization, n: int, *, seed: int
) -> tuple[Sequences, Reserve]:
    """Draws the sequences of a corpus, and keeps what it takes to draw more.

    Args:
        rows: Rows of text.
        model: Whose tokenizer to use.
        tokenization: How they become sequences.
        n: How many sequences; fewer come back where there are fewer.
        seed: Chooses them.

    Raises:
        CorpusError: If the rows do not hold a single sequence, or one of them is not text.
    """
    pool = read_sequences(token_store(rows, model, tokenization), n)
    drawn = choose_sequences(pool, n, seed=seed)
    return drawn, Reserve(rows, tokenization, replace(pool, tokens=pool.tokens.int()), drawn.place, seed)


def _touches(ends: Int[Tensor, "sequences"], documents: Int[Tensor, "documents"]) -> Bool[Tensor, "sequences"]:
    """Which of the sequences that a data set was read as may share a document with those that end in some documents.

    A sequence may hold a part of any document from the one in which the sequence before it ends to the one in which it ends itself.

    Args:
        ends: The document in which each sequence ends, in order.
        documents: Those documents.
    """
    begins = torch.nn.functional.pad(ends, (1, -1))
    of_them = torch.isin(ends, documents)
    changes = torch.zeros(int(ends.max()) + 2, dtype=torch.long)
    changes.index_add_(0, begins[of_them], torch.ones_like(begins[of_them]))
    changes.index_add_(0, ends[of_them] + 1, -torch.ones_like(ends[of_them]))
    before = torch.nn.functional.pad((changes.cumsum(0) > 0).cumsum(0), (1, 0))  # how many documents before each are held by them
    return before[ends + 1] > before[begins]
