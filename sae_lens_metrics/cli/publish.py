"""The command ``sae-lens-metrics publish``: results on the Hugging Face hub, after a look at what would be sent."""

import sys
import tempfile
from argparse import Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sae_lens_metrics.cli.mistakes import CommandParser
from sae_lens_metrics.errors import PublishError
from sae_lens_metrics.integrations.terminal import say
from sae_lens_metrics.results.in_words import printable

if TYPE_CHECKING:
    from sae_lens_metrics.publishing import Address

__all__ = ["run_publish"]

_DESCRIPTION = """Publishes results on the Hugging Face hub. All that would be sent is listed first, and nothing is sent without a yes.

  sae-lens-metrics publish sae-metrics --to USER/NAME              a data set: result files, a table of all numbers, a card
  sae-lens-metrics publish sae-metrics --to USER/NAME --space      and the page of "report", as a static Space of the same name
  sae-lens-metrics publish TopK.json --card USER/MY-SAE            a table and the hub's own metrics in the card of an SAE
  sae-lens-metrics compare MINE.json hf://datasets/USER/NAME       what others then do with it

Before that: "hf auth login", with a token that may write. A card that is there keeps all that is not between the marks of this command;
what changes in it is shown. Started again, it sends only what is not there yet as it is, whatever ended it the last time.

Nothing private is sent: data sets, SAEs and models on disk are called by their names without folders, and no name of user or machine,
home directory, environment variable or token is in any file. But result files quote the texts that SAEs were evaluated on, in examples
and explanations: where those are not for everyone, give --no-text, or --private."""


def run_publish(arguments: Sequence[str]) -> None:
    """Runs the command.

    Args:
        arguments: Those after the command's name.

    Raises:
        MetricsError: There is no result, no login, no right to write, no network; or there is nobody to ask.
        OSError: The files that are to be sent cannot be written.
    """
    options = _parser().read(arguments)

    from huggingface_hub import HfApi

    from sae_lens_metrics.publishing import Private, Request, login, prepare, send
    from sae_lens_metrics.views.page.inputs import files_at

    addresses = _addresses(options)
    files = [file for each in options.results for file in files_at(each) if file.suffix != ".jsonl"]
    if not files:
        raise PublishError("only training histories are there, and they are not published: give result files, as evaluate writes them")
    api = HfApi(library_name="sae-lens-metrics")
    user, token = login(api)
    request = Request(list(dict.fromkeys(files)), **addresses, names=options.names, title=options.title, text=options.text)
    with tempfile.TemporaryDirectory(prefix="sae-lens-metrics-") as folder:
        shipments = prepare(request, api, Private.here(token), Path(folder))
        for each in shipments:
            each.require_visibility(private=options.private)
            say("\n".join(each.lines(api.endpoint, private=options.private)))
        if not any(each.fresh for each in shipments):
            say("all of it is there already: there is nothing to send")
            return
        if not (options.yes or _agreed(user)):
            say("nothing was sent")
            return
        for each in shipments:
            say(f"published: {send(api, each, private=options.private)}")


def _addresses(options: Namespace) -> dict[str, "Address"]:
    """The repositories that are meant, by kind."""
    from sae_lens_metrics.publishing import Address

    if options.to is None and options.space is None and options.card is None:
        raise PublishError("it is not said where to: give --to USER/NAME for a data set, --space USER/NAME for a page, or --card USER/SAE")
    if options.space == "" and options.to is None:
        raise PublishError("--space without a name takes that of --to: give --space USER/NAME, or --to too")
    named = {"dataset": ("dataset", options.to, "--to"), "card": ("model", options.card, "--card")}
    named["space"] = ("space", options.to if options.space == "" else options.space, "--space")
    return {key: Address.of(kind, name, flag) for key, (kind, name, flag) in named.items() if name is not None}


def _agreed(user: str) -> bool:
    if not sys.stdin.isatty():
        raise PublishError("nothing was sent, as there is no terminal to ask on: look at the list, then give --yes")
    try:
        return input(f"send this as {printable(user)}? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="sae-lens-metrics publish",
        description=_DESCRIPTION,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("results", metavar="RESULTS", nargs="+", help="result files, or folders that hold them")
    parser.add_argument("--to", metavar="USER/NAME", help="the data set; it is made where there is none")
    parser.add_argument("--space", metavar="USER/NAME", nargs="?", const="", help="the page as a static Space (default name: that of --to)")
    parser.add_argument("--card", metavar="USER/SAE", help="the repository of an SAE, whose card gets the table and the metrics")
    parser.add_argument("--private", action="store_true", help="make new repositories private, and refuse a public one")
    parser.add_argument("--yes", action="store_true", help="send without asking; the list is printed all the same")
    parser.add_argument("--no-text", dest="text", action="store_false", help="leave out what quotes text: examples and explanations")
    parser.add_argument("--names", metavar="NAME,NAME", help="what the SAEs are called (default: the shortest names that differ)")
    parser.add_argument("--title", metavar="TEXT", help="what the page is called")
    return parser
