"""The notebooks run from top to bottom, without a network, and hold what their cells gave."""

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parent.parent / "examples"
NOTEBOOKS = sorted(path.name for path in EXAMPLES.glob("*.ipynb"))


def read(name):
    return nbformat.read(EXAMPLES / name, as_version=4)


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_runs(name, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    NotebookClient(read(name), timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_outputs_and_pictures_are_stored(name):
    notebook = read(name)
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not any(output.output_type == "error" for output in outputs)
    assert [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"] == list(
        range(1, 1 + sum(cell.cell_type == "code" for cell in notebook.cells))
    )


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_they_say_what_to_change_for_real_models(name):
    text = json.dumps([cell.source for cell in read(name).cells])
    assert "Colab" in text
    assert "Gemma" in text


def test_there_are_four():
    assert NOTEBOOKS == ["01_flag.ipynb", "02_pretrained.ipynb", "03_compare.ipynb", "04_your_own_metric.ipynb"]
