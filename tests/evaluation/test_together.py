"""One evaluation by several processes is that of one, to the last example; what cannot be shared is refused."""

import json
import math
import os
import signal
from dataclasses import replace
from itertools import islice

import pytest
import torch
from forked_ranks import in_ranks
from saes import training_sae
from tiny_release import TINY_LM

from sae_lens_metrics import AblationConfig, Corpus, MetricResult, MetricsConfig, N2GConfig, ProbeConfig, Report, Subject, evaluate
from sae_lens_metrics.cli.main import main
from sae_lens_metrics.evaluation import controls
from sae_lens_metrics.metrics.explanation.token_means import TokenMeans
from sae_lens_metrics.metrics.registry import register_metric, unregister_metric
from sae_lens_metrics.subject.control_saes import permuted_decoder
from sae_lens_metrics.text.standard_library import standard_library_documents

LITTLE = MetricsConfig(
    batch_size=2,
    probe=ProbeConfig(tasks=["base64", "inside_string", "true_sum"], examples=60),
    n2g=N2GConfig(max_length=4, examples=4),
    ablation=AblationConfig(sequences=9, positions=3, latents=4, baselines=2),
    controls=["permuted_decoder"],
)
OWN = ("seconds", "created", "processes")
"""What is no number of the SAE's."""


def differences(one, other, path=""):
    """Where two results differ by more than 1e-6, in whatever they hold."""
    if isinstance(one, dict) and isinstance(other, dict):
        if one.keys() != other.keys():
            return [path]
        return [each for key in one if key not in OWN for each in differences(one[key], other[key], f"{path}/{key}")]
    if isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            return [path]
        return [each for i, pair in enumerate(zip(one, other, strict=True)) for each in differences(*pair, f"{path}/{i}")]
    if isinstance(one, float) and isinstance(other, float):
        rel_tol = 1e-5 if "influence" in path else 1e-6  # these are kept to six digits, of which the last may be rounded either way
        return [] if math.isclose(one, other, rel_tol=rel_tol, abs_tol=1e-6) else [path]
    return [] if one == other else [path]


def sampled(report):
    """Numbers, tables, histograms, explanations and examples, but for what follows from a search among equals to rounding.

    Which of two probes with the same loss is taken for the best, texts with others in one batch decide, in the seventh digit.
    """
    data = report.to_dict()
    for row in data["metrics"]["probe"]["tables"]["tasks"]:
        for key in [key for key in row if "index" in key]:
            del row[key]
    return data


@pytest.fixture(scope="module")
def corpus(tokens):
    """Sequences of several lengths of document: some of them are of one."""
    return Corpus(tokens[:21], documents=torch.tensor([0, 0, 0, *range(1, 19)]))


@pytest.fixture(scope="module")
def topk(model):
    return Subject(model, training_sae("topk"))


@pytest.fixture(scope="module")
def alone(topk, corpus):
    """What one process makes of it."""
    return sampled(evaluate(topk, corpus, LITTLE))


@pytest.mark.parametrize("size", [2, 3])
def test_all_metrics_and_controls_are_those_of_one_process(topk, corpus, alone, size):
    found = in_ranks(size, lambda ranks: sampled(evaluate(topk, corpus, LITTLE, ranks=ranks)))
    for report in found:  # which every process has
        assert differences(alone, report) == []
        assert report["provenance"]["processes"] == size
    assert alone["provenance"]["processes"] == 1
    assert len(alone["metrics"]["n2g"]["examples"]) > 100


def test_means_within_little_memory_come_in_parts(model, corpus, monkeypatch):
    """Each part is measured by all processes, on the means that all of them have learned."""
    subject, parts = Subject(model, training_sae("standard")), []
    config = replace(LITTLE, names=["explanation"], memory_gb=0.0005, controls=[])
    whole = sampled_explanation(evaluate(subject, corpus, replace(config, memory_gb=1.0)))
    init = TokenMeans.__init__
    monkeypatch.setattr(TokenMeans, "__init__", lambda self, *given: parts.append(1) or init(self, *given))
    found = in_ranks(2, lambda ranks: (sampled_explanation(evaluate(subject, corpus, config, ranks=ranks)), len(parts)))
    assert found[0][1] >= 2
    for report, _ in found:
        assert differences(whole, report) == []


def sampled_explanation(report):
    return report.to_dict()["metrics"]["explanation"]["estimates"]


def test_more_processes_than_there_is_work(model, tokens):
    """Some have no sequence, and no task."""
    subject, corpus = Subject(model, training_sae("topk")), Corpus.from_tokens(tokens[:2])
    little = {"names": ["probe", "shrinkage", "ablation"], "batch_size": 1, "controls": []}
    config = replace(LITTLE, probe=replace(LITTLE.probe, tasks=["base64"]), **little)
    whole = sampled(evaluate(subject, corpus, config))
    for report in in_ranks(4, lambda ranks: sampled(evaluate(subject, corpus, config, ranks=ranks))):
        assert differences(whole, report) == []


@pytest.fixture
def failing():
    """A metric that fails in one process only, and one that knows nothing of processes."""

    def fails(context):
        if context.ranks.rank == 1:
            raise ValueError("out of luck")
        return MetricResult({}) if context.ranks.size == 1 else context.ranks.each(lambda: None)

    def knows_nothing(context):
        return MetricResult({})

    register_metric("fails_in_one", fails)
    register_metric("knows_nothing", knows_nothing)
    yield
    for name in ("fails_in_one", "knows_nothing"):
        unregister_metric(name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three SAEs, of which one is damaged, and texts."""
    folder = tmp_path_factory.mktemp("together")
    for place, architecture in enumerate(("topk", "standard", "gated")):
        training_sae(architecture, seed=place).save_inference_model(folder / "saes" / str(place))
    damaged = folder / "saes" / "1" / "sae_weights.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:1000])
    texts = [text[:600] for text in islice(standard_library_documents("train"), 120)]
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return folder


def command(folder, output, *more, saes="saes"):
    little = ["--metrics", "shrinkage", "--tokens", "512", "--shrinkage.tokens", "512", "--device", "cpu"]
    text = ["--model", str(TINY_LM), "--dataset", str(folder / "texts.jsonl")]
    return ["evaluate", str(folder / saes), *text, *little, "--output", str(output), *more]


def results(output):
    return {path.name: path for path in output.glob("[!.]*_*.json")}


def test_a_sweep(folder, tmp_path, capfd):
    """The first process alone writes and speaks; what is damaged is so for all; what is there already nobody evaluates."""
    one, two = tmp_path / "one", tmp_path / "two"
    assert main(command(folder, one, "--no-report")) == 3
    assert in_ranks(2, lambda ranks: main(command(folder, two))) == [3, 0]
    assert results(one).keys() == results(two).keys()
    assert len(results(two)) == 2
    for name, path in results(two).items():
        assert differences(Report.load(results(one)[name]).to_dict(), Report.load(path).to_dict()) == []
    assert json.loads((one / "errors.json").read_text()).keys() == json.loads((two / "errors.json").read_text()).keys()
    assert (two / "report.html").is_file()
    written = {name: path.stat().st_mtime_ns for name, path in results(two).items()}
    said = capfd.readouterr()
    assert said.err.count("1 of 3") == 2  # once by each sweep, not by each process
    assert in_ranks(2, lambda ranks: main(command(folder, two, "--no-report"))) == [3, 0]
    assert {name: path.stat().st_mtime_ns for name, path in results(two).items()} == written


def test_a_metric_that_fails_in_one_process_fails_in_all_and_the_others_are_there(folder, tmp_path, failing):
    asked = command(folder, tmp_path, "--metrics", "fails_in_one,knows_nothing,shrinkage", saes="saes/0")
    assert in_ranks(3, lambda ranks: main(asked)) == [3, 0, 0]
    report = Report.load(*results(tmp_path).values())
    assert report.errors == {"fails_in_one": "ValueError: out of luck"}
    assert list(report.metrics) == ["knows_nothing", "shrinkage"]


def test_what_fails_in_one_process_between_metrics_fails_in_all(folder, tmp_path, monkeypatch, capfd):
    """Such as a GPU that has no room for a control."""

    def none_in_one(dictionary, text, generator):
        if int(os.environ["RANK"]):
            raise MemoryError("no room")
        return permuted_decoder(dictionary, text, generator)

    monkeypatch.setitem(controls._MAKERS, "permuted_decoder", none_in_one)
    asked = command(folder, tmp_path, "--controls", "permuted_decoder", "--no-report")
    assert in_ranks(2, lambda ranks: main(asked)) == [3, 0]
    errors = json.loads((tmp_path / "errors.json").read_text())
    assert errors[str(folder / "saes" / "0")] == "MemoryError: no room"
    assert results(tmp_path) == {}


def test_explanations_are_kept_by_the_first_and_read_by_it_alone(topk, corpus, tmp_path):
    config = replace(LITTLE, names=["n2g"], n2g=replace(LITTLE.n2g, folder=str(tmp_path)), controls=[])

    def evaluated(ranks):
        own = config if ranks.is_first else replace(config, n2g=replace(config.n2g, folder=str(tmp_path / "nowhere")))
        return [evaluate(topk, corpus, own, ranks=ranks).to_dict()["metrics"]["n2g"]["estimates"] for _ in range(2)]

    first, second = in_ranks(2, evaluated)
    assert first[0] == first[1] == second[0] == second[1]
    assert len(list(tmp_path.glob("*.json"))) == 2  # and those that were rebuilt
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (["--device", "cuda:0"], "each process has a GPU of its own, not all of them cuda:0"),
        (["--device-map", "auto"], "a device map spreads the model over GPUs, which one process does"),
        (["--cluster", "ray"], "give one of the two"),
        (["--tokens", "-1"], "tokens"),
    ],
)
def test_what_processes_cannot_share_is_refused_in_a_sentence(folder, tmp_path, capfd, more, why):
    assert in_ranks(2, lambda ranks: main(command(folder, tmp_path, *more, saes="saes/0"))) == [2, 0]
    said = capfd.readouterr().err
    assert said.count("sae-lens-metrics: error: ") == 1
    assert why in said
    assert results(tmp_path) == {}


def test_no_other_command(capfd):
    assert in_ranks(2, lambda ranks: main(["audit", "somewhere"])) == [2, 2]
    assert "torchrun starts 2 processes, which evaluate together: start audit without it" in capfd.readouterr().err


def test_another_text_in_one_of_them(folder, tmp_path, capfd):
    """Such as of machines whose copies of the data set differ."""
    folders = [tmp_path / "0", tmp_path / "1"]
    for place, each in enumerate(folders):
        each.mkdir()
        texts = (folder / "texts.jsonl").read_text().splitlines(keepends=True)
        (each / "texts.jsonl").write_text("".join(texts[place * 40 : place * 40 + 80]))

    def work(ranks):
        os.chdir(folders[ranks.rank])
        asked = command(folder, tmp_path / "out", saes="saes/0")
        return main([each if "texts.jsonl" not in each else "texts.jsonl" for each in asked])

    assert in_ranks(2, work) == [2, 0]
    assert "the processes do not see the same SAE, model, text and packages" in capfd.readouterr().err


def test_a_process_that_is_killed_leaves_the_folder_as_it_was(folder, tmp_path, failing):
    """The first process says so, and ends with another status than for a metric that failed; started again, the sweep is made."""

    def killed(context):
        if context.ranks.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return MetricResult({"n": context.ranks.each(lambda: 1)})

    register_metric("killed", killed)
    try:
        asked = command(folder, tmp_path, "--metrics", "killed,shrinkage")
        assert in_ranks(2, lambda ranks: main(asked)) == [1, -signal.SIGKILL]
    finally:
        unregister_metric("killed")
    assert results(tmp_path) == {}
    assert not (tmp_path / "errors.json").exists()
    assert [path.name for path in tmp_path.rglob("*.lease")] == []
    assert in_ranks(2, lambda ranks: main(command(folder, tmp_path))) == [3, 0]
    assert len(results(tmp_path)) == 2
