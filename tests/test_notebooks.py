"""The notebooks run from top to bottom, without a network, and hold what their cells gave."""

import json
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parent.parent / "examples"
NOTEBOOKS = sorted(path.name for path in EXAMPLES.glob("*.ipynb"))


def read(name):
    return nbformat.read(EXAMPLES / name, as_version=4)


@pytest.fixture(scope="module")
def kernel():
    """One process for all notebooks, as importing takes longer than most of what they do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        manager, client = start_new_kernel()
    yield manager
    client.stop_channels()
    manager.shutdown_kernel(now=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_runs(name, kernel, tmp_path):
    """In a folder of its own, without a name that another one has defined or imported."""
    notebook = read(name)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(f"%reset -f\nimport os\nos.chdir({str(tmp_path)!r})\ndel os"))
    NotebookClient(notebook, km=kernel, timeout=300).execute()


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
