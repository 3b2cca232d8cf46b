"""Many SAEs in one go: what is meant, what is shared, what fails, and going on after a kill at any moment."""

import gc
import json
import logging
import os
import pickle
import re
import subprocess
import sys
from itertools import islice
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from loopback_hub import Fault, LoopbackHub
from saes import D_SAE, HOOK, training_sae
from safetensors.torch import save
from tiny_release import (
    HUB_D_SAE,
    RELEASE,
    REPOSITORY,
    TINY_LM,
    gpt2_folder,
    new_sae,
    run_commands,
    sae_repository,
    sae_weights,
)

from sae_lens_metrics import MetricsConfig, Report
from sae_lens_metrics.cli.evaluate import evaluate_options
from sae_lens_metrics.cli.main import main
from sae_lens_metrics.cli.overrides import read_list
from sae_lens_metrics.errors import CorpusError, SubjectError
from sae_lens_metrics.evaluation.clock import time_in_words
from sae_lens_metrics.evaluation.order import Overrides
from sae_lens_metrics.evaluation.sweep import sweep
from sae_lens_metrics.loading.file_faults import weights_fault
from sae_lens_metrics.loading.targets import Target, find_targets
from sae_lens_metrics.metrics.shrinkage.spec import ShrinkageConfig
from sae_lens_metrics.subject.backends import Prefix
from sae_lens_metrics.subject.shared_prefixes import SharedPrefixes
from sae_lens_metrics.text.standard_library import standard_library_documents

LAYERS = range(8)
PATTERN = r"blocks\.[0-7]\.hook_resid_pre"
LITTLE = ["--metrics", "shrinkage", "--tokens", "512", "--shrinkage.tokens", "512", "--device", "cpu"]


@pytest.fixture(scope="module", autouse=True)
def _quick_collections():
    """A sweep collects garbage after each SAE, which takes longer than these tiny ones if it goes over all that tests have imported."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a model as the hub has it, and texts."""
    folder = tmp_path_factory.mktemp("sweep")
    texts = [text[:600] for text in islice(standard_library_documents("train"), 120)]
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    gpt2_folder(folder / "gpt2")
    return folder


def results(output):
    """The result files of a folder by name; what a kill left half-written has a name that begins with a dot."""
    return {path.name: path for path in sorted(output.glob("[!.]*.json")) if path.name != "errors.json"}


def without_times(value):
    if isinstance(value, dict):
        return {key: without_times(each) for key, each in value.items() if key not in ("created", "seconds")}
    return [without_times(each) for each in value] if isinstance(value, list) else value


def contents(output):
    """All result files, byte for byte as they were written but for times."""
    return {name: json.dumps(without_times(json.loads(path.read_text())), indent=1) for name, path in results(output).items()}


# --- killed at any moment ----------------------------------------------------------------------------------------------------

# One process imports everything and starts the command as its children, which it kills: every second one some time after it began,
# which is while it loads or goes over what is there, the others soon after their first new result. The last two die while they write:
# one before a result file gets its name, the other before the summary does.
KILLER = """
import gc, json, os, random, signal, sys, time
from pathlib import Path

import torch
import sae_lens_metrics.evaluation.sweep, sae_lens_metrics.views.terminal, sae_lens_metrics.loading.targets
from sae_lens_metrics.cli.main import main

torch.set_num_threads(1)
gc.freeze()
undisturbed, killed, output, seed = json.loads(sys.argv[1])
output, rng = Path(output), random.Random(seed)


def start(command, dies_before=None):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        replace = os.replace
        def replace_or_die(source, target):
            if dies_before and Path(target).parent == output and Path(target).name.endswith(dies_before):
                os.kill(os.getpid(), signal.SIGKILL)
            replace(source, target)
        os.replace = replace_or_die
        status = 99
        try:
            status = main(command)
            sys.stdout.flush()
        finally:
            os._exit(status)
    return pid


def status_of(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def seen():
    return {p.name: p.read_bytes() for p in output.glob("[!.]*.json") if p.name != "errors.json"}


statuses, kills, repeated, counts, before = [status_of(start(undisturbed))], 0, [], [], {}
for turn in range(10):
    pid, end = start(killed, {8: ".json", 9: "summary.csv"}.get(turn)), time.monotonic() + 60
    if turn >= 8:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    elif turn % 2:
        while len(seen()) <= len(before) + (turn == 3) and time.monotonic() < end:
            time.sleep(0.002)
    time.sleep(rng.uniform(0, 0.1 if turn % 2 else 1.0) if turn < 8 else 0)
    os.kill(pid, signal.SIGKILL)
    kills += status_of(pid) == -signal.SIGKILL
    repeated += [name for name, content in before.items() if seen().get(name) != content]
    before = seen()
    counts.append(len(before))
statuses.append(status_of(start(killed)))
repeated += [name for name, content in before.items() if seen()[name] != content]
before = seen()
statuses.append(status_of(start(killed)))
repeated += [name for name, content in before.items() if seen()[name] != content]
print("REPORT", json.dumps({"statuses": statuses, "kills": kills, "repeated": repeated, "counts": counts}))
"""


@pytest.fixture(scope="module")
def killed(folder):
    """A release of eight SAEs, evaluated undisturbed, and killed ten times and started again."""
    commands = [
        ["evaluate", RELEASE, PATTERN, *LITTLE, "--dataset", str(folder / "texts.jsonl"), "--output", str(folder / name)]
        for name in ("undisturbed", "killed")
    ]
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    with LoopbackHub({"gpt2": folder / "gpt2", REPOSITORY: sae_repository(LAYERS)}) as server:
        process = subprocess.run(
            [sys.executable, "-c", KILLER, json.dumps([*commands, str(folder / "killed"), 0])],
            env=inherited | {"HF_HOME": str(folder / "hf"), "HF_ENDPOINT": server.url, "OMP_NUM_THREADS": "1", "COLUMNS": "180"},
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert process.returncode == 0, process.stderr
    printed, report = process.stdout.split("REPORT ")
    return SimpleNamespace(
        **json.loads(report), printed=printed, said=process.stderr, whole=folder / "undisturbed", output=folder / "killed"
    )


@pytest.mark.slow
def test_a_release_is_evaluated_whole(killed):
    assert killed.statuses == [0, 0, 0], killed.said
    reports = [Report.load(path) for path in results(killed.whole).values()]
    assert [report.provenance["sae"]["hook_name"] for report in reports] == [f"blocks.{layer}.hook_resid_pre" for layer in LAYERS]
    assert len({report.provenance["sae"]["weights_sha256"] for report in reports}) == 8
    assert len({report.provenance["corpus"]["tokens_sha256"] for report in reports}) == 1
    assert "8 results and summary.csv" in killed.printed
    assert "8 of 8, less than a minute left" in killed.said


@pytest.mark.slow
def test_a_killed_sweep_goes_on_where_it_was(killed):
    assert killed.kills == 10, killed.counts
    assert 0 < killed.counts[1] <= killed.counts[-1] < 8  # the kills were spread over the work
    assert killed.repeated == []
    assert contents(killed.output) == contents(killed.whole)
    assert (killed.output / "summary.csv").read_bytes() == (killed.whole / "summary.csv").read_bytes()


@pytest.mark.slow
def test_the_summary_has_a_row_for_each(killed):
    frame = pd.read_csv(killed.output / "summary.csv", index_col="name")
    assert list(frame.index) == [f"{RELEASE}/blocks.{layer}.hook_resid_pre" for layer in LAYERS]
    assert frame["error"].isna().all()
    for file, l0 in zip(frame["file"], frame["sanity/l0"], strict=True):
        assert Report.load(killed.output / file).flat()["sanity/l0"] == pytest.approx(l0, rel=1e-12)


# --- faults of hubs ----------------------------------------------------------------------------------------------------------


class _Opened:
    """Unpickling this would leave a trace."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def faulty_saes(trace):
    weights = save(sae_weights())
    narrow = {"W_enc": (16, HUB_D_SAE), "b_enc": (HUB_D_SAE,), "W_dec": (HUB_D_SAE, 16), "b_dec": (16,)}
    old = {path.replace("blocks.8.hook_resid_pre", "old"): content for path, content in sae_repository().items()}
    old_config = json.loads(old["old/cfg.json"])
    del old_config["prepend_bos"]
    return {
        **new_sae("good"),
        **new_sae("flaky"),
        **new_sae("breaks_off"),
        **new_sae("unknown_keys", gadget=3, k_schedule="cosine"),
        **new_sae("liar", metadata={"l0": 1.5}),
        **old,
        "old/cfg.json": json.dumps(old_config).encode(),
        **new_sae("narrow", weights=save({name: torch.ones(shape) for name, shape in narrow.items()}), d_in=16),
        **new_sae("other_shapes", d_in=64),
        **new_sae("no_context", metadata={"context_size": None}),
        **new_sae("no_bos", metadata={"prepend_bos": None}),
        **new_sae("no_hook", metadata={"hook_name": None}),
        **new_sae("no_model", metadata={"model_name": None}),
        **new_sae("truncated", weights=weights[:-100]),
        **new_sae("corrupted", weights=weights[:8] + b"x" * 40 + weights[48:]),
        **new_sae("pickled", weights=pickle.dumps(_Opened(trace))),
        **new_sae("lfs", weights=b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
        **new_sae("imaginary", architecture="imaginary"),
        **new_sae("dropped"),
        "not_json/cfg.json": b"{",
        "no_weights/cfg.json": new_sae("no_weights")["no_weights/cfg.json"],
    }


EXPECTED = {
    "narrow": ["32 wide", "d_in = 16"],
    "other_shapes": ["W_dec is [48, 32], expected [48, 64]", "d_in"],
    "no_context": ["no context_size", "--context-size"],
    "no_bos": ["BOS", "--prepend-bos"],
    "no_hook": ["no hook_name"],
    "no_model": ["name no model", "--model"],
    "truncated": ["truncated/sae_weights.safetensors", "cut off", "bytes where its header asks for"],
    "corrupted": ["corrupted/sae_weights.safetensors", "no readable header"],
    "pickled": ["is a pickle", "refused", "safetensors"],
    "lfs": ["git LFS"],
    "imaginary": ["imaginary"],
    "dropped": ["'dropped'", "the connection failed 3 times", "check the network"],
    "not_json": ["not JSON"],
    "no_weights": ["404", "no_weights/sae_weights.safetensors"],
}
REPOSITORY_OF_FAULTS = "someone/faulty-saes"


@pytest.fixture(scope="module")
def faults(folder):
    """A repository of good and bad SAEs, through the real download code."""
    trace, common = folder / "trace", [*LITTLE, "--dataset", folder / "texts.jsonl"]
    mending = ["--context-size", "32", "--prepend-bos", "--special-tokens", "5,6"]
    faults = {
        "/flaky/sae_weights": Fault(sent=-1, times=2),
        "/breaks_off/sae_weights": Fault(sent=1000, times=1),
        "/dropped/sae_weights": Fault(sent=-1),
    }
    commands = [
        ["evaluate", REPOSITORY_OF_FAULTS, ".*", "--output", folder / "faults", *common],
        ["evaluate", REPOSITORY_OF_FAULTS, "no_(context|bos)", "--output", folder / "mended", *common, *mending],
        ["evaluate", REPOSITORY_OF_FAULTS, "pickled", "--output", folder / "nothing", *common],
        ["evaluate", REPOSITORY_OF_FAULTS, "goo.?ds", "--output", folder / "nothing", *common],
        ["evaluate", "someone/nothing", ".*", "--output", folder / "nothing", *common],
    ]
    models = {"gpt2": folder / "gpt2", REPOSITORY_OF_FAULTS: faulty_saes(trace)}
    with LoopbackHub(models, faults=faults) as server:
        # pauses between tries are shorter than for users
        first = (
            "import gc; import sae_lens_metrics.evaluation.sweep; from sae_lens_metrics.loading import downloads; "
            "downloads._PAUSE = 0.05; gc.freeze()"
        )
        process = run_commands(commands, {"HF_HOME": str(folder / "hf_faults"), "HF_ENDPOINT": server.url}, first)
    errors = [line for line in process.stderr.splitlines() if line.startswith("sae-lens-metrics: ")]
    return SimpleNamespace(statuses=process.statuses, stderr=process.stderr, errors=errors, output=folder / "faults", trace=trace)


def test_the_good_ones_are_evaluated_and_the_others_recorded(faults, folder):
    assert faults.statuses == [3, 0, 2, 2, 2], faults.stderr
    recorded = json.loads((faults.output / "errors.json").read_text())
    assert set(recorded) == {f"{REPOSITORY_OF_FAULTS}/{name}" for name in EXPECTED}
    frame = pd.read_csv(faults.output / "summary.csv", index_col="name")
    assert len(frame) == len(EXPECTED) + 6
    assert dict(frame["error"].dropna()) == recorded
    assert set(frame["file"].dropna()) == set(results(faults.output))
    for name in EXPECTED:
        assert f"{REPOSITORY_OF_FAULTS}/{name}" in faults.errors[0]
    assert len(results(folder / "mended")) == 2
    assert not list((folder / "nothing").iterdir())


@pytest.mark.parametrize("name", EXPECTED)
def test_each_fault_is_told_in_words(name, faults):
    error = json.loads((faults.output / "errors.json").read_text())[f"{REPOSITORY_OF_FAULTS}/{name}"]
    for text in EXPECTED[name]:
        assert text in error
    assert "\n" not in error
    assert len(error) < 500


def test_a_pickle_is_never_opened(faults):
    assert not faults.trace.exists()
    assert "is a pickle" in faults.errors[1]


def test_a_pattern_that_matches_nothing_names_what_is_near(faults):
    assert "no SAE 'goo.?ds'" in faults.errors[2]
    assert "good" in faults.errors[2].split("nearest names")[1]
    assert "cannot be listed" in faults.errors[3]


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("unknown_keys", ["'gadget', 'k_schedule'", "ignores"]),
        ("liar", ["L0 is", "1.5 according to the SAE's publisher"]),
        ("old", ["does not say whether sequences begin with BOS", "--no-prepend-bos"]),
    ],
)
def test_what_is_odd_stands_in_the_report(name, texts, faults):
    (path,) = faults.output.glob(f"*_{name}_*.json")
    warnings = " ".join(Report.load(path).warnings)
    for text in texts:
        assert text in warnings


def test_special_tokens_are_taken_from_an_option(faults, folder):
    assert "trying again" in faults.stderr  # the flaky one
    for path in results(folder / "mended").values():
        assert Report.load(path).provenance["corpus"]["context_size"] == 32


# --- targets -----------------------------------------------------------------------------------------------------------------


def test_names_and_patterns_of_the_directory():
    assert find_targets([RELEASE, "blocks.8.hook_resid_pre"]) == [Target(RELEASE, "blocks.8.hook_resid_pre")]
    both = [Target(RELEASE, f"blocks.{layer}.hook_resid_pre") for layer in (4, 8)]
    assert find_targets([RELEASE, r"blocks\.(4|8)\..*"]) == both
    several = find_targets(["gpt2-small-(res-jb|hook-z-kk)", r"blocks\.8\..*"])
    assert {target.release for target in several} == {RELEASE, "gpt2-small-hook-z-kk"}
    from sae_lens.evals import get_saes_from_regex

    ours = find_targets(["gpt2-small.*", ".*pre.*"])
    assert {(target.release, target.sae_id) for target in ours} >= {sae[:2] for sae in get_saes_from_regex("gpt2-small.*", ".*pre.*")}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gpt2-small-resjb", ".*"], "gpt2-small-res-jb"),
        ([RELEASE, r"block\.8.*"], "nearest names are blocks"),
        ([RELEASE, "*"], "neither a name nor a regular expression"),
        (["gpt2-small-.*", "nothing"], "releases that match have no SAE 'nothing'"),
        (["a", "b", "c"], "3 names were given"),
        ([RELEASE], "'.*' for all"),
    ],
)
def test_what_nothing_matches(words, said):
    with pytest.raises(SubjectError) as error:
        find_targets(words)
    assert said in str(error.value)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Three SAEs at two hooks below one folder."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for number in range(3):
        hook = HOOK if number < 2 else "blocks.2.hook_resid_post"
        training_sae("standard", seed=number, hook=hook).save_inference_model(folder / "run" / str(number))
    (folder / "empty").mkdir()
    return folder


def test_folders_and_lists(checkpoints, caplog, tmp_path):
    run = checkpoints / "run"
    targets = [Target(str(run / str(number))) for number in range(3)]
    with caplog.at_level(logging.INFO, "sae_lens_metrics"):
        assert find_targets([str(checkpoints)]) == targets
    assert f"3 SAEs below {checkpoints}" in caplog.text
    assert find_targets([str(run / "1"), str(run)]) == [targets[1], targets[0], targets[2]]
    listed = tmp_path / "list.txt"
    listed.write_text(f"# SAEs\n{run / '2'}  # the last\n\n{RELEASE} blocks\\.(4|8)\\..*\n{run / '2'}\n")
    flags = evaluate_options(["--list", str(listed), "--context-size", "32"])[0]
    assert [target.name for target in read_list(listed, flags)] == [
        str(run / "2"),
        f"{RELEASE}/blocks.4.hook_resid_pre",
        f"{RELEASE}/blocks.8.hook_resid_pre",
    ]
    for text, said in [
        (f"{RELEASE} nothing\n", "line 1"),
        ("# none\n", "names no SAE"),
        (f"{checkpoints / 'empty'}\n", "no SAE in"),
        (f"{run / '2'} --modle {TINY_LM}\n", "line 1 of .* no flag --modle: did you mean --model"),
        (f"{run / '2'} --model-class Gpt\n", "--model-class takes HookedTransformer, .* not Gpt"),
        (f"{run / '2'} --model-kwargs use_cache\n", "KEY=VALUE"),
        (f"{run / '2'} 'a\n", "No closing quotation"),
    ]:
        listed.write_text(text)
        with pytest.raises(SubjectError, match=said):
            read_list(listed, flags)


def test_each_line_of_a_list_may_say_more_of_its_own(checkpoints, tmp_path):
    run, listed = checkpoints / "run", tmp_path / "list.txt"
    more = '--model-class AutoModelForCausalLM --model-dtype bfloat16 --device-map \'{"": "cpu"}\' --model-kwargs use_cache=false'
    listed.write_text(f"{run / '0'} --model {TINY_LM} {more} --no-prepend-bos  # as trained\n{run / '1'}\n{RELEASE} blocks\\.(4|8)\\..*\n")
    flags = evaluate_options(["--list", str(listed), "--model", "gpt2", "--model-from-pretrained-kwargs", "revision=main"])[0]
    first, second, *others = read_list(listed, flags).values()
    assert first == Overrides(
        model=str(TINY_LM),
        model_class="AutoModelForCausalLM",
        model_dtype="bfloat16",
        device_map={"": "cpu"},
        model_kwargs={"use_cache": False},
        model_from_pretrained_kwargs={"revision": "main"},
        prepend_bos=False,
    )
    assert [second, *others] == [Overrides(model="gpt2", model_from_pretrained_kwargs={"revision": "main"})] * 3


def test_names_are_counted_before_anything_is_loaded(checkpoints, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sae_lens_metrics.evaluation.sweep.sweep", lambda *_, **__: pytest.fail("it began"))
    status = main(["evaluate", str(checkpoints), "--names", "one,two", "--output", str(tmp_path / "out")])
    assert status == 2
    assert "--names gives 2 names for 3 SAEs: 0, 1, 2" in capsys.readouterr().err


# --- in one process ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def command(checkpoints, folder, tmp_path):
    def build(*targets, output="out", metrics="shrinkage"):
        options = ["--model", TINY_LM, "--dataset", folder / "texts.jsonl", "--output", tmp_path / output, *LITTLE, "--metrics", metrics]
        return [str(part) for part in ("evaluate", *(targets or [checkpoints]), *options)]

    return build


def settings(folder, **changes):
    config = MetricsConfig(names=["shrinkage"], tokens=512, shrinkage=ShrinkageConfig(tokens=512), dataset=str(folder / "texts.jsonl"))
    for name, value in changes.items():
        setattr(config, name, value)
    return config


def test_one_failing_sae_among_good_ones(command, checkpoints, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    weights = checkpoints / "run" / "1" / "sae_weights.safetensors"
    whole = weights.read_bytes()
    try:
        weights.write_bytes(whole[:500])
        assert main(command()) == 3
        last = capsys.readouterr().err.strip().splitlines()[-1]
        assert last.startswith("sae-lens-metrics: 1 of 3 failed")
        assert last.endswith(str(checkpoints / "run" / "1"))
        assert list(json.loads((tmp_path / "out" / "errors.json").read_text())) == [str(checkpoints / "run" / "1")]
        before = {name: path.read_bytes() for name, path in results(tmp_path / "out").items()}
        assert len(before) == 2
    finally:
        weights.write_bytes(whole)
    assert main(command()) == 0
    assert not (tmp_path / "out" / "errors.json").exists()
    after = {name: path.read_bytes() for name, path in results(tmp_path / "out").items()}
    assert len(after) == 3
    assert before.items() <= after.items()
    printed = capsys.readouterr().out
    assert "shrinkage/ratio" in printed  # side by side


def test_a_failing_metric_costs_the_others_nothing(command, tmp_path, metric):
    attempts = []

    def broken(context):
        attempts.append(context.subject.hook_name)
        raise RuntimeError("out of luck")

    metric("broken", broken)
    for _ in range(2):  # what failed is tried again
        assert main(command(metrics="broken,shrinkage")) == 3
    assert len(attempts) == 6
    assert all("shrinkage" in Report.load(path).metrics for path in results(tmp_path / "out").values())
    errors = json.loads((tmp_path / "out" / "errors.json").read_text())
    assert set(errors.values()) == {"broken: RuntimeError: out of luck"}


def test_a_damaged_result_is_named_kept_aside_and_made_again(command, tmp_path, caplog):
    assert main(command()) == 0
    first = contents(tmp_path / "out")
    name, path = next(iter(results(tmp_path / "out").items()))
    damaged = path.read_bytes().replace(b'"seconds": ', b'"seconds": -')
    path.write_bytes(damaged)
    assert main(command()) == 0
    assert contents(tmp_path / "out") == first
    assert path.with_name(f"{name}.damaged").read_bytes() == damaged
    (said,) = (record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert f"{path}: this result is damaged, sanity.seconds: found -" in said
    assert f"kept as {name}.damaged" in said
    assert main(["report", str(tmp_path / "out"), "-o", str(tmp_path / "page.html")]) == 0


def test_memory_without_end_is_refused_before_anything_is_loaded(command, tmp_path, capsys):
    assert main([*command(), "--memory-gb", "inf"]) == 2
    assert "memory_gb is inf, expected a finite number" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_interrupt_ends_the_sweep(command, tmp_path, metric):
    def interrupted(context):
        raise KeyboardInterrupt

    metric("interrupted", interrupted)
    with pytest.raises(KeyboardInterrupt):
        main(command(metrics="interrupted"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".sweep"]
    assert not list((tmp_path / "out" / ".sweep").glob("*.lease"))


def test_overwrite_evaluates_again(command, tmp_path):
    assert main(command()) == 0
    before = {name: path.stat().st_mtime_ns for name, path in results(tmp_path / "out").items()}
    assert main(command()) == 0
    assert before == {name: path.stat().st_mtime_ns for name, path in results(tmp_path / "out").items()}
    assert main([*command(), "--overwrite"]) == 0
    after = {name: path.stat().st_mtime_ns for name, path in results(tmp_path / "out").items()}
    assert set(after) == set(before)
    assert all(after[name] > before[name] for name in before)


def test_the_model_and_the_text_are_shared(checkpoints, folder, tmp_path, monkeypatch):
    from sae_lens_metrics.evaluation import shared_loads as module

    loads, draws, runs = [], [], []
    load, draw, keep = module.load_spec, module.Corpus.from_dataset, SharedPrefixes.prefix
    monkeypatch.setattr(module, "load_spec", lambda *args: loads.append(args) or load(*args))
    monkeypatch.setattr(module.Corpus, "from_dataset", lambda *args, **options: draws.append(args) or draw(*args, **options))
    monkeypatch.setattr(SharedPrefixes, "prefix", lambda self, tokens, run: keep(self, tokens, lambda t: runs.append(1) or run(t)))
    targets, overrides = find_targets([str(checkpoints)]), Overrides(model=str(TINY_LM), device="cpu")
    shared = sweep(targets[::2] + targets[1::2], settings(folder), tmp_path / "shared", overrides=overrides)
    assert (len(loads), len(draws)) == (1, 1)
    once = len(runs)
    assert once == 1  # both metrics of both SAEs at that hook
    assert list(shared.reports) == [targets[i].name for i in (0, 1, 2)]  # those at one hook come one after the other
    apart = sweep(targets, settings(folder, memory_gb=1e-9), tmp_path / "apart", overrides=overrides)
    assert len(runs) - once == 4
    assert {name: report.flat() for name, report in shared.reports.items()} == {name: r.flat() for name, r in apart.reports.items()}


def test_shared_prefixes_keep_to_their_limit():
    runs, asked = SharedPrefixes(limit=3_000), []

    def run(tokens):
        asked.append(tokens)
        return Prefix(tokens, torch.zeros(*tokens.shape, 16))

    for tokens in (torch.zeros(1, 32), torch.ones(1, 32), torch.zeros(1, 32), torch.ones(1, 32)):
        runs.prefix(tokens.long(), run)
    assert len(asked) == 3  # 64 bytes a token: the second does not fit
    assert 2_048 <= runs.bytes <= 3_000


def test_a_data_set_that_is_not_there_ends_the_sweep_at_once(checkpoints, folder, tmp_path):
    with pytest.raises(CorpusError, match="nowhere"):
        sweep(find_targets([str(checkpoints)]), settings(folder, dataset="nowhere.jsonl"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_model_that_cannot_be_loaded_is_tried_once(checkpoints, folder, tmp_path, monkeypatch):
    from sae_lens_metrics.evaluation import shared_loads as module

    tried = []
    load = module.load_spec
    monkeypatch.setattr(module, "load_spec", lambda *args: tried.append(args) or load(*args))
    found = sweep(find_targets([str(checkpoints)]), settings(folder), tmp_path, overrides=Overrides(model="gpt2-smal"))
    assert len(tried) == 1
    assert len(found.errors) == 3
    assert all("gpt2-small" in error for error in found.errors.values())


def test_a_task_file_is_part_of_the_name(command, tmp_path):
    table = tmp_path / "own.csv"
    for word in ("alpha", "beta"):
        table.write_text("text,label\n" + "".join(f"{word} {i} {'yes' if i % 2 else 'no'},{i % 2}\n" for i in range(40)))
        more = ["--task-file", str(table), "--tasks", "base64", "--probe.examples", "20"]
        assert main([*command(metrics="probe"), *more]) == 0
    assert len(results(tmp_path / "out")) == 6


def test_a_wandb_run_for_each(command, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    assert main([*command(), "--wandb-project", "tests"]) == 0
    import wandb

    wandb.teardown()
    assert len(list(tmp_path.rglob("offline-run-*/run-*.wandb"))) == 3


def test_few_stand_side_by_side_and_many_below_each_other(command, monkeypatch, capsys):
    for columns, said in (("140", [" 2 ", "shrinkage/gamma", "warning, "]), ("80", [" 2 ", "loss", "recovered"])):
        monkeypatch.setenv("COLUMNS", columns)
        assert main(command()) == 0
        printed = capsys.readouterr().out
        assert ("shrinkage/gamma" in printed) == (columns == "140")
        assert all(text in printed for text in said)
        table, folder, page = printed.splitlines()[:-2], *printed.splitlines()[-2:]
        assert all(len(line) <= int(columns) for line in table)
        assert "summary.csv" in folder
        assert page.startswith("report: ")


def test_nothing_to_evaluate(capsys):
    with pytest.raises(SystemExit) as status:
        main(["evaluate", "--tokens", "512"])
    assert status.value.code == 2
    assert "--list FILE" in capsys.readouterr().err


@pytest.mark.parametrize(("seconds", "said"), [(3, "less than a minute"), (710, "about 12 minutes"), (9_000, "about 2.5 hours")])
def test_the_time_that_is_left(seconds, said):
    assert time_in_words(seconds) == said


def test_a_valid_file_has_no_fault(tmp_path):
    (tmp_path / "good").write_bytes(save(sae_weights()))
    assert weights_fault(tmp_path / "good") is None


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_saes(tmp_path, folder):
    """Twenty SAEs of 4.2 MB each: over the last eleven of them, resident memory grows by less than three."""
    sae = training_sae("standard")
    state = {name: value.clone() for name, value in sae.state_dict().items()}
    sae.save_inference_model(tmp_path / "sae0")
    cfg = json.loads((tmp_path / "sae0" / "cfg.json").read_text()) | {"d_sae": 4096}
    repeats = -(-4096 // D_SAE)
    for number in range(20):
        target = tmp_path / f"sae{number}"
        target.mkdir(exist_ok=True)
        (target / "cfg.json").write_text(json.dumps(cfg))
        weights = {
            "W_enc": state["W_enc"].repeat(1, repeats)[:, :4096].roll(number, 1).contiguous(),
            "b_enc": state["b_enc"].repeat(repeats)[:4096].contiguous() - 4,
            "W_dec": state["W_dec"].repeat(repeats, 1)[:4096].contiguous(),
            "b_dec": state["b_dec"],
        }
        (target / "sae_weights.safetensors").write_bytes(save(weights))
    del sae, state, weights

    resident = []

    class Meter(logging.Handler):
        def emit(self, record):
            if re.match(r"\d+ of 20", record.getMessage()):
                with open("/proc/self/statm") as file:
                    resident.append(int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE"))

    logger, meter = logging.getLogger("sae_lens_metrics"), Meter()
    level = logger.level
    logger.addHandler(meter)
    logger.setLevel(logging.INFO)
    try:
        overrides = Overrides(model=str(TINY_LM), device="cpu")
        found = sweep(find_targets([str(tmp_path)]), settings(folder), tmp_path / "out", overrides=overrides)
    finally:
        logger.removeHandler(meter)
        logger.setLevel(level)
    assert len(found.reports) == 20, found.errors
    assert len(resident) == 20
    results_kept = [result for report in found.reports.values() for _, result in report.results()]
    assert not any(result.tables or result.histograms for result in results_kept)
    # the allocator gives memory back at times of its own, so that single figures go up and down by more than an SAE
    assert min(resident[-6:]) - min(resident[3:9]) < 12.6e6, [round(value / 1e6) for value in resident]
