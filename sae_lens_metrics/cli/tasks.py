"""The command ``sae-lens-metrics tasks``: which probe tasks there are, and examples of one."""

from collections.abc import Sequence
from itertools import islice

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sae_lens_metrics.cli.mistakes import CommandParser
from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.metrics.probe.tasks.catalogue import catalogue
from sae_lens_metrics.metrics.probe.tasks.generated import GENERATORS
from sae_lens_metrics.metrics.probe.tasks.sae_probes_files import missing_packages
from sae_lens_metrics.metrics.probe.tasks.selection import load_tasks, select_tasks
from sae_lens_metrics.metrics.probe.tasks.task import MIN_EXAMPLES, ProbeTask
from sae_lens_metrics.metrics.probe.tasks.user_files import load_task_file
from sae_lens_metrics.views.plain_text import plain

__all__ = ["run_tasks"]

_SHOWN, _LONGEST = 3, 400
_EVERYTHING = 10**9
_HEADINGS = ["task", "family", "examples", "source", "here", "positive, against negative"]
_DESCRIPTION = 40
"""Characters of a description that are worth showing."""
_NOTES = (
    'Options such as --tasks take names and families of tasks, and "all" (the paper\'s 61), "offline" (the 49 of them that need no '
    'network) or "generated".'
)


def run_tasks(arguments: Sequence[str], console: Console | None = None) -> None:
    """Runs the command.

    Args:
        arguments: Those after the command's name.
        console: Where to print; default the terminal.

    Raises:
        MetricsError: A task is unknown or cannot be loaded.
    """
    options = _parser().read(arguments)
    console = console or Console()
    if options.show is None:
        _print_list(console, [load_task_file(file, _EVERYTHING, seed=0) for file in options.task_file])
        return
    own = {task.name: task for task in (load_task_file(file, MIN_EXAMPLES, seed=0) for file in options.task_file)}
    _show(console, own[options.show] if options.show in own else _load(options.show))


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="sae-lens-metrics tasks",
        description="Lists the probe tasks, and which of them can be loaded here. " + _NOTES,
    )
    parser.add_argument("--show", metavar="NAME", help="print a few examples of one task instead")
    parser.add_argument(
        "--task-file",
        "--task_file",
        metavar="PATH",
        action="append",
        default=[],
        help="a task of your own: a .csv, .jsonl or .parquet file, or a data set folder, with the columns text and label (0 and 1; or two "
        "others, and PATH:POSITIVE) and maybe group; can be given several times",
    )
    return parser


def _load(name: str) -> ProbeTask:
    if select_tasks([name]) != [name]:
        raise ConfigError(f"{name} stands for several probe tasks: give the name of one, such as {select_tasks([name])[0]}")
    return load_tasks([name], n_examples=MIN_EXAMPLES, seed=0, strict=True).tasks[0]


def _print_list(console: Console, own: list[ProbeTask]) -> None:
    reason = missing_packages()
    rows = [_HEADINGS, *_catalogue_rows(reason is None), *_generated_rows(), *_own_rows(own)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADINGS))]
    widths[-1] = console.width - sum(widths[:-1]) - len(widths)  # the description gives way
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)  # as narrow as can be, for names to be whole on 80 columns
    for heading, width in zip(_HEADINGS, widths, strict=True):
        if width >= _DESCRIPTION or heading != _HEADINGS[-1]:
            table.add_column(heading, justify="right" if heading == "examples" else "left", no_wrap=True, width=width)
    for row in rows[1:]:
        table.add_row(*map(plain, row[: len(table.columns)]))
    console.print(table)
    console.print(plain(_NOTES))
    console.print("Tasks of the hub are streamed when they are asked for; one that cannot be reached is left out, with a warning.")
    if reason is not None:
        console.print(plain(f"Tasks of sae-probes are not here: {reason}"))


def _catalogue_rows(packages: bool) -> list[list[str]]:
    here = {"generated": "yes", "sae-probes": "yes" if packages else "no", "hub": "needs network"}
    return [
        [task.name, task.family, str(task.examples or "as asked"), task.kind, here[task.kind], task.description]
        for task in catalogue().values()
    ]


def _generated_rows() -> list[list[str]]:
    others = (task for task in GENERATORS.values() if task.name not in catalogue())
    return [[task.name, task.family, "as asked", "generated", "yes", task.description] for task in others]


def _own_rows(own: list[ProbeTask]) -> list[list[str]]:
    return [[task.name, task.family, str(len(task.texts)), "file", "yes", task.description] for task in own]


def _show(console: Console, task: ProbeTask) -> None:
    console.print(plain(task.name, "bold"), plain(f"({task.family}): {task.description}"))
    entry = catalogue().get(task.name)
    if entry is not None and entry.kind != "generated":
        console.print(plain(f"From {entry.kind}, {entry.source}; {entry.citation}; licence: {entry.licence}."))
    for label, heading in ((True, "positive"), (False, "negative")):
        console.print(Text(heading, style="green" if label else "red"))
        texts = (text for text, own in zip(task.texts, task.labels, strict=True) if own is label)
        for text in islice(texts, _SHOWN):
            console.print(plain(f"  {_end(text)}"), soft_wrap=True)


def _end(text: str) -> str:
    """The end of a text, which is what a probe reads."""
    return text if len(text) <= _LONGEST else f"…{text[-_LONGEST:]}"
