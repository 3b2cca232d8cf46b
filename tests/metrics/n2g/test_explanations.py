"""From text to explanations: what is sampled, what the model is asked, and what is kept for the next time."""

import dataclasses
import hashlib
import json
import re
import subprocess
import sys
import textwrap
from collections import Counter
from itertools import product

import n2g_oracle
import pytest
import torch
from planted import PlantedTokenizer, fires_after, planted_subject, planted_tokens
from saes import SUPPORTED, through, training_sae
from slow import slow_but

from sae_lens_metrics import Corpus, MetricsConfig, Subject, evaluate
from sae_lens_metrics.errors import ConfigError, CorpusError, ExplanationError
from sae_lens_metrics.functional.ngram_building import build_explanation
from sae_lens_metrics.functional.ngrams import ABSENT
from sae_lens_metrics.metrics.n2g import building
from sae_lens_metrics.metrics.n2g.building import explain, texts
from sae_lens_metrics.metrics.n2g.explanations import Explanations
from sae_lens_metrics.metrics.n2g.spec import N2GConfig
from sae_lens_metrics.subject.backends import FromHookBackend, FullRunBackend
from sae_lens_metrics.subject.inference_sae import inference_sae

VARIANTS = ("released", "strict")
NEAR = 1e-4  # a comparison this near to its threshold may turn out otherwise in another batch
BOS = 49


def settings(seed=0, batch_size=8, **n2g):
    return MetricsConfig(seed=seed, batch_size=batch_size, n2g=N2GConfig(**({"max_length": 8} | n2g)))


@pytest.fixture
def built(monkeypatch):
    """The examples that explanations are built from, a list that grows with each build."""
    seen = []
    original = building.build_patterns

    def recording(activate, examples, **options):
        seen.append(examples)
        return original(activate, examples, **options)

    monkeypatch.setattr(building, "build_patterns", recording)
    return seen


@pytest.fixture
def text(model, tokens):
    """Real text in which documents end within the sequences too."""
    tokens = tokens[:24].clone()
    ends = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(1)) < 0.1
    tokens[ends] = model.tokenizer.bos_token_id
    return Corpus.from_tokens(tokens)


def subject_of(model, architecture="topk", **kwargs):
    return Subject(model, training_sae(architecture, **kwargs))


def latents_on(subject, corpus):
    """The truth, from SAELens and TransformerLens alone: dense latents, 0 where no position counts."""
    x = subject.site.model.run_with_cache(corpus.tokens, names_filter=[subject.hook_name])[1][subject.hook_name]
    z = subject.dictionary.sae.encode(x).detach()
    return z * ~torch.isin(corpus.tokens, subject.language.special_tokens)[..., None]


def context_of(corpus, special, position, length):
    """The tokens up to a position, the way a person would cut them out."""
    row, column = divmod(position, corpus.tokens.shape[1])
    found = []
    for token in reversed(corpus.tokens[row, : column + 1].tolist()):
        if token in special or len(found) == length:
            break
        found.insert(0, token)
    return tuple(found)


def written(examples):
    """The examples as (latent, tokens in the order of the text, activation)."""
    columns = (examples.latent.tolist(), examples.tokens.tolist(), examples.activation.tolist())
    return [(latent, tuple(t for t in reversed(row) if t != ABSENT), act) for latent, row, act in zip(*columns, strict=True)]


def ngrams(explained):
    """{latent: {(tokens, at_start): value}}"""
    return {latent: {(n.tokens, n.at_start): n.value for n in of_latent} for latent, of_latent in explained.ngrams.items()}


def assert_same_explanations(ours, theirs):
    assert ours.keys() == theirs.keys()
    for latent in ours:
        assert ours[latent] == pytest.approx(theirs[latent], rel=1e-3, abs=1e-5), latent


# --- sampling ------------------------------------------------------------------------------------------------------------------


def test_the_batch_size_changes_neither_sample_nor_explanations(model, text, built):
    first, second = (explain(subject_of(model), text, settings(batch_size=size, latents=24)) for size in (3, 24))
    assert len(built) == 2
    assert torch.equal(first.held_out, second.held_out)
    assert torch.equal(first.activations, second.activations)
    assert first.tokens == second.tokens
    assert torch.equal(built[0].tokens, built[1].tokens)
    assert torch.equal(built[0].latent, built[1].latent)
    assert_same_explanations(ngrams(first), ngrams(second))
    assert first.key == second.key  # so that they may be kept under one name


def test_exact_arithmetic_gives_the_same_to_the_last_bit_whatever_the_batch_size():
    rules = [fires_after(1), fires_after(2, 3, value=2.0), fires_after(4, None, 5)]
    made = []
    for batch_size in (1, 7, 100):
        subject = planted_subject(rules)
        made.append(explain(subject, Corpus.from_tokens(planted_tokens(subject, 60)), settings(batch_size=batch_size, pad_token=0)))
    for other in made[1:]:
        assert_equal_tensors(made[0], other)


def test_another_seed_samples_others(model, text, built):
    first, second = (explain(subject_of(model), text, settings(seed=seed, latents=None)) for seed in (0, 1))
    assert torch.equal(first.activations, second.activations)
    assert not torch.equal(first.held_out, second.held_out)
    assert not torch.equal(built[0].tokens, built[1].tokens)
    assert first.key != second.key
    some, others = (explain(subject_of(model), text, settings(seed=seed, latents=10)).latents.tolist() for seed in (0, 1))
    assert some != others
    assert len(set(some)) == 10
    assert some == sorted(some)


def test_a_latents_explanation_is_the_same_alone_and_among_all(model, text):
    everything = explain(subject_of(model), text, settings())
    some = explain(subject_of(model), text, settings(latents=10))
    assert everything.latents.tolist() == list(range(96))
    of_all = ngrams(everything)
    assert_same_explanations(ngrams(some), {latent: of_all[latent] for latent in some.latents.tolist() if latent in of_all})
    assert torch.equal(everything.held_out[some.latents], some.held_out)
    assert torch.equal(everything.activations[some.latents], some.activations)
    assert everything.tokens == some.tokens


def test_more_latents_than_there_are_is_all_of_them(model, text):
    everything, just_all, more = (explain(subject_of(model), text, settings(latents=n, max_length=2)) for n in (None, 96, 1000))
    assert just_all.key == more.key == everything.key
    assert more.latents.tolist() == list(range(96))


@pytest.mark.parametrize("size", [1, 4, 16])
def test_of_few_activations_half_build_and_the_rest_is_held_out(size, built):
    counts = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 80]
    subject = planted_subject([fires_after(token) for token in range(1, len(counts) + 1)], d_vocab=60, context_size=16)
    tokens = torch.randint(20, 60, (40, 16), generator=torch.Generator().manual_seed(3))  # contexts are all different
    places = torch.randperm(640, generator=torch.Generator().manual_seed(4))
    for token, count in enumerate(counts, start=1):
        tokens.flatten()[places[:count]] = token
        places = places[count:]
    corpus = Corpus.from_tokens(tokens)

    explained = explain(subject, corpus, settings(examples=size, max_length=16, pad_token=0))

    assert explained.activations.tolist() == counts
    contexts = [
        Counter(context_of(corpus, (), position, 15) for position in (tokens.flatten() == token).nonzero()[:, 0].tolist())
        for token in range(1, len(counts) + 1)
    ]
    builds = [Counter() for _ in counts]
    for latent, context, _ in written(built[0]):
        builds[latent][context] += 1
    for latent, count in enumerate(counts):
        kept = min(count, 2 * size)
        held_out = [position for position in explained.held_out[latent].tolist() if position >= 0]
        if count < 2:
            assert not builds[latent]
            assert not held_out
            continue
        assert sum(builds[latent].values()) == (kept + 1) // 2
        assert len(held_out) == len(set(held_out)) == kept // 2
        # no activation is in both: together they are some of all, and all where there are few
        both = builds[latent] + Counter(context_of(corpus, (), position, 15) for position in held_out)
        assert both <= contexts[latent]
        assert count > 2 * size or both == contexts[latent]


@pytest.mark.parametrize("architecture", ["topk", "jumprelu", "abstopk"])
def test_examples_are_real_and_stay_within_their_document(architecture, model, text, built):
    subject = subject_of(model, architecture)
    explained = explain(subject, text, settings())
    truth, special = latents_on(subject, text), set(subject.language.special_tokens.tolist())
    assert special
    assert explained.activations.tolist() == (truth != 0).sum((0, 1)).tolist()
    assert explained.tokens == int((~torch.isin(text.tokens, subject.language.special_tokens)).sum())
    real = {}
    for row, column, latent in truth.nonzero().tolist():
        context = context_of(text, special, row * text.tokens.shape[1] + column, 8)
        real.setdefault((latent, context), []).append(float(truth[row, column, latent]))
    lengths = set()
    for latent, context, act in written(built[0]):
        assert not special & set(context)
        assert act == pytest.approx(min(real[latent, context], key=lambda value: abs(value - act)), rel=1e-3, abs=1e-5)
        lengths.add(len(context))
    assert lengths == set(range(1, 9))
    flat = truth.flatten(0, 1)
    for latent, positions, values in zip(explained.latents, explained.held_out, explained.held_out_activation, strict=True):
        there = positions >= 0
        torch.testing.assert_close(values[there], flat[positions[there], latent], rtol=1e-3, atol=1e-5)
        assert (values[there] != 0).all()
        assert (values[~there] == 0).all()


def test_positions_outside_the_saes_slice_are_not_sampled(model, text):
    sae = training_sae("topk")
    sae.cfg.metadata.seqpos_slice = (10, 30)
    explained = explain(Subject(model, sae), text, settings(latents=20))
    columns = explained.held_out[explained.held_out >= 0] % text.tokens.shape[1]
    assert columns.min() >= 10
    assert columns.max() < 30


def test_latents_of_both_signs_are_explained(model, text, built):
    explained = explain(subject_of(model, "abstopk"), text, settings())
    negative = set(built[0].latent[built[0].activation < 0].tolist())
    assert len(negative) > 10
    assert negative <= set(explained.ngrams)
    values = explained.patterns.value
    assert (values < 0).any()
    assert (values > 0).any()
    assert (explained.held_out_activation < 0).any()


# --- the builder on a real model ---------------------------------------------------------------------------------------------


def single_rows(subject, latent, known):
    """What build_explanation and the oracle take: the real model run on one row at a time, all of it."""
    backend = FullRunBackend(subject.site.model, subject.hook_name)

    def run(row):
        if tuple(row) not in known:
            x = subject.site.activations(backend.prefix(torch.tensor([[subject.language.bos_token, *row]])))
            known[tuple(row)] = subject.dictionary.encode(x[:, -1])[0]
        return float(known[tuple(row)][latent])

    return lambda rows: [run(row) for row in rows]


def margin_of(subject, latent, examples, pad, variant, known):
    build = n2g_oracle.build if variant == "released" else n2g_oracle.build_strict
    return build(single_rows(subject, latent, known), examples, pad)[1]


def assert_built_as_one_by_one(subject, explained, examples, variant, *, least):
    """Latent by latent, the explanations are those that single runs of the whole model give, or hang on rounding."""
    pad, ours, by_latent, known, same = explained.depends_on["pad_token"], ngrams(explained), {}, {}, 0
    for latent, context, act in written(examples):
        by_latent.setdefault(latent, []).append((context, act))
    assert len(by_latent) >= least
    for latent, of_latent in by_latent.items():
        one_by_one = build_explanation(single_rows(subject, latent, known), of_latent, pad_token=pad, variant=variant)
        theirs = {(n.tokens, n.at_start): n.value for n in one_by_one}
        if ours.get(latent, {}) == pytest.approx(theirs, rel=1e-3, abs=1e-5):
            same += 1
        else:
            assert margin_of(subject, latent, of_latent, pad, variant, known) < NEAR, latent
    assert same >= len(by_latent) * 0.7  # rounding is the exception


@pytest.mark.parametrize(("architecture", "variant"), slow_but(product(SUPPORTED, VARIANTS), lambda case: case[0] in ("standard", "topk")))
def test_explanations_are_those_of_single_runs(architecture, variant, model, text, built):
    subject = subject_of(model, architecture)
    assert type(subject.site.capabilities.whole) is FromHookBackend
    config = settings(latents=10, max_length=6, examples=4, variant=variant)
    fast = explain(subject, text, config)
    assert_built_as_one_by_one(subject, fast, built[0], variant, least=4)

    slow_subject = through(subject_of(model, architecture), short_runs=FullRunBackend(model, subject.hook_name))
    slow = explain(slow_subject, text, config)
    assert_built_as_one_by_one(subject, slow, built[1], variant, least=4)
    assert torch.equal(fast.held_out, slow.held_out)
    assert torch.equal(built[0].tokens, built[1].tokens)
    assert fast.key == slow.key


@pytest.mark.parametrize("normalize", ["layer_norm", "constant_norm_rescale"])
@pytest.mark.parametrize("hook", ["hook_resid_post", "hook_mlp_out"])
def test_explanations_of_saes_with_state_and_at_captured_hooks(hook, normalize, model, text, built):
    subject = subject_of(model, hook=f"blocks.1.{hook}", normalize=normalize)
    explained = explain(subject, text, settings(latents=12, max_length=6, examples=4))
    assert_built_as_one_by_one(subject, explained, built[0], "released", least=4)


def test_threads_change_nothing(model, text, built):
    one = explain(subject_of(model), text, settings(latents=20, examples=8))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        two = explain(subject_of(model), text, settings(latents=20, examples=8))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert_same_explanations(ngrams(one), ngrams(two))


def test_rows_in_small_blocks_are_answered_alike(model, text, monkeypatch):
    whole = explain(subject_of(model), text, settings(latents=20, examples=8))
    monkeypatch.setattr("sae_lens_metrics.subject.backends.at_once._OF_A_THREAD", 5)
    monkeypatch.setattr("sae_lens_metrics.functional.ngram_building.QUESTIONS", 7)
    monkeypatch.setattr("sae_lens_metrics.functional.nonzeros.AT_ONCE", 5)
    monkeypatch.setattr("sae_lens_metrics.metrics.n2g.building._EXAMPLES_AT_ONCE", 3)
    blocks = explain(subject_of(model), text, settings(latents=20, examples=8))
    assert torch.equal(whole.held_out, blocks.held_out)
    assert_same_explanations(ngrams(whole), ngrams(blocks))


# --- BOS -----------------------------------------------------------------------------------------------------------------------


class Listening:
    """A rule that writes down the rows that it is asked about."""

    def __init__(self, rule):
        self.rule, self.rows = rule, []

    def __call__(self, tokens):
        self.rows += tokens.tolist()
        return self.rule(tokens)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("bos", [None, BOS])
def test_every_run_begins_with_bos_where_sequences_do(bos, variant, built):
    rule = Listening(fires_after(4, None, 5))
    subject = planted_subject([rule, fires_after(2)], bos=bos)
    corpus = Corpus.from_tokens(planted_tokens(subject, 40))
    rule.rows.clear()
    explained = explain(subject, corpus, settings(variant=variant, pad_token=0))
    short = [row for row in rule.rows if len(row) < subject.language.context_size]
    assert len(short) > 10
    assert all((row[0] == BOS) == (bos is not None) for row in short)
    assert not any(BOS in row[1:] for row in short)
    assert ngrams(explained) == {0: {((4, None, 5), False): 1.0}, 1: {((2,), False): 1.0}}
    assert not (explained.patterns.tokens == BOS).any()
    assert not (built[0].tokens == BOS).any()


def test_ngrams_never_hold_bos_on_real_text(model, text):
    explained = explain(subject_of(model), text, settings())
    assert len(explained.patterns) > 50
    assert not (explained.patterns.tokens == model.tokenizer.bos_token_id).any()


def test_the_longest_context_leaves_room_for_bos_and_padding():
    rules = [fires_after(*range(1, 7))]  # six tokens, BOS and a padding token are all that fits
    subject = planted_subject(rules, bos=BOS, context_size=8)
    tokens = planted_tokens(subject, 8)
    tokens[:, 1:7] = torch.arange(1, 7)
    explained = explain(subject, Corpus.from_tokens(tokens), settings(max_length=8, pad_token=0))
    assert explained.depends_on["longest"] == 6
    assert ngrams(explained) == {0: {((1, 2, 3, 4, 5, 6), False): 1.0}}
    without_bos = planted_subject(rules, context_size=8)
    assert explain(without_bos, Corpus.from_tokens(tokens), settings(max_length=8, pad_token=0)).depends_on["longest"] == 7


def test_max_length_shortens_the_context(model, text, built):
    explained = explain(subject_of(model), text, settings(max_length=3, latents=20))
    assert explained.depends_on["longest"] == 3
    assert max(len(context) for _, context, _ in written(built[0])) == 3
    # beyond what a sequence holds it limits nothing
    unlimited, limited = (explain(subject_of(model), text, settings(max_length=limit, latents=1)) for limit in (None, 200))
    assert unlimited.depends_on["longest"] == text.tokens.shape[1] - 1
    assert unlimited.key == limited.key


# --- keeping them --------------------------------------------------------------------------------------------------------------


def assert_equal_tensors(ours, theirs):
    for name in ("latents", "activations", "held_out", "held_out_activation"):
        mine, other = getattr(ours, name), getattr(theirs, name)
        assert mine.dtype == other.dtype, name
        assert torch.equal(mine, other), name
    for name in ("latent", "tokens", "at_start", "value"):
        mine, other = getattr(ours.patterns, name), getattr(theirs.patterns, name)
        assert mine.dtype == other.dtype, name
        assert torch.equal(mine, other), name
    assert ours.tokens == theirs.tokens


@pytest.fixture
def explained(model, text):
    return explain(subject_of(model, "abstopk"), text, settings(variant="strict"))


@pytest.fixture
def never_built(monkeypatch):
    return lambda: monkeypatch.setattr(building, "build_patterns", lambda *_, **__: pytest.fail("built again"))


def test_what_is_saved_is_what_is_loaded(explained, tmp_path):
    path = explained.save(tmp_path / "folder" / "explanations.json")
    loaded = Explanations.load(path)
    assert_equal_tensors(explained, loaded)
    assert loaded.key == explained.key
    assert loaded.depends_on == explained.depends_on
    assert loaded.ngrams == explained.ngrams
    assert loaded.require(explained.depends_on) is loaded
    assert sorted(p.name for p in path.parent.iterdir()) == ["explanations.json"]
    assert Explanations.load(loaded.save(tmp_path / "again.json")).ngrams == explained.ngrams


def test_explanations_of_nothing_are_saved_and_loaded(tmp_path):
    subject = planted_subject([fires_after(30), fires_after(31)])
    explained = explain(subject, Corpus.from_tokens(planted_tokens(subject, 8)), settings(pad_token=0))
    assert len(explained.patterns) == 0
    loaded = Explanations.load(explained.save(tmp_path / "e.json"))
    assert loaded.ngrams == explained.ngrams == {}
    assert loaded.latents.tolist() == [0, 1]
    assert loaded.activations.tolist() == [0, 0]


def changed(path, change, *, sign=True):
    data = json.loads(path.read_text())
    data = change(data) or data
    if sign and "latents" in data:
        data["checksum"] = hashlib.sha256(json.dumps(data["latents"], sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(data))
    return path


def set_in(*keys, value):
    def change(data):
        for key in keys[:-1]:
            data = data[key]
        data[keys[-1]] = value

    return change


DAMAGE = {
    "another seed": (set_in("depends_on", "seed", value=7), "changed since it was written"),
    "another key": (set_in("key", value="0" * 64), "changed since it was written"),
    "a later version": (set_in("format_version", value="2.0"), "build them again"),
    "another kind": (set_in("format", value="sae-lens-metrics"), "build them again"),
    "a number as version": (set_in("format_version", value=1.0), "does not hold explanations"),
    "a list": (lambda data: [data], "does not hold explanations"),
    "no latents": (lambda data: {name: value for name, value in data.items() if name != "latents"}, "does not hold explanations"),
    "latents that are a number": (set_in("latents", value=3), "does not hold explanations"),
    "a latent without n-grams": (lambda data: data["latents"][0].pop("ngrams") and None, "does not hold explanations"),
    "a latent by name": (set_in("latents", 0, "latent", value="first"), "does not hold explanations"),
    "a position by name": (set_in("latents", 0, "held_out", value=[["a", 1.0]]), "does not hold explanations"),
    "a token by name": (
        set_in("latents", 0, "ngrams", value=[{"tokens": ["a"], "at_start": False, "value": 1.0}]),
        "does not hold explanations",
    ),
    "no value": (set_in("latents", 0, "ngrams", value=[{"tokens": [3], "at_start": False}]), "does not hold explanations"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_refused_in_words(damage, explained, tmp_path):
    change, says = DAMAGE[damage]
    path = changed(explained.save(tmp_path / "e.json"), change)
    with pytest.raises(ExplanationError, match=says) as error:
        Explanations.load(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("content", [b"", b"{", b"explanations", b"\xff\xfe\x00", b"null", b"[]", b"{}", b'"text"'])
def test_a_file_that_holds_something_else_is_refused_in_words(content, tmp_path):
    path = tmp_path / "e.json"
    path.write_bytes(content)
    with pytest.raises(ExplanationError, match=r"does not hold explanations .*build them again"):
        Explanations.load(path)


_TOKEN, _POSITION = ("ngrams", 0, "tokens"), ("held_out",)


@pytest.mark.parametrize(("keys", "number"), [(_TOKEN, 2**40), (_TOKEN, 2**70), (_POSITION, 2**40), (_POSITION, 2**70)])
def test_a_number_that_is_too_large_is_refused_in_words(keys, number, explained, tmp_path):
    of = next(i for i, latent in enumerate(explained.latents.tolist()) if latent in explained.ngrams)
    path = changed(explained.save(tmp_path / "e.json"), set_in("latents", of, *keys, value=[number]))
    with pytest.raises(ExplanationError, match="does not hold explanations"):
        Explanations.load(path)


def test_an_edited_explanation_is_noticed(explained, tmp_path):
    path = changed(explained.save(tmp_path / "e.json"), set_in("latents", 0, "activations", value=10**6), sign=False)
    with pytest.raises(ExplanationError, match="changed since it was written"):
        Explanations.load(path)


def test_a_newer_minor_version_is_read(explained, tmp_path):
    def newer(data):
        data["format_version"], data["more"] = "1.7", [1]

    assert Explanations.load(changed(explained.save(tmp_path / "e.json"), newer)).ngrams == explained.ngrams


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        Explanations.load(tmp_path / "nowhere.json")


def test_what_differs_is_named(model, text):
    subject = subject_of(model)
    explained = explain(subject, text, settings(latents=5))
    others = {
        "sae": explain(subject_of(model, seed=1), text, settings(latents=5)),
        "text": explain(subject, Corpus.from_tokens(text.tokens[:12]), settings(latents=5)),
        "seed": explain(subject, text, settings(latents=5, seed=1)),
        "latents": explain(subject, text, settings(latents=6)),
        "variant": explain(subject, text, settings(latents=5, variant="strict")),
        "examples": explain(subject, text, settings(latents=5, examples=3)),
        "longest": explain(subject, text, settings(latents=5, max_length=5)),
        "pad_token": explain(subject, text, settings(latents=5, pad_token=9)),
        "hook_name": explain(subject_of(model, hook="blocks.2.hook_resid_post"), text, settings(latents=5)),
        "bos_token": explain(Subject(model, training_sae("topk"), prepend_bos=False), text, settings(latents=5)),
    }
    for name, other in others.items():
        assert explained.require(other.depends_on | {name: explained.depends_on[name]}) is explained, name
        with pytest.raises(ExplanationError, match=rf"belong to something else: {name} differ; build them again"):
            explained.require(other.depends_on)
    both = {name: explained.depends_on[name] for name in explained.depends_on if name not in ("seed", "text")}
    with pytest.raises(ExplanationError, match=r"seed, text differ"):
        explained.require(both)
    with pytest.raises(ExplanationError, match=r"more differ"):
        explained.require(explained.depends_on | {"more": 1})


def test_another_model_is_another_key(text, model):
    subject = subject_of(model)
    explained = explain(subject, text, settings(latents=5))
    before = model.blocks[0].mlp.W_in.data[0, 0].clone()
    try:
        model.blocks[0].mlp.W_in.data[0, 0] += 1
        with pytest.raises(ExplanationError, match=r": model differ"):
            explained.require(explain(subject, text, settings(latents=5)).depends_on)
    finally:
        model.blocks[0].mlp.W_in.data[0, 0] = before


def test_a_folder_saves_building_them_again(model, text, tmp_path, built, never_built):
    config = settings(latents=12, folder=str(tmp_path / "kept"))
    first = explain(subject_of(model), text, config)
    (file,) = (tmp_path / "kept").iterdir()
    assert file.name == f"{first.key}.json"
    # another SAE, text or setting is built anew, and kept beside
    explain(subject_of(model, seed=1), text, config)
    explain(subject_of(model), Corpus.from_tokens(text.tokens[:12]), config)
    explain(subject_of(model), text, dataclasses.replace(config, seed=3))
    assert len(built) == len(list((tmp_path / "kept").iterdir())) == 4
    never_built()
    again = explain(subject_of(model), text, config)
    assert again is not first
    assert again.ngrams == first.ngrams
    assert again.depends_on == first.depends_on


def test_a_file_in_the_folder_that_is_of_something_else_is_refused(model, text, tmp_path):
    config = settings(latents=5, folder=str(tmp_path))
    first = explain(subject_of(model), text, config)
    other = explain(subject_of(model, seed=1), text, config)
    (tmp_path / f"{first.key}.json").write_text((tmp_path / f"{other.key}.json").read_text())
    with pytest.raises(ExplanationError, match="sae differ"):
        explain(subject_of(model), text, config)


def test_weights_that_change_are_explained_anew(model, text, built):
    subject = subject_of(model)
    first = explain(subject, text, settings(latents=12))
    subject.dictionary.sae.W_enc.data.copy_(subject.dictionary.sae.W_enc.data.flip(1))
    second = explain(subject, text, settings(latents=12))
    assert len(built) == 2
    assert first.key != second.key
    assert ngrams(first) != ngrams(second)


def test_saes_of_the_same_weights_that_encode_differently_have_different_keys(model, text):
    sae, wider = (inference_sae(training_sae("topk")) for _ in range(2))
    wider.cfg.k = wider.activation_fn.k = 16
    first, second = (explain(Subject(model, of), text, settings(latents=12)) for of in (sae, wider))
    assert not torch.equal(first.activations, second.activations)
    assert first.key != second.key


def test_saes_of_the_same_weights_with_another_normalisation_have_different_keys(model, text):
    first, second = (
        explain(Subject(model, training_sae("topk", normalize=kind)), text, settings(latents=12)) for kind in ("none", "layer_norm")
    )
    assert not torch.equal(first.activations, second.activations)
    assert first.key != second.key


def test_another_slice_of_positions_is_another_key(model, text):
    sae = training_sae("topk")
    sae.cfg.metadata.seqpos_slice = (10, 30)
    first, second = (explain(Subject(model, of), text, settings(latents=12)) for of in (sae, training_sae("topk")))
    assert not torch.equal(first.activations, second.activations)
    assert first.key != second.key


def test_another_head_is_another_key(model, text):
    keys = []
    for head in (0, 2):
        sae = training_sae("topk", hook="blocks.1.attn.hook_z", d_in=32)
        sae.cfg.metadata.hook_head_index = head
        keys.append(explain(Subject(model, sae), text, settings(latents=12)).key)
    assert keys[0] != keys[1]


def test_the_same_tokens_in_other_rows_are_another_text():
    subject = planted_subject([fires_after(2)], context_size=16)
    tokens = planted_tokens(subject, 8)
    keys = [explain(subject, Corpus.from_tokens(rows), settings(pad_token=0)).key for rows in (tokens, tokens.reshape(16, 8))]
    assert keys[0] != keys[1]


# --- what cannot be ------------------------------------------------------------------------------------------------------------


def test_a_context_longer_than_the_models(model, text):
    with pytest.raises(ExplanationError, match=r"n2g\.context is 129, longer than the model's 128: give a smaller one"):
        texts(subject_of(model), text, MetricsConfig(n2g=N2GConfig(context=129)))


@pytest.mark.parametrize("pad", [4096, 10**9])
def test_a_padding_token_that_the_model_lacks(pad, model, text):
    with pytest.raises(ExplanationError, match=rf"n2g\.pad_token is {pad}, the model has 4096 tokens"):
        explain(subject_of(model), text, settings(pad_token=pad))


def test_no_padding_token_and_no_tokenizer_to_find_one():
    subject = planted_subject([fires_after(1)])
    with pytest.raises(ExplanationError, match=r"no tokenizer to find a padding token.*n2g\.pad_token"):
        explain(subject, Corpus.from_tokens(planted_tokens(subject, 8)), settings())


class EncodingTokenizer(PlantedTokenizer):
    """Encodes everything as the same tokens."""

    encoding = (3, 7)

    def encode(self, text, add_special_tokens=True):
        assert not add_special_tokens
        return list(self.encoding)


def test_the_padding_token_ends_the_encoding_of_the_papers():
    subject = planted_subject([fires_after(1)])
    subject.site.model.tokenizer = EncodingTokenizer()
    corpus = Corpus.from_tokens(planted_tokens(subject, 8))
    assert explain(subject, corpus, settings()).depends_on["pad_token"] == 7
    assert explain(subject, corpus, settings(pad_token=4)).depends_on["pad_token"] == 4
    subject.site.model.tokenizer.encoding = ()
    with pytest.raises(ExplanationError, match=r"no token for ' _'.*n2g\.pad_token"):
        explain(subject, corpus, settings())


def test_the_papers_padding_token_on_the_real_model(model, text):
    pad = explain(subject_of(model), text, settings(latents=2)).depends_on["pad_token"]
    assert model.tokenizer.decode([pad]) == " _"


@pytest.mark.parametrize(
    ("name", "value"), [("latents", 0), ("examples", 0), ("context", 2), ("max_length", 0), ("pad_token", -1), ("shown", -1)]
)
def test_settings_out_of_range(name, value):
    with pytest.raises(ConfigError, match=rf"n2g\.{name} is {value}, expected at least"):
        N2GConfig(**{name: value})


def test_a_corpus_that_cannot_be_halved(model, tokens):
    with pytest.raises(CorpusError, match="3 sequences cannot be halved, expected at least four"):
        texts(subject_of(model), Corpus.from_tokens(tokens[:3]), MetricsConfig())


@pytest.mark.parametrize("variant", VARIANTS)
def test_latents_that_never_fire_are_counted(variant):
    subject = planted_subject([fires_after(30), fires_after(1), fires_after(31)])
    config = dataclasses.replace(settings(variant=variant, pad_token=0, context=16), names=["n2g"])
    flat = evaluate(subject, Corpus.from_tokens(planted_tokens(subject, 20)), config).flat()
    assert flat["n2g/dead"] == 2
    assert flat["n2g/explained"] == 1
    nothing = planted_subject([fires_after(30), fires_after(31)])
    report = evaluate(nothing, Corpus.from_tokens(planted_tokens(nothing, 20)), config)
    assert report.flat()["n2g/dead"] == 2
    assert "n2g/f1" not in report.flat()
    assert report.metrics["n2g"].estimates["f1"].reason


def test_text_of_special_tokens_only(model):
    explained = explain(subject_of(model), Corpus.from_tokens(torch.zeros(4, 8, dtype=torch.long)), settings())
    assert explained.ngrams == {}
    assert explained.tokens == 0


def test_an_sae_of_which_nothing_is_explained_on_a_model_with_a_tokenizer(model, tokens):
    sae = training_sae("standard")
    sae.b_enc.data -= 1e6
    report = evaluate(Subject(model, sae), Corpus.from_tokens(tokens[:8]), dataclasses.replace(settings(), names=["n2g"]))
    assert report.flat()["n2g/dead"] == 96


@pytest.mark.parametrize("bos", [None, BOS])
def test_texts_are_sequences_of_the_context_from_different_documents(bos):
    subject = planted_subject([fires_after(1)], bos=bos, context_size=16)
    tokens = torch.arange(1, 1 + 8 * 16).reshape(8, 16)
    if bos is not None:
        tokens[:, 0] = bos
    halves = texts(subject, Corpus.from_tokens(tokens), MetricsConfig(n2g=N2GConfig(context=5)))
    width = 5 if bos is None else 4
    for i, half in enumerate(halves):
        body = tokens[4 * i : 4 * i + 4, int(bos is not None) :]
        assert half.tokens.shape == (4 * 3, 5)
        pieces = half.tokens if bos is None else half.tokens[:, 1:]
        assert torch.equal(pieces, body[:, : 3 * width].reshape(-1, width))
        assert bos is None or (half.tokens[:, 0] == bos).all()
    whole = texts(subject, Corpus.from_tokens(tokens), MetricsConfig(n2g=N2GConfig(context=16)))
    assert torch.equal(whole[1].tokens, tokens[4:])


def test_texts_of_documents_are_known_to_be_apart(model, tokens):
    subject = subject_of(model)
    documents = torch.arange(5, 37).repeat_interleave(2)
    first, second = texts(subject, Corpus(tokens, documents=documents), MetricsConfig(n2g=N2GConfig(context=20)))
    assert first.is_apart_from(second)
    assert first.unit == second.unit == "documents"
    assert set(first.documents.tolist()) == set(range(5, 21))
    # the first sequence of the second half may begin with the end of the first half's last document
    assert (len(first), len(second)) == (3 * 32, 3 * 31)
    first, second = texts(subject, Corpus.from_tokens(tokens), MetricsConfig(n2g=N2GConfig(context=20)))
    assert not first.is_apart_from(second)
    assert first.unit == "sequences"


# --- memory --------------------------------------------------------------------------------------------------------------------

MEASURE = """
    import sys, time, warnings
    warnings.filterwarnings("ignore")
    sys.path.insert(0, SUPPORT)
    from itertools import islice
    import torch
    torch.set_num_threads(1)
    from datasets import Dataset
    from sae_lens.saes.sae import SAEMetadata
    from sae_lens.saes.topk_sae import TopKSAE, TopKSAEConfig
    from sae_lens_metrics import Corpus, MetricsConfig, Subject
    from sae_lens_metrics.metrics.n2g.spec import N2GConfig
    from sae_lens_metrics.demo.shipped import load_tiny_lm
    from sae_lens_metrics.text.standard_library import standard_library_documents
    from sae_lens_metrics.metrics.n2g.building import explain
    from resident import bytes_now, peak_bytes

    torch.manual_seed(0)
    metadata = SAEMetadata(hook_name="blocks.2.hook_resid_post", context_size=64, prepend_bos=True)
    sae = TopKSAE(TopKSAEConfig(d_in=128, d_sae=32_768, k=32, metadata=metadata))
    with torch.no_grad():
        sae.W_dec.copy_(torch.nn.functional.normalize(torch.randn(32_768, 128), dim=1))
        sae.W_enc.copy_(sae.W_dec.T)
    subject = Subject(load_tiny_lm(), sae)
    rows = Dataset.from_dict({"text": list(islice(standard_library_documents("train"), 60))})
    corpus = Corpus.from_dataset(rows, subject, tokens=TOKENS)
    before, start = bytes_now(), time.perf_counter()
    explained = explain(subject, corpus, MetricsConfig(n2g=N2GConfig(max_length=CONTEXT)))
    print(len(explained.ngrams), len(explained.latents), round((peak_bytes() - before) / 2**30, 2), round(time.perf_counter() - start, 1))
"""


@pytest.mark.slow
def test_explaining_many_latents_needs_little_memory():
    pytest.importorskip("resource")
    support = repr(str(next(path for path in sys.path if path.endswith("support"))))
    code = textwrap.dedent(MEASURE).replace("SUPPORT", support).replace("TOKENS", "3072").replace("CONTEXT", "4")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    explained, asked, gigabytes, seconds = (float(number) for number in re.findall(r"[\d.]+", done.stdout.splitlines()[-1]))
    sys.stderr.write(f"{explained:.0f} of {asked:.0f} latents explained in {seconds} s with {gigabytes} GiB more\n")
    assert asked == 32_768
    assert explained > 8_000
    assert gigabytes < 3
