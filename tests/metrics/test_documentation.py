"""The READMEs of the metrics say what their specs say."""

import re
import subprocess
import sys

import pytest

from sae_lens_metrics.metrics.documentation import documented_metrics, numbers_table, readme_of, with_numbers
from sae_lens_metrics.metrics.registry import metric_spec
from sae_lens_metrics.metrics.spec import MetricSpec, Number

METRICS = documented_metrics()


@pytest.mark.parametrize("metric", METRICS)
def test_the_table_is_that_of_the_spec(metric):
    text = readme_of(metric).read_text(encoding="utf-8")
    advice = "run python -m sae_lens_metrics.metrics.documentation"
    assert with_numbers(text, metric_spec(metric)) == text, advice


@pytest.mark.parametrize("metric", METRICS)
def test_a_readme_says_what_is_asked_how_and_how_far_to_trust_it(metric):
    text = readme_of(metric).read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", text, flags=re.MULTILINE)
    assert [heading.split(" where ")[0] for heading in headings] == ["Definition", "Our choices", "How far to trust it", "Numbers"]
    assert metric_spec(metric).paper in text
    assert "$" not in text, "the terminal shows it too: equations are plain text"


@pytest.mark.parametrize("metric", METRICS)
def test_every_number_and_flag_in_a_readme_is_there(metric):
    spec = metric_spec(metric)
    text = readme_of(metric).read_text(encoding="utf-8")
    for name, flag in re.findall(r"`--(\w+)\.(\w+)", text):
        assert name == metric
        assert flag in spec.effects()
    prefixes = [name.removesuffix("…") for name in re.findall(r"`([a-z0-9_]+_…)`", text)]
    assert all(any(number.startswith(prefix) for number in spec.numbers) for prefix in prefixes)


def test_a_table_says_units_directions_and_what_numbers_stand_beside():
    numbers = {
        "overlap": Number("overlap of a|b", "share", "lower"),
        "chance": Number("overlap by chance", "share", baseline_of="overlap"),
        "gain": Number("overlap minus chance", "", "lower", difference_of=("overlap", "chance")),
    }
    assert numbers_table(MetricSpec("mine", "Mine", numbers=numbers)).splitlines() == [
        "| number | what it is | unit | better |",
        "|---|---|---|---|",
        "| `overlap` | **overlap of a\\|b** | share, 0 to 1 | lower |",
        "| `chance` | overlap by chance; beside `overlap`, to compare with | share, 0 to 1 |  |",
        "| `gain` | overlap minus chance; `overlap` minus `chance`, paired | ratio | lower |",
    ]


@pytest.mark.parametrize("text", ["", "<!-- /numbers --> <!-- numbers: generated from spec.py -->"])
def test_marks_that_are_missing_are_named(text):
    with pytest.raises(ValueError, match="must have <!-- numbers"):
        with_numbers(text, MetricSpec("mine", "Mine"))


def test_it_needs_no_torch():
    code = "import sys, sae_lens_metrics.metrics.documentation as d; d.update_readmes(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
