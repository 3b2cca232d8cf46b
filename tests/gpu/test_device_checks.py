"""The script that checks GPUs, as a dry run on the CPU."""

import json
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(Path(__file__).parent))
    import device_checks

    yield device_checks
    sys.path.remove(str(Path(__file__).parent))


def test_a_dry_run_goes_through_every_stage(script, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status = script.main(["--dry-run", "--output", "found.jsonl"])
    printed = capsys.readouterr().out
    found = [json.loads(line) for line in Path("found.jsonl").read_text().splitlines()]
    assert status == 0, [line for line in found if line.get("ok") is False]
    done = [line["stage"] for line in found if "seconds" in line and "stage" in line]
    assert len(done) == 7
    assert next(line for line in found if line.get("check") == "CPU against device")["worst"][1] == 0  # against itself
    assert len([line for line in found if "measured" in line]) == len(script.TODAY)
    assert "not measured" not in printed
    assert printed.count("\n| ") >= 5


def test_what_there_is_no_time_for_is_skipped(script, tmp_path):
    stages = script.Stages(10, tmp_path / "found.jsonl", "cpu")
    stages.run("long", 60, lambda: pytest.fail("it was run"))
    stages.run("broken", 1, lambda: 1 / 0)
    long, broken = (json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines())
    assert long["skipped"] == "needs 60 s, 10 are left"
    assert broken["error"] == "ZeroDivisionError: division by zero"
    assert len(stages.wrong) == 1


def test_numbers_that_differ_are_found(script):
    cpu = {"a/x": (1.0, 0.0), "a/y": (2.0, 1.0), "ablation/noise_floor": (1.0, 0.0), "a/z": (1.0, 0.0)}
    device = {"a/x": (1.01, 0.0), "a/y": (2.01, 1.0), "ablation/noise_floor": (2.0, 0.0)}
    found = script.compared(cpu, device, script.torch.float32)
    assert not found["ok"]
    assert list(found["far"]) == ["a/x"]
    assert found["missing"] == ["a/z"]
