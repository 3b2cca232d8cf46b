"""More text of a corpus's source: of other documents, the same each time, and read only if it is asked for."""

import itertools
import re

import pytest
import torch
from datasets import Dataset, IterableDataset
from saes import training_sae

from sae_lens_metrics import Corpus, Subject
from sae_lens_metrics.errors import CorpusError
from sae_lens_metrics.text import reserve
from sae_lens_metrics.text.reserve import _touches
from sae_lens_metrics.text.tokenization import Tokenization, choose_sequences, read_sequences, token_store

LENGTHS = {"long": [60, 150, 45, 90], "short": [1, 2, 3], "mixed": [1, 200, 2, 30, 3, 70]}
"""How often rows say which they are; a sequence of 64 tokens holds less than ten of that."""


def rows_of(lengths, rows):
    words = zip(range(rows), itertools.cycle(lengths), strict=False)
    return Dataset.from_list([{"text": " ".join(f"<{row:04d}> {word}" for word in range(n))} for row, n in words])


def held(corpus, model):
    """The rows whose text is in a corpus, by what they say themselves."""
    return {int(row) for sequence in corpus.tokens for row in re.findall(r"<(\d{4})>", model.tokenizer.decode(sequence))}


def sequences(corpus):
    return {tuple(row) for row in corpus.tokens.tolist()}


@pytest.fixture(scope="module")
def subject(model):
    return Subject(model, training_sae("topk"))


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("streamed", [False, True])
def test_no_document_of_the_measured_text_is_in_it_and_the_corpus_is_what_it_was(streamed, lengths, model, subject):
    rows = rows_of(LENGTHS[lengths], 300 if lengths == "short" else 60)
    rows = rows.to_iterable_dataset() if streamed else rows
    corpus = Corpus.from_dataset(rows, subject, tokens=640, seed=3)
    before, described = corpus.tokens.clone(), corpus.describe()
    _, scoring = corpus.halves()
    more = corpus.more(1_280, subject, apart_from=scoring)
    assert more.tokens.shape[1] == 64
    assert 2 <= len(more) <= 20
    assert not held(more, model) & held(scoring, model)
    assert not sequences(more) & sequences(corpus)
    assert more.is_apart_from(scoring)
    assert torch.equal(corpus.tokens, before)
    assert corpus.describe() == described
    shuffled = rows.shuffle(seed=3, buffer_size=1_000) if streamed else rows.shuffle(seed=3)
    store = token_store(shuffled, model, Tokenization.of_subject(subject))
    plain = choose_sequences(read_sequences(store, 10), 10, seed=3)
    assert torch.equal(corpus.tokens, plain.tokens)


def test_it_is_the_same_each_time_and_another_with_another_seed(subject):
    def drawn(seed):
        corpus = Corpus.from_dataset(rows_of(LENGTHS["long"], 60), subject, tokens=640, seed=seed)
        return corpus.more(1_280, subject, apart_from=corpus.halves()[1]).tokens

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


def test_as_much_as_there_is(model, subject):
    corpus = Corpus.from_dataset(rows_of(LENGTHS["long"], 60), subject, tokens=640)
    _, scoring = corpus.halves()
    everything = corpus.more(10**6, subject, apart_from=scoring)
    assert held(everything, model) | held(corpus, model) >= set(range(60)) - held(scoring, model) - {max(held(scoring, model)) + 1}
    assert len(everything) > 100


def test_what_was_read_for_the_corpus_is_not_read_again_while_it_is_enough(subject, monkeypatch):
    calls = []
    read = reserve.read_sequences
    monkeypatch.setattr(reserve, "read_sequences", lambda *args, **kwargs: calls.append(args) or read(*args, **kwargs))
    corpus = Corpus.from_dataset(rows_of(LENGTHS["long"], 200), subject, tokens=640)
    _, scoring = corpus.halves()
    assert len(calls) == 1  # nothing more is read unless it is asked for
    few = corpus.more(256, subject, apart_from=scoring)
    assert (len(calls), len(few)) == (1, 4)
    many = corpus.more(12_800, subject, apart_from=scoring)
    assert (len(calls), len(many)) == (2, 200)
    assert torch.equal(corpus.head(320).more(12_800, subject, apart_from=scoring).tokens, many.tokens)
    assert len(calls) == 2  # the second SAE on the same corpus waits for nothing


def test_a_corpus_of_tokens_knows_of_none(subject):
    corpus = Corpus.from_tokens(torch.randint(1, 4000, (8, 64)))
    with pytest.raises(CorpusError, match="knows of no other text"):
        corpus.more(640, subject, apart_from=corpus.halves()[1])


def test_a_source_of_nothing_else_has_none(subject):
    corpus = Corpus.from_dataset(rows_of([100], 4), subject, tokens=10**5)
    with pytest.raises(CorpusError, match="no text of other documents"):
        corpus.more(640, subject, apart_from=corpus)


def test_a_stream_that_is_another_one_the_second_time_is_refused(subject):
    times = itertools.count()

    def rows():
        time = next(times)
        yield from ({"text": f"<{row:04d}> time {time} " * 40} for row in range(200))

    corpus = Corpus.from_dataset(IterableDataset.from_generator(rows), subject, tokens=640)
    with pytest.raises(CorpusError, match="other text"):
        corpus.more(10**6, subject, apart_from=corpus.halves()[1])


def test_sequences_that_share_a_document_are_those_of_a_loop():
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        ends = torch.randint(0, 15, (12,), generator=generator).sort().values
        documents = ends[torch.randint(0, 12, (3,), generator=generator)]
        parts = [set(range(begin, end + 1)) for begin, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)]
        taken = set().union(*(part for part, end in zip(parts, ends.tolist(), strict=True) if end in documents.tolist()))
        assert _touches(ends, documents).tolist() == [bool(part & taken) for part in parts]
