"""The command ``sae-lens-metrics compare``: which numbers of several result files differ by more than noise."""

from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from sae_lens_metrics.cli.mistakes import CommandParser
from sae_lens_metrics.cli.outputs import require_other_files, require_page
from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.views.plain_text import plain

__all__ = ["run_compare"]

_DESCRIPTION = """Compares result files of SAEs, number by number, with the first of them.

  sae-lens-metrics compare sae-metrics/A.json sae-metrics/B.json
  sae-lens-metrics compare old.json new1.json new2.json --output differences.csv
  sae-lens-metrics compare MINE.json hf://datasets/USER/NAME      with all results of a data set (@REVISION, /PATH in it)
  sae-lens-metrics evaluate FOLDER_A FOLDER_B --model MODEL --dataset texts.jsonl --compare      evaluates them first

Results on the same text and seed (which "evaluate" with the same --dataset, --tokens and --seed gives) are compared document by
document: what the text has in common cancels, and smaller differences are seen. Others can be compared too, with larger errors.
Numbers that something else than the SAE moves are left out where that is not alike, and it is said why: losses and ablation at another
hook or in another model, explanations of more text. Between SAEs of different d_sae, what depends on that is not tested.

"higher" and "lower" are differences of the second from the first that noise does not explain, by a t test that is corrected for the
number of tests (Holm-Bonferroni): the probability of any false "higher" or "lower" in the whole output is at most --alpha.
"no difference beyond noise" does not mean that there is none: the error tells how large one could have been missed.
Numbers over probe tasks are compared on those tasks, where both SAEs answered the same; what is known of other tasks stands below.
All this is about these SAEs on text like this one's: to compare the methods that trained them takes several seeds of each method."""


def run_compare(arguments: Sequence[str], console: Console | None = None) -> None:
    """Runs the command.

    Args:
        arguments: Those after the command's name.
        console: Where to print; default the terminal.

    Raises:
        MetricsError: A file is no result, or the results cannot be compared.
        OSError: The output cannot be written.
    """
    options = _parser().read(arguments)

    from sae_lens_metrics.comparison.comparison import compare_reports  # not for --help: SciPy
    from sae_lens_metrics.comparison.result_files import read_reports, result_files
    from sae_lens_metrics.views.comparison_table import print_comparison

    files = result_files(options.results, options.names)
    _require_outputs(options.output, options.report, list(files.values()))  # a mistake is found before anything is done
    comparison = compare_reports(read_reports(files), alpha=options.alpha)
    console = console or Console()
    print_comparison(comparison, console, everything=options.all)
    if options.output is not None:
        console.print(plain(f"written to {comparison.save(options.output)}"), soft_wrap=True)
    if options.report is not None:
        from sae_lens_metrics.views.page import offer_page

        console.print(plain(offer_page(files, Path(options.report), comparison=comparison, title="SAEs compared")), soft_wrap=True)


def _require_outputs(table: str | None, page: str | None, read: list[Path]) -> None:
    from sae_lens_metrics.comparison.saving import save_as

    if table is not None:
        save_as(table)
        if Path(table).is_dir():
            raise ConfigError(f"{table!r} is a folder: give the name of a file with --output")
    require_other_files([Path(each) for each in (table, page) if each is not None], read, "--output or --report")
    if page is not None:
        require_page(Path(page), "--report")


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="sae-lens-metrics compare",
        description=_DESCRIPTION,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "results", metavar="RESULT", nargs="+", help="two or more result files, as evaluate writes them, or hf://datasets/USER/NAME"
    )
    parser.add_argument("--names", metavar="NAME,NAME", help="what the results are called (default: the shortest names that differ)")
    parser.add_argument("--alpha", metavar="P", type=float, default=0.05, help="level of the tests (default: %(default)s)")
    parser.add_argument("--output", metavar="FILE", help="write all differences, errors and p-values to this .json or .csv file too")
    parser.add_argument("--report", metavar="FILE", default="comparison.html", help="the same as a page to read (default: %(default)s)")
    parser.add_argument("--no-report", dest="report", action="store_const", const=None, help="write no page")
    parser.add_argument("--all", action="store_true", help="show baselines, and numbers that say the same as others, too")
    return parser
