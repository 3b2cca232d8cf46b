"""Choosing tasks, tasks of one's own, and everything that can be wrong with either."""

import importlib.util
import json
import logging
import random
from types import SimpleNamespace

import pandas as pd
import pytest
from datasets import Dataset, DatasetDict

from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.metrics.probe.tasks import ProbeTask, generated_tasks, hub, load_tasks, sae_probes_files, select_tasks
from sae_lens_metrics.metrics.probe.tasks.catalogue import catalogue
from sae_lens_metrics.metrics.probe.tasks.preparation import LONGEST_PROMPT, prepare, without_duplicates
from sae_lens_metrics.metrics.probe.tasks.preparation import LabelledText as Text
from sae_lens_metrics.metrics.probe.tasks.recasts import options_as_examples
from sae_lens_metrics.metrics.probe.tasks.selection import load_named_task, warn_once
from sae_lens_metrics.metrics.probe.tasks.task import TaskError
from sae_lens_metrics.metrics.probe.tasks.user_files import load_task_file

# --- choosing ----------------------------------------------------------------------------------------------------------------


def test_selectors():
    assert select_tasks(["all"]) == list(catalogue())
    assert len(select_tasks(["offline"])) == 49
    assert set(select_tasks(["generated"])) == set(generated_tasks())
    assert select_tasks(["jigsaw", "ethics", "virtue"]) == ["justice", "virtue", "utilitarianism", "deontology", "jigsaw"]
    assert select_tasks(["arithmetic", " base64 "]) == ["base64", "true_sum", "true_comparison", "ascending_numbers"]
    assert len(select_tasks(["all", "generated"])) == 61 + 12
    assert len(select_tasks(["language"])) == 9


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["base63"], "no probe task or family base63: did you mean base64?"),
        (["ag_news_sport", "cola"], "did you mean ag_news_sports or"),
        (["qqqq"], "no probe task or family qqqq: expected some of those that `sae-lens-metrics tasks` lists"),
        ([], "no probe task is given"),
        ([" "], "no probe task is given"),
    ],
)
def test_unknown_names(names, message):
    with pytest.raises(ConfigError) as error:
        load_tasks(names, n_examples=20, seed=0)
    assert message in str(error.value)
    assert len(str(error.value)) < 250


def test_too_few_examples_asked_for():
    with pytest.raises(TaskError, match="at least 20"):
        load_tasks(["true_sum"], n_examples=19, seed=0)


def test_a_cap_above_what_the_material_gives():
    (task,) = load_tasks(["in_function_signature"], n_examples=100_000, seed=0).tasks
    assert 1_000 < len(task.texts) < 100_000
    assert sum(task.labels) * 2 == len(task.texts)


def test_loaded_once():
    first, second = (load_tasks(["true_sum"], n_examples=40, seed=0).tasks[0] for _ in range(2))
    assert first is second


# --- sources that are not at hand --------------------------------------------------------------------------------------------


@pytest.fixture
def without(monkeypatch, caplog):
    """Makes packages look as if they were not installed."""
    load_named_task.cache_clear()
    warn_once.cache_clear()
    caplog.set_level(logging.WARNING, logger="sae_lens_metrics")
    monkeypatch.setattr(logging.getLogger("sae_lens_metrics"), "propagate", True)

    def without(*names):
        def find_spec(name):
            return None if name in names else importlib.util.find_spec("json" if name == "sae_probes" else name)

        monkeypatch.setattr(sae_probes_files, "importlib", type("", (), {"util": type("", (), {"find_spec": staticmethod(find_spec)})}))

    yield without
    load_named_task.cache_clear()


@pytest.mark.parametrize(
    ("absent", "named"),
    [
        (["sae_probes"], "sae-probes is not installed"),
        (["zstandard"], "zstandard is not installed"),
        (["sae_probes", "zstandard"], "sae-probes and zstandard are not installed"),
    ],
)
def test_packages_that_are_not_installed(without, caplog, absent, named):
    without(*absent)
    for _ in range(2):
        loaded = load_tasks(["news", "cola", "base64"], n_examples=20, seed=0)
        assert [task.name for task in loaded.tasks] == ["base64"]
        assert list(loaded.missing) == ["cola", "ag_news_world", "ag_news_sports", "ag_news_business", "ag_news_scitech"]
        for reason in loaded.missing.values():
            assert named in reason
            assert 'pip install "sae-lens-metrics[tasks]"' in reason
            assert "pip install --no-deps sae-probes==0.4.2 zstandard" in reason
    (warning,) = [record.message for record in caplog.records if record.name == "sae_lens_metrics"]
    assert warning.startswith("left out: 5 probe tasks (cola, ag_news_world, ag_news_sports, ag_news_business and 1 more): ")
    assert "\n" not in warning
    with pytest.raises(TaskError, match=r"'cola' cannot be loaded.*pip install"):
        load_tasks(["cola", "base64"], n_examples=20, seed=0, strict=True)
    with pytest.raises(TaskError, match=r"none of the probe tasks can be loaded: 2 probe tasks \(virtue, cola\).*pip install"):
        load_tasks(["cola", "virtue"], n_examples=20, seed=0)


def test_another_version_of_the_package(without, caplog):
    without()  # the folder of another package stands for it
    loaded = load_tasks(["cola", "base64"], n_examples=20, seed=0)
    assert "has no file 87_glue_cola.csv.zst; install the version that has" in loaded.missing["cola"]


def test_a_file_without_its_columns(without, monkeypatch, tmp_path):
    import zstandard

    folder = tmp_path / "data" / "cleaned_data"
    folder.mkdir(parents=True)
    monkeypatch.setattr(sae_probes_files, "_folder", lambda: tmp_path)
    (folder / "87_glue_cola.csv.zst").write_bytes(zstandard.compress(b"prompt,answer\na,1\n"))
    (folder / "55_open_qa.csv.zst").write_bytes(zstandard.compress(b"prompt,target\nWhat? (A) this (B) that,A\n"))
    (folder / "52_virtue_is.csv.zst").write_bytes(zstandard.compress(b"prompt,target\na,1\nb,0\n"))
    missing = load_tasks(["cola", "openbookqa", "virtue", "base64"], n_examples=20, seed=0).missing
    assert "has no column target" in missing["cola"]
    assert "not of the form" in missing["openbookqa"]
    assert "has 2 examples" in missing["virtue"]


def test_a_machine_that_is_told_to_stay_offline():
    from huggingface_hub import constants

    assert constants.HF_HUB_OFFLINE  # as for all tests
    loaded = load_tasks(["jigsaw", "language", "base64"], n_examples=20, seed=0)
    assert [task.name for task in loaded.tasks] == ["base64"]
    assert len(loaded.missing) == 10
    assert "the Hugging Face hub cannot be reached" in loaded.missing["jigsaw"]


def test_a_hub_that_could_not_be_reached_is_left_alone_for_some_minutes(monkeypatch):
    tries, now = [], [1000.0]

    def unreachable(entry):
        tries.append(entry.name)
        raise ConnectionError

    monkeypatch.setattr(hub, "_stream", unreachable)
    monkeypatch.setattr(hub, "_unreachable_until", [0.0])
    monkeypatch.setattr(hub, "time", SimpleNamespace(monotonic=lambda: now[0]))
    for seconds, expected in ((0, 1), (10, 1), (250, 1), (50, 2), (10, 2)):  # an evaluation asks again and again
        now[0] += seconds
        loaded = load_tasks(["jigsaw", "wic", "base64"], n_examples=20, seed=0)
        assert len(tries) == expected
        assert list(loaded.missing) == ["wic", "jigsaw"]
        assert all("cannot be reached" in reason for reason in loaded.missing.values())


# --- preparation -------------------------------------------------------------------------------------------------------------


def test_duplicates_contradictions_and_blank_texts():
    given = [
        Text("a", True),
        Text("b", False),
        Text("a", True),
        Text("b", True),
        Text(" \n", True),
        Text("c", False),
    ]
    assert without_duplicates(given) == [Text("a", True), Text("c", False)]


def test_white_space_at_the_end_is_dropped_before_duplicates_are():
    given = [
        Text("a \n", True),
        Text(" a", False),
        Text("a", True),
        Text("b\t", True),
        Text("b", False),
    ]
    assert without_duplicates(given) == [Text("a", True), Text(" a", False)]


def test_long_texts_lose_their_beginning():
    (example,) = without_duplicates([Text("x" * LONGEST_PROMPT + "end", True)])
    assert len(example.text) == LONGEST_PROMPT
    assert example.text.endswith("xend")


def test_balanced_to_the_smaller_class_and_shuffled():
    examples = [Text(f"positive {i}", True, f"group {i // 3}") for i in range(30)] + [Text(f"negative {i}", False) for i in range(90)]
    task = prepare("name", "family", "What it is.", examples, 1000, random.Random(0))
    assert (len(task.texts), sum(task.labels)) == (60, 30)
    assert task.groups is not None
    groups = dict(zip(task.texts, task.groups, strict=True))
    assert all(groups[f"positive {i}"] == groups[f"positive {i // 3 * 3}"] for i in range(30))
    assert len(set(groups.values())) == 10 + 30  # an example without a group is one of its own
    assert prepare("name", "family", "What it is.", examples, 1000, random.Random(1)) != task
    assert len(prepare("name", "family", "What it is.", examples, 41, random.Random(0)).texts) == 40


def test_what_cannot_be_prepared():
    texts = [Text(str(i), i % 2 == 0) for i in range(18)]
    for examples, message in (
        ([], "0 examples"),
        (texts, "18 examples"),
        ([Text(str(i), True) for i in range(50)], "one class only"),
    ):
        with pytest.raises(TaskError, match=message):
            prepare("name", "family", "What it is.", examples, 100, random.Random(0))


def test_questions_whose_text_looks_like_options():
    question = Text("Which is it, A. or B. x?\n\nA.one\nB.two\n\nA. right\nB. wrong", "0", "its group")
    (example,) = options_as_examples([question], "lines from 0", random.Random(0))
    assert example == Text("Which is it, A. or B. x?\n\nA.one\nB.two right", True, "its group")


def test_the_fingerprint_is_of_the_content():
    texts, labels = tuple(f"text {i}" for i in range(20)), (True, False) * 10
    task = ProbeTask("a", "f", "d", texts, labels)
    assert len(task.fingerprint) == 16
    assert task.fingerprint == ProbeTask("b", "g", "e", texts, labels).fingerprint
    others = [
        ProbeTask("a", "f", "d", texts, labels[::-1]),
        ProbeTask("a", "f", "d", texts[::-1], labels),
        ProbeTask("a", "f", "d", texts, labels, tuple(range(20))),
    ]
    assert len({task.fingerprint, *(other.fingerprint for other in others)}) == 4
    with pytest.raises(TaskError, match="20 texts but 3 groups"):
        ProbeTask("a", "f", "d", texts, labels, (1, 2, 3))


# --- tasks of one's own ------------------------------------------------------------------------------------------------------

ROWS = [{"text": f"text, number\n{i}", "label": int(i % 3 == 0), "group": f"page {i // 2}"} for i in range(90)]


def write(path, rows=ROWS):
    frame = pd.DataFrame(rows)
    writers = {
        ".csv": lambda: frame.to_csv(path, index=False),
        ".jsonl": lambda: path.write_text("\n".join(map(json.dumps, rows)) + "\n\n"),
        ".parquet": lambda: frame.to_parquet(path),
        "": lambda: Dataset.from_list(rows).save_to_disk(path),
    }
    writers[path.suffix]()
    return str(path)


@pytest.mark.parametrize("name", ["mine.csv", "mine.jsonl", "mine.parquet", "mine"])
def test_every_kind_of_file_gives_the_same_task(tmp_path, name):
    loaded = load_tasks([], n_examples=100, seed=0, files=[write(tmp_path / name)])
    (task,) = loaded.tasks
    assert (task.name, task.family, len(task.texts), sum(task.labels)) == ("mine", "own", 60, 30)
    assert task.groups is not None
    numbers = [int(text.split("\n")[1]) for text in task.texts]
    assert [number % 3 == 0 for number in numbers] == list(task.labels)
    groups = {}
    for number, group in zip(numbers, task.groups, strict=True):
        assert groups.setdefault(number // 2, group) == group
    assert len(load_tasks(["true_sum"], n_examples=40, seed=0, files=[str(tmp_path / name)]).tasks) == 2
    assert len(load_tasks([""], n_examples=40, seed=0, files=[str(tmp_path / name)]).tasks[0].texts) == 40


@pytest.mark.parametrize("labels", [(True, False), ("true", "false"), ("TRUE", "False"), ("1", "0"), (1.0, 0.0)])
def test_labels_that_say_which_is_positive(tmp_path, labels):
    rows = [{"text": f"text {i}", "label": labels[i % 2]} for i in range(40)]
    for name in ("a.csv", "b.jsonl", "c.parquet"):
        task = load_task_file(write(tmp_path / name, rows), 100, 0)
        assert all(label == (int(text.split()[1]) % 2 == 0) for text, label in zip(task.texts, task.labels, strict=True))


def test_a_positive_class_named_after_the_path(tmp_path):
    rows = [{"text": f"text {i}", "label": ("good", "bad:worse")[i % 2]} for i in range(40)]
    path = write(tmp_path / "reviews.csv", rows)
    good = load_task_file(f"{path}:good", 100, 0)
    assert all(label == (int(text.split()[1]) % 2 == 0) for text, label in zip(good.texts, good.labels, strict=True))
    with pytest.raises(TaskError, match=r"labels 'bad:worse', 'good', which do not say which is positive.*reviews.csv:good"):
        load_task_file(path, 100, 0)
    with pytest.raises(TaskError, match="no label 'fine', but 'bad:worse', 'good'"):
        load_task_file(f"{path}:fine", 100, 0)


def test_a_changed_file_is_read_again(tmp_path):
    path = tmp_path / "mine.csv"
    first = load_tasks([], n_examples=100, seed=0, files=[write(path)]).tasks[0]
    second = load_tasks([], n_examples=100, seed=0, files=[write(path, ROWS[:70])]).tasks[0]
    assert len(second.texts) < len(first.texts)


def change(**columns):
    return [{**row, **columns} for row in ROWS]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"sentence": "a", "label": 1}] * 30, "lacks the column 'text'.*'sentence', 'label'"),
        ([{"text": f"{i}", "class": 1} for i in range(30)], "lacks the column 'label'.*'text', 'class'"),
        (change(label=1), "one class only"),
        ([{**row, "label": i % 3} for i, row in enumerate(ROWS)], "3 different labels.*expected two"),
        (ROWS[:20], "examples; give it at least 20"),
        (ROWS[:1] * 100, "1 examples"),
    ],
)
@pytest.mark.parametrize("name", ["mine.csv", "mine.jsonl", "mine.parquet"])
def test_unusable_files(tmp_path, rows, message, name):
    with pytest.raises(TaskError, match=message):
        load_tasks([], n_examples=100, seed=0, files=[write(tmp_path / name, rows)])


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "task.txt").write_text("text")
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1")
    (tmp_path / "damaged.jsonl").write_text('{"text": ')
    (tmp_path / "numbers.jsonl").write_text("1\n2\n")
    (tmp_path / "latin.csv").write_bytes("text,label\nné,1\n".encode("latin-1"))
    (tmp_path / "empty.csv").write_text("")
    DatasetDict({"train": Dataset.from_list(ROWS)}).save_to_disk(tmp_path / "splits")
    messages = {
        "none.csv": "there is no task file",
        "task.txt": r"does not end in \.csv, \.jsonl, \.parquet",
        "damaged.parquet": "cannot be read",
        "damaged.jsonl": "cannot be read",
        "numbers.jsonl": "lacks the column 'text', or a value in it: a row has the columns none",
        "latin.csv": "cannot be read",
        "empty.csv": "cannot be read",
        "splits": "several splits, train: give the folder of one",
    }
    for name, message in messages.items():
        with pytest.raises(TaskError, match=message):
            load_tasks(["true_sum"], n_examples=40, seed=0, files=[str(tmp_path / name)])


@pytest.mark.parametrize("half", ["\\ud800", "\\udc00 and", "\\ude00\\ud83d"])
def test_half_a_character(tmp_path, half):
    """JSON can write it, and tokenizers fail on it."""
    path = tmp_path / "mine.jsonl"
    lines = [json.dumps(row) for row in ROWS]
    lines[6] = f'{{"text": "with {half}", "label": 1}}'
    path.write_text("\n".join(lines))
    with pytest.raises(TaskError) as error:
        load_task_file(str(path), 100, 0)
    assert f"mine.jsonl' has a text with '{half[:6]}' in row 7, " in str(error.value)
    lines[6] = '{"text": "whole: \\ud83d\\ude00", "label": 1}'
    path.write_text("\n".join(lines))
    assert "whole: \N{GRINNING FACE}" in load_task_file(str(path), 100, 0).texts


def test_names_that_are_taken(tmp_path):
    for files in (["cola.csv"], ["mine.csv", "mine.jsonl"]):
        with pytest.raises(ConfigError, match="two probe tasks of the name"):
            load_tasks([], n_examples=40, seed=0, files=[write(tmp_path / name) for name in files])
