"""What SAEs are called where people read, and in names of files."""

import re
from collections.abc import Sequence

from sae_lens_metrics.errors import ConfigError

__all__ = ["ending", "file_stem", "given_names", "short_names"]

_LONGEST = 40
_LONGEST_STEM = 150
"""Characters of a name in a file's name, most of which systems limit to 255 bytes."""
_IDENTITY = re.compile(r"_[0-9a-f]{10}$")
"""What the name of a result file ends in: it tells settings apart, and a reader nothing."""


def ending(name: str) -> str:
    """The last 40 characters of a name, which in a path tell the most."""
    return name if len(name) <= _LONGEST else f"…{name[1 - _LONGEST :]}"


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Names as short as they can be and still differ: without the folders and words that all begin with, and the end of a long one.

    Args:
        names: Different names, which may be paths, or stems of result files.
    """
    short = list(names)
    for shorten in (_without_identities, lambda names: _without_shared(names, "/"), lambda names: _without_shared(names, "_"), _endings):
        shorter = shorten(short)
        short = [new if shorter.count(new) == 1 else old for new, old in zip(shorter, short, strict=True)]
    return dict(zip(names, short, strict=True))


def _without_identities(names: list[str]) -> list[str]:
    return [_IDENTITY.sub("", name) for name in names]


def _without_shared(names: list[str], separator: str) -> list[str]:
    """Without the parts that all begin with; of an only name the last folder says what it is."""
    parts = [name.split(separator) for name in names]
    if len(parts) == 1:
        return [parts[0][-1] or names[0]] if separator == "/" else names
    shared = 0
    while all(len(each) > shared + 1 for each in parts) and len({each[shared] for each in parts}) == 1:
        shared += 1
    return [separator.join(each[shared:]) for each in parts]


def _endings(names: list[str]) -> list[str]:
    return [ending(name) for name in names]


def given_names(given: str | None, of: Sequence[str]) -> dict[str, str]:
    """Names that a user gave, by the names that they stand for; the shortest that differ where none were given.

    Args:
        given: Names separated by commas, in the same order.
        of: What they stand for.

    Raises:
        ConfigError: If they are not as many, or two are the same.
    """
    if given is None:
        return short_names(of)
    names = [name.strip() for name in given.split(",")]
    if len(names) != len(of):
        raise ConfigError(f"--names gives {len(names)} names for {len(of)} SAEs: {', '.join(short_names(of).values())}")
    if len({*names}) < len(names) or not all(names):
        raise ConfigError(f"--names must give a different name to each SAE, not {given!r}")
    return dict(zip(of, names, strict=True))


def file_stem(name: str) -> str:
    """An SAE's name as part of a file's; two names may give the same.

    Args:
        name: What the SAE is called.
    """
    return re.sub(r"[^A-Za-z0-9.-]+", "_", name)[-_LONGEST_STEM:].strip("._") or "sae"
