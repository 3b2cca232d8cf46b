"""Files and folders that hold no text as they should: each is refused in words of our own."""

import json
import os

import pytest
import torch
from datasets import Dataset
from refusals import in_few_words
from saes import training_sae

from sae_lens_metrics import Corpus, Subject
from sae_lens_metrics.errors import CorpusError
from sae_lens_metrics.text.datasets import load_text_dataset


@pytest.fixture(scope="module")
def subject(model):
    return Subject(model, training_sae("standard"))


@pytest.fixture
def refusal(tmp_path, subject):
    """What making a text of something says, which names it."""

    def read(name, content=None):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(CorpusError) as caught:
            Corpus.from_dataset(str(path), subject, tokens=256)
        in_few_words(caught.value)
        assert repr(str(path)) in str(caught.value)
        return str(caught.value)

    return read


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.txt", "a.jsonl", "a.json"])
def test_an_empty_file(name, refusal):
    assert "it is empty, give one that holds text" in refusal(name, b"")


@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.jsonl"])
def test_latin_1(name, refusal):
    said = refusal(name, 'text\n"caf\xe9"\n'.encode("latin-1"))
    assert "line 2 holds the byte 0xe9 where UTF-8 has no such, expected UTF-8: convert it" in said


def test_a_broken_line_is_named(refusal):
    lines = [json.dumps({"text": "words " * 20})] * 6
    assert "line 7 is not JSON (Expecting" in refusal("a.jsonl", "\n".join([*lines, '{"text": ', *lines]).encode())


@pytest.mark.parametrize(("line", "expected"), [("[1]", "holds a list"), ('"a"', "holds a str"), ("[" * 200_000, "nested too deeply")])
def test_a_line_that_is_no_object(line, expected, refusal):
    said = refusal("a.jsonl", f'{{"text": "a"}}\n{line}\n'.encode())
    assert "line 2 " in said
    assert expected in said


def test_a_device(refusal):
    assert "expected a file whose name ends in one of" in refusal("/dev/null")


def test_a_folder_that_is_none(refusal, tmp_path):
    (tmp_path / "texts").mkdir()
    assert "the folder holds no data set as Dataset.save_to_disk writes one" in refusal("texts")


def test_a_damaged_folder(refusal, tmp_path):
    Dataset.from_dict({"text": ["a"]}).save_to_disk(tmp_path / "texts")
    (tmp_path / "texts" / "state.json").write_text("[]")
    assert "it is damaged" in refusal("texts")


def test_something_else_than_parquet(refusal):
    assert "it begins with b'text', expected Parquet" in refusal("a.parquet", b"text\na\n")


def test_a_table_without_text(refusal):
    assert "the columns 'a', 'b', expected text in one of tokens, input_ids, text, problem" in refusal("a.csv", b"a,b\n1,2\n")


@pytest.mark.parametrize("tokens", [["a", "b"], "a b", [1.5, 2.0], [[1, 2]], None])
def test_tokens_that_are_none(tokens, refusal):
    said = refusal("a.jsonl", "\n".join([json.dumps({"tokens": tokens})] * 4).encode())
    assert "the column 'tokens'" in said
    assert "expected whole numbers" in said


@pytest.mark.parametrize("text", [[], ["some words " * 100], [["a"]], 5, {"a": "b"}])
def test_text_that_is_none(text, refusal):
    """Such as a list of texts, of which SAELens's store takes the first."""
    said = refusal("a.jsonl", "\n".join([json.dumps({"text": text})] * 4).encode())
    assert "the column 'text' of the data set holds" in said
    assert "expected text" in said


def test_a_row_that_holds_no_text(refusal):
    rows = [{"text": "some words " * 10}, {"text": None}, {"text": "more words " * 10}]
    assert "its column 'text' must hold text in every row" in refusal("a.jsonl", "\n".join(map(json.dumps, rows)).encode())


@pytest.mark.parametrize("form", ["list", "torch"])
def test_tokens(form, subject):
    rows = Dataset.from_dict({"tokens": torch.randint(5, 4000, (8, 64)).tolist()})
    rows = rows.with_format("torch") if form == "torch" else rows
    assert Corpus.from_dataset(rows, subject, tokens=256).tokens.shape == (4, 64)


def test_a_pipe_is_not_waited_for(refusal, tmp_path):
    os.mkfifo(tmp_path / "a.jsonl")
    assert "expected a file whose name ends in" in refusal("a.jsonl")


def test_a_file_with_a_byte_order_mark(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "a"}\n')
    try:
        assert load_text_dataset(str(tmp_path / "a.jsonl"))[0]["text"] == "a"
    except CorpusError as error:
        in_few_words(error)
