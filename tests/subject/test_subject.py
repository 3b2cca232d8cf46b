from contextlib import suppress
from types import SimpleNamespace

import pytest
import torch
from sae_lens.evals import get_recons_loss
from sae_lens.saes.sae import SAE, SAEMetadata
from sae_lens.training.activation_scaler import ActivationScaler
from saes import D_IN, D_SAE, HOOK, SUPPORTED, TRAINING_CONFIGS, through, training_sae, without_affine_encoder
from small_transformers import KINDS, SMALL, small_transformer
from transformer_lens import HookedTransformer, HookedTransformerConfig

from sae_lens_metrics import Subject
from sae_lens_metrics.errors import SubjectError, UnsupportedSAEError
from sae_lens_metrics.subject.backends import FromHookBackend, FullRunBackend, at_once
from sae_lens_metrics.subject.backends.lean_blocks import LeanBlock
from sae_lens_metrics.subject.inference_sae import inference_sae

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

    z = subject.dictionary.encode(x)
    torch.testing.assert_close(z, sae.encode(x))
    torch.testing.assert_close(subject.dictionary.decode(z, x), sae.decode(sae.encode(x)))
    scale, offset = subject.dictionary.scale_and_offset(x)
    torch.testing.assert_close(scale * (z @ subject.dictionary.decoder) + offset, subject.dictionary.decode(z, x), rtol=1e-4, atol=1e-4)

    # what one unit adds: a difference of two decodes
    latents = torch.randint(0, D_SAE, (4, 64, 3), generator=torch.Generator().manual_seed(1))
    directions = subject.dictionary.latent_directions(x, latents)
    one_more = z.scatter_add(-1, latents[..., :1], torch.ones(4, 64, 1))
    torch.testing.assert_close(
        directions[..., 0, :], subject.dictionary.decode(one_more, x) - subject.dictionary.decode(z, x), rtol=1e-3, atol=1e-4
    )
    assert not any(hasattr(sae, name) for name in ("ln_mu", "ln_std", "x_norm_coeff"))


@pytest.mark.parametrize("architecture", SUPPORTED)
def test_pre_activations_are_affine_in_the_encoders_projection(architecture, model, tokens):
    subject = Subject(model, training_sae(architecture))
    x = real_activations(model, tokens[:4]).flatten(0, 1)
    pre, projection = subject.dictionary.pre_activations(x), x @ subject.dictionary.sae.W_enc
    centred_pre, centred = pre - pre.mean(0), projection - projection.mean(0)
    slope = (centred_pre * centred).sum(0) / centred.square().sum(0)
    assert (slope > 0).all()
    torch.testing.assert_close(centred_pre, slope * centred, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("architecture", SUPPORTED)
@pytest.mark.parametrize("normalize", ["none", "layer_norm", "constant_norm_rescale"])
def test_some_pre_activations_are_those_of_a_full_encode(architecture, normalize, model, tokens):
    """Whether the SAE gives a few columns or has to encode everything; leading dimensions stay, no state is left on the SAE."""
    subject = Subject(model, training_sae(architecture, normalize=normalize))
    assert subject.dictionary.capabilities.affine_encoder is not None
    x = real_activations(model, tokens[:4])
    whole = subject.dictionary.pre_activations(x)
    assert whole.shape == (4, 64, D_SAE)
    given = subject.dictionary.encoder_input(x)
    for latents in (slice(0, D_SAE), slice(90, 96), slice(7, 8), slice(None)):
        torch.testing.assert_close(subject.dictionary.pre_activations(x, latents), whole[..., latents], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(subject.dictionary.pre_activations_given(given, latents), whole[..., latents], rtol=1e-4, atol=1e-4)
    # a mean of the input gives the mean of the pre-activations
    torch.testing.assert_close(subject.dictionary.pre_activations_given(given.mean(1), slice(None)), whole.mean(1), rtol=1e-3, atol=1e-4)
    subject = without_affine_encoder(subject)
    assert subject.dictionary.encoder_input(x) is None
    with pytest.raises(UnsupportedSAEError, match="not known to be affine"):
        subject.dictionary.pre_activations_given(given, slice(0, 1))
    for tokens_at_once in (1, 100, None):
        torch.testing.assert_close(
            subject.dictionary.pre_activations(x, slice(90, 96), at_once=tokens_at_once), whole[..., 90:96], rtol=1e-4, atol=1e-4
        )
    assert not any(hasattr(subject.dictionary.sae, name) for name in ("ln_mu", "ln_std", "x_norm_coeff"))


@pytest.mark.parametrize("change", [lambda pre: pre * 1.01, lambda pre: pre + 0.1, lambda pre: pre.sin()])
def test_an_encoder_that_is_not_the_known_affine_map_is_noticed(change, model, tokens):
    """An SAE of somebody else, whose parameters have the usual names but are used in another way."""
    sae = inference_sae(training_sae("standard", normalize="layer_norm"))

    def encode(x):
        given = sae.process_sae_in(x)
        return sae.hook_sae_acts_post(sae.activation_fn(sae.hook_sae_acts_pre(change(given @ sae.W_enc + sae.b_enc))))

    sae.encode = encode
    subject = Subject(model, sae)
    assert subject.dictionary.capabilities.affine_encoder is None
    x = real_activations(model, tokens[:2])
    expected = change(sae.process_sae_in(x) @ sae.W_enc + sae.b_enc)
    sae.run_time_activation_norm_fn_out(torch.zeros_like(x))  # as nothing else removes the state that was set
    torch.testing.assert_close(subject.dictionary.pre_activations(x, slice(5, 9), at_once=7), expected[..., 5:9])
    torch.testing.assert_close(subject.dictionary.pre_activations(x), expected)
    assert not hasattr(sae, "ln_mu")


def test_some_pre_activations_in_half_precision_and_of_reshaped_heads(model, tokens):
    sae = inference_sae(training_sae("standard", hook="blocks.1.attn.hook_z")).to(torch.bfloat16)
    sae.turn_on_forward_pass_hook_z_reshaping()
    subject = Subject(model, sae)
    assert subject.dictionary.capabilities.affine_encoder is not None
    x = real_activations(model, tokens[:2], subject.hook_name)
    some, whole = subject.dictionary.pre_activations(x, slice(5, 50)), subject.dictionary.pre_activations(x)[..., 5:50]
    assert some.dtype == whole.dtype == torch.float32
    torch.testing.assert_close(some, whole, rtol=0.02, atol=0.02)
    assert sae.hook_z_reshaping_mode


@pytest.mark.parametrize("hook", HOOKS)
def test_the_fast_run_agrees_with_the_full_one(hook, model, tokens):
    sae = training_sae("standard", hook=f"blocks.1.{hook}")
    subject = Subject(model, sae)
    assert isinstance(subject.site.capabilities.whole, FromHookBackend)
    full = FullRunBackend(model, subject.hook_name)
    prefix, reference = subject.site.prefix(tokens[:4]), full.prefix(tokens[:4])
    torch.testing.assert_close(prefix.activation, reference.activation)
    torch.testing.assert_close(subject.site.logits(prefix), model(tokens[:4]), rtol=1e-4, atol=1e-4)
    replacement = torch.randn(subject.site.activations(prefix).shape, generator=torch.Generator().manual_seed(2))
    written = subject.site.place.output.write(prefix.activation, replacement)
    torch.testing.assert_close(subject.site.logits(prefix, replacement), full.logits(reference, written), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("hook", ["blocks.0.hook_resid_pre", "blocks.3.hook_resid_post", "hook_embed"])
def test_first_last_and_outside_the_blocks(hook, model, tokens):
    subject = Subject(model, training_sae("standard", hook=hook))
    prefix = subject.site.prefix(tokens[:2])
    replacement = subject.site.activations(prefix) * 0.5
    expected = model.run_with_hooks(tokens[:2], fwd_hooks=[(hook, lambda a, hook: a * 0.5)])
    torch.testing.assert_close(subject.site.logits(prefix, replacement), expected, rtol=1e-4, atol=1e-4)


def test_a_single_head(model, tokens):
    with torch.random.fork_rng(devices=[]):
        sae = training_sae("standard", hook="blocks.1.attn.hook_z", d_in=32)
    sae.cfg.metadata.hook_head_index = 2
    subject = Subject(model, sae)
    prefix = subject.site.prefix(tokens[:2])
    x = subject.site.activations(prefix)
    assert torch.equal(x, prefix.activation[:, :, 2])

    def halve(activation, hook):
        activation[:, :, 2] *= 0.5
        return activation

    expected = model.run_with_hooks(tokens[:2], fwd_hooks=[(subject.hook_name, halve)])
    torch.testing.assert_close(subject.site.logits(prefix, x * 0.5), expected, rtol=1e-4, atol=1e-4)


def test_losses_equal_saelenss(model, tokens):
    sae = training_sae("topk")
    subject = Subject(model, sae)
    prefix = subject.site.prefix(tokens[:8])
    x = subject.site.activations(prefix)
    special = model.tokenizer.bos_token_id
    theirs = get_recons_loss(
        subject.dictionary.sae, model, ActivationScaler(), tokens[:8], compute_kl=False, compute_ce_loss=True, ignore_tokens=[special]
    )
    torch.testing.assert_close(subject.site.losses(prefix), theirs["ce_loss_without_sae"], rtol=1e-4, atol=1e-4)
    ours = subject.site.losses(prefix, subject.dictionary.decode(subject.dictionary.encode(x), x))
    torch.testing.assert_close(ours, theirs["ce_loss_with_sae"], rtol=1e-4, atol=1e-4)
    zeroed = subject.site.losses(prefix, torch.zeros_like(x), where=torch.ones_like(tokens[:8], dtype=torch.bool))
    torch.testing.assert_close(zeroed, theirs["ce_loss_with_ablation"], rtol=1e-4, atol=1e-4)


def test_losses_in_parts_are_the_same(model, tokens, monkeypatch):
    subject = Subject(model, training_sae("standard"))
    prefix = subject.site.prefix(tokens[:8])
    whole = subject.site.losses(prefix, subject.site.activations(prefix) * 0.5)
    monkeypatch.setattr(at_once, "_OF_A_THREAD", 3 * 64)
    monkeypatch.setattr(at_once, "_FEWEST", 5)
    monkeypatch.setattr(at_once, "_LOGITS", {"cpu": 7 * 4096})
    torch.testing.assert_close(subject.site.losses(prefix, subject.site.activations(prefix) * 0.5), whole, rtol=1e-5, atol=1e-5)
    parts = subject.site.prefix(tokens[:8])
    for part, of_whole in ((parts.tokens, prefix.tokens), (parts.activation, prefix.activation), (parts.residual, prefix.residual)):
        torch.testing.assert_close(part, of_whole, rtol=1e-5, atol=1e-5)
    reference = through(subject, whole=FullRunBackend(model, subject.hook_name)).site
    monkeypatch.setattr("sae_lens_metrics.subject.next_tokens._LOGITS_AT_ONCE", 3 * 64 * 4096)
    slow = reference.losses_beside_clean(prefix, subject.site.activations(prefix) * 0.5)
    for fast, full in zip(subject.site.losses_beside_clean(prefix, subject.site.activations(prefix) * 0.5), slow, strict=True):
        torch.testing.assert_close(fast, full, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "hook_name", ["blocks.1.hook_resid_post", "blocks.0.hook_resid_pre", "blocks.1.hook_mlp_out", "ln_final.hook_normalized"]
)
def test_one_position_of_each_sequence_is_as_in_the_whole(hook_name, model, tokens):
    sae = training_sae("standard")
    subject = Subject(model, sae, hook_name=hook_name)
    position = torch.tensor([0, 3, 63, 17, 62, 1, 30, 5])
    whole = subject.site.activations(subject.site.prefix(tokens[:8]))
    torch.testing.assert_close(subject.site.activations_at(tokens[:8], position), whole[torch.arange(8), position], rtol=1e-4, atol=1e-4)


def test_one_position_that_is_not_as_in_the_whole_is_seen(model, monkeypatch):
    monkeypatch.setattr(LeanBlock, "at", lambda self, residual, position: residual[:, :1])
    assert type(Subject(model, training_sae("standard")).site.capabilities.reading) is FullRunBackend


def test_special_tokens_and_positions_outside_the_slice_do_not_count(model, tokens):
    sae = training_sae("standard")
    sae.cfg.metadata.seqpos_slice = (5, -5)
    sae.cfg.metadata.exclude_special_tokens = [int(tokens[0, 20])]
    subject = Subject(model, sae)
    valid = subject.site.valid(tokens)
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
        prefix = subject.site.prefix(tokens[:2])
        x = subject.site.activations(prefix)
        subject.site.losses(prefix, subject.dictionary.decode(subject.dictionary.encode(x), x))
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
    prefix = subject.site.prefix(tokens[:2])
    x = subject.site.activations(prefix)
    z = subject.dictionary.encode(x)
    assert x.dtype == z.dtype == subject.dictionary.decode(z, x).dtype == torch.float32
    assert z.count_nonzero() > 0
    assert subject.site.losses(prefix, subject.dictionary.decode(z, x)).isfinite().all()


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
    prefix = subject.site.prefix(tokens[:2])
    prefix.activation[0, 3, 5] = float("nan")
    with pytest.raises(SubjectError, match="NaN"):
        subject.site.activations(prefix)


def test_a_model_without_hooks():
    with pytest.raises(SubjectError, match="has no hook points"):
        Subject(torch.nn.Linear(2, 2), training_sae("standard"))


def test_unsupported_architectures_are_refused_in_words(model):
    from sae_lens.registry import get_sae_class

    cls, config = get_sae_class("temporal")
    sae = cls(config(d_in=D_IN, d_sae=512, metadata=SAEMetadata(hook_name=HOOK)))
    with pytest.raises(UnsupportedSAEError, match=r"'temporal' .*: not supported yet$"):
        Subject(model, sae)


def test_a_transcoder_without_the_hook_of_its_output(model):
    from sae_lens.registry import get_sae_class

    cls, config = get_sae_class("transcoder")
    sae = cls(config(d_in=D_IN, d_out=D_IN, d_sae=D_SAE, apply_b_dec_to_input=False, metadata=SAEMetadata(hook_name=HOOK)))
    with pytest.raises(SubjectError, match="pass output_hook_name"):
        Subject(model, sae)
    subject = Subject(model, sae, output_hook_name="blocks.1.hook_mlp_out")
    assert (subject.hook_name, subject.site.place.output.hook_name) == (HOOK, "blocks.1.hook_mlp_out")


def test_a_hook_that_nothing_passes():
    """Models of TransformerLens have hooks of parts that they do not use."""
    with pytest.raises(SubjectError, match=r"nothing passes the hook 'blocks\.1\.hook_mlp_out'"):
        subject_at(small_transformer("no MLP"), "hook_mlp_out")
    with pytest.raises(SubjectError, match=r"set_use_split_qkv_input\(True\)"):
        subject_at(small_transformer("no MLP"), "hook_q_input")


def test_a_backend_that_differs_falls_back_with_a_warning(model, monkeypatch, tokens):
    original = FromHookBackend.logits
    monkeypatch.setattr(FromHookBackend, "logits", lambda self, p, a: original(self, p, a) + 1.0)
    with pytest.warns(UserWarning, match="full run"):
        subject = Subject(model, training_sae("standard"))
    assert type(subject.site.capabilities.whole) is FullRunBackend
    torch.testing.assert_close(subject.site.logits(subject.site.prefix(tokens[:2])), model(tokens[:2]))


def test_weights_hash_follows_the_weights(model):
    sae = inference_sae(training_sae("standard"))
    first = Subject(model, sae).dictionary.weights_hash()
    assert first == Subject(model, inference_sae(training_sae("standard"))).dictionary.weights_hash()
    sae.b_dec.data[0] += 1e-6
    assert first != Subject(model, sae).dictionary.weights_hash()


# --- many short rows -----------------------------------------------------------------------------------------------------------

SHORT = 9
SHORT_HOOKS = ["hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_mlp_out", "attn.hook_z"]


def short_rows(vocabulary, rows=5):
    return torch.randint(1, vocabulary, (rows, SHORT), generator=torch.Generator().manual_seed(6))


def subject_at(model, hook, layer=1, head=None):
    d_in = model.cfg.d_head if head is not None else model.cfg.d_model
    sae = training_sae("standard", hook=f"blocks.{layer}.{hook}", d_in=d_in)
    sae.cfg.metadata.hook_head_index = head
    return Subject(model, sae)


def last_of_a_full_run(subject, tokens):
    activation = subject.site.model.run_with_cache(tokens, names_filter=[subject.hook_name])[1][subject.hook_name][:, -1]
    return activation.flatten(1) if subject.site.place.input.head is None else activation[:, subject.site.place.input.head]


def continued_everywhere(subject, tokens):
    """The rows' last activations, split at every point into what is remembered and what follows."""
    return [subject.site.last(subject.site.past(tokens[:, :split]), tokens[:, split:]) for split in range(tokens.shape[1])]


def assert_continued_well(subject, tokens):
    expected = last_of_a_full_run(subject, tokens)
    for split, x in enumerate(continued_everywhere(subject, tokens)):
        torch.testing.assert_close(x, expected, rtol=1e-5, atol=1e-5, msg=lambda text, split=split: f"split at {split}: {text}")


@pytest.mark.parametrize("layer", [0, 1, 3])
@pytest.mark.parametrize("hook", SHORT_HOOKS)
def test_continuing_from_a_past_gives_the_full_runs_activation(hook, layer, model):
    subject = subject_at(model, hook, layer)
    assert type(subject.site.capabilities.whole) is FromHookBackend
    assert_continued_well(subject, short_rows(4096))


@pytest.mark.parametrize("hook", SHORT_HOOKS)
@pytest.mark.parametrize("kind", KINDS)
def test_continuing_from_a_past_in_other_transformers(kind, hook):
    model = small_transformer(kind)
    if f"blocks.1.{hook}" not in model.hook_dict or (model.cfg.attn_only and hook == "hook_mlp_out"):
        pytest.skip("nothing passes such a hook in a model without MLP or with parallel attention")
    for layer in (0, 1, 2):
        subject = subject_at(model, hook, layer)
        assert type(subject.site.capabilities.whole) is FromHookBackend
        assert_continued_well(subject, short_rows(30))


@pytest.mark.parametrize("kind", ["tiny_lm", "grouped queries"])
def test_continuing_from_a_past_at_a_single_head(kind, model):
    model = model if kind == "tiny_lm" else small_transformer(kind)
    subject = subject_at(model, "attn.hook_z", head=2)
    x = continued_everywhere(subject, short_rows(30))[0]
    assert x.shape == (5, model.cfg.d_head)
    assert_continued_well(subject, short_rows(30))


@pytest.mark.parametrize("hook", SHORT_HOOKS)
def test_the_full_run_continues_from_a_past_too(hook, model):
    subject = subject_at(model, hook)
    subject = through(subject, short_runs=FullRunBackend(model, subject.hook_name))
    assert_continued_well(subject, short_rows(4096))


def test_a_hook_outside_the_blocks_continues_from_a_past(model):
    subject = Subject(model, training_sae("standard", hook="hook_embed"))
    assert type(subject.site.capabilities.whole) is FullRunBackend
    assert_continued_well(subject, short_rows(4096))


@pytest.mark.parametrize("backend", [FromHookBackend, FullRunBackend])
@pytest.mark.parametrize("hook", ["hook_resid_post", "attn.hook_z"])
def test_beginnings_may_be_cut_repeated_and_reordered(backend, hook, model):
    subject = subject_at(model, hook, 2)
    subject = through(subject, short_runs=backend(model, subject.hook_name))
    tokens = short_rows(4096, rows=4)
    past = subject.site.past(tokens[:, :6])
    ends = short_rows(4096, rows=6)
    rows = torch.tensor([3, 0, 3, 3, 1, 0])
    for length in range(7):
        beginnings = past.beginnings(rows, length)
        assert torch.equal(beginnings.tokens, tokens[rows, :length])
        written_out = torch.cat([tokens[rows, :length], ends], 1)
        torch.testing.assert_close(subject.site.last(beginnings, ends), last_of_a_full_run(subject, written_out), rtol=1e-5, atol=1e-5)
    # what was remembered is as it was, whatever went on from it
    torch.testing.assert_close(subject.site.last(past, ends[:4]), last_of_a_full_run(subject, torch.cat([tokens[:, :6], ends[:4]], 1)))


def test_one_row_of_beginnings_may_have_no_tokens(model):
    subject = subject_at(model, "hook_resid_post")
    nothing = subject.site.past(torch.empty(1, 0, dtype=torch.long))
    tokens = short_rows(4096)
    x = subject.site.last(nothing.beginnings(torch.zeros(5, dtype=torch.long), 0), tokens)
    torch.testing.assert_close(x, last_of_a_full_run(subject, tokens), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("hook", SHORT_HOOKS)
def test_a_continuation_that_differs_falls_back_with_a_warning(hook, model, monkeypatch):
    original = FromHookBackend.last
    monkeypatch.setattr(FromHookBackend, "last", lambda self, past, tokens: original(self, past, tokens) * 1.1)
    with pytest.warns(UserWarning, match="full run"):
        subject = subject_at(model, hook)
    assert type(subject.site.capabilities.whole) is FromHookBackend
    assert type(subject.site.capabilities.short_runs) is FullRunBackend
    assert_continued_well(subject, short_rows(4096))


def test_a_model_whose_blocks_do_not_add_up_falls_back_with_a_warning():
    """A transformer that does something of its own between its blocks."""

    class Doubling(HookedTransformer):
        def forward(self, tokens, *args, start_at_layer=None, **kwargs):
            return super().forward((tokens + 1) % 30 if start_at_layer is None else tokens, *args, start_at_layer=start_at_layer, **kwargs)

    model = Doubling(HookedTransformerConfig(**SMALL)).eval()
    with pytest.warns(UserWarning, match="full run"):
        subject = subject_at(model, "hook_resid_post")
    assert_continued_well(subject, short_rows(30))


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_many_short_runs_put_modes_and_threads_back(model, two_threads):
    subject = subject_at(model, "hook_resid_post")
    model.train()
    subject.dictionary.sae.train()
    try:
        with suppress(ZeroDivisionError), subject.many_short_runs() as mapped:
            assert mapped is not map
            assert torch.get_num_threads() == 1
            assert not model.training
            assert not subject.dictionary.sae.training
            assert list(mapped(lambda a, b: (a + b, model.training, torch.get_num_threads()), [1, 2], [3, 4])) == [
                (4, False, 1),
                (6, False, 1),
            ]
            raise ZeroDivisionError
        assert model.training
        assert subject.dictionary.sae.training
        assert torch.get_num_threads() == 2
        assert not any(point.fwd_hooks for point in model.hook_dict.values())
    finally:
        model.eval()


@pytest.mark.parametrize("hook", ["hook_resid_mid", "hook_mlp_out", "hook_attn_out", "attn.hook_z"])
def test_a_hook_that_is_captured_is_run_on_one_thread(hook, model, two_threads):
    with subject_at(model, hook).many_short_runs() as mapped:
        assert mapped is map
    assert torch.get_num_threads() == 2


def test_full_runs_are_on_one_thread(model, two_threads):
    with Subject(model, training_sae("standard", hook="hook_embed")).many_short_runs() as mapped:
        assert mapped is map


@pytest.mark.parametrize("normalize", ["constant_norm_rescale", "layer_norm"])
def test_an_sae_with_state_while_encoding_is_run_on_one_thread(normalize, model, two_threads):
    with Subject(model, training_sae("topk", normalize=normalize)).many_short_runs() as mapped:
        assert mapped is map


@pytest.mark.parametrize("architecture", SUPPORTED)
def test_threads_give_what_one_thread_gives(architecture, model, tokens, two_threads):
    subject = Subject(model, training_sae(architecture))

    def latents(chunk):
        return subject.dictionary.encode(subject.site.last(subject.site.past(chunk[:, :3]), chunk[:, 3:8]))

    chunks = tokens[:16].split(4)
    expected = [latents(chunk) for chunk in chunks]
    with subject.many_short_runs() as mapped:
        assert mapped is not map
        for z, z_alone in zip(mapped(latents, chunks), expected, strict=True):
            torch.testing.assert_close(z, z_alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("hook", HOOKS)
def test_a_full_run_leaves_at_the_hook(hook, model, tokens):
    backend = FullRunBackend(model, f"blocks.1.{hook}")
    calls = []
    handles = [block.register_forward_hook(lambda *_, i=i: calls.append(i)) for i, block in enumerate(model.blocks)]
    model.train()
    try:
        backend.prefix(tokens[:2])
        assert set(calls) <= {0, 1}  # a block that is left before its end is not counted
        assert 0 in calls
        calls.clear()
        backend.last(backend.past(tokens[:2, :4]), tokens[:2, 4:8])
        assert set(calls) <= {0, 1}
        assert model.training
        assert not any(point.fwd_hooks for point in model.hook_dict.values())
        backend.logits(backend.prefix(tokens[:2]), None)
        assert 3 in calls
    finally:
        model.eval()
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("hook", SHORT_HOOKS)
def test_a_continuation_runs_no_later_block(hook, model, tokens):
    subject = subject_at(model, hook)
    calls = []
    handles = [block.register_forward_hook(lambda *_, i=i: calls.append(i)) for i, block in enumerate(model.blocks)]
    try:
        subject.site.last(subject.site.past(tokens[:2, :4]), tokens[:2, 4:8])
        assert set(calls) <= {0, 1}
    finally:
        for handle in handles:
            handle.remove()


def test_special_tokens_are_the_tokenizers_and_those_excluded(model, tokens):
    bos, another = model.tokenizer.bos_token_id, int(tokens[0, 20])
    assert torch.equal(Subject(model, training_sae("standard")).language.special(tokens), tokens == bos)
    sae = training_sae("standard")
    sae.cfg.metadata.exclude_special_tokens = [another]
    subject = Subject(model, sae)
    assert torch.equal(subject.language.special(tokens), (tokens == bos) | (tokens == another))
    # unlike valid, it says nothing about where the SAE may look
    sae.cfg.metadata.seqpos_slice = (5, -5)
    assert torch.equal(Subject(model, sae).language.special(tokens), subject.language.special(tokens))


def test_a_model_without_tokenizer_has_no_special_tokens():
    model = small_transformer("no MLP")
    assert not subject_at(model, "hook_resid_post").language.special(torch.arange(30)[None]).any()


def test_the_bos_token(model, monkeypatch):
    sae = training_sae("standard")
    assert Subject(model, sae).language.bos_token == model.tokenizer.bos_token_id == 0
    assert Subject(model, sae, prepend_bos=False).language.bos_token is None
    sae.cfg.metadata.prepend_bos = None
    assert Subject(model, sae).language.bos_token is None
    subject = Subject(model, sae, prepend_bos=True)
    monkeypatch.setattr(model, "tokenizer", None)
    with pytest.raises(SubjectError, match="prepend_bos=False"):
        _ = subject.language.bos_token
    monkeypatch.setattr(model, "tokenizer", SimpleNamespace(bos_token_id=None))
    assert subject.language.bos_token is None  # SAELens leaves it out then


def test_model_hash_follows_the_weights():
    first, again = (subject_at(small_transformer("RMS norm"), "hook_resid_post") for _ in range(2))
    assert first.site.model_hash() == again.site.model_hash()
    again.site.model.blocks[2].attn.W_O.data[0, 0, 0] += 1e-6
    assert first.site.model_hash() != again.site.model_hash()
    assert first.site.model_hash() != subject_at(small_transformer("no MLP"), "hook_resid_post").site.model_hash()
