"""Evaluation text of training runs on streams, however long they are: training never reaches it, or the results say so."""

import json
import logging
import re
from types import SimpleNamespace

import pytest
from datasets import Dataset, DatasetDict, IterableDataset, load_dataset
from runners import BATCH, logging_config, single_runner, small_metrics

from sae_lens_metrics import Report
from sae_lens_metrics.integrations.streams import ordered_shards, shard_being_read
from sae_lens_metrics.training import held_out_text
from sae_lens_metrics.training.held_out_text import NOT_HELD_OUT, hold_out

SHRINKAGE = small_metrics(names=["shrinkage"])


@pytest.fixture
def nothing_is_skipped(monkeypatch):
    """As if every run were long."""
    monkeypatch.setattr(held_out_text, "_SHORT_SKIP", 0)
    monkeypatch.setattr(held_out_text, "_LONGEST_SKIP", 0)


def rows_of(shard, n):
    for row in range(n):
        yield {"text": f"shard{shard} row{row} " + " ".join(f"word{row * word % 97}" for word in range(40))}


def stream_of(folder, shards=6, rows=60):
    """A stream of files, as those of the hub are."""
    for shard in range(shards):
        (folder / f"{shard}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows_of(shard, rows)))
    return load_dataset("json", data_files=[str(folder / f"{shard}.jsonl") for shard in range(shards)], split="train", streaming=True)


def shards_in(corpus, model):
    return {int(shard) for row in corpus.tokens for shard in re.findall(r"shard(\d+) row", model.tokenizer.decode(row))}


def lines(folder):
    return [json.loads(line) for line in next(folder.rglob("metrics.jsonl")).read_text().splitlines()]


@pytest.mark.usefixtures("nothing_is_skipped")
def test_of_many_shards_the_last_ones(model, tmp_path):
    runner = single_runner(tmp_path, model, stream_of(tmp_path), metrics=SHRINKAGE)
    corpus = runner.evaluator._metrics._held_out.corpus
    runner.run()
    assert shards_in(corpus, model) == {5}
    assert shard_being_read(runner.activations_store.dataset) in (0, 1, 2)
    assert all(line["held_out"] for line in lines(tmp_path))
    more = corpus.more(1_024, SimpleNamespace(site=SimpleNamespace(model=model)), apart_from=corpus.halves()[1])
    assert shards_in(more, model) == {5}  # more text is held out too
    source = Report.load(tmp_path / "output" / "metrics.json").provenance["corpus"]
    assert (source["held_out"], source["first_shard"]) == (True, 5)


@pytest.mark.usefixtures("nothing_is_skipped")
@pytest.mark.parametrize("rows", [30, 4])
def test_it_is_seen_when_training_comes_to_them(rows, model, tmp_path):
    """In its first epoch, or after many."""
    logger = logging_config(wandb=False, every=10)
    runner = single_runner(
        tmp_path, model, stream_of(tmp_path, rows=rows), metrics=SHRINKAGE, training_tokens=120 * BATCH, logger=logger, lr_warm_up_steps=0
    )
    runner.run()
    said = [line["held_out"] for line in lines(tmp_path)]
    assert said[-1] is False
    if rows == 30:
        assert said[0] is True
    assert said == sorted(said, reverse=True)
    assert NOT_HELD_OUT in Report.load(tmp_path / "output" / "metrics.json").warnings


@pytest.mark.usefixtures("nothing_is_skipped")
def test_of_one_shard_another_split(model, tmp_path):
    splits = {name: Dataset.from_list(list(rows_of(number, 60))) for name, number in (("train", 0), ("validation", 7))}
    DatasetDict(splits).save_to_disk(str(tmp_path / "texts"))
    stream = splits["train"].to_iterable_dataset()
    runner = single_runner(tmp_path, model, stream, metrics=SHRINKAGE, dataset_path=str(tmp_path / "texts"))
    held_out = runner.evaluator._metrics._held_out
    assert shards_in(held_out.corpus, model) == {7}
    assert held_out.corpus.source["held_out"]
    assert held_out.corpus.source["name"].endswith("texts, validation")
    assert held_out.still_held_out(runner.activations_store)


@pytest.mark.usefixtures("nothing_is_skipped")
@pytest.mark.parametrize("shuffled", [False, True])
def test_where_there_is_no_other_text_it_is_said(shuffled, model, tmp_path, caplog):
    """Of a shuffled stream nobody knows which shard comes last."""
    stream = stream_of(tmp_path).shuffle(seed=1, buffer_size=5) if shuffled else stream_of(tmp_path, shards=1)
    with caplog.at_level(logging.WARNING, "sae_lens_metrics"):
        held_out = single_runner(tmp_path, model, stream, metrics=SHRINKAGE).evaluator._metrics._held_out
    assert held_out.corpus.source["held_out"] is False
    assert NOT_HELD_OUT in caplog.text
    assert NOT_HELD_OUT in held_out.corpus.warnings
    assert held_out.corpus.reserve is None  # more of what training reads would not be held out either


def test_the_order_of_shards(tmp_path):
    stream = stream_of(tmp_path, shards=3, rows=5)
    assert ordered_shards(stream) == ordered_shards(stream.map(lambda row: row)) == 3
    assert ordered_shards(stream.shuffle(seed=0)) == ordered_shards(stream.shuffle(seed=0).map(lambda row: row)) == 1
    seen = [(shard_being_read(stream), int(row["text"][5])) for row in stream]
    assert all(read >= shard for read, shard in seen)  # it may be ahead, never behind
    assert [next(iter(stream.shard(num_shards=3, index=i)))["text"][:6] for i in range(3)] == ["shard0", "shard1", "shard2"]


# The sizes of SAELens's tutorial, and of the example in the README: tokens, context, rows, shards and tokens a row of the data sets.
LONG = {
    "SAELens's tutorial": (122_880_000, 512, 256, 60, 230),
    "the README's example": (100_000_000, 128, 128, 80, 1_200),
}


@pytest.mark.parametrize("name", LONG)
def test_long_runs_are_held_out(name, model, tmp_path):
    """Streams of as many shards as theirs, of which only those rows are made that are read."""
    tokens, context, buffered, shards, length = LONG[name]
    made = set()

    def rows(numbers):
        for shard in numbers:
            for row in range(100_000):
                made.add(shard)
                yield {"text": f"shard{shard} row{row} " + "word " * length}

    stream = IterableDataset.from_generator(rows, gen_kwargs={"numbers": list(range(shards))})
    settings = {"training_tokens": tokens, "context_size": context, "n_batches_in_buffer": buffered, "train_batch_size_tokens": 4096}
    runner = single_runner(tmp_path, model, stream, **settings)
    text = hold_out(runner.activations_store, runner.cfg, small_metrics(names=[], tokens=8_192))
    assert text.corpus.source["held_out"]
    assert not text.corpus.warnings
    assert shards_in(text.corpus, model) == {shards - 1}
    assert made == {0, shards - 1}  # and of the first one the rows that tell how long rows are
    assert text.still_held_out(runner.activations_store)
