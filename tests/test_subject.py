import pytest
import torch
from sae_lens.evals import get_recons_loss
from sae_lens.saes.sae import SAE, SAEMetadata
from sae_lens.training.activation_scaler import ActivationScaler
from saes import D_IN, D_SAE, HOOK, SUPPORTED, TRAINING_CONFIGS, training_sae

from sae_lens_metrics import Subject
from sae_lens_metrics.backends import FromHookBackend, FullRunBackend
from sae_lens_metrics.errors import SubjectError, UnsupportedSAEError
from sae_lens_metrics.inference_sae import inference_sae

HOOKS = ["hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_mlp_out", "hook_attn_out", "attn.hook_z"]


def real_activations(model, tokens, hook=HOOK):
    return model.run_with_cache(tokens, names_filter=[hook])[1][hook].flatten(2)


@pytest.mark.parametrize("architecture", TRAINING_CONFIGS)
@pytest.mark.parametrize("scaled", ["none", "expected_average_only_in", "covariance_whitening"])
def test_inference_sae_is_what_saelens_would_save(architecture, scaled, model, tokens, tmp_path):
    if architecture == "matching_pursuit" and scaled == "covariance_whitening":
        pytest.skip("SAELens itself cannot fold whitening into matching pursuit")
    sae = training_sae(architecture, normalize=scaled)
    x = real_activations(model, tokens[:8]).flatten(0, 1)
    scaler = ActivationScaler()
    if scaled == "expected_average_only_in":
        scaler.estimate_scaling_factor(D_IN, iter([x]), 1)
    if scaled == "covariance_whitening":
        scaler.estimate_whitening(D_IN, iter([x]), 1)
    before = {name: value.clone() for name, value in sae.state_dict().items()}
    random_state = torch.get_rng_state()

    built = inference_sae(sae, scaler)

    assert torch.equal(random_state, torch.get_rng_state())
    assert all(torch.equal(before[name], value) for name, value in sae.state_dict().items())
    assert sae.cfg.normalize_activations == scaled
    # the oracle: SAELens's own folding, saving and loading
    if scaler.scaling_factor is not None:
        sae.fold_activation_norm_scaling_factor(scaler.scaling_factor)
    if scaler.whitening is not None:
        sae.fold_activation_whitening(scaler.whitening.mean, scaler.whitening.matrix, scaler.whitening.inverse_matrix)
    sae.save_inference_model(tmp_path)
    saved = SAE.load_from_disk(tmp_path)
    assert built.cfg.architecture() == saved.cfg.architecture()
    assert torch.equal(built.encode(x), saved.encode(x))
    assert torch.equal(built(x), saved(x))


@pytest.mark.parametrize("architecture", SUPPORTED)
@pytest.mark.parametrize("normalize", ["none", "layer_norm", "constant_norm_rescale"])
def test_encode_decode_and_directions_are_saelenss_own(architecture, normalize, model, tokens):
    sae = inference_sae(training_sae(architecture, normalize=normalize))
    subject = Subject(model, sae)
    x = real_activations(model, tokens[:4])

    z = subject.encode(x)
    torch.testing.assert_close(z, sae.encode(x))
    torch.testing.assert_close(subject.decode(z, x), sae.decode(sae.encode(x)))
    scale, offset = subject.scale_and_offset(x)
    torch.testing.assert_close(scale * (z @ subject.decoder) + offset, subject.decode(z, x), rtol=1e-4, atol=1e-4)

    # what one unit adds: a difference of two decodes
    latents = torch.randint(0, D_SAE, (4, 64, 3), generator=torch.Generator().manual_seed(1))
    directions = subject.latent_directions(x, latents)
    one_more = z.scatter_add(-1, latents[..., :1], torch.ones(4, 64, 1))
    torch.testing.assert_close(directions[..., 0, :], subject.decode(one_more, x) - subject.decode(z, x), rtol=1e-3, atol=1e-4)
    assert not any(hasattr(sae, name) for name in ("ln_mu", "ln_std", "x_norm_coeff"))


@pytest.mark.parametrize("architecture", SUPPORTED)
def test_pre_activations_are_affine_in_the_encoders_projection(architecture, model, tokens):
    subject = Subject(model, training_sae(architecture))
    x = real_activations(model, tokens[:4]).flatten(0, 1)
    pre, projection = subject.pre_activations(x), x @ subject.sae.W_enc
    centred_pre, centred = pre - pre.mean(0), projection - projection.mean(0)
    slope = (centred_pre * centred).sum(0) / centred.square().sum(0)
    assert (slope > 0).all()
    torch.testing.assert_close(centred_pre, slope * centred, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("hook", HOOKS)
def test_the_fast_run_agrees_with_the_full_one(hook, model, tokens):
    sae = training_sae("standard", hook=f"blocks.1.{hook}")
    subject = Subject(model, sae)
    assert isinstance(subject._backend, FromHookBackend)
    full = FullRunBackend(model, subject.hook_name)
    prefix, reference = subject.prefix(tokens[:4]), full.prefix(tokens[:4])
    torch.testing.assert_close(prefix.activation, reference.activation)
    torch.testing.assert_close(subject.logits(prefix), model(tokens[:4]), rtol=1e-4, atol=1e-4)
    replacement = torch.randn(subject.activations(prefix).shape, generator=torch.Generator().manual_seed(2))
    written = subject._write(prefix.activation, replacement)
    torch.testing.assert_close(subject.logits(prefix, replacement), full.logits(reference, written), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("hook", ["blocks.0.hook_resid_pre", "blocks.3.hook_resid_post", "hook_embed"])
def test_first_last_and_outside_the_blocks(hook, model, tokens):
    subject = Subject(model, training_sae("standard", hook=hook))
    prefix = subject.prefix(tokens[:2])
    replacement = subject.activations(prefix) * 0.5
    expected = model.run_with_hooks(tokens[:2], fwd_hooks=[(hook, lambda a, hook: a * 0.5)])
    torch.testing.assert_close(subject.logits(prefix, replacement), expected, rtol=1e-4, atol=1e-4)


def test_a_single_head(model, tokens):
    with torch.random.fork_rng(devices=[]):
        sae = training_sae("standard", hook="blocks.1.attn.hook_z", d_in=32)
    sae.cfg.metadata.hook_head_index = 2
    subject = Subject(model, sae)
    prefix = subject.prefix(tokens[:2])
    x = subject.activations(prefix)
    assert torch.equal(x, prefix.activation[:, :, 2])

    def halve(activation, hook):
        activation[:, :, 2] *= 0.5
        return activation

    expected = model.run_with_hooks(tokens[:2], fwd_hooks=[(subject.hook_name, halve)])
    torch.testing.assert_close(subject.logits(prefix, x * 0.5), expected, rtol=1e-4, atol=1e-4)


def test_losses_equal_saelenss(model, tokens):
    sae = training_sae("topk")
    subject = Subject(model, sae)
    prefix = subject.prefix(tokens[:8])
    x = subject.activations(prefix)
    special = model.tokenizer.bos_token_id
    theirs = get_recons_loss(
        subject.sae, model, ActivationScaler(), tokens[:8], compute_kl=False, compute_ce_loss=True, ignore_tokens=[special]
    )
    torch.testing.assert_close(subject.losses(prefix), theirs["ce_loss_without_sae"], rtol=1e-4, atol=1e-4)
    ours = subject.losses(prefix, subject.decode(subject.encode(x), x))
    torch.testing.assert_close(ours, theirs["ce_loss_with_sae"], rtol=1e-4, atol=1e-4)
    zeroed = subject.losses(prefix, torch.zeros_like(x), where=torch.ones_like(tokens[:8], dtype=torch.bool))
    torch.testing.assert_close(zeroed, theirs["ce_loss_with_ablation"], rtol=1e-4, atol=1e-4)


def test_losses_in_parts_are_the_same(model, tokens, monkeypatch):
    subject = Subject(model, training_sae("standard"))
    prefix = subject.prefix(tokens[:8])
    whole = subject.losses(prefix, subject.activations(prefix) * 0.5)
    monkeypatch.setattr("sae_lens_metrics.subject._LOGITS_LIMIT", 3 * 64 * 4096)
    torch.testing.assert_close(subject.losses(prefix, subject.activations(prefix) * 0.5), whole, rtol=1e-5, atol=1e-5)


def test_special_tokens_and_positions_outside_the_slice_do_not_count(model, tokens):
    sae = training_sae("standard")
    sae.cfg.metadata.seqpos_slice = (5, -5)
    sae.cfg.metadata.exclude_special_tokens = [int(tokens[0, 20])]
    subject = Subject(model, sae)
    valid = subject.valid(tokens)
    assert not valid[:, :5].any()
    assert not valid[:, -5:].any()
    assert not valid[tokens == model.tokenizer.bos_token_id].any()
    assert not valid[0, 20]
    assert valid[0, 5:20].sum() > 0


def test_the_model_and_the_sae_are_left_as_they_were(model, tokens):
    sae = inference_sae(training_sae("standard", hook="blocks.1.attn.hook_z"))
    sae.turn_on_forward_pass_hook_z_reshaping()
    model.train()
    sae.train()
    try:
        subject = Subject(model, sae)
        prefix = subject.prefix(tokens[:2])
        x = subject.activations(prefix)
        subject.losses(prefix, subject.decode(subject.encode(x), x))
        assert model.training
        assert sae.training
        assert sae.hook_z_reshaping_mode
        assert not any(point.fwd_hooks for point in model.hook_dict.values())
    finally:
        model.eval()


@pytest.mark.parametrize(("hook", "near"), [("blocks.9.hook_resid_post", "blocks.0.hook_resid_post"), ("hook_embd", "hook_embed")])
def test_a_hook_that_the_model_lacks(hook, near, model):
    with pytest.raises(SubjectError, match=r"the model has no hook .* the nearest names are") as error:
        Subject(model, training_sae("standard"), hook_name=hook)
    assert near in str(error.value) or near.replace("0", "3") in str(error.value)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("architecture", SUPPORTED)
def test_saes_of_low_precision(architecture, dtype, model, tokens):
    sae = inference_sae(training_sae(architecture)).to(dtype)
    subject = Subject(model, sae)
    prefix = subject.prefix(tokens[:2])
    x = subject.activations(prefix)
    z = subject.encode(x)
    assert x.dtype == z.dtype == subject.decode(z, x).dtype == torch.float32
    assert z.count_nonzero() > 0
    assert subject.losses(prefix, subject.decode(z, x)).isfinite().all()


@pytest.mark.parametrize("normalize", ["expected_average_only_in", "covariance_whitening"])
def test_an_sae_in_training_whose_scaler_is_elsewhere(normalize, model):
    with pytest.raises(SubjectError, match=r"pass inference_sae\(sae, scaler\)"):
        Subject(model, training_sae("topk", normalize=normalize))


def test_no_hook_name(model):
    sae = training_sae("standard")
    sae.cfg.metadata.hook_name = None
    with pytest.raises(SubjectError, match="hook_name"):
        Subject(model, sae)


def test_d_in_that_does_not_match(model):
    with pytest.raises(SubjectError, match=r"128 wide.*d_in = 64"):
        Subject(model, training_sae("standard", d_in=64))


def test_nan_activations(model, tokens):
    subject = Subject(model, training_sae("standard"))
    prefix = subject.prefix(tokens[:2])
    prefix.activation[0, 3, 5] = float("nan")
    with pytest.raises(SubjectError, match="NaN"):
        subject.activations(prefix)


def test_a_model_without_hooks():
    with pytest.raises(SubjectError, match="has no hook points"):
        Subject(torch.nn.Linear(2, 2), training_sae("standard"))


@pytest.mark.parametrize("architecture", ["matching_pursuit", "transcoder", "skip_transcoder", "jumprelu_transcoder", "temporal"])
def test_unsupported_architectures_are_refused_in_words(architecture, model):
    from sae_lens.registry import get_sae_class

    if architecture == "matching_pursuit":
        sae = inference_sae(training_sae(architecture))
    else:
        cls, config = get_sae_class(architecture)
        more = {"d_sae": 512} if architecture == "temporal" else {"d_sae": D_SAE, "d_out": D_IN, "apply_b_dec_to_input": False}
        sae = cls(config(d_in=D_IN, metadata=SAEMetadata(hook_name=HOOK), **more))
    with pytest.raises(UnsupportedSAEError, match=r"not supported yet|no single pre-activation"):
        Subject(model, sae)


def test_a_backend_that_differs_falls_back_with_a_warning(model, monkeypatch, tokens):
    original = FromHookBackend.logits
    monkeypatch.setattr(FromHookBackend, "logits", lambda self, p, a: original(self, p, a) + 1.0)
    with pytest.warns(UserWarning, match="full run"):
        subject = Subject(model, training_sae("standard"))
    assert type(subject._backend) is FullRunBackend
    torch.testing.assert_close(subject.logits(subject.prefix(tokens[:2])), model(tokens[:2]))


def test_weights_hash_follows_the_weights(model):
    sae = inference_sae(training_sae("standard"))
    first = Subject(model, sae).weights_hash()
    assert first == Subject(model, inference_sae(training_sae("standard"))).weights_hash()
    sae.b_dec.data[0] += 1e-6
    assert first != Subject(model, sae).weights_hash()
