"""Interrupts commands at random moments, and counts what is half-written, lost, or other than without an interruption.

    python tests/fuzz/interruptions.py --each 20 [--seed 0] [--commands evaluate sweep train report folder compare] [--what kill disk ...]

Each command is run whole once; then, as often as asked for with each interruption, in a new folder: it is interrupted, what it leaves is
looked at, and it is started again, to the end. What interrupts: SIGINT, SIGTERM and SIGKILL at any moment and in the middle of a write; a
disk that fills, or becomes read-only, which takes the right to mount; a W&B that refuses everything, or whose every call raises.
"""

import argparse
import itertools
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from contextlib import redirect_stdout
from importlib.resources import files
from pathlib import Path

for variable, value in {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline", "WANDB_SILENT": "true", "OMP_NUM_THREADS": "1"}.items():
    os.environ[variable] = value
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import torch
from figure_reports import report
from interrupted import after_a_signal, announced, draw_moment, half_written, in_words, numbers, run, temporary

TINY_LM = str(files("sae_lens_metrics.demo") / "tiny_lm")
SAES = [str(files("sae_lens_metrics.demo") / "saes" / name) for name in ("TopK", "L1")]
SIGNALS = {"interrupted": signal.SIGINT, "terminated": signal.SIGTERM, "killed": signal.SIGKILL}
THEIRS = ("sae_weights", "cfg.json", "sparsity", "trainer_state", "activations_store", "runner_cfg", "activation_scaler")
"""Files that SAELens writes of a training run, in its own way."""
FIRST_CHECKPOINT = 1024
"""Samples at the first checkpoint of the runs here."""


class Command:
    """A command whose output is the folder that it is given."""

    statuses = (0, 2, 3)
    """How it may end with a disk or a W&B that does not work."""

    def __init__(self, inputs):
        self.inputs = inputs

    def action(self, folder):
        """What is run."""
        raise NotImplementedError

    def again(self, folder):
        """What goes on where it was."""
        return self.action(folder)

    def results(self, folder):
        """What must be the same in the end, by name."""
        raise NotImplementedError

    def finished(self, ended):
        """Names of results that are finished by what it has said; prefixes of file names."""
        return []


class Evaluate(Command):
    """Of one SAE, or of several."""

    def __init__(self, inputs, saes):
        super().__init__(inputs)
        self._saes = saes

    def action(self, folder, *more):
        from sae_lens_metrics.cli.evaluate import run_evaluate

        little = ["--tokens", "512", "--shrinkage.tokens", "256", "--metrics", "shrinkage", "--model", TINY_LM, "--device", "cpu"]
        return lambda: run_evaluate([*self._saes, *little, "--dataset", str(self.inputs / "texts.jsonl"), "--output", str(folder), *more])

    def results(self, folder):
        return {path.name: numbers(path) for path in folder.glob("[!.]*.json") if path.name != "errors.json"}

    def finished(self, ended):
        return [f"{Path(name).name}" for name in announced(ended.err)[:-1]]


class Train(Command):
    """With metrics and checkpoints; goes on from the last checkpoint that is whole."""

    def __init__(self, inputs, model, dataset):
        super().__init__(inputs)
        self._model, self._dataset, self._kept = model, dataset, []

    def action(self, folder, **changes):
        from runners import single_runner, small_metrics

        def work():
            from sae_lens_metrics.cli import train

            torch.manual_seed(7)
            metrics = small_metrics(names=["shrinkage"], tokens=256, checkpoints=True)
            changed = {"metrics": metrics, "n_checkpoints": 3, **changes}
            train.run_to_the_end(single_runner(folder, self._model, self._dataset, "topk", **changed))

        return work

    def again(self, folder):
        whole = [path.parent for path in folder.rglob("runner_cfg.json") if path.parent.name.isdecimal() and _loads(path.parent)]
        last = max(whole, key=lambda path: int(path.name), default=None)
        self._kept = [] if last is None else [line for line in _lines(folder) if line["n_training_samples"] <= int(last.name)]
        return self.action(folder, resume_from_checkpoint=None if last is None else str(last))

    def results(self, folder):
        lines = _lines(folder)
        lost = [line["step"] for line in self._kept if line not in lines]
        # what follows the first checkpoint is other after a resume, as SAELens counts steps and draws text in another way then
        first = {_without_times(line) for line in lines if line["n_training_samples"] <= FIRST_CHECKPOINT}
        end = (lines[-1]["n_training_samples"], lines[-1]["final"]) if lines else None
        return {"the end": end, "lines that were there": lost, "the first lines": first}


def _lines(folder):
    """Of the latest record; without a line that was cut off."""
    records = sorted(folder.rglob("metrics.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    text = records[-1].read_text() if records else ""
    return [json.loads(line) for line in text.split("\n")[:-1]]


def _without_times(line):
    return json.dumps({name: value for name, value in line.items() if "seconds" not in name})


def _loads(checkpoint):
    from safetensors.torch import load_file

    try:
        torch.load(checkpoint / "trainer_state.pt", weights_only=False)
        json.loads((checkpoint / "runner_cfg.json").read_text())
        return bool(load_file(checkpoint / "sae_weights.safetensors")) and bool(
            load_file(checkpoint / "activations_store_state.safetensors")
        )
    except Exception:  # whatever half a file raises
        return False


class Page(Command):
    """``report`` and ``compare``, of results that are there."""

    def __init__(self, inputs, command, *flags):
        super().__init__(inputs)
        self._command, self._flags = command, flags

    def action(self, folder):
        from importlib import import_module

        arguments = [*(str(self.inputs / f"{name}.json") for name in "AB"), *(flag.replace("OUT", str(folder)) for flag in self._flags)]
        return lambda: getattr(import_module(f"sae_lens_metrics.cli.{self._command}"), f"run_{self._command}")(arguments)

    def results(self, folder):
        """A page's data are in one of two folders in turn, which it names."""
        files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("[!.]*") if path.is_file()}
        return {name.replace("data-2/", "data/"): content.replace(b'"data-2"', b'"data"') for name, content in files.items()}


def commands(inputs):
    """All of them by name, each with what it reads."""
    from datasets import Dataset, disable_progress_bars

    from sae_lens_metrics.demo.shipped import load_tiny_lm
    from sae_lens_metrics.text.standard_library import standard_library_documents

    disable_progress_bars()
    texts = list(itertools.islice(standard_library_documents("train"), 150))
    texts = [text[:600] for text in texts]
    (inputs / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts[:40]))
    for seed, name in enumerate("AB"):
        report(seed).save(inputs / f"{name}.json")
    model, dataset = load_tiny_lm(), Dataset.from_dict({"text": texts})
    return {
        "evaluate": Evaluate(inputs, SAES[:1]),
        "sweep": Evaluate(inputs, SAES),
        "train": Train(inputs, model, dataset),
        "report": Page(inputs, "report", "-o", "OUT/page.html"),
        "folder": Page(inputs, "report", "--folder", "-o", "OUT"),
        "compare": Page(inputs, "compare", "--output", "OUT/table.json", "--report", "OUT/page.html"),
    }


# --- one interruption ---------------------------------------------------------------------------------------------------------


def whole(command, folder):
    """A run without interruption: how it ended, and its results."""
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        command.action(folder)()  # what it imports is imported once, and not by every process
    shutil.rmtree(folder)
    folder.mkdir()
    ended = run(command.action(folder), folder)
    assert ended.status == 0, ended.err[-2000:]
    return ended, command.results(folder)


def signalled(command, folder, rng, plain, expected, signum, counts):
    """A signal at a random moment; gives what is against the contract."""
    folder.mkdir()
    moment = draw_moment(rng, plain.seconds, plain.writes)
    ended = run(command.action(folder), folder, lambda pid: os.kill(pid, signum), moment)
    _count_moment(counts, moment, ended, folder)
    faults = [*after_a_signal(ended, signum), *_left(command, folder, ended)]
    if signum != signal.SIGKILL:
        faults += [f"left behind: {path.name}" for path in temporary(folder)]
    counts["results that were finished"] += len(command.finished(ended))
    return [f"{fault} ({moment})" for fault in [*faults, *_goes_on(command, folder, expected)]]


def _count_moment(counts, moment, ended, folder):
    counts["in a write" if moment.write is not None else "at any time"] += ended.happened
    counts["left in the middle of a write"] += bool(temporary(folder))
    counts["had ended before"] += not ended.happened


def _left(command, folder, ended):
    yield from (f"half-written: {each}" for each in _ours(half_written(folder)))
    there = [path.name for path in folder.rglob("*.json")]
    yield from (f"lost: {name}, of {there}" for name in command.finished(ended) if not any(name in each for each in there))


def _ours(faults):
    return [each for each in faults if not any(name in each for name in THEIRS)]


def _goes_on(command, folder, expected):
    """Started again it ends, with the same numbers, and makes nothing again that was there."""
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("[!.]*_*.json")}
    ended = run(command.again(folder), folder)
    if ended.status != 0:
        yield f"started again, status {ended.status}: {ended.err[-500:]}"
        return
    yield from (f"started again, half-written: {each}" for each in _ours(half_written(folder)))
    yield from (f"started again, {each}" for each in _differs(command, folder, expected))
    if len(kept) > 1 or (kept and len(expected) > 1):
        yield from (f"made again: {path.name}" for path, time_ns in kept.items() if path.stat().st_mtime_ns != time_ns)


def on_a_disk(command, folder, rng, plain, expected, becomes, counts):
    """A small disk that is full, or can only be read, from some moment on; then it is enlarged, or can be written."""
    folder.mkdir()
    full = becomes == "full"
    room = _size(command, folder.parent / "whole", rng) if full else 64
    _mount(folder, "-t", "tmpfs", "-o", f"size={room}k", "tmpfs")
    try:
        moment = draw_moment(rng, plain.seconds, plain.writes)
        ended = run(command.action(folder), folder) if full else run(command.action(folder), folder, lambda _: _read_only(folder), moment)
        counts["ended well" if ended.status == 0 else f"status {ended.status}"] += 1
        counts["results kept elsewhere"] += ended.err.count("the result is in '") or ended.out.count("the result is in '")
        faults = [*in_words(ended, command.statuses), *_left(command, folder, ended)]
        _mount(folder, "-o", "remount,rw,size=64m")
        return [*faults, *_goes_on(command, folder, expected)]
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _size(command, whole_folder, rng):
    """KiB that are less than what it writes."""
    most = sum(path.stat().st_size for path in whole_folder.rglob("*") if path.is_file()) // 1024
    return rng.choice([4, rng.randint(4, max(5, most)), int(most * rng.uniform(0.8, 1.1)) + 4])


def _read_only(folder):
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:  # a file that is open for writing keeps it
        if not subprocess.run(["mount", "-o", "remount,ro", str(folder)], capture_output=True, check=False).returncode:
            return


def _mount(folder, *options):
    subprocess.run(["mount", *options, str(folder)], check=True)


def without_wandb(command, folder, rng, plain, expected, how, counts):
    """A W&B of which something fails, whatever is called."""
    import wandb

    if not isinstance(command, Evaluate | Train):
        return []
    folder.mkdir()
    os.environ["WANDB_DIR"] = str(folder.parent)
    evaluates = isinstance(command, Evaluate)
    action = command.action(folder, "--wandb-project", "project") if evaluates else command.action(folder, wandb=True)

    def failing():
        def fail(*args, **kwargs):
            raise how_it_fails(how)

        calls = [(wandb.Table, "__init__"), (wandb.Image, "__init__"), (wandb.Html, "__init__")]
        if evaluates:  # in a training run SAELens makes the others, too, and ends if they fail
            calls += [(wandb.Run, name) for name in ("log_artifact", "log", "finish", "define_metric")]
            calls += [(wandb, "init"), (wandb.Histogram, "__init__")]
        for owner, name in rng.sample(calls, rng.randint(1, len(calls))):
            setattr(owner, name, fail)
        return action()

    ended = run(failing, folder)
    counts["ended well" if ended.status == 0 else f"status {ended.status}"] += 1
    counts["said so"] += "W&B" in ended.err
    return [*in_words(ended, (0,)), *_left(command, folder, ended), *_differs(command, folder, expected)]


def how_it_fails(how):
    """What W&B raises where its server refuses, its disk is full, or it has a fault."""
    import wandb

    return {
        "refuses": wandb.errors.CommError("permission denied"),
        "raises": RuntimeError("a fault\nof W&B's"),
        "disk": OSError(28, "full"),
    }[how]


def _differs(command, folder, expected):
    found = command.results(folder)
    for name in {*found, *expected}:
        one, other = found.get(name), expected.get(name)
        if one != other:
            yield f"other {name}: {str(one)[:300]}, expected {str(other)[:300]}"


KINDS = {
    **{name: (signalled, signum) for name, signum in SIGNALS.items()},
    "full": (on_a_disk, "full"),
    "read-only": (on_a_disk, "read-only"),
    **{f"wandb {how}": (without_wandb, how) for how in ("refuses", "raises", "disk")},
}


# --- all of them --------------------------------------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=20, help="how often each command meets each interruption")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", nargs="*", help="only these")
    parser.add_argument("--what", nargs="*", help=f"only these interruptions: {', '.join(KINDS)}")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.NOTSET)
    torch.set_num_threads(1)
    defects = 0
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HF_DATASETS_CACHE"], tempfile.tempdir = f"{folder}/cache", f"{folder}/temporary"
        for name in ("inputs", "temporary"):
            (Path(folder) / name).mkdir()
        made = commands(Path(folder) / "inputs")
        before = _contents(Path(folder) / "inputs")
        for name in options.commands or made:
            defects += _interrupt(name, made[name], Path(folder), options)
            assert _contents(Path(folder) / "inputs") == before, "an input was written over"
    print("defects:", defects)
    return 1 if defects else 0


def _interrupt(name, command, folder, options):
    plain, expected = whole(command, folder / "whole")
    print(f"{name}: {plain.seconds:.1f} s, {plain.writes} writes, {len(expected)} results", flush=True)
    defects, tried = 0, folder / "tried"
    for kind in options.what or KINDS:
        interrupt, how = KINDS[kind]
        counts, began = Counter(), time.monotonic()
        for number in range(options.each):
            rng = random.Random(f"{options.seed} {name} {kind} {number}")
            faults = interrupt(command, tried, rng, plain, expected, how, counts)
            for fault in faults[:3]:
                print(f"  DEFECT of {name}, {kind}, {number}: {fault}", flush=True)
            defects += bool(faults)
            counts["tried"] += 1
            shutil.rmtree(tried, ignore_errors=True)
        said = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        print(f"  {kind}: {said}; {time.monotonic() - began:.0f} s", flush=True)
    shutil.rmtree(folder / "whole")
    return defects


def _contents(folder):
    return {path: path.read_bytes() for path in folder.iterdir()}


if __name__ == "__main__":
    sys.exit(main())
