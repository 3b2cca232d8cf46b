"""What was judged, told: printed, and written beside the results."""

from pathlib import Path

from sae_lens_metrics.comparison.saving import Tabular, write_table
from sae_lens_metrics.integrations.terminal import say
from sae_lens_metrics.results import write_atomically
from sae_lens_metrics.views.judged import Judged, judged_markdown, print_judged

__all__ = ["tell"]


def tell(output: Path, name: str, data: Tabular, judged: Judged) -> None:
    """Prints what was judged, and writes it as JSON and as Markdown.

    Args:
        output: The folder for both files.
        name: What they are called.
        data: What is written as JSON.
        judged: The same to be read.
    """
    print_judged(judged)
    write_table(output / f"{name}.json", data)
    say(f"written to {write_atomically(output / f'{name}.md', judged_markdown(judged))} and {name}.json")
