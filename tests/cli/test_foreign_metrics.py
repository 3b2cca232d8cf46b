"""Metrics of other packages on the command line, each installed through its entry point, in processes of their own."""

import json
import os
import subprocess
import sys

import pytest

SOURCE = '''
from dataclasses import dataclass

from sae_lens_metrics import MetricSpec, Number


@dataclass
class OverlapConfig:
    """How alike decoder directions are."""

    neighbours: int = 1
    """How many nearest directions to average over."""
    sampled: bool = False
    """Whether to take a sample."""


SPEC = MetricSpec(
    name="overlap",
    title="Decoder overlap",
    summary="how alike are decoder directions",
    numbers={"max_cosine": Number("nearest decoder cosine", better="lower")},
    settings=OverlapConfig,
    presets={"train": {"sampled": True}},
    compute="foreign_overlap:compute",
)
'''
PROGRAM = """
import json, sys
from sae_lens_metrics.cli.evaluate import evaluate_options
_, config = evaluate_options(sys.argv[1:])
print(json.dumps(config.to_dict()))
"""


@pytest.fixture
def run(tmp_path):
    """Runs a Python program with arguments, where one package adds a metric and another one, which is broken, adds one too."""
    for module, source, point in (
        ("foreign_overlap", SOURCE, "overlap = foreign_overlap:SPEC"),
        ("foreign_broken", "import no_such_module", "broken = foreign_broken:SPEC"),
    ):
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[sae_lens_metrics.metrics]\n{point}\n")
    path = os.pathsep.join([str(tmp_path), os.getcwd()])

    def run(*command):
        environment = os.environ | {"PYTHONPATH": path, "COLUMNS": "120"}
        return subprocess.run([sys.executable, *command], capture_output=True, text=True, env=environment, check=False)

    return run


@pytest.mark.parametrize(("command", "prefix"), [("evaluate", "--"), ("train", "--metrics.")])
def test_its_flags_are_in_the_help_and_a_broken_one_is_named(run, command, prefix):
    process = run("-m", "sae_lens_metrics", command, "--help")
    assert process.returncode == 0
    assert "overlap      how alike are decoder directions" in process.stdout
    assert f"{prefix}overlap.neighbours N" in process.stdout
    assert "How many nearest directions to average over. (default: 1)" in " ".join(process.stdout.split())
    (warning,) = process.stderr.splitlines()
    assert warning.startswith(f"sae-lens-metrics {command}: left out: the metric 'broken' cannot be imported from foreign_broken:SPEC")


def test_a_mistake_in_its_flags_and_its_name(run):
    said = run("-m", "sae_lens_metrics", "evaluate", "a", "--overlap.neighbors", "3").stderr.splitlines()
    assert said[1:] == [
        "sae-lens-metrics evaluate: there is no flag --overlap.neighbors: did you mean --overlap.neighbours?",
        "sae-lens-metrics evaluate --help lists all flags",
    ]
    said = run("-m", "sae_lens_metrics", "explain", "overlap/max_cosin").stderr
    assert "did you mean overlap/max_cosine?" in said


def test_its_settings_count_where_it_is_asked_for(run):
    asked = json.loads(run("-c", PROGRAM, "a", "--metrics", "overlap", "--overlap.neighbours", "3").stdout)
    assert (asked["names"], asked["overlap"]) == (["overlap"], {"neighbours": 3, "sampled": False})
    by_preset = json.loads(run("-c", PROGRAM, "a", "--metrics", "overlap", "--preset", "train").stdout)
    assert by_preset["overlap"] == {"neighbours": 1, "sampled": True}
    assert "overlap" not in json.loads(run("-c", PROGRAM, "a").stdout)


def test_a_broken_one_that_is_asked_for_is_an_error(run):
    process = run("-m", "sae_lens_metrics", "evaluate", "a", "--metrics", "broken")
    assert process.returncode == 2
    assert "sae-lens-metrics: error: the metric 'broken' cannot be imported" in process.stderr


def test_explained_like_one_of_this_package(run):
    process = run("-m", "sae_lens_metrics", "explain", "overlap")
    assert (process.returncode, process.stderr) == (0, "")
    assert "nearest decoder cosine" in process.stdout
