"""Which SAEs a command is about: releases, folders, and files that list them."""

import argparse
from typing import TYPE_CHECKING

from sae_lens_metrics.cli.mistakes import CommandParser
from sae_lens_metrics.cli.overrides import overrides_of, read_list

if TYPE_CHECKING:
    from sae_lens_metrics.evaluation.order import Overrides
    from sae_lens_metrics.loading.targets import Target

__all__ = ["add_targets", "named_targets", "require_targets"]


def add_targets(parser: argparse.ArgumentParser) -> None:
    """Adds what names SAEs, what they are called, and whether results of theirs that are there are made again."""
    parser.add_argument(
        "targets",
        metavar="TARGET",
        nargs="*",
        help="RELEASE (of SAELens's directory, or a hub repository) and SAE_ID, or folders with SAEs",
    )
    listed = "more targets, one a line: RELEASE SAE_ID, or a folder, with flags such as --model for these alone; # begins a comment"
    parser.add_argument("--list", metavar="FILE", help=listed)
    parser.add_argument("--names", metavar="NAME,NAME", help="what SAEs are called in tables and pages (default: the shortest that differ)")
    parser.add_argument("--overwrite", action="store_true", help="evaluate again what was evaluated already")


def require_targets(parser: CommandParser, options: argparse.Namespace) -> None:
    """Exits, with two lines, where no SAE was named."""
    if not (options.targets or options.list):
        parser.error("nothing to evaluate: give RELEASE SAE_ID, folders, or --list FILE")


def named_targets(options: argparse.Namespace) -> "dict[Target, Overrides]":
    """The SAEs that were named, with what is known better about each.

    Raises:
        SubjectError: If nothing is meant by a name; it tells the nearest ones.
        OSError: If a list cannot be read.
    """
    from sae_lens_metrics.loading.targets import find_targets  # --help and mistakes must not wait for torch

    found = dict.fromkeys(find_targets(options.targets) if options.targets else [], overrides_of(options))
    return {**found, **read_list(options.list, options)} if options.list else found
