"""Every way into training with SAELens, with every option of its that touches metrics: the table in training/README.md names these tests.

Weights are bit for bit those of the same run without metrics, and the metrics are there; or the refusal says why.
"""

import copy
import functools
import json
import logging
from pathlib import Path

import pytest
import torch
from offline_wandb import fresh_wandb, history
from runners import BATCH, CONTEXT, STEPS, logging_config, multi_runner, single_runner, small_metrics
from sae_lens import (
    CacheActivationsRunner,
    CacheActivationsRunnerConfig,
    LanguageModelSAERunnerConfig,
    MultiSAETrainingRunner,
    MultiSAETrainingRunnerConfig,
    SAETrainer,
    SAETrainingRunner,
)
from sae_lens.config import SAETrainerConfig
from sae_lens.synthetic import SyntheticModelConfig
from sae_lens.synthetic.synthetic_sae_runner import SyntheticSAERunner, SyntheticSAERunnerConfig
from saes import D_IN, D_SAE, HOOK, TRAINING_CONFIGS, training_sae
from slow import slow_but

from sae_lens_metrics import (
    MetricsConfig,
    MetricsEvaluator,
    MetricsRunnerConfig,
    MetricsTrainingRunner,
    MultiMetricsRunnerConfig,
    MultiMetricsTrainingRunner,
    Report,
    attach_metrics,
    read_histories,
)
from sae_lens_metrics.cli.main import main
from sae_lens_metrics.errors import ConfigError

SEED = 7
"""Of each runner that is made: the SAEs' start is drawn from the global state, as is the mixing buffer's order."""
SHRINKAGE = small_metrics(names=["shrinkage"])


def weights(saes):
    saes = saes if isinstance(saes, dict) else {"": saes}
    return {f"{name} {key}": value.clone() for name, sae in saes.items() for key, value in sae.state_dict().items()}


def assert_identical(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def lines(folder):
    return [json.loads(line) for line in next(folder.rglob("metrics.jsonl")).read_text().splitlines()]


# --- the runners ---------------------------------------------------------------------------------------------------------------


def attached_single(folder, model, dataset, metrics, **changes):
    return single_runner(folder, model, dataset, metrics=metrics, **changes)


def older_name(folder, model, dataset, metrics, **changes):
    plain = single_runner(folder, model, dataset, **changes)
    torch.manual_seed(SEED)
    runner = SAETrainingRunner(plain.cfg, override_dataset=dataset, override_model=model)
    return runner if metrics is None else attach_metrics(runner, metrics)


def flag_of_one(folder, model, dataset, metrics, **changes):
    plain = single_runner(folder, model, dataset, **changes)
    if metrics is None:
        return plain
    values = {name: getattr(plain.cfg, name) for name in LanguageModelSAERunnerConfig.__dataclass_fields__}
    torch.manual_seed(SEED)
    return MetricsTrainingRunner(MetricsRunnerConfig(**values, metrics=metrics), override_dataset=dataset, override_model=model)


def attached_multi(folder, model, dataset, metrics, **changes):
    return multi_runner(folder, model, dataset, metrics=metrics, **changes)


def flag_of_several(folder, model, dataset, metrics, **changes):
    plain = multi_runner(folder, model, dataset, **changes)
    if metrics is None:
        return plain
    values = {name: getattr(plain.cfg, name) for name, field in MultiSAETrainingRunnerConfig.__dataclass_fields__.items() if field.init}
    torch.manual_seed(SEED)
    return MultiMetricsTrainingRunner(MultiMetricsRunnerConfig(**values, metrics=metrics), override_dataset=dataset, override_model=model)


def seam_of_several(folder, model, dataset, metrics, **changes):
    plain = multi_runner(folder, model, dataset, **changes)
    if metrics is None:
        return plain
    evaluator = MetricsEvaluator(metrics, model, dataset.select(range(120, 150)))
    values = {name: getattr(plain.cfg, name) for name, field in MultiSAETrainingRunnerConfig.__dataclass_fields__.items() if field.init}
    cfg = MultiSAETrainingRunnerConfig(**{**values, "evaluator": evaluator})
    torch.manual_seed(SEED)
    return MultiSAETrainingRunner(cfg, override_dataset=dataset, override_model=model)


RUNNERS = {
    "LanguageModelSAETrainingRunner": attached_single,
    "SAETrainingRunner": older_name,
    "MetricsTrainingRunner": flag_of_one,
    "MultiSAETrainingRunner": attached_multi,
    "MultiMetricsTrainingRunner": flag_of_several,
}


PLAIN = {entry: "MultiSAETrainingRunner" if entry.startswith("Multi") else "LanguageModelSAETrainingRunner" for entry in RUNNERS}
"""SAELens's own runner that each of them is compared with; one name of it stands for both."""


@pytest.fixture(scope="module")
def plain():
    """Weights of runs without metrics, by runner and option, each trained once."""
    return {}


@pytest.fixture(scope="module")
def cached(model, dataset, tmp_path_factory):
    """Activations that SAELens has computed before."""
    folder = tmp_path_factory.mktemp("cached")
    sizes = {"model_batch_size": 4, "context_size": CONTEXT, "d_in": D_IN, "training_tokens": 4 * STEPS * BATCH, "device": "cpu"}
    sizes |= {"buffer_size_gb": 0.004}  # a shard is written as a whole
    cfg = CacheActivationsRunnerConfig(
        "standard library", "tiny_lm", hook_name=HOOK, new_cached_activations_path=str(folder / "acts"), streaming=False, **sizes
    )
    with pytest.MonkeyPatch.context() as patch:  # it takes models by name only
        patch.setattr("sae_lens.cache_activations_runner.load_model", lambda **_: model)
        CacheActivationsRunner(cfg, override_dataset=dataset).run()
    return folder / "acts"


@pytest.fixture(scope="module")
def texts(documents, tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents[:40]))
    return path


def pretrained(folder):
    sae = training_sae("topk", randomize=False, seed=3)
    sae.save_model(folder / "pretrained")
    return {"from_pretrained_path": str(folder / "pretrained")}


OPTIONS = {
    "as it is": lambda folder, cached: {},
    "W&B": lambda folder, cached: {"wandb": True},
    "prefetching": lambda folder, cached: {"prefetch_llm_batches": 2},
    "autocast": lambda folder, cached: {"autocast": True, "autocast_lm": True},
    "devices": lambda folder, cached: {"device": "cpu", "llm_device": "cpu:0", "act_store_device": "with_model"},
    "checkpoints": lambda folder, cached: {"n_checkpoints": 2},
    "cached activations": lambda folder, cached: {"use_cached_activations": True, "cached_activations_path": str(cached)},
    "from_pretrained_path": lambda folder, cached: pretrained(folder),
    "compiled model": lambda folder, cached: {"compile_llm": True},
    "compiled SAE": lambda folder, cached: {"compile_sae": True},
}
OF_ONE_ONLY = ("cached activations", "from_pretrained_path", "compiled SAE")
"""SAELens's runner of several SAEs has none of these."""
COMPILED = ("compiled model", "compiled SAE")
"""These are run once, and as PyTorch's compiler has traced them, without the minute in which it makes machine code of that."""
CELLS = [
    (entry, option)
    for entry in RUNNERS
    for option in OPTIONS
    if not (entry.startswith("Multi") and option in OF_ONE_ONLY)
    and not (option in COMPILED and entry != "LanguageModelSAETrainingRunner")
    and not (entry == "SAETrainingRunner" and option != "as it is")  # another name of the first
]
QUICK = {("MultiMetricsTrainingRunner", "as it is"), ("MetricsTrainingRunner", "checkpoints"), ("SAETrainingRunner", "as it is")}
QUICK |= {("LanguageModelSAETrainingRunner", option) for option in ("autocast", "cached activations")}


@pytest.mark.parametrize(("entry", "option"), slow_but(CELLS, QUICK.__contains__))
def test_training_is_the_same_and_the_metrics_are_there(entry, option, model, dataset, cached, texts, plain, tmp_path, monkeypatch):
    def run(entry, folder, metrics):
        torch.manual_seed(SEED)
        changes = OPTIONS[option](folder, cached)
        # compiling puts another method in the model's place, for good
        runner = RUNNERS[entry](folder, copy.deepcopy(model) if option in COMPILED else model, dataset, metrics, **changes)
        return weights(runner.run())

    if option in COMPILED:
        monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    changes = {"dataset": str(texts)} if option == "cached activations" else {}
    everywhere = option == "checkpoints"
    metrics = small_metrics(names=["shrinkage"], checkpoints=everywhere, evaluate_at_start=everywhere, **changes)
    if (PLAIN[entry], option) not in plain:
        fresh_wandb(tmp_path / "plain wandb", monkeypatch)
        plain[PLAIN[entry], option] = run(PLAIN[entry], tmp_path / "plain", None)
    fresh_wandb(tmp_path / "wandb runs", monkeypatch)
    assert_identical(plain[PLAIN[entry], option], run(entry, tmp_path / "with metrics", metrics))
    found = lines(tmp_path / "with metrics")
    assert {line["n_training_samples"] for line in found if line["final"]} == {STEPS * BATCH}
    assert all("shrinkage/ratio" in line and not line["errors"] for line in found)
    if option == "W&B":
        logged = history(tmp_path / "wandb runs")
        assert sum(any(key.endswith("shrinkage/ratio") for key in items) for _, items in logged) >= 3
    if option == "checkpoints":
        written = {int(path.parent.name) for path in (tmp_path / "with metrics" / "checkpoints").rglob("runner_cfg.json")}
        assert len(written) >= 2
        assert {0, *written} <= {line["n_training_samples"] for line in found}


def test_what_cached_activations_are_from_nobody_knows(model, dataset, cached, tmp_path):
    """Their text may be that of the data set, so that it is not held out; where there is no data set, one must be named."""
    runner = single_runner(tmp_path, model, dataset, use_cached_activations=True, cached_activations_path=str(cached))
    attach_metrics(runner, SHRINKAGE).run()
    assert not any(line["held_out"] for line in lines(tmp_path))
    without = single_runner(tmp_path, model, dataset, use_cached_activations=True, cached_activations_path=str(cached))
    without.activations_store.dataset = None
    with pytest.raises(ConfigError, match=r"no text to evaluate on: give metrics\.dataset"):
        attach_metrics(without, SHRINKAGE)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("entry", RUNNERS)
def test_model_and_sae_on_different_devices(entry, model, dataset, tmp_path):
    changes = {"device": "cpu", "llm_device": "cuda", "act_store_device": "cpu"}
    runner = RUNNERS[entry](tmp_path, copy.deepcopy(model).to("cuda"), dataset, SHRINKAGE, **changes)
    runner.run()
    assert all("shrinkage/ratio" in line and not line["errors"] for line in lines(tmp_path))


# --- the configuration's file --------------------------------------------------------------------------------------------------


def test_the_runners_configuration_opens_in_plain_saelens(model, dataset, tmp_path):
    flag_of_one(tmp_path / "one", model, dataset, SHRINKAGE, training_tokens=BATCH).run()
    written = json.loads((tmp_path / "one" / "output" / "runner_cfg.json").read_text())
    plain = LanguageModelSAERunnerConfig.from_dict(copy.deepcopy(written))
    assert plain.hook_name == HOOK
    again = MetricsRunnerConfig.from_dict({**written, "metrics": SHRINKAGE.to_dict()})
    assert again.metrics == SHRINKAGE
    several = json.loads(json.dumps(flag_of_several(tmp_path / "several", model, dataset, SHRINKAGE).cfg.to_dict()))
    assert set(several) <= set(MultiSAETrainingRunnerConfig.__dataclass_fields__)


# --- one record for each run ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("several", slow_but([False, True], lambda several: not several))
def test_a_resumed_run_goes_on_with_its_record(several, model, dataset, tmp_path):
    make = multi_runner if several else single_runner
    make(tmp_path / "1", model, dataset, metrics=SHRINKAGE, n_checkpoints=1, logger=logging_config(wandb=False, every=2)).run()
    state = sorted((tmp_path / "1" / "checkpoints").rglob("activations_store_state.safetensors"))[0]
    done = int(state.parent.name)
    before = lines(tmp_path / "1")
    make(tmp_path / "2", model, dataset, metrics=SHRINKAGE, resume_from_checkpoint=str(state.parent)).run()
    after = lines(tmp_path / "2")
    kept = [line for line in before if line["n_training_samples"] <= done]
    assert 0 < len(kept) < len(before)
    assert after[: len(kept)] == kept
    assert all(line["n_training_samples"] > done for line in after[len(kept) :])
    assert [line["final"] for line in after].count(True) == (2 if several else 1)
    assert lines(tmp_path / "1") == before  # that run's own is left alone
    for curve in read_histories(next((tmp_path / "2").rglob("metrics.jsonl"))).values():
        assert [point.samples for point in curve.points] == sorted({point.samples for point in curve.points})


@pytest.mark.slow
def test_a_run_into_the_folder_of_another_begins_a_record(model, dataset, tmp_path):
    for _ in range(2):
        single_runner(tmp_path, model, dataset, metrics=SHRINKAGE, checkpoint_path=None).run()
    (record,) = [path for path in tmp_path.rglob("metrics*.jsonl") if path.name == "metrics.jsonl"]
    assert [json.loads(line)["final"] for line in record.read_text().splitlines()].count(True) == 1
    assert (record.parent / "metrics.1.jsonl").is_file()


# --- SAELens's seam for evaluators ---------------------------------------------------------------------------------------------


def trainer_config(**changes):
    settings = {"n_checkpoints": 0, "checkpoint_path": None, "save_final_checkpoint": False, "total_training_samples": STEPS * BATCH}
    settings |= {"device": "cpu", "autocast": False, "lr": 1e-3, "lr_end": 1e-4, "lr_scheduler_name": "constant", "lr_warm_up_steps": 0}
    settings |= {"adam_beta1": 0.9, "adam_beta2": 0.999, "lr_decay_steps": 0, "n_restart_cycles": 1, "train_batch_size_samples": BATCH}
    settings |= {"dead_feature_window": 1000, "feature_sampling_window": 2000, "logger": logging_config(wandb=True)}
    return SAETrainerConfig(**settings | changes)


def activations(model, tokens):
    x = model.run_with_cache(tokens, names_filter=[HOOK])[1][HOOK].flatten(0, 1)
    while True:
        yield from x.split(BATCH)


@pytest.mark.parametrize("normalize", slow_but(["none", "expected_average_only_in"], lambda normalize: normalize != "none"))
def test_the_evaluator_of_saelenss_trainer(normalize, model, dataset, tokens, tmp_path, monkeypatch):
    """Without a runner: the trainer logs what it gives, its weights are the same, and the last report is asked for."""
    import wandb

    def run(evaluator):
        sae = training_sae("topk", normalize=normalize, randomize=False)
        fresh_wandb(tmp_path / ("with" if evaluator else "without"), monkeypatch)
        with wandb.init(project="tests", mode="offline"):
            torch.manual_seed(1)
            changes = {"n_batches_for_norm_estimate": 2}
            SAETrainer(trainer_config(**changes), sae, activations(model, tokens), evaluator=evaluator).fit()
        return sae

    seen = []
    evaluator = MetricsEvaluator(SHRINKAGE, model, dataset, sink=seen.append)
    trained = run(evaluator)
    assert_identical(weights(run(None)), weights(trained))
    logged = {step: items for step, items in history(tmp_path / "with") if "shrinkage/ratio" in items}
    assert list(logged) == [3, 7, 11]
    assert [float(items["shrinkage/ratio"]) for items in logged.values()] == [each.report.flat()["shrinkage/ratio"] for each in seen]
    assert [each.step for each in seen] == [3, 7, 11]
    last = evaluator.report(trained)
    assert last.flat()["sanity/explained_variance"] > seen[0].report.flat()["sanity/explained_variance"]
    last.save(tmp_path / "metrics.json")


def test_the_evaluators_arguments_by_position_and_by_keyword(model, dataset):
    sae = training_sae("topk")
    from sae_lens.training.activation_scaler import ActivationScaler

    first = MetricsEvaluator(config=SHRINKAGE, model=model, dataset=dataset)
    second = MetricsEvaluator(small_metrics(names=["shrinkage"]), model, dataset)
    by_keyword = first(sae=sae, data_provider=iter(()), activation_scaler=ActivationScaler())
    by_position = second(sae, iter(()), ActivationScaler())
    numbers = [{key: value for key, value in each.items() if isinstance(value, float)} for each in (by_keyword, by_position)]
    assert numbers[0] == numbers[1]
    assert "shrinkage/ratio" in numbers[0]


def test_what_the_metadata_lack_is_said_to_the_evaluator(model, dataset):
    sae = training_sae("topk")
    sae.cfg.metadata.hook_name = sae.cfg.metadata.context_size = sae.cfg.metadata.prepend_bos = None
    evaluator = MetricsEvaluator(SHRINKAGE, model, dataset, hook_name=HOOK, context_size=32, prepend_bos=True)
    assert evaluator.report(sae).provenance["sae"]["context_size"] == 32


def test_an_evaluator_without_text_or_with_an_unknown_metric_is_refused(model, dataset):
    with pytest.raises(ConfigError, match="give dataset"):
        MetricsEvaluator("train", model)
    with pytest.raises(ConfigError, match="nothing_such"):
        MetricsEvaluator(MetricsConfig(names=["nothing_such"]), model, dataset)


def test_an_error_in_the_evaluator_is_a_warning(model, dataset, tmp_path, caplog):
    sae = training_sae("topk", hook="blocks.9.hook_nothing")
    from sae_lens.training.activation_scaler import ActivationScaler

    evaluator = MetricsEvaluator(SHRINKAGE, model, dataset)
    with caplog.at_level(logging.WARNING, "sae_lens_metrics"):
        assert evaluator(sae, iter(()), ActivationScaler()) == {}
    assert "training goes on" in caplog.text


def test_a_sink_that_raises_costs_the_evaluator_no_number(model, dataset, caplog):
    from sae_lens.training.activation_scaler import ActivationScaler

    def sink(evaluated):
        raise OSError("the disk is full")

    with caplog.at_level(logging.WARNING, "sae_lens_metrics"):
        logged = MetricsEvaluator(SHRINKAGE, model, dataset, sink=sink)(training_sae("topk"), iter(()), ActivationScaler())
    assert "shrinkage/ratio" in logged
    assert "the sink failed, training goes on" in caplog.text


@pytest.mark.parametrize("prefetch", slow_but([0, 2], lambda prefetch: not prefetch))
def test_the_evaluator_in_the_configuration_of_several_saes(prefetch, model, dataset, tmp_path, monkeypatch):
    """With prefetching SAELens's own evaluation takes from the store at other moments each time, so that no run repeats itself."""

    def run(folder, metrics):
        torch.manual_seed(SEED)
        return weights(seam_of_several(folder, model, dataset, metrics, wandb=True, prefetch_llm_batches=prefetch).run())

    fresh_wandb(tmp_path / "plain wandb", monkeypatch)
    plain = run(tmp_path / "plain", None)
    fresh_wandb(tmp_path / "wandb runs", monkeypatch)
    with_metrics = run(tmp_path / "with metrics", SHRINKAGE)
    if not prefetch:
        assert_identical(plain, with_metrics)
    steps = dict(history(tmp_path / "wandb runs"))
    for name in ("standard", "topk"):
        assert {3, 7, 11} == {step for step, items in steps.items() if f"{name}/shrinkage/ratio" in items}


# --- another logger ------------------------------------------------------------------------------------------------------------


def test_a_sink_is_given_every_evaluation(model, dataset, tmp_path):
    seen = []
    runner = attach_metrics(single_runner(tmp_path, model, dataset), SHRINKAGE, sink=seen.append)
    runner.run()
    written = lines(tmp_path)
    assert [(each.step, each.samples, each.final) for each in seen] == [
        (line["step"], line["n_training_samples"], line["final"]) for line in written
    ]
    assert all(isinstance(each.report, Report) and each.sae == "" for each in seen)


def test_a_sink_that_raises_disturbs_nothing(model, dataset, tmp_path, caplog):
    def sink(evaluated):
        raise OSError("the disk is full")

    runner = attach_metrics(single_runner(tmp_path, model, dataset), SHRINKAGE, sink=sink)
    with caplog.at_level(logging.WARNING, "sae_lens_metrics"):
        runner.run()
    assert len([record for record in caplog.records if "the disk is full" in record.getMessage()]) == 1
    assert len(lines(tmp_path)) >= 3


# --- without a language model --------------------------------------------------------------------------------------------------


def test_synthetic_activations_are_refused_in_words():
    model = SyntheticModelConfig(num_features=8, hidden_dim=D_IN)
    sae = TRAINING_CONFIGS["topk"](d_in=D_IN, d_sae=D_SAE)
    cfg = SyntheticSAERunnerConfig(synthetic_model=model, sae=sae, training_samples=512, output_path=None, checkpoint_path=None)
    with pytest.raises(ConfigError, match="no language model has computed"):
        attach_metrics(SyntheticSAERunner(cfg))


def test_other_things_are_refused_in_words():
    with pytest.raises(ConfigError, match="is not a training runner"):
        attach_metrics(object())


# --- the command ---------------------------------------------------------------------------------------------------------------


def test_the_command_evaluates_at_checkpoints(tmp_path, monkeypatch, model, dataset):
    from sae_lens_metrics.training import attach

    made = []

    class Runner(MetricsTrainingRunner):
        def __init__(self, cfg):
            super().__init__(cfg, override_dataset=dataset, override_model=model)
            made.append(self)

    monkeypatch.setattr(attach, "MetricsTrainingRunner", Runner)
    flags = {"architecture": "topk", "model_name": "tiny_lm", "hook_name": HOOK, "dataset_path": "standard library", "d_in": D_IN}
    flags |= {"d_sae": D_SAE, "k": 8, "training_tokens": STEPS * BATCH, "train_batch_size_tokens": BATCH, "context_size": CONTEXT}
    flags |= {"n_batches_in_buffer": 8, "store_batch_size_prompts": 4, "n_checkpoints": 2, "log_to_wandb": False, "verbose": False}
    flags |= {"checkpoint_path": tmp_path / "checkpoints", "output_path": tmp_path / "output"}
    given = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    metrics = ["--metrics", "shrinkage", "--metrics.tokens", "512", "--metrics.shrinkage.tokens", "512", "--metrics.checkpoints"]
    assert main(["train", *metrics, *given]) == 0
    written = {int(path.parent.name) for path in Path(made[0].cfg.checkpoint_path).rglob("runner_cfg.json")}
    assert len(written) == 2
    assert written <= {line["n_training_samples"] for line in lines(tmp_path)}
