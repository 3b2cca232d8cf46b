"""What must hold of any file whatever that is given as a result: it is read as it is meant, or refused in one clear sentence."""

import io
import json
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

from rich.console import Console

from sae_lens_metrics.cli.main import main
from sae_lens_metrics.errors import MetricsError, ResultError
from sae_lens_metrics.results import Report, summary
from sae_lens_metrics.views.saebench import to_saebench
from sae_lens_metrics.views.terminal import print_reports


def outcome(file: Path, whole: Path, *, page: bool = True) -> str:
    """Loads a file, shows it in every way, and compares it with a whole one; raises where anything but a sentence comes of it.

    Args:
        file: Any file.
        whole: A result file that is whole.
        page: Whether to make a page of it, too, which takes most of the time.

    Returns:
        "refused" or "read".
    """
    try:
        report = Report.load(file)
    except ResultError as error:
        _check_sentence(str(error), file)
        _check_command(["compare", str(whole), str(file), "--no-report"], 2)
        return "refused"
    _check_again(report, file)
    report.to_frame(), report.flat(), summary({"it": report}), repr(report)
    print_reports({"it": report}, Console(file=io.StringIO(), width=80))
    json.dumps(to_saebench(report, "release"), allow_nan=False)
    for _, result in report.results():
        for each in result.explanations.latents if result.explanations is not None else ():
            _predictions(report, each.latent)
    for both in ([str(whole), str(file)], [str(file), str(whole)]):
        _check_command(["compare", *both, "--no-report", "--all"], 0, 2)
    if page:
        _check_command(["report", str(file), str(whole), "-o", str(file.with_suffix(".html"))], 0)
    return "read"


def _predictions(report: Report, latent: int) -> None:
    with suppress(MetricsError):  # of format 1, or of another metric
        report.explanations(latent).predict([1, 2, 3])


def _check_again(report: Report, file: Path) -> None:
    assert Report.load(report.save(file.with_name("again.json"))) == report


def _check_sentence(text: str, file: Path) -> None:
    assert file.name in text
    assert len(text) < 1000
    assert text.count("\n") < 3
    assert all(character.isprintable() or character == "\n" for character in text), text


def _check_command(arguments: list[str], *statuses: int) -> None:
    output, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(output), redirect_stderr(errors):
        status = main(arguments)
    assert status in statuses, (arguments, status, errors.getvalue())
    if status:
        assert 1 <= len(errors.getvalue().splitlines()) <= 3, errors.getvalue()
