"""Result files that somebody has published as a data set on the hub: ``hf://datasets/USER/NAME[@REVISION][/PATH]``."""

import glob
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import HFValidationError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import validate_repo_id

from sae_lens_metrics.errors import ResultError
from sae_lens_metrics.loading.downloads import with_retries
from sae_lens_metrics.loading.hub_faults import in_words
from sae_lens_metrics.results.reading import begins_as_result

__all__ = ["FORM", "PublishedFile", "is_address", "published_files"]

FORM = "hf://datasets/USER/NAME, with @REVISION and /PATH after it if need be"
_ADDRESS = re.compile(r"hf:/{1,2}datasets/(?P<name>[^/@]+/[^/@]+)(?:@(?P<revision>(?:refs/[^/]+/)?[^/]+))?(?:/(?P<path>.*))?", re.DOTALL)
_MOST_BYTES, _MOST_FILES = 8 * 2**30, 500
"""What is downloaded at once at most."""


@dataclass(frozen=True)
class PublishedFile:
    """A result file of a data set, downloaded."""

    path: Path
    """Where it is on this machine."""
    name: str
    """What to call it where its file's name is not enough: the data set, and its place there, without folder and ending of publish's."""


def is_address(path: str | Path) -> bool:
    """Whether something is an address on the hub rather than a path on disk.

    Args:
        path: What a user gave; a ``Path`` has lost one of the slashes.
    """
    return str(path).startswith("hf:/")


def published_files(address: str | Path) -> tuple[PublishedFile, ...]:
    """Downloads the result files of a data set, or those below a path in it; what is in the hub's cache already is not downloaded again.

    Args:
        address: The data set.

    Raises:
        ResultError: If it is no address, there is no such data set, revision or path, the hub cannot be reached, or it is too much.
    """
    return _published(str(address))


@lru_cache(maxsize=64)  # a command asks more than once, and must get the same files
def _published(address: str) -> tuple[PublishedFile, ...]:
    found = _ADDRESS.fullmatch(address)
    if found is None or not _is_name(found["name"]):
        raise ResultError(f"{address!r} is no address of results on the hub: give {FORM}")
    name, revision, path = found["name"], found["revision"], (found["path"] or "").strip("/")
    try:
        files = _kept(name, revision, path) if constants.HF_HUB_OFFLINE else _downloaded(name, revision, path)
    except ResultError:
        raise
    except Exception as error:
        raise ResultError(in_words(error, f"the results at {address!r} cannot be downloaded")) from error
    results = {place: file for place, file in files.items() if begins_as_result(file)}
    if not results:
        where = f"below {path!r} in " if path else "in "
        raise ResultError(f"there is no result file {where}the data set {name}: take one that sae-lens-metrics publish has made")
    return tuple(PublishedFile(file, f"{name}/{each.removeprefix('results/').removesuffix('.json')}") for each, file in results.items())


def _downloaded(name: str, revision: str | None, path: str) -> dict[str, Path]:
    """The files by their place in the data set, all of one commit."""
    what = f"the data set {name}"
    listed = with_retries(lambda: list(HfApi().list_repo_tree(name, repo_type="dataset", revision=revision, recursive=True)), what)
    sizes = {each.path: each.size for each in listed if isinstance(each, RepoFile) and each.path.endswith(".json")}
    wanted = _below(path, sorted(sizes))
    size = sum(sizes[each] for each in wanted)
    if size > _MOST_BYTES or len(wanted) > _MOST_FILES:
        held, most = f"{len(wanted):,} JSON files of {size / 2**30:.1f} GiB", f"{_MOST_FILES} of {_MOST_BYTES / 2**30:.0f} GiB"
        raise ResultError(f"{what} holds {held}, and at most {most} are downloaded at once: give hf://datasets/{name}/PATH of some")
    if not wanted:
        return {}
    patterns = [glob.escape(each) for each in wanted]
    folder = with_retries(lambda: snapshot_download(name, repo_type="dataset", revision=revision, allow_patterns=patterns), what)
    return {each: file for each in wanted if (file := Path(folder, each)).is_file()}


def _kept(name: str, revision: str | None, path: str) -> dict[str, Path]:
    """The files that are in the hub's cache."""
    patterns = [f"{glob.escape(path)}/*.json", glob.escape(path)] if path else ["*.json"]  # all others need not be there
    folder = Path(snapshot_download(name, repo_type="dataset", revision=revision, allow_patterns=patterns, local_files_only=True))
    there = sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*.json"))
    return {each: folder / each for each in _below(path, there)}


def _below(path: str, files: Iterable[str]) -> list[str]:
    """Those that are at a path or below it; nothing that would be outside of a data set's folder."""
    inside = (each for each in files if not each.startswith("/") and not {"..", ""} & {*each.split("/")})
    return [each for each in inside if not path or each == path or each.startswith(f"{path}/")]


def _is_name(name: str) -> bool:
    try:
        validate_repo_id(name)
        return True
    except HFValidationError:
        return False
