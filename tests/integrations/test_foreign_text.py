"""What names and messages of anybody do to a terminal: nothing, they are shown as text."""

import ast
import io
import logging
from pathlib import Path

import pytest
from rich.console import Console

import sae_lens_metrics
from sae_lens_metrics import Estimate, MetricResult, Report
from sae_lens_metrics.cli.main import main
from sae_lens_metrics.integrations.progress import progress, stage
from sae_lens_metrics.integrations.terminal import PrintableFormatter, complain, say
from sae_lens_metrics.views.terminal import print_reports, print_sweep

PACKAGE = Path(sae_lens_metrics.__file__).parent
HOSTILE = "\x1b[31mred\x07\r\u202e[bold]\udc80\x9b2J"
AS_TEXT = r"\x1b[31mred\x07\r\u202e[bold]\udc80\x9b2J"
ALLOWED = {
    "print": {"integrations/terminal.py", "cli/schema.py", "cli/program.py"},  # the latter two print our own text only
    "rich.markup": {"views/plain_text.py"},
    "stderr.write": {"cli/main.py"},  # a mistake in two lines, which `two_lines` makes printable
}


def uses(path):
    """What a file uses of what prints foreign text as it is."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield "print"
        if isinstance(node, ast.ImportFrom) and node.module == "rich.markup":
            yield "rich.markup"
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("stderr.write", "stdout.write")):
            yield "stderr.write"


def test_everything_goes_through_one_place():
    found = {(use, path.relative_to(PACKAGE).as_posix()) for path in PACKAGE.rglob("*.py") for use in uses(path)}
    assert {(use, path) for use, path in found if path not in ALLOWED[use]} == set()


def shown(text):
    assert all(character.isprintable() or character == "\n" for character in text), repr(text)
    return text


def test_lines(capsys):
    say(f"one\ntwo {HOSTILE}")
    complain(HOSTILE)
    printed = capsys.readouterr()
    assert shown(printed.out) == f"one\ntwo {AS_TEXT}\n"
    assert shown(printed.err) == f"{AS_TEXT}\n"


def test_log_records():
    record = logging.LogRecord("sae_lens_metrics", logging.INFO, "", 0, "%s\nfailed: %s", (HOSTILE, HOSTILE), None)
    assert shown(PrintableFormatter("%(message)s").format(record)) == f"{AS_TEXT}\nfailed: {AS_TEXT}"


def test_bars():
    with stage(HOSTILE), progress(HOSTILE, unit="token") as bar:
        assert bar.desc == f"{AS_TEXT}, {AS_TEXT}"


@pytest.mark.parametrize("many", [False, True])
def test_tables(many):
    console = Console(file=io.StringIO(), width=500)
    result = MetricResult({"ratio": Estimate.absent(HOSTILE, of="tokens"), HOSTILE: Estimate(1.0, 0.1, 3, HOSTILE)})
    report = Report(MetricResult({}), {"shrinkage": result, HOSTILE: result}, warnings=[HOSTILE], errors={HOSTILE: HOSTILE})
    if many:
        print_sweep({HOSTILE: HOSTILE, "b": "b"}, dict.fromkeys([HOSTILE, *"bcdef"][:1], report), {HOSTILE: HOSTILE}, console)
    else:
        print_reports({HOSTILE: report}, console)
    assert AS_TEXT in shown(console.file.getvalue())


COMMANDS = [
    ["evaluate", HOSTILE],
    ["evaluate", HOSTILE, HOSTILE],
    ["evaluate", "gpt2-small-res-jb", HOSTILE],
    ["evaluate", "x", f"--{HOSTILE}"],
    ["evaluate", "x", "--tokens", HOSTILE],
    ["evaluate", "x", "--metrics", HOSTILE],
    ["compare", HOSTILE, HOSTILE],
    ["report", HOSTILE],
    ["tasks", "--task-file", HOSTILE],
    ["tasks", "--show", HOSTILE],
    ["explain", HOSTILE],
    [HOSTILE],
]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands(command, capsys):
    status = 0
    try:
        status = main(command)
    except SystemExit as stopped:
        status = stopped.code
    assert status == 2
    printed = capsys.readouterr()
    assert r"\x1b[31m" in shown(printed.err)
    assert len(printed.err.splitlines()) <= 3
    shown(printed.out)
