"""Result files: which one a result belongs in, and whether it is there already."""

import hashlib
import json
import logging
import os
from itertools import count
from pathlib import Path
from typing import Any

from sae_lens_metrics.errors import ResultError
from sae_lens_metrics.evaluation.provenance import packages
from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.metrics.registry import metric_spec
from sae_lens_metrics.results import Report
from sae_lens_metrics.results.sae_names import file_stem
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.corpus import Corpus

__all__ = ["finished", "identity", "result_path"]

logger = logging.getLogger("sae_lens_metrics")


def identity(subject: Subject, corpus: Corpus, config: MetricsConfig) -> dict[str, Any]:
    """Everything that a result depends on, as JSON types, known before any metric has run.

    Of the configuration that is the seed, and the settings that move numbers of the metrics that are asked for. The number of tokens,
    the data set and its split are told by the text itself; memory, overhead, folders and batch sizes move nothing.

    Args:
        subject: The model and SAE.
        corpus: The text.
        config: What to compute.
    """
    files = [path for spec in map(metric_spec, config.names) if spec.files is not None for path in spec.files(config.settings[spec.name])]
    return {
        "config": config.moving_numbers(),
        "sae": subject.describe(),
        "corpus": corpus.describe(),
        "versions": packages(),
        "settings": subject.settings(),
        "model": subject.site.model_hash(),
        "files": {str(path): _contents(path) for path in files},
    }


def result_path(output: Path, name: str, depends_on: dict[str, Any]) -> Path:
    """A file for a result: no two results share one, and the same result always has the same.

    Args:
        output: The folder.
        name: What the SAE is called.
        depends_on: What ``identity`` gave.
    """
    digest = hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:10]
    return output / f"{file_stem(name)}_{digest}.json"


def finished(path: Path) -> Report | None:
    """The report in a file, if it is whole and none of its metrics failed, on the SAE or on a control.

    What is there and is no whole report is kept under another name, as it may be all that there is of hours of work.

    Args:
        path: Where the report belongs.

    Raises:
        OSError: If something else is there that cannot be renamed.
    """
    if not os.path.lexists(path):
        return None
    try:
        report = Report.load(path)
    except (ResultError, OSError) as error:
        logger.warning("%s; it is made again, and what was there is kept as %s", error, _kept_aside(path).name)
        return None
    return None if report.errors or any(control.errors for control in report.controls.values()) else report


def _kept_aside(path: Path) -> Path:
    """Gives a file another name, by which nothing takes it for a result."""
    aside = (path.with_name(f"{path.name}.damaged{f'-{number}' if number > 1 else ''}") for number in count(1))
    free = next(each for each in aside if not os.path.lexists(each))
    path.rename(free)
    return free


def _contents(path: Path) -> str:
    """SHA-256 of a file, or of all files in a folder."""
    digest = hashlib.sha256()
    for file in sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]:
        digest.update(f"{file.name} {file.stat().st_size} ".encode("utf-8", "backslashreplace") + file.read_bytes())
    return digest.hexdigest()
