"""The published schema of result files."""

import json

import pytest

from sae_lens_metrics.cli.main import main


def test_the_schema_is_printed_as_json(capsys):
    assert main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert {"format", "format_version", "metrics"} <= set(schema["properties"])


def test_it_takes_no_argument(capsys):
    with pytest.raises(SystemExit) as status:
        main(["schema", "2.0"])
    assert status.value.code == 2
    assert capsys.readouterr().err.startswith("sae-lens-metrics schema: 2.0 is more than it takes\n")
