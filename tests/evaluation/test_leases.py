"""Claims of work by processes that share a folder: one at a time has each, and that of a dead one is taken over by one."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from sae_lens_metrics.evaluation import leases
from sae_lens_metrics.evaluation.leases import Leases


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def of_the_dead(folder, monkeypatch, machine=None):
    """A claim that its process could not remove."""
    with monkeypatch.context() as patch:
        if machine is not None:
            patch.setattr(leases, "_machine", lambda: machine)
        else:
            ended = subprocess.Popen([sys.executable, "-c", ""])
            ended.wait()
            patch.setattr(os, "getpid", lambda: ended.pid)
        assert Leases(folder)._claim("task") is not None


def test_one_at_a_time(tmp_path):
    one, other = Leases(tmp_path / "new"), Leases(tmp_path / "new")
    with one.claimed("task") as first, other.claimed("task") as second, other.claimed("another") as third:
        assert (first, second, third) == (True, False, True)
        assert files(tmp_path / "new") == ["another.1.lease", "task.1.lease"]
    assert files(tmp_path / "new") == []
    with other.claimed("task") as now:
        assert now


def test_a_claim_ends_with_an_error(tmp_path):
    with pytest.raises(KeyboardInterrupt), Leases(tmp_path).claimed("task"):
        raise KeyboardInterrupt
    assert files(tmp_path) == []


def test_the_claim_of_a_process_that_is_gone_is_taken_over_at_once(tmp_path, monkeypatch):
    of_the_dead(tmp_path, monkeypatch)
    with Leases(tmp_path).claimed("task") as mine, Leases(tmp_path).claimed("task") as others:
        assert (mine, others) == (True, False)
        assert files(tmp_path) == ["task.1.lease", "task.2.lease"]
    assert files(tmp_path) == []


@pytest.mark.parametrize("content", ["of another machine", ""])
def test_elsewhere_a_claim_expires_when_it_is_not_touched(content, tmp_path, monkeypatch):
    of_the_dead(tmp_path, monkeypatch, machine="another")
    if not content:  # its process died while it wrote it
        (tmp_path / "task.1.lease").write_text("")
    reader = Leases(tmp_path, expiry=0.2)
    for _ in range(2):  # however old the file is, it was not looked at for long enough
        with reader.claimed("task") as mine:
            assert not mine
    time.sleep(0.15)
    os.utime(tmp_path / "task.1.lease")  # a sign of life
    with reader.claimed("task") as mine:
        assert not mine
    time.sleep(0.25)
    with reader.claimed("task") as mine:
        assert mine


def test_a_claim_at_work_does_not_expire(tmp_path, monkeypatch):
    reader, ended = Leases(tmp_path, expiry=0.2), time.monotonic() + 0.7
    with Leases(tmp_path, expiry=0.2).claimed("task"):
        monkeypatch.setattr(leases, "_machine", lambda: "another")
        while time.monotonic() < ended:
            with reader.claimed("task") as mine:
                assert not mine
            time.sleep(0.02)


def test_of_many_that_take_over_one_does(tmp_path, monkeypatch):
    for number in range(20):
        folder = tmp_path / str(number)
        of_the_dead(folder, monkeypatch)
        at_once = threading.Barrier(8)

        def take(folder=folder, at_once=at_once):
            stack = ExitStack()
            at_once.wait()
            mine = stack.enter_context(Leases(folder).claimed("task"))
            return stack, mine

        with ThreadPoolExecutor(8) as pool:
            taken = [each.result() for each in [pool.submit(take) for _ in range(8)]]
        assert sum(mine for _, mine in taken) == 1
        for stack, _ in taken:
            stack.close()
        assert files(folder) == []


def test_who_was_suspended_removes_nothing_of_others(tmp_path, monkeypatch):
    suspended = Leases(tmp_path).claimed("task")
    assert suspended.__enter__()
    with monkeypatch.context() as patch:
        patch.setattr(leases, "_runs", lambda pid: False)
        other = Leases(tmp_path).claimed("task")
        assert other.__enter__()
    suspended.__exit__(None, None, None)
    assert files(tmp_path) == ["task.1.lease", "task.2.lease"]
    other.__exit__(None, None, None)
    assert files(tmp_path) == []


def test_a_folder_that_takes_no_claim_takes_no_result_either(tmp_path):
    (tmp_path / "file").write_text("")
    with Leases(tmp_path / "file").claimed("task") as mine:
        assert mine
