"""Every architecture that SAELens registers, in every kind of model: each number against slow references written out here.

The references know SAELens and hooks, and nothing of the package: they run whole sequences, loop over tokens, and compute in double
precision with an SAE that SAELens itself built. What is to be evaluated is read from SAELens's registry; the tables below say only how to
build a small one of each architecture. A test fails if the registry holds one that they do not know.
"""

import functools
import importlib
import itertools
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import n2g_oracle
import numpy as np
import pytest
import torch
from contexts import context_of
from sae_lens.load_model import HookedProxyLM
from sae_lens.registry import SAE_CLASS_REGISTRY, SAE_TRAINING_CLASS_REGISTRY, register_sae_class
from sae_lens.saes.sae import SAE, SAEMetadata
from sae_lens.saes.standard_sae import StandardSAE, StandardSAEConfig
from sae_lens.saes.transcoder import Transcoder, TranscoderConfig
from sae_lens.training.activation_scaler import ActivationScaler
from scipy.optimize import nnls
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from slow import slow_but
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sae_lens_metrics import Corpus, MetricsConfig, Subject
from sae_lens_metrics.errors import SubjectError, UnsupportedSAEError
from sae_lens_metrics.functional.ngram_building import build_explanation
from sae_lens_metrics.functional.ngrams import ABSENT
from sae_lens_metrics.functional.splitting import fit_half
from sae_lens_metrics.metrics.ablation.compute import places_to_ablate
from sae_lens_metrics.metrics.ablation.spec import AblationConfig
from sae_lens_metrics.metrics.explanation.simulation import Latents, Simulation, decode_sparse
from sae_lens_metrics.metrics.explanation.spec import ExplanationConfig
from sae_lens_metrics.metrics.n2g import building
from sae_lens_metrics.metrics.n2g.building import texts
from sae_lens_metrics.metrics.n2g.shared import explanations_of, texts_of
from sae_lens_metrics.metrics.n2g.spec import N2GConfig
from sae_lens_metrics.metrics.probe.spec import ProbeConfig
from sae_lens_metrics.metrics.probe.tasks import LoadedTasks, ProbeTask
from sae_lens_metrics.metrics.registry import get_metric
from sae_lens_metrics.metrics.sanity.compute import sanity
from sae_lens_metrics.subject.backends import FromHookBackend, OwnCacheBackend
from sae_lens_metrics.subject.inference_sae import inference_sae

# --- architectures -------------------------------------------------------------------------------------------------------------

D_SAE, VOCABULARY, CONTEXT, T = 32, 60, 16, 5
BOS = 0

REFUSED = {"temporal": ({"n_heads": 1, "bottleneck_factor": 1, "kval_topk": 4}, "does not encode single activations")}
"""Architectures that cannot be evaluated: settings, and what the user is told."""
TRANSCODER = {"d_out": None, "apply_b_dec_to_input": False}
INFERENCE = {
    "standard": {},
    "gated": {},
    "jumprelu": {},
    "topk": {"k": 5},
    "abstopk": {"k": 5},
    "matching_pursuit": {"max_iterations": 5},
    "transcoder": TRANSCODER,
    "skip_transcoder": TRANSCODER,
    "jumprelu_transcoder": TRANSCODER,
    "jumprelu_skip_transcoder": TRANSCODER,
}
"""Settings of those that SAELens loads; a width of ``None`` is that of the hook."""
TRAINING = {
    "standard": {"l1_coefficient": 1.0},
    "gated": {"l1_coefficient": 1.0},
    "jumprelu": {"l0_coefficient": 0.01},
    "topk": {"k": 5},
    "abstopk": {"k": 5},
    "batchtopk": {"k": 5},
    "matryoshka_batchtopk": {"k": 5, "matryoshka_widths": [8, D_SAE]},
    "matching_pursuit": {"max_iterations": 5},
}
"""Settings of those that SAELens trains; they are evaluated as the inference SAE that would be saved."""


def registered(registry):
    """SAELens's own architectures: other packages may have registered theirs."""
    return [name for name, (cls, _) in registry.items() if cls.__module__.startswith("sae_lens.")]


def test_every_architecture_of_saelens_is_known_here():
    for registry, table, name in ((SAE_CLASS_REGISTRY, INFERENCE, "INFERENCE"), (SAE_TRAINING_CLASS_REGISTRY, TRAINING, "TRAINING")):
        unknown = sorted(set(registered(registry)) - set(table) - set(REFUSED))
        assert not unknown, (
            f"SAELens has architectures that this suite does not know: {', '.join(unknown)}. Say in {name} how to build a small one; if "
            "they cannot be evaluated, say in REFUSED what the user is told. The README's line of what is supported must name them too."
        )


def test_the_readme_names_every_architecture_that_is_supported():
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8").lower()
    line = text[text.index("hookedtransformer, transformerbridge") :].split("\n\n")[0].replace(" ", "")
    for name in {*registered(SAE_CLASS_REGISTRY), *registered(SAE_TRAINING_CLASS_REGISTRY)}:
        said = "transcoder" if "transcoder" in name else name.replace("_batchtopk", "").replace("_", "")
        assert (said in line) or name in REFUSED, f"the README's line of what is supported does not name {name}"
    for name in REFUSED:
        assert name in line, f"the README does not say that {name} is refused"


# --- models --------------------------------------------------------------------------------------------------------------------

D_MODEL, HEADS, D_HEAD, D_MLP, LAYERS = 16, 2, 6, 24, 2


def save_tokenizer(folder):
    """Its words are the letter w and the number of the token."""
    words = Tokenizer(WordLevel({"<bos>": BOS} | {f"w{i}": i for i in range(1, VOCABULARY)}, unk_token="<bos>"))
    words.pre_tokenizer = WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<bos>", padding_side="right").save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


def randomised(model):
    """In double precision, with weights that are large enough for every layer to matter."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    return model.double().eval()


def _transformer(folder):
    shape = {"n_layers": LAYERS, "d_model": D_MODEL, "n_heads": HEADS, "d_head": D_HEAD, "d_mlp": D_MLP, "n_ctx": 2 * CONTEXT}
    cfg = HookedTransformerConfig(**shape, d_vocab=VOCABULARY, act_fn="gelu_new", use_hook_mlp_in=True)
    model = randomised(HookedTransformer(cfg))
    model.cfg.dtype = torch.float64
    model.tokenizer = save_tokenizer(folder)
    return model


def _bridge(folder):
    config = GPT2Config(n_embd=D_MODEL, n_layer=LAYERS, n_head=HEADS, n_positions=2 * CONTEXT, vocab_size=VOCABULARY, n_inner=D_MLP)
    config.save_pretrained(folder)
    hf = randomised(GPT2LMHeadModel(config))
    model = TransformerBridge.boot_transformers(folder, hf_model=hf, dtype=torch.float64, tokenizer=save_tokenizer(folder))
    model.set_use_hook_mlp_in(True)
    return model


def _proxy(folder):
    shape = {"hidden_size": D_MODEL, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": 1}
    shape |= {"intermediate_size": D_MLP, "max_position_embeddings": 2 * CONTEXT, "vocab_size": VOCABULARY}
    return HookedProxyLM(randomised(LlamaForCausalLM(LlamaConfig(**shape))), save_tokenizer(folder))


MODELS = {"HookedTransformer": _transformer, "TransformerBridge": _bridge, "HookedProxyLM": _proxy}


@functools.cache
def model_of(kind):
    with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        return MODELS[kind](folder)


@dataclass(frozen=True)
class Place:
    """Where an SAE or a transcoder sits."""

    hook: str
    head: int | None = None
    hook_out: str | None = None
    head_out: int | None = None


_BLOCKS = [
    Place("blocks.0.hook_resid_post"),
    Place("blocks.1.attn.hook_z"),
    Place("blocks.1.hook_mlp_out"),
    Place("blocks.1.attn.hook_z", head=1),
]
_ACROSS_BLOCKS = [
    Place("blocks.1.ln2.hook_normalized", hook_out="blocks.1.hook_mlp_out"),
    Place("blocks.0.mlp.hook_post", hook_out="blocks.1.hook_mlp_out"),
    Place("blocks.1.hook_mlp_in", hook_out="blocks.1.hook_mlp_out"),
    Place("blocks.0.attn.hook_z", head=0, hook_out="blocks.1.hook_resid_pre"),
    Place("blocks.0.hook_resid_pre", hook_out="blocks.1.attn.hook_z", head_out=1),
    Place("blocks.1.hook_resid_pre", hook_out="blocks.1.attn.hook_z"),
]
PLACES = {
    "HookedTransformer": _BLOCKS,
    "TransformerBridge": _BLOCKS,
    "HookedProxyLM": [Place("model.layers.0"), Place("model.layers.1.mlp"), Place("model.layers.1.self_attn")],
}
TRANSCODER_PLACES = {
    "HookedTransformer": _ACROSS_BLOCKS,
    "TransformerBridge": _ACROSS_BLOCKS,
    "HookedProxyLM": [
        Place("model.layers.1.post_attention_layernorm", hook_out="model.layers.1.mlp"),
        Place("model.layers.0.mlp.up_proj", hook_out="model.layers.1.mlp"),
        Place("model.layers.0", hook_out="model.layers.1.self_attn"),
    ],
}

# --- what is combined with what ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """An architecture, loaded or trained, in a model, with a normalisation, at a place."""

    architecture: str
    trained: bool
    model: str
    normalize: str
    place: Place

    def __str__(self):
        how = "trained" if self.trained else "loaded"
        return f"{self.architecture}-{how}-{self.model}-{self.normalize}-{self.place.hook}"


STATEFUL = ["none", "layer_norm", "constant_norm_rescale"]
FOLDED = ["expected_average_only_in", "covariance_whitening"]


def _kinds():
    """Every architecture that is evaluated, loaded and trained."""
    for registry, table, trained in ((SAE_CLASS_REGISTRY, INFERENCE, False), (SAE_TRAINING_CLASS_REGISTRY, TRAINING, True)):
        for name in registered(registry):
            if name in table:
                yield name, trained


def _normalisations(name, trained):
    if not trained:
        return STATEFUL
    return STATEFUL + (FOLDED[:1] if name == "matching_pursuit" else FOLDED)  # SAELens cannot whiten what matching pursuit reads


def _places(name, model):
    return (TRANSCODER_PLACES if "transcoder" in name else PLACES)[model]


def _everything():
    """Every architecture with every normalisation in every model, and at every place of the model in turn."""
    turn = itertools.count()
    for name, trained in _kinds():
        for normalize, model in itertools.product(_normalisations(name, trained), MODELS):
            places = _places(name, model)
            yield Case(name, trained, model, normalize, places[next(turn) // len(MODELS) % len(places)])


def _covering():
    """Every architecture in every model and with every normalisation at least once, not each pair of them."""
    turn = itertools.count()
    for i, (name, trained) in enumerate(_kinds()):
        normalisations, models = _normalisations(name, trained), list(MODELS)
        for j in range(max(len(normalisations), len(models))):
            model = models[j % len(models)]
            places = _places(name, model)
            yield Case(name, trained, model, normalisations[(i + j) % len(normalisations)], places[next(turn) // len(models) % len(places)])


EVERYTHING, COVERING = list(_everything()), list(_covering())
everything = pytest.mark.parametrize("case", EVERYTHING, ids=str)
FIRST = {(case.architecture, case.trained): case for case in reversed(COVERING)}.values()
covering = pytest.mark.parametrize("case", slow_but(COVERING, lambda case: case in FIRST), ids=str)


def test_the_covering_set_covers():
    for name, trained in _kinds():
        cases = [case for case in COVERING if (case.architecture, case.trained) == (name, trained)]
        assert {case.model for case in cases} == set(MODELS)
        assert {case.normalize for case in cases} == set(_normalisations(name, trained))
    for model in MODELS:
        assert {case.place for case in EVERYTHING if case.model == model} == {*PLACES[model], *TRANSCODER_PLACES[model]}
        assert {case.place for case in COVERING if case.model == model} >= {*PLACES[model]}


# --- building ------------------------------------------------------------------------------------------------------------------


def captured(model, tokens, hook, head=None):
    """The activation at a hook in a run of the whole model, heads flattened or one of them; double."""
    seen = []
    with torch.no_grad():
        model.run_with_hooks(tokens, return_type="logits", fwd_hooks=[(hook, lambda activation, hook: seen.append(activation.clone()))])
    return (seen[0] if head is None else seen[0][:, :, head]).flatten(2)


@functools.cache
def example_tokens():
    """Sequences of few different words, with ends of documents inside."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, 12, (10, CONTEXT), generator=generator)
    tokens[:, 0] = BOS
    tokens[1, 7] = tokens[6, 4] = tokens[8, 10] = BOS
    return tokens


def metadata_of(case):
    place = case.place
    named = {"hook_name": place.hook, "hook_head_index": place.head, "context_size": CONTEXT, "prepend_bos": True, "model_name": "tiny"}
    return SAEMetadata(**named, hook_name_out=place.hook_out, hook_head_index_out=place.head_out)


def randomise(sae, x):
    """Random weights with which every latent fires on about a quarter of some activations."""
    with torch.no_grad():
        for name, parameter in sae.named_parameters():
            if "threshold" not in name:
                parameter.copy_(torch.randn_like(parameter) * (0.3 if parameter.ndim > 1 else 0.1))
        if hasattr(sae, "threshold") and not hasattr(sae, "log_threshold"):
            sae.threshold.copy_(torch.rand(D_SAE) * 0.3)
        if hasattr(sae, "topk_threshold"):
            sae.topk_threshold.fill_(0.05)
        if "matching" in sae.cfg.architecture():  # which goes astray if its steps are too long
            sae.W_dec.div_(sae.W_dec.norm(dim=1, keepdim=True))
            sae.b_dec.add_(sae.process_sae_in(x).mean(0))
            return
        given = sae.process_sae_in(x)
        sae.W_enc.div_((given @ sae.W_enc).std(0))
        for name in ("b_enc", "b_gate"):
            if isinstance(getattr(sae, name, None), torch.Tensor):
                # not the quantile itself: several tokens may share it, and would be exactly at the threshold
                getattr(sae, name).copy_(-(given @ sae.W_enc).quantile(0.75, dim=0) - 0.01)


@dataclass(frozen=True)
class Built:
    """A subject, and the means to know better."""

    subject: Subject
    plain: "Plain"


def build(case):
    """The subject as a user would make it, and a reference around an SAE that SAELens itself built."""
    model, place = model_of(case.model), case.place
    tokens = example_tokens()
    x = captured(model, tokens, place.hook, place.head)[:, 1:].flatten(0, 1).float()
    d_out = x.shape[1] if place.hook_out is None else captured(model, tokens, place.hook_out, place.head_out).shape[2]
    with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(zlib.crc32(str(case).encode()))
        cls, config = (SAE_TRAINING_CLASS_REGISTRY if case.trained else SAE_CLASS_REGISTRY)[case.architecture]
        options = (TRAINING if case.trained else INFERENCE).get(case.architecture, {})
        options = {name: d_out if value is None else value for name, value in options.items()}
        sae = cls(config(d_in=x.shape[1], d_sae=D_SAE, normalize_activations=case.normalize, metadata=metadata_of(case), **options))
        scaler = ActivationScaler()
        if case.normalize == "expected_average_only_in":
            scaler.estimate_scaling_factor(x.shape[1], iter([x]), 1)
        if case.normalize == "covariance_whitening":
            scaler.estimate_whitening(x.shape[1], iter([x]), 1)
        randomise(sae, scaler.scale(x) if case.normalize in FOLDED else x)
        ours = inference_sae(sae, scaler) if case.normalize in FOLDED else sae
        subject = Subject(model, ours)
        if scaler.scaling_factor is not None:
            sae.fold_activation_norm_scaling_factor(scaler.scaling_factor)
        if scaler.whitening is not None:
            sae.fold_activation_whitening(scaler.whitening.mean, scaler.whitening.matrix, scaler.whitening.inverse_matrix)
        (sae.save_inference_model if case.trained else sae.save_model)(folder)
        theirs = SAE.load_from_disk(folder).to(dtype=torch.float64).eval()
    return Built(subject, Plain(model, theirs, place))


built = functools.lru_cache(maxsize=None)(build)


# --- slow references -----------------------------------------------------------------------------------------------------------


class Plain:
    """Single activations and whole runs, with SAELens's SAE and the model's hooks alone."""

    def __init__(self, model, sae, place):
        self.model, self.sae, self.known = model, sae, {}
        self.hook, self.head = place.hook, place.head
        self.hook_out, self.head_out = (place.hook_out or place.hook), (place.head_out if place.hook_out else place.head)

    def x(self, row):
        return captured(self.model, row[None], self.hook, self.head)[0]

    def y(self, row):
        return captured(self.model, row[None], self.hook_out, self.head_out)[0]

    @torch.no_grad()
    def encode(self, x):
        return self.sae.encode(x[None])[0]

    @torch.no_grad()
    def decode(self, z, x):
        """What SAELens would give if these were the latents of x."""
        past_latents = self.sae(x[None]) - self.sae.decode(self.sae.encode(x[None]))
        self.sae.encode(x[None])  # sets the normalisation that decode undoes, and forgets
        return (self.sae.decode(z[None]) + past_latents)[0]

    @torch.no_grad()
    def reconstruction(self, x):
        return self.sae(x[None])[0]

    def added(self, z, x, latent):
        """What a latent adds, by decoding with and without it."""
        fewer = z.clone()
        fewer[latent] = 0
        return self.decode(z, x) - self.decode(fewer, x)

    @torch.no_grad()
    def read_by_a_probe(self, x):
        """Pre-activations, or latents where the architecture has none."""
        seen = []
        handle = self.sae.hook_sae_acts_pre.register_forward_hook(lambda module, args, output: seen.append(output.clone()))
        z = self.sae.encode(x[None])
        handle.remove()
        return (seen[0] if seen else z)[0]

    @torch.no_grad()
    def normalised(self, x):
        """What the encoder reads, before ``b_dec`` is taken off."""
        if self.sae.cfg.normalize_activations == "layer_norm":
            return (x - x.mean()) / (x.std() + 1e-5)
        if self.sae.cfg.normalize_activations == "constant_norm_rescale":
            return x * len(x) ** 0.5 / x.norm()
        return x

    def scale(self, x):
        """What decoding multiplies a sum of decoder rows by; a transcoder undoes no normalisation."""
        kind = "none" if "transcoder" in str(self.sae.cfg.architecture()) else self.sae.cfg.normalize_activations
        if kind == "layer_norm":
            return x.std() + 1e-5
        return x.norm() / len(x) ** 0.5 if kind == "constant_norm_rescale" else torch.tensor(1.0).double()

    def of_nothing(self, x):
        """What no latent at all decodes to."""
        return self.decode(torch.zeros(D_SAE).double(), x)

    def lengths(self, x):
        """How long what one unit of each latent adds is, before normalisation is undone."""
        nothing = self.of_nothing(x)
        return torch.stack([(self.decode(unit, x) - nothing).norm() for unit in torch.eye(D_SAE).double()]) / self.scale(x)

    def trained(self, y, x):
        """The activation as the SAE was trained on it, but for a constant."""
        return y if "transcoder" in str(self.sae.cfg.architecture()) else (y - self.of_nothing(x)) / self.scale(x)

    def logits(self, row, y=None, where=None):
        """Of a run of the whole model on one sequence, with another activation at some positions of the output."""

        def put(activation, hook):
            activation = activation.clone().contiguous()
            for position in range(len(row)):
                if y is not None and (where is None or where[position]):
                    target = activation[0, position] if self.head_out is None else activation[0, position, self.head_out]
                    target.copy_(y[position].view(target.shape))
            return activation

        with torch.no_grad():
            return self.model.run_with_hooks(row[None], return_type="logits", fwd_hooks=[(self.hook_out, put)])[0]

    def loss(self, row, y=None, where=None):
        """Sum over the predictions that count."""
        losses = -self.logits(row, y, where).log_softmax(-1)[:-1].gather(1, row[1:, None])[:, 0]
        return float(losses[row[:-1] != BOS].sum())


def counted(tokens):
    return tokens != BOS


def over_text(plain, tokens):
    """For every sequence the activations, the latents and the reconstructions of its tokens, one by one."""
    for row in tokens:
        known = plain.known.get(tuple(row.tolist()))
        if known is None:
            x = plain.x(row)
            known = (
                x,
                plain.y(row),
                torch.stack([plain.encode(each) for each in x]),
                torch.stack([plain.reconstruction(each) for each in x]),
            )
            plain.known[tuple(row.tolist())] = known
        yield row, *known


def agrees(name, ours, theirs, rel=1e-5, absolute=1e-6):
    assert ours == pytest.approx(theirs, rel=rel, abs=absolute), name


def assert_estimates(estimates, expected, rel=1e-5, absolute=1e-6):
    for name, value in expected.items():
        agrees(name, estimates[name].value, float(value), rel, absolute)


def corpus_of(rows):
    return Corpus.from_tokens(example_tokens()[:rows])


def generator():
    return torch.Generator().manual_seed(7)


# --- encode and decode ---------------------------------------------------------------------------------------------------------


@everything
def test_latents_and_reconstructions_are_saelenss_own(case):
    case_built = built(case)
    subject, plain = case_built.subject, case_built.plain
    tokens = example_tokens()[1:2]
    prefix = subject.site.prefix(tokens)
    x, y = subject.site.activations(prefix), subject.site.targets(prefix)
    z = subject.dictionary.encode(x)
    decoded = subject.dictionary.decode(z, x)
    scale, offset = subject.dictionary.scale_and_offset(x)
    latents = torch.arange(D_SAE).expand(*x.shape[:2], D_SAE)
    directions = subject.dictionary.latent_directions(x, latents)
    assert (subject.d_in, subject.d_out, subject.d_sae) == (x.shape[-1], y.shape[-1], D_SAE)
    assert subject.is_transcoder == (case.place.hook_out is not None)
    assert 0 < (z != 0).sum(-1).float().mean() < D_SAE / 2
    for i, row in enumerate(tokens):
        torch.testing.assert_close(x[i].double(), plain.x(row), rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(y[i].double(), plain.y(row), rtol=1e-6, atol=1e-6)
        for position in range(1, CONTEXT, 5):
            own = plain.x(row)[position]
            expected = plain.encode(own)
            assert torch.equal(z[i, position] != 0, expected != 0)
            torch.testing.assert_close(z[i, position].double(), expected, rtol=1e-4, atol=1e-5)
            recon = plain.reconstruction(own)
            torch.testing.assert_close(decoded[i, position].double(), recon, rtol=1e-4, atol=1e-5)
            affine = scale[i, position] * (z[i, position] @ subject.dictionary.decoder) + offset[i, position]
            torch.testing.assert_close(affine.double(), recon, rtol=1e-4, atol=1e-5)
            nothing = plain.decode(torch.zeros_like(expected), own)
            torch.testing.assert_close(offset[i, position].double(), nothing, rtol=1e-4, atol=1e-5)
            for latent in range(3, D_SAE, 13):
                one = plain.decode(torch.eye(D_SAE).double()[latent], own) - nothing
                torch.testing.assert_close(directions[i, position, latent].double(), one, rtol=1e-4, atol=1e-5)
    assert not any(hasattr(subject.dictionary.sae, name) for name in ("ln_mu", "ln_std", "x_norm_coeff"))


@covering
def test_sparse_latents_decode_as_dense_ones(case):
    subject = built(case).subject
    x = subject.site.activations(subject.site.prefix(example_tokens()[:2])).flatten(0, 1)
    z = subject.dictionary.encode(x)
    torch.testing.assert_close(decode_sparse(subject, sparse(z), x), subject.dictionary.decode(z, x), rtol=1e-4, atol=1e-5)


def sparse(z):
    row, latent = z.nonzero(as_tuple=True)
    return Latents(row, latent, z[row, latent])


@covering
def test_no_fast_way_is_given_up(case):
    """A subject that runs the whole model for every question would pass all other tests here."""
    subject = built(case).subject
    found = subject.site.capabilities
    if case.model == "HookedTransformer":
        assert {type(each) for each in (found.whole, found.reading, found.changes, found.short_runs)} == {FromHookBackend}
    else:
        assert type(found.changes) is OwnCacheBackend


# --- sanity --------------------------------------------------------------------------------------------------------------------


@covering
def test_sanity(case):
    case_built = built(case)
    corpus = corpus_of(4)
    ours = sanity(context_of("sanity", case_built.subject, corpus, MetricsConfig(batch_size=3))).estimates
    plain = case_built.plain
    targets, errors, active = [], 0.0, []
    losses, divergence = dict.fromkeys(("clean", "reconstructed", "zeroed"), 0.0), 0.0
    for row, _, y, z, recon in over_text(plain, corpus.tokens):
        there = counted(row)
        targets.append(y[there])
        active.append(z[there] != 0)
        errors += (y - recon)[there].square().sum()
        losses["clean"] += plain.loss(row)
        losses["reconstructed"] += plain.loss(row, recon, there)
        losses["zeroed"] += plain.loss(row, torch.zeros_like(y))
        clean, changed = plain.logits(row).log_softmax(-1), plain.logits(row, recon, there).log_softmax(-1)
        divergence += float((clean.exp() * (clean - changed)).sum(-1)[there].sum())
    y, fires = torch.cat(targets), torch.cat(active)
    predictions = int(counted(corpus.tokens[:, :-1]).sum())
    expected = {f"ce_{name}": loss / predictions for name, loss in losses.items()}
    expected["kl_divergence"] = divergence / len(fires)
    expected["l0"] = fires.double().sum(1).mean()
    expected["dead_latents"] = 1 - fires.any(0).double().mean()
    expected["explained_variance"] = 1 - errors / (y - y.mean(0)).square().sum()
    recovered = (losses["zeroed"] - losses["reconstructed"]) / (losses["zeroed"] - losses["clean"])
    assert_estimates(ours, expected)
    agrees("loss_recovered", ours["loss_recovered"].value, recovered, rel=1e-3, absolute=1e-4)


# --- shrinkage -----------------------------------------------------------------------------------------------------------------


def refined(plain, z, x, y):
    """The best values of the active latents, no sign changed, by SciPy; none where more are active than there are dimensions."""
    active = z.nonzero()[:, 0].tolist()
    if not 0 < len(active) <= len(y):
        return None
    units = [plain.decode(torch.eye(D_SAE).double()[latent] * z[latent].sign(), x) for latent in active]
    nothing = plain.decode(torch.zeros_like(z), x)
    best, _ = nnls(np.stack([(unit - nothing).numpy() for unit in units], 1), (y - nothing).numpy())
    found = torch.zeros_like(z)
    found[active] = torch.tensor(best) * z[active].sign()
    return found


@covering
def test_shrinkage(case):
    case_built = built(case)
    corpus = corpus_of(3)
    ours = get_metric("shrinkage")(context_of("shrinkage", case_built.subject, corpus, MetricsConfig(batch_size=2), 7)).estimates
    plain = case_built.plain
    targets, before, after = [], [], []
    errors = {"mse_raw": 0.0, "mse_refined": 0.0, "mse_raw_activation": 0.0, "mse_refined_activation": 0.0}
    trained = []
    norm = overlap = lost = too_many = 0.0
    for row, x, y, z, recon in over_text(plain, corpus.tokens):
        best_recon, there = recon.clone(), counted(row)
        for position in there.nonzero()[:, 0].tolist():
            best = refined(plain, z[position], x[position], y[position])
            too_many += int((z[position] != 0).sum()) > len(y[position])
            if best is not None:
                best_recon[position] = plain.decode(best, x[position])
                before.append(z[position])
                after.append(best)
        targets.append(y[there])
        scales = torch.stack([plain.scale(each) for each in x])[:, None]
        trained += [plain.trained(y[position], x[position]) for position in there.nonzero()[:, 0].tolist()]
        for name, reconstruction in (("raw", recon), ("refined", best_recon)):
            errors[f"mse_{name}_activation"] += (y - reconstruction)[there].square().sum()
            errors[f"mse_{name}"] += ((y - reconstruction) / scales)[there].square().sum()
        norm += recon[there].square().sum()
        overlap += (recon * y)[there].sum()
        lost += plain.loss(row, best_recon, there)
    y, raw, best = torch.cat(targets), torch.stack(before), torch.stack(after)
    lengths = plain.lengths(x[-1])
    change = ((best.abs() - raw.abs()) * lengths)[raw != 0]
    spreads = {name: (each - each.mean(0)).square().sum() for name, each in (("_activation", y), ("", torch.stack(trained)))}
    expected = {name: error / spreads["_activation" if "activation" in name else ""] for name, error in errors.items()} | {
        "ratio": (best.abs() * lengths).sum() / (raw.abs() * lengths).sum(),
        "ratio_mean": (best / raw)[raw != 0].mean(),
        "gamma": norm / overlap,
        "change_mean": change.mean(),
        "change_sd": change.std(correction=0),
        "ce_refined": lost / int(counted(corpus.tokens[:, :-1]).sum()),
        "not_refined": too_many / len(y),
    }
    assert_estimates(ours, expected, rel=2e-4, absolute=1e-5)
    assert ours["kkt_residual"].value < 1e-4


# --- ablation ------------------------------------------------------------------------------------------------------------------


def plain_sparsity(differences):
    """(L1 / L2)² / (V·T) around each token's lower median."""
    d = differences - differences.median(-1, keepdim=True).values
    return float(d.abs().sum() ** 2 / d.square().sum() / d.numel())


@pytest.mark.parametrize(
    ("case", "reference"), [(case, ("activation", "reconstruction")[i % 2]) for i, case in enumerate(COVERING)], ids=str
)
def test_ablation(case, reference):
    case_built = built(case)
    plain, corpus = case_built.plain, corpus_of(4)
    options = AblationConfig(tokens=T, sequences=4, positions=2, latents=None, baselines=2, reference=reference)
    config = MetricsConfig(batch_size=3, memory_gb=0.5, ablation=options)
    result = get_metric("ablation")(context_of("ablation", case_built.subject, corpus, config, 7))
    columns = places_to_ablate(case_built.subject, corpus, options, generator())[1].tolist()
    assert max(columns) > 0
    means, by_latent = [], {}
    for (row, x, y, z, recon), column in zip(over_text(plain, corpus.tokens), columns, strict=True):
        if column < 0:
            continue
        base = torch.where(counted(row)[:, None], recon, y) if reference == "reconstruction" else y
        clean, found = plain.logits(row, base), []
        for latent in z[column].nonzero()[:, 0].tolist():
            changed = base.clone()
            changed[column] -= plain.added(z[column], x[column], latent)
            differences = (plain.logits(row, changed) - clean)[column : column + T]
            if bool((differences != 0).any()):
                found.append(plain_sparsity(differences))
                by_latent.setdefault(latent, []).append(found[-1])
        means += [sum(found) / len(found)] if found else []
    agrees("ablation sparsity", result.estimates["sparsity"].value, sum(means) / len(means), rel=2e-4)
    rows = result.tables["latents"]
    assert [row["latent"] for row in rows] == sorted(by_latent)
    for row in rows:
        values = by_latent[row["latent"]]
        assert row["ablations"] == len(values)
        # of a latent that is hardly above zero, or a change that the model's norms nearly undo, single precision keeps few digits
        agrees("a latent's sparsity", row["sparsity"], sum(values) / len(values), rel=2e-3)


# --- probes --------------------------------------------------------------------------------------------------------------------


@functools.cache
def example_task():
    """Labels that no candidate knows, so that no probe is infinitely steep."""
    generator = np.random.default_rng(5)
    texts = [" ".join(f"w{i}" for i in generator.integers(1, 40, generator.integers(3, 9))) for _ in range(48)]
    return ProbeTask("own", "own", "of this test", tuple(texts), tuple(bool(i % 2) for i in range(48)))


def plain_probe_losses(values, y):
    """The loss of the best probe on each column, by scikit-learn."""
    losses = []
    for column in values.T:
        if np.ptp(column) == 0:
            losses.append(np.log(2))
            continue
        scaled = (column[:, None] - column.mean()) / column.std()
        fitted = LogisticRegression(C=np.inf, tol=1e-8, max_iter=500).fit(scaled, y)
        losses.append(log_loss(y, fitted.predict_proba(scaled)))
    return np.array(losses)


POOLED = {"last": lambda values: values[-1], "mean": lambda values: values[1:].mean(0), "max": lambda values: values[1:].amax(0)}
probe_module = importlib.import_module("sae_lens_metrics.metrics.probe.compute")  # the package has the metric under the module's name


POOLINGS = [(case, [*POOLED][i % 3]) for i, case in enumerate(COVERING)]


@pytest.mark.parametrize(("case", "pooling"), slow_but(POOLINGS, lambda both: both[0] in [*FIRST][::3]), ids=str)
def test_probe(case, pooling, monkeypatch):
    case_built, task = built(case), example_task()
    plain, subject = case_built.plain, case_built.subject
    monkeypatch.setattr(probe_module, "load_tasks", lambda *_, **__: LoadedTasks([task], {}))
    config = MetricsConfig(batch_size=20, probe=ProbeConfig(pooling=pooling))
    result = get_metric("probe")(context_of("probe", subject, None, config, 7))
    (row,) = result.tables["tasks"]
    y = torch.tensor(task.labels)
    fit = fit_half(y, None, torch.Generator().manual_seed(7 ^ zlib.crc32(b"own"))).numpy()
    latents, channels = [], []
    for text in itertools.compress(task.texts, fit):
        x = plain.x(torch.tensor([BOS, *(int(word[1:]) for word in text.split())]))
        latents.append(POOLED[pooling](torch.stack([plain.read_by_a_probe(each) for each in x])).numpy())
        channels.append(POOLED[pooling](torch.stack([plain.normalised(each) for each in x])).numpy())
    assert len(channels[0]) == subject.d_in  # what is read, also where a transcoder writes something else
    for kind, values, index in (("", latents, "latent"), ("channels_", channels, "channels_index")):
        losses = plain_probe_losses(np.stack(values), y.numpy()[fit])
        agrees(f"probe {kind}loss", row[f"{kind}loss"], losses.min(), rel=1e-4)
        agrees(f"probe {kind}index", losses[row[index]], losses.min(), rel=1e-4)
    says_so = any("the latents themselves" in note for note in result.notes)
    assert says_so == (not subject.dictionary.capabilities.has_pre_activations) == (case.architecture == "matching_pursuit")


# --- N2G -----------------------------------------------------------------------------------------------------------------------

NEAR = 1e-4  # a comparison this near to its threshold may turn out otherwise in single precision


def written(examples):
    """The examples by latent, as (tokens in the order of the text, activation)."""
    found = {}
    for latent, row, value in zip(examples.latent.tolist(), examples.tokens.tolist(), examples.activation.tolist(), strict=True):
        found.setdefault(latent, []).append(([token for token in reversed(row) if token != ABSENT], value))
    return found


def plain_activate(plain, latent, known):
    """What N2G asks: whole runs of the model on rows behind BOS."""

    def activate(rows):
        new = [row for row in rows if tuple(row) not in known]
        if new:
            last = captured(plain.model, torch.tensor([[BOS, *row] for row in new]), plain.hook, plain.head)[:, -1]
            known.update({tuple(row): plain.encode(x) for row, x in zip(new, last, strict=True)})
        return [float(known[tuple(row)][latent]) for row in rows]

    return activate


def documents(row):
    """Where the tokens of each document of a sequence are."""
    ends = [i for i, token in enumerate(row.tolist()) if token == BOS] + [len(row)]
    return [range(start + 1, stop) for start, stop in itertools.pairwise(ends)]


def predicted_positions(ngrams, tokens):
    """Positions, counted through all sequences, where an explanation says that its latent fires."""
    trie, found = {}, set()
    for ngram in ngrams:
        n2g_oracle.insert(trie, ngram.tokens, ngram.at_start, ngram.value)
    for i, row in enumerate(tokens):
        for places in documents(row):
            predictions = n2g_oracle.predict(trie, [int(row[place]) for place in places])
            found |= {i * len(row) + place for place, value in zip(places, predictions, strict=True) if value != 0}
    return found


def firing_positions(plain, tokens, latents):
    """Positions where each of some latents fires."""
    z = torch.stack([z * counted(row)[:, None] for row, _, _, z, _ in over_text(plain, tokens)]).flatten(0, 1)
    return {latent: set(z[:, latent].nonzero()[:, 0].tolist()) for latent in latents}


@covering
def test_n2g(case, monkeypatch):
    case_built = built(case)
    plain, subject, corpus = case_built.plain, case_built.subject, corpus_of(10)
    seen = []
    original = building.build_patterns
    monkeypatch.setattr(building, "build_patterns", lambda run, asked, **options: seen.append(asked) or original(run, asked, **options))
    config = MetricsConfig(batch_size=4, seed=3, n2g=N2GConfig(latents=8, examples=3, max_length=3, pad_token=40))
    context = context_of("n2g", subject, corpus, config, 7)
    result = get_metric("n2g")(context)
    (text, scoring), explained = context.once(texts_of), context.once(explanations_of)
    assert (len(text), len(scoring)) == (5, 5)

    known, same, examples = {}, 0, written(seen[0])
    assert len(seen) <= 2  # some once more, for their errors
    assert set(explained.ngrams) <= set(examples)
    for latent, of_latent in examples.items():
        activate = plain_activate(plain, latent, known)
        theirs = {(n.tokens, n.at_start): n.value for n in build_explanation(activate, of_latent, pad_token=40)}
        ours = {(n.tokens, n.at_start): n.value for n in explained.ngrams.get(latent, [])}
        if ours == pytest.approx(theirs, rel=1e-3, abs=1e-5):
            same += 1
        else:
            assert n2g_oracle.build(activate, of_latent, 40)[1] < NEAR, latent
    assert same >= 0.7 * len(examples)

    fired_in_text = firing_positions(plain, text.tokens, explained.latents.tolist())
    fired = firing_positions(plain, scoring.tokens, explained.latents.tolist())
    assert explained.activations.tolist() == [len(fired_in_text[latent]) for latent in explained.latents.tolist()]
    precision, recall, f1 = [], [], []
    for latent, held_out in zip(explained.latents.tolist(), explained.held_out.tolist(), strict=True):
        ngrams = explained.ngrams.get(latent)
        held_out = {position for position in held_out if position >= 0}
        assert held_out <= fired_in_text[latent]
        if not ngrams:
            continue
        predicted = predicted_positions(ngrams, scoring.tokens)
        recall.append(len(held_out & predicted_positions(ngrams, text.tokens)) / len(held_out))
        if predicted:
            precision.append(len(predicted & fired[latent]) / len(predicted))
        of_both = (precision[-1], recall[-1]) if predicted else (0, 0)
        f1.append(2 * of_both[0] * of_both[1] / (sum(of_both) or 1))
    for name, values in (("precision", precision), ("recall", recall), ("f1", f1)):
        assert values, "no latent has an explanation"
        agrees(f"n2g {name}", result.estimates[name].value, sum(values) / len(values), rel=1e-9)


# --- explanation reconstruction ------------------------------------------------------------------------------------------------


@covering
def test_explanation_reconstruction(case, monkeypatch):
    """With the true latents in the place of simulated ones, what is put into the model is known."""
    case_built = built(case)
    plain, subject, corpus = case_built.plain, case_built.subject, corpus_of(8)
    monkeypatch.setattr(Simulation, "simulate", lambda self, batch: sparse(subject.dictionary.encode(batch.x)))
    n2g = N2GConfig(examples=1, max_length=2, pad_token=40)
    config = MetricsConfig(batch_size=4, n2g=n2g, explanation=ExplanationConfig(min_f1=0))
    ours = get_metric("explanation")(context_of("explanation", subject, corpus, config, 7)).estimates
    text, scoring = texts(subject, corpus, config)

    by_token, everywhere = {}, []
    for row in text.tokens:
        for token, x, y in zip(row.tolist(), plain.x(row), plain.y(row), strict=True):
            if token != BOS:
                own = (y - plain.of_nothing(x)) / plain.scale(x)  # without what decoding adds to each token by itself
                by_token.setdefault(token, []).append(own)
                everywhere.append(own)
    mean = torch.stack(everywhere).mean(0)
    means = {token: torch.stack(of_token).mean(0) for token, of_token in by_token.items()}
    losses, errors, targets = {}, 0.0, []
    for row, x, y, _, recon in over_text(plain, scoring.tokens):
        there = counted(row)
        placed = {
            "explanation": recon,
            "reconstruction": recon,
            "explained_latents": recon,
            "bias": torch.stack([plain.of_nothing(each) for each in x]),
            "mean": torch.stack([plain.scale(each) * mean + plain.of_nothing(each) for each in x]),
            "unigram": torch.stack(
                [plain.scale(each) * means.get(token, mean) + plain.of_nothing(each) for token, each in zip(row.tolist(), x, strict=True)]
            ),
        }
        for name, values in placed.items():
            losses[name] = losses.get(name, 0.0) + plain.loss(row, values, there)
        losses["clean"] = losses.get("clean", 0.0) + plain.loss(row)
        losses["zeroed"] = losses.get("zeroed", 0.0) + plain.loss(row, torch.zeros_like(y))
        targets.append(y[there])
        errors += (y - recon)[there].square().sum()
    y = torch.cat(targets)
    predictions = int(counted(scoring.tokens[:, :-1]).sum())
    expected = {f"ce_{name}": loss / predictions for name, loss in losses.items()}
    assert_estimates(ours, expected | {"mse": errors / (y - y.mean(0)).square().sum()})


# --- what is refused -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("architecture", [name for name in registered(SAE_CLASS_REGISTRY) if name in REFUSED])
def test_what_cannot_be_evaluated_is_refused_in_one_sentence(architecture, kind):
    cls, config = SAE_CLASS_REGISTRY[architecture]
    place = PLACES[kind][0]
    options, reason = REFUSED[architecture]
    sae = cls(config(d_in=D_MODEL, d_sae=D_SAE, metadata=SAEMetadata(hook_name=place.hook, prepend_bos=True), **options))
    with pytest.raises(UnsupportedSAEError, match=reason) as error:
        Subject(model_of(kind), sae)
    assert architecture in str(error.value)
    assert str(error.value).endswith("not supported yet")
    assert "\n" not in str(error.value)


# --- architectures of other packages -------------------------------------------------------------------------------------------


@dataclass
class OthersConfig(StandardSAEConfig):
    """A standard SAE with a gain for each latent."""

    steepness: float = 1.5

    @classmethod
    def architecture(cls):
        return "others"


class OthersSAE(StandardSAE):
    def initialize_weights(self):
        super().initialize_weights()
        self.gain = torch.nn.Parameter(torch.zeros(self.cfg.d_sae))

    def encode(self, x):
        pre = self.hook_sae_acts_pre(self.process_sae_in(x) @ self.W_enc + self.b_enc)
        return self.hook_sae_acts_post(self.activation_fn(pre) * (self.gain * self.cfg.steepness).exp())


class TwicePre(OthersSAE):
    def encode(self, x):
        pre = self.hook_sae_acts_pre(self.process_sae_in(x) @ self.W_enc)
        return self.activation_fn(self.hook_sae_acts_pre(pre + self.b_enc))


class SquaredDecoder(OthersSAE):
    def decode(self, feature_acts):
        return super().decode(feature_acts.square())


class MoreForward(OthersSAE):
    def forward(self, x):
        return super().forward(x) + x @ torch.ones(x.shape[-1], x.shape[-1]).to(x)


class MorePositions(OthersSAE):
    """Its latents depend on the other positions too, and it wants an axis for them."""

    def encode(self, x):
        batch, position, width = x.shape
        return super().encode(x.reshape(batch, position, width).cumsum(1))


class NoDecoder(OthersSAE):
    """Its decoder has another name."""

    def initialize_weights(self):
        super().initialize_weights()
        self.decoder_rows = torch.nn.Parameter(self.W_dec.data)
        del self.W_dec

    def decode(self, feature_acts):
        return feature_acts @ self.decoder_rows + self.b_dec


@dataclass
class WideConfig(OthersConfig):
    """With a setting that only transcoders have."""

    d_out: int = D_MODEL


class OwnSkip(Transcoder):
    """A transcoder whose skip connection has another name."""

    def initialize_weights(self):
        super().initialize_weights()
        self.shortcut = torch.nn.Parameter(torch.eye(self.cfg.d_in, self.cfg.d_out))

    def forward(self, x):
        return super().forward(x) + x @ self.shortcut


@pytest.fixture
def others():
    register_sae_class("others", OthersSAE, OthersConfig)
    yield
    del SAE_CLASS_REGISTRY["others"]


def others_cases():
    normalisations = dict(zip(MODELS, STATEFUL, strict=True))
    return [Case("others", False, kind, normalize, PLACES[kind][0]) for kind, normalize in normalisations.items()]


@pytest.mark.parametrize("case", others_cases(), ids=str)
def test_an_architecture_of_another_package_is_evaluated_by_what_it_can_do(case, others, monkeypatch):
    once = build(case)
    assert float(once.subject.dictionary.sae.gain.detach().abs().max()) > 0
    monkeypatch.setitem(globals(), "built", lambda _: once)
    test_latents_and_reconstructions_are_saelenss_own(case)
    test_sanity(case)
    test_shrinkage(case)
    test_ablation(case, "activation")
    with monkeypatch.context() as patch:
        test_probe(case, "max", patch)
    with monkeypatch.context() as patch:
        test_n2g(case, patch)
    with monkeypatch.context() as patch:
        test_explanation_reconstruction(case, patch)


@pytest.mark.parametrize(
    ("cls", "config", "reason"),
    [
        (TwicePre, OthersConfig, "has several pre-activations per latent"),
        (SquaredDecoder, OthersConfig, "does not decode by a sum of latents times decoder rows"),
        (MoreForward, OthersConfig, "does more than to decode what it encodes"),
        (MorePositions, OthersConfig, "does not encode single activations"),
        (NoDecoder, OthersConfig, "has no decoder W_dec"),
        (OwnSkip, TranscoderConfig, "does more than to decode what it encodes"),
    ],
)
@pytest.mark.parametrize("normalize", STATEFUL)
def test_an_architecture_that_is_of_another_form_is_refused_in_words(cls, config, reason, normalize):
    metadata = SAEMetadata(hook_name="blocks.1.hook_resid_pre", hook_name_out="blocks.1.hook_mlp_out", prepend_bos=True)
    more = {"d_out": D_MODEL, "apply_b_dec_to_input": False} if config is TranscoderConfig else {}
    sae = cls(config(d_in=D_MODEL, d_sae=D_SAE, normalize_activations=normalize, metadata=metadata, **more))
    with pytest.raises(UnsupportedSAEError, match=reason) as error:
        Subject(model_of("HookedTransformer"), sae)
    assert repr(sae.cfg.architecture()) in str(error.value)


@pytest.mark.parametrize("normalize", STATEFUL)
def test_an_sae_with_a_width_of_its_output_is_a_transcoder_or_refused_in_words(normalize):
    """Where such an SAE keeps the state of its normalisation like other SAEs, it is no transcoder as SAELens knows them."""
    metadata = SAEMetadata(hook_name="blocks.1.hook_resid_pre", hook_name_out="blocks.1.hook_resid_pre", prepend_bos=True)
    sae = OthersSAE(WideConfig(d_in=D_MODEL, d_sae=D_SAE, normalize_activations=normalize, metadata=metadata))
    if normalize == "none":
        assert Subject(model_of("HookedTransformer"), sae).is_transcoder
    else:
        with pytest.raises(UnsupportedSAEError, match="'others'"):
            Subject(model_of("HookedTransformer"), sae)


def test_matching_pursuit_without_its_bias():
    """SAELens's decoder leaves ``b_dec`` out where the encoder does."""
    cls, config = SAE_CLASS_REGISTRY["matching_pursuit"]
    metadata = SAEMetadata(hook_name="blocks.0.hook_resid_post", prepend_bos=True)
    sae = cls(config(d_in=D_MODEL, d_sae=D_SAE, max_iterations=4, apply_b_dec_to_input=False, metadata=metadata))
    sae.b_dec.data.fill_(1.0)
    subject = Subject(model_of("HookedTransformer"), sae)
    x = torch.randn(5, D_MODEL, generator=generator())
    z = subject.dictionary.encode(x)
    scale, offset = subject.dictionary.scale_and_offset(x)
    torch.testing.assert_close(scale * (z @ subject.dictionary.decoder) + offset, sae(x).detach(), rtol=1e-5, atol=1e-5)
    assert not offset.any()


# --- hooks that nothing passes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["HookedTransformer", "TransformerBridge"])
def test_a_hook_that_a_model_calls_only_if_it_is_told_to(kind):
    """Transcoders of some releases read it."""
    model = model_of(kind)
    place = Place("blocks.1.hook_mlp_in", hook_out="blocks.1.hook_mlp_out")
    case = Case("transcoder", False, kind, "none", place)
    sae = built(case).subject.dictionary.sae
    model.set_use_hook_mlp_in(False)
    try:
        with pytest.raises(SubjectError, match=r"set_use_hook_mlp_in\(True\)") as error:
            Subject(model, sae)
        assert "blocks.1.hook_mlp_in" in str(error.value)
    finally:
        model.set_use_hook_mlp_in(True)
