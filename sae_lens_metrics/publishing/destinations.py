"""Repositories on the hub that are published to: their names, and what is there already."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import validate_repo_id

from sae_lens_metrics.errors import PublishError
from sae_lens_metrics.loading.downloads import with_retries
from sae_lens_metrics.loading.hub_faults import in_words

__all__ = ["Address", "Destination", "Kind"]

Kind = Literal["dataset", "space", "model"]

_PREFIXES: Mapping[Kind, str] = {"dataset": "datasets/", "space": "spaces/", "model": ""}
_CALLED: Mapping[Kind, str] = {"dataset": "data set", "space": "Space", "model": "model repository"}
_CARD = "README.md"
_PIECE = 1 << 20
_LARGEST_CARD = 4_000_000
"""Bytes of a README that is changed; the hub shows none that is larger."""


@dataclass(frozen=True)
class Address:
    """A repository by name."""

    kind: Kind
    name: str
    """OWNER/NAME."""

    @classmethod
    def of(cls, kind: Kind, name: str, flag: str) -> "Address":
        """One that a user names.

        Args:
            kind: What it is.
            name: The name.
            flag: The flag that it was given with.

        Raises:
            PublishError: If nothing on the hub can be called so.
        """
        try:
            validate_repo_id(name)
        except HFValidationError:
            name = ""
        if name.count("/") != 1:
            raise PublishError(f"{flag} takes USER/NAME (letters, digits, '-', '_' and '.'), the name of a {_CALLED[kind]} on the hub")
        return cls(kind, name)

    @property
    def owner(self) -> str:
        """Whose it is."""
        return self.name.split("/")[0]

    def __str__(self) -> str:
        return f"the {_CALLED[self.kind]} {self.name}"

    def url(self, endpoint: str) -> str:
        """Where a browser finds it.

        Args:
            endpoint: Where the hub is.
        """
        return f"{endpoint}/{_PREFIXES[self.kind]}{self.name}"


@dataclass(frozen=True)
class Destination:
    """A repository as it was found."""

    address: Address
    exists: bool = False
    private: bool = False
    """Whether it is, if it exists."""
    commit: str | None = None
    """Its latest commit."""
    hashes: Mapping[str, str] = field(default_factory=dict)
    """What is in its files, by path: SHA-256 of a large one, git's SHA-1 of another one."""
    card: str | None = None
    """Its README, if it has one."""

    @classmethod
    def look(cls, api: HfApi, address: Address) -> "Destination":
        """Looks at a repository without changing anything.

        Args:
            api: The hub.
            address: The repository.

        Raises:
            PublishError: If the hub cannot be reached, or does not let this user see it.
        """
        try:
            return with_retries(lambda: cls._found(api, address), str(address))
        except RepositoryNotFoundError:
            return cls(address)
        except PublishError:
            raise
        except Exception as error:
            raise PublishError(in_words(error, f"{address} cannot be looked at")) from error

    @classmethod
    def _found(cls, api: HfApi, address: Address) -> "Destination":
        info = api.repo_info(address.name, repo_type=address.kind)
        files = list(api.list_repo_tree(address.name, repo_type=address.kind, revision=info.sha, recursive=True)) if info.sha else []
        there = [each for each in files if isinstance(each, RepoFile)]
        hashes = {each.path: each.lfs.sha256 if each.lfs is not None else each.blob_id for each in there}
        sizes = {each.path: each.size for each in there}
        if sizes.get(_CARD, 0) > _LARGEST_CARD:
            raise PublishError(f"the README of {address} has {sizes[_CARD]:,} bytes, too many to change it: shorten it on the hub")
        card = _readme(api, address, info.sha) if _CARD in sizes else None
        return cls(address, True, bool(info.private), info.sha, hashes, card)

    def has(self, path: str, file: Path) -> bool:
        """Whether a file is there with the same content.

        Args:
            path: Its place in the repository.
            file: The file.
        """
        there = self.hashes.get(path)
        return there is not None and there in (_sha256(file), _git_hash(file))


def _readme(api: HfApi, address: Address, revision: str | None) -> str:
    path = api.hf_hub_download(address.name, _CARD, repo_type=address.kind, revision=revision)
    with open(path, encoding="utf-8", newline="") as file:  # its ends of lines are the owner's
        return file.read()


def _sha256(file: Path) -> str:
    return _digest(hashlib.sha256(), file)


def _git_hash(file: Path) -> str:
    return _digest(hashlib.sha1(b"blob %d\0" % file.stat().st_size, usedforsecurity=False), file)


def _digest(digest: "hashlib._Hash", file: Path) -> str:
    with file.open("rb") as stream:
        while piece := stream.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
