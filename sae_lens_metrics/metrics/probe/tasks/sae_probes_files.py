"""Reader of the data files that the package sae-probes carries, without importing it: that would load XGBoost and every file."""

import csv
import importlib.util
import io
import random
import re
from collections.abc import Iterator
from pathlib import Path

from sae_lens_metrics.metrics.probe.tasks.catalogue import CatalogueEntry
from sae_lens_metrics.metrics.probe.tasks.preparation import LabelledText
from sae_lens_metrics.metrics.probe.tasks.recasts import options_as_examples
from sae_lens_metrics.metrics.probe.tasks.task import TaskError

__all__ = ["INSTALL", "missing_packages", "sae_probes_examples"]

INSTALL = 'pip install "sae-lens-metrics[tasks]", or for the data alone: pip install --no-deps sae-probes==0.4.2 zstandard'
_OTHER_VERSION = f"install the version that has: {INSTALL}"


def missing_packages() -> str | None:
    """Why the files cannot be read here, and what to do; nothing if they can."""
    absent = [name for name in ("sae_probes", "zstandard") if importlib.util.find_spec(name) is None]
    if not absent:
        return None
    packages = " and ".join(name.replace("_", "-") for name in absent)
    return f"it needs the data of sae-probes, and {packages} {'is' if len(absent) == 1 else 'are'} not installed: {INSTALL}"


def sae_probes_examples(entry: CatalogueEntry, n_examples: int, rng: random.Random) -> list[LabelledText]:
    """All examples of a task, unbalanced and with duplicates as they are in the file.

    Raises:
        TaskError: sae-probes or zstandard is not installed, or not the version whose files are known.
    """
    del n_examples  # files are small
    texts = ((entry.text.format(**row), row[entry.label]) for row in _rows(entry))
    examples = (LabelledText(text, label, _group(entry, text)) for text, label in texts)
    if entry.recast:
        return options_as_examples(examples, entry.recast, rng)
    return [example._replace(label=example.label == entry.positive) for example in examples]


def _group(entry: CatalogueEntry, text: str) -> str | None:
    match = re.search(entry.group, text, re.DOTALL) if entry.group else None
    return match and match[1]


def _rows(entry: CatalogueEntry) -> Iterator[dict[str, str]]:
    path = _folder() / "data" / "cleaned_data" / f"{entry.source}.csv.zst"
    if not path.is_file():
        raise TaskError(f"the installed sae-probes has no file {path.name}; {_OTHER_VERSION}")
    import zstandard

    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
        rows = csv.DictReader(io.TextIOWrapper(stream, encoding="utf-8", newline=""))
        absent = [name for name in entry.columns if name not in (rows.fieldnames or ())]
        if absent:
            raise TaskError(f"{path.name} of the installed sae-probes has no column {', '.join(absent)}; {_OTHER_VERSION}")
        yield from rows


def _folder() -> Path:
    reason = missing_packages()
    if reason is not None:
        raise TaskError(reason)
    spec = importlib.util.find_spec("sae_probes")
    return Path(next(iter(spec.submodule_search_locations or ()), "")) if spec else Path()
