"""What SAEs are called where people read."""

from collections.abc import Sequence

__all__ = ["ending", "short_names", "without_shared_folders"]

_LONGEST = 40


def without_shared_folders(names: Sequence[str]) -> dict[str, str]:
    """Shorter names that still differ: the folders that all begin with say nothing, but for the last of them.

    Args:
        names: Different names, which may be paths.
    """
    parts = {name: name.split("/") for name in names}
    shared = -1
    for same in (len(set(level)) == 1 for level in zip(*parts.values(), strict=False)):
        if not same or len(parts) == 1:
            break
        shared += 1
    return {name: "/".join(each[max(0, shared) :]) for name, each in parts.items()}


def ending(name: str) -> str:
    """The last 40 characters of a name, which in a path tell the most."""
    return name if len(name) <= _LONGEST else f"…{name[1 - _LONGEST :]}"


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Names of 40 characters at most where they still differ then, without shared folders."""
    apart = without_shared_folders(names)
    short = [ending(name) for name in apart.values()]
    return {name: end if short.count(end) == 1 else whole for (name, whole), end in zip(apart.items(), short, strict=True)}
