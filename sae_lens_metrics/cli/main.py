"""The command ``sae-lens-metrics``: which command is asked for. Each has a file of its own, imported when it is run."""

import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from sae_lens_metrics.cli.failures import answer
from sae_lens_metrics.cli.mistakes import did_you_mean, two_lines
from sae_lens_metrics.cli.statuses import DONE, REFUSED, statuses_in_words
from sae_lens_metrics.errors import ProcessLostError
from sae_lens_metrics.integrations.interrupts import interrupts
from sae_lens_metrics.integrations.terminal import PrintableFormatter, say

__all__ = ["COMMANDS", "main"]

_PROGRAM = "sae-lens-metrics"

COMMANDS = {
    "demo": "see it all on a tiny model, without a network",
    "evaluate": "metrics of pretrained SAEs, from the hub or in folders",
    "train": "SAELens's training command, with metrics",
    "compare": "which numbers of several results differ by more than noise",
    "audit": "how noisy the numbers are from seed to seed, and what they can tell apart",
    "reproduce": "published numbers computed anew, and whether they agree",
    "bench": "how fast this machine evaluates, and what presets take on it",
    "report": "results as a page to read: figures, latents, examples",
    "publish": "results on the Hugging Face hub: a data set, a page, an SAE's card",
    "dashboard": "a W&B workspace for runs with metrics",
    "tasks": "the tasks that probes can be given",
    "explain": "what a metric or a number means, and how far to trust it",
    "schema": "the JSON Schema of result files",
}
"""Every command with a line on what it does."""

_HELP = """usage: sae-lens-metrics COMMAND ...

SAE quality metrics of "Scaling and evaluating sparse autoencoders" (Gao et al. 2024) for SAELens.

commands:
{commands}

examples:
  sae-lens-metrics evaluate gpt2-small-res-jb blocks.8.hook_resid_pre --dataset NeelNanda/pile-10k
  sae-lens-metrics evaluate gpt2-small-res-jb '.*'      all SAEs of a release; started again, it goes on where it was
  sae-lens-metrics evaluate FOLDER --model MODEL_FOLDER --dataset texts.jsonl
  sae-lens-metrics compare A.json B.json
  sae-lens-metrics train --metrics.preset train <flags of SAELens's training command>
  sae-lens-metrics dashboard --entity E --project P
  sae-lens-metrics publish sae-metrics --to USER/NAME
  sae-lens-metrics explain shrinkage/ratio

exit status:
{statuses}

Each command explains itself: sae-lens-metrics COMMAND --help."""


def main(args: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        args: Arguments after the program's name; default those of the process.

    Returns:
        The exit status, one of ``statuses.ENDINGS``.
    """
    given = list(sys.argv[1:] if args is None else args)
    try:
        return _run(*(given or [""]))
    except ProcessLostError as error:
        return answer(error, given)
    except Exception as error:
        if isinstance(error, interrupts()):
            raise
        return answer(error, given)


def _run(command: str, *arguments: str) -> int:
    if command in ("-h", "--help"):
        commands = "\n".join(f"  {name:<10}  {line}" for name, line in COMMANDS.items())
        say(_HELP.format(commands=commands, statuses=statuses_in_words()))
        return DONE
    if command not in COMMANDS:
        sys.stderr.write(two_lines(_PROGRAM, _no_command(command), "all commands"))
        return REFUSED
    handler = logging.StreamHandler()
    handler.setFormatter(PrintableFormatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("sae_lens_metrics").setLevel(logging.INFO)
    logging.getLogger("simple_parsing").setLevel(logging.CRITICAL)  # it repeats at length what the sentence about a value says
    if "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("WORLD_SIZE") != "1":  # one of several that torchrun has started
        return import_module("sae_lens_metrics.cli.together").run_together(command, list(arguments))
    return getattr(import_module(f"sae_lens_metrics.cli.{command}"), f"run_{command}")(list(arguments)) or DONE


def _no_command(given: str) -> str:
    if not given:
        return "a command is missing, such as evaluate or demo"
    what = "flag before the command" if given.startswith("-") else "command"
    return f"there is no {what} {given}{did_you_mean(given, [*COMMANDS, '--help'])}"
