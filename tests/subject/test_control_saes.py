"""Controls are SAEs like any other, fire as often as the SAE they are made from, and are bad in just the way they say."""

from functools import partial

import pytest
import torch
from sae_lens.registry import get_sae_class
from saes import D_IN, D_SAE, HOOK, SUPPORTED, training_sae

from sae_lens_metrics import Subject
from sae_lens_metrics.errors import UnsupportedSAEError
from sae_lens_metrics.functional.encoder_fitting import fit_encoder
from sae_lens_metrics.subject import control_saes
from sae_lens_metrics.subject.control_saes import Activations, frozen_decoder, permuted_decoder, random_sae
from sae_lens_metrics.subject.dictionary import Dictionary
from sae_lens_metrics.subject.inference_sae import inference_sae

MAKERS = [permuted_decoder, frozen_decoder, random_sae]
NORMALIZATIONS = ["none", "layer_norm", "constant_norm_rescale"]


@pytest.fixture(scope="module")
def x(model, tokens):
    subject = Subject(model, training_sae("standard"))
    return subject.site.activations(subject.site.prefix(tokens[:16]))[:, 1:].flatten(0, 1)


def dictionary_of(sae, d_out=D_IN):
    return Dictionary(sae, d_out)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def l0(dictionary, x):
    return float((dictionary.encode(x) != 0).sum(-1).float().mean())


@pytest.fixture
def quick(monkeypatch):
    """How well encoders are fitted does not matter here."""
    monkeypatch.setattr(control_saes, "fit_encoder", partial(fit_encoder, steps=30))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("normalize", NORMALIZATIONS)
@pytest.mark.parametrize("architecture", SUPPORTED)
def test_each_is_a_valid_sae_with_the_same_l0(architecture, normalize, model, x):
    """Nothing is drawn from the global generator, and the same seed gives the same control."""
    subject = Subject(model, inference_sae(training_sae(architecture, normalize=normalize)))
    before = torch.random.get_rng_state()
    for make in MAKERS:
        sae = make(subject.dictionary, Activations(x, x), generator())
        assert torch.equal(before, torch.random.get_rng_state())
        control = Subject(model, sae)
        assert (control.hook_name, control.d_sae, control.language.context_size) == (HOOK, D_SAE, 64)
        assert sae.cfg.normalize_activations == normalize
        assert l0(control.dictionary, x) == pytest.approx(l0(subject.dictionary, x), rel=0.01)
        assert not any(hasattr(sae, name) for name in ("ln_mu", "ln_std", "x_norm_coeff"))
        again = make(subject.dictionary, Activations(x, x), generator())
        assert dictionary_of(again).weights_hash() == control.dictionary.weights_hash()


@pytest.mark.parametrize("normalize", NORMALIZATIONS)
@pytest.mark.parametrize("architecture", SUPPORTED)
def test_a_permuted_decoder_encodes_bit_for_bit_as_before_and_adds_other_directions(architecture, normalize, x):
    own = dictionary_of(inference_sae(training_sae(architecture, normalize=normalize)))
    weights = {name: value.clone() for name, value in own.sae.state_dict().items()}
    control = dictionary_of(permuted_decoder(own, Activations(x, x), generator()))
    if getattr(own.sae.cfg, "rescale_acts_by_decoder_norm", False):  # which reads the rows' lengths
        torch.testing.assert_close(control.encode(x), own.encode(x))
        assert torch.equal(control.encode(x) != 0, own.encode(x) != 0)
    else:
        assert torch.equal(control.encode(x), own.encode(x))
    torch.testing.assert_close(control.decoder.norm(dim=-1), own.decoder.norm(dim=-1))
    cosines = torch.nn.functional.normalize(control.decoder, dim=-1) @ torch.nn.functional.normalize(own.decoder, dim=-1).T
    assert torch.equal(cosines.argmax(1).sort().values, torch.arange(D_SAE))  # each direction is there once
    assert not (cosines.argmax(1) == torch.arange(D_SAE)).any()  # and nowhere where it was
    assert all(torch.equal(value, own.sae.state_dict()[name]) for name, value in weights.items())  # the SAE itself is as it was


def test_a_permuted_decoder_does_not_depend_on_the_units_of_latents(x):
    """Latents times c, decoder rows over c: the same function, and the same control."""
    own = inference_sae(training_sae("standard"))
    other = inference_sae(training_sae("standard"))
    units = torch.randn(D_SAE, generator=generator()).exp()
    with torch.no_grad():
        other.W_enc.mul_(units)
        other.b_enc.mul_(units)
        other.W_dec.div_(units[:, None])
    first, second = (dictionary_of(permuted_decoder(dictionary_of(sae), Activations(x, x), generator())) for sae in (own, other))
    torch.testing.assert_close(second.decode(second.encode(x), x), first.decode(first.encode(x), x), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("architecture", ["standard", "topk"])
def test_each_random_latent_fires_as_often_as_the_saes_own_of_that_number(architecture, x):
    sae = inference_sae(training_sae(architecture))
    with torch.no_grad():
        sae.b_enc[:3] = torch.tensor([-1e4, 1e4, 1e4])  # dead, and always on
    own = dictionary_of(sae)
    control = dictionary_of(random_sae(own, Activations(x, x), generator()))
    fired, of_control = ((each.encode(x) != 0).sum(0) for each in (own, control))
    assert {int(fired.min()), int(fired.max())} == {0, len(x)}
    assert (fired - of_control).abs().max() <= 1  # a value at the threshold, rounded otherwise
    assert (control.encode(x) >= 0).all()
    torch.testing.assert_close(torch.nn.functional.normalize(control.decoder, dim=-1), control.sae.W_enc.T)  # read and added alike


def test_a_frozen_decoder_is_random_of_length_one_and_better_than_random_directions(x):
    own = dictionary_of(inference_sae(training_sae("topk")))
    text = Activations(x, x)
    frozen, tied = (dictionary_of(make(own, text, generator())) for make in (frozen_decoder, random_sae))
    torch.testing.assert_close(frozen.decoder.norm(dim=-1), torch.ones(D_SAE))
    error = [float((each.decode(each.encode(x), x) - x).square().sum()) for each in (frozen, tied)]
    assert error[0] < error[1] < float((x - x.mean(0)).square().sum())


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kind", ["transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder"])
def test_controls_of_transcoders_are_transcoders(kind, x):
    d_out = 40
    cls, config = get_sae_class(kind)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sae = cls(config(d_in=D_IN, d_sae=D_SAE, d_out=d_out, apply_b_dec_to_input=False))
        for parameter in sae.parameters():
            parameter.data = torch.randn_like(parameter) * 0.1
    own = dictionary_of(sae.eval(), d_out)
    y = x[:, :d_out] * 2 + 1
    for make in MAKERS:
        control = dictionary_of(make(own, Activations(x, y), generator()), d_out)
        assert l0(control, x) == pytest.approx(l0(own, x), rel=0.01)
        assert (getattr(control.sae, "W_skip", None) is None) == ("skip" not in kind)
        assert control.decode(control.encode(x), x).shape == y.shape


def test_matching_pursuit_encodes_with_its_decoder(x):
    own = dictionary_of(inference_sae(training_sae("matching_pursuit")))
    with pytest.raises(UnsupportedSAEError, match="'matching_pursuit' encodes with its decoder"):
        permuted_decoder(own, Activations(x[:256], x[:256]), generator())
    control = dictionary_of(random_sae(own, Activations(x[:256], x[:256]), generator()))
    assert l0(control, x[:256]) == pytest.approx(l0(own, x[:256]), rel=0.01)


@pytest.mark.usefixtures("quick")
def test_half_precision_and_heads_that_are_reshaped(model, tokens):
    sae = inference_sae(training_sae("standard", hook="blocks.1.attn.hook_z")).to(torch.bfloat16)
    subject = Subject(model, sae)
    x = subject.site.activations(subject.site.prefix(tokens[:8]))[:, 1:].flatten(0, 1)
    for make in MAKERS:
        control = Subject(model, make(subject.dictionary, Activations(x, x), generator()))
        assert l0(control.dictionary, x) == pytest.approx(l0(subject.dictionary, x), rel=0.02)
