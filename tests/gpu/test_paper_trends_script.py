"""The script that judges the paper's findings on a GPU: what it does before the command takes over."""

import sys
from pathlib import Path

import pytest

from sae_lens_metrics.loading.models import load_local_model


@pytest.fixture
def script():
    sys.path.insert(0, str(Path(__file__).parent))
    import paper_trends

    yield paper_trends
    sys.path.remove(str(Path(__file__).parent))


def test_it_trains_a_model_once_and_asks_for_its_findings(script, tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(script, "command", lambda arguments: asked.append(arguments) or 4)
    for _ in range(2):
        assert script.main(["--dry-run", "--output", str(tmp_path), "--seeds", "2"]) == 4
    assert asked[0] == asked[1]
    assert asked[0][:4] == ["reproduce", "paper-trends", "--model", str(tmp_path / "model")]
    assert asked[0][-2:] == ["--seeds", "2"]
    assert capsys.readouterr().out.count("tokens in") == 1
    model = load_local_model(tmp_path / "model")
    tokens = model.to_tokens("import os")
    assert float(model(tokens, return_type="loss")) < 12
