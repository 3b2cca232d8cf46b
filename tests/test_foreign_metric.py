"""A metric of another package is shown, logged and compared as one of this package's, by what it says about itself."""

from io import StringIO

import pytest
import torch
from rich.console import Console
from saes import training_sae

from sae_lens_metrics import Corpus, Estimate, MetricResult, MetricsConfig, Number, Report, Subject, compare_reports, evaluate
from sae_lens_metrics.metrics.figure_specs import DistributionFigure, NumbersFigure
from sae_lens_metrics.metrics.spec import LatentColumn
from sae_lens_metrics.metrics.sums import SequenceSums
from sae_lens_metrics.views.figures import paper_figures
from sae_lens_metrics.views.page import write_report
from sae_lens_metrics.views.terminal import print_reports
from sae_lens_metrics.views.wandb.log import loggable

NUMBERS = {
    "strength": Number("sum of latents per token", better="lower", meaning="how strongly a token is encoded"),
    "norm": Number("norm of the activation", baseline_of="strength", baseline="the activation"),
    "strength_minus_norm": Number("strength minus norm", difference_of=("strength", "norm"), same_given=("strength", "norm")),
    "max_cosine": Number("nearest decoder cosine", better="lower", shown=False),
}


def strength(context):
    """Numbers over documents, with influences, and one over latents."""
    subject = context.subject
    sums = SequenceSums(context.corpus)
    for batch in context.corpus.activations(subject, context.config.batch_size, progress="strength"):
        total = torch.cat([z.sum(1) for _, z in batch.latents()])
        sums.add(total=batch.per_sequence(total), norm=batch.per_sequence(batch.x.norm(dim=1)), tokens=batch.per_sequence(total * 0 + 1))
    rows = torch.nn.functional.normalize(subject.dictionary.decoder, dim=1)
    cosines = (rows @ rows.T).fill_diagonal_(-1).max(1).values
    estimates = {
        "strength": sums.ratio("total", "tokens"),
        "norm": sums.ratio("norm", "tokens"),
        "strength_minus_norm": sums.estimate(sums["total"] - sums["norm"], sums["tokens"]),
        "max_cosine": Estimate(float(cosines.mean()), float(cosines.std()) / len(rows) ** 0.5, len(rows), "latents"),
    }
    return MetricResult(estimates, {"latents": [{"latent": i, "cosine": float(value)} for i, value in enumerate(cosines)]})


@pytest.fixture
def reports(model, tokens, metric):
    metric(
        "strength",
        strength,
        numbers=NUMBERS,
        title="Strength",
        latents=(LatentColumn("cosine", "Nearest cosine"),),
        figures=(
            NumbersFigure("mean", "Mean strength", "Lower is better.", "sum of latents", {"strength": "latents"}, baselines=True),
            DistributionFigure("cosines", "Cosines", "Of latents.", "cosine", "share", table="latents", column="cosine", edges=(-1, 0, 1)),
        ),
    )
    corpus = Corpus(tokens[:24], documents=torch.arange(24) // 2)
    return {
        name: evaluate(Subject(model, training_sae("standard", seed=seed)), corpus, MetricsConfig(names=["strength"]))
        for seed, name in enumerate(("one", "other"))
    }


def test_the_table_shows_it(reports):
    out = StringIO()
    print_reports(reports, Console(file=out, width=160))
    assert "strength/strength" in out.getvalue()
    assert "how strongly a token is encoded" in out.getvalue()
    assert "max_cosine" not in out.getvalue()


def test_figures_are_drawn_of_it(reports):
    figures = {figure.name: figure for figure in paper_figures(reports)}
    assert {"strength/mean", "strength/cosines", "across/strength_strength"} <= set(figures)
    assert figures["strength/mean"].series[0].x == ["latents", "the activation"]
    assert [round(sum(series.y), 6) for series in figures["strength/cosines"].series] == [1, 1]


def test_the_page_shows_its_latents(reports, reader, tmp_path):
    page = reader(write_report(reports, tmp_path / "page.html"))
    text = page.open("#/latents").inner_text("#main")
    assert "96 of 96 latents" in text
    assert "nearest cosine" in text.lower()
    assert "Strength" in page.open("#/").inner_text("#main")


def test_it_is_logged_and_followed(reports):
    everything = loggable(reports["one"])
    assert {"strength/strength", "strength/max_cosine_stderr", "strength/latents", "strength/figure_mean"} <= set(everything)
    brief = loggable(reports["one"], brief=True)
    assert "strength/strength_stderr" in brief
    assert "strength/norm" not in brief  # not its headline, and not marked to be followed
    assert "strength/norm" in loggable(reports["one"], brief=True, all_numbers=True)


def test_it_is_compared_in_pairs(reports, tmp_path):
    files = {name: report.save(tmp_path / f"{name}.json") for name, report in reports.items()}
    compared = {each.number: each for each in compare_reports({name: Report.load(path) for name, path in files.items()}).differences}
    strengths = compared["strength/strength"]
    assert strengths.paired
    assert strengths.p is not None
    a, b = (report.metrics["strength"].estimates["strength"] for report in reports.values())
    moved = torch.tensor(b.influence, dtype=torch.float64) - torch.tensor(a.influence, dtype=torch.float64)
    assert strengths.stderr == pytest.approx(float((12 / 11 * moved.square().sum()).sqrt()), rel=1e-4)
    assert compared["strength/norm"].untested == "a baseline"
    assert compared["strength/strength_minus_norm"].untested == "the same as strength/strength"
    assert not compared["strength/max_cosine"].paired  # two SAEs have no latents in common


def test_other_versions_of_it_are_not_compared(reports):
    newer = reports["other"].with_provenance(metric_versions={"sanity": 1, "strength": 2})
    compared = compare_reports({"one": reports["one"], "other": newer})
    assert not any(each.number.startswith("strength/") for each in compared.differences)
    assert any("strength is of version 1 in one and 2 in the other" in note for note in compared.notes)
