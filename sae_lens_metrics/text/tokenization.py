"""From text to sequences of tokens, by SAELens's own store."""

import reprlib
import warnings
from dataclasses import asdict, dataclass
from typing import Any

import torch
from datasets import Dataset, IterableDataset
from jaxtyping import Int
from sae_lens import ActivationsStore
from torch import Tensor

from sae_lens_metrics.errors import CorpusError
from sae_lens_metrics.integrations.progress import progress
from sae_lens_metrics.subject.subject import Subject

__all__ = ["Sequences", "Tokenization", "choose_sequences", "read_sequences", "shortfall", "token_store"]

_TOKENS = ("tokens", "input_ids")
_COLUMNS = (*_TOKENS, "text", "problem")
"""What SAELens reads of a data set: the first that it has."""
_POOL, _SMALL_POOL = 8, 4_000_000
"""How many times as many sequences as wanted are read at most, or tokens, whichever is more, to draw from as many documents as possible."""


@dataclass(frozen=True)
class Sequences:
    """Sequences of tokens, and the document that each comes from."""

    tokens: Int[Tensor, "sequences pos"]
    """Whole sequences."""
    documents: Int[Tensor, "sequences"]
    """Which row of the data set a sequence ends in."""
    place: Int[Tensor, "sequences"]
    """Which sequence it is of all that the data set was read as, from 0."""

    def some(self, which: Int[Tensor, "n"]) -> "Sequences":
        """Some of them, by their indices."""
        return Sequences(self.tokens[which], self.documents[which], self.place[which])


@dataclass(frozen=True)
class Tokenization:
    """How text becomes sequences, in SAELens's terms."""

    context_size: int
    prepend_bos: bool
    disable_concat_sequences: bool
    sequence_separator_token: int | str | None
    use_chat_formatting: bool = False

    @classmethod
    def of_subject(cls, subject: Subject) -> "Tokenization":
        """As the SAE was trained, by its metadata.

        Raises:
            CorpusError: If the metadata lack what is needed, or the context is longer than the model's.
        """
        metadata, language = subject.dictionary.sae.cfg.metadata, subject.language
        if language.context_size is None:
            raise CorpusError("the SAE's metadata have no context_size: give one (context_size=128, or --context-size 128)")
        if language.prepend_bos is None:
            raise CorpusError("the SAE's metadata do not say whether sequences begin with BOS: give prepend_bos, or --prepend-bos")
        longest = language.longest_context
        if longest and language.context_size > longest:
            raise CorpusError(f"a context of {language.context_size} tokens is longer than the model's {longest}: give a smaller one")
        separator = metadata.get("sequence_separator_token", "bos")
        return cls(language.context_size, language.prepend_bos, bool(metadata.disable_concat_sequences), separator)

    @classmethod
    def of_store(cls, store: ActivationsStore) -> "Tokenization":
        """As a training run does it."""
        return cls(
            store.context_size,
            store.prepend_bos,
            store.disable_concat_sequences,
            store.sequence_separator_token,
            store.use_chat_formatting,
        )


def token_store(rows: "Dataset | IterableDataset", model: Any, tokenization: Tokenization) -> ActivationsStore:
    """SAELens's own store over some rows, for their tokens alone.

    Raises:
        CorpusError: If there are no rows, or no column of text or tokens.
    """
    _require_text(rows, tokenization)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice for training
            return ActivationsStore(
                model=model,
                dataset=rows,
                streaming=False,
                hook_name="",
                hook_head_index=None,
                d_in=0,
                n_batches_in_buffer=1,
                total_training_tokens=0,
                store_batch_size_prompts=1,
                train_batch_size_tokens=1,
                normalize_activations="none",
                device=torch.device("cpu"),
                dtype="float32",
                **asdict(tokenization),
            )
    except StopIteration:
        raise CorpusError("the data set is empty: give one that holds text") from None
    except ValueError as error:
        raise CorpusError(f"the data set cannot be read as text: {' '.join(str(error).split())}") from error


def _require_text(rows: "Dataset | IterableDataset", tokenization: Tokenization) -> None:
    """Makes sure of the column that SAELens's store will take, by the first row."""
    row = next(iter(rows), None)
    if row is None or tokenization.use_chat_formatting:  # the store says itself what is wrong then
        return
    column = next((name for name in _COLUMNS if name in row), None)
    if column is None:
        found = ", ".join(map(repr, row)) or "none"
        raise CorpusError(f"the data set has the columns {found}, expected text in one of {', '.join(_COLUMNS)}: rename the one with text")
    if column in _TOKENS and not _is_tokens(row[column]):
        raise CorpusError(
            f"the column {column!r} of the data set holds {reprlib.repr(row[column])}, expected whole numbers, the model's tokens: "
            "name a column of text 'text', and leave this one out"
        )
    if column not in _TOKENS and not isinstance(row[column], str | None):  # of a list of texts only the first would be read
        found = reprlib.repr(row[column])
        raise CorpusError(f"the column {column!r} of the data set holds {found}, expected text: name another one 'text'")


def _is_tokens(value: Any) -> bool:
    values = value.tolist() if isinstance(value, Tensor) else value
    return isinstance(values, list) and all(isinstance(each, int) and not isinstance(each, bool) for each in values)


def choose_sequences(pool: Sequences, n: int, *, seed: int) -> Sequences:
    """Chooses n sequences of as many documents as possible, and leaves them in their order: one of each document, then a second of each.

    Neighbouring sequences are about the same things, so that n of them tell much less than n of different documents.

    Args:
        pool: What there is to choose from.
        n: How many; all where there are fewer.
        seed: Chooses the sequences of a document.
    """
    order = torch.randperm(len(pool.tokens), generator=torch.Generator().manual_seed(seed))
    turn = torch.empty_like(order)
    seen: dict[int, int] = {}
    for position, document in enumerate(pool.documents[order].tolist()):
        turn[position] = seen[document] = seen.get(document, -1) + 1
    return pool.some(order[turn.sort(stable=True).indices[:n]].sort().values)


def shortfall(drawn: Sequences, wanted: int) -> list[str]:
    """What to say where a data set holds fewer sequences than were wanted."""
    if len(drawn.tokens) >= wanted:
        return []
    asked = wanted * drawn.tokens.shape[1]
    return [f"the data set holds {drawn.tokens.numel():,} tokens, {asked:,} were asked for: errors are larger"]


def read_sequences(store: ActivationsStore, n: int, *, most: int | None = None) -> Sequences:
    """Reads a data set until there are n documents, or enough sequences to choose n from, or it ends.

    Args:
        store: A store that stands at the beginning of its data set.
        n: Sequences that will be chosen.
        most: Sequences to read at most; default several times as many, or a few million tokens.

    Raises:
        CorpusError: If the data set does not hold a single sequence, or a row of it is not text.
    """
    most = most or max(_POOL * n, _SMALL_POOL // store.context_size)
    tokens: list[Tensor] = []
    documents: list[int] = []
    with progress("reading text", unit="sequence") as bar:
        while len(tokens) < most and not (len(tokens) >= n and documents[-1] - documents[0] >= n):
            try:
                tokens.append(store.get_batch_tokens(1, raise_at_epoch_end=True, move_to_model_device=False)[0].cpu())
            except StopIteration:
                break
            except (TypeError, ValueError, IndexError) as error:
                column = store.tokens_column
                what = "whole numbers" if store.is_dataset_tokenized else "text"
                raise CorpusError(
                    f"a row of the data set cannot be tokenised: its column {column!r} must hold {what} in every row"
                ) from error
            documents.append(store.n_dataset_processed)
            bar.update()
    if not tokens:
        raise CorpusError(f"the data set is too short: it does not fill one sequence of {store.context_size} tokens, give more text")
    if any(len(row) != len(tokens[0]) for row in tokens):
        raise CorpusError(f"the data set's rows of tokens differ in length: expected at least {store.context_size} tokens in each")
    return Sequences(torch.stack(tokens), torch.tensor(documents), torch.arange(len(tokens)))
