"""What SAEs are called where people read."""

from collections.abc import Sequence

__all__ = ["ending", "without_shared_folders"]

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
