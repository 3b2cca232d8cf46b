"""SAEs from the hub and from disk through the real command line, and what it says about bad input."""

import json
import shutil
import signal
from importlib.metadata import entry_points
from itertools import islice
from types import SimpleNamespace

import pytest
from datasets import Dataset, DatasetDict
from loopback_hub import LoopbackHub
from sae_lens.registry import get_sae_class
from sae_lens.saes.sae import SAEMetadata
from sae_lens.saes.standard_sae import StandardSAE, StandardSAEConfig
from saes import D_IN, D_SAE, HOOK, TRAINING_CONFIGS, training_sae
from safetensors.torch import load_file, save_file
from slow import slow_but
from tiny_release import (
    HUB_CONTEXT,
    HUB_D_IN,
    HUB_D_SAE,
    HUB_HOOK,
    RELEASE,
    REPOSITORY,
    TEXTS,
    TINY_LM,
    gpt2_folder,
    parquet,
    run_commands,
    sae_repository,
    sae_weights,
)

from sae_lens_metrics import Corpus, MetricsConfig, Report, Subject, evaluate
from sae_lens_metrics.cli.main import main
from sae_lens_metrics.cli.program import program
from sae_lens_metrics.loading.models import load_local_model
from sae_lens_metrics.loading.pretrained import load_pretrained, read_info
from sae_lens_metrics.metrics.probe.spec import ProbeConfig
from sae_lens_metrics.metrics.shrinkage.spec import ShrinkageConfig
from sae_lens_metrics.text.standard_library import standard_library_documents

HUB_TOKENS = 1024
LITTLE = ["--tokens", "512", "--shrinkage.tokens", "512", "--device", "cpu"]
ONE_TASK = ["--probe.tasks", "base64", "--probe.examples", "40"]


# --- from the hub ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def short_texts():
    return [text[:600] for text in islice(standard_library_documents("train"), 120)]


@pytest.fixture(scope="module")
def hub(tmp_path_factory, short_texts):
    """The command run twice against a hub, then again offline from the cache that this left; all that they wrote and said."""
    folder = tmp_path_factory.mktemp("hub")
    lines = folder / "texts.jsonl"
    lines.write_text("".join(json.dumps({"text": text}) + "\n" for text in short_texts))
    gpt2 = gpt2_folder(folder / "gpt2")

    def command(output, metrics, *more):
        sizes = ["--tokens", HUB_TOKENS, "--shrinkage.tokens", HUB_TOKENS, "--device", "cpu"]
        return ["evaluate", RELEASE, HUB_HOOK, "--metrics", metrics, "--output", folder / output, *sizes, *more]

    from_hub = command("from_hub", "shrinkage")
    from_file = [command(name, "shrinkage,probe", "--dataset", lines, *ONE_TASK) for name in ("from_file", "offline")]
    home = {"HF_HOME": str(folder / "hf")}
    models = {"gpt2": gpt2, REPOSITORY: sae_repository()}
    with LoopbackHub(models, {TEXTS: {"data/train-00000-of-00001.parquet": parquet(short_texts)}}) as server:
        online = run_commands([from_hub, from_file[0]], {**home, "HF_ENDPOINT": server.url})
        unreachable = server.url
    offline = run_commands([from_file[1], command("nothing", "shrinkage")], {**home, "HF_ENDPOINT": unreachable, "HF_HUB_OFFLINE": "1"})
    return SimpleNamespace(folder=folder, gpt2=gpt2, lines=lines, server=server, online=online, offline=offline)


def only_report(folder):
    page, path = sorted(folder.iterdir())
    assert [page.suffix, path.suffix] == [".html", ".json"]
    assert page.stem == path.stem
    return Report.load(path)


@pytest.fixture(scope="module")
def hub_subject(hub):
    """The same SAE and model, put together by hand."""
    model = load_local_model(hub.gpt2)
    # the release says that its SAEs were trained on a model with centred weights
    model.load_and_process_state_dict(
        model.state_dict(), fold_ln=False, center_writing_weights=True, center_unembed=False, fold_value_biases=False
    )
    metadata = SAEMetadata(hook_name=HUB_HOOK, context_size=HUB_CONTEXT, prepend_bos=True)
    sae = StandardSAE(StandardSAEConfig(d_in=HUB_D_IN, d_sae=HUB_D_SAE, apply_b_dec_to_input=True, metadata=metadata))
    sae.load_state_dict(sae_weights())
    return Subject(model, sae)


def assert_same_numbers(ours, theirs, rel=1e-4):
    assert ours.provenance["corpus"]["tokens_sha256"] == theirs.provenance["corpus"]["tokens_sha256"]
    assert ours.provenance["sae"]["weights_sha256"] == theirs.provenance["sae"]["weights_sha256"]
    assert ours.flat() == pytest.approx(theirs.flat(), rel=rel, abs=1e-6)


@pytest.mark.slow
def test_a_release_by_name_with_its_own_data_set_streamed(hub, hub_subject, short_texts):
    assert hub.online.statuses == [0, 0], hub.online.stderr
    report = only_report(hub.folder / "from_hub")
    assert report.provenance["config"]["dataset"] == TEXTS
    assert report.provenance["sae"]["hook_name"] == HUB_HOOK
    assert report.provenance["corpus"]["tokens"] == HUB_TOKENS
    rows = Dataset.from_dict({"text": short_texts}).to_iterable_dataset()
    config = MetricsConfig(names=["shrinkage"], tokens=HUB_TOKENS, shrinkage=ShrinkageConfig(tokens=HUB_TOKENS))
    assert_same_numbers(report, evaluate(hub_subject, Corpus.from_dataset(rows, hub_subject, tokens=HUB_TOKENS), config))


@pytest.mark.slow
def test_a_release_on_a_file_with_probes(hub, hub_subject):
    report = only_report(hub.folder / "from_file")
    config = MetricsConfig(
        names=["shrinkage", "probe"],
        tokens=HUB_TOKENS,
        shrinkage=ShrinkageConfig(tokens=HUB_TOKENS),
        probe=ProbeConfig(tasks=["base64"], examples=40),
    )
    corpus = Corpus.from_dataset(str(hub.lines), hub_subject, tokens=HUB_TOKENS)
    assert set(report.metrics) == {"shrinkage", "probe"}
    assert_same_numbers(report, evaluate(hub_subject, corpus, config))


@pytest.mark.slow
def test_the_table_and_the_file_are_named(hub):
    for folder in ("from_hub", "from_file"):
        (path,) = (hub.folder / folder).glob("*.json")
        assert f"written to {path}" in hub.online.stdout
        assert f"report: {path.with_suffix('.html')}" in hub.online.stdout
    for name in ("sanity/l0", "shrinkage/ratio", "probe/held_out_accuracy", f" {HUB_HOOK} "):
        assert name in hub.online.stdout
    assert "model_from_pretrained_kwargs" not in hub.online.stderr  # SAELens's advice, which was followed


@pytest.mark.slow
def test_what_the_publisher_says_is_compared(hub):
    assert any("according to the SAE's publisher" in text for text in only_report(hub.folder / "from_hub").warnings)


@pytest.mark.slow
def test_the_download_went_through_the_hub(hub):
    for file in ("cfg.json", "sae_weights.safetensors", "sparsity.safetensors"):
        assert hub.server.asked_for(f"/{REPOSITORY}/resolve/main/{HUB_HOOK}/{file}")
    assert hub.server.asked_for("model.safetensors")
    assert any(request.range for request in hub.server.asked_for(f"/datasets/{TEXTS}/resolve"))


@pytest.mark.slow
def test_again_offline_from_the_cache(hub):
    assert hub.offline.statuses[0] == 0, hub.offline.stderr
    assert_same_numbers(only_report(hub.folder / "offline"), only_report(hub.folder / "from_file"), rel=1e-6)


@pytest.mark.slow
def test_a_streamed_data_set_offline_is_refused_in_words(hub):
    assert hub.offline.statuses[1] == 2
    message = hub.offline.stderr.strip().splitlines()[-1]
    assert message.startswith(f"sae-lens-metrics: error: cannot load the data set {TEXTS!r}")
    assert "--dataset" in message
    assert not list((hub.folder / "nothing").iterdir())


def test_the_installed_command_is_this_one():
    (point,) = entry_points(group="console_scripts", name="sae-lens-metrics")
    assert point.load() is program


# --- from a folder -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def sae_folder(tmp_path):
    """An SAE on disk, for the package's own model."""
    training_sae("standard").save_inference_model(tmp_path / "sae")
    return tmp_path / "sae"


@pytest.fixture(scope="module")
def text_file(tmp_path_factory, short_texts):
    path = tmp_path_factory.mktemp("text") / "texts.txt"
    path.write_text("\n".join(short_texts))
    return path


@pytest.fixture
def command(sae_folder, text_file, tmp_path):
    """Builds a command line that works, with some of its options replaced or (``None``) taken away."""

    def build(*more, sae_id=None, **changes):
        options = {"release": sae_folder, "model": TINY_LM, "dataset": text_file, "metrics": "shrinkage", "output": tmp_path / "out"}
        options |= changes
        names = ["evaluate", options.pop("release"), *([] if sae_id is None else [sae_id])]
        given = [part for name, value in options.items() if value is not None for part in (f"--{name}", value)]
        return [str(part) for part in (*names, *given, *LITTLE, *more)]

    return build


@pytest.mark.parametrize("name", ["texts.txt", "texts.jsonl", "texts.parquet", "texts.csv", "folder"])
def test_text_in_every_form(name, command, short_texts, tmp_path):
    path, rows = tmp_path / name, Dataset.from_dict({"text": short_texts})
    writers = {
        "texts.txt": lambda: path.write_text("\n".join(short_texts)),
        "texts.jsonl": lambda: rows.to_json(path),
        "texts.parquet": lambda: rows.to_parquet(path),
        "texts.csv": lambda: rows.to_csv(path),
        "folder": lambda: rows.save_to_disk(path),
    }
    writers[name]()
    assert main(command(dataset=path)) == 0
    report = only_report(tmp_path / "out")
    assert report.provenance["corpus"]["tokens"] == 512
    assert report.provenance["corpus"]["name"] == str(path)


def test_a_folder_with_the_packages_model(command, model, sae_folder, text_file, tmp_path, capsys):
    assert main(command("--seed", "3")) == 0
    report = only_report(tmp_path / "out")
    subject = Subject(model, training_sae("standard"))
    config = MetricsConfig(names=["shrinkage"], tokens=512, seed=3, shrinkage=ShrinkageConfig(tokens=512))
    corpus = Corpus.from_dataset(str(text_file), subject, tokens=512, seed=3)
    assert_same_numbers(report, evaluate(subject, corpus, config))
    assert report.provenance["config"]["seed"] == 3
    assert "shrinkage/ratio" in capsys.readouterr().out


def test_results_with_other_settings_do_not_share_a_file(command, tmp_path):
    for seed in ("0", "0", "1"):
        assert main(command("--seed", seed)) == 0
    assert len(list((tmp_path / "out").glob("*.json"))) == len(list((tmp_path / "out").glob("*.html"))) == 2


def test_no_page_where_none_is_wanted(command, tmp_path):
    assert main(command("--no-report")) == 0
    assert [path.suffix for path in (tmp_path / "out").iterdir()] == [".json"]


def test_overrides_of_hook_context_and_bos(command, tmp_path):
    other = "blocks.2.hook_resid_post"
    assert main(command("--hook-name", other, "--context-size", "32", "--no-prepend-bos")) == 0
    provenance = only_report(tmp_path / "out").provenance
    assert (provenance["sae"]["hook_name"], provenance["sae"]["prepend_bos"]) == (other, False)
    assert provenance["corpus"]["context_size"] == 32


def test_wandb_offline(command, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    assert main(command("--wandb-project", "tests")) == 0
    import wandb

    wandb.teardown()
    (log,) = tmp_path.rglob("offline-run-*/run-*.wandb")
    content = log.read_bytes()
    assert b"shrinkage/ratio" in content
    assert b"sanity/l0" in content
    only_report(tmp_path / "out")


# --- bad input ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def refused(command, tmp_path, capsys):
    """Runs a command that must fail: status 2, one line on why, nothing written; returns the line."""

    def run(*more, **changes):
        assert main(command(*more, **changes)) == 2
        error = capsys.readouterr().err
        before, mark, message = error.rpartition("sae-lens-metrics: error: ")
        assert mark, error
        assert "Traceback" not in before
        assert len(message.splitlines()) == 1, message
        output = tmp_path / "out"
        assert not output.exists() or not list(output.iterdir())
        return message.strip()

    return run


def edit_config(folder, metadata=None, **changes):
    path = folder / "cfg.json"
    cfg = json.loads(path.read_text())
    cfg["metadata"] |= metadata or {}
    path.write_text(json.dumps(cfg | changes))


def model_folder_with_nan(folder, name):
    shutil.copytree(TINY_LM, folder)
    weights = load_file(folder / "model.safetensors")
    key = next(key for key in weights if key.endswith(name))
    weights[key][0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_unknown_release(refused):
    assert "gpt2-small-res-jb" in refused(release="gpt2-small-resjb", sae_id="blocks.8.hook_resid_pre")


def test_unknown_sae_id(refused):
    assert "blocks.8.hook_resid_pre" in refused(release=RELEASE, sae_id="block.8.hook_resid_pre")


def test_a_release_that_cannot_be_reached(refused):
    message = refused(release="someone/some-saes", sae_id="layer_3")
    assert "'layer_3'" in message
    assert "'someone/some-saes'" in message


def test_no_such_folder(refused, tmp_path):
    assert "cfg.json" in refused(release=tmp_path / "nowhere")


def test_a_release_without_an_sae_id(refused):
    assert "say which of its SAEs, such as blocks.0.hook_resid_pre" in refused(release=RELEASE)


def test_hook_that_the_model_lacks(refused):
    assert HOOK in refused("--hook-name", "blocks.1.hook_resid_pst")


def test_d_in_that_does_not_match(refused, tmp_path):
    training_sae("standard", d_in=64).save_inference_model(tmp_path / "narrow")
    message = refused(release=tmp_path / "narrow")
    assert "128 wide" in message
    assert "d_in = 64" in message


def test_model_that_does_not_exist(refused):
    message = refused(model="gpt2-smal")
    assert "gpt2-small" in message
    assert len(message) < 300


def test_no_model_name(refused, sae_folder):
    edit_config(sae_folder, {"model_name": None})
    assert "--model" in refused(model=None)


def test_no_data_set_name(refused):
    assert "--dataset" in refused(dataset=None)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ({"text": []}, "empty"),
        ({"text": ["", "", ""]}, "too short"),
        ({"text": ["too short"]}, "too short"),
        ({"label": [1, 2, 3]}, "text"),
        ({"text": [1.5, 2.5]}, "'text' of the data set holds 1.5, expected text"),
        ({"text": ["a row of text", None]}, "'text' must hold text"),
    ],
    ids=["empty", "blank", "short", "no_text", "numbers", "missing"],
)
@pytest.mark.parametrize("suffix", slow_but([".parquet", "folder"], ".parquet".__eq__))
def test_data_sets_that_cannot_be_used(rows, expected, suffix, refused, tmp_path):
    path, dataset = tmp_path / f"texts{suffix}", Dataset.from_dict(rows)
    dataset.to_parquet(path) if suffix == ".parquet" else dataset.save_to_disk(path)
    assert expected in refused(dataset=path)


def test_one_sequence_is_too_short(refused, tmp_path, short_texts):
    (tmp_path / "one.txt").write_text(short_texts[0][:300])
    assert "at least two sequences" in refused(dataset=tmp_path / "one.txt")


@pytest.mark.parametrize("content", slow_but([b"", b"{", b"\xff\xfe\x00"], b"{".__eq__))
@pytest.mark.parametrize("suffix", [".jsonl", ".txt", ".parquet"])
def test_damaged_data_files(content, suffix, refused, tmp_path):
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)
    assert refused(dataset=path)


@pytest.mark.parametrize("name", ["nowhere.jsonl", "nowhere/texts.txt", "texts.md", "."])
def test_data_that_are_not_there(name, refused, tmp_path):
    (tmp_path / "texts.md").write_text("text")
    assert repr(str(tmp_path / name)) in refused(dataset=tmp_path / name)


def test_missing_split(refused, tmp_path):
    DatasetDict({"train": Dataset.from_dict({"text": ["a"]})}).save_to_disk(tmp_path / "splits")
    assert "give one of train" in refused("--split", "validation", dataset=tmp_path / "splits")


def test_unknown_metric_is_noticed_before_anything_is_loaded(command, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sae_lens_metrics.evaluation.order.load_subject", lambda *args, **kwargs: pytest.fail("loaded"))
    with pytest.raises(SystemExit) as stopped:
        main(command(metrics="shrinkage,nonsense"))
    assert stopped.value.code == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 2  # what is wrong with the nearest right name, and where all are listed
    assert "nonsense" in error[0]
    assert not list(tmp_path.glob("out/*"))


def test_unknown_task(refused):
    assert "nonsense" in refused("--probe.tasks", "nonsense", metrics="probe")


def test_number_out_of_range(refused):
    assert "batch_size" in refused("--batch_size", "0")


def test_unsupported_architecture(refused, tmp_path):
    sae_class, config_class = get_sae_class("temporal")
    metadata = SAEMetadata(hook_name=HOOK, context_size=64, prepend_bos=True, model_name="tiny_lm")
    sae_class(config_class(d_in=D_IN, d_sae=512, metadata=metadata)).save_model(tmp_path / "unsupported")
    message = refused(release=tmp_path / "unsupported")
    assert "temporal" in message
    assert "not supported" in message


def test_output_below_a_file(refused, tmp_path):
    (tmp_path / "file").write_text("kept")
    message = refused(output=tmp_path / "file" / "below")
    assert "--output" in message
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize(("missing", "flags"), [("context_size", ["--context-size", "64"]), ("prepend_bos", ["--prepend-bos"])])
def test_metadata_that_lack_something_are_completed_by_a_flag(missing, flags, refused, command, sae_folder):
    edit_config(sae_folder, {missing: None})
    assert flags[0] in refused()
    assert main(command(*flags)) == 0


def test_context_longer_than_the_models(refused):
    assert "129" in refused("--context-size", "129")


def test_truncated_weights(refused, sae_folder):
    path = sae_folder / "sae_weights.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    assert str(sae_folder) in refused()


def test_missing_weights(refused, sae_folder):
    (sae_folder / "sae_weights.safetensors").unlink()
    assert "sae_weights.safetensors" in refused()


def test_weights_of_another_shape(refused, sae_folder):
    edit_config(sae_folder, d_sae=D_SAE + 1)
    assert str(sae_folder) in refused()


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"architecture": "imaginary", "d_in": 128, "d_sae": 96, "metadata": {}}'])
def test_damaged_configuration(content, refused, sae_folder):
    (sae_folder / "cfg.json").write_text(content)
    assert str(sae_folder) in refused()


def test_sae_with_nan_weights(refused, sae_folder):
    path = sae_folder / "sae_weights.safetensors"
    weights = load_file(path)
    weights["W_enc"][0, 0] = float("nan")
    save_file(weights, path)
    message = refused()
    assert "W_enc" in message
    assert "NaN" in message


@pytest.mark.parametrize("where", ["h.0.attn.c_attn.weight", "h.3.mlp.c_proj.weight"], ids=["before_the_hook", "after_the_hook"])
def test_model_with_nan_weights(where, refused, tmp_path):
    assert "NaN" in refused(model=model_folder_with_nan(tmp_path / "broken", where))


# --- interruptions -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def _interruptible():
    """As on a terminal: what a shell starts in the background ignores the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_interrupted_in_the_middle(command, tmp_path, metric):
    def interrupted(context):
        signal.raise_signal(signal.SIGINT)

    metric("interrupted", interrupted)
    with pytest.raises(KeyboardInterrupt):
        main(command(metrics="shrinkage,interrupted"))
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.usefixtures("_interruptible")
def test_interrupted_while_writing(command, monkeypatch, tmp_path):
    monkeypatch.setattr("os.replace", lambda *args: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        main(command())
    assert not list((tmp_path / "out").iterdir())


# --- the library -------------------------------------------------------------------------------------------------------------


def test_the_library_loads_a_folder_with_a_model_at_hand(model, sae_folder):
    subject = load_pretrained(str(sae_folder), model=model, device="cpu")
    assert subject.site.model is model
    assert (subject.d_in, subject.d_sae, subject.hook_name) == (D_IN, D_SAE, HOOK)


def test_special_tokens_at_hand(model, sae_folder, tokens):
    usual = int(tokens[0, 1:][~load_pretrained(str(sae_folder), model=model, device="cpu").language.special(tokens[0, 1:])][0])
    subject = load_pretrained(str(sae_folder), model=model, device="cpu", special_tokens=[usual])
    assert bool(subject.language.special(tokens)[tokens == usual].all())
    assert not bool(subject.site.valid(tokens)[tokens == usual].any())


def test_the_library_warns_of_an_odd_configuration(model, sae_folder, caplog):
    edit_config(sae_folder, gadget=3)
    assert load_pretrained(str(sae_folder), model=model, device="cpu").d_sae == D_SAE
    assert "'gadget'" in caplog.text


@pytest.mark.parametrize("architecture", TRAINING_CONFIGS)
def test_what_saelens_writes_is_not_odd(architecture, tmp_path):
    sae = training_sae(architecture)
    sae.save_inference_model(tmp_path / "inference")
    sae.save_model(tmp_path / "checkpoint")
    assert read_info(str(tmp_path / "inference")).remarks == read_info(str(tmp_path / "checkpoint")).remarks == ()
