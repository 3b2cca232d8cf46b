"""The result files to compare: found, named and read."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from sae_lens_metrics.errors import ResultError
from sae_lens_metrics.loading.published import is_address, published_files
from sae_lens_metrics.results import Report
from sae_lens_metrics.results.sae_names import given_names

__all__ = ["read_reports", "result_files"]


def result_files(paths: Sequence[str | Path], names: str | None = None) -> dict[str, Path]:
    """Result files by the shortest names that differ: of the files, or of their paths where two have the same name.

    Args:
        paths: The files, or addresses as ``hf://datasets/USER/NAME`` of published ones, which are downloaded.
        names: What they are called instead, separated by commas.

    Raises:
        ConfigError: If there are more or fewer names than files.
        ResultError: If there is no such file or data set, with what to do.
    """
    found = [each for path in paths for each in _result_files(path)]
    files = [file for file, _ in found]
    stems = [file.stem for file in dict.fromkeys(files)]
    named: dict[str, Path] = {}
    for i, (file, place) in enumerate(found):
        name = file.stem if stems.count(file.stem) == 1 else place
        again = files[:i].count(file)
        named[f"{name} ({again + 1})" if again else name] = file
    return {name: named[old] for old, name in given_names(names, list(named)).items()}


def read_reports(files: Mapping[str, Path]) -> dict[str, Report]:
    """Reads what a comparison needs of result files: all but the examples, which are most of them.

    Raises:
        ResultError: If a file holds no result.
    """
    return {name: Report.load(file).without("examples", "explanations", "effects") for name, file in files.items()}


def _result_files(path: str | Path) -> list[tuple[Path, str]]:
    """The file at a path, or the files of a data set on the hub, each with what it is called where its own name is not enough."""
    if is_address(path):
        return [(each.path, each.name) for each in published_files(path)]
    path = Path(path)
    if path.is_file():
        return [(path, str(path))]
    what = f"{str(path)!r} is a folder" if path.is_dir() else f"there is no file {str(path)!r}"
    how = f"sae-lens-metrics evaluate {path} --dataset DATASET" if path.is_dir() else "sae-lens-metrics evaluate RELEASE SAE_ID"
    raise ResultError(f"{what}: a comparison is of result files, give their names; an SAE is evaluated first ({how} writes such a file)")
