"""Every flag of every command with every kind of value, given to the command line in process, whose real work is left out."""

import contextlib
import inspect
import io
import re
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path

import pytest
from figure_reports import report

from sae_lens_metrics.cli.main import COMMANDS, main

KINDS = {
    "absent": [],
    "empty": ["", " "],
    "negative": ["-1", "-0.5", "-1e-300"],
    "zero": ["0", "0.0", "-0"],
    "huge": ["1" + "0" * 18, "9" * 30, "9" * 5000, "1e308", "x" * 5000],
    "nan": ["nan", "NaN", "-nan"],
    "inf": ["inf", "-inf", "1e999"],
    "wrong type": [
        "x",
        "1.5",
        "true",
        "[1, 2]",
        "{}",
        "null",
        "a,b,,",
        "a=b",
        "=",
        "/",
        "..",
        "--",
        "\x1b[31m",
        "\udc80",
        "日本",
        "%s",
        "0x1",
    ],
}
"""Values by kind; ``repeated`` gives a flag twice, with two of them."""
KINDS_OF_USE = [*KINDS, "repeated"]
_SAES = [str(files("sae_lens_metrics.demo") / "saes" / name) for name in ("TopK", "L1")]
_TINY_LM = str(files("sae_lens_metrics.demo") / "tiny_lm")
_BEGINNINGS = {
    "evaluate": [*_SAES, "--model", _TINY_LM],
    "audit": [*_SAES, "--model", _TINY_LM],
    "train": ["--architecture", "topk", "--k", "8", "--d_in", "64", "--d_sae", "128", "--log_to_wandb", "False", "--verbose", "False"],
    "compare": ["A.json", "B.json", "--no-report"],
    "report": ["A.json"],
    "publish": ["A.json", "--to", "alice/results"],
    "dashboard": ["--entity", "e", "--project", "p"],
    "explain": ["probe"],
}
_WORK = (
    "evaluation.sweep.sweep",
    "evaluation.one_sae.evaluate_target",
    "evaluation.reseeding.reseed",
    "demo.run.run_demo",
    "benchmark.bench.run_measurements",
    "training.attach.MetricsTrainingRunner",
    "views.page.write_saved",
    "publishing.login",
    "views.wandb.workspace.save_dashboard",
)
"""What takes long or needs a network: a command that comes to it has accepted what it was given."""


class Reached(BaseException):
    """A command has begun its work."""


@dataclass(frozen=True)
class Outcome:
    """What came of a command."""

    status: int | None
    """``None`` if it would have begun to work."""
    said: str
    """What it wrote to standard error."""

    def defect(self):
        """What is against the contract; empty if nothing is."""
        lines = self.said.splitlines()
        if self.status not in (None, 0, 2):
            return f"status {self.status}"
        if "Traceback" in self.said or "should not happen" in self.said:
            return "an error that should not happen"
        if self.status == 2 and not 1 <= len(lines) <= 3:
            return f"{len(lines)} lines"
        return "a line of more than 1000 characters" if max(map(len, lines), default=0) > 1000 else ""


@contextlib.contextmanager
def command_line(folder):
    """Runs commands in a folder with two results; gives a function that takes arguments and returns the outcome."""
    for name in "AB":
        report().save(Path(folder) / f"{name}.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("WANDB_MODE", "disabled")
        patch.setattr("tempfile.tempdir", str(folder))
        # most of the time goes into reading the same files again
        patch.setattr("sae_lens_metrics.metrics.registry.entry_points", cache(entry_points))
        patch.setattr("inspect.findsource", _remembering(inspect.findsource))
        for name in _WORK:
            patch.setattr(f"sae_lens_metrics.{name}", _reached)
        yield run


def run(arguments):
    """Runs one command."""
    printed, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
        try:
            status = main(arguments)
        except SystemExit as ended:
            status = ended.code
        except Reached:
            status = None
    return Outcome(status, said.getvalue())


def all_flags(*, saelens=True):
    """The flags by command that its ``--help`` lists, in every spelling, without those of help itself.

    Args:
        saelens: Whether SAELens's own are among them, which the command that trains takes.
    """
    helps = {command: [_help(command, "--help")] for command in COMMANDS}
    if saelens:
        helps["train"].append(_help("train", "--help-saelens"))
    return {command: _listed("\n".join(texts)) for command, texts in helps.items()}


def _help(command, flag):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main([command, flag])
    return printed.getvalue()


def _listed(text):
    """The flags in a page of help, which are at the beginning of lines."""
    lines = "\n".join(line for line in text.splitlines() if line.startswith("  -"))
    found = re.findall(r"(?<![\w-])(--?[A-Za-z][\w.-]*)", lines)
    return [flag for flag in dict.fromkeys(found) if flag not in ("-h", "--help", "--help-saelens")]


def arguments_of(command, flag, kind, rng):
    """A command with one flag used in one way.

    Args:
        command: Its name.
        flag: One of its flags; empty for its arguments without one.
        kind: One of ``KINDS_OF_USE``.
        rng: A ``random.Random``.
    """
    values = [rng.choice(KINDS[kind])] if kind not in ("absent", "repeated") else []
    if kind == "repeated":
        values = [rng.choice([value for each in KINDS.values() for value in each]) for _ in range(2)]
    used = [part for value in values for part in ([f"{flag}={value}"] if flag and rng.random() < 0.3 else filter(None, [flag, value]))]
    beginning = _BEGINNINGS.get(command, [])
    return [command, *(beginning if rng.random() < 0.9 else []), *(used or [flag])]


def _remembering(find):
    """The same function of a class or function, which also remembers that it found nothing."""
    known = {}

    def remembering(thing):
        key = getattr(thing, "__module__", None), getattr(thing, "__qualname__", thing)
        if key not in known:
            try:
                known[key] = find(thing)
            except (OSError, TypeError) as error:
                known[key] = error
        if isinstance(known[key], Exception):
            raise known[key]
        return known[key]

    return remembering


def _reached(*args, **kwargs):
    raise Reached
