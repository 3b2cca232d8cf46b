"""What can go wrong with the hub, in sentences."""

from collections.abc import Iterator

from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from sae_lens_metrics.loading.downloads import causes, is_passing

__all__ = ["in_words"]

_LOGIN = "log in with: hf auth login"
_BY_STATUS = {
    400: "the hub does not take it as it is",
    401: f"the hub does not know the token: {_LOGIN}",
    402: "the hub asks for a paid plan for that",
    403: "the token may not write there: take one with the right to write (hf auth login), or another owner's name",
    404: "there is no such repository, or it is not for this user: check the name",
    409: "somebody else has changed it meanwhile, or has that name: start again",
    412: "somebody else has changed it meanwhile: start again, and look at the list once more",
    413: "the hub takes no files that large",
    429: "the hub asks to wait, as there were too many requests: start again in some minutes, it goes on where it was",
}


def in_words(error: BaseException, what: str) -> str:
    """Why something on the hub failed, and what to do, in a sentence.

    Args:
        error: What was raised.
        what: What failed, as the beginning of the sentence.
    """
    return f"{what}: {next(_reasons(list(causes(error))))}"


def _reasons(chain: list[BaseException]) -> Iterator[str]:
    """Reasons, the most telling first."""
    status = next((found for each in chain if (found := _status(each)) is not None), None)
    yield from (reason for kinds, reason in _by_kind(status) if any(isinstance(each, kinds) for each in chain))
    if status in _BY_STATUS:
        yield f"{_BY_STATUS[status]}{_server_said(chain) if status == 400 else ''}"
    if is_passing(chain[0]) or (status is not None and status >= 500):
        yield "the hub cannot be reached, or fails: check the network and start again, it goes on where it was"
    last = chain[-1]
    yield f"{type(last).__name__}: {' '.join(str(last).split())}"


def _by_kind(status: int | None) -> Iterator[tuple[type[BaseException] | tuple[type[BaseException], ...], str]]:
    """Reasons that kinds of errors tell, given the server's status."""
    if constants.HF_HUB_OFFLINE:
        kept_off = (OfflineModeIsEnabled, LocalEntryNotFoundError)
        yield kept_off, "HF_HUB_OFFLINE is set, and it is not in the hub's cache: unset it"
    yield LocalTokenNotFoundError, f"nobody is logged in to the hub: {_LOGIN}"
    yield GatedRepoError, "it is not for everyone: ask its owner for access on its page"
    yield RevisionNotFoundError, "there is no such revision: check what stands after the @"
    yield RepositoryNotFoundError, f"{_BY_STATUS[404]}{f'; if it is private, {_LOGIN}' if status == 401 else ''}"


def _status(error: BaseException) -> int | None:
    return getattr(error.response, "status_code", None) if isinstance(error, HfHubHTTPError) else None


def _server_said(chain: list[BaseException]) -> str:
    said = next((each.server_message for each in chain if isinstance(each, HfHubHTTPError) and each.server_message), None)
    return f" ({' '.join(said.split())[:200]})" if said else ""
