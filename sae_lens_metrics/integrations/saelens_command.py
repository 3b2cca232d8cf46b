"""SAELens's training command: its flags, read as its own command reads them."""

import argparse
import io
import re
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

from sae_lens.llm_sae_training_runner import _parse_cfg_args  # its command line; only this builds a configuration from flags

from sae_lens_metrics.integrations.terminal import complain, say

__all__ = ["RefusedFlags", "runner_config"]


class RefusedFlags(Exception):
    """SAELens does not take what was given.

    Attributes:
        reason: Why, in its words.
        flags: Its own flags.
    """

    def __init__(self, reason: str, flags: list[str]) -> None:
        super().__init__(reason)
        self.reason = reason
        self.flags = flags


def runner_config(arguments: Sequence[str]) -> Any:
    """The configuration (``LanguageModelSAERunnerConfig``) that SAELens's command makes of its flags.

    Args:
        arguments: Its flags; with ``--help`` it prints them and exits.

    Raises:
        RefusedFlags: A flag or a value is not its own.
    """
    printed, listed = io.StringIO(), io.StringIO()
    try:
        with redirect_stderr(printed), redirect_stdout(listed):
            config = _parse_cfg_args(arguments)
    except SystemExit as error:
        if not error.code:
            say(listed.getvalue().rstrip())  # argparse itself drops what cannot be printed without a word
            raise
        usage, _, reason = printed.getvalue().rpartition("error: ")
        raise RefusedFlags(reason.strip(), _flags(usage)) from None
    except (argparse.ArgumentError, ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise RefusedFlags(str(error) or type(error).__name__, []) from error
    if said := listed.getvalue():
        say(said.rstrip())
    if warned := printed.getvalue():
        complain(warned.rstrip())
    return config


def _flags(usage: str) -> list[str]:
    """The flags that a usage message names."""
    return list(dict.fromkeys(re.findall(r"(?<![\w-])--[A-Za-z][\w.-]*", usage)))
