"""Reports on the terminal."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sae_lens_metrics.results import Estimate, Report

__all__ = ["print_reports", "print_sweep"]

_EXPLAINING_WIDTH = 120

# what a reader wants to see of each metric, and what it means; everything else is in the result file
_SHOWN: dict[str, dict[str, str]] = {
    "sanity": {
        "l0": "active latents per token",
        "explained_variance": "of the activation, by the reconstruction",
        "dead_latents": "fraction that never fires on this text",
        "ce_clean": "next-token loss of the model, nats",
        "ce_reconstructed": "… with the reconstruction in place",
        "ce_zeroed": "… with zeros in place",
        "loss_recovered": "of the loss between zeros and clean, by the reconstruction",
    },
    "probe": {
        "loss": "best 1d probe on one latent, nats, mean over tasks",
        "held_out_loss": "… of the same latents on held-out text",
        "held_out_accuracy": "… their accuracy there",
        "channels_loss": "baseline: the activation's channels",
        "random_loss": "baseline: random directions",
        "loss_minus_channels": "paired difference over tasks; below 0: latents are better",
        "loss_minus_random": "… to random directions",
        "shuffled_loss": "baseline: shuffled labels, what luck gives",
    },
    "n2g": {
        "precision": "of an n-gram explanation: share of its predictions where the latent fires",
        "recall": "… share of the latent's activations that it predicts",
        "f1": "… harmonic mean, latent by latent",
        "f1_by_density": "… latents weighted by how often they fire",
        "explained": "latents explained, of those asked about",
        "dead": "… that never fire on this text",
        "rare": "… that fire too rarely to explain",
        "never_fired": "… of the explained, whose explanation never fires",
        "dense": "… that fire on more than 10 % of tokens",
    },
    "explanation": {
        "ce_clean": "next-token loss of the model on this text, nats",
        "ce_reconstruction": "… with the SAE's reconstruction in place",
        "ce_explanation": "… with the reconstruction from simulated latents",
        "ce_bigram": "… with the mean activation given two tokens",
        "ce_unigram": "… given one token",
        "ce_bias": "… with what no latent at all decodes to",
        "ce_zeroed": "… with zeros",
        "explanation_minus_bigram": "below 0: the explanations tell more than two tokens",
        "recovered_explanation": "of the loss between zeros and clean, by the explanations",
    },
    "ablation": {
        "sparsity": "of what subtracting a latent does to the logits of 16 tokens; lower is sparser",
        "sparsity_weighted": "… latents weighted by the size of their effect",
        "random_sparsity": "baseline: random directions, as long as what latents add",
        "channels_sparsity": "baseline: zeroing a channel at the position",
        "channels_lasting_sparsity": "baseline: zeroing a channel at all of the tokens",
        "sparsity_minus_random": "paired difference; below 0: latents are sparser",
        "sparsity_minus_channels": "… to channels at the position",
        "tokens_affected": "share of the tokens that an effect touches",
    },
    "shrinkage": {
        "ratio": "refined over raw latents; above 1: the SAE shrinks them",
        "mse_raw": "normalised squared error",
        "mse_refined": "… after refinement",
        "ce_added_raw": "loss added by the reconstruction, nats",
        "ce_added_refined": "… after refinement",
        "gamma": "below 1: the reconstruction is too short",
    },
}


_MAIN = ("sanity/l0", "sanity/explained_variance", "sanity/loss_recovered", "probe/held_out_loss", "n2g/f1")
_MAIN += ("explanation/recovered_explanation", "ablation/sparsity", "shrinkage/ratio")
"""What an overview of many SAEs shows."""
_SIDE_BY_SIDE, _LABEL_WIDTH, _VALUE_WIDTH, _LONGEST_LABEL = 4, 36, 20, 40
"""SAEs whose numbers are printed beside each other, and the characters that the columns then need."""


def print_sweep(names: Sequence[str], reports: Mapping[str, Report], errors: Mapping[str, str], console: Console | None = None) -> None:
    """Prints what is known about several SAEs: side by side where they are few, otherwise the main numbers, a row for each.

    Args:
        names: The SAEs.
        reports: The reports of those that were evaluated.
        errors: Why an SAE, or some of its metrics, failed.
        console: Where to print; default the terminal.
    """
    console = console or Console()
    labels = _labels(names)
    width = _LABEL_WIDTH + sum(3 + max(_VALUE_WIDTH, len(labels[name])) for name in reports)
    if len(reports) <= _SIDE_BY_SIDE and width <= console.width:
        print_reports({labels[name]: reports[name] for name in names if name in reports}, console)
    elif reports:
        _print_overview({labels[name]: reports[name] for name in names if name in reports}, console)
    for name in (name for name in names if name in errors):
        console.print(f"[red]failed[/], {escape(name)}: {escape(errors[name])}", highlight=False)


def _print_overview(reports: Mapping[str, Report], console: Console) -> None:
    """The main numbers of many reports, and how many warnings each has; the result files tell which."""
    estimates = {name: dict(report.estimates()) for name, report in reports.items()}
    shown = [key for key in _MAIN if any(key in each for each in estimates.values())]
    table = Table(caption="value ± standard error; warnings are in the result files", caption_justify="left")
    table.add_column("", overflow="fold")
    for key in shown:
        metric, name = key.split("/")
        table.add_column(f"{metric}/\n{name.replace('_', ' ')}", justify="right")
    table.add_column("warnings", justify="right")
    for name, report in reports.items():
        cells = [_cell(estimates[name].get(key)) for key in shown]
        table.add_row(escape(name), *cells, str(len(report.warnings)))
    console.print(table)


def _labels(names: Sequence[str]) -> dict[str, str]:
    """Shorter names: the folders that all begin with say nothing, but for the last of them."""
    parts = {name: name.split("/") for name in names}
    shared = -1
    for same in (len(set(level)) == 1 for level in zip(*parts.values(), strict=False)):
        if not same or len(parts) == 1:
            break
        shared += 1
    shared = max(0, shared)
    return {name: _ending("/".join(each[shared:])) for name, each in parts.items()}


def _ending(name: str) -> str:
    return name if len(name) <= _LONGEST_LABEL else f"…{name[1 - _LONGEST_LABEL :]}"


def print_reports(reports: Mapping[str, Report], console: Console | None = None) -> None:
    """Prints one or several reports side by side, a row per number with its standard error; then their warnings.

    Args:
        reports: Reports by the name that heads their column.
        console: Where to print; default the terminal, without colours where that is none. The column that explains the numbers is
            left out where it is too narrow.
    """
    console = console or Console()
    explain = console.width >= _EXPLAINING_WIDTH
    table = Table(caption="value ± standard error", caption_justify="left")
    for name in ("", *reports):
        table.add_column(escape(name), justify="right" if name else "left", no_wrap=True)
    if explain:
        table.add_column("what it is", style="dim")
    results = [dict(report.results()) for report in reports.values()]
    for metric in dict.fromkeys(metric for result in results for metric in result):
        table.add_section()
        columns = [result[metric].estimates if metric in result else {} for result in results]
        for name, meaning in _shown(metric, columns).items():
            cells = [escape(f"{metric}/{name}"), *(_cell(column.get(name)) for column in columns)]
            table.add_row(*cells, *([meaning] if explain else []))
    console.print(table)
    for name, report in reports.items():
        for text in _remarks(escape(name), report):
            console.print(text, highlight=False)


def _remarks(name: str, report: Report) -> Iterator[str]:
    """What a reader must know besides the numbers: why some are absent, warnings, failures."""
    yield from (f"[dim]absent[/], {name}, {escape(text)}" for text in _absences(report))
    yield from (f"[yellow]warning[/], {name}: {escape(text)}" for text in report.warnings)
    yield from (f"[red]failed[/], {name}, {metric}: {escape(text)}" for metric, text in report.errors.items())


def _shown(metric: str, columns: list[dict[str, Estimate]]) -> dict[str, str]:
    """The names to show of a metric, with what they mean: those that any of the reports has."""
    there = dict.fromkeys(name for column in columns for name in column)
    return {name: meaning for name, meaning in _SHOWN.get(metric, dict.fromkeys(there, "")).items() if name in there}


def _absences(report: Report) -> Iterator[str]:
    """Why numbers are absent, each reason once with the first of its numbers."""
    first: dict[tuple[str, str], str] = {}
    for metric, result in report.results():
        for name in _shown(metric, [result.estimates]):
            estimate = result.estimates[name]
            if estimate.value is None and estimate.reason:
                first.setdefault((metric, estimate.reason), name)
    return (f"{metric}/{name}: {reason}" for (metric, reason), name in first.items())


def _cell(estimate: Estimate | None) -> str:
    if estimate is None or estimate.value is None:
        return "-"
    if estimate.stderr is None or estimate.stderr == 0:
        return f"{estimate.value:.4g}"
    digits = max(0, min(6, 1 - _magnitude(estimate.stderr)))  # two digits of the error, and the value to the same place
    return f"{estimate.value:.{digits}f} ± {estimate.stderr:.{digits}f}"


def _magnitude(value: float) -> int:
    return int(f"{value:e}".split("e")[1])
