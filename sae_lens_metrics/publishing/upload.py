"""Sends files in commits of bounded size, so that an upload that ends in the middle goes on where it was."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi

from sae_lens_metrics.errors import PublishError
from sae_lens_metrics.loading.downloads import with_retries
from sae_lens_metrics.loading.hub_faults import in_words
from sae_lens_metrics.publishing.shipments import Shipment

__all__ = ["send"]

_FILES, _BYTES = 32, 64_000_000
"""Of one commit, unless a single file is larger: as much as is sent again at most."""
_LAST = "README.md"
"""What tells of all other files, and is sent when these are there."""


def send(api: HfApi, shipment: Shipment, *, private: bool) -> str:
    """Sends what is not there yet, and makes the repository where there is none.

    Args:
        api: The hub.
        shipment: What to send.
        private: Whether a new repository is a private one.

    Returns:
        Where it is to be seen.

    Raises:
        PublishError: If something fails; what was sent is there, and a second run sends only the rest.
    """
    there = shipment.destination
    address = there.address
    try:
        if not there.exists:
            sdk = "static" if address.kind == "space" else None
            make = partial(api.create_repo, address.name, repo_type=address.kind, private=private, exist_ok=True, space_sdk=sdk)
            with_retries(make, f"{address}")
        for i, batch in enumerate(_batches(shipment.fresh)):
            # somebody else's change of a card that was shown must not be lost
            parent = there.commit if i == 0 and shipment.former_card is not None and len(shipment.files) == 1 else None
            with_retries(partial(_commit, api, shipment, batch, parent), f"{address}")
    except Exception as error:
        raise PublishError(in_words(error, f"sending to {address} failed")) from error
    return address.url(api.endpoint)


def _commit(api: HfApi, shipment: Shipment, batch: Mapping[str, Path], parent: str | None) -> None:
    address = shipment.destination.address
    # new ones each time, as a commit changes them
    operations = [CommitOperationAdd(path, str(file)) for path, file in batch.items()]
    message = f"Metrics: {', '.join(list(batch)[:3])}{' ...' if len(batch) > 3 else ''}"
    api.create_commit(address.name, operations, commit_message=message, repo_type=address.kind, parent_commit=parent)


def _batches(files: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    batch: dict[str, Path] = {}
    size = 0
    for path, file in sorted(files.items(), key=lambda each: (each[0] == _LAST, each[0])):
        more = file.stat().st_size
        if batch and (len(batch) >= _FILES or size + more > _BYTES):
            yield batch
            batch, size = {}, 0
        batch[path] = file
        size += more
    if batch:
        yield batch
