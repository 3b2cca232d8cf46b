"""The command ``sae-lens-metrics reproduce``: published numbers computed anew, and judged by bands that were fixed beforehand."""

import argparse
from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sae_lens_metrics.cli.mistakes import CommandParser
from sae_lens_metrics.cli.outputs import writable
from sae_lens_metrics.cli.statuses import DONE, OUTSIDE
from sae_lens_metrics.cli.trends import TRENDS, list_claims, run_trends
from sae_lens_metrics.integrations.terminal import say

if TYPE_CHECKING:
    from sae_lens_metrics.comparison.reference import Reference

__all__ = ["run_reproduce"]

_DESCRIPTION = """Computes published numbers anew, on the public SAEs that they are of, and says which are within the bands that were fixed
before anything was run. A reference names SAEs, text, settings and, for each figure, what was published, where, and how wide its band is.

  sae-lens-metrics reproduce --list                 the references, with every figure, band and source
  sae-lens-metrics reproduce gao2024                needs a GPU, and the network
  sae-lens-metrics reproduce my-reference.toml      one of your own, of the same form
  sae-lens-metrics reproduce paper-trends           the paper's findings, on a grid of SAEs that it trains: needs neither
  sae-lens-metrics reproduce paper-trends --model gpt2 --dataset Skylion007/openwebtext --training-tokens 20000000

Stopped at any moment and started again, it goes on where it was; SAEs whose training was not over are trained anew. The exit
status is 0 if every figure is within its band, and every finding shows; else 4."""


def run_reproduce(arguments: Sequence[str]) -> int:
    """Runs the command.

    Args:
        arguments: Those after the command's name.

    Returns:
        The exit status: ``DONE`` if all figures are within their bands, or all findings show, else ``OUTSIDE``.

    Raises:
        MetricsError: There is no such reference, or a setting or the text cannot be used.
        OSError: The output cannot be written.
    """
    options = _options(arguments)

    from sae_lens_metrics.comparison.reference import load_reference, reference_names
    from sae_lens_metrics.views.verdicts import print_reference

    if options.list:
        for name in [options.name] if options.name else [*reference_names(), TRENDS]:
            if name == TRENDS:
                list_claims()
            else:
                print_reference(name, load_reference(name))
        return DONE
    if options.name == TRENDS:
        return run_trends(options)
    reference = load_reference(options.name)
    given = {key: value for key, value in (("dataset", options.dataset), ("tokens", options.tokens)) if value is not None}
    output = writable(Path(options.output or f"reproduced-{Path(options.name).stem}"))
    return _reproduced(options.name, replace(reference, settings=replace(reference.settings, **given)), output, options)


def _reproduced(name: str, reference: "Reference", output: Path, options: argparse.Namespace) -> int:
    from sae_lens_metrics.cli.judged import tell
    from sae_lens_metrics.comparison.reference import load_reference
    from sae_lens_metrics.evaluation.reproducing import changes_of, reproduce
    from sae_lens_metrics.views.page import offer_page
    from sae_lens_metrics.views.verdicts import judged_verdicts

    found = reproduce(name, reference, output, device=options.device)
    verdicts = replace(found.verdicts, changes=tuple(changes_of(load_reference(name).settings, reference.settings)))
    judged = judged_verdicts(verdicts)
    tell(output, "verdicts", verdicts, judged)
    if found.files:
        say(offer_page(found.files, output / "report.html", title=reference.title, judged=judged))
    return DONE if verdicts.all_within else OUTSIDE


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(prog="sae-lens-metrics reproduce", description=_DESCRIPTION, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("name", metavar="NAME", nargs="?", help="a reference, as --list names them, or a file that ends in .toml")
    parser.add_argument("--list", action="store_true", help="print what would be checked, and evaluate nothing")
    parser.add_argument("--output", metavar="DIR", help="folder for results and verdicts (default: reproduced-NAME)")
    parser.add_argument("--device", metavar="DEVICE", help="default: a GPU if there is one")
    parser.add_argument("--dataset", metavar="DATASET", help="other text than the reference's, for which its bands are not meant")
    parser.add_argument("--tokens", metavar="N", type=int, help="so much of it, likewise")
    trends = parser.add_argument_group(TRENDS, "SAEs that are trained for it, of a model of yours or the demo's")
    trends.add_argument(
        "--model", metavar="MODEL", help="name, hub repository or folder (default: the demo's, on text of the standard library)"
    )
    trends.add_argument("--hook", metavar="HOOK", help="default: the residual stream after the layer at two thirds")
    trends.add_argument(
        "--training-tokens", metavar="N", type=int, help="tokens that each SAE is trained on (default: 640,000; quick: 160,000)"
    )
    trends.add_argument("--seeds", metavar="N", type=int, help="training seeds of each kind of SAE (default: 1, and a few kinds have two)")
    trends.add_argument("--quick", action="store_true", help="fewer SAEs, less text: 6 minutes instead of 30 on two cores")
    options = parser.read(arguments)
    ignored = [f"--{name.replace('_', '-')}" for name in ("model", "hook", "training_tokens", "seeds", "quick") if getattr(options, name)]
    if options.name != TRENDS and ignored:
        parser.error(f"{', '.join(ignored)}: only {TRENDS} takes it, references say which SAEs they are of")
    if options.name is None and not options.list:
        parser.error("which reference? Give a name, such as gao2024, or --list")
    return options
