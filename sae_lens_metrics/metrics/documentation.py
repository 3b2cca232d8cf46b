"""The tables of numbers in the metrics' READMEs, written from what the metrics say about themselves.

``python -m sae_lens_metrics.metrics.documentation`` brings the READMEs of this package up to date.
"""

from pathlib import Path

from sae_lens_metrics.metrics.registry import SANITY, built_in_metrics, metric_spec
from sae_lens_metrics.metrics.spec import MetricSpec, Number

__all__ = ["between", "documented_metrics", "numbers_table", "readme_of", "update_readmes", "with_numbers"]

_BEGIN, _END = "<!-- numbers: generated from spec.py -->", "<!-- /numbers -->"
_BETTER = {"lower": "lower", "higher": "higher", "one": "near 1", None: ""}
_UNITS = {"share": "share, 0 to 1", "nats": "nats", "": "ratio"}


def documented_metrics() -> tuple[str, ...]:
    """The metrics of this package, each of which has a README in its folder."""
    return (SANITY, *built_in_metrics())


def readme_of(metric: str) -> Path:
    """Where a metric of this package is documented."""
    return Path(__file__).parent / metric / "README.md"


def numbers_table(spec: MetricSpec) -> str:
    """Every number of a metric as a Markdown table: what it is, its unit, which way is better, and what it stands beside."""
    rows = [f"| `{name}` | {_what(spec, name)} | {_unit(number)} | {_BETTER[number.better]} |" for name, number in spec.numbers.items()]
    return "\n".join(["| number | what it is | unit | better |", "|---|---|---|---|", *rows])


def with_numbers(text: str, spec: MetricSpec) -> str:
    """A README with the table of its metric's numbers between the two marks; everything else stays as it is.

    Raises:
        ValueError: If the marks are not there once each, one after the other.
    """
    return between(text, (_BEGIN, _END), numbers_table(spec), f"the README of {spec.name!r}")


def between(text: str, marks: tuple[str, str], table: str, readme: str) -> str:
    """A README with a table between two marks; everything else stays as it is.

    Args:
        text: The README.
        marks: What stands before the table, and what after it.
        table: The table.
        readme: What an error calls the README.

    Raises:
        ValueError: If the marks are not there once each, one after the other.
    """
    before, begin, rest = text.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not begin or not end or begin in rest or end in after:
        raise ValueError(f"{readme} must have {marks[0]} and, after it, {marks[1]}, once each")
    return f"{before}{begin}\n\n{table}\n\n{end}{after}"


def update_readmes() -> list[Path]:
    """Writes the tables anew, and returns the files that were not up to date."""
    changed = []
    for metric in documented_metrics():
        path = readme_of(metric)
        text = path.read_text(encoding="utf-8")
        new = with_numbers(text, metric_spec(metric))
        if new != text:
            path.write_text(new, encoding="utf-8")
            changed.append(path)
    return changed


def _what(spec: MetricSpec, name: str) -> str:
    number = spec.numbers[name]
    parts = [f"**{number.label}**" if name == spec.headline else number.label]
    if number.difference_of is not None:
        parts.append("`{}` minus `{}`, paired".format(*number.difference_of))
    if number.baseline_of is not None:
        parts.append(f"beside `{number.baseline_of}`, to compare with")
    if number.qualifies is not None:
        parts.append(f"tells how far to trust `{number.qualifies}`")
    return "; ".join(parts).replace("|", "\\|")


def _unit(number: Number) -> str:
    return _UNITS.get(number.unit, number.unit)


if __name__ == "__main__":
    update_readmes()
