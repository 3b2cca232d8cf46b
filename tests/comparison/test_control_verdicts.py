"""Verdicts about controls: by what metrics say of themselves, on reports whose units are known."""

import json

import pytest

from sae_lens_metrics import Estimate, MetricsConfig, Number, Report
from sae_lens_metrics.comparison.controls import control_findings, control_warnings, judged
from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.metrics.controls import CONTROLS
from sae_lens_metrics.metrics.registry import built_in_metrics, metric_spec
from sae_lens_metrics.metrics.spec import MetricSpec
from sae_lens_metrics.results import Control, MetricResult

UNITS = [0.1, -0.2, 0.3, -0.1, 0.2, -0.3, 0.05, -0.05]
PROVENANCE = {"corpus": {"tokens_sha256": "a", "documents": 8}, "config": {"seed": 0}}


@pytest.fixture
def shine(metric):
    """A metric of another package: more is better, and it says what controls must do to it."""
    expected = {"permuted_decoder": "unmoved", "random": "beaten", "frozen_decoder": "beaten"}
    metric("shine", lambda context: None, numbers={"glow": Number("glow", better="higher"), "dim": Number("dim")}, controls=expected)


def mean(value, noise=0.0):
    """A mean over eight documents that two reports have in common, but for a little noise of its own."""
    influence = [unit / 10 + noise * (-1) ** i for i, unit in enumerate(UNITS)]
    stderr = (8 / 7 * sum(each**2 for each in influence)) ** 0.5
    return Estimate(value, stderr, 8, "documents", influence=influence)


def report(own=1.0, **others):
    """An SAE's number and those of its controls; the sanity line has none to compare."""
    controls = {
        name: Control({"sanity": MetricResult({}), "shine": MetricResult({"glow": estimate, "dim": mean(0)})}, sae={"d_sae": 4})
        for name, estimate in others.items()
    }
    own = own if isinstance(own, Estimate) else mean(own)
    return Report(MetricResult({}), {"shine": MetricResult({"glow": own, "dim": mean(0)})}, provenance=PROVENANCE, controls=controls)


def outcomes(report):
    return {each.control: each.in_words for each in control_findings(judged(report))}


@pytest.mark.usefixtures("shine")
def test_each_is_judged_by_what_the_metric_expects():
    found = outcomes(report(1.0, permuted_decoder=mean(1.0), random=mean(0.5, 0.01), frozen_decoder=mean(0.99, 0.01)))
    assert found == {"permuted_decoder": "unmoved, as it must be", "random": "beaten", "frozen_decoder": "not beaten"}
    found = outcomes(report(1.0, permuted_decoder=mean(0.5, 0.01), random=mean(1.5, 0.01)))
    assert found == {"permuted_decoder": "moved, which it must not be", "random": "not beaten"}  # it is beaten by the control, rather


@pytest.mark.usefixtures("shine")
def test_what_is_shared_by_both_cancels():
    """The same difference, which the errors of either would hide: on the same documents it is clear, on others it is not."""
    ours = report(1.0, random=mean(0.95, 0.005))
    (paired,) = control_findings(judged(ours))
    assert paired.verdict.p < 0.02
    assert paired.own.stderr > 0.05
    apart = report(1.0, random=Estimate(0.95, mean(0.95).stderr, 8, "latents"))
    assert outcomes(apart) == {"random": "not beaten"}


@pytest.mark.usefixtures("shine")
def test_p_values_are_corrected_for_the_number_of_controls():
    alone, together = (
        {each.control: each.verdict.p for each in control_findings(judged(made))}
        for made in (report(1.0, random=mean(0.97, 0.01)), report(1.0, random=mean(0.97, 0.01), frozen_decoder=mean(0.97, 0.01)))
    )
    assert together["random"] == pytest.approx(min(1, 2 * alone["random"]))


@pytest.mark.usefixtures("shine")
def test_what_cannot_be_tested_is_not_flagged():
    absent, exact = Estimate.absent("no latent fires", of="documents"), Estimate(0.5, None, 8, "documents", "an exact count")
    judged_ = judged(report(1.0, random=absent, frozen_decoder=exact))
    assert {each.control: each.verdict.outcome for each in control_findings(judged_)} == dict.fromkeys(
        ("random", "frozen_decoder"), "not tested"
    )
    assert not list(control_warnings(judged_))


@pytest.mark.usefixtures("shine")
def test_warnings_name_both_numbers():
    texts = list(control_warnings(judged(report(1.0, permuted_decoder=mean(0.5, 0.01), random=mean(1.5, 0.01)))))
    assert len(texts) == 2
    assert "shine/glow moves with the control 'permuted decoder'" in texts[0]
    assert "the SAE does not beat the control 'random' on shine/glow by more than noise" in texts[1]
    assert "1.000 ± " in texts[1]
    assert "control 1.500 ± " in texts[1]


@pytest.mark.usefixtures("shine")
def test_it_stands_in_the_file_and_a_slimmer_report_keeps_the_verdicts(tmp_path):
    made = judged(report(1.0, permuted_decoder=mean(1.0), random=mean(0.5, 0.01)))
    assert Report.load(made.save(tmp_path / "r.json")) == made
    data = json.loads((tmp_path / "r.json").read_text())
    assert data["controls"]["random"]["verdicts"]["shine"]["outcome"] == "as expected"
    slim = made.without("influences", "tables")
    assert slim.controls["random"].results["shine"].estimates["glow"].influence is None
    assert [each.in_words for each in control_findings(slim)] == [each.in_words for each in control_findings(made)]
    assert made.flat()["shine/control_random_glow"] == 0.5
    older = {name: value for name, value in data.items() if name != "controls"} | {"format_version": "2.0"}
    assert Report.from_dict(older) == judged(report(1.0))


@pytest.mark.usefixtures("shine")
def test_a_report_without_controls_has_no_findings():
    assert judged(report()) == report()
    assert not control_findings(report())


def test_a_control_that_is_not_known_here_is_called_by_its_name(shine):
    other = report(1.0, of_tomorrow=mean(0.5))
    assert not control_findings(judged(other))  # the metric says nothing of it


@pytest.mark.parametrize("name", ["sanity", *built_in_metrics()])
def test_every_metric_of_this_package_says_what_controls_must_do(name):
    spec = metric_spec(name)
    assert spec.controls.keys() <= CONTROLS.keys()
    assert "permuted_decoder" in spec.controls
    assert spec.number(spec.headline).better is not None  # or nothing could be beaten


def test_names_that_are_not_known_are_refused():
    with pytest.raises(ConfigError, match="names a control 'rnd', expected some of permuted_decoder"):
        MetricSpec("m", "m", controls={"rnd": "beaten"})
    with pytest.raises(ConfigError, match="no control 'rnd'"):
        MetricsConfig(controls=["rnd"])
    with pytest.raises(ConfigError, match="control is named twice"):
        MetricsConfig(controls=["random", "random"])
