"""Parts of a sweep for jobs that are started apart: together all, in common nothing, and what belongs together stays so."""

import random

import pytest

from sae_lens_metrics.errors import ConfigError, SubjectError
from sae_lens_metrics.evaluation import order
from sae_lens_metrics.evaluation.order import Job, Overrides, plan
from sae_lens_metrics.evaluation.shards import Shard
from sae_lens_metrics.loading.pretrained import SAEInfo
from sae_lens_metrics.loading.targets import Target


def jobs(*groups):
    """So many SAEs at each of several hooks; a negative number stands for SAEs of which no configuration could be read."""
    found = []
    for place, number in enumerate(groups):
        info = SAEInfo({"model_name": f"model{place // 3}", "hook_name": f"blocks.{place}.hook_resid_post"} if number > 0 else None)
        found += [Job(Target(f"{place}/{i}"), info, Overrides()) for i in range(abs(number))]
    return found


def hooks(part):
    return {job.target.release.split("/")[0] for job in part}


def test_shards_are_all_and_have_nothing_in_common():
    rng = random.Random(0)
    for _ in range(100):
        all_jobs = jobs(*(rng.choice([-2, 1, 1, 2, 5, 12, 40]) for _ in range(rng.randint(1, 12))))
        of = rng.randint(1, 9)
        parts = [Shard(index, of).part(all_jobs) for index in range(1, of + 1)]
        assert [job for part in parts for job in part] == all_jobs
        fair = -(-len(all_jobs) // of)
        assert max(map(len, parts)) <= 2 * fair
        for group in hooks(all_jobs):
            size = sum(job.target.release.split("/")[0] == group for job in all_jobs)
            holders = sum(group in hooks(part) for part in parts)
            assert holders <= -(-size // fair) or all_jobs[0].info.metadata is None or size <= 2


def test_saes_of_one_hook_stay_together():
    parts = [Shard(index, 3).part(jobs(4, 5, 3)) for index in (1, 2, 3)]
    assert [hooks(part) for part in parts] == [{"0"}, {"1"}, {"2"}] or max(map(len, parts)) <= 5
    assert [len(Shard(index, 4).part(jobs(40))) for index in range(1, 5)] == [10] * 4
    assert Shard(3, 3).part(jobs(1)) == [] or Shard(1, 3).part(jobs(1)) == []


ARRAY = {"ID": "5", "MIN": "3", "MAX": "9", "COUNT": "4"}


def array(**changes):
    return {f"SLURM_ARRAY_TASK_{name}": value for name, value in {**ARRAY, **changes}.items()}


@pytest.mark.parametrize(
    ("text", "environment", "shard"),
    [
        ("1/1", {}, Shard(1, 1)),
        ("3/8", array(), Shard(3, 8)),
        ("auto", array(), Shard(2, 4)),
        ("auto", array(ID="7", MIN="0", MAX="7", COUNT="8"), Shard(8, 8)),
        ("auto", array(ID="3", MIN="3", MAX="3", COUNT="1"), Shard(1, 1)),
    ],
)
def test_what_is_given(text, environment, shard):
    assert Shard.parse(text, environment) == shard


@pytest.mark.parametrize(
    ("text", "environment", "said"),
    [
        ("0/4", {}, "no shard 0/4: shards are counted from 1/4 to 4/4"),
        ("5/4", {}, "no shard 5/4"),
        ("4", {}, "a shard is I/N"),
        ("-1/4", {}, "a shard is I/N"),
        ("auto", {}, "job array of Slurm's, which sets SLURM_ARRAY_TASK_ID"),
        ("auto", array(MAX="10"), "equal steps"),
        ("auto", array(ID="4"), "equal steps"),
    ],
)
def test_what_is_none(text, environment, said):
    with pytest.raises(ConfigError, match=said):
        Shard.parse(text, environment)


def test_shards_that_may_not_fit_together_are_refused(monkeypatch):
    """A configuration that one process could not read, and the others can, would move all that follow to other shards."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)

    def unread(release, sae_id):
        raise SubjectError("the connection failed") from (ConnectionError() if release == "far" else ValueError())

    monkeypatch.setattr(order, "read_info", unread)
    with pytest.raises(SubjectError, match="the connection failed"):
        plan([Target("far")], Overrides(), certain=True)
    assert [job.info.metadata for job in plan([Target("far")], Overrides())] == [None]
    assert [job.info.metadata for job in plan([Target("broken")], Overrides(), certain=True)] == [None]  # in every process
