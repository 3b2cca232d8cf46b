"""Which SAEs a user means: releases and SAEs by name or pattern, and folders."""

import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError

from sae_lens_metrics.errors import SubjectError
from sae_lens_metrics.integrations.saelens import SAE_CFG_FILENAME, get_pretrained_saes_directory
from sae_lens_metrics.loading.downloads import with_retries
from sae_lens_metrics.loading.file_faults import explain_failure
from sae_lens_metrics.loading.models import nearest
from sae_lens_metrics.loading.patterns import matching
from sae_lens_metrics.loading.pretrained import check_name

__all__ = ["Target", "find_target", "find_targets"]

logger = logging.getLogger("sae_lens_metrics")

_SIGNS = re.compile(r"[\\*+?|^$()\[\]{}]")
"""What makes a name a pattern; a dot alone does not, as the names of hooks are full of them."""


_LONGEST = 300
"""Characters of a name or pattern that is no folder; to look for what is like it takes as long as it is."""


@dataclass(frozen=True)
class Target:
    """One SAE."""

    release: str
    """A release of SAELens's directory, a repository on the hub, or a folder on disk."""
    sae_id: str | None = None
    """Which SAE of the release; ``None`` for a folder."""

    @property
    def name(self) -> str:
        """What to call it in tables and files."""
        return self.release if self.sae_id is None else f"{self.release}/{self.sae_id}"


def find_targets(words: Sequence[str]) -> list[Target]:
    """The SAEs that a user names.

    Args:
        words: A release and an SAE, either of them a name or a regular expression that matches whole names, as in SAELens's own command
            for evaluations; or, if the first is a folder, folders that each hold an SAE, or SAEs somewhere below.

    Raises:
        SubjectError: If nothing is meant by them; it tells the nearest names.
    """
    for word in words:
        if len(word) > _LONGEST and not os.path.exists(word):
            raise SubjectError(f"a name of {len(word):,} characters was given, expected a release, an SAE or a folder: {word[:60]!r}...")
    if os.path.isdir(words[0]) or len(words) == 1:
        return list(dict.fromkeys(target for word in words for target in _in_folder(word)))
    if len(words) > 2:
        raise SubjectError(f"{words[0]!r} is not a folder, and {len(words)} names were given: give RELEASE SAE_ID, or folders")
    release, sae_id = words
    directory = get_pretrained_saes_directory()
    releases = _matching(release, directory)
    if releases:
        known = list(dict.fromkeys(each for name in releases for each in directory[name].saes_map))
        return _or_refuse(list(_of_releases(releases, sae_id, known)), releases, sae_id, known)
    if "/" not in release or _SIGNS.search(release):
        raise SubjectError(f"there is no release {release!r}: the nearest names are {nearest(release, directory)}")
    return _in_repository(release, sae_id)


def find_target(name: str) -> Target:
    """The SAE of a name in one word.

    Args:
        name: A folder that holds an SAE, or RELEASE/SAE_ID, of a release of SAELens's directory or a repository on the hub.

    Raises:
        SubjectError: If nothing, or more than one SAE, is meant by it; it tells the nearest names.
    """
    words = [name] if os.path.isdir(name) else _release_and_sae(name)
    found = find_targets(words)
    if len(found) > 1:
        raise SubjectError(f"{name!r} means {len(found)} SAEs, such as {found[0].name}, expected one: name it")
    return found[0]


def _release_and_sae(name: str) -> list[str]:
    """Splits RELEASE/SAE_ID, either of which may have slashes: a release of the directory has none, a repository has one."""
    release, _, rest = name.partition("/")
    if release in get_pretrained_saes_directory() or rest.count("/") == 0:
        return [release, rest] if rest else [name]
    owner, _, sae_id = rest.partition("/")
    return [f"{release}/{owner}", sae_id]


def _matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The name itself if there is one, or all that the pattern matches as a whole."""
    known = list(names)
    return [pattern] if pattern in known else matching(pattern, known)


def _of_releases(releases: list[str], sae_id: str, known: list[str]) -> Iterator[Target]:
    """The SAE of that name in each release, or those that it matches as a pattern; the pattern is matched once for all."""
    there = {name: get_pretrained_saes_directory()[name].saes_map for name in releases}
    is_name = all(sae_id in names for names in there.values())
    matched = set() if is_name else set(matching(sae_id, known))
    for name, names in there.items():
        yield from (Target(name, each) for each in ([sae_id] if sae_id in names else names) if each == sae_id or each in matched)


def _or_refuse(found: list[Target], releases: list[str], sae_id: str, known: list[str]) -> list[Target]:
    if found:
        return found
    where = f"the release {releases[0]!r} has" if len(releases) == 1 else f"the {len(releases)} releases that match have"
    raise SubjectError(f"{where} no SAE {sae_id!r}: the nearest names are {nearest(sae_id, known) or 'none, it holds no SAE'}")


def _in_repository(repository: str, sae_id: str) -> list[Target]:
    """SAEs of a repository that SAELens's directory does not have; a plain name is taken as it is, without asking the hub."""
    if not _SIGNS.search(sae_id):
        return [Target(repository, sae_id)]
    try:
        files = with_retries(lambda: HfApi().list_repo_files(repository), f"the repository {repository!r}")
    except HFValidationError:
        raise SubjectError(f"{repository!r} cannot be the name of a repository on the hub, expected OWNER/NAME: check it") from None
    except Exception as error:  # no network, no such repository, no access
        reason = explain_failure(error)
        raise SubjectError(f"the SAEs of {repository!r} cannot be listed ({reason}): give the name of one, without a pattern") from error
    folders = sorted(file.removesuffix(f"/{SAE_CFG_FILENAME}") for file in files if file.endswith(f"/{SAE_CFG_FILENAME}"))
    return _or_refuse([Target(repository, folder) for folder in _matching(sae_id, folders)], [repository], sae_id, folders)


def _in_folder(folder: str) -> list[Target]:
    """The SAE in a folder, or those below it."""
    if not os.path.isdir(folder):
        check_name(folder, None)
    if (Path(folder) / SAE_CFG_FILENAME).is_file():
        return [Target(folder)]
    below = sorted((str(Path(parent)) for parent, _, files in os.walk(folder) if SAE_CFG_FILENAME in files), key=_by_number)
    if not below:
        raise SubjectError(f"there is no SAE in {folder!r} or below (cfg.json, sae_weights.safetensors): give a folder that holds one")
    logger.info("%d SAE%s below %s", len(below), "s" if len(below) > 1 else "", folder)
    return [Target(each) for each in below]


def _by_number(name: str) -> list[tuple[int, str]]:
    """Sorts checkpoint 2 before checkpoint 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", name)]
