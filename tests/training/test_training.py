import json
import logging
import re
import signal
from itertools import product
from pathlib import Path

import pandas as pd
import pytest
import torch
from datasets import Dataset
from offline_wandb import fresh_wandb, history, logged_file, records
from PIL import Image
from runners import BATCH, STEPS, multi_runner, single_runner, small_metrics
from sae_lens.saes.sae import SAE
from saes import D_IN, D_SAE, HOOK, SUPPORTED, TRAINING_CONFIGS
from slow import slow_but

from sae_lens_metrics import Estimate, MetricsRunnerConfig, MetricsTrainingRunner, Report, attach_metrics
from sae_lens_metrics.errors import ConfigError, CorpusError
from sae_lens_metrics.results import MetricResult
from sae_lens_metrics.training.budget import OverheadBudget

SHRINKAGE = small_metrics(names=["shrinkage"])


def weights(sae):
    return {name: value.clone() for name, value in sae.state_dict().items()}


def assert_identical(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def trained(make, seed=7):
    torch.manual_seed(seed)  # the SAE's start and the mixing buffer draw from the global state
    runner = make()
    return weights(runner.run())


# --- training is not disturbed -------------------------------------------------------------------------------------------------


NORMALIZED = ["none", "expected_average_only_in", "covariance_whitening"]
EVERY_TIME = [("standard", "expected_average_only_in"), ("topk", "none"), ("batchtopk", "none"), ("gated", "covariance_whitening")]


@pytest.fixture(scope="module")
def plain(model, dataset, tmp_path_factory):
    """Weights of runs without metrics by architecture and normalisation, each trained once."""
    made = {}

    def of(architecture, normalize="none"):
        if (architecture, normalize) not in made:
            folder = tmp_path_factory.mktemp("plain")
            made[architecture, normalize] = trained(lambda: single_runner(folder, model, dataset, architecture, normalize=normalize))
        return made[architecture, normalize]

    return of


@pytest.fixture
def repeatable(request):
    """Matching pursuit, of all architectures, trains to other bits each time on several threads, without metrics too."""
    before = torch.get_num_threads()
    if request.node.callspec.params["architecture"] == "matching_pursuit":
        torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("architecture", "normalize"), slow_but(product(TRAINING_CONFIGS, NORMALIZED), EVERY_TIME.__contains__))
@pytest.mark.usefixtures("repeatable")
def test_weights_are_bit_identical(architecture, normalize, model, dataset, plain, tmp_path):
    if architecture == "matching_pursuit" and normalize == "covariance_whitening":
        pytest.skip("SAELens itself cannot fold whitening into matching pursuit")
    with_metrics = trained(lambda: single_runner(tmp_path / "b", model, dataset, architecture, normalize=normalize, metrics=SHRINKAGE))
    assert_identical(plain(architecture, normalize), with_metrics)
    assert len(read_lines(tmp_path / "b")) == 3


@pytest.mark.slow
def test_weights_are_bit_identical_with_wandb_on(model, dataset, tmp_path):
    plain = trained(lambda: single_runner(tmp_path / "a", model, dataset, wandb=True))
    assert_identical(plain, trained(lambda: single_runner(tmp_path / "b", model, dataset, wandb=True, metrics=small_metrics())))


@pytest.mark.parametrize("architecture", slow_but(TRAINING_CONFIGS, "topk".__eq__))
@pytest.mark.usefixtures("repeatable")
def test_weights_are_bit_identical_with_prefetching(architecture, model, dataset, tmp_path):
    def run(folder, **changes):
        return trained(lambda: single_runner(folder, model, dataset, architecture, prefetch_llm_batches=True, **changes))

    assert_identical(run(tmp_path / "a"), run(tmp_path / "b", metrics=small_metrics()))


@pytest.mark.slow
def test_weights_are_bit_identical_on_two_threads(model, dataset, tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        plain = trained(lambda: single_runner(tmp_path / "a", model, dataset))
        assert_identical(plain, trained(lambda: single_runner(tmp_path / "b", model, dataset, metrics=small_metrics())))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_weights_are_bit_identical_with_several_saes(model, dataset, tmp_path):
    def run(**changes):
        torch.manual_seed(7)
        return {name: weights(sae) for name, sae in multi_runner(model=model, dataset=dataset, **changes).run().items()}

    plain, with_metrics = run(tmp_path=tmp_path / "a"), run(tmp_path=tmp_path / "b", metrics=SHRINKAGE)
    for name in plain:
        assert_identical(plain[name], with_metrics[name])
    assert {line["sae"] for line in read_lines(tmp_path / "b")} == {"standard", "topk"}
    assert Report.load(tmp_path / "b" / "output" / "topk" / "metrics.json").metrics["shrinkage"]


@pytest.mark.parametrize("architecture", slow_but(SUPPORTED, "topk".__eq__))
def test_weights_are_bit_identical_after_a_resume_and_so_is_the_evaluation_text(architecture, model, dataset, tmp_path):
    def stages(folder, metrics):
        torch.manual_seed(7)
        first = single_runner(folder / "1", model, dataset, architecture, metrics=metrics, n_checkpoints=1)
        first.run()
        checkpoint = sorted(path.parent for path in (folder / "1").rglob("trainer_state.pt"))[0]
        torch.manual_seed(8)
        second = single_runner(folder / "2", model, dataset, architecture, metrics=metrics, resume_from_checkpoint=str(checkpoint))
        return weights(second.run())

    assert_identical(stages(tmp_path / "a", None), stages(tmp_path / "b", SHRINKAGE))
    texts = [Report.load(tmp_path / "b" / stage / "output" / "metrics.json").provenance["corpus"]["tokens_sha256"] for stage in "12"]
    assert texts[0] == texts[1]


def test_a_metric_that_draws_from_the_global_states_disturbs_nothing(model, dataset, plain, tmp_path, metric):
    import random

    import numpy as np

    def greedy(context):
        torch.randn(10)
        np.random.rand(3)
        random.random()
        raise RuntimeError("and fails")

    metric("greedy", greedy)
    with_metrics = trained(lambda: single_runner(tmp_path / "b", model, dataset, metrics=small_metrics(names=["greedy"])))
    assert_identical(plain("topk"), with_metrics)


# --- errors --------------------------------------------------------------------------------------------------------------------


def test_a_metric_that_raises_gives_one_warning_and_training_goes_on(model, dataset, tmp_path, metric, caplog):
    def broken(context):
        raise RuntimeError("boom")

    metric("broken", broken)
    with caplog.at_level(logging.WARNING, logger="sae_lens_metrics"):
        single_runner(tmp_path, model, dataset, metrics=small_metrics(names=["broken", "shrinkage"])).run()
    assert [r.getMessage() for r in caplog.records if "boom" in r.getMessage()] == ["broken failed, training goes on: RuntimeError: boom"]
    lines = read_lines(tmp_path)
    assert len(lines) == 3
    assert all(line["errors"] == {"broken": "RuntimeError: boom"} and "shrinkage/ratio" in line for line in lines)


def test_an_interrupt_during_a_metric_stops_the_run(model, dataset, tmp_path, metric):
    from sae_lens.training._interruption import InterruptedException

    def interrupted(context):
        raise InterruptedException

    metric("interrupted", interrupted)
    with pytest.raises(InterruptedException):
        single_runner(tmp_path, model, dataset, metrics=small_metrics(names=["interrupted"]), checkpoint_path=None).run()
    assert read_lines(tmp_path) == []


def test_an_interrupt_during_the_last_evaluation_still_saves_the_sae(model, dataset, tmp_path, metric, caplog):
    from sae_lens.training._interruption import InterruptedException

    evaluations = []

    def interrupted(context):
        evaluations.append(context.subject)
        if len(evaluations) == 3:
            raise InterruptedException
        return MetricResult({})

    metric("interrupted", interrupted)
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(InterruptedException):  # but only then
        single_runner(tmp_path, model, dataset, metrics=small_metrics(names=["interrupted"])).run()
    assert len(evaluations) == 3
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert SAE.load_from_disk(tmp_path / "output").cfg.d_sae == D_SAE
    assert any("without the last evaluation, which sae-lens-metrics evaluate" in r.getMessage() for r in caplog.records)


def test_a_signal_during_the_check_of_the_sae_is_not_taken_for_an_unsupported_one(model, dataset, tmp_path, monkeypatch):
    from sae_lens.training._interruption import InterruptedException

    def interrupted(self, x):
        raise InterruptedException

    monkeypatch.setattr("sae_lens_metrics.subject.quiet_sae.QuietSAE.pre_activations", interrupted)
    with pytest.raises(InterruptedException):
        single_runner(tmp_path, model, dataset, metrics=SHRINKAGE, checkpoint_path=None).run()


def test_mistakes_are_told_before_training(model, dataset, tmp_path):
    with pytest.raises(ConfigError, match="no metric 'probes'"):
        single_runner(tmp_path, model, dataset, metrics=small_metrics(names=["probes"]))
    runner = single_runner(tmp_path, model, dataset, metrics=SHRINKAGE)
    with pytest.raises(ConfigError, match="attached"):
        attach_metrics(runner, SHRINKAGE)
    with pytest.raises(ConfigError, match="not a training runner"):
        attach_metrics(object(), SHRINKAGE)
    with pytest.raises(CorpusError, match=r"cannot load the data set .*nowhere\.jsonl"):
        single_runner(tmp_path, model, dataset, metrics=small_metrics(dataset=str(tmp_path / "nowhere.jsonl")))


# --- what comes out ------------------------------------------------------------------------------------------------------------


def read_lines(folder):
    files = list((Path(folder) / "checkpoints").rglob("metrics.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_results_without_wandb(model, dataset, tmp_path):
    sae = single_runner(tmp_path, model, dataset, metrics=small_metrics()).run()
    lines = read_lines(tmp_path)
    assert [(line["step"], line["final"]) for line in lines] == [(4, False), (8, False), (STEPS, True)]
    assert all(line["n_training_samples"] == line["step"] * BATCH and line["held_out"] for line in lines)
    path = next((tmp_path / "checkpoints").rglob("metrics.jsonl"))
    frame = pd.read_json(path, lines=True)
    assert frame["shrinkage/ratio"].notna().all()
    assert frame["probe/loss_stderr"].notna().all()
    report = Report.load(tmp_path / "output" / "metrics.json")
    assert report.flat()["shrinkage/ratio"] == lines[-1]["shrinkage/ratio"]
    # the report is about the SAE that was saved
    saved = SAE.load_from_disk(tmp_path / "output")
    from sae_lens_metrics import Subject

    assert report.provenance["sae"]["weights_sha256"] == Subject(model, saved).dictionary.weights_hash()
    assert sae.cfg.d_sae == report.provenance["sae"]["d_sae"]


def offline_run(folder, model, dataset, monkeypatch, **changes):
    """What a training run logs."""
    fresh_wandb(folder, monkeypatch)
    torch.manual_seed(7)
    single_runner(folder / "saes", model, dataset, wandb=True, **changes).run()
    return history(folder)


@pytest.mark.slow
def test_an_offline_wandb_run_has_every_metric_and_every_log_of_saelens(model, dataset, tmp_path, monkeypatch):
    plain = offline_run(tmp_path / "plain", model, dataset, monkeypatch)
    folder = tmp_path / "with"
    with_metrics = offline_run(folder, model, dataset, monkeypatch, metrics=small_metrics())
    steps = dict(with_metrics)
    theirs = {(step, key): value for step, items in plain for key, value in items.items() if not key.startswith("_")}
    assert len(theirs) > 100
    for (step, key), value in theirs.items():  # nothing of SAELens's is lost or changed, at any step
        assert steps[step][key] == value, key
    evaluated = [step for step, items in with_metrics if "shrinkage/ratio" in items]
    assert evaluated == [3, 7, 11, 12]  # SAELens's own steps, the last step among them, and once more at the end
    lines = {line["step"] - (not line["final"]): line for line in read_lines(folder / "saes")}
    for step in evaluated:
        logged = {key: value for key, value in lines[step].items() if key in steps[step]}
        assert logged == pytest.approx({key: steps[step][key] for key in logged})
        assert {"shrinkage/ratio", "shrinkage/ratio_stderr", "probe/held_out_loss", "n2g/f1", "sanity/loss_recovered"} <= set(logged)
        of_all = sum("/" in key for key in lines[step])  # the metrics file has every number, W&B those to be followed, and all at the end
        assert len(logged) == of_all if step == 12 else 20 < len(logged) < 50 < of_all
        rows = json.loads(logged_file(folder, steps[step], "probe/tasks").read_text())
        assert [row[0] for row in rows["data"]] == ["base64", "code_against_prose"]
        assert steps[step]["shrinkage/change._type"] == "histogram"
        assert "Latent" in logged_file(folder, steps[step], "n2g/examples").read_text()
    figures = {step: {key for key in items if "figure_" in key and key.endswith(".path")} for step, items in with_metrics}
    assert {step for step, keys in figures.items() if keys} == {12}  # they take a second, so once, at the end
    with Image.open(logged_file(folder, steps[12], "probe/figure_by_task")) as image:
        assert image.width > 400


@pytest.mark.slow
def test_the_result_file_of_a_training_run_is_an_artifact_of_it(model, dataset, tmp_path, monkeypatch):
    offline_run(tmp_path / "runs", model, dataset, monkeypatch, metrics=SHRINKAGE)
    (artifact,) = (each for each in records(tmp_path / "runs", "artifact") if each["type"] == "sae-metrics")
    saved = tmp_path / "runs" / "saes" / "output" / "metrics.json"
    (entry,) = artifact["manifest"]["contents"]
    assert (entry["path"], int(entry["size"])) == ("metrics.json", saved.stat().st_size)
    (run,) = records(tmp_path / "runs", "run")
    assert run["config"]["update"]["sae"]["architecture"] == "topk"  # where the dashboard groups by


@pytest.mark.slow
def test_a_table_that_cannot_be_drawn_is_one_warning_and_costs_no_number(model, dataset, tmp_path, monkeypatch, metric, caplog):
    mixed = MetricResult({"number": Estimate(1.0, None, 1, "tokens")}, {"rows": [{"a": 1}, {"a": "one"}]})
    metric("mixed", lambda context: mixed)
    with caplog.at_level(logging.WARNING, logger="sae_lens_metrics"):
        logged = offline_run(tmp_path / "runs", model, dataset, monkeypatch, metrics=small_metrics(names=["mixed", "shrinkage"]))
    assert [step for step, items in logged if {"mixed/number", "shrinkage/ratio"} <= set(items)] == [3, 7, 11, 12]
    assert sum("drawing mixed/rows for W&B failed, training goes on" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.slow
def test_keys_of_several_saes_in_wandb(model, dataset, tmp_path, monkeypatch):
    fresh_wandb(tmp_path / "wandb_runs", monkeypatch)
    multi_runner(tmp_path, model, dataset, wandb=True, metrics=SHRINKAGE).run()
    steps = dict(history(tmp_path / "wandb_runs"))
    for name in ("standard", "topk"):
        assert {3, 7, 12} <= {step for step, items in steps.items() if f"{name}/shrinkage/ratio" in items}


def test_the_flag_in_the_configuration(model, dataset, tmp_path):
    def config(**changes):
        return MetricsRunnerConfig(
            sae=TRAINING_CONFIGS["topk"](d_in=D_IN, d_sae=D_SAE),
            hook_name=HOOK,
            metrics=SHRINKAGE,
            training_tokens=STEPS * BATCH,
            train_batch_size_tokens=BATCH,
            context_size=64,
            n_batches_in_buffer=8,
            store_batch_size_prompts=4,
            checkpoint_path=str(tmp_path / "checkpoints"),
            output_path=str(tmp_path / "output"),
            verbose=False,
            **changes,
        )

    cfg = config()
    cfg.logger.log_to_wandb = False
    as_json = json.loads(json.dumps({**cfg.to_dict(), "metrics": cfg.metrics.to_dict()}))
    assert MetricsRunnerConfig.from_dict(as_json).metrics == cfg.metrics
    MetricsTrainingRunner(cfg, override_dataset=dataset, override_model=model).run()
    assert Report.load(tmp_path / "output" / "metrics.json").metrics["shrinkage"]


# --- held-out text -------------------------------------------------------------------------------------------------------------


def test_evaluation_text_is_at_the_end_and_training_never_reaches_it(model, dataset, tmp_path):
    runner = single_runner(tmp_path, model, dataset, metrics=SHRINKAGE)
    runner.run()
    corpus = Report.load(tmp_path / "output" / "metrics.json").provenance["corpus"]
    assert corpus["held_out"]
    assert runner.activations_store.n_dataset_processed < corpus["first_row"] < len(dataset)


@pytest.mark.slow
def test_text_that_training_reaches_is_warned_about_and_marked(model, documents, tmp_path, caplog):
    small = Dataset.from_dict({"text": documents[:3]})
    with caplog.at_level(logging.WARNING, logger="sae_lens_metrics"):
        single_runner(tmp_path, model, small, metrics=SHRINKAGE, training_tokens=200 * BATCH, logger=logger_every(100)).run()
    assert any("cannot be shown" in r.getMessage() for r in caplog.records)
    report = Report.load(tmp_path / "output" / "metrics.json")
    assert report.provenance["corpus"]["held_out"] is False
    assert any("cannot be shown" in text for text in report.warnings)


def logger_every(n):
    from runners import logging_config

    return logging_config(wandb=False, every=n)


@pytest.mark.parametrize("shards", [1, 4])
@pytest.mark.parametrize("shuffled", [False, True])
def test_of_a_stream_the_rows_after_those_that_training_reads(shards, shuffled, model, tmp_path):
    texts = [" ".join(f"row{i} word{j}" for j in range(60)) for i in range(300)]
    stream = Dataset.from_dict({"text": texts}).to_iterable_dataset(num_shards=shards)
    if shuffled:
        stream = stream.shuffle(seed=5, buffer_size=20)
    runner = single_runner(tmp_path, model, stream, metrics=SHRINKAGE)
    order = [row["text"] for row in stream]
    runner.run()
    corpus = runner.evaluator._metrics._held_out.corpus
    report = Report.load(tmp_path / "output" / "metrics.json")
    assert report.provenance["corpus"]["held_out"]
    assert report.warnings == [text for text in report.warnings if "cannot be shown" not in text]
    read = {re.match(r"row\d+", text).group() for text in order[: runner.activations_store.n_dataset_processed + 1]}
    evaluated = set(re.findall(r"row\d+(?= )", " ".join(model.tokenizer.decode(row) for row in corpus.tokens)))
    assert len(read) > 5
    assert len(evaluated) > 3
    assert not read & evaluated


@pytest.mark.slow
def test_a_stream_that_training_reads_to_its_end_is_not_held_out(model, documents, tmp_path, caplog):
    stream = Dataset.from_dict({"text": documents[:3]}).to_iterable_dataset(num_shards=3)
    single_runner(tmp_path, model, stream, metrics=SHRINKAGE, training_tokens=200 * BATCH, logger=logger_every(100)).run()
    report = Report.load(tmp_path / "output" / "metrics.json")
    assert report.provenance["corpus"]["held_out"] is False
    assert any("cannot be shown" in text for text in report.warnings)


def test_the_training_set_named_again_is_not_held_out(model, documents, tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents[:10]))
    rows = Dataset.from_dict({"text": documents[:10]})
    metrics = small_metrics(names=["shrinkage"], dataset=str(path))
    single_runner(tmp_path, model, rows, metrics=metrics, dataset_path=str(path)).run()
    assert Report.load(tmp_path / "output" / "metrics.json").provenance["corpus"]["held_out"] is False


@pytest.mark.slow
def test_long_documents_with_short_ones_at_the_end(model, documents, tmp_path):
    rows = Dataset.from_dict({"text": [*("\n".join(documents[i : i + 10]) for i in range(0, 100, 10)), "The end.", "Index."]})
    single_runner(tmp_path, model, rows, metrics=SHRINKAGE).run()
    assert Report.load(tmp_path / "output" / "metrics.json").metrics["shrinkage"]


def test_a_tokenised_training_set(model, tokens, tmp_path):
    rows = Dataset.from_dict({"tokens": tokens.repeat(4, 1).tolist()})
    single_runner(tmp_path, model, rows, metrics=SHRINKAGE).run()
    assert Report.load(tmp_path / "output" / "metrics.json").provenance["corpus"]["held_out"]


def test_a_data_set_of_the_users(model, dataset, documents, tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents[:10]))
    single_runner(tmp_path, model, dataset, metrics=small_metrics(names=["shrinkage"], dataset=str(path))).run()
    corpus = Report.load(tmp_path / "output" / "metrics.json").provenance["corpus"]
    assert corpus["held_out"]
    assert str(path) in corpus["name"]


# --- overhead ------------------------------------------------------------------------------------------------------------------


def test_the_budget_keeps_its_share():
    now = 0.0
    budget = OverheadBudget(0.1, clock=lambda: now)
    spent = 0.0
    for _ in range(1000):
        now += 1.0
        if budget.allows():
            with budget.spending():
                now += 3.0
                spent += 3.0
    assert 0.08 < spent / now <= 0.1 + 1e-9
    assert budget.ran + budget.skipped == 1000


def test_evaluations_that_take_too_long_are_left_out_and_said_once(model, dataset, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="sae_lens_metrics"):
        single_runner(tmp_path, model, dataset, metrics=small_metrics(names=["shrinkage"], max_overhead=1e-6)).run()
    assert [(line["step"], line["final"]) for line in read_lines(tmp_path)] == [(STEPS, True)]
    assert sum("0 of 2 evaluations during training were run" in r.getMessage() for r in caplog.records) == 1


def test_what_an_evaluation_will_cost_is_said_at_the_start(model, dataset, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="sae_lens_metrics"):
        single_runner(tmp_path, model, dataset, metrics=small_metrics(max_overhead=0.5)).run()
    said = [record.getMessage() for record in caplog.records]
    (estimate,) = [text for text in said if "an evaluation of the metrics will take some" in text]
    seconds, metrics, wait = re.search(r"some (\d+) s(?: \(([^)]*)\))?(?:; .* after (\d+) s of training)?", estimate).groups()
    assert all(re.fullmatch(r"(probe|n2g|explanation|ablation|shrinkage) \d+ s", each) for each in (metrics or "").split(", ") if each)
    measured = [line["seconds"] for line in read_lines(tmp_path)]
    assert float(seconds) < 10 * max(measured) + 1
    assert wait is None or 0 < float(wait) <= 2 * (float(seconds) + 1)
    assert said.index(estimate) < next(place for place, text in enumerate(said) if text.startswith("step "))


def test_the_first_evaluation_obeys_the_budget():
    now = 0.0
    budget = OverheadBudget(0.1, clock=lambda: now)
    budget.expect(3.0)
    assert "after 27 s of training" in budget.in_words()
    now = 26.0
    assert not budget.allows()
    now = 28.0
    assert budget.allows()
    with budget.spending():
        now += 3.0
    assert not budget.allows()
    assert not OverheadBudget(0.1, clock=lambda: now).in_words()
