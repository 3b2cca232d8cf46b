"""The README's table of costs, written from saved results of ``sae-lens-metrics bench``.

``python -m sae_lens_metrics.benchmark.documentation`` brings the README of this clone up to date.
"""

import json
from pathlib import Path

from sae_lens_metrics.benchmark.tables import PRESETS, preset_rows, to_markdown

__all__ = ["update_readme", "with_costs"]


def with_costs(text: str, results: list[Path]) -> str:
    """A README with a new table of costs in the place of the one that it has; everything else stays as it is.

    Args:
        text: The README.
        results: Files that ``bench --output`` has written, one a machine.

    Raises:
        ValueError: If it has no such table, or several.
    """
    table = to_markdown(preset_rows([json.loads(path.read_text(encoding="utf-8")) for path in results]))
    beginning = f"| {PRESETS} |"
    if text.count(beginning) != 1:
        raise ValueError(f"the README must have one table that begins with {beginning}")
    before, _, rest = text.partition(beginning)
    return before + table + rest[rest.index("\n\n") :]


def update_readme(root: Path) -> bool:
    """Writes the table anew; tells whether it was not up to date.

    Args:
        root: The clone.
    """
    path = root / "README.md"
    text = path.read_text(encoding="utf-8")
    new = with_costs(text, sorted((root / "examples").glob("bench*.json")))
    path.write_text(new, encoding="utf-8")
    return new != text


if __name__ == "__main__":
    update_readme(Path(__file__).parents[2])
