"""What was measured, as tables: on a terminal, and for a page in Markdown."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from sae_lens_metrics.views.plain_text import plain

__all__ = ["PRESETS", "in_words", "machine_in_words", "preset_rows", "print_bench", "rate_rows", "to_markdown"]

Result = Mapping[str, Any]
"""What ``BenchResult.to_dict`` gives, or was read from its file."""

PRESETS = "an evaluation takes, by `sae-lens-metrics bench`, with the preset"
"""Heading of the first column of ``preset_rows``."""
_RATES = ["what", "a second", "times", "as fast as", "share"]
_LIMITS = {"matrix products": "products", "memory bandwidth": "memory"}
_LEAST = 0.005


def machine_in_words(result: Result) -> str:
    """Which machine, and what its limits are."""
    machine = result["machine"]
    limits = f"{machine['products'] / 1e9:,.0f} GFLOP/s in matrix products, {machine['bandwidth'] / 1e9:,.0f} GB/s"
    return f"{machine['name']}: {limits} (float32, PyTorch {machine['torch']})"


def rate_rows(result: Result) -> list[list[str]]:
    """A row for each rate, below their headings."""
    return [_RATES, *(_rate_row(row) for row in result["rates"])]


def _rate_row(row: Mapping[str, Any]) -> list[str]:
    times = f"{row['times']:,.0f}" if row["times"] and row["times"] >= 10 else f"{row['times']:.1f}" if row["times"] else ""
    share = f"{row['share']:.0%}" if row["share"] >= _LEAST else "below 1%"
    return [f"{row['what']}, {row['unit']}", _round(row["rate"]), times, row["reference"], f"{share} {_LIMITS[row['limit']]}"]


def preset_rows(results: Iterable[Result]) -> list[list[str]]:
    """A row for each preset, below headings: a column for each machine and shape."""
    results = list(results)
    columns = {
        f"{row['shape']}, {row['d_sae']:,} latents, {result['machine']['name']}": (index, row["shape"])
        for index, result in enumerate(results)
        for row in result["presets"]
    }
    presets = {row["preset"]: row["tokens"] for row in results[0]["presets"]}
    minutes = {(row["preset"], index, row["shape"]): row["minutes"] for index, result in enumerate(results) for row in result["presets"]}
    rows = [
        [f"`{preset}` ({tokens:,} tokens)", *(in_words(60 * minutes[preset, index, shape]) for index, shape in columns.values())]
        for preset, tokens in presets.items()
    ]
    return [[PRESETS, *columns], *rows]


def in_words(seconds: float) -> str:
    """A time in the unit that it is best told in.

    Args:
        seconds: The time.
    """
    minutes = seconds / 60
    if minutes < 1:
        return f"{seconds:.0f} s" if seconds >= 0.5 else "<1 s"
    if minutes < 90:
        return f"{minutes:.0f} min"
    hours = minutes / 60
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"


def _round(rate: float) -> str:
    return f"{rate:,.0f}" if rate < 1e5 else f"{rate:.1e}" if rate >= 1e7 else f"{float(f'{rate:.3g}'):,.0f}"


def to_markdown(rows: list[list[str]]) -> str:
    """A table in Markdown."""
    heading, *rest = rows
    lines = [heading, ["---"] * len(heading), *rest]
    return "\n".join(f"| {' | '.join(line)} |".replace("| --- ", "|---").replace("|--- |", "|---|") for line in lines)


def print_bench(result: Result, console: Console) -> None:
    """Prints the machine, its rates, and minutes of presets."""
    console.print(plain(machine_in_words(result)))
    shape = result["shape"]
    console.print(plain(f"random weights: {shape['name']}'s shape, {shape['d_sae']:,} latents after layer {shape['layers_to_hook']}\n"))
    console.print(_table(rate_rows(result), right={1, 2}))
    console.print(
        plain("share: of what this machine does in matrix products, or of the bytes that it moves, by what each needs at least\n")
    )
    rows = [[cell.replace("`", "").removesuffix(f", {result['machine']['name']}") for cell in row] for row in preset_rows([result])]
    console.print(_table(rows, right={1, 2}))


def _table(rows: list[list[str]], right: set[int]) -> Table:
    heading, *rest = rows
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for index, cell in enumerate(heading):
        table.add_column(plain(cell), justify="right" if index in right else "left")
    for row in rest:
        table.add_row(*map(plain, row))
    return table
