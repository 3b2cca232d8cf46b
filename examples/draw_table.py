"""Draws the table of some result files as an SVG picture, as the README shows it.

After ``sae-lens-metrics demo``::

    python examples/draw_table.py sae-lens-metrics-demo/L1.json sae-lens-metrics-demo/TopK.json --output examples/demo.svg
"""

import argparse
import io
import re
from pathlib import Path

from rich.console import Console

from sae_lens_metrics import Report
from sae_lens_metrics.views.terminal import print_reports


def main() -> None:
    """Reads the results and writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=Path, help="result files")
    parser.add_argument("--output", required=True, type=Path, help="where to write the SVG")
    options = parser.parse_args()
    console = Console(record=True, width=150, file=io.StringIO(), force_terminal=True)
    print_reports({path.stem: Report.load(path) for path in options.results}, console)
    picture = console.export_svg(title="sae-lens-metrics demo")
    fonts = r"@font-face \{.*?\}"  # rich points to a server for them; the picture must not ask for anything
    options.output.write_text(re.sub(fonts, "", picture, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main()
