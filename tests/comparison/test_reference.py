"""References: published numbers, their bands, and verdicts."""

import math
from dataclasses import replace
from importlib.resources import files

import pytest
from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

from sae_lens_metrics import Estimate, MetricResult, Report
from sae_lens_metrics.cli.main import main
from sae_lens_metrics.cli.statuses import REFUSED
from sae_lens_metrics.comparison.reference import Figure, Settings, load_reference, reference_names
from sae_lens_metrics.comparison.verdicts import judge
from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.evaluation.reproducing import changes_of, check_numbers, config_of
from sae_lens_metrics.views.judged import judged_markdown
from sae_lens_metrics.views.verdicts import judged_verdicts

GAO = load_reference("gao2024")
LAYER_8 = "n 32,768, k 32, layer 8"
OWN = """
title = "Mine"
source = "nobody, 2026"
set_on = "2026-11-30"
confirmed = false
[[saes]]
name = "one"
release = "some-release"
id = "some-sae"
[[figures]]
sae = "one"
number = "shrinkage/ratio"
expected = 1.2
read = 0.01
spread = 0.03
noise = 0.04
where = "table 1"
"""


@pytest.fixture
def own(tmp_path):
    """Writes the reference with something in place of something else."""

    def make(old="", new=""):
        assert old in OWN
        path = tmp_path / "own.toml"
        path.write_text(OWN.replace(old, new) if old else OWN)
        return str(path)

    return make


@pytest.mark.parametrize("name", reference_names())
def test_those_that_are_shipped_name_saes_and_numbers_that_exist(name):
    reference = load_reference(name)
    check_numbers(reference)
    known = get_pretrained_saes_directory()
    for sae in reference.saes:
        assert sae.id in known[sae.release].saes_map
        assert config_of(reference.settings, reference.metrics(sae)).names == list(reference.metrics(sae))
    assert all(figure.where and figure.why_spread for figure in reference.figures)
    assert f'set_on = "{reference.set_on}"' in (files("sae_lens_metrics.comparison.references") / f"{name}.toml").read_text()


def test_the_papers_choices_are_its_settings():
    settings = GAO.settings
    assert (settings.context_size, settings.prepend_bos, settings.preset) == (64, False, "paper")
    assert GAO.metrics(GAO.saes[0]) == ("probe", "n2g", "explanation", "ablation", "shrinkage")
    assert GAO.metrics(GAO.saes[2]) == ("ablation",)


def test_spreads_are_those_of_the_cells_that_they_name():
    """Root mean square of the differences to the cells that stand in the sentence."""
    checked = 0
    for figure in GAO.figures:
        if figure.why_spread.startswith("cells of"):
            cells = [float(word.strip(";,")) for word in figure.why_spread.split(": ", 1)[1].split(";")[0].split(", ")]
            assert figure.spread == pytest.approx(math.sqrt(sum((cell - figure.expected) ** 2 for cell in cells) / len(cells)), rel=0.25)
            checked += 1
    assert checked > 8


def test_a_band_is_what_may_be_read_wrongly_and_two_standard_deviations():
    figure = Figure("one", "shrinkage/ratio", expected=1.2, read=0.01, spread=0.03, noise=0.04, where="table 1")
    assert figure.band == pytest.approx((1.2 - 0.11, 1.2 + 0.11))


def report(**numbers):
    """With these numbers of shrinkage; ``None`` for one that is absent."""
    made = {
        name: Estimate.absent("too little text", of="documents") if value is None else Estimate(value, 0.01, 20, "documents")
        for name, value in numbers.items()
    }
    return Report(MetricResult({}), {"shrinkage": MetricResult(made)}, {}, [], {})


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(1.2, "within"), (1.0901, "within"), (1.3099, "within"), (1.0899, "outside"), (1.3101, "outside"), (None, "not checkable")],
)
def test_verdicts(own, value, verdict):
    found = judge("own", load_reference(own()), {"one": report(ratio=value)}, {})
    assert [each.verdict for each in found.verdicts] == [verdict]
    assert found.all_within == (verdict == "within")
    assert found.to_dict()["verdicts"][0]["value"] == value
    assert found.verdicts[0].reason == ("too little text" if value is None else "table 1")


@pytest.mark.parametrize(
    ("reports", "errors", "why"),
    [
        ({}, {"one": "no such release"}, "no such release"),
        ({}, {}, "it has not been evaluated"),
        ({"one": Report(MetricResult({}), {}, {"shrinkage": "ValueError: no"}, [], {})}, {}, "ValueError: no"),
        ({"one": report(gamma=1.0)}, {}, "the metric shrinkage has no number 'ratio'"),
    ],
)
def test_what_could_not_be_computed_is_not_checkable_for_a_reason(own, reports, errors, why):
    found = judge("own", load_reference(own()), reports, errors)
    assert [(each.verdict, each.reason) for each in found.verdicts] == [("not checkable", why)]
    assert not found.all_within


def test_as_markdown_for_others_to_read(own):
    found = judge("own", load_reference(own('"table 1"', '"table 1 | <b>"')), {"one": report(ratio=1.25)}, {})
    written = judged_markdown(judged_verdicts(replace(found, changes=("tokens is 512, not None",))))
    assert "| one | shrinkage/ratio | 1.2 | 1.09 to 1.31 | 1.250 ± 0.010 | within | table 1 \\| &lt;b> |" in written
    assert "Of 1 figures 1 within." in written
    assert "not the reference's settings, for which its bands are: tokens is 512, not None" in written


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('sae = "one"', 'sae = "two"', "a figure is of 'two', expected one of 'one'"),
        ("expected = 1.2", 'expected = "1.2"', "figures has '1.2' for 'expected', expected a number"),
        ("expected = 1.2\n", "", "figures lacks 'expected'"),
        ("noise = 0.04", "noise = 0.04\nnoisy = 1", "figures has 'noisy', expected some of sae, number"),
        ("read = 0.01\nspread = 0.03\nnoise = 0.04", "read = 0\nspread = 0\nnoise = 0", "has no band"),
        ("shrinkage/ratio", "ratio", "expected METRIC/NUMBER"),
        ("title =", "title", "TOML|Expected|expected"),
        ("[[figures]]", "[settings]\ndatset = 'x'\n[[figures]]", "settings has 'datset'"),
        ("[[saes]]", "[[saes]]\nname = 'one'\nrelease = 'r'\n[[saes]]", "of different names"),
    ],
)
def test_a_file_that_says_something_else_is_refused_by_name(own, old, new, why):
    with pytest.raises(ConfigError, match=rf"own\.toml' cannot be used: .*({why})"):
        load_reference(own(old, new))


def test_no_such_reference(capsys):
    assert main(["reproduce", "gao2025"]) == REFUSED
    assert "there is no reference 'gao2025': expected gao2024, or a file that ends in .toml" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["shrinkage/ration", "shrink/ratio"])
def test_a_number_that_does_not_exist_is_found_before_anything_is_loaded(own, capsys, number):
    assert main(["reproduce", own("shrinkage/ratio", number)]) == REFUSED
    assert number.split("/")["ration" not in number and 0] in capsys.readouterr().err


def test_settings():
    settings = Settings(preset="train", tokens=512, metrics={"probe": {"examples": 40}})
    config = config_of(settings, ("probe",))
    assert (config.names, config.tokens, config.probe.examples) == (["probe"], 512, 40)
    assert changes_of(settings, replace(settings, tokens=600)) == ["tokens is 600, not 512"]
    for metrics, why in (({"prob": {}}, "'prob'"), ({"probe": {"exmples": 4}}, "exmples")):
        with pytest.raises(ConfigError, match=why):
            config_of(replace(settings, metrics=metrics), ("probe",))


def test_the_list_has_every_figure_band_and_source(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    assert main(["reproduce", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for figure in GAO.figures:
        low, high = figure.band
        row = f"{low:.4g} to {high:.4g}"
        assert any(figure.number in line and row in line and figure.where in line and figure.why_spread in line for line in lines)
    for each in GAO.unchecked:
        assert any(each.what in line and each.why in line for line in lines)
    assert any("not yet run on these SAEs" in line for line in lines)
