"""What a command is about to write: into a folder that takes it, and never over what it reads."""

import dataclasses
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.metrics.registry import metric_spec

__all__ = ["files_read", "require_other_files", "require_page", "writable", "writable_folders"]

_OF_RESULTS = (".json", ".jsonl", ".csv")


def require_other_files(outputs: Iterable[Path], inputs: Iterable[Path], flag: str = "--output") -> None:
    """Makes sure that nothing is written over what is read, under whatever names and through whatever links, nor two things into one file.

    Args:
        outputs: The files that will be written.
        inputs: Those that are read; folders among them count as themselves.
        flag: The flag that names others.

    Raises:
        ConfigError: If two are the same.
    """
    taken = {each: "is read by this command, which would write over it" for each in inputs}
    for output in outputs:
        for other, why in taken.items():
            if _same(output, other):
                raise ConfigError(f"{str(output)!r} {why}: give another place with {flag}")
        taken[output] = "would be written twice"


def _same(one: Path, other: Path) -> bool:
    if one.exists() and other.exists():
        return one.samefile(other)
    return os.path.realpath(one) == os.path.realpath(other)


def require_page(path: Path, flag: str = "--output", folder: str = "") -> None:
    """Makes sure that a path is one for a page, before the page is made.

    Args:
        path: The page.
        flag: The flag that names another.
        folder: How a folder is written instead, if it can be.

    Raises:
        ConfigError: If it is a folder, or called as results are, which a page must not take the place of.
    """
    if path.is_dir():
        raise ConfigError(f"{str(path)!r} is a folder, and a page is a file: give {flag} {path / 'report.html'}{folder}")
    if path.suffix.lower() in _OF_RESULTS:
        raise ConfigError(f"{str(path)!r} is a name for results, and a page is HTML: give {flag} {path.with_suffix('.html')}")


def files_read(config: MetricsConfig, *others: str | None) -> list[Path]:
    """The files and folders that an evaluation reads besides SAEs and models.

    Args:
        config: Its settings, which may name a data set and tasks.
        others: More of them; ``None`` for one that is not given.
    """
    own = [path for name in config.names if (spec := metric_spec(name)).files is not None for path in spec.files(config.settings[name])]
    return [*(Path(each) for each in (config.dataset, *others) if each), *own]


def writable_folders(config: MetricsConfig) -> None:
    """Makes sure of the folders that settings name (their metadata say ``folder``) before any work is done.

    Raises:
        OSError: If one cannot be made or written.
    """
    for metric, settings in config.settings.items():
        for each in dataclasses.fields(settings):
            if each.metadata.get("folder") and (folder := getattr(settings, each.name)) is not None:
                writable(Path(folder), f"--{metric}.{each.name}")


def writable(folder: Path, flag: str = "--output") -> Path:
    """Makes sure of a folder before any work is done.

    Args:
        folder: The folder.
        flag: The flag that names another.

    Raises:
        OSError: If it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise OSError(f"cannot write to {str(folder)!r} ({error.strerror}): give another folder with {flag}") from error
