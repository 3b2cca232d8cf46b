"""Which results and training histories are in the files, folders and data sets of the hub that a user names."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from sae_lens_metrics.errors import ResultError
from sae_lens_metrics.loading.published import FORM, is_address, published_files
from sae_lens_metrics.results.history import METRICS_FILENAME, History, read_histories
from sae_lens_metrics.results.reading import begins_as_result
from sae_lens_metrics.results.sae_names import given_names
from sae_lens_metrics.results.saved_reports import SavedReports

__all__ = ["files_at", "read_inputs"]


def read_inputs(paths: Sequence[str | Path], names: str | None = None) -> tuple[SavedReports, dict[str, History]]:
    """Finds result files, training histories, folders of both, and results that are published on the hub.

    Of a folder, the result files directly in it are taken, or, where there is none, those further down; and every ``metrics.jsonl`` in it
    or further down. Other files in folders are passed over; a file that is named itself must be one of the two. Each is called by its
    file's name, or by as much of its path as tells it apart.

    Args:
        paths: Files, folders, and addresses as ``hf://datasets/USER/NAME``.
        names: What results are called instead, separated by commas, in the order in which they are found.

    Returns:
        Reports, which are read when they are asked for, and histories, by name.

    Raises:
        ConfigError: If there are more or fewer names than results.
        ResultError: If there is nothing at a path, or it holds neither results nor histories, or a history is damaged.
        OSError: If a file cannot be read.
    """
    results: dict[Path, Path] = {}
    histories: dict[Path, dict[str, History]] = {}
    for path in paths:
        published = {each.path: Path(each.name) for each in published_files(path)} if is_address(path) else {}
        for file in files_at(path):
            if file.suffix == ".jsonl":
                histories.setdefault(file, _histories(file, named=file == Path(path)))
            else:
                results[file] = published.get(file, file.absolute().with_suffix(""))
    named = _named_results(results)
    called = given_names(names, list(named))
    return SavedReports({called[name]: file for name, file in named.items()}), _named_histories(
        {file: found for file, found in histories.items() if found}
    )


def files_at(path: str | Path) -> list[Path]:
    """The files that ``read_inputs`` reads at a path: itself, those of a folder, or those of a data set on the hub, which are downloaded.

    Args:
        path: A file, a folder, or an address.

    Raises:
        ResultError: If there is nothing, or nothing to read in a folder.
    """
    if is_address(path):
        return [each.path for each in published_files(path)]
    path = Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ResultError(f"there is no file or folder {str(path)!r}: give result files, folders that hold them, or {FORM}")
    found = [file for file in sorted(path.glob("*.json")) if begins_as_result(file)]
    found = found or [file for file in sorted(path.rglob("*.json")) if begins_as_result(file)]
    found += sorted(path.rglob(METRICS_FILENAME))
    if not found:
        raise ResultError(
            f"{str(path)!r} holds no result and no {METRICS_FILENAME}: sae-lens-metrics evaluate writes results, training with metrics both"
        )
    return found


def _histories(file: Path, *, named: bool) -> dict[str, History]:
    """The histories of a file; a run that has not been evaluated yet is passed over in a folder."""
    if not named and not file.read_bytes().strip():
        return {}
    return read_histories(file)


def _named_results(files: Mapping[Path, Path]) -> dict[str, Path]:
    """Files by their names where these are all different, otherwise by what tells their places apart.

    Args:
        files: The place of each, which for a published file is that in its data set; without the ending.
    """
    paths = [place.parts for place in files.values()]
    stems = [path[-1] for path in paths]
    names = stems if len({*stems}) == len(stems) else _told_apart(paths)
    return dict(zip(names, files, strict=True))


def _named_histories(files: Mapping[Path, dict[str, History]]) -> dict[str, History]:
    """Histories by what tells their folders apart, as these end in random characters; and by the SAE where a run trained several."""
    folders = _told_apart([file.absolute().parent.parts for file in files])
    return {
        f"{folder}/{sae}" if sae else folder: history
        for folder, found in zip(folders, files.values(), strict=True)
        for sae, history in found.items()
    }


def _told_apart(paths: Sequence[tuple[str, ...]]) -> list[str]:
    """Of each path, without the folders that all begin with, as many parts as no other path begins with."""
    shared = 0
    for level in zip(*(path[:-1] for path in paths), strict=False):
        if len({*level}) > 1:
            break
        shared += 1
    rests = [path[shared:] for path in paths]
    names = []
    for rest in rests:
        others = [each for each in rests if each != rest]
        length = next((n for n in range(1, len(rest)) if all(each[:n] != rest[:n] for each in others)), len(rest))
        names.append("/".join(rest[:length]))
    return names
