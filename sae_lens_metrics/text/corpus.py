"""Evaluation tokens: which they are, where they come from, and the activations of a subject on them."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, DatasetDict, IterableDataset, load_dataset, load_from_disk
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from sae_lens_metrics.errors import CorpusError
from sae_lens_metrics.subject.backends import Prefix
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.tokenization import Sequences, Tokenization, draw_sequences, token_store

__all__ = ["ActivationBatch", "Corpus", "load_text_dataset", "shortfall"]

_SHUFFLE_BUFFER = 1_000
_READERS = {".txt": "text", ".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv"}


@dataclass(frozen=True)
class ActivationBatch:
    """The activations of some sequences at the positions that count."""

    prefix: Prefix
    """The sequences, run up to the hook."""
    x: Float[Tensor, "n d_in"]
    """Activations at the valid positions, as the SAE reads them."""
    y: Float[Tensor, "n d_out"]
    """What the SAE reconstructs there: the same, or, for a transcoder, the activations at its output."""
    position: Int[Tensor, "n"]
    """Where each activation is in the batch: its sequence times the sequences' length, plus its column."""
    first: int
    """Index of the batch's first sequence in the corpus."""

    @property
    def sequence(self) -> Int[Tensor, "n"]:
        """Index of each activation's sequence within the batch."""
        return self.position // self.prefix.tokens.shape[1]

    @property
    def in_corpus(self) -> Int[Tensor, "n"]:
        """Where each activation is in the corpus, counted as in ``position``."""
        return self.position + self.first * self.prefix.tokens.shape[1]

    def row_of(self, position: Int[Tensor, "m"]) -> Int[Tensor, "m"]:
        """Which activation is at some positions of the batch; -1 where none counts."""
        rows = torch.full((self.prefix.tokens.numel(),), -1, device=self.position.device)
        rows[self.position] = torch.arange(len(self.position), device=rows.device)
        return rows[position]

    def chunks(self, subject: Subject) -> Iterator[slice]:
        """Parts of the activations whose dense latents fit in memory; none where no position counts."""
        return (slice(start, start + subject.chunk) for start in range(0, len(self.x), subject.chunk))

    def per_sequence(self, values: Float[Tensor, "n ..."]) -> Float[Tensor, "batch ..."]:
        """Sums values over the positions of each sequence, in float64."""
        values = values.cpu() if values.device.type == "mps" else values  # which has no float64
        sums = torch.zeros(len(self.prefix.tokens), *values.shape[1:], dtype=torch.float64, device=values.device)
        return sums.index_add_(0, self.sequence.to(values.device), values.double()).cpu()

    def to_positions(self, subject: Subject, values: Float[Tensor, "n d_out"]) -> Float[Tensor, "batch pos d_out"]:
        """Puts one vector per valid position back into the shape of the sequences, zero elsewhere."""
        valid = subject.valid(self.prefix.tokens)
        full = torch.zeros(*valid.shape, values.shape[-1], dtype=values.dtype, device=values.device)
        full[valid] = values
        return full


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
    name_of_documents: str = "documents"
    """What they are: documents, or longer sequences of which these are pieces."""

    def __post_init__(self) -> None:
        if self.tokens.ndim != 2 or self.tokens.shape[1] < 2:
            raise CorpusError(f"tokens must be [sequences, pos] with at least two positions, not {tuple(self.tokens.shape)}")
        if len(self.tokens) < 2:
            raise CorpusError("a corpus needs at least two sequences, or no standard error can be computed: give more text")

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
        cls, dataset: "str | Dataset | IterableDataset", subject: Subject, *, tokens: int = 65_536, seed: int = 0, split: str = "train"
    ) -> "Corpus":
        """Tokenises text as SAELens does for the subject's SAE: same context, same BOS, same separators.

        Args:
            dataset: A data set with a column ``text`` (or ``tokens``, ``input_ids``, ``problem``), or what ``load_text_dataset`` takes.
            subject: Whose tokenizer, context size and BOS to use.
            tokens: How many tokens; whole sequences, at least two.
            seed: Which rows: the data set is shuffled with it (a stream within a buffer).
            split: Split, where ``dataset`` is a name.

        Raises:
            CorpusError: If the data set is empty, too short, or has no column of text.
        """
        rows = load_text_dataset(dataset, split) if isinstance(dataset, str) else dataset
        rows = rows.shuffle(seed=seed) if isinstance(rows, Dataset) else rows.shuffle(seed=seed, buffer_size=_SHUFFLE_BUFFER)
        store = token_store(rows, subject.model, Tokenization.of_subject(subject))
        wanted = max(2, tokens // store.context_size)
        drawn = draw_sequences(store, wanted, seed=seed)
        name = dataset if isinstance(dataset, str) else str(getattr(dataset.info, "dataset_name", None) or "in memory")
        source = {"kind": "dataset", "name": name, "split": split, "seed": seed}
        return cls(drawn.tokens, source, shortfall(drawn, wanted), drawn.documents)

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
        return Corpus(tokens, self.source, self.warnings, whole.repeat_interleave(pieces), self.unit)

    def some(self, sequences: Int[Tensor, "n"]) -> "Corpus":
        """Some of the sequences, by their indices, at least two."""
        documents = None if self.documents is None else self.documents[sequences]
        return Corpus(self.tokens[sequences], self.source, self.warnings, documents, self.unit)

    @property
    def unit(self) -> str:
        """What a sampling unit is called."""
        return "sequences" if self.documents is None else self.name_of_documents

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

    def check_vocabulary(self, subject: Subject) -> None:
        """Makes sure that the model knows every token; on a GPU, one that it does not know would end the process.

        Raises:
            CorpusError: If a token is not in the model's vocabulary.
        """
        largest = int(self.tokens.max())
        if subject.vocabulary is not None and (largest >= subject.vocabulary or int(self.tokens.min()) < 0):
            raise CorpusError(f"token {largest} is not in the model's vocabulary of {subject.vocabulary}: was this text made for it?")

    def activations(self, subject: Subject, batch_size: int, *, progress: str) -> Iterator[ActivationBatch]:
        """Runs a subject over the corpus, with a progress bar where that takes more than two seconds.

        Args:
            subject: The model and SAE.
            batch_size: Sequences at once.
            progress: What the bar says.

        Raises:
            CorpusError: If a token is not in the model's vocabulary.
        """
        self.check_vocabulary(subject)
        with tqdm(total=self.tokens.numel(), desc=progress, unit="token", unit_scale=True, delay=2, leave=False) as bar:
            for first in range(0, len(self), batch_size):
                tokens = self.tokens[first : first + batch_size]
                prefix = subject.prefix(tokens)
                valid = subject.valid(tokens)
                x = subject.activations(prefix)[valid]
                y = subject.targets(prefix)[valid] if subject.is_transcoder else x
                yield ActivationBatch(prefix, x, y, valid.flatten().nonzero()[:, 0], first)
                bar.update(tokens.numel())


def load_text_dataset(name: str, split: str = "train") -> "Dataset | IterableDataset":
    """Loads a data set by name, without running any code of its own.

    Args:
        name: A name on the Hugging Face hub (streamed), a folder written by ``datasets``, or a .txt, .jsonl, .csv or .parquet file.
        split: Which split of it.

    Raises:
        CorpusError: If there is no such data set, file or split.
    """
    try:
        loaded = _load(name, split)
    except Exception as error:  # every reader has its own errors; what the user needs is the name and the reason
        raise CorpusError(f"cannot load the data set {name!r}, split {split!r}: {_why(error)}") from error
    if not isinstance(loaded, DatasetDict):
        return loaded
    if split not in loaded:
        raise CorpusError(f"the data set {name!r} has no split {split!r}: give one of {', '.join(map(str, loaded))}")
    return loaded[split]


def _load(name: str, split: str) -> "Dataset | DatasetDict | IterableDataset":
    path = Path(name)
    if path.is_dir():
        return load_from_disk(name)
    if path.suffix in _READERS and not path.is_file():
        raise FileNotFoundError("there is no such file")
    if not path.is_file():
        return load_dataset(name, split=split, streaming=True)
    if path.suffix not in _READERS:
        raise ValueError(f"expected a file whose name ends in one of {', '.join(_READERS)}")
    if split != "train":
        raise ValueError("a file has no splits: leave the split out")
    options: dict[str, Any] = {"sample_by": "document"} if path.suffix == ".txt" else {}
    return load_dataset(_READERS[path.suffix], data_files=str(path), split="train", **options)


def _why(error: BaseException) -> str:
    """Why a data set cannot be loaded, and what to do where the reader's own words do not say it."""
    error = error.__cause__ or error  # some readers wrap the reason in an error that does not tell it
    # how `datasets` says it: of folders, of .jsonl files, of other files
    if isinstance(error, IndexError | StopIteration) or "corresponds to no data" in str(error):
        return "it is empty, give one that holds text"
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, ConnectionError):
        reason += "; data sets of the hub are streamed, not kept: without a network give a file or a folder (--dataset)"
    return reason


def shortfall(drawn: Sequences, wanted: int) -> list[str]:
    """What to say where a data set holds fewer sequences than were wanted."""
    if len(drawn.tokens) >= wanted:
        return []
    asked = wanted * drawn.tokens.shape[1]
    return [f"the data set holds {drawn.tokens.numel():,} tokens, {asked:,} were asked for: errors are larger"]
