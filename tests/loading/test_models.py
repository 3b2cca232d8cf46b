"""Models of every architecture in every class that can load them, in every dtype, by the real command and the real loaders."""

import io
import json
import logging
import re
from itertools import islice

import pytest
import torch
from loopback_hub import LoopbackHub
from model_folders import ARCHITECTURES, CONTEXT, HOOK, LAYERS, model_folder, sae_folder
from slow import slow_but
from tiny_release import TEXTS, TINY_LM, parquet, run_commands
from transformers import AutoModelForCausalLM, AutoTokenizer

from sae_lens_metrics import Report, Subject, load_pretrained
from sae_lens_metrics.cli.evaluate import evaluate_options
from sae_lens_metrics.cli.main import main
from sae_lens_metrics.errors import SubjectError
from sae_lens_metrics.integrations.saelens import HookedProxyLM
from sae_lens_metrics.loading import model_classes
from sae_lens_metrics.loading.model_classes import MODEL_CLASSES
from sae_lens_metrics.loading.models import MODEL_DTYPES, ModelChoice, ModelSpec, load_spec
from sae_lens_metrics.metrics.registry import built_in_metrics
from sae_lens_metrics.subject.capabilities import relative_difference
from sae_lens_metrics.subject.hook_paths import hook_path
from sae_lens_metrics.text.standard_library import standard_library_documents

HOOKED, BRIDGE, OWN = "HookedTransformer", "TransformerBridge", "AutoModelForCausalLM"
CLASSES = (HOOKED, BRIDGE, OWN)
PAPER = ("llama", "neox", "gemma2", "qwen3")
LITTLE = ["--tokens", "1024", "--probe.tasks", "base64", "--probe.examples", "40", "--ablation.sequences", "4", "--device", "cpu"]
LITTLE += ["--shrinkage.tokens", "512", "--n2g.latents", "12", "--no-report"]


@pytest.fixture(scope="module")
def texts():
    return [text[:600] for text in islice(standard_library_documents("train"), 120)]


@pytest.fixture(scope="module")
def lines(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """The folder of a model of some architecture, made once."""
    made = {}

    def folder(architecture):
        if architecture not in made:
            made[architecture] = model_folder(architecture, tmp_path_factory.mktemp("models") / architecture)
        return made[architecture]

    return folder


def evaluated(sae, model, lines, output, *more):
    """The report of the command."""
    command = ["evaluate", str(sae), "--model", str(model), "--dataset", str(lines), "--output", str(output), *LITTLE, *more]
    assert main(command) == 0
    (path,) = output.glob("*.json")
    return Report.load(path)


def numbers(report):
    """All numbers but those that measure rounding itself."""
    return {name: value for name, value in report.flat().items() if not re.search("kkt_residual|noise", name)}


# --- the same numbers in every class -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", slow_but(PAPER, lambda architecture: architecture == "llama"))
def test_all_metrics_are_the_same_in_every_class(architecture, folder_of, lines, tmp_path):
    sae, model = sae_folder(tmp_path / "sae"), folder_of(architecture)
    reports = {
        name: evaluated(sae, model, lines, tmp_path / name, "--model-class", name)
        for name in CLASSES
        if (architecture, name) != ("gemma2", HOOKED)  # TransformerLens knows Gemma 2 by the names of its models only
    }
    assert set(reports[OWN].metrics) == {*built_in_metrics()}
    for name, report in reports.items():
        # differences of numbers that are nearly equal are as precise as these
        assert numbers(report) == pytest.approx(numbers(reports[OWN]), rel=2e-4, abs=5e-5), name
    classes = [report.provenance["sae"]["model_class"] for report in reports.values()]
    assert classes == [{OWN: "HookedProxyLM"}.get(name, name) for name in reports]


# In half precision, of numbers over some hundred documents: relative to float32, or in standard errors.
CLOSE = {"sanity/explained_variance": 0.01, "sanity/loss_recovered": 0.01, "probe/loss": 0.05, "shrinkage/ratio": 0.01}
WITHIN_ERRORS = ("n2g/precision", "n2g/recall", "n2g/f1")


@pytest.mark.slow
def test_half_precision_is_within_its_rounding(lines, tmp_path):
    sae = TINY_LM.parent / "saes" / "TopK"
    more = ["--metrics", "probe,n2g,shrinkage", "--tokens", "8192", "--shrinkage.tokens", "2048", "--n2g.latents", "32"]
    whole = evaluated(sae, TINY_LM, lines, tmp_path / "float32", *more)
    for kind in CLASSES:
        half = evaluated(sae, TINY_LM, lines, tmp_path / kind, *more, "--model-class", kind, "--model-dtype", "bfloat16")
        assert half.provenance["sae"]["model_dtype"] == "bfloat16"
        for number, tolerance in CLOSE.items():
            assert half.flat()[number] == pytest.approx(whole.flat()[number], rel=tolerance), (kind, number)
        for number in WITHIN_ERRORS:
            assert half.flat()[number] == pytest.approx(whole.flat()[number], abs=whole.flat()[f"{number}_stderr"]), (kind, number)


# --- which class ---------------------------------------------------------------------------------------------------------------


def test_the_command_offers_every_class_and_dtype():
    """It lists them itself, as its help must not wait for torch."""
    for flag, names in (("--model-class", MODEL_CLASSES), ("--model-dtype", MODEL_DTYPES)):
        for name in names:
            evaluate_options(["folder", flag, name])


def test_what_the_metadata_say_else_what_can_load_it(folder_of, tmp_path, caplog):
    def loaded(architecture, **options):
        with caplog.at_level(logging.INFO, "sae_lens_metrics"):
            caplog.clear()
            return load_pretrained(str(tmp_path / "sae"), model=str(folder_of(architecture)), device="cpu", **options).site.model

    sae_folder(tmp_path / "sae")
    assert type(loaded("neox")).__name__ == HOOKED
    assert isinstance(loaded("gemma2"), HookedProxyLM)  # which HookedTransformer cannot
    assert "is loaded as AutoModelForCausalLM: HookedTransformer cannot be made of it" in caplog.text
    assert type(loaded("gemma2", model_class=BRIDGE)).__name__ == BRIDGE
    with pytest.raises(SubjectError, match="Gemma2ForCausalLM is not currently supported"):
        loaded("gemma2", model_class=HOOKED)
    sae_folder(tmp_path / "sae", model_class=OWN)
    assert isinstance(loaded("neox"), HookedProxyLM)
    assert not caplog.text


def test_a_folders_name_says_nothing(tmp_path):
    """TransformerLens takes what is called llama for Llama, and some of that for certain models of it."""
    model = load_spec(ModelSpec(str(model_folder("neox", tmp_path / "llama-7b")), (HOOKED,)), "cpu")
    assert (model.cfg.n_layers, model.cfg.parallel_attn_mlp) == (LAYERS, True)


def test_a_hooked_transformer_that_computes_something_else_is_not_used(folder_of, monkeypatch):
    convert = model_classes.loading.get_pretrained_state_dict

    def wrong(*args):
        weights = convert(*args)
        return {**weights, "blocks.1.mlp.W_out": weights["blocks.1.mlp.W_out"] * 1.1}

    monkeypatch.setattr(model_classes.loading, "get_pretrained_state_dict", wrong)
    with pytest.raises(SubjectError, match="gives other logits than transformers"):
        load_spec(ModelSpec(str(folder_of("neox")), (HOOKED,)), "cpu")
    assert isinstance(load_spec(ModelSpec(str(folder_of("neox")), (HOOKED, OWN)), "cpu"), HookedProxyLM)


def test_centred_weights(folder_of):
    """Which change the activations that an SAE is for, where norms subtract the mean."""
    centred = {"center_writing_weights": True}
    tokens = torch.arange(1, 17).reshape(2, 8)

    def residual(spec):
        model = load_spec(spec, "cpu")
        return model.run_with_cache(tokens, names_filter=[hook_path(model, HOOK)])[1][hook_path(model, HOOK)]

    gpt2, llama = str(folder_of("gpt2")), str(folder_of("llama"))
    plain = residual(ModelSpec(gpt2))
    assert torch.allclose(residual(ModelSpec(gpt2, kwargs=centred)), plain - plain.mean(-1, keepdim=True), atol=1e-5)
    for name in (OWN, BRIDGE):
        with pytest.raises(SubjectError, match="center_writing_weights"):
            load_spec(ModelSpec(gpt2, (name,), kwargs=centred), "cpu")
    assert torch.allclose(residual(ModelSpec(llama, (OWN,), kwargs=centred)), residual(ModelSpec(llama, kwargs=centred)), atol=1e-5)


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"model_class": "GPT2LMHeadModel"}, "no class of models 'GPT2LMHeadModel': expected one of HookedTransformer"),
        ({"dtype": "int8"}, "cannot be loaded in 'int8': expected one of auto, float32"),
        ({"device_map": "auto", "model_class": HOOKED}, "takes no device map"),
    ],
)
def test_choices_that_cannot_be(choice, said, folder_of):
    with pytest.raises(SubjectError, match=said):
        load_spec(ModelChoice(str(folder_of("neox")), **choice).spec({}), "cpu")


# --- dtypes and devices --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CLASSES)
def test_dtypes(kind, tmp_path):
    folder = str(model_folder("llama", tmp_path / "model", dtype=torch.bfloat16))

    def dtypes(**choice):
        model = load_spec(ModelChoice(folder, kind, **choice).spec({"model_from_pretrained_kwargs": {"dtype": "torch.float16"}}), "cpu")
        return {value.dtype for value in model.parameters()}

    assert dtypes(dtype="auto") == {torch.bfloat16}  # the checkpoint's own
    assert dtypes(dtype="float32") == {torch.float32}
    assert dtypes() == {torch.float16}  # what the SAE was trained on
    assert ModelChoice(folder).spec({}).dtype == "float32"


def test_a_device_map(folder_of, lines, tmp_path):
    """Layers that are not in memory until they run; the same numbers, and the same hash of the weights."""
    sae, model = sae_folder(tmp_path / "sae"), folder_of("llama")
    spread = {"model.embed_tokens": "cpu", "model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "disk"}
    spread |= {f"model.layers.{i}": "disk" if i else "cpu" for i in range(LAYERS)}
    whole = evaluated(sae, model, lines, tmp_path / "whole", "--model-class", OWN)
    more = ["--device-map", json.dumps(spread), "--model-from-pretrained-kwargs", f"offload_folder={tmp_path / 'offloaded'}"]
    parts = evaluated(sae, model, lines, tmp_path / "parts", "--model-class", OWN, *more)
    of_all = numbers(whole)
    gone = {name: of_all.pop(name) for name in ("directions/next_token", "directions/next_token_stderr")}  # the unembedding is on disk
    assert numbers(parts) == pytest.approx(of_all, rel=1e-4, abs=2e-5)
    assert len(gone) == 2
    assert "not in memory" in parts.metrics["directions"].estimates["next_token"].reason
    subjects = [
        load_pretrained(str(sae), model=str(model), model_class=OWN, device="cpu", device_map=each, model_from_pretrained_kwargs=kwargs)
        for each, kwargs in ((None, {}), (spread, {"offload_folder": str(tmp_path / "offloaded")}), ("auto", {}))
    ]
    assert any(value.is_meta for value in subjects[1].site.model.parameters())
    assert len({subject.site.model_hash() for subject in subjects}) == 1


def test_arguments_of_the_forward_pass_reach_it(folder_of, lines, tmp_path, capsys):
    sae = sae_folder(tmp_path / "sae")
    command = ["evaluate", str(sae), "--model", str(folder_of("llama")), "--dataset", str(lines), "--output", str(tmp_path / "out")]
    assert main([*command, *LITTLE, "--model-kwargs", "attention_masks=1"]) != 0
    assert "the model's forward pass does not take" in (said := capsys.readouterr().err)
    assert "attention_masks" in said
    with pytest.warns(UserWarning, match="does not hand on arguments of the forward pass"):
        load_pretrained(str(sae), model=str(folder_of("llama")), model_class=OWN, device="cpu", model_kwargs={"use_cache": False})


# --- hooks ---------------------------------------------------------------------------------------------------------------------

PATHS = {
    "llama": ["model.embed_tokens", "model.layers.0", "model.layers.2", "model.layers.1.self_attn", "model.layers.1.mlp"],
    "neox": ["gpt_neox.emb_dropout", "gpt_neox.layers.0", "gpt_neox.layers.2", "gpt_neox.layers.1.attention", "gpt_neox.layers.1.mlp"],
    "gemma2": [
        "model.embed_tokens",
        "model.layers.0",
        "model.layers.2",
        "model.layers.1.post_attention_layernorm",
        "model.layers.1.post_feedforward_layernorm",
    ],
    "qwen3": ["model.embed_tokens", "model.layers.0", "model.layers.2", "model.layers.1.self_attn", "model.layers.1.mlp"],
    "gpt2": ["transformer.drop", "transformer.h.0", "transformer.h.2", "transformer.h.1.attn", "transformer.h.1.mlp"],
}
HOOKS = [f"blocks.{i}.hook_{what}" for i, what in ((0, "resid_pre"), (1, "resid_pre"), (2, "resid_post"), (1, "attn_out"), (1, "mlp_out"))]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_transformer_lenss_hooks_are_found(architecture, dtype, folder_of):
    folder = str(folder_of(architecture))
    own, bridge = (load_spec(ModelSpec(folder, (kind,), dtype), "cpu") for kind in (OWN, BRIDGE))
    tokens = torch.arange(1, 25).reshape(2, 12)
    seen, expected = own.run_with_cache(tokens)[1], bridge.run_with_cache(tokens)[1]
    for hook, path in zip(HOOKS, PATHS[architecture], strict=True):
        assert hook_path(own, hook) == path
        assert relative_difference(seen[path], expected[hook]) < (1e-5 if dtype == "float32" else 0.03)


def test_hooks_of_other_names(folder_of):
    own = load_spec(ModelSpec(str(folder_of("llama")), (OWN,)), "cpu")
    assert hook_path(own, "model.layers.1.mlp") == "model.layers.1.mlp"
    for suggested in ("model.layers.1", "model.layers.1.output"):
        assert hook_path(own, HOOK, suggested) == "model.layers.1"
    assert hook_path(own, HOOK, "model.language_model.layers.1") == "model.layers.1"  # of another version of transformers
    for hook in ("blocks.1.attn.hook_z", "blocks.1.hook_resid_mid", f"blocks.{LAYERS}.hook_resid_post"):
        with pytest.raises(SubjectError, match=f"calls '{hook}'.*--model-class TransformerBridge"):
            hook_path(own, hook)
    hooked = load_spec(ModelSpec(str(folder_of("llama"))), "cpu")
    assert hook_path(hooked, "blocks.1.attn.hook_z") == "blocks.1.attn.hook_z"


def test_blocks_whose_parts_do_not_add_up_are_not_guessed_at(tmp_path):
    """A model whose attention is scaled after its module: no module puts out what is added."""
    own = load_spec(ModelSpec(str(model_folder("llama", tmp_path / "model")), (OWN,)), "cpu")
    for layer in own.model.model.layers:
        layer.forward = _scaled(layer)
    assert hook_path(own, "blocks.1.hook_resid_post") == "model.layers.1"
    with pytest.raises(SubjectError, match="hook_attn_out"):
        hook_path(own, "blocks.1.hook_attn_out")


def _scaled(layer):
    def forward(hidden_states, **kwargs):
        hidden_states = hidden_states + 0.5 * layer.self_attn(hidden_states=layer.input_layernorm(hidden_states), **kwargs)[0]
        return hidden_states + layer.mlp(layer.post_attention_layernorm(hidden_states))

    return forward


def test_a_subject_says_what_both_call_the_hook(folder_of, tmp_path):
    sae_folder(tmp_path / "sae", hf_hook_name="model.layers.1", model_class=OWN)
    subject = load_pretrained(str(tmp_path / "sae"), model=str(folder_of("llama")), device="cpu")
    assert (subject.hook_name, subject.describe()["hook_path"]) == (HOOK, "model.layers.1")
    assert (subject.language.vocabulary, subject.language.longest_context) == (4096, 128)
    by_hand = AutoModelForCausalLM.from_pretrained(folder_of("llama"), dtype=torch.float32)
    model = HookedProxyLM(by_hand, AutoTokenizer.from_pretrained(folder_of("llama")))
    assert Subject(model, subject.dictionary.sae).describe() == subject.describe()


# --- from the hub --------------------------------------------------------------------------------------------------------------

QWEN, QWEN_SAES, QWEN_RELEASE = "Qwen/Qwen3-1.7B-Base", "Qwen/SAE-Res-Qwen3-1.7B-Base-W32K-L0_50", "qwen-scope-3-1.7b-base-w32k-l50"


@pytest.fixture(scope="module")
def hub_run(tmp_path_factory, texts):
    """One process against a loopback hub; what it said, and the folder of what it wrote."""
    folder = tmp_path_factory.mktemp("hub")
    qwen = model_folder("qwen3", folder / "qwen", hidden_size=2048, num_hidden_layers=1)
    several = model_folder("llama", folder / "several", dtype=torch.float32, variants=(torch.bfloat16,))
    sae = {f"sae/{path.name}": path.read_bytes() for path in sae_folder(folder / "sae", model_name="someone/several").iterdir()}
    models = {QWEN: qwen, QWEN_SAES: {"layer0.sae.pt": qwen_scope_weights()}, "someone/several": several, "someone/saes": sae}
    sizes = ["--metrics", "shrinkage", "--tokens", "512", "--shrinkage.tokens", "256", "--device", "cpu", "--dataset", TEXTS]

    def command(output, *words):
        return ["evaluate", *words, *sizes, "--context-size", CONTEXT, "--output", folder / output, "--no-report"]

    commands = [
        command("other", QWEN_RELEASE, "layer0"),
        command("gated", "someone/saes", "sae", "--model", "someone/gated"),
        command("nowhere", "someone/saes", "sae", "--model", "someone/nothing"),
        command("auto", "someone/saes", "sae", "--model-dtype", "auto"),
        command("variant", "someone/saes", "sae", "--model-dtype", "bfloat16", "--model-from-pretrained-kwargs", "variant=bfloat16"),
        command("bridge", "someone/saes", "sae", "--model-class", BRIDGE, "--model-dtype", "bfloat16"),
    ]
    data = {TEXTS: {"data/train-00000-of-00001.parquet": parquet(texts)}}
    with LoopbackHub(models, data, gated=["someone/gated"]) as server:
        ran = run_commands(commands, {"HF_HOME": str(folder / "hf"), "HF_ENDPOINT": server.url})
    ran.asked_for = server.asked_for
    return folder, ran


def qwen_scope_weights():
    """A checkpoint of that release's shapes, whose rows overlap in memory, so that the file is small."""
    d_in, d_sae = 2048, 32_768
    numbers = torch.randn(d_in + d_sae, generator=torch.Generator().manual_seed(0)) * 0.02
    weights = {"W_enc": numbers.as_strided((d_sae, d_in), (1, 1)), "W_dec": numbers.as_strided((d_in, d_sae), (1, 1))}
    buffer = io.BytesIO()
    torch.save({**weights, "b_enc": torch.zeros(d_sae), "b_dec": torch.zeros(d_in)}, buffer)
    return buffer.getvalue()


def sae_of(folder):
    (path,) = folder.glob("*.json")
    return Report.load(path).provenance["sae"]


@pytest.mark.slow
@pytest.mark.hub
def test_a_release_whose_model_transformer_lens_lacks(hub_run):
    folder, ran = hub_run
    assert ran.statuses == [0, 2, 2, 0, 0, 0], ran.stderr
    sae = sae_of(folder / "other")
    assert (sae["model_name"], sae["model_class"], sae["hook_path"]) == (QWEN, "HookedProxyLM", "model.layers.0")


@pytest.mark.slow
@pytest.mark.hub
def test_a_repository_with_several_dtypes(hub_run):
    folder, ran = hub_run
    asked = {request.path.split("/")[-1] for request in ran.asked_for("someone/several/resolve")}
    assert {"model.safetensors", "model.bfloat16.safetensors"} <= asked
    described = [sae_of(folder / name) for name in ("auto", "variant", "bridge")]
    assert [each["model_dtype"] for each in described] == ["float32", "bfloat16", "bfloat16"]
    assert [each["model_class"] for each in described] == ["HookedProxyLM", "HookedProxyLM", BRIDGE]


@pytest.mark.slow
@pytest.mark.hub
def test_a_gated_model_and_one_that_is_nowhere(hub_run):
    said = [line for line in hub_run[1].stderr.splitlines() if "error: cannot load the model" in line]
    assert len(said) == 2
    assert "give access on request only" in said[0]
    assert "hf auth login" in said[0]
    assert "no such repository, or it is private" in said[1]
