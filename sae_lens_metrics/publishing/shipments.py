"""What is to be sent: files without what is private, made before anybody is asked, and the list that a user sees of them."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi

from sae_lens_metrics.errors import PublishError
from sae_lens_metrics.publishing.cleaning import clean_copy, cleaned_stems
from sae_lens_metrics.publishing.destinations import Address, Destination
from sae_lens_metrics.publishing.front_matter import settings_of, with_section, with_settings
from sae_lens_metrics.publishing.model_index import model_index
from sae_lens_metrics.publishing.numbers import write_numbers
from sae_lens_metrics.publishing.private import Private
from sae_lens_metrics.publishing.sections import dataset_section, model_section
from sae_lens_metrics.results import Report
from sae_lens_metrics.results.sae_names import file_stem, given_names
from sae_lens_metrics.results.saved_reports import SavedReports

__all__ = ["Request", "Shipment", "prepare"]

_CARD = "README.md"
_NUMBERS = "numbers.parquet"
_TAGS = ["sparse-autoencoder", "saelens", "interpretability", "sae-lens-metrics"]
_SPACE = {"emoji": "📏", "colorFrom": "blue", "colorTo": "gray", "sdk": "static", "app_file": "index.html", "pinned": False}


@dataclass(frozen=True)
class Request:
    """What a user wants to be published, and where."""

    files: Sequence[Path]
    """Result files."""
    dataset: Address | None = None
    """The data set for them."""
    space: Address | None = None
    """The Space for their page."""
    card: Address | None = None
    """The SAE's own repository, whose card gets the table."""
    names: str | None = None
    """What the SAEs are called, separated by commas."""
    title: str | None = None
    """What the page is called."""
    text: bool = True
    """Whether to keep what quotes text."""

    def addresses(self) -> list[Address]:
        """The repositories, in the order in which they are written."""
        return [each for each in (self.dataset, self.space, self.card) if each is not None]


@dataclass(frozen=True)
class Shipment:
    """What is to be sent to one repository."""

    destination: Destination
    files: Mapping[str, Path]
    """Files by their place in the repository."""
    former_card: str | None = None
    """The README before, where it is changed."""
    fresh: dict[str, Path] = field(init=False)
    """Those files that are not there yet as they are."""

    def __post_init__(self) -> None:
        fresh = {path: file for path, file in self.files.items() if not self.destination.has(path, file)}
        object.__setattr__(self, "fresh", fresh)

    def require_visibility(self, *, private: bool) -> None:
        """Makes sure that what is meant to be private does not become public.

        Args:
            private: Whether it is meant to be private.

        Raises:
            PublishError: If the repository is there, and public.
        """
        there = self.destination
        if private and there.exists and not there.private and there.address.kind != "model":
            raise PublishError(
                f"{there.address} is there already, and public: give another name, or make it private in its settings on the hub"
            )

    def lines(self, endpoint: str, *, private: bool) -> Iterator[str]:
        """The list for the user.

        Args:
            endpoint: Where the hub is.
            private: Whether a new repository is a private one.
        """
        there = self.destination
        seen = "private" if (there.private if there.exists else private) else "public"
        yield f"to {there.address} ({'' if there.exists else 'new, '}{seen}), {there.address.url(endpoint)}:"
        for path, file in self.fresh.items():
            state = "in the place of what is there" if path in there.hashes else "new"
            yield f"  {path}  {_size(file.stat().st_size)}  {state}"
        if same := len(self.files) - len(self.fresh):
            yield f"  {same} of {len(self.files)} files are there already, and are not sent again"
        if kept := len({*there.hashes} - {*self.files}):
            yield f"  {f'{kept} other files' if kept > 1 else 'another file'} there stay{'' if kept > 1 else 's'} untouched"
        if self.former_card is not None and _CARD in self.fresh:
            yield f"  what changes in {_CARD}:"
            yield from (f"    {line}" for line in _difference(self.former_card, self.files[_CARD].read_bytes().decode()))


def prepare(request: Request, api: HfApi, private: Private, folder: Path) -> list[Shipment]:
    """Makes all files that are to be sent, and looks at what is there already; sends nothing.

    Args:
        request: What is wanted.
        api: The hub.
        private: What must not be sent.
        folder: An empty folder for the files.

    Raises:
        ResultError: A file holds no result.
        PublishError: The hub cannot be reached, a repository is not there that must be, or its card cannot be changed.
        OSError: The folder cannot be written.
    """
    there = {address: Destination.look(api, address) for address in request.addresses()}
    if request.card is not None and not there[request.card].exists:
        raise PublishError(f"there is no model repository {request.card.name}, or it is not for this user: check the name after --card")
    private = private.but(*(part for address in there for part in (address.owner, address.name.split("/")[1])))
    staged = _Staged.of(request, private, folder)
    makers = {"dataset": _dataset, "space": _space, "model": _model}
    shipments = [makers[address.kind](request, destination, staged) for address, destination in there.items()]
    for shipment in shipments:
        _require_clean(shipment, private)
    return shipments


@dataclass(frozen=True)
class _Staged:
    """The results without what is private."""

    folder: Path
    results: dict[str, Path]
    """Their files by the SAEs' names."""
    private: Private

    @classmethod
    def of(cls, request: Request, private: Private, folder: Path) -> "_Staged":
        stems = cleaned_stems(request.files, private)
        names = given_names(request.names, list(stems.values()))
        results = {}
        for file, stem in stems.items():
            name = names[stem]
            path = folder / "results" / f"{stem if request.names is None else file_stem(name)}.json"
            if path in results.values():
                raise PublishError(f"--names gives two results the same file name, {path.name}: give names that differ in letters")
            results[name] = clean_copy(Report.load(file), path, private, text=request.text)
        return cls(folder, results, private)

    @property
    def reports(self) -> SavedReports:
        """The results, read whenever they are asked for."""
        return SavedReports(self.results)

    def light(self) -> dict[str, Report]:
        """The results for a card."""
        parts = ("influences", "tables", "histograms", "examples", "explanations", "effects")
        return {name: report.without(*parts) for name, report in self.reports.items()}

    def write(self, kind: str, text: str) -> Path:
        """A README for a repository of one kind."""
        path = self.folder / kind / _CARD
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8", "backslashreplace"))  # its ends of lines as they are
        return path


def _dataset(request: Request, there: Destination, staged: _Staged) -> Shipment:
    files = {f"results/{path.name}": path for path in staged.results.values()}
    places = {name: f"results/{path.name}" for name, path in staged.results.items()}
    numbers = write_numbers(staged.reports, places, staged.folder / "dataset" / _NUMBERS)
    former = there.card or ""
    settings: dict[str, Any] = {"configs": _configs(settings_of(former).get("configs"))}
    if not settings_of(former):
        settings |= {"pretty_name": there.address.name.split("/")[1], "tags": _TAGS}
    section = dataset_section(staged.light(), places, there.address.name, None if request.space is None else request.space.name)
    card = staged.write("dataset", with_section(with_settings(former, settings), section))
    return Shipment(there, {**files, _NUMBERS: numbers, _CARD: card}, there.card)


def _configs(former: Any) -> list[Any]:
    """What the hub's viewer shows: the table, beside what the card names already."""
    own = {"config_name": "numbers", "data_files": _NUMBERS}
    others = former if isinstance(former, list) else []
    return [*(each for each in others if not (isinstance(each, dict) and each.get("config_name") == "numbers")), own]


def _space(request: Request, there: Destination, staged: _Staged) -> Shipment:
    from sae_lens_metrics.views.page import write_saved

    title = staged.private.cleaned(request.title or "SAE metrics")
    page = write_saved(staged.reports, staged.folder / "page" / "page.html", title=title)
    written = [page] if page.name == "page.html" else sorted(file for file in page.parent.rglob("*") if file.is_file())
    files = {"index.html" if file == page else file.relative_to(page.parent).as_posix(): file for file in written}
    former = there.card or ""
    settings = {"title": title, **_SPACE} if not former or not there.exists else {"sdk": "static", "app_file": "index.html"}
    link = f"The result files: https://huggingface.co/datasets/{request.dataset.name}\n\n" if request.dataset is not None else ""
    section = f"{link}A page of `sae-lens-metrics report`: metrics of sparse autoencoders as Gao et al. (2024) define them."
    card = staged.write("space", with_section(with_settings(former, settings), section))
    return Shipment(there, {**files, _CARD: card}, there.card)


def _model(request: Request, there: Destination, staged: _Staged) -> Shipment:
    dataset, space = (None if each is None else each.name for each in (request.dataset, request.space))
    former, reports = there.card or "", staged.light()
    url = {} if dataset is None else {"url": f"https://huggingface.co/datasets/{dataset}"}
    results = model_index(reports, settings_of(former).get("model-index"), there.address.name.split("/")[1], **url)
    card = with_section(with_settings(former, {"model-index": results}), model_section(reports, dataset, space))
    return Shipment(there, {_CARD: staged.write("model", card)}, former)


def _require_clean(shipment: Shipment, private: Private) -> None:
    """A second look at every byte, which should find nothing."""
    known = shipment.former_card or ""
    for path, file in shipment.fresh.items():
        found = [each for each in private.found_in(file) if each not in known]
        if found:
            raise PublishError(f"{path} would hold {found[0]}: nothing is sent; leave that result out, or --no-text if a text quotes it")


def _difference(former: str, card: str) -> Iterator[str]:
    lines = difflib.unified_diff(former.splitlines(), card.splitlines(), "before", "after", lineterm="", n=2)
    return (line for line in lines if not line.startswith(("---", "+++")) or line.strip("-+ ") not in ("before", "after"))


def _size(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
