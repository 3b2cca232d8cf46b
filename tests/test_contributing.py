"""What CONTRIBUTING.md says can be done, done."""

import importlib.util
import re
from pathlib import Path

import pytest
from saes import training_sae

from sae_lens_metrics import Corpus, MetricsConfig, Subject, check_metric, compare_reports, evaluate
from sae_lens_metrics.metrics.registry import unregister_metric

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, flags=re.DOTALL)


@pytest.fixture
def example(tmp_path):
    """The metric of the worked example, as a module in a file of its own."""
    (code,) = [block for kind, block in BLOCKS if kind == "python"]
    path = tmp_path / "concentration.py"
    path.write_text(code, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("concentration", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    unregister_metric("concentration")


def test_the_worked_example(example, model, tokens):
    corpus = Corpus.from_tokens(tokens[:16])
    config = MetricsConfig(names=["concentration"], concentration=example.ConcentrationConfig(largest=2))
    topk, standard = (evaluate(Subject(model, training_sae(kind)), corpus, config) for kind in ("topk", "standard"))
    numbers = topk.metrics["concentration"].estimates
    assert set(numbers) == set(example.SPEC.numbers)
    assert 0 < numbers["even"].value < numbers["share"].value <= 1
    assert numbers["share_minus_even"].value == pytest.approx(numbers["share"].value - numbers["even"].value)
    assert topk.provenance["config"]["concentration"] == {"largest": 2}
    compared = {difference.number: difference for difference in compare_reports({"topk": topk, "standard": standard}).differences}
    assert compared["concentration/share"].paired
    check_metric("concentration", Subject(model, training_sae("topk")), corpus, config)


def test_every_folder_is_in_the_list_of_layers():
    rows = re.findall(r"^\| ((?:`[\w./]+`(?:, )?)+) \|", TEXT, flags=re.MULTILINE)
    listed = {name.strip("/") for row in rows for name in re.findall(r"`([\w./]+)`", row)}
    package = ROOT / "sae_lens_metrics"
    there = {path.name for path in package.iterdir() if (path / "__init__.py").is_file()} | {"errors.py"}
    assert listed == there


def test_every_file_that_is_named_is_there():
    links = re.findall(r"\]\(([\w./-]+)\)", TEXT)
    paths = re.findall(r"`((?:tests|sae_lens_metrics)/[\w./]+)`", TEXT)
    assert links
    assert paths
    assert all((ROOT / path).exists() for path in [*links, *paths])


def test_every_test_that_a_command_names_is_there():
    named = re.findall(r"python -m pytest .*?(tests/[\w./]+)", TEXT)
    assert len(named) == 3
    assert all((ROOT / path).exists() for path in named)
