"""Comparisons of real reports: SAEs that SAELens trained, and every number's influences."""

import dataclasses

import pytest
from datasets import Dataset
from saes import training_sae

from sae_lens_metrics import Corpus, MetricsConfig, Report, Subject, compare_reports, evaluate
from sae_lens_metrics.metrics.ablation.spec import AblationConfig
from sae_lens_metrics.metrics.n2g.spec import N2GConfig
from sae_lens_metrics.metrics.probe.spec import ProbeConfig
from sae_lens_metrics.metrics.registry import built_in_metrics
from sae_lens_metrics.results.estimate import error_parts
from sae_lens_metrics.text.standard_library import standard_library_documents

CONFIG = MetricsConfig(
    tokens=3_072,
    probe=ProbeConfig(tasks=["base64", "camel_case", "inside_comment", "true_sum"], examples=60),
    n2g=N2GConfig(max_length=3),
    ablation=AblationConfig(sequences=32, positions=4, latents=4, baselines=4),
)


OF_LATENTS = ("n2g/", "rules/", "directions/max", "directions/duplicates", "directions/random")
"""Numbers whose errors are over latents, which two SAEs have none of in common."""


@pytest.fixture(scope="module")
def evaluated(trained, tmp_path_factory):
    """Reports of both SAEs by name and seed, as they come back from their files; a seed draws the text too."""
    rows = Dataset.from_dict({"text": list(standard_library_documents("held_out"))})
    reports = {}
    for seed in (0, 1):
        corpus = Corpus.from_dataset(rows, trained["TopK"], tokens=CONFIG.tokens, seed=seed)
        for name, subject in trained.items():
            report = evaluate(subject, corpus, dataclasses.replace(CONFIG, seed=seed))
            path = report.save(tmp_path_factory.mktemp("reports") / f"{name}.json")
            assert Report.load(path).to_dict() == report.to_dict()
            reports[name, seed] = Report.load(path)
    return reports


def check_influences(report):
    """Every error follows from the influences, unless it is over latents."""
    checked = set()
    for number, estimate in report.estimates():
        if estimate.stderr is None or estimate.of == "latents":
            assert estimate.influence is None, number
            continue
        assert estimate.influence is not None, number
        square = sum(each**2 for each in estimate.influence)
        (over_units, _), _ = error_parts(estimate)
        assert over_units == pytest.approx((estimate.n / (estimate.n - 1) * square) ** 0.5, rel=1e-5, abs=1e-15), number
        assert sum(each != 0 for each in estimate.influence) <= estimate.n <= len(estimate.influence), number
        assert abs(sum(estimate.influence)) <= estimate.stderr + 1e-15, number  # 0 but for the correction of units that weigh much
        checked.add(number.split("/")[0])
    return checked


@pytest.mark.slow
def test_every_error_follows_from_influences(evaluated):
    for report in evaluated.values():
        assert check_influences(report) == {"sanity", *built_in_metrics()} - {"n2g", "rules"}


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["standard", "gated", "jumprelu", "abstopk"])
def test_every_error_follows_from_influences_on_sequences_too(architecture, model, tokens):
    subject = Subject(model, training_sae(architecture))
    report = evaluate(subject, Corpus.from_tokens(tokens[:16]), CONFIG)
    assert {"sanity", "probe", "shrinkage"} <= check_influences(report)
    assert len(report.sanity.estimates["l0"].influence) == 16


@pytest.mark.slow
def test_influences_of_two_saes_are_in_line(evaluated):
    """Those of what does not depend on the SAE are the same, document by document, and others are alike."""
    first, second = (dict(evaluated[name, 0].estimates()) for name in ("L1", "TopK"))
    for number in ("sanity/ce_clean", "explanation/ce_bigram", "ablation/channels_sparsity", "probe/channels_loss"):
        assert first[number].influence == second[number].influence, number
    for number, estimate in first.items():
        if estimate.influence is not None and second[number].influence is not None:
            assert len(estimate.influence) == len(second[number].influence), number


@pytest.mark.slow
@pytest.mark.parametrize("name", ["L1", "TopK"])
def test_an_sae_does_not_differ_from_itself(name, evaluated):
    """Neither in one report, where every difference is exactly zero, nor with another seed and text."""
    comparison = compare_reports({"A": evaluated[name, 0], "B": evaluated[name, 0]})
    drawn = {number for number, estimate in evaluated[name, 0].estimates() if estimate.drawn}  # for each result alone
    assert comparison.tested > 25
    for each in comparison.differences:
        assert each.difference == 0
        assert each.verdict in ("no difference beyond noise", "not tested")
        assert each.stderr in (0, None) or each.number.startswith(OF_LATENTS) or each.number in drawn, each.number
    again = compare_reports({"seed 0": evaluated[name, 0], "seed 1": evaluated[name, 1]})
    assert again.tested > 25
    assert not any(each.paired for each in again.differences)
    assert {each.verdict for each in again.differences} == {"no difference beyond noise", "not tested"}


@pytest.mark.slow
def test_two_saes_differ_as_they_should(evaluated):
    found = {each.number: each for each in compare_reports({name: evaluated[name, 0] for name in ("L1", "TopK")}).differences}
    assert found["shrinkage/ratio"].verdict == "lower"  # L1 shrinks, TopK does not
    assert found["shrinkage/gamma"].verdict == "higher"
    assert found["sanity/explained_variance"].verdict == "higher"
    assert all(each.paired for number, each in found.items() if each.stderr is not None and not number.startswith(OF_LATENTS))
    other_text = compare_reports({"L1": evaluated["L1", 1], "TopK": evaluated["TopK", 0]})
    unpaired = {each.number: each for each in other_text.differences}
    assert unpaired["shrinkage/ratio"].verdict == "lower"
    for number in ("sanity/ce_reconstructed", "sanity/explained_variance", "shrinkage/ce_raw", "explanation/ce_explanation"):
        assert found[number].stderr < unpaired[number].stderr / 1.3, number
