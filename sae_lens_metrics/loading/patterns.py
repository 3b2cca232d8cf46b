"""Regular expressions that users write, matched within a limit: some go through more ways to match than anyone can wait for."""

import json
import subprocess
import sys
from collections.abc import Iterable

from sae_lens_metrics.errors import SubjectError

__all__ = ["LIMIT_S", "matching"]

LIMIT_S = 5.0
"""Seconds for one pattern and all names; an ordinary one takes less than a tenth, most of it for Python to start."""
_PROGRAM = """
import json, re, sys
pattern, names = json.load(sys.stdin)
try:
    compiled = re.compile(pattern)
    print(json.dumps([name for name in names if compiled.fullmatch(name)]))
except (re.error, OverflowError, RecursionError, MemoryError) as error:
    print(json.dumps(str(error) or type(error).__name__))
"""


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that a regular expression matches as a whole.

    Python cannot stop a match that has begun, so a process of its own does it, and is ended where it takes too long.

    Args:
        pattern: The regular expression.
        names: What to match.

    Raises:
        SubjectError: If it is no regular expression, or takes longer than ``LIMIT_S``.
    """
    command = [sys.executable, "-I", "-S", "-c", _PROGRAM]
    try:
        done = subprocess.run(
            command, input=json.dumps([pattern, list(names)]), capture_output=True, text=True, timeout=LIMIT_S, check=True
        )
    except subprocess.TimeoutExpired:
        raise SubjectError(
            f"the pattern {pattern!r} was still not matched after {LIMIT_S:g} s: write it without repetitions within repetitions, "
            "such as .* for any text"
        ) from None
    found = json.loads(done.stdout)
    if isinstance(found, str):
        raise SubjectError(f"{pattern!r} is neither a name nor a regular expression ({found}): write .* for any text")
    return found
