"""Processes that do one thing together: what they tell each other, and what becomes of errors."""

import os
import signal

import pytest
import torch
from forked_ranks import in_ranks

from sae_lens_metrics.errors import ConfigError, CorpusError, ProcessLostError
from sae_lens_metrics.ranks import ALONE, Ranks


class Unsendable(Exception):
    def __init__(self, one, other):
        super().__init__(f"{one} and {other}")
        self.how = lambda: one


def said(work):
    try:
        return work()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize(("items", "size"), [(0, 3), (2, 3), (7, 3), (12, 4), (5, 1)])
def test_parts_are_consecutive_as_even_as_can_be_and_together_all(items, size):
    parts = [list(Ranks(rank, size).mine(range(items))) for rank in range(size)]
    assert [item for part in parts for item in part] == list(range(items))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_one_process_does_all_and_sends_nothing():
    assert Ranks.launched() is ALONE
    assert ALONE.each(lambda: 3) == [3]
    assert ALONE.together(lambda: 4) == 4
    assert ALONE.of_first(lambda: 5) == 5
    total = torch.ones(2)
    assert ALONE.total(total) is total
    with pytest.raises(KeyError, match="six"):
        ALONE.each(lambda: {}["six"])


def test_what_they_tell_each_other():
    def work(ranks):
        tensor = torch.arange(6, dtype=torch.float64).view(2, 3).T * (ranks.rank + 1)  # not contiguous
        called = []
        parts = ranks.each(lambda: {"rank": ranks.rank, "view": torch.arange(10_000)[ranks.rank : ranks.rank + 2]})
        return {
            "each": [(part["rank"], part["view"].tolist()) for part in parts],
            "total": ranks.total(tensor).tolist(),
            "own": tensor.sum().item(),
            "counts": ranks.total(torch.tensor([1, 2], dtype=torch.int32)).tolist(),
            "first": ranks.of_first(lambda: called.append(ranks.rank) or "said by the first"),
            "called": called,
            "together": ranks.together(lambda: ranks.rank),
        }

    found = in_ranks(3, work)
    for rank, answer in enumerate(found):
        assert answer["each"] == [(0, [0, 1]), (1, [1, 2]), (2, [2, 3])]
        assert answer["total"] == [[0.0, 18.0], [6.0, 24.0], [12.0, 30.0]]
        assert answer["own"] == 15 * (rank + 1)  # what was given is not changed
        assert answer["counts"] == [3, 6]
        assert (answer["first"], answer["called"], answer["together"]) == ("said by the first", [0] if rank == 0 else [], rank)


def test_an_error_of_one_is_raised_in_all_and_they_go_on():
    def fail(error):
        raise error

    def work(ranks):
        def inner():
            """Fails before the others talk to it, or while they do."""
            if ranks.rank == 1:
                raise CorpusError("no text here")
            return ranks.each(lambda: "fine")

        def unsendable():
            return fail(Unsendable("one", "other")) if ranks.rank == 2 else None

        return [
            said(lambda: ranks.together(lambda: fail(ValueError("of two")) if ranks.rank == 2 else None)),
            said(lambda: ranks.each(inner)),
            said(lambda: ranks.each(lambda: ranks.each(inner))),
            said(lambda: ranks.of_first(lambda: fail(KeyError("first")))),
            said(lambda: ranks.together(unsendable)),
            ranks.each(lambda: ranks.rank),
        ]

    found = in_ranks(3, work)
    for rank, answer in enumerate(found):
        *errors, unsendable, after = answer
        assert errors == ["ValueError: of two", *["CorpusError: no text here"] * 2, "KeyError: 'first'"]
        assert unsendable == ("Unsendable: one and other" if rank == 2 else "RuntimeError: Unsendable: one and other")
        assert after == [0, 1, 2]


def test_a_process_that_is_gone_is_no_error_that_anybody_goes_on_after():
    def work(ranks):
        ranks.each(lambda: None)
        if ranks.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        with pytest.raises(ProcessLostError, match="another process of this evaluation has ended"):
            ranks.each(lambda: ranks.together(lambda: None))
        return "ended"

    assert in_ranks(3, work) == ["ended", -signal.SIGKILL, "ended"]


def test_more_processes_than_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "4", "LOCAL_RANK": "2", "LOCAL_WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="4 processes on 2 GPUs: give --nproc-per-node 2"):
        Ranks.launched()
