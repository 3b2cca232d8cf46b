"""How an interrupt of the user's arrives, or the end of another process, for code that otherwise goes on after errors.

While it trains, SAELens turns signals into an exception of its own, and leaves the handlers that do so behind.
"""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sae_lens_metrics.errors import ProcessLostError

__all__ = ["handlers_put_back", "interrupts", "telling_the_signal"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

T = TypeVar("T")


def interrupts() -> tuple[type[BaseException], ...]:
    """The exceptions after which nothing goes on: those that an interrupt raises, and that of an evaluation that has lost a process."""
    theirs = sys.modules.get("sae_lens.training._interruption")
    return (KeyboardInterrupt, ProcessLostError) if theirs is None else (KeyboardInterrupt, ProcessLostError, theirs.InterruptedException)


@contextmanager
def handlers_put_back() -> Iterator[None]:
    """Signals are handled afterwards as they were before; handlers belong to the main thread, so in others nothing is done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {signum: signal.getsignal(signum) for signum in _SIGNALS}
    try:
        yield
    finally:
        for signum, handler in before.items():
            if handler is not None:  # one that was not installed from Python
                signal.signal(signum, handler)


def telling_the_signal(fit: Callable[[], T], interrupted: Callable[[], None]) -> Callable[[], T]:
    """A trainer's loop, run while SAELens's handlers are in force: the exception that they raise gets the attribute ``signum``.

    It comes up in whatever runs at that moment; a package that turns each exception into one of its own does not make an error of it.

    Args:
        fit: The loop.
        interrupted: Called when it is interrupted, before SAELens saves what there is.
    """

    def run() -> T:
        raised: list[BaseException] = []
        for signum in _SIGNALS if threading.current_thread() is threading.main_thread() else ():
            handler = signal.getsignal(signum)
            if callable(handler):
                signal.signal(signum, _telling(handler, raised))
        try:
            return fit()
        except interrupts():
            interrupted()
            raise
        except Exception as error:
            if not raised:
                raise
            interrupted()
            raise raised[0] from error

    return run


def _telling(handler: Callable[[int, Any], Any], raised: list[BaseException]) -> Callable[[int, Any], Any]:
    def handle(signum: int, frame: Any) -> Any:
        try:
            return handler(signum, frame)
        except interrupts() as error:
            error.signum = signum  # pyright: ignore[reportAttributeAccessIssue]
            raised.append(error)
            raise

    return handle
