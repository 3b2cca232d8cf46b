"""The command ``sae-lens-metrics report``: results and training histories as a page to read and share."""

from argparse import Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from sae_lens_metrics.cli.mistakes import CommandParser
from sae_lens_metrics.cli.outputs import require_other_files, require_page
from sae_lens_metrics.errors import ResultError
from sae_lens_metrics.views.plain_text import plain

__all__ = ["run_report"]

_DESCRIPTION = """Writes results as one HTML page: numbers with what they mean, figures, every latent with its explanation and examples, and
the configuration. The page opens from disk and requests nothing from anywhere, so that it can be kept, sent and published as it is.
Three SAEs or more are ranked, by any number, with what noise cannot tell apart.
In a folder of evaluate, summary.csv and errors.json are renewed, too, from what all its processes have written.

  sae-lens-metrics report sae-metrics/A.json sae-metrics/B.json
  sae-lens-metrics report sae-lens-metrics-demo --output demo.html        all results and training histories in a folder
  sae-lens-metrics report hf://datasets/USER/NAME                         what somebody has published (@REVISION, /PATH in it)
  sae-lens-metrics report sae-metrics/A.json --find ' import'             the latents that fire on a token"""


def run_report(arguments: Sequence[str], console: Console | None = None) -> None:
    """Runs the command.

    Args:
        arguments: Those after the command's name.
        console: Where to print; default the terminal.

    Raises:
        MetricsError: A path holds no results, a file is damaged, or the page would take the place of one.
        OSError: The page cannot be written.
    """
    parser = _parser()
    options = parser.read(arguments)
    if options.most < 1:
        parser.error(f"--most is {options.most}, expected at least 1")
    if options.find is not None:
        return _find(options, console or Console())

    from sae_lens_metrics.evaluation.sweep_folder import SweepFolder
    from sae_lens_metrics.evaluation.sweep_summary import SweepSummary
    from sae_lens_metrics.views.page import read_inputs, write_saved
    from sae_lens_metrics.views.page.inputs import files_at

    output = Path(options.output or ("report" if options.folder else "report.html"))
    read = [file for path in options.results for file in files_at(path)]
    require_other_files([output / "index.html" if options.folder else output], read)
    if not options.folder:
        require_page(output, folder=" for a file in it, or --folder for a page of several files")
    reports, histories = read_inputs(options.results, options.names)
    for found in filter(None, map(SweepFolder.found, map(Path, options.results))):
        SweepSummary(found).renew()
    titled = {} if options.title is None else {"title": options.title}
    page = write_saved(reports, output, folder=options.folder, histories=histories, **titled)
    console = console or Console()
    console.print(plain(f"written to {page}, open it in a browser"), soft_wrap=True)


def _find(options: Namespace, console: Console) -> None:
    """Prints the latents for a token, and writes nothing."""
    from sae_lens_metrics.views.found_latents import found_latents
    from sae_lens_metrics.views.page import read_inputs

    reports, _ = read_inputs(options.results, options.names)
    if not reports:
        raise ResultError("--find looks into results, of which there are none: give result files, or folders that hold them")
    for name, report in reports.items():
        for part in found_latents(name, report, options.find, options.most):
            console.print(part)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="sae-lens-metrics report",
        description=_DESCRIPTION,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "results",
        metavar="RESULTS",
        nargs="+",
        help="result files, metrics.jsonl of training runs, folders that hold them, or hf://datasets/USER/NAME",
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="the page (default: report.html), or with --folder the folder (default: report)"
    )
    parser.add_argument(
        "--folder",
        action="store_true",
        help="write a folder, of which a browser loads what is looked at: for SAEs of more than some 100,000 latents",
    )
    parser.add_argument("--names", metavar="NAME,NAME", help="what the results are called (default: the shortest names that differ)")
    parser.add_argument(
        "--find", metavar="TOKEN", help="print the latents that fire on a token, by n-grams and examples, ranked; no page is written"
    )
    parser.add_argument("--most", type=int, default=20, metavar="N", help="of them, as many at most (default: %(default)s)")
    parser.add_argument("--title", metavar="TEXT", help="what the page is called")
    return parser
