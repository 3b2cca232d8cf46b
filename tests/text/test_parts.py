"""Parts of data sets that share no row, and what two texts have in common."""

import pytest
from datasets import Dataset, IterableDataset

from sae_lens_metrics.errors import CorpusError
from sae_lens_metrics.text.fingerprints import noting_rows, share_in_common
from sae_lens_metrics.text.parts import Part, shuffled

ROWS = [f"row {i}" for i in range(57)]


def stored():
    return Dataset.from_dict({"text": ROWS})


def streamed():
    """A stream of several files, whose order a seed moves, too."""

    def read(files):
        for file in files:
            yield from ({"text": text} for text in ROWS[file * 19 : (file + 1) * 19])

    return IterableDataset.from_generator(read, gen_kwargs={"files": [0, 1, 2]})


def texts(rows):
    return [row["text"] for row in rows]


@pytest.mark.parametrize("data_set", [stored, streamed])
@pytest.mark.parametrize("seeds", [(42, 123, 456, 789), (0, 0, 0, 0)])
def test_parts_share_no_row_and_are_all_rows_together(data_set, seeds):
    parts = [texts(shuffled(data_set(), seed, Part(i, len(seeds)))) for i, seed in enumerate(seeds)]
    assert sorted(text for part in parts for text in part) == sorted(ROWS)
    assert {len(part) for part in parts} == {14, 15}


def test_a_part_of_stored_rows_is_those_with_its_remainder():
    assert {int(text[4:]) % 4 for text in texts(shuffled(stored(), 7, Part(1, 4)))} == {1}


@pytest.mark.parametrize("data_set", [stored, streamed])
def test_without_parts_all_rows_are_there_in_an_order_of_the_seed(data_set):
    first, again, other = (texts(shuffled(data_set(), seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert sorted(first) == sorted(other) == sorted(ROWS)


def test_parts_that_cannot_be():
    with pytest.raises(CorpusError, match="3 rows cannot be split into 5 parts"):
        shuffled(stored().select(range(3)), 0, Part(0, 5))
    for index in (-1, 2):
        with pytest.raises(CorpusError, match="counted from 0"):
            Part(index, 2)


@pytest.mark.parametrize("data_set", [stored, streamed])
def test_rows_that_were_read_can_be_told_apart_by_what_is_in_them(data_set):
    halves = []
    for seed in (0, 1):
        rows, fingerprints = noting_rows(shuffled(data_set(), seed))
        first = texts(rows)[:30]
        halves.append((set(first), fingerprints(range(30))))
    (one, marks), (other, others) = halves
    assert len(marks) == len(others) == 30
    assert share_in_common(marks, others) == len(one & other) / 30


def test_a_format_that_a_reader_sets_changes_no_fingerprint():
    tokens = Dataset.from_dict({"tokens": [list(range(i, i + 2_000)) for i in range(3)]})
    rows, fingerprints = noting_rows(tokens)
    before = fingerprints(range(3))
    rows.set_format(type="torch", columns=["tokens"])
    assert fingerprints(range(5)) == before, "numbers past the end are of no row"
    assert len(before) == 3


def test_what_the_smaller_one_shares():
    assert share_in_common(frozenset({1, 2}), frozenset({2, 3, 4, 5})) == 0.5
