"""How an interrupt of the user's arrives, for code that otherwise goes on after errors."""

import sys

__all__ = ["interrupts"]


def interrupts() -> tuple[type[BaseException], ...]:
    """The exceptions that an interrupt raises: from its first training run on, SAELens turns signals into an exception of its own."""
    theirs = sys.modules.get("sae_lens.training._interruption")
    return (KeyboardInterrupt,) if theirs is None else (KeyboardInterrupt, theirs.InterruptedException)
