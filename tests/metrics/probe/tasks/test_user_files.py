"""Task files that cannot be used: each is refused in words of our own."""

import json
import os

import pytest
from refusals import in_few_words

from sae_lens_metrics.cli.main import main
from sae_lens_metrics.metrics.probe.tasks.task import TaskError
from sae_lens_metrics.metrics.probe.tasks.user_files import load_task_file

ROWS = [{"text": f"text {i}", "label": i % 2, "group": f"page {i // 4}"} for i in range(40)]


@pytest.fixture
def refusal(tmp_path):
    def load(name, content):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(TaskError) as caught:
            load_task_file(str(tmp_path / name), 40, seed=0)
        in_few_words(caught.value)
        return str(caught.value)

    return load


def lines(rows):
    return "\n".join(map(json.dumps, rows)).encode()


def test_rows_that_share_one_group(refusal, tmp_path, capsys):
    said = refusal("own.jsonl", lines([{**row, "group": "all"} for row in ROWS]))
    assert "'own' has one group for all texts, which must stay on one side of a split; give it two at least, or none to any" in said
    assert main(["tasks", "--task-file", str(tmp_path / "own.jsonl")]) == 2
    assert "has one group for all texts" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", b"", "it is empty"),
        ("a.parquet", b"", "it is empty"),
        ("a.parquet", b"text,label\n", "expected Parquet"),
        ("a.csv", "text,label\ncaf\xe9,1\n".encode("latin-1"), "line 2 holds the byte 0xe9 where UTF-8 has no such"),
        ("a.jsonl", lines(ROWS[:4]) + b"\n{", "line 5 is not JSON"),
        ("a.jsonl", lines(ROWS[:4]) + b"\n" + b"[" * 200_000, "line 5 is not JSON (nested too deeply"),
    ],
)
def test_a_file_that_cannot_be_read(name, content, expected, refusal):
    said = refusal(name, content)
    assert repr(name)[1:] in said
    assert expected in said


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(TaskError, match=r"the folder holds no data set as Dataset\.save_to_disk writes one"):
        load_task_file(str(tmp_path), 40, seed=0)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(TaskError, match="neither a file nor a folder"):
        load_task_file(str(tmp_path / "a.csv"), 40, seed=0)


@pytest.mark.parametrize("name", ["x" * 5_000, "a\x00b", "\udc80", "\udc80:1"])
def test_a_name_that_cannot_be_a_files(name):
    with pytest.raises(TaskError) as caught:
        load_task_file(name, 40, seed=0)
    assert "there is no task file" in str(caught.value)


def test_a_name_that_is_no_text(tmp_path):
    path = tmp_path / "half \udc80.jsonl"
    path.write_bytes(lines(ROWS))
    assert load_task_file(str(path), 40, seed=0).name == r"half \udc80"
