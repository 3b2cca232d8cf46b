"""What stands in a card: the table, what the numbers depend on, and how to cite them, as Markdown that no name can break."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sae_lens_metrics.metrics.registry import spec_of_result
from sae_lens_metrics.results import Estimate, Report
from sae_lens_metrics.results.in_words import encodable, printable, with_error

__all__ = ["dataset_section", "escaped", "model_section"]

_BESIDE = 4
"""SAEs whose numbers stand beside each other, a row for each number; of more, each has a row with its main numbers."""
_REPOSITORY = "https://github.com/decoderesearch/SAELens"
_CITATION = """```bibtex
@article{gao2024scaling,
  title = {Scaling and evaluating sparse autoencoders},
  author = {Gao, Leo and Dupr{\\'e} la Tour, Tom and Tillman, Henk and Goh, Gabriel and Troll, Rajan and Radford, Alec and
            Sutskever, Ilya and Leike, Jan and Wu, Jeffrey},
  journal = {arXiv preprint arXiv:2406.04093},
  year = {2024},
}
```"""


def dataset_section(reports: Mapping[str, Report], files: Mapping[str, str], dataset: str, space: str | None) -> str:
    """The card of a data set.

    Args:
        reports: The results by the SAEs' names.
        files: The result file of each in the data set.
        dataset: The data set.
        space: The Space with the page, if there is one.
    """
    page = f"\n\nTo look at, with figures, latents and examples: [the page](https://huggingface.co/spaces/{space})." if space else ""
    listed = "\n".join(f"| {escaped(name)} | [`{path}`]({path}) |" for name, path in files.items())
    return f"""# {escaped(dataset.split("/")[-1])}

Metrics of {_many(len(reports), "sparse autoencoder")}, with standard errors, as "Scaling and evaluating sparse autoencoders"
([Gao et al. 2024](https://arxiv.org/abs/2406.04093)) defines them, computed by `sae-lens-metrics` for [SAELens]({_REPOSITORY}).{page}

{_numbers(reports)}

## Files

`numbers.parquet` has a row for each number of each SAE. The result files hold all of it, and what each document did to each number, by
which two SAEs on the same text are compared:

| SAE | result file |
|---|---|
{listed}

```bash
sae-lens-metrics compare MINE.json hf://datasets/{dataset}
sae-lens-metrics report hf://datasets/{dataset} -o report.html
```

{_depends_on(reports)}

## How to cite

The paper that defines the metrics; and this data set by its address, with the commit.

{_CITATION}"""


def model_section(reports: Mapping[str, Report], dataset: str | None, space: str | None) -> str:
    """The part of an SAE's card.

    Args:
        reports: The results by the SAEs' names.
        dataset: The data set with the result files, if there is one.
        space: The Space with the page, if there is one.
    """
    links = [f"[result files](https://huggingface.co/datasets/{dataset})"] if dataset else []
    links += [f"[page with figures and latents](https://huggingface.co/spaces/{space})"] if space else []
    more = f" More: {', '.join(links)}." if links else ""
    return f"""## Metrics

As ["Scaling and evaluating sparse autoencoders"](https://arxiv.org/abs/2406.04093) (Gao et al. 2024) defines them, with standard errors, by
`sae-lens-metrics`.{more}

{_numbers(reports)}

{_depends_on(reports, level=3)}"""


def escaped(text: str) -> str:
    """Text of anybody as a part of a line or a table in Markdown, where it is nothing but text.

    Args:
        text: The text.
    """
    plain = printable(encodable(text)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*\[\]|~#!$])|(?<!\w)_|_(?!\w)", lambda found: f"\\{found[0]}", plain)


def _numbers(reports: Mapping[str, Report]) -> str:
    return _side_by_side(reports) if len(reports) <= _BESIDE else _overview(reports)


def _side_by_side(reports: Mapping[str, Report]) -> str:
    estimates = [dict(report.estimates()) for report in reports.values()]
    rows = []
    for metric, names in _there(reports.values()).items():
        spec = spec_of_result(metric, names)
        for name, number in spec.shown().items():
            found = [each.get(spec.full(name)) for each in estimates]
            if name in names and any(each is not None and each.value is not None for each in found):
                rows.append([_code(spec.full(name)), escaped(number.label), _BETTER[number.better], *map(_cell, found)])
    return _table(["number", "what it is", "better", *map(escaped, reports)], rows)


def _overview(reports: Mapping[str, Report]) -> str:
    specs = [spec_of_result(*each) for each in _there(reports.values()).items()]
    shown = [spec.full(name) for spec in specs for name in spec.overview()]
    estimates = {name: dict(report.estimates()) for name, report in reports.items()}
    shown = [key for key in shown if any(key in each for each in estimates.values())]
    return _table(
        ["SAE", *map(_code, shown), "warnings"],
        [[escaped(name), *(_cell(each.get(key)) for key in shown), str(len(reports[name].warnings))] for name, each in estimates.items()],
    )


_BETTER = {"lower": "lower", "higher": "higher", "one": "near 1", None: ""}


def _there(reports: Iterable[Report]) -> dict[str, dict[str, None]]:
    """The metrics of all results, and the numbers of each."""
    found: dict[str, dict[str, None]] = {}
    for report in reports:
        for metric, result in report.results():
            found.setdefault(metric, {}).update(dict.fromkeys(result.estimates))
    return found


def _cell(estimate: Estimate | None) -> str:
    return "" if estimate is None or estimate.value is None else with_error(estimate.value, estimate.stderr)


def _depends_on(reports: Mapping[str, Report], level: int = 2) -> str:
    """What the numbers depend on: what all results have in common once, and what differs for each."""
    told = {name: dict(_facts(report)) for name, report in reports.items()}
    keys = list(dict.fromkeys(key for each in told.values() for key in each))
    rows = []
    for key in keys:
        values = {name: each.get(key, "") for name, each in told.items()}
        if len({*values.values()}) == 1:
            rows.append([key, "all" if len(reports) > 1 else "", escaped(next(iter(values.values())))])
        else:
            rows += [[key, escaped(name), escaped(value)] for name, value in values.items()]
    mark = "#" * level
    warned = "\n".join(f"- {escaped(name)}: {escaped(text)}" for name, report in reports.items() for text in report.warnings)
    warnings = f"\n\n{mark} Warnings\n\n{warned}" if warned else ""
    return f"{mark} What the numbers depend on\n\n{_table(['', 'SAE', ''], rows)}{warnings}"


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    sae, corpus, config = report.section("sae"), report.section("corpus"), report.section("config")
    yield from _told("model", sae.get("model_name"))
    yield from _told("hook", sae.get("hook_name"))
    yield from _told("architecture", sae.get("architecture"))
    yield from _told("latents", sae.get("d_sae"))
    yield from _told("SHA-256 of the weights", sae.get("weights_sha256"))
    yield from _told("text", corpus.get("name"))
    yield from _told("tokens of text", corpus.get("tokens"))
    yield from _told("context", corpus.get("context_size"))
    yield from _told("SHA-256 of the tokens", corpus.get("tokens_sha256"))
    yield from _told("seed", config.get("seed"))
    yield from _told("versions of metrics", _pairs(report.section("metric_versions")))
    for metric in report.metrics:
        yield from _told(f"settings of {escaped(metric)}", _pairs(report.section("config", metric)))
    yield from _told("versions", _pairs(report.section("versions")))
    yield from _told("evaluated", report.provenance.get("created"))


def _told(what: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str | int) and value != "":
        yield what, str(value)


def _pairs(section: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_value(value)}" for name, value in section.items() if value is not None and value not in ([], {}))


def _value(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _code(name: str) -> str:
    """The full name of a number as code, if it is one that a metric can have."""
    return f"`{name}`" if re.fullmatch(r"[\w./-]+", name) else escaped(name)


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
