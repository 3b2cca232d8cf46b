"""Files that another package could not write, as to a full disk, for which PyTorch and safetensors have errors of their own."""

import errno
import re

__all__ = ["FULL", "why_unwritten"]

FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS)
"""What the system says where it takes no more of a file."""

_BY_THE_SYSTEM = re.compile(r"I/O error: (.*?) \(os error \d+\)")
"""How safetensors say it."""
_BY_PYTORCH = ("inline_container.cc", "PytorchStreamWriter")
"""What stands in PyTorch's words then, which do not say why."""


def why_unwritten(error: BaseException) -> str | None:
    """Why a file could not be written; ``None`` if an error is about something else.

    Args:
        error: What was raised while something was saved.
    """
    said = str(error)
    if isinstance(error, OSError):
        return error.strerror if error.errno in FULL else None
    if type(error).__name__ == "SafetensorError" and (found := _BY_THE_SYSTEM.search(said)):
        return found[1]
    if isinstance(error, RuntimeError) and any(each in said for each in _BY_PYTORCH):
        return "PyTorch could not write all of it, such as to a full disk"
    return None
