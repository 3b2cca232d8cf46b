"""Reports on the terminal: every number shown is the report's, with bars on a terminal and without anywhere else."""

import io
import re
from io import StringIO

import pytest
from rich.console import Console
from specs import SPECS

from sae_lens_metrics import Estimate, Report
from sae_lens_metrics.results import MetricResult
from sae_lens_metrics.views.terminal import print_reports, print_sweep

BLOCKS = set("▏▎▍▌▋▊▉█▐▕")


def report(f1=0.25, **own):
    explained = Estimate.absent("no latent fires", of="latents") if f1 is None else Estimate(f1, 0.01, 9, "latents")
    probe = {"loss": 0.4, "channels_loss": 0.5, "random_loss": 0.45, "shuffled_loss": 0.8}
    return Report(
        sanity=MetricResult({"l0": Estimate(16.25, 0.5, 8, "sequences"), "explained_variance": Estimate(0.75, 0.01, 8, "sequences")}),
        metrics={
            "probe": MetricResult({name: Estimate(value, 0.01, 9, "tasks") for name, value in probe.items()}),
            "n2g": MetricResult({"f1": explained}),
            **{name: MetricResult({"mine": Estimate(value, None, 1, "runs", "exact")}) for name, value in own.items()},
        },
    )


def printed(reports, *, width=160, terminal=False):
    out = io.StringIO()
    print_reports(reports, Console(file=out, width=width, force_terminal=terminal, color_system="truecolor" if terminal else None))
    return out.getvalue()


def lines(text):
    """The table's rows by their first cell, without colours."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    cells = [[cell.strip() for cell in line.strip("│┃").split("│")] for line in plain.split("\n") if line.startswith("│")]
    return {row[0]: row[1:] for row in cells if row[0]}


def test_plain_where_it_is_no_terminal():
    text = printed({"one": report(), "two": report(f1=None)})
    assert "\x1b" not in text
    assert not BLOCKS & set(text)
    rows = lines(text)
    assert rows["sanity/explained_variance"][:2] == ["0.750 ± 0.010", "0.750 ± 0.010"]
    assert rows["n2g/f1"][:2] == ["0.250 ± 0.010", "-"]
    assert "absent, two, n2g/f1: no latent fires" in text


def test_bars_on_a_terminal_are_as_long_as_the_numbers():
    rows = lines(printed({"one": report()}, terminal=True))
    length = {name: sum({"█": 1.0}.get(c, 0.5) for c in cells[1]) for name, cells in rows.items()}
    assert length["sanity/explained_variance"] == 6  # three quarters of eight characters: a share of a whole
    assert length["n2g/f1"] == 2
    assert length["probe/loss"] == 4  # against the largest of the baselines
    assert length["probe/shuffled_loss"] == 8
    assert length["sanity/l0"] == 0


@pytest.mark.parametrize("width", [40, 72, 90, 110, 130, 200])
def test_no_line_is_wider_than_the_terminal(width):
    text = re.sub(r"\x1b\[[0-9;]*m", "", printed({"one": report(), "two": report()}, width=width, terminal=True))
    assert max(map(len, text.split("\n"))) <= width
    assert bool(BLOCKS & set(text)) == (width >= 110)


def over(tasks, explained, *, asked=61, d_sae=96, documents=8):
    """A report whose means are over some of the tasks and of the latents."""
    sanity = MetricResult(
        {"l0": Estimate(16.25, 0.5, documents, "documents"), "dead_latents": Estimate(0.5, None, d_sae, "latents", "exact")}
    )
    metrics = {
        "probe": MetricResult({"loss": Estimate(0.4, 0.01, tasks, "tasks")}),
        "n2g": MetricResult({"f1": Estimate(0.25, 0.01, explained, "latents"), "dead": Estimate(1.0, None, d_sae, "latents", "exact")}),
    }
    return Report(sanity, metrics, provenance={"sae": {"d_sae": d_sae}, "units": {"probe": {"tasks": asked}} if asked else {}})


def test_over_how_many_tasks_and_latents_a_mean_is_where_some_are_missing():
    text = printed({"some": over(49, 90)})
    rows = lines(text)
    assert rows["probe/loss"][0] == "0.400 ± 0.010 n=49"
    assert rows["n2g/f1"][0] == "0.250 ± 0.010 n=90"
    assert rows["n2g/dead"][0] == "1"
    assert rows["sanity/l0"][0] == "16.25 ± 0.50"
    assert "n: over how many tasks or latents" in text
    all_of_them = printed({"all": over(61, 96)})
    assert "n=" not in all_of_them
    assert "n: over how many" not in all_of_them


@pytest.mark.parametrize("asked", [61, None])
def test_means_over_other_tasks_look_different_side_by_side(asked):
    """Also where each has all that it was asked for, or nobody says; what all the latents of two SAEs are may differ."""
    rows = lines(printed({"offline": over(49, 96, asked=asked and 49), "all": over(61, 192, asked=asked, d_sae=192, documents=9)}))
    assert rows["probe/loss"][:2] == ["0.400 ± 0.010 n=49", "0.400 ± 0.010 n=61"]
    assert rows["n2g/f1"][:2] == ["0.250 ± 0.010"] * 2
    assert rows["sanity/l0"][:2] == ["16.25 ± 0.50"] * 2
    assert "n=" not in printed({"one": over(61, 96, asked=asked), "two": over(61, 96, asked=asked)})


def test_so_they_do_in_the_overview_of_many_saes():
    reports = {f"{i}": over(49 + i % 2, 96) for i in range(6)}
    out = io.StringIO()
    report_of_all = {name: name for name in reports}
    print_sweep(report_of_all, reports, {}, Console(file=out, width=140))
    assert "n2g" in out.getvalue()
    assert "n=" not in out.getvalue()  # of the probe its held-out loss is in the overview, which these reports lack
    for each in reports.values():
        each.metrics["probe"].estimates["held_out_loss"] = each.metrics["probe"].estimates["loss"]
    print_sweep(report_of_all, reports, {}, Console(file=out, width=140))
    assert "0.400 ± 0.010 n=49" in out.getvalue()
    assert "0.400 ± 0.010 n=50" in out.getvalue()


def test_a_metric_of_another_package_shows_every_number():
    assert lines(printed({"one": report(other=3.5)}))["other/mine"][0] == "3.5"


def test_a_bar_never_leaves_its_column():
    strange = report()
    strange.sanity.estimates["explained_variance"] = Estimate(-3.0, 0.1, 8, "sequences")
    assert lines(printed({"one": strange}, terminal=True))["sanity/explained_variance"][:2] == ["-3.00 ± 0.10", ""]


def test_many_saes_are_a_row_each():
    reports = {f"folder/{i}": report(f1=i / 10) for i in range(8)}
    out = io.StringIO()
    print_sweep({name: name for name in reports}, reports, {}, Console(file=out, width=140))
    rows = lines(out.getvalue())
    assert [rows[str(i) if str(i) in rows else f"folder/{i}"][2] for i in range(8)] == [f"{i / 10:.3f} ± 0.010" for i in range(8)]


def test_specs_speak_in_sentences_of_numbers_that_they_list():
    for spec in SPECS.values():
        assert spec.headline in spec.shown()
        assert spec.meaning.endswith(".")
        assert spec.trust.endswith(".")
        for name, number in spec.numbers.items():
            assert number.label, name
            related = (number.baseline_of, number.same_as, *(number.difference_of or ()), *(number.same_given or ()))
            assert {each for each in related if each} <= set(spec.numbers), name


def test_numbers_of_a_metric_that_is_not_installed_are_shown():
    report = Report(MetricResult({}), {"elsewhere": MetricResult({"depth": Estimate(2.5, 0.25, 4, "documents")})})
    out = StringIO()
    print_reports({"a": report}, Console(file=out, width=100))
    assert "elsewhere/depth" in out.getvalue()
    assert "2.50 ± 0.25" in out.getvalue()
