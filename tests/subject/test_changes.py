"""What changes of an activation do to the logits: the fast ways against whole runs of the model, one for each change."""

import copy
import weakref

import pytest
import torch
from sae_lens.load_model import HookedProxyLM
from saes import SUPPORTED, through, training_sae
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.model_bridge import TransformerBridge
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
)

from sae_lens_metrics import Subject
from sae_lens_metrics.functional.effect_sparsity import effect_sparsity
from sae_lens_metrics.metrics.ablation.effects import Ablations
from sae_lens_metrics.subject.backends import FromHookBackend, FullRunBackend, OwnCacheBackend

START, T, LATENTS = 9, 8, 2
MUCH = 2**28
"""A limit of memory that leaves room for everything at once."""

# --- models --------------------------------------------------------------------------------------------------------------------

D_MODEL, HEADS, LAYERS, VOCABULARY = 32, 4, 3, 60
SHARED = {"hidden_size": D_MODEL, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "vocab_size": VOCABULARY}
SHARED |= {"intermediate_size": 64, "max_position_embeddings": 64}
CAP = 4.0


def _gpt2():
    return GPT2LMHeadModel(GPT2Config(n_embd=D_MODEL, n_layer=LAYERS, n_head=HEADS, n_positions=64, vocab_size=VOCABULARY))


def _llama():
    return LlamaForCausalLM(LlamaConfig(**SHARED, num_key_value_heads=2))


def _neox():
    return GPTNeoXForCausalLM(GPTNeoXConfig(**SHARED))


def _gemma2():
    """With a window that is shorter than what comes before the change, and than what follows."""
    more = {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 4, "final_logit_softcapping": CAP}
    return Gemma2ForCausalLM(Gemma2Config(**SHARED, **more))


def random_model(make, seed=0):
    """Weights that are large enough for every layer to matter."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.15)
    return model.eval()


def wrapped(kind, dtype=torch.float64):
    """In SAELens's wrapper."""
    return HookedProxyLM(random_model(WRAPPED[kind]).to(dtype), None)  # in training mode, around a model that is not


def bridge(kind, folder, dtype=torch.float64):
    """In TransformerLens's bridge, which takes the architecture from a folder."""
    model = random_model(WRAPPED[kind])
    model.config.save_pretrained(folder)
    return TransformerBridge.boot_transformers(str(folder), hf_model=model.to(dtype), dtype=dtype, tokenizer=None)


def transformer(**more):
    shared = {"n_layers": LAYERS, "d_model": D_MODEL, "n_heads": HEADS, "d_head": 8, "d_mlp": 64, "n_ctx": 64, "d_vocab": VOCABULARY}
    return in_double(random_model(lambda: HookedTransformer(HookedTransformerConfig(**shared, act_fn="gelu_new", **more))))


def in_double(model):
    """A copy in double precision, in which the effects of both ways can be told from rounding."""
    copied = copy.deepcopy(model).double()
    copied.cfg.dtype = torch.float64
    return copied


ROTARY = {"positional_embedding_type": "rotary", "rotary_dim": 8}
TRANSFORMERS = {
    "grouped queries, rotary": {**ROTARY, "n_key_value_heads": 2},
    "soft cap": {**ROTARY, "normalization_type": "RMS", "final_rms": True, "output_logits_soft_cap": CAP, "attn_scores_soft_cap": 20.0},
    "window": {"use_local_attn": True, "window_size": 4, "attn_types": ["local", "global", "local"]},
}
WRAPPED = {"gpt2": _gpt2, "llama": _llama, "neox": _neox, "gemma2": _gemma2}
BLOCKS = {"gpt2": "transformer.h", "llama": "model.layers", "neox": "gpt_neox.layers", "gemma2": "model.layers"}
PARTS = {"gpt2": ["attn", "mlp"], "llama": ["self_attn", "mlp"], "neox": ["attention", "mlp"], "gemma2": ["self_attn", "mlp"]}
EMBEDDINGS = {"gpt2": "transformer.wte", "llama": "model.embed_tokens", "neox": "gpt_neox.embed_in", "gemma2": "model.embed_tokens"}
BRIDGED_HOOKS = ["hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_mlp_out", "hook_attn_out", "attn.hook_z"]


def random_tokens(vocabulary=VOCABULARY, rows=2, length=START + T):
    return torch.randint(1, vocabulary, (rows, length), generator=torch.Generator().manual_seed(4))


def subject_of(model, hook, *, d_in=D_MODEL, head=None, architecture="standard", normalize="none"):
    sae = training_sae(architecture, hook=hook, d_in=d_in, normalize=normalize)
    sae.cfg.metadata.hook_head_index = head
    return Subject(model, sae)


# --- the oracle ----------------------------------------------------------------------------------------------------------------


def chosen_latents(subject, x):
    """The active latents of each sequence that add most: (sequence, latent).

    The effects of others are small, and rounding in single precision moves their sparsity by up to 1e-3, in whole runs too.
    """
    z = subject.dictionary.encode(x)
    strength = z.abs() * subject.dictionary.latent_directions(x[:, None], torch.arange(subject.d_sae)[None, None])[:, 0].norm(dim=-1)
    order = strength.topk(LATENTS).indices
    return [(sequence, int(latent)) for sequence, latents in enumerate(order) for latent in latents if z[sequence, latent] != 0]


def added_by(sae, x, latent):
    """What a latent adds to one activation, by decoding with and without it, in the SAE's own way."""
    z = sae.encode(x)
    whole = sae.decode(z)
    sae.encode(x)  # sets the normalisation that decode needs, and forgets
    fewer = z.clone()
    fewer[..., latent] = 0
    return (whole - sae.decode(fewer)).double()


def whole_run(model, tokens, hook, write=None):
    def at_hook(activation, hook):
        if write is not None:
            activation = activation.clone().contiguous()
            write(activation)
            return activation
        return None

    with torch.no_grad():
        return model.run_with_hooks(tokens, return_type="logits", fwd_hooks=[(hook, at_hook)])


def brute_force(subject, model, tokens, start, chosen, reference=None):
    """Effect sparsity of single latents: a whole run of the model for each, over the whole context.

    The model may be another copy than the subject's, of another precision.
    """
    head = subject.site.place.input.head
    x = whole_activation(subject.site.model, tokens, subject.hook_name, head)
    found = []
    for sequence, latent in chosen:
        added = added_by(subject.dictionary.sae, x[sequence, start], latent)

        def put(activation, added=None, sequence=sequence):
            flat = (activation[0] if head is None else activation[0, :, head]).view(activation.shape[1], -1)
            if reference is not None:
                flat.copy_(reference[sequence])
            if added is not None:
                flat[start] -= added.to(flat)

        row = tokens[sequence : sequence + 1]
        clean = whole_run(model, row, subject.hook_name, None if reference is None else put)
        ablated = whole_run(model, row, subject.hook_name, lambda activation, added=added, put=put: put(activation, added))
        found.append(effect_sparsity((ablated - clean)[0, start:]))
    return torch.stack(found)


def whole_activation(model, tokens, hook, head):
    seen = []

    def look(activation, hook):
        seen.append(activation.clone())

    with torch.no_grad():
        model.run_with_hooks(tokens, return_type="logits", fwd_hooks=[(hook, look)])
    return seen[0].flatten(2) if head is None else seen[0][:, :, head]


def measured(subject, tokens, start, chosen, *, memory=MUCH, shown=0, reference=None):
    prefix = subject.site.prefix(tokens)
    x = subject.site.activations(prefix)[:, start]
    base = x if reference is None else reference[:, start]
    onwards = subject.site.changes.onwards(prefix, start, reference)
    rows, latents = (torch.tensor(column) for column in zip(*chosen, strict=True))
    added = subject.dictionary.encode(x)[rows, latents, None] * subject.dictionary.latent_directions(x[rows], latents[:, None])[:, 0]
    with Ablations(subject, subject.site.changes, memory) as effects_of:
        return effects_of(onwards, rows, lambda part: (base[rows[part]] - added[part])[:, None], shown=shown)


def assert_equals_whole_runs(subject, tokens, *, start=START, reference=None):
    """In double precision, as otherwise rounding is what would be compared; Gemma's norms compute in single precision all the same."""
    chosen = chosen_latents(subject, subject.site.activations(subject.site.prefix(tokens))[:, start])
    assert len(chosen) > len(tokens)
    expected = brute_force(subject, subject.site.model, tokens, start, chosen, reference)
    assert expected.dtype == torch.float64
    assert (expected > 0).all()
    effects = measured(subject, tokens, start, chosen, reference=reference)
    gemma = any("Gemma" in type(module).__name__ for module in subject.site.model.modules())
    torch.testing.assert_close(effects.sparsity, expected, rtol=4e-5 if gemma else 1e-5, atol=0)


@pytest.fixture(scope="session")
def double(model):
    return in_double(model)


# --- HookedTransformer ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("normalize", ["none", "layer_norm", "constant_norm_rescale"])
@pytest.mark.parametrize("architecture", SUPPORTED)
def test_effects_equal_whole_runs_for_every_architecture(architecture, normalize, double, tokens):
    subject = Subject(double, training_sae(architecture, normalize=normalize))
    assert type(subject.site.capabilities.changes) is FromHookBackend
    assert_equals_whole_runs(subject, tokens[:2, : START + T])


HOOKS = {
    "blocks.0.hook_resid_pre": FromHookBackend,
    "blocks.1.hook_resid_pre": FromHookBackend,
    "blocks.1.hook_resid_mid": FromHookBackend,
    "blocks.2.hook_resid_post": FromHookBackend,
    "blocks.3.hook_resid_post": FromHookBackend,
    "blocks.1.hook_mlp_out": FromHookBackend,
    "blocks.3.hook_mlp_out": FromHookBackend,
    "blocks.1.hook_attn_out": FromHookBackend,
    "blocks.1.attn.hook_z": FromHookBackend,
    "hook_embed": FullRunBackend,
}


@pytest.mark.parametrize("hook", HOOKS)
def test_effects_equal_whole_runs_at_every_kind_of_hook(hook, double, tokens):
    subject = Subject(double, training_sae("topk", hook=hook))
    assert type(subject.site.capabilities.changes) is HOOKS[hook]
    assert_equals_whole_runs(subject, tokens[:2, : START + T])


@pytest.mark.parametrize("start", [0, 1, START + T - 1])
@pytest.mark.parametrize("hook", ["hook_resid_post", "hook_mlp_out"])
def test_effects_at_the_first_and_the_last_position(hook, start, double, tokens):
    subject = Subject(double, training_sae("topk", hook=f"blocks.1.{hook}"))
    assert_equals_whole_runs(subject, tokens[:2, 1 : 1 + START + T], start=start)


@pytest.mark.parametrize("normalize", ["none", "layer_norm"])
def test_effects_at_a_single_head(normalize, double, tokens):
    subject = subject_of(double, "blocks.1.attn.hook_z", d_in=32, head=2, architecture="topk", normalize=normalize)
    assert_equals_whole_runs(subject, tokens[:2, : START + T])


@pytest.mark.parametrize("hook", ["blocks.1.hook_resid_post", "blocks.1.hook_attn_out", "hook_embed"])
def test_effects_with_the_reconstruction_in_place(hook, double, tokens):
    subject = Subject(double, training_sae("topk", hook=hook, normalize="layer_norm"))
    short = tokens[:2, : START + T]
    x = subject.site.activations(subject.site.prefix(short))
    assert_equals_whole_runs(subject, short, reference=subject.dictionary.decode(subject.dictionary.encode(x), x))


@pytest.mark.parametrize("hook", ["hook_resid_pre", "hook_mlp_out", "attn.hook_z"])
@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_effects_in_other_transformers(kind, hook):
    model = transformer(**TRANSFORMERS[kind])
    subject = subject_of(model, f"blocks.1.{hook}", architecture="topk")
    assert type(subject.site.capabilities.changes) is FromHookBackend
    assert_equals_whole_runs(subject, random_tokens())


# --- models with caches of their own -------------------------------------------------------------------------------------------


def wrapped_hooks(kind):
    blocks = [f"{BLOCKS[kind]}.{i}" for i in range(LAYERS)]
    return [EMBEDDINGS[kind], *blocks, *(f"{blocks[1]}.{part}" for part in PARTS[kind])]


@pytest.mark.parametrize("kind", WRAPPED)
def test_effects_in_wrapped_models(kind):
    model = wrapped(kind)
    for hook in wrapped_hooks(kind):
        subject = subject_of(model, hook, architecture="topk")
        assert type(subject.site.capabilities.changes) is OwnCacheBackend
        assert_equals_whole_runs(subject, random_tokens())


@pytest.mark.parametrize("kind", ["gpt2", "neox", "gemma2"])
def test_effects_in_bridged_models(kind, tmp_path):
    model = bridge(kind, tmp_path)
    hooks = [f"blocks.1.{hook}" for hook in BRIDGED_HOOKS if f"blocks.1.{hook}" in model.hook_dict]
    for hook in [*hooks, "blocks.0.hook_resid_pre", f"blocks.{LAYERS - 1}.hook_resid_post", "hook_embed"]:
        subject = subject_of(model, hook, architecture="topk")
        assert type(subject.site.capabilities.changes) is OwnCacheBackend
        assert_equals_whole_runs(subject, random_tokens())


def own_cache_subjects(folder):
    yield subject_of(wrapped("gemma2"), "model.layers.1", architecture="topk")
    yield subject_of(bridge("gpt2", folder), "blocks.1.attn.hook_z", architecture="topk")


def test_own_caches_at_the_first_and_the_last_position(tmp_path):
    for subject in own_cache_subjects(tmp_path):
        for start in (0, 1, START + T - 1):
            assert_equals_whole_runs(subject, random_tokens(), start=start)


def test_own_caches_with_the_reconstruction_in_place(tmp_path):
    for subject in own_cache_subjects(tmp_path):
        x = subject.site.activations(subject.site.prefix(random_tokens()))
        assert_equals_whole_runs(subject, random_tokens(), reference=subject.dictionary.decode(subject.dictionary.encode(x), x))


def test_own_caches_at_a_single_head(tmp_path):
    subject = subject_of(bridge("gpt2", tmp_path), "blocks.1.attn.hook_z", d_in=8, head=2, architecture="topk")
    assert_equals_whole_runs(subject, random_tokens())


def test_own_caches_whose_batch_does_not_grow(tmp_path):
    """The slower way, for models that cannot take more rows from the hook than they gave it."""
    for subject in own_cache_subjects(tmp_path):
        simpler = subject.site.capabilities.changes.simpler()
        assert isinstance(simpler, OwnCacheBackend)
        assert simpler.simpler() is None
        assert_equals_whole_runs(through(subject, changes=simpler), random_tokens())


def test_a_batch_that_cannot_grow_falls_back_on_the_simpler_way_in_silence(monkeypatch, recwarn):
    model = wrapped("neox")
    original = OwnCacheBackend._outputs

    def refuse(self, onwards, rows, tokens, activation):
        if len(tokens) != len(activation):
            raise RuntimeError("sizes of tensors must match")
        return original(self, onwards, rows, tokens, activation)

    monkeypatch.setattr(OwnCacheBackend, "_outputs", refuse)
    subject = subject_of(model, "gpt_neox.layers.1", architecture="topk")
    assert type(subject.site.capabilities.changes) is OwnCacheBackend
    assert not any("ablation" in str(warning.message) for warning in recwarn)
    assert_equals_whole_runs(subject, random_tokens())


@pytest.mark.parametrize("kind", ["scaled logits", "head of another class"])
def test_logits_are_kept_where_it_is_not_known_how_they_come_about(kind):
    model = wrapped("llama")
    if kind == "scaled logits":
        model.model.register_forward_hook(lambda module, inputs, output: output.__setitem__("logits", output.logits * 0.5))
    else:
        model.model.lm_head = torch.nn.Sequential(model.model.lm_head, torch.nn.Tanh())
    subject = subject_of(model, "model.layers.1", architecture="topk")
    assert type(subject.site.capabilities.changes) is OwnCacheBackend
    assert not subject.site.capabilities.changes.unembeds
    assert_equals_whole_runs(subject, random_tokens())


def test_differences_of_capped_logits():
    subject = subject_of(wrapped("gemma2", torch.float32), "model.layers.1", architecture="topk")
    head = subject.site.model.model.lm_head
    a, b = torch.randn(2, 5, 3, D_MODEL, generator=torch.Generator().manual_seed(0))
    b[0] = a[0] + 1e-4 * b[0]
    b[1], a[1] = 1e6, -1e6  # beyond what single precision resolves
    exact = [CAP * (head.weight.double() @ x.double().unsqueeze(-1) / CAP).tanh().squeeze(-1) for x in (b, a)]
    found = subject.site.changes.logit_differences(b, a)
    assert found.isfinite().all()
    torch.testing.assert_close(found[0].double(), (exact[0] - exact[1])[0], rtol=1e-4, atol=1e-8)
    torch.testing.assert_close(found[2:].double(), (exact[0] - exact[1])[2:], rtol=1e-5, atol=1e-5)


def test_a_run_that_is_left_leaves_nothing_behind():
    """Recorders of hidden states, hooks and caches of the wrapped model work as before."""
    subject = subject_of(wrapped("llama"), "model.layers.1", architecture="topk")
    hf = subject.site.model.model
    before = [hf(random_tokens(), output_hidden_states=True), sum(len(module._forward_pre_hooks) for module in hf.modules())]
    measured(subject, random_tokens(), START, [(0, 1), (0, 2), (1, 3)])
    after = [hf(random_tokens(), output_hidden_states=True), sum(len(module._forward_pre_hooks) for module in hf.modules())]
    assert torch.equal(before[0].logits, after[0].logits)
    assert len(after[0].hidden_states) == LAYERS + 1
    assert before[1] == after[1]


# --- chunks and memory ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hook", ["blocks.1.hook_resid_post", "blocks.1.hook_mlp_out", "hook_embed"])
@pytest.mark.parametrize("memory", [1, 6 * 4096 * 4 * 2, 2**20], ids=["a token at a time", "a few tokens", "some changes"])
def test_small_chunks_give_what_large_ones_give(memory, hook, model, tokens):
    subject = Subject(model, training_sae("topk", hook=hook))
    short = tokens[:3, : START + T]
    chosen = chosen_latents(subject, subject.site.activations(subject.site.prefix(short))[:, START])
    whole = measured(subject, short, START, chosen, shown=3)
    parts = measured(subject, short, START, chosen, memory=memory, shown=3)
    for name in ("sparsity", "norm", "tokens_affected"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name), rtol=2e-5, atol=0)
    torch.testing.assert_close(parts.by, whole.by, rtol=1e-4, atol=1e-4)
    assert parts.tokens.shape == whole.tokens.shape == (len(chosen), 2, 3)


def test_no_changes_have_no_effects(model, tokens):
    subject = Subject(model, training_sae("topk"))
    onwards = subject.site.changes.onwards(subject.site.prefix(tokens[:2, :12]), 5)
    with Ablations(subject, subject.site.changes, MUCH) as effects_of:
        effects = effects_of(onwards, torch.zeros(0, dtype=torch.long), lambda part: torch.zeros(0, 1, subject.d_in))
    assert len(effects.sparsity) == 0


def test_effects_that_are_not_finite_are_refused(model, tokens):
    subject = Subject(model, training_sae("topk"))
    onwards = subject.site.changes.onwards(subject.site.prefix(tokens[:2, :12]), 5)
    changed = torch.full((2, 1, subject.d_in), torch.nan)
    with (
        Ablations(subject, subject.site.changes, MUCH) as effects_of,
        pytest.raises(ValueError, match="NaN or infinity"),
    ):
        effects_of(onwards, torch.arange(2), lambda part: changed[part])


class Peak(TorchDispatchMode):
    """The most bytes that tensors made inside take at once."""

    def __init__(self):
        super().__init__()
        self.live, self.most, self._known = 0, 0, set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)}
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and leaf.untyped_storage()._cdata not in given | self._known:
                self._add(leaf.untyped_storage())
        return result

    def _add(self, storage):
        size, key = storage.nbytes(), storage._cdata
        self._known.add(key)
        self.live += size
        self.most = max(self.most, self.live)
        weakref.finalize(storage, self._remove, key, size)

    def _remove(self, key, size):
        self._known.discard(key)
        self.live -= size


MANY = 50_000


def subject_of_many_tokens(way):
    if way in ("from the hook", "full runs"):
        shared = {"n_layers": 2, "d_model": D_MODEL, "n_heads": 2, "d_head": 16, "d_mlp": 64, "n_ctx": 32, "d_vocab": MANY}
        model = random_model(lambda: HookedTransformer(HookedTransformerConfig(**shared, act_fn="gelu_new")))
        return subject_of(model, "blocks.0.hook_resid_post" if way == "from the hook" else "hook_embed")
    make = Gemma2ForCausalLM if way == "own cache, soft cap" else LlamaForCausalLM
    config = Gemma2Config if way == "own cache, soft cap" else LlamaConfig
    more = {"head_dim": 8, "num_key_value_heads": 2}
    model = HookedProxyLM(random_model(lambda: make(config(**(SHARED | more | {"vocab_size": MANY})))), None)
    if way == "own cache, logits":
        model.model.lm_head = torch.nn.Sequential(model.model.lm_head)  # of which it is not known how logits come about
    subject = subject_of(model, "model.layers.1")
    assert subject.site.capabilities.changes.unembeds == (way != "own cache, logits")
    return subject


@pytest.mark.parametrize("way", ["from the hook", "full runs", "own cache", "own cache, soft cap", "own cache, logits"])
def test_the_limit_of_memory_is_kept_to(way, monkeypatch):
    limit = 64 * 2**20
    monkeypatch.setattr("sae_lens_metrics.metrics.ablation.effects._LOGITS_AT_ONCE", {"cpu": 2**30})  # so that the limit is what limits
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # what other threads hold is not seen
    subject = subject_of_many_tokens(way)
    chosen = [(0, latent) for latent in range(60)]
    with Peak() as peak:
        effects = measured(subject, random_tokens(MANY, rows=1), START, chosen, memory=limit, shown=2)
    assert len(effects.sparsity) == 60
    assert limit / 8 < peak.most < limit


# --- falling back --------------------------------------------------------------------------------------------------------------


def broken(how, original):
    def outputs(self, onwards, rows, change):
        if how == "raises":
            raise KeyError("past_key_values")
        found = original(self, onwards, rows, change)
        return found if change is None else found * 1.1

    return outputs


@pytest.mark.parametrize("how", ["is wrong", "raises"])
@pytest.mark.parametrize("backend", [FromHookBackend, OwnCacheBackend])
def test_a_way_that_is_broken_falls_back_with_a_warning(backend, how, double, monkeypatch):
    monkeypatch.setattr(backend, "outputs", broken(how, backend.outputs))
    model, hook = (double, "blocks.1.hook_resid_post") if backend is FromHookBackend else (wrapped("gpt2"), "transformer.h.1")
    with pytest.warns(UserWarning, match="past_key_values" if how == "raises" else "differ from a full run's") as caught:
        subject = subject_of(model, hook, d_in=128 if backend is FromHookBackend else D_MODEL, architecture="topk")
    assert sum("ablation makes full runs" in str(warning.message) for warning in caught) == 1
    assert type(subject.site.capabilities.changes) is FullRunBackend
    assert type(subject.site.capabilities.whole) is backend  # the rest goes on as it was
    assert_equals_whole_runs(subject, random_tokens())


@pytest.mark.parametrize("backend", [FromHookBackend, OwnCacheBackend])
def test_a_memory_that_is_broken_is_noticed(backend, model, monkeypatch):
    original = backend.onwards
    monkeypatch.setattr(backend, "onwards", lambda self, prefix, activation, start: original(self, prefix, activation * 1.1, start))
    own = backend is OwnCacheBackend
    model, hook = (wrapped("gemma2"), "model.layers.1") if own else (model, "blocks.1.hook_resid_post")
    with pytest.warns(UserWarning, match="ablation makes full runs"):
        subject_of(model, hook, d_in=D_MODEL if own else 128)


def test_arguments_of_the_models_forward_pass(tmp_path, double):
    model = bridge("gpt2", tmp_path)
    for more in ({"use_cache": False}, {"loss_per_token": False}):
        subject = Subject(model, training_sae("topk", hook="blocks.1.hook_resid_post", d_in=D_MODEL), model_kwargs=more)
        assert type(subject.site.capabilities.changes) is OwnCacheBackend
        assert_equals_whole_runs(subject, random_tokens())
    subject = Subject(double, training_sae("topk"), model_kwargs={"prepend_bos": False})
    assert type(subject.site.capabilities.changes) is FullRunBackend  # which needs no warning: the other way takes no arguments


# --- what is left as it was ----------------------------------------------------------------------------------------------------


def state_of(model):
    """Hooks of all kinds, modes of all modules, and the state of the global generator."""
    inner = [part for part in (model, getattr(model, "original_model", None)) if part is not None]
    modules = [module for part in inner for module in part.modules()]
    hooks = sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in modules)
    points = sum(len(point.fwd_hooks) for point in model.hook_dict.values())
    return hooks, points, [module.training for module in modules], torch.get_rng_state().tolist()


@pytest.mark.parametrize("kind", ["HookedTransformer", "full runs", "wrapped", "bridge"])
def test_nothing_is_left_behind(kind, model, tmp_path):
    subject = {
        "HookedTransformer": lambda: subject_of(model, "blocks.1.attn.hook_z", d_in=128),
        "full runs": lambda: subject_of(model, "hook_embed", d_in=128),
        "wrapped": lambda: subject_of(wrapped("gpt2", torch.float32), "transformer.h.1"),
        "bridge": lambda: subject_of(bridge("gpt2", tmp_path, torch.float32), "blocks.1.hook_out"),
    }[kind]()
    try:
        for training in (None, True, False):  # as it came, and otherwise
            subject.site.model.train(training) if training is not None else None
            before = state_of(subject.site.model)
            measured(subject, random_tokens(), START, [(0, 1), (0, 2), (1, 3)], shown=2)
            Subject(subject.site.model, subject.dictionary.sae)
            assert state_of(subject.site.model) == before
    finally:
        model.eval()


@pytest.mark.parametrize("hook", ["blocks.1.hook_resid_post", "blocks.1.hook_attn_out", "model.layers.1", "hook_embed"])
def test_what_is_remembered_is_not_changed(hook, model):
    own = hook.startswith("model")
    subject = subject_of(wrapped("gemma2", torch.float32) if own else model, hook, d_in=D_MODEL if own else 128)
    prefix = subject.site.prefix(random_tokens())
    onwards = subject.site.changes.onwards(prefix, START)
    before = prefix.activation.clone()
    rows = torch.tensor([0, 0, 0, 1, 1])
    change = torch.randn(5, 2, subject.d_in, generator=torch.Generator().manual_seed(0))
    first, unchanged = subject.site.changes.outputs(onwards, rows, change), subject.site.changes.outputs(onwards, torch.arange(2))
    assert torch.equal(subject.site.changes.outputs(onwards, rows, change), first)
    assert torch.equal(subject.site.changes.outputs(onwards, torch.arange(2)), unchanged)
    assert torch.equal(subject.site.changes.outputs(onwards, rows.flip(0), change.flip(0))[:1], first[-1:]) or own
    assert torch.equal(prefix.activation, before)
    differences = subject.site.changes.logit_differences(first, unchanged[rows])
    assert torch.equal(subject.site.changes.logit_differences(first, unchanged[rows]), differences)
    assert torch.equal(subject.site.changes.outputs(onwards, rows, change), first)


# --- rounding ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hook", ["blocks.1.hook_resid_post", "blocks.1.hook_mlp_out", "blocks.1.attn.hook_z"])
def test_in_single_precision_rounding_is_that_of_whole_runs(hook, model, double, tokens):
    short = tokens[:2, : START + T]
    subject = Subject(model, training_sae("topk", hook=hook))
    chosen = chosen_latents(subject, subject.site.activations(subject.site.prefix(short))[:, START])
    exact = brute_force(subject, double, short, START, chosen)
    whole = (brute_force(subject, model, short, START, chosen) / exact - 1).abs().max()
    fast = (measured(subject, short, START, chosen).sparsity / exact - 1).abs().max()
    assert fast < max(1e-5, 4 * whole)
    assert fast < 1e-4
