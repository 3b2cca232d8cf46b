"""The command ``sae-lens-metrics bench``: how fast this machine evaluates, and what presets take on it."""

from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from sae_lens_metrics.cli.mistakes import CommandParser
from sae_lens_metrics.cli.outputs import writable
from sae_lens_metrics.errors import ConfigError

__all__ = ["run_bench"]

_DESCRIPTION = """Measures on this machine, in about a minute, what evaluations are made of: the model, the encoder, probes, N2G, ablation,
refinement. It makes a random model and a random SAE of GPT-2 small's shape, and needs no network.

how to read it:
  probes        values are latents times texts, each read once in a Newton step; ablation is of one latent, over 16 tokens
  as fast as    the usual way to do the same, on a sample in the same run, one by one: scikit-learn, SciPy, hooks, tries in Python
  share         of the matrix products, or of the memory's bytes per second, that this machine can do: near 100% nothing is left to gain
  presets       what evaluations take here, by the work that each metric says it is

examples:
  sae-lens-metrics bench
  sae-lens-metrics bench --device cuda --output bench.json
  python -c "import json, pandas; print(pandas.DataFrame(json.load(open('bench.json'))['rates']))\""""
_SECONDS = 1.5


def run_bench(arguments: Sequence[str], console: Console | None = None) -> None:
    """Runs the command.

    Args:
        arguments: Those after the command's name.
        console: Where to print; default the terminal.

    Raises:
        ConfigError: There is no such device.
        OSError: The output cannot be written.
    """
    options = _parser().read(arguments)
    output = None if options.output is None else Path(options.output)
    if output is not None:
        _require_file(output)

    from sae_lens_metrics.benchmark.bench import run_measurements  # after the options: --help and mistakes must not wait for torch
    from sae_lens_metrics.benchmark.devices import usable_device
    from sae_lens_metrics.benchmark.shapes import SHAPES
    from sae_lens_metrics.benchmark.tables import preset_rows, print_bench, rate_rows, to_markdown

    device = usable_device(options.device)
    shape = SHAPES[options.shape]
    result = run_measurements(shape, device, seconds=0 if options.shape == "tiny" else _SECONDS)
    found = result.to_dict()
    console = console or Console()
    if options.markdown:
        for rows in (rate_rows(found), preset_rows([found])):
            console.print(f"{to_markdown(rows)}\n", soft_wrap=True, markup=False, highlight=False)
    else:
        print_bench(found, console)
    if output is not None:
        result.save(output)
        console.print(f"written to {output}", soft_wrap=True, markup=False, highlight=False)


def _require_file(output: Path) -> None:
    if output.is_dir():
        raise ConfigError(f"{str(output)!r} is a folder, and the result is a file: give --output {output / 'bench.json'}")
    if output.suffix.lower() != ".json":
        raise ConfigError(f"{str(output)!r} is no name for JSON: give --output {output.with_suffix('.json')}")
    writable(output.parent)


def _parser() -> CommandParser:
    parser = CommandParser(prog="sae-lens-metrics bench", description=_DESCRIPTION, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--device", metavar="DEVICE", help="default: a GPU if there is one")
    parser.add_argument("--output", metavar="FILE.json", help="write the result there, too: rows of rates and of presets")
    parser.add_argument("--markdown", action="store_true", help="print tables in Markdown")
    what = "measure at GPT-2 small's shape, or at a tiny one, to see that it works, whose minutes mean nothing (default: %(default)s)"
    parser.add_argument("--shape", choices=("gpt2-small", "tiny"), default="gpt2-small", help=what)
    return parser
