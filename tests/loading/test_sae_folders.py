"""Folders that do not hold an SAE as they should: each is refused in words that name it, the field, and what was expected."""

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from refusals import in_few_words
from saes import D_IN, D_SAE, training_sae
from safetensors.torch import load_file, save_file
from tiny_release import TINY_LM

from sae_lens_metrics import MetricsConfig, Report
from sae_lens_metrics.errors import SubjectError
from sae_lens_metrics.evaluation.order import Overrides
from sae_lens_metrics.evaluation.sweep import sweep
from sae_lens_metrics.loading.pretrained import load_pretrained
from sae_lens_metrics.loading.targets import Target
from sae_lens_metrics.subject.inference_sae import inference_sae

WEIGHTS = "sae_weights.safetensors"


@pytest.fixture
def folder(tmp_path):
    inference_sae(training_sae("standard")).save_model(tmp_path / "sae")
    return tmp_path / "sae"


@pytest.fixture
def refusal(folder, model):
    """What loading the folder says, which names it."""

    def load(**options):
        with pytest.raises(SubjectError) as caught:
            load_pretrained(str(folder), model=model, device="cpu", **options)
        said = str(caught.value)
        assert str(folder) in said
        in_few_words(caught.value)
        return said

    return load


def edit(folder, change):
    config = json.loads((folder / "cfg.json").read_text())
    config = change(config) or config
    (folder / "cfg.json").write_text(json.dumps(config))


def of_metadata(name, value):
    return lambda config: config["metadata"].update({name: value})


def of_config(name, value):
    return lambda config: config.update({name: value})


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (of_metadata("context_size", 0), "metadata.context_size is 0, expected a whole number from 1"),
        (of_metadata("context_size", "big"), "metadata.context_size is 'big', expected a whole number"),
        (of_metadata("hook_name", 5), "metadata.hook_name is 5, expected text or null"),
        (of_metadata("hook_head_index", "a"), "metadata.hook_head_index is 'a', expected a whole number or null"),
        (of_metadata("prepend_bos", "yes"), "metadata.prepend_bos is 'yes', expected true or false or null"),
        (of_metadata("seqpos_slice", [1, 2, 3, 4]), "metadata.seqpos_slice is [1, 2, 3, 4], expected start, stop and step at most"),
        (of_metadata("exclude_special_tokens", ["<s>"]), "metadata.exclude_special_tokens is ['<s>'], expected"),
        (of_metadata("model_from_pretrained_kwargs", [1]), "metadata.model_from_pretrained_kwargs is [1], expected an object or null"),
        (of_metadata("sae_lens_version", "new"), "sae_lens_version is 'new', expected a version such as 6.0.0"),
        (of_metadata("l0", float("nan")), "metadata.l0 is NaN, expected a number or null"),
        (of_config("dtype", "float99"), "dtype is 'float99', expected float32, float64, float16, bfloat16"),
        (of_config("d_sae", "many"), "d_sae is 'many', expected a whole number from 1"),
        (of_config("d_sae", -5), "d_sae is -5, expected a whole number from 1"),
        (of_config("d_sae", 10**30), "d_sae is a whole number of 31 digits"),
        (of_config("d_in", True), "d_in is true, expected a whole number from 1"),
        (of_config("architecture", "../../x"), "architecture is '../../x', expected one of standard, "),
        (of_config("architecture", [1]), "architecture is [1], expected one of standard, "),
        (of_config("normalize_activations", "\x1b[31m"), r"normalize_activations is '\x1b[31m', expected one of none, "),
        (of_config("metadata", None), "metadata is null, expected an object"),
        (of_config("metadata", [1]), "metadata is [1], expected an object"),
        (lambda config: {name: value for name, value in config.items() if name != "d_sae"}, "d_sae is missing, expected a whole number"),
        (lambda config: {name: value for name, value in config.items() if name != "architecture"}, "architecture is missing, expected"),
        (lambda config: [config], "expected an object with d_in, d_sae"),
    ],
)
def test_a_field_that_cannot_be_used(change, expected, folder, refusal):
    edit(folder, change)
    assert expected in refusal()


def test_more_latents_at_once_than_there_are(folder, refusal, tmp_path):
    inference_sae(training_sae("topk")).save_model(folder)
    edit(folder, of_config("k", 500))
    assert f"k is 500, expected at most d_sae = {D_SAE}" in refusal()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("hook_point", 5, "hook_point is 5, expected text"),
        ("hook_name", None, "hook_name is null, expected text"),
        ("activation_fn_kwargs", [1], "activation_fn_kwargs is [1], expected an object or null"),
        ("activation_fn_kwargs", {"k": "few"}, "k is 'few', expected a whole number"),
        ("activation_fn_kwargs", {"n": 4}, "activation_fn_kwargs.k is missing, expected a whole number from 1"),
        ("activation_fn_kwargs", None, "activation_fn_kwargs.k is missing, expected a whole number from 1"),
    ],
)
def test_a_field_of_an_older_configuration(name, value, expected, folder, refusal):
    older = {"d_in": D_IN, "d_sae": D_SAE, "dtype": "torch.float32", "hook_point": "blocks.0.hook_resid_pre", "activation_fn_str": "topk"}
    for said in ({}, {"architecture": "topk"}):
        edit(folder, lambda config, said=said: {**older, **said, "activation_fn_kwargs": {"k": 4}, name: value})
        assert expected in refusal()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"[" * 200_000, "nested too deeply"),
        (b'{"d_in": ' + b"1" * 5_000 + b"}", "a number of thousands of digits"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"", "not JSON"),
    ],
)
def test_a_configuration_that_is_none(content, expected, folder, refusal):
    (folder / "cfg.json").write_bytes(content)
    assert expected in refusal()


def a_folder(path):
    path.mkdir()


def a_loop(path):
    path.symlink_to(path.name)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (a_folder, "is a folder, expected a file of safetensors"),
        (a_loop, "is a link that leads nowhere, expected a file of safetensors"),
        (lambda path: path.symlink_to("/dev/null"), "is no file, expected a file of safetensors"),
        (os.mkfifo, "is no file, expected a file of safetensors"),
        (lambda path: None, "is missing, expected a file of safetensors"),
    ],
)
def test_something_else_in_the_weights_place(make, expected, folder, refusal):
    (folder / WEIGHTS).unlink()
    make(folder / WEIGHTS)
    said = refusal()
    assert WEIGHTS in said
    assert expected in said


def change_weights(folder, change):
    weights = load_file(folder / WEIGHTS)
    save_file(change(weights) or weights, folder / WEIGHTS)


def test_weights_that_overflow(folder, refusal):
    change_weights(folder, lambda weights: {name: value * 1e38 for name, value in weights.items()})
    said = refusal()
    assert "gives NaN or infinity for activations of ordinary size, as its weights reach" in said
    assert "not supported" not in said


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda weights: {**weights, "more": weights["b_dec"].clone()}, 'they hold also "more"'),
        (lambda weights: {name: value for name, value in weights.items() if name != "b_enc"}, 'they lack "b_enc"'),
        (lambda weights: {**weights, "b_enc": weights["b_enc"].long()}, "b_enc of I64, expected floating-point numbers"),
    ],
)
def test_weights_of_something_else(change, expected, folder, refusal):
    change_weights(folder, change)
    assert expected in refusal()


@pytest.fixture
def swept(folder, tmp_path, dataset):
    """A sweep over the folder under some name, a broken one, and a good one; its table."""
    dataset.select(range(20)).save_to_disk(tmp_path / "text")

    def run(name):
        broken, good = str(tmp_path / "broken"), str(tmp_path / "good")
        for each in (broken, good):
            shutil.copytree(folder, each)
        edit(Path(broken), of_metadata("context_size", 0))
        folder.rename(tmp_path / name)
        targets = [Target(str(tmp_path / name)), Target(broken), Target(good)]
        config = MetricsConfig(names=["shrinkage"], dataset=str(tmp_path / "text"), tokens=512)
        found = sweep(targets, config, tmp_path / "out", overrides=Overrides(model=str(TINY_LM), device="cpu"))
        assert "context_size is 0" in found.errors.pop(broken)
        assert Report.load(found.files[good]).metrics
        return found, pd.read_csv(tmp_path / "out" / "summary.csv"), json.loads((tmp_path / "out" / "errors.json").read_text())

    return run


def test_a_name_that_is_no_text_does_not_end_a_sweep(swept, tmp_path):
    name = "half a pair \udc80"
    found, table, errors = swept(name)
    assert "is no text, expected one that UTF-8 can write: rename it" in found.errors[str(tmp_path / name)]
    assert next(iter(table["name"])).endswith(r"half a pair \udc80")
    assert len(table) == 3
    assert next(iter(errors)).endswith(name)


def test_a_name_of_control_characters_is_like_any_other(swept, tmp_path):
    name = "\x1b[31mred\na\u202ertl"
    found, table, _ = swept(name)
    assert Report.load(found.files[str(tmp_path / name)]).metrics
    assert next(iter(table["name"])).endswith(name)
    assert len(table) == 3
