import json
from pathlib import Path

import pytest
import torch
from runners import BATCH, STEPS
from saes import D_IN, D_SAE, HOOK

from sae_lens_metrics import Report
from sae_lens_metrics.cli.main import main


@pytest.fixture
def offline(model, dataset, monkeypatch):
    """SAELens's own loading, answered from this machine."""
    monkeypatch.setattr("sae_lens.llm_sae_training_runner.load_model", lambda *args, **kwargs: model)
    monkeypatch.setattr("sae_lens.training.activations_store.load_dataset", lambda *args, **kwargs: dataset)


def flags(tmp_path):
    return [
        *("--architecture", "topk", "--k", "8", "--d_in", str(D_IN), "--d_sae", str(D_SAE)),
        *("--model_name", "tiny_lm", "--hook_name", HOOK, "--dataset_path", "some/text", "--context_size", "64"),
        *("--training_tokens", str(STEPS * BATCH), "--train_batch_size_tokens", str(BATCH), "--n_batches_in_buffer", "8"),
        *("--store_batch_size_prompts", "4", "--log_to_wandb", "False", "--wandb_log_frequency", "1", "--eval_every_n_wandb_logs", "6"),
        *("--checkpoint_path", str(tmp_path / "checkpoints"), "--output_path", str(tmp_path / "output"), "--verbose", "False"),
    ]


def test_train_takes_every_flag_of_saelens_and_ours(offline, tmp_path):
    ours = ["--metrics", "shrinkage", "--metrics.preset", "train", "--metrics.tokens", "640", "--metrics.shrinkage.tokens=320"]
    assert main(["train", *ours, *flags(tmp_path)]) == 0
    report = Report.load(tmp_path / "output" / "metrics.json")
    config = report.provenance["config"]
    assert list(report.metrics) == ["shrinkage"]
    assert (config["tokens"], config["shrinkage"]["tokens"]) == (640, 320)
    assert config["probe"]["examples"] == 200  # the preset's
    saved = json.loads((tmp_path / "output" / "runner_cfg.json").read_text())
    assert "metrics" not in saved  # so that SAELens itself opens it
    assert Path(saved["checkpoint_path"]).parent == tmp_path / "checkpoints"  # one id is appended, not two
    assert list((tmp_path / "checkpoints").rglob("metrics.jsonl"))


@pytest.mark.slow
def test_train_equals_saelenss_own_command(offline, tmp_path):
    from sae_lens.llm_sae_training_runner import _run_cli
    from sae_lens.saes.sae import SAE

    torch.manual_seed(0)
    _run_cli(flags(tmp_path / "theirs"))
    torch.manual_seed(0)
    assert main(["train", "--metrics", "shrinkage", *flags(tmp_path / "ours")]) == 0
    theirs, ours = (SAE.load_from_disk(tmp_path / name / "output").state_dict() for name in ("theirs", "ours"))
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)


def test_saelenss_own_flags_are_listed(capsys):
    with pytest.raises(SystemExit) as status:
        main(["train", "--help-saelens"])
    assert status.value.code == 0
    printed = capsys.readouterr().out
    assert "--hook_name" in printed
    assert "--training_tokens" in printed


@pytest.mark.parametrize(
    ("arguments", "taught"),
    [
        (["--help"], ["demo", "evaluate", "train", "tasks"]),
        (
            ["evaluate", "--help"],
            ["RELEASE", "--metrics", "--dataset", "--tokens", "--wandb-project", "--probe.tasks", "--task-file", "tokens of evaluation"],
        ),
        (["train", "--help"], ["--metrics.preset", "--metrics.max-overhead", "--help-saelens"]),
        (["demo", "--help"], ["--quick", "--output", "--tasks", "no network"]),
        (["bench", "--help"], ["--device", "--output", "no network", "share"]),
        (["tasks", "--help"], ["--show", "--task-file", "offline", "POSITIVE"]),
    ],
)
def test_help_teaches(arguments, taught, capsys):
    try:
        status = main(arguments)
    except SystemExit as stopped:
        status = stopped.code
    assert status == 0
    printed = capsys.readouterr().out.lower()
    for text in taught:
        assert text.lower() in printed, text
    flags = [line.split()[:2] for line in printed.splitlines() if line.startswith("  --")]
    assert not [words for words in flags if "_" in words[0]]  # once, with hyphens
    assert not [words for words in flags if {"int", "[int]", "float", "bool", "[str]"} & {*words}]


# --- tasks -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def task_file(tmp_path):
    """A task of hostile texts."""
    path = tmp_path / "hostile[red].csv"
    rows = "".join(f'"{"x" * 600} {i} [bold]\x1b[31m\x07 [/nonsense] [link=http://example.org]\u202e end",{i % 2}\n' for i in range(40))
    path.write_text(f"text,label\n{rows}")
    return path


def test_tasks_are_listed(capsys, monkeypatch, task_file):
    from sae_lens_metrics.metrics.probe.tasks import generated_tasks
    from sae_lens_metrics.metrics.probe.tasks.catalogue import catalogue

    monkeypatch.setenv("COLUMNS", "80")
    assert main(["tasks", "--task-file", str(task_file)]) == 0
    printed = capsys.readouterr().out
    rows = {line.split()[0]: line.rstrip() for line in printed.splitlines()}
    assert set(catalogue()) | set(generated_tasks()) <= set(rows)
    assert rows["hostile[red]"].split() == ["hostile[red]", "own", "40", "file", "yes"]
    assert rows["jigsaw"].endswith("needs network")
    assert rows["true_sum"].split()[-2:] == ["generated", "yes"]
    assert "61" in printed
    assert all(len(line) <= 80 for line in printed.splitlines())
    monkeypatch.setenv("COLUMNS", "130")
    assert main(["tasks"]) == 0
    assert "Sports news, against other news." in capsys.readouterr().out


def test_what_is_not_here_says_how_to_get_it(capsys, monkeypatch):
    monkeypatch.setattr("sae_lens_metrics.cli.tasks.missing_packages", lambda: "install [it] so")
    assert main(["tasks"]) == 0
    printed = capsys.readouterr().out
    assert "Tasks of sae-probes are not here: install [it] so" in " ".join(printed.split())
    assert next(line for line in printed.splitlines() if line.startswith("cola ")).split()[-1] == "no"


def test_examples_of_a_task(capsys):
    assert main(["tasks", "--show", "true_sum"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("true_sum (arithmetic): True sums")
    positive, negative = (part.strip().splitlines() for part in printed.split("positive\n")[1].split("negative\n"))
    assert len(positive) == len(negative) == 3
    for lines, truth in ((positive, True), (negative, False)):
        for line in lines:
            a, _, b, _, c = line.split("; ")[-1].split()
            assert (int(a) + int(b) == int(c)) == truth


def test_hostile_text_is_shown_as_it_is(capsys, task_file):
    assert main(["tasks", "--task-file", str(task_file), "--show", "hostile[red]"]) == 0
    printed = capsys.readouterr().out
    assert not {"\x1b", "\x07", "\u202e"} & set(printed)
    assert printed.count(r"[bold]\x1b[31m\x07 [/nonsense] [link=http://example.org]\u202e end") == 6
    shown = [line for line in printed.splitlines() if line.startswith("  …")]
    assert len(shown) == 6
    assert all(len(line) < 420 for line in shown)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--show", "true_sums"], "did you mean true_sum"),
        (["--show", "news"], "news stands for several probe tasks"),
        (["--task-file", "none.csv"], "no task file 'none.csv'"),
    ],
)
def test_mistakes_in_tasks(arguments, said, capsys):
    assert main(["tasks", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_shorter_names_of_the_probes_settings(tmp_path):
    from sae_lens_metrics.cli.evaluate import evaluate_options

    _, config = evaluate_options(["a", "--tasks", "news,cola", "--task-file", "x.csv", "--task-file", "y.csv", "--strict"])
    _, same = evaluate_options(["a", "--probe.tasks", "news,cola", "--probe.task_files", "x.csv", "y.csv", "--probe.strict", "true"])
    assert config == same
    assert (config.probe.tasks, config.probe.task_files, config.probe.strict) == (["news", "cola"], ["x.csv", "y.csv"], True)
    _, untouched = evaluate_options(["a", "--probe.tasks", "code"])
    assert (untouched.probe.tasks, untouched.probe.task_files, untouched.probe.strict) == (["code"], [], False)


@pytest.mark.parametrize("arguments", [["evaluate", "some/release"], ["train"], ["demo"]], ids=lambda arguments: arguments[0])
def test_a_misspelt_task_does_not_wait(arguments, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flag = "--metrics.probe.tasks" if arguments == ["train"] else "--tasks"
    assert main([*arguments, flag, "base64,sciqq"]) == 2
    assert "no probe task or family sciqq: did you mean sciq" in capsys.readouterr().err
