"""Large weights that are held in half precision give the numbers of their float32 copy, and there is no such copy."""

import copy
from functools import partial

import pytest
import torch
from live_memory import PeakMemory
from runners import small_metrics
from saes import TRAINING_CONFIGS, training_sae

from sae_lens_metrics import Corpus, Subject, evaluate, load_pretrained
from sae_lens_metrics.subject import half_weights
from sae_lens_metrics.subject.dictionary import Dictionary
from sae_lens_metrics.subject.half_weights import HalfHeld, exact_half, held_bytes, hold_in_half
from sae_lens_metrics.subject.inference_sae import inference_sae

WITHIN = 1e-5  # of what the findings call the same, a hundredth


@pytest.fixture
def in_parts(monkeypatch):
    """Products are computed in several parts."""
    monkeypatch.setattr(half_weights, "_PART_BYTES", 4 * 128 * 20)


def rounded(architecture, dtype=torch.bfloat16):
    """An SAE in float32 whose matrices come from a checkpoint in half precision."""
    sae = inference_sae(training_sae(architecture))
    for parameter in sae.parameters():
        if parameter.ndim == 2:
            parameter.data = parameter.data.to(dtype).float()
    return sae


def held(sae):
    return hold_in_half(copy.deepcopy(sae), "cpu", least_bytes=0)


@pytest.mark.parametrize("architecture", TRAINING_CONFIGS)
def test_what_an_sae_does_is_the_same(architecture, model, tokens, in_parts):
    sae = rounded(architecture)
    whole, half = Subject(model, sae), Subject(model, held(sae))
    assert isinstance(half.dictionary.sae.W_enc, HalfHeld)
    assert half.dictionary.capabilities == whole.dictionary.capabilities
    x = whole.site.activations(whole.site.prefix(tokens[:2]))
    same = partial(torch.testing.assert_close, rtol=WITHIN, atol=WITHIN)
    z = whole.dictionary.encode(x)
    same(half.dictionary.encode(x), z)
    same(half.dictionary.decode(z, x), whole.dictionary.decode(z, x))
    same(half.dictionary.pre_activations(x, slice(5, 60)), whole.dictionary.pre_activations(x, slice(5, 60)))
    latents = torch.tensor([[3, 4]]).expand(*x.shape[:-1], 2)
    same(half.dictionary.latent_directions(x, latents), whole.dictionary.latent_directions(x, latents))
    assert half.dictionary.weights_hash() == whole.dictionary.weights_hash()  # so that results are the same SAE's
    assert half.settings() == whole.settings()


def test_every_number_of_an_evaluation_is_the_same(model, tokens, in_parts):
    corpus, sae = Corpus.from_tokens(tokens[:8]), rounded("jumprelu")
    whole, half = (dict(evaluate(Subject(model, each), corpus, small_metrics()).estimates()) for each in (sae, held(sae)))
    for name, estimate in whole.items():
        if estimate.value is None:
            assert half[name].value is None, name
        else:
            assert half[name].value == pytest.approx(estimate.value, rel=1e-3, abs=1e-5), name


def test_no_float32_copy_lies_beside_it(monkeypatch):
    monkeypatch.setattr(half_weights, "_PART_BYTES", 4 * 128 * 8)
    sae = held(rounded("topk"))
    whole = 4 * sae.W_enc.numel()
    x = torch.randn(4, 128)
    memory = PeakMemory().knows(sae.W_enc.kept, sae.W_dec.kept, x)
    with memory:
        dictionary = Dictionary(sae, 128)
        before = memory.peak = memory.now
        dictionary.decode(dictionary.encode(x), x)
        dictionary.latent_directions(x, torch.zeros(4, 1, dtype=torch.long))
    assert before < whole / 2
    assert memory.peak - before < whole / 2
    assert held_bytes(sae.W_enc) == whole / 2
    assert dictionary.decoder is sae.W_dec or dictionary.decoder.kept.data_ptr() == sae.W_dec.kept.data_ptr()


def test_only_what_is_held_exactly_and_is_large():
    matrix = torch.randn(10, 10)
    assert exact_half(matrix) is None
    assert exact_half(matrix.bfloat16().float()).dtype == torch.bfloat16
    assert exact_half(matrix.half().float()).dtype == torch.float16
    assert not any(isinstance(each, HalfHeld) for each in held(inference_sae(training_sae("topk"))).parameters())
    small = hold_in_half(rounded("topk"), "cpu")
    assert not any(isinstance(each, HalfHeld) for each in small.parameters())


def test_copies_stay_small():
    sae = held(rounded("gated", torch.float16))
    for copied in (copy.deepcopy(sae).W_dec, sae.state_dict()["W_dec"].detach().clone(), sae.W_dec.to("cpu", copy=True)):
        assert isinstance(copied, HalfHeld)
        assert torch.equal(copied.kept, sae.W_dec.kept)
        assert copied.kept.data_ptr() != sae.W_dec.kept.data_ptr()
    assert torch.equal(sae.W_dec + 0, sae.W_dec.kept.float())  # whatever else is done with it
    assert sae.W_dec.to(torch.float64).dtype == torch.float64
    assert isinstance(copy.deepcopy(sae).W_dec, torch.nn.Parameter)
    assert torch.equal(sae.to("cpu").W_dec.kept, sae.W_dec.kept)
    with pytest.raises(RuntimeError, match="cannot write to weights that are held in half precision"):
        sae.W_dec.detach().mul_(2)


def test_an_sae_on_disk_is_loaded_so(model, tmp_path, monkeypatch):
    monkeypatch.setattr("sae_lens_metrics.loading.pretrained.hold_in_half", partial(hold_in_half, least_bytes=0))
    rounded("topk").save_model(tmp_path)
    subject = load_pretrained(str(tmp_path), model=model, device="cpu")
    assert isinstance(subject.dictionary.sae.W_dec, HalfHeld)
    assert subject.describe()["dtype"] == "float32"
