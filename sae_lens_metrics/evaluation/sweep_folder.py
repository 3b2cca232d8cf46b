"""What the processes of a sweep know of each other: a file for each SAE that was dealt with, and claims of those at hand.

All of it is in the folder ``.sweep`` beside the results. ``TARGETS`` holds the names of the latest sweep's SAEs; ``KEY.record`` what came
of one of them: its result file or why it failed, and the report without tables and the like; ``KEY.1.lease`` who is evaluating it.
"""

import hashlib
import json
import logging
import os
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae_lens_metrics.errors import ResultError
from sae_lens_metrics.evaluation.leases import EXPIRY, Leases
from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.results import Report, write_atomically
from sae_lens_metrics.results.sae_names import file_stem

if TYPE_CHECKING:
    from sae_lens_metrics.evaluation.order import Job
    from sae_lens_metrics.text.parts import Part

__all__ = ["Record", "SavedRecords", "SweepFolder", "task_keys"]

logger = logging.getLogger("sae_lens_metrics")

_PLACE, _TARGETS = ".sweep", "targets"
_LOOK_AGAIN = 0.5
"""Seconds between two looks at what somebody else is at."""
_SLIM = ("influences", "tables", "histograms", "examples", "explanations", "effects")
"""Parts of a report that stay in its result file, which they make large."""
_NO_MATTER = ("device", "device_map")
"""What is known better about an SAE but moves no number: processes on several devices do the same sweep."""


@dataclass(frozen=True)
class Record:
    """What came of an SAE."""

    name: str
    file: str | None = None
    """The result file: its name, or its path if it is elsewhere; ``None`` if there is none."""
    error: str | None = None
    """Why the SAE or some of its metrics failed, or its result is not where it belongs."""
    report: Report | None = None
    """The report, without what makes result files large."""

    def slim(self) -> "Record":
        """The same without what a summary does not need."""
        return self if self.report is None else replace(self, report=self.report.without(*_SLIM))

    def to_json(self) -> str:
        """It as text."""
        report = None if self.report is None else self.report.storable()
        return json.dumps({"name": self.name, "file": self.file, "error": self.error, "report": report})

    @classmethod
    def from_json(cls, text: str) -> "Record":
        """The inverse of ``to_json``.

        Args:
            text: What it gave.

        Raises:
            ResultError: If it is no record, or one of another version.
        """
        try:
            data = json.loads(text)
            report = None if data["report"] is None else Report.from_dict(data["report"])
            return cls(data["name"], data["file"], data["error"], report)
        except (ValueError, KeyError, TypeError) as error:
            raise ResultError(f"this is no record of a sweep ({error})") from error


def task_keys(jobs: "Sequence[Job]", config: MetricsConfig, part: "Part | None" = None) -> dict[str, str]:
    """What the evaluation of each SAE is called in names of files, by the SAE's name.

    Everything that is asked for is in it, but for what only loading the SAE and its text can tell.

    Args:
        jobs: The SAEs.
        config: What is computed.
        part: Which rows of data sets are drawn from.
    """
    common = [config.moving_numbers(), config.dataset, config.split, config.tokens, None if part is None else asdict(part)]
    return {job.target.name: _key(job, common) for job in jobs}


def _key(job: "Job", common: list[Any]) -> str:
    known = {name: value for name, value in asdict(job.overrides).items() if name not in _NO_MATTER}
    asked = json.dumps([job.target.release, job.target.sae_id, known, *common], sort_keys=True, default=str)
    return f"{file_stem(job.target.name)}_{hashlib.sha256(asked.encode('utf-8', 'backslashreplace')).hexdigest()[:12]}"


class SweepFolder:
    """A sweep's folder, as one of its processes sees it.

    Args:
        output: The folder.
        keys: What ``task_keys`` gave, of all SAEs of the sweep in their order, also of those that other processes evaluate.
        expiry: Seconds as in ``Leases``.
    """

    def __init__(self, output: Path, keys: Mapping[str, str], expiry: float = EXPIRY) -> None:
        self.output, self._keys = output, dict(keys)
        self._place = output / _PLACE
        self._leases = Leases(self._place, expiry)
        self._before = self.stamps()

    @classmethod
    def found(cls, output: Path) -> "SweepFolder | None":
        """That of the latest sweep in a folder, if there was one.

        Args:
            output: The folder.
        """
        try:
            keys = dict(json.loads((output / _PLACE / _TARGETS).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return cls(output, keys)

    def begin(self) -> None:
        """Makes this sweep the latest one, of which the summary tells."""
        try:
            write_atomically(self._place / _TARGETS, json.dumps(list(self._keys.items()), indent=0))
        except OSError as error:
            logger.warning("%s: the results are not lost by it", error)

    # --- claims ---------------------------------------------------------------------------------------------------------------

    def claimed(self, name: str) -> AbstractContextManager[bool]:
        """Claims an SAE for as long as the context lasts, in which it is told whether that worked.

        Args:
            name: The SAE's name.
        """
        return self._leases.claimed(self._keys[name])

    @contextmanager
    def alone(self, what: str) -> Iterator[None]:
        """Does something that only one process may do at a time, waiting for the others.

        Args:
            what: What it is called; part of a file's name.
        """
        while True:
            with self._leases.claimed(what) as mine:
                if mine:
                    yield
                    return
            time.sleep(_LOOK_AGAIN)

    def first_to(self, *what: Any) -> bool:
        """Whether no process has asked this before, of the same thing.

        Args:
            what: JSON types.
        """
        digest = hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()[:16]
        try:
            (self._place / f"{digest}.once").open("x").close()
        except FileExistsError:
            return False
        except OSError:  # a folder that takes no file
            return True
        return True

    @contextmanager
    def marked(self) -> Iterator[tuple[Path, str]]:
        """A file, and what is in it, by which somebody elsewhere may tell whether this folder is there, too; while the context lasts."""
        mark = self._place / f"{uuid.uuid4().hex}.mark"
        with suppress(OSError):
            write_atomically(mark, mark.stem)
        try:
            yield mark.absolute(), mark.stem
        finally:
            with suppress(OSError):
                mark.unlink()

    # --- records --------------------------------------------------------------------------------------------------------------

    def read(self, name: str) -> Record | None:
        """What came of an SAE; ``None`` if nothing did yet.

        Args:
            name: The SAE's name.
        """
        try:
            return Record.from_json(self._path(name).read_text(encoding="utf-8"))
        except (OSError, UnicodeError, ResultError):  # not there, or written by another version
            return None

    def made_meanwhile(self, name: str) -> Record | None:
        """What another process has made of an SAE since this one began, so that it need not even be loaded.

        Args:
            name: The SAE's name.
        """
        key = self._path(name).name
        return None if _stamp(self._path(name)) == self._before.get(key) else self.read(name)

    def write(self, record: Record) -> bool:
        """Keeps what came of an SAE; a record that is there already and says the same is left as it is.

        Args:
            record: It, slim.

        Returns:
            Whether it is kept; a folder that does not take it costs no result.
        """
        path = self._path(record.name)
        text = record.to_json()
        with suppress(OSError, ValueError):
            if record.error is None and path.read_text(encoding="utf-8") == text:
                return True
        try:
            write_atomically(path, text)
        except OSError as error:
            logger.warning("%s: the results are not lost by it", error)
            return False
        return True

    def path(self, record: Record) -> Path:
        """The result file that a record with one tells of."""
        return self.output / str(record.file)

    def file_name(self, path: Path | None) -> str | None:
        """How a record tells of a result file."""
        if path is None:
            return None
        return path.name if path.parent == self.output else str(path.absolute())

    def records(self) -> Iterator[Record]:
        """All there are of the sweep, in the order of its SAEs, but for those whose result was removed."""
        there = (record for name in self._keys if (record := self.read(name)) is not None)
        return (record for record in there if record.file is None or self.path(record).is_file())

    def files(self) -> dict[str, Path]:
        """The result files of the sweep by name, in the order of its SAEs."""
        return {record.name: self.path(record) for record in self.records() if record.file is not None}

    def _path(self, name: str) -> Path:
        return self._place / f"{self._keys[name]}.record"

    def stamps(self) -> dict[str, Any]:
        """Which records there are, and which version of each; changes whenever one does."""
        wanted = {f"{key}.record" for key in self._keys.values()}
        with suppress(OSError), os.scandir(self._place) as entries:
            return {entry.name: _stamp(Path(entry.path)) for entry in entries if entry.name in wanted}
        return {}


class SavedRecords(Mapping[str, Report]):
    """The reports of records, each read when it is asked for, so that memory does not grow with their number.

    Args:
        folder: Where the records are.
        names: Which; all have a report.
    """

    def __init__(self, folder: SweepFolder, names: Iterable[str] = ()) -> None:
        self._folder = folder
        self._names: dict[str, Report | None] = dict.fromkeys(names)

    def add(self, record: Record, kept: bool) -> None:
        """Adds the report of another record.

        Args:
            record: It.
            kept: Whether it is in the folder; if not, the report is kept in memory.
        """
        self._names[record.name] = None if kept else record.report

    def __getitem__(self, name: str) -> Report:
        in_memory = self._names[name]
        if in_memory is not None:
            return in_memory
        record = self._folder.read(name)
        if record is None or record.report is None:
            raise ResultError(f"what was known of {name} is gone from {str(self._folder.output)!r}: evaluate it again")
        return record.report

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _stamp(path: Path) -> list[int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_mtime_ns, found.st_ino, found.st_size]
