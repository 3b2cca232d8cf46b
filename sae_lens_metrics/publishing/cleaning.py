"""A result file without what is private, and with all that comparisons need."""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sae_lens_metrics.publishing.private import Private
from sae_lens_metrics.results import Report
from sae_lens_metrics.results.files import readable_json, write_atomically
from sae_lens_metrics.results.sae_names import file_stem

__all__ = ["clean_copy", "cleaned_stem", "cleaned_stems"]

_QUOTED = ("examples", "explanations", "effects")
"""Parts of a metric's result that quote text and tokens: those are the text's words, not this machine's."""
_NAMES = frozenset({"name", "dataset", "model", "model_name", "folder", "task_files", "run", "release", "path"})
"""Keys of a provenance under which a path may stand, relative ones too."""
_ROOTS = frozenset(
    {"home", "users", "root", "mnt", "media", "data", "scratch", "tmp", "var", "opt", "srv", "workspace", "work", "volumes"}
    | {"gpfs", "lustre", "nfs", "net", "cluster", "content", "kaggle", "project", "projects"}
)
"""How absolute paths begin, on many machines."""
_IDENTITY = re.compile(r"(_[0-9a-f]{10})$")
"""What the name of a result file ends in."""


def clean_copy(report: Report, path: Path, private: Private, *, text: bool = True) -> Path:
    """Writes a report to a file, without what is private.

    Hashes, settings, versions, numbers, influences and tables stay, so that it can be compared as the original can.

    Args:
        report: The report.
        path: The file.
        private: What must not be in it.
        text: Whether to keep what quotes text: examples, explanations, and the tokens that ablations move.
    """
    kept = report if text else report.without(*_QUOTED)
    data = kept.storable()
    results = {name: _result(data[name], private) for name in ("sanity",)}
    metrics = {private.cleaned(name): _result(result, private) for name, result in data["metrics"].items()}
    controls = {name: _control(control, private) for name, control in data["controls"].items()}
    rest = {name: _each(data[name], private.cleaned) for name in ("errors", "warnings")}
    provenance = _provenance(data["provenance"], private)
    return write_atomically(
        path, readable_json({**data, **results, "metrics": metrics, **rest, "provenance": provenance, "controls": controls})
    )


def cleaned_stem(stem: str, private: Private) -> str:
    """The name of a result file without the folders that a path in it has left there, as ``evaluate`` makes one of an SAE's folder.

    Args:
        stem: The file's name without its ending.
        private: What must not be in it.
    """
    identity = found[1] if (found := _IDENTITY.search(stem)) else ""
    bare = stem.removesuffix(identity)
    place = next((each for each in private.places if bare.startswith(f"{file_stem(each)}_")), None)
    if place is not None:
        bare = _last_part(Path(place), bare.removeprefix(f"{file_stem(place)}_").split("_"))
    elif identity and "_" in bare and _is_root(bare.split("_")[0]):
        bare = _last_part(Path("/"), bare.split("_"))
    return file_stem(private.named(bare)) + identity


def cleaned_stems(files: Iterable[Path], private: Private) -> dict[Path, str]:
    """Different names for all files.

    Args:
        files: Result files.
        private: What must not be in the names.
    """
    named: dict[Path, str] = {}
    for file in files:
        stem, number = cleaned_stem(file.stem, private), 1
        while (name := stem if number == 1 else f"{stem}-{number}") in named.values():
            number += 1
        named[file] = name
    return named


def _is_root(part: str) -> bool:
    return part.lower() in _ROOTS or os.path.isdir(f"/{part}")


def _last_part(folder: Path, parts: list[str]) -> str:
    """What a path ends in that became one word; of a path that is not on this machine, the last part of the word.

    Args:
        folder: Where it begins.
        parts: The word, where it may have been taken apart.
    """
    rest = parts
    while not (folder / "_".join(rest)).exists():
        there = [n for n in range(len(rest) - 1, 0, -1) if (folder / "_".join(rest[:n])).is_dir()]
        if not there:
            return rest[-1]
        folder, rest = folder / "_".join(rest[: there[0]]), rest[there[0] :]
    return "_".join(rest)


def _provenance(data: Any, private: Private, key: str = "") -> Any:
    if isinstance(data, Mapping):
        return {private.cleaned(str(name)): _provenance(value, private, str(name)) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_provenance(value, private, key) for value in data]
    if isinstance(data, str):
        return private.named(data) if key in _NAMES else private.cleaned(data)
    return data


def _result(result: Mapping[str, Any], private: Private) -> dict[str, Any]:
    return {key: _each(value, private.without_secrets if key in _QUOTED else private.cleaned) for key, value in result.items()}


def _control(control: Mapping[str, Any], private: Private) -> dict[str, Any]:
    results = {name: _result(result, private) for name, result in control["results"].items()}
    sae, errors = _provenance(control["sae"], private), _each(control["errors"], private.cleaned)
    return {**control, "results": results, "sae": sae, "errors": errors}


def _each(value: Any, change: Callable[[str], str]) -> Any:
    """JSON types with all text in them changed, that of names too; lists of numbers, which are most of it, are left as they are."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {change(name): _each(each, change) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return value if _is_of_numbers(value) else [_each(each, change) for each in value]
    return value


def _is_of_numbers(values: Sequence[Any]) -> bool:
    return len(values) > 0 and all(isinstance(each, int | float) for each in values)
