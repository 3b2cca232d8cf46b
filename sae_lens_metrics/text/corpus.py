"""Evaluation tokens: which they are, where they come from, and which of them belong together."""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from datasets import Dataset, IterableDataset
from jaxtyping import Int
from torch import Tensor

from sae_lens_metrics.errors import CorpusError
from sae_lens_metrics.ranks import ALONE, Ranks
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.batches import ActivationBatch, activation_batches
from sae_lens_metrics.text.datasets import load_text_dataset
from sae_lens_metrics.text.fingerprints import noting_rows
from sae_lens_metrics.text.parts import Part, shuffled
from sae_lens_metrics.text.reserve import Reserve, draw_with_reserve
from sae_lens_metrics.text.tokenization import Tokenization, shortfall

__all__ = ["Corpus"]


@dataclass(frozen=True)
class Corpus:
    """Sequences of tokens to evaluate on; every SAE that is evaluated on one corpus sees the same positions."""

    tokens: Int[Tensor, "sequences pos"]
    """Whole sequences, beginning-of-sequence token included where the SAE's model has one."""
    source: dict[str, Any] = field(default_factory=dict)
    """Where the tokens come from, for the result file."""
    warnings: list[str] = field(default_factory=list)
    """What a reader of results on this corpus must know."""

    documents: Int[Tensor, "sequences"] | None = None
    """Which document each sequence comes from, where that is known."""
    unit: str = "documents"
    """What a sampling unit is called: a document, or a longer sequence of which these are pieces; "sequences" where each is one."""
    reserve: Reserve | None = field(default=None, repr=False, compare=False)
    """Where ``more`` text of the same source comes from, if there is any."""
    fingerprints: frozenset[int] | None = field(default=None, repr=False)
    """Hashes of the documents, by which texts of different seeds can be asked what they have in common; of a whole corpus only."""

    def __post_init__(self) -> None:
        if self.tokens.ndim != 2 or self.tokens.shape[1] < 2:
            raise CorpusError(f"tokens must be [sequences, pos] with at least two positions, not {tuple(self.tokens.shape)}")
        if len(self.tokens) < 2:
            raise CorpusError("a corpus needs at least two sequences, or no standard error can be computed: give more text")
        if self.documents is None:
            object.__setattr__(self, "unit", "sequences")

    @classmethod
    def from_tokens(cls, tokens: Int[Tensor, "sequences pos"], **source: Any) -> "Corpus":
        """A corpus of tokens at hand.

        Args:
            tokens: Whole sequences, [sequences, pos].
            source: What to note about their origin.

        Raises:
            CorpusError: If there are fewer than two sequences or positions.
        """
        return cls(tokens.detach().cpu().long(), source={"kind": "tokens", **source})

    @classmethod
    def from_dataset(
        cls,
        dataset: "str | Dataset | IterableDataset",
        subject: Subject,
        *,
        tokens: int = 65_536,
        seed: int = 0,
        split: str = "train",
        part: Part | None = None,
    ) -> "Corpus":
        """Tokenises text as SAELens does for the subject's SAE: same context, same BOS, same separators.

        Args:
            dataset: A data set with a column ``text`` (or ``tokens``, ``input_ids``, ``problem``), or what ``load_text_dataset`` takes.
            subject: Whose tokenizer, context size and BOS to use.
            tokens: How many tokens; whole sequences, at least two.
            seed: Which rows: the data set is shuffled with it (a stream within a buffer).
            split: Split, where ``dataset`` is a name.
            part: Which rows may be drawn from, where texts must not share any; all by default.

        Raises:
            CorpusError: If the data set is empty, too short, or has no column of text.
        """
        rows = load_text_dataset(dataset, split) if isinstance(dataset, str) else dataset
        rows, fingerprints = noting_rows(shuffled(rows, seed, part))
        tokenization = Tokenization.of_subject(subject)
        wanted = max(2, tokens // tokenization.context_size)
        name = dataset if isinstance(dataset, str) else str(getattr(dataset.info, "dataset_name", None) or "in memory")
        try:
            drawn, reserve = draw_with_reserve(rows, subject.site.model, tokenization, wanted, seed=seed)
        except CorpusError as error:
            raise CorpusError(f"{name!r}: {error}") from error
        except UnicodeDecodeError as error:  # of which some readers take no notice until a row is asked for
            raise CorpusError(f"{name!r}: a row holds bytes that are no UTF-8, expected UTF-8: convert it") from error
        source = {"kind": "dataset", "name": name, "split": split, "seed": seed, **({} if part is None else {"part": asdict(part)})}
        read = fingerprints(drawn.documents.unique().tolist())
        return cls(drawn.tokens, source, shortfall(drawn, wanted), drawn.documents, reserve=reserve, fingerprints=read)

    def __len__(self) -> int:
        return len(self.tokens)

    def head(self, tokens: int) -> "Corpus":
        """The first sequences, at least two, with about so many tokens."""
        n = max(2, tokens // self.tokens.shape[1])
        return self if n >= len(self) else self.some(torch.arange(n))

    def spread(self, sequences: int) -> "Corpus":
        """So many sequences at equal distances, or all where there are fewer."""
        return self.some(torch.linspace(0, len(self) - 1, min(sequences, len(self)), dtype=torch.float64).round().long())

    def halves(self) -> "tuple[Corpus, Corpus]":
        """The first documents and the last ones; where those are too few, the first sequences and the last.

        A sequence may begin with the end of the document before its own, so the first one of the second half is left out.

        Raises:
            CorpusError: If there are fewer than four sequences.
        """
        if len(self) < 4:
            raise CorpusError(f"a corpus of {len(self)} sequences cannot be halved, expected at least four: give more text")
        units = self.units
        second = units > units.sort().values[(len(self) - 1) // 2]
        if self.documents is not None:
            second[second.nonzero()[:1, 0]], dropped = False, second.nonzero()[:1, 0]
        else:
            dropped = second.nonzero()[:0, 0]
        first = ~second
        first[dropped] = False
        if min(int(first.sum()), int(second.sum())) < 2:
            second = torch.arange(len(self)) >= len(self) // 2
            first = ~second
        return self.some(first.nonzero()[:, 0]), self.some(second.nonzero()[:, 0])

    def more(self, tokens: int, subject: Subject, *, apart_from: "Corpus") -> "Corpus":
        """More text of the same source, of which no sequence is in this corpus; what the corpus itself holds stays the same.

        The source is read again for it, once for all SAEs that ask for the same.

        Args:
            tokens: How many tokens, in whole sequences; fewer come back where the source holds fewer.
            subject: Whose model's tokenizer made this corpus.
            apart_from: A part of this corpus; no document of it is in what comes back.

        Raises:
            CorpusError: If there is none, as of a corpus of tokens at hand; the message says why.
        """
        if self.reserve is None or apart_from.documents is None:
            raise CorpusError("the corpus knows of no other text of its source")
        n = max(2, tokens // self.reserve.tokenization.context_size)
        drawn = self.reserve.draw(n, subject.site.model, apart_from=apart_from.documents)
        if len(drawn.tokens) < 2:
            raise CorpusError("the data set holds no more text of other documents than one sequence")
        return Corpus(drawn.tokens, self.source, documents=drawn.documents)

    def followed_by(self, other: "Corpus") -> "Corpus":
        """This corpus and more of the same source, in one.

        Raises:
            CorpusError: If the documents of either are not known.
        """
        if self.documents is None or other.documents is None:
            raise CorpusError("corpora can be joined where the documents of both are known")
        tokens, documents = torch.cat([self.tokens, other.tokens]), torch.cat([self.documents, other.documents])
        return Corpus(tokens, self.source, self.warnings, documents, self.unit, self.reserve)

    def is_apart_from(self, other: "Corpus") -> bool:
        """Whether it is known that no document is in both."""
        if self.documents is None or other.documents is None or self.unit != "documents":
            return False
        return not bool(torch.isin(self.documents, other.documents).any())

    def cut(self, context: int, bos_token: int | None) -> "Corpus":
        """Shorter sequences, where these are longer than some context; what is left over at their ends is dropped.

        Args:
            context: Tokens a sequence, BOS included.
            bos_token: What every sequence begins with, if anything.
        """
        if context >= self.tokens.shape[1]:
            return self
        begins = bos_token is not None and bool((self.tokens[:, 0] == bos_token).all())
        body = self.tokens[:, int(begins) :]
        width = context - (bos_token is not None)
        pieces = body.shape[1] // width
        tokens = body[:, : pieces * width].reshape(-1, width)
        if bos_token is not None:
            tokens = torch.nn.functional.pad(tokens, (1, 0), value=bos_token)
        whole = torch.arange(len(self)) if self.documents is None else self.documents
        return Corpus(tokens, self.source, self.warnings, whole.repeat_interleave(pieces), self.unit, self.reserve)

    def some(self, sequences: Int[Tensor, "n"]) -> "Corpus":
        """Some of the sequences, by their indices, at least two; what comes twice stays one sampling unit."""
        documents = self.documents
        if documents is None and len(sequences.unique()) < len(sequences):
            documents = torch.arange(len(self))
        return Corpus(
            self.tokens[sequences], self.source, self.warnings, None if documents is None else documents[sequences], self.unit, self.reserve
        )

    @property
    def units(self) -> Int[Tensor, "sequences"]:
        """The sampling unit that each sequence belongs to: its document, or itself. Standard errors are over these."""
        return torch.arange(len(self)) if self.documents is None else self.documents.unique(return_inverse=True)[1]

    def describe(self) -> dict[str, Any]:
        """The corpus as JSON types, with a hash of its tokens."""
        digest = hashlib.sha256(str(tuple(self.tokens.shape)).encode() + self.tokens.contiguous().numpy().tobytes()).hexdigest()
        documents = None if self.documents is None else int(self.units.max()) + 1
        shape = {"sequences": len(self), "documents": documents, "context_size": self.tokens.shape[1], "tokens": self.tokens.numel()}
        return {**self.source, **shape, "tokens_sha256": digest}

    def activations(self, subject: Subject, batch_size: int | None, *, progress: str, ranks: Ranks = ALONE) -> Iterator[ActivationBatch]:
        """Runs a subject over the corpus, with a progress bar where that takes more than two seconds.

        Args:
            subject: The model and SAE.
            batch_size: Sequences at once at most; ``None`` for as many as suit the device.
            progress: What the bar says.
            ranks: Processes that share the text; the batches are those of this one, in the order of the text.

        Raises:
            CorpusError: If a token is not in the model's vocabulary.
        """
        return activation_batches(subject, self.tokens, batch_size, progress=progress, ranks=ranks)
