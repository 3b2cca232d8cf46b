"""The command ``sae-lens-metrics reproduce paper-trends``: the paper's findings on a grid of SAEs that it trains."""

import argparse
from pathlib import Path

from sae_lens_metrics.cli.outputs import writable
from sae_lens_metrics.cli.statuses import DONE, OUTSIDE
from sae_lens_metrics.integrations.terminal import quieten_packages, say

__all__ = ["TRENDS", "list_claims", "run_trends"]

TRENDS = "paper-trends"
_QUICKER = 4
"""By how many times less an SAE is trained in the quick form; it is evaluated on half of the text."""


def list_claims() -> None:
    """Prints what would be looked for."""
    from sae_lens_metrics.comparison.trends.claims import CLAIMS
    from sae_lens_metrics.views.findings import print_claims

    say(f"{TRENDS}: findings of Gao et al. 2024 (arXiv 2406.04093v1), on SAEs that are trained for it")
    print_claims(CLAIMS)


def run_trends(options: argparse.Namespace) -> int:
    """Trains, evaluates and tells.

    Args:
        options: Those of ``reproduce``.

    Returns:
        The exit status: ``DONE`` if all findings show, else ``OUTSIDE``.

    Raises:
        MetricsError: The model, the hook or the text cannot be used, or the folder holds something else.
        OSError: The output cannot be written.
    """
    from sae_lens_metrics.cli.judged import tell
    from sae_lens_metrics.demo.shipped import TINY_LM, tiny_lm_folder
    from sae_lens_metrics.training.trends import TrendsOrder, reproduce_trends
    from sae_lens_metrics.views.figures import to_png, trend_figures
    from sae_lens_metrics.views.findings import judged_findings
    from sae_lens_metrics.views.page import offer_page

    output = writable(Path(options.output or f"reproduced-{TRENDS}"))
    if options.model is None:
        quieten_packages()
    with tiny_lm_folder() as tiny_lm:
        order = TrendsOrder(
            model=options.model or str(tiny_lm),
            called="" if options.model else TINY_LM,
            dataset=options.dataset,
            hook=options.hook,
            training_tokens=_given(options.training_tokens, TrendsOrder.training_tokens // (_QUICKER if options.quick else 1)),
            tokens=_given(options.tokens, TrendsOrder.tokens // (2 if options.quick else 1)),
            quick=options.quick,
            seeds=_given(options.seeds, TrendsOrder.seeds),
            device=options.device,
        )
        found = reproduce_trends(order, output)
    judged = judged_findings(found.findings)
    tell(output, "findings", found.findings, judged)
    figures = trend_figures(found.evaluated.reports)
    for figure in figures:
        path = output / f"{figure.name}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(to_png(figure))
    say(f"the paper's figures: {len(figures)} in {output / 'trends'}")
    if found.files:
        say(offer_page(found.files, output / "report.html", title=f"Trends on {found.findings.model}", figures=figures, judged=judged))
    return DONE if found.findings.all_shown else OUTSIDE


def _given(value: int | None, default: int) -> int:
    return default if value is None else value
