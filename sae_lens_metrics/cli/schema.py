"""The command ``sae-lens-metrics schema``: the JSON Schema of result files."""

import json
from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence

from sae_lens_metrics.cli.mistakes import CommandParser

__all__ = ["run_schema"]

_DESCRIPTION = """Prints the JSON Schema that every result file follows, for readers in other languages and for validators.

  sae-lens-metrics schema > result.schema.json"""


def run_schema(arguments: Sequence[str]) -> None:
    """Runs the command.

    Args:
        arguments: Those after the command's name.
    """
    parser = CommandParser(prog="sae-lens-metrics schema", description=_DESCRIPTION, formatter_class=RawDescriptionHelpFormatter)
    parser.read(arguments)

    from sae_lens_metrics.results.schema import schema  # after the flags: --help must not wait

    print(json.dumps(schema(), indent=1, ensure_ascii=False))
