"""Mistakes on the command line: two lines, with the nearest right thing, before anything heavy is imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from sae_lens_metrics.cli.main import COMMANDS, main
from sae_lens_metrics.cli.mistakes import did_you_mean, nearest

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "sae_lens", "transformer_lens", "transformers", "pandas", "numpy", "scipy", "datasets", "wandb", "matplotlib"}
WRONG_FLAGS = {
    "demo": ("--quik", "--quick"),
    "evaluate": ("--datset", "--dataset"),
    "train": ("--metrics.tokns", "--metrics.tokens"),
    "compare": ("--aplha", "--alpha"),
    "audit": ("--disjont", "--disjoint"),
    "report": ("--titel", "--title"),
    "dashboard": ("--entty", "--entity"),
    "tasks": ("--sohw", "--show"),
    "explain": ("--hlp", "--help"),
    "schema": ("--hlp", "--help"),
}


def answer(arguments, capsys):
    """The two lines that mistaken arguments are answered with."""
    try:
        status = main(arguments)
    except SystemExit as stopped:
        status = stopped.code
    printed = capsys.readouterr()
    assert (status, printed.out) == (2, "")
    lines = printed.err.splitlines()
    assert len(lines) == 2, printed.err
    return lines


@pytest.mark.parametrize("command", WRONG_FLAGS)
def test_a_wrong_flag_is_answered_with_the_nearest_right_one(command, capsys):
    wrong, right = WRONG_FLAGS[command]
    assert answer([command, wrong, "x"], capsys) == [
        f"sae-lens-metrics {command}: there is no flag {wrong}: did you mean {right}?",
        f"sae-lens-metrics {command} --help lists all {'metrics' if command == 'explain' else 'flags'}",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("evaluate a b --tokens many", "--tokens takes a whole number, not 'many'"),
        ("evaluate a b --probe.max_tokens=x", "--probe.max_tokens takes a whole number, not 'x'"),
        ("evaluate a b --probe.max_tokns 5", "there is no flag --probe.max_tokns: did you mean --probe.max_tokens?"),
        ("evaluate a b --probe.max-tokns 5", "there is no flag --probe.max-tokns: did you mean --probe.max-tokens?"),
        ("evaluate a b --pooling mean", "there is no flag --pooling: did you mean --probe.pooling?"),
        ("evaluate a b --datset=x --tokens many", "there is no flag --datset: did you mean --dataset?"),
        ("evaluate a b --qqqqqqq", "there is no flag --qqqqqqq"),
        ("evaluate a b -q", "there is no flag -q"),
        ("evaluate a b --memory_gb q", "--memory_gb takes a number, not 'q'"),
        ("evaluate a b --probe.strict perhaps", "--probe.strict takes true or false, not 'perhaps'"),
        ("evaluate a b --preset papr", "--preset takes train, default or paper, not papr: did you mean paper?"),
        ("evaluate a b --n2g.variant stict", "--n2g.variant takes released or strict, not stict: did you mean strict?"),
        ("evaluate a b --special-tokens 5,x", "--special-tokens: '5,x' is no list of token ids, such as 0,50256"),
        ("evaluate a b --output", "--output takes a value, but none is given"),
        ("evaluate --tokens 512", "nothing to evaluate: give RELEASE SAE_ID, folders, or --list FILE"),
        ("evaluate a b --metrics probes", "there is no metric 'probes': did you mean probe?"),
        ("compare", "RESULT is missing"),
        ("dashboard --name x", "--entity and --project are missing"),
        ("dashboard --projct x", "there is no flag --projct: did you mean --project?"),
        ("report a -f", "there is no flag -f"),
        ("tasks news", "news is more than it takes"),
        ("train --metrics.preset fast --d_in 5", "--metrics.preset takes train, default or paper, not fast"),
        ("train --metrics probes --d_in 5", "there is no metric 'probes': did you mean probe?"),
    ],
)
def test_each_mistake_in_words(arguments, said, capsys):
    command = arguments.split()[0]
    first, second = answer(arguments.split(), capsys)
    assert first == f"sae-lens-metrics {command}: {said}"
    assert second == f"sae-lens-metrics {command} --help lists all flags"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["evalute"], "there is no command evalute: did you mean evaluate?"),
        (["qqqqqqq"], "there is no command qqqqqqq"),
        (["--hlp"], "there is no flag before the command --hlp: did you mean --help?"),
        ([], "a command is missing, such as evaluate or demo"),
    ],
)
def test_a_wrong_command(arguments, said, capsys):
    assert answer(arguments, capsys) == [f"sae-lens-metrics: {said}", "sae-lens-metrics --help lists all commands"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("--d_ni 5", "neither metrics nor SAELens have a flag --d_ni: did you mean --d_in?"),
        ("--d_in five", "--d_in takes a whole number, not 'five'"),
        (
            "--d_in 5 --d_sae 8 --normalize_activations laier_norm",
            "--normalize_activations takes none, expected_average_only_in, layer_norm or covariance_whitening, not laier_norm: "
            "did you mean layer_norm?",
        ),
        ("--metric.tokens 5", "neither metrics nor SAELens have a flag --metric.tokens: did you mean --metrics.tokens?"),
    ],
)
def test_mistakes_in_saelenss_own_flags(given, said, capsys):
    first, second = answer(["train", *given.split()], capsys)
    assert first == f"sae-lens-metrics train: {said}"
    assert second == "sae-lens-metrics train --help lists all flags"


def test_a_value_may_look_like_a_negative_number(capsys):
    first, _ = answer(["evaluate", "a", "b", "--memory_gb", "-1", "--probe.max_tokens", "x"], capsys)
    assert "--probe.max_tokens takes a whole number" in first


def test_what_is_near():
    assert nearest("--shown", ["--n2g.shown", "--shoe", "--ablation.shown"]) == ["--n2g.shown", "--ablation.shown"]
    assert nearest("probe/los", ["probe/loss", "n2g/f1"]) == ["probe/loss"]
    assert did_you_mean("zzz", ["probe"]) == ""


# --- what a start imports, in a process of its own -------------------------------------------------------------------------------

PROGRAM = """
import sys
from sae_lens_metrics.cli.main import main
try:
    status = main(sys.argv[1:])
except SystemExit as stopped:
    status = stopped.code
print("imported:", *sys.modules)
raise SystemExit(status)
"""


def start(arguments, status):
    process = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, cwd=ROOT, check=False)
    assert process.returncode == status, process.stderr
    *_, last = process.stdout.splitlines()
    assert not HEAVY & set(last.removeprefix("imported:").split())
    return process


def test_importing_the_package_imports_nothing_heavy():
    program = "import sys, sae_lens_metrics; print(*sys.modules)"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True).stdout
    assert not (HEAVY | {"simple_parsing", "rich"}) & set(printed.split())


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_imports_nothing_heavy(command):
    assert "--help" in start([*([command] if command else []), "--help"], 0).stdout


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_a_wrong_flag_imports_nothing_heavy(command):
    flag = "--metrics.wrong" if command == "train" else "--wrong"
    assert len(start([*([command] if command else []), flag], 2).stderr.splitlines()) == 2


def test_the_package_is_a_program_too():
    command = [sys.executable, "-m", "sae_lens_metrics", "--help"]
    printed = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    for name, line in COMMANDS.items():
        assert f"{name:<10}  {line}" in printed
