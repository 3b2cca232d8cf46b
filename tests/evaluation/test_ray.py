"""A sweep on a Ray cluster of two machines, of which workers, and then a machine, are lost; and on this one, interrupted."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from itertools import islice
from pathlib import Path

import pytest
from saes import training_sae
from tiny_release import TINY_LM

from sae_lens_metrics import Estimate, MetricResult, MetricsConfig, Report
from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.evaluation import on_ray
from sae_lens_metrics.evaluation.clusters import RayCluster
from sae_lens_metrics.evaluation.order import Job, Overrides
from sae_lens_metrics.evaluation.places import Waiting
from sae_lens_metrics.evaluation.sweep import sweep
from sae_lens_metrics.evaluation.sweep_folder import SweepFolder
from sae_lens_metrics.loading.pretrained import SAEInfo
from sae_lens_metrics.loading.targets import Target, find_targets
from sae_lens_metrics.metrics.shrinkage.spec import ShrinkageConfig
from sae_lens_metrics.text.standard_library import standard_library_documents

SAES = 6


def test_a_worker_stays_with_its_model_and_hook():
    places = [("a", 1), ("a", 1), ("a", 1), ("a", 2), ("b", 1), ("b", 1)]
    jobs = [
        Job(Target(str(i)), SAEInfo({"model_name": model, "hook_name": str(hook)}), Overrides()) for i, (model, hook) in enumerate(places)
    ]
    waiting = Waiting(jobs)
    assert waiting.take(None, []) == 0
    assert waiting.take(None, [0]) == 4  # where nobody is
    assert [waiting.take(0, [4]), waiting.take(1, [4])] == [1, 2]
    assert waiting.take(2, [4]) == 3  # the same model
    assert waiting.take(3, [4]) == 5
    waiting.put_back(5, first=True)
    assert (len(waiting), waiting.take(None, [])) == (1, 5)


@pytest.mark.parametrize("given", [{"workers": 0}, {"gpus_per_worker": -1}, {"gpus_per_worker": float("nan")}, {"gpus_per_worker": 1.5}])
def test_a_cluster_that_cannot_be(given):
    with pytest.raises(ConfigError, match="expected"):
        RayCluster(**given)


def test_without_ray_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"sae-lens-metrics\[cluster\]"), on_ray._connected():
        pass


# --- a cluster ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Texts and SAEs at two hooks."""
    folder = tmp_path_factory.mktemp("ray")
    texts = [text[:600] for text in islice(standard_library_documents("train"), 120)]
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    for place in range(SAES):
        hook = f"blocks.{1 + place % 2}.hook_resid_post"
        training_sae("standard", seed=place, hook=hook).save_inference_model(folder / "saes" / str(place))
    return folder


@pytest.fixture(scope="module")
def cluster():
    """A head without cores, and two machines with one core each."""
    import ray
    from ray.cluster_utils import Cluster

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # or workers would have to import it
    quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 3}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        made = Cluster(True, head_node_args={"num_cpus": 0, "include_dashboard": False, "_system_config": quick})
        made.nodes = [made.add_node(num_cpus=1) for _ in range(2)]
        made.wait_for_nodes()
        patch.setenv("RAY_ADDRESS", made.address)
        yield made
        ray.shutdown()
        made.shutdown()


def evaluate(folder, output, cluster=None, names=("shrinkage",)):
    config = MetricsConfig(names=list(names), tokens=512, shrinkage=ShrinkageConfig(tokens=512), dataset=str(folder / "texts.jsonl"))
    targets = find_targets([str(folder / "saes")])
    return sweep(targets, config, folder / output, overrides=Overrides(model=str(TINY_LM), device="cpu"), cluster=cluster)


def without_times(value):
    if isinstance(value, dict):
        return {key: without_times(each) for key, each in value.items() if key not in ("created", "seconds")}
    return [without_times(each) for each in value] if isinstance(value, list) else value


def contents(output):
    results = {path.name: without_times(json.loads(path.read_text())) for path in output.glob("[!.]*_*.json")}
    return results | {"summary.csv": (output / "summary.csv").read_text()}


@pytest.fixture(scope="module")
def one(folder):
    """What one process makes."""
    evaluate(folder, "one")
    return folder / "one"


@pytest.mark.slow
def test_two_machines_make_what_one_process_makes(folder, one, cluster, monkeypatch):
    """Without a folder that all have: results are sent, those that are there to the workers, and this process writes."""
    (folder / "sent").mkdir()
    there = next(one.glob("*_2_*.json"))
    shutil.copy(there, folder / "sent")
    before = (folder / "sent" / there.name).stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr(SweepFolder, "marked", lambda folder: nullcontext((Path("nowhere"), "nothing")))
        found = evaluate(folder, "sent", RayCluster())
    assert found.errors == {}
    assert contents(folder / "sent") == contents(one)
    assert (folder / "sent" / there.name).stat().st_mtime_ns == before
    assert not list((folder / "sent" / ".sweep").glob("*.lease"))
    assert set(found.reports) == set(found.names)


@pytest.mark.slow
def test_lost_workers_and_a_lost_machine(folder, one, cluster, metric, caplog):
    """SAE 1 ends its worker once, SAE 2 each time, and SAE 3 is in hand on a machine that goes away."""
    signs = folder / "signs"
    signs.mkdir()

    def ends(context):
        import ray

        name = names[context.subject.describe()["weights_sha256"]]
        tried = len(list(signs.glob(f"{name}-*")))
        (signs / f"{name}-{tried}").write_text(ray.get_runtime_context().get_node_id())
        if name == "2" or (name == "1" and not tried):
            os._exit(1)
        while name == "3" and not tried:
            time.sleep(0.05)
        return MetricResult({"number": Estimate(1.0, None, 1, "tokens")})

    names = {Report.load(path).provenance["sae"]["weights_sha256"]: path.stem.split("_")[-2] for path in one.glob("[!.]*_*.json")}
    assert sorted(names.values()) == list("012345")
    metric("ends", ends)

    def take_away():
        end = time.monotonic() + 200
        while not (signs / "3-0").exists() and time.monotonic() < end:
            time.sleep(0.1)
        time.sleep(0.5)
        node = next(each for each in cluster.nodes if each.node_id == (signs / "3-0").read_text())
        cluster.remove_node(node, allow_graceful=False)

    other = threading.Thread(target=take_away)
    other.start()
    found = evaluate(folder, "lost", RayCluster(), names=("ends",))
    other.join()
    assert {Path(name).name for name in found.errors} == {"2"}
    assert "died 2 times" in next(iter(found.errors.values()))
    assert json.loads((folder / "lost" / "errors.json").read_text()) == found.errors
    assert {Path(name).name for name in found.files} == set("01345")
    tried = {name: len(list(signs.glob(f"{name}-*"))) for name in "012345"}
    assert tried == {"0": 1, "1": 2, "2": 2, "3": 2, "4": 1, "5": 1}
    assert not list((folder / "lost" / ".sweep").glob("*.lease"))


@pytest.mark.slow
def test_an_interrupt_ends_all_workers(folder):
    """On a cluster of its own, which ends, too."""
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"} | {"SAE_LENS_METRICS_TEST": str(folder)}
    little = ["--metrics", "probe", "--device", "cpu", "--dataset", str(folder / "texts.jsonl"), "--model", str(TINY_LM)]
    command = [sys.executable, "-m", "sae_lens_metrics", "evaluate", str(folder / "saes"), *little, "--output", str(folder / "stopped")]
    process = subprocess.Popen([*command, "--cluster", "ray"], env=environment, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 100
    while not list((folder / "stopped" / ".sweep").glob("*.lease")) and time.monotonic() < end and process.poll() is None:
        time.sleep(0.1)
    time.sleep(1)
    assert sum("_Actor" in each for each in _of_test(folder)) >= 1
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert (process.returncode, error.splitlines()[-1]) == (130, "sae-lens-metrics: interrupted")
    assert time.monotonic() - begun < 6
    end = time.monotonic() + 10
    while (left := _of_test(folder)) and time.monotonic() < end:
        time.sleep(0.2)
    assert left == []


def _of_test(folder):
    """Processes that have inherited the environment of the command."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if f"SAE_LENS_METRICS_TEST={folder}".encode() in (place / "environ").read_bytes():
                found.append(f"{place.name} {(place / 'cmdline').read_bytes()[:100]}")
        except OSError:  # it has ended, or is somebody else's
            continue
    return found
