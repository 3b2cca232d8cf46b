"""Downloads that are tried again when the connection fails, and a word for those that fail for good."""

import logging
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, RepositoryNotFoundError

__all__ = ["TRIES", "causes", "is_passing", "with_retries"]

logger = logging.getLogger("sae_lens_metrics")

T = TypeVar("T")

TRIES = 3
"""How often a download is tried in all; the hub's client resumes a file that breaks off by itself, besides."""
_PAUSE = 1.0
"""Seconds before the second try; each further pause is twice as long."""
_CLIENTS = {"httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3", "aiohttp"}
"""Packages that hub clients speak HTTP with; all that they raise themselves is about the connection."""


def with_retries(action: Callable[[], T], what: str) -> T:
    """Does something that needs the network, again if the connection fails.

    Args:
        action: What to do; its errors are raised unless they may pass by themselves.
        what: What to call it where the user is told.
    """
    for attempt in range(1, TRIES):
        try:
            return action()
        except Exception as error:
            if not is_passing(error):
                raise
            pause = _PAUSE * 2 ** (attempt - 1)
            reason = " ".join(str(list(causes(error))[-1]).split())
            logger.warning("%s: the connection failed (%s), trying again in %g s", what, reason or type(error).__name__, pause)
            time.sleep(pause)
    return action()


def is_passing(error: BaseException) -> bool:
    """Whether an error is one of the connection or of the server's moment, so that another try may help."""
    chain = list(causes(error))
    final = (OfflineModeIsEnabled, RepositoryNotFoundError)  # the latter also of repositories that are not for everyone
    if huggingface_hub.constants.HF_HUB_OFFLINE or any(isinstance(cause, final) for cause in chain):
        return False
    return any(_is_of_the_connection(cause) for cause in chain)


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error, what it was raised from, what that was raised from, and so on."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _is_of_the_connection(error: BaseException) -> bool:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None or isinstance(error, HfHubHTTPError):  # an answer, also as the client's own error, which stands behind the hub's
        return status in (408, 429) or (status is not None and status >= 500)
    if isinstance(error, ConnectionError | TimeoutError | LocalEntryNotFoundError):
        return True
    package = type(error).__module__.split(".")[0]
    return package in _CLIENTS or "Consistency check failed" in str(error)  # how the hub's client says that a file is too short
