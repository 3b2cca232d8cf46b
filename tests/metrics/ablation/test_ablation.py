import copy
import dataclasses
import math

import pytest
import torch
from contexts import context_of
from model_folders import model_folder
from saes import D_IN, D_SAE, HOOK, training_sae
from slow import slow_but
from transformer_lens import HookedTransformer, HookedTransformerConfig

from sae_lens_metrics import Corpus, MetricsConfig, Subject
from sae_lens_metrics.demo.shipped import load_tiny_lm
from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.functional.effect_sparsity import DENSE_EFFECT, effect_sparsity
from sae_lens_metrics.loading.models import ModelSpec, load_spec
from sae_lens_metrics.metrics.ablation.compute import ablation, places_to_ablate
from sae_lens_metrics.metrics.ablation.effects import Effects, joined
from sae_lens_metrics.metrics.ablation.sequence_groups import SequenceGroup
from sae_lens_metrics.metrics.ablation.spec import AblationConfig

T = 8


def settings(**changes):
    return MetricsConfig(
        memory_gb=changes.pop("memory_gb", 0.5),
        ablation=AblationConfig(**({"tokens": T, "sequences": 6, "positions": 3, "latents": None, "baselines": 4} | changes)),
    )


def run(subject, corpus, config):
    return ablation(context_of("ablation", subject, corpus, config, 3))


def places(subject, corpus, config):
    """The sequences and positions that the metric chooses."""
    part, columns = places_to_ablate(subject, corpus, config.ablation, torch.Generator().manual_seed(3))
    return part, columns.tolist()


def brute_force(subject, tokens, position, activation, change):
    """Two full runs of the model on one sequence, with and without a change of the activation at the hook."""
    effects = []
    for x in (activation, change):

        def hook(a, hook, x=x):
            return x[None].to(a)

        effects.append(subject.site.model.run_with_hooks(tokens[None], fwd_hooks=[(subject.hook_name, hook)]))
    return (effects[1] - effects[0])[0, position : position + T]


def float32_carries(base, step, sparsity):
    """How far, relatively, rounding can move the sparsity of a latent's effect.

    The SAE and the changed activation are float32 even where the model is float64: ``base - step`` is off by eps |base|, a share
    r = eps |base| / |step| of the effect. Spread over all N logits it moves L1 by up to sqrt(N) r L2 = r L1 / sqrt(sparsity), and L2 by
    r L2. The factor of 4 allows for layers that amplify the rounding more than the step.
    """
    share = torch.finfo(torch.float32).eps * float(base.norm() / step.norm())
    return 1e-5 + 4 * 2 * (1 + sparsity**-0.5) * share


@pytest.fixture(scope="module")
def corpus(tokens):
    return Corpus.from_tokens(tokens)


@pytest.fixture(scope="module")
def precise():
    """The model in float64: in float32, effects of barely active latents drown in the rounding of full runs."""
    return load_tiny_lm().double()


@pytest.mark.parametrize(("name", "reference", "there"), [("L1", "activation", 64), ("TopK", "reconstruction", 3)])
def test_equals_full_runs_of_the_model(name, reference, there, trained, precise, tokens):
    """Six sequences, or three twice, at different positions."""
    subject, config, corpus = (
        Subject(precise, trained[name].dictionary.sae),
        settings(reference=reference),
        Corpus.from_tokens(tokens[:there]),
    )
    result = run(subject, corpus, config)
    part, columns = places(subject, corpus, config)
    means, weighted, weights, by_latent, strongest, carried, floors = [], 0.0, 0.0, {}, {}, {}, []
    for tokens, t in zip(part.tokens, columns, strict=True):
        x = subject.site.activations(subject.site.prefix(tokens[None]))[0]
        z = subject.dictionary.encode(x)
        base = x.clone()
        if reference == "reconstruction":
            counted = ~torch.isin(tokens, torch.tensor(subject.site.model.tokenizer.all_special_ids))
            base[counted] = subject.dictionary.sae(x[counted])
        values = []
        for latent in z[t].nonzero()[:, 0].tolist():
            change, step = base.clone(), z[t, latent] * subject.dictionary.sae.W_dec[latent]
            change[t] -= step
            differences = brute_force(subject, tokens, t, base, change)
            values.append(float(effect_sparsity(differences)))
            floors.append(float32_carries(base[t], step, values[-1]))
            carried[latent] = max(carried.get(latent, 0.0), floors[-1])
            size = float((differences - differences.median(-1, keepdim=True).values).norm())
            weighted, weights = weighted + size * values[-1], weights + size
            by_latent.setdefault(latent, []).append(values[-1])
            raised, lowered = differences.sum(0).argmax(), differences.sum(0).argmin()
            strongest[latent] = max(strongest.get(latent, (0.0,)), (size, int(raised), int(lowered)))
        means.append(sum(values) / len(values))
    mean = torch.tensor(means, dtype=torch.float64)
    estimates = result.estimates
    floor = sum(floors) / len(floors)
    assert floor < 1e-3
    assert estimates["sparsity"].value == pytest.approx(float(mean.mean()), rel=floor)
    units = mean.view(-1, min(6, there)).mean(0)
    assert estimates["sparsity"].stderr == pytest.approx(float(units.std()) / len(units) ** 0.5, rel=10 * floor)
    assert estimates["sparsity_weighted"].value == pytest.approx(weighted / weights, rel=floor)
    rows = result.tables["latents"]
    assert [row["latent"] for row in rows] == sorted(by_latent)
    effects = {each.latent: each for each in result.effects}
    assert list(effects) == sorted(by_latent)
    for row in rows:
        values = by_latent[row["latent"]]
        assert row["ablations"] == len(values)
        assert row["sparsity"] == pytest.approx(sum(values) / len(values), rel=carried[row["latent"]])
        _, raised, lowered = strongest[row["latent"]]
        first = [side[0] for side in (effects[row["latent"]].raised, effects[row["latent"]].lowered)]
        assert [change.token for change in first] == [raised, lowered]
        assert [change.text for change in first] == [subject.language.tokenizer.decode([token]) for token in (raised, lowered)]
        assert first[0].by > 0 > first[1].by
    assert any(len(values) > 1 for values in by_latent.values())
    assert sum(result.histograms["distribution"].counts) == sum(map(len, by_latent.values()))


def test_float32_is_precise_enough(trained, precise, corpus):
    for subject in trained.values():
        single, double = (run(model, corpus, settings()).estimates for model in (subject, Subject(precise, subject.dictionary.sae)))
        for name, estimate in double.items():
            if name not in ROUNDING:
                assert single[name].value == pytest.approx(estimate.value, rel=1e-3)


def test_latents_are_sparser_than_channels_lasting_and_than_gaussian_effects(trained, corpus):
    for subject in trained.values():
        estimates = run(subject, corpus, settings(sequences=32, tokens=16)).estimates
        sparsity, channels = estimates["sparsity"], estimates["channels_lasting_sparsity"]
        assert sparsity.value + 5 * sparsity.stderr < channels.value - 5 * channels.stderr
        assert channels.value < DENSE_EFFECT == estimates["gaussian"].value
        difference = estimates["sparsity_minus_channels_lasting"]
        assert difference.value == pytest.approx(sparsity.value - channels.value)
        assert difference.stderr < sparsity.stderr + channels.stderr
        for name in ("sparsity", "random_sparsity", "channels_sparsity"):
            assert 0 < estimates[name].value < 1
            assert estimates[name].stderr > 0


def test_saes_at_one_hook_see_the_same_positions_and_channels(trained, model, corpus):
    narrow = Subject(model, training_sae("topk"))
    assert narrow.d_sae != trained["TopK"].d_sae
    first, second, third = (run(subject, corpus, settings(latents=4)).estimates for subject in (*trained.values(), narrow))
    for name in ("channels_sparsity", "channels_lasting_sparsity"):
        assert first[name] == second[name]
    on_narrow = run(Subject(model, training_sae("standard")), corpus, settings(latents=4)).estimates
    assert third["channels_sparsity"] == on_narrow["channels_sparsity"]
    assert len({first["sparsity"].value, second["sparsity"].value, third["sparsity"].value}) == 3


@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_batch_size_does_not_matter(batch_size, trained, precise, corpus):
    """To the three digits that float32, in which SAEs encode, leaves of the effects of barely active latents."""
    config, subject = settings(sequences=12, latents=3), Subject(precise, trained["L1"].dictionary.sae)
    whole = run(subject, corpus, config).estimates
    parts = run(subject, corpus, dataclasses.replace(config, batch_size=batch_size)).estimates
    for name, estimate in whole.items():
        assert parts[name].value == pytest.approx(estimate.value, rel=1e-3, abs=1e-6), name


def test_few_sequences_are_ablated_all_over_the_context(trained, corpus):
    config = settings(sequences=4, positions=16)
    _, columns = places(trained["L1"], corpus, config)
    assert len(set(columns)) == 4
    assert min(columns) < 16
    assert max(columns) >= 40  # of 57


def test_where_sequences_are_few_they_come_again_at_other_positions(trained, tokens):
    """So that long sequences, of which a corpus has few, are not seen at one position each; what is in one stays one sampling unit."""
    corpus, subject = Corpus.from_tokens(tokens[:4]), trained["TopK"]
    part, columns = places(subject, corpus, settings(sequences=10, positions=3))
    assert len(part) == len(columns) == 10
    assert len({(tuple(row), column) for row, column in zip(part.tokens.tolist(), columns, strict=True)}) == 10
    assert len(places(subject, corpus, settings(sequences=100, positions=3))[0]) == 12  # at every position already
    estimate = run(subject, corpus, settings(sequences=12, positions=3)).estimates["sparsity"]
    assert (estimate.n, estimate.of) == (4, "sequences")


def test_errors_are_over_documents(trained, tokens):
    documents = torch.arange(64) // 4
    subject, config = trained["TopK"], settings(sequences=64, latents=4, positions=2)
    alone = run(subject, Corpus.from_tokens(tokens), config).estimates["sparsity"]
    grouped = run(subject, Corpus(tokens, documents=documents), config).estimates["sparsity"]
    assert grouped.value == pytest.approx(alone.value)
    assert (grouped.n, grouped.of) == (16, "documents")
    # what the sequences of a document move the mean by, together
    moved = torch.zeros(16, dtype=torch.float64).index_add(0, documents, torch.tensor(alone.influence, dtype=torch.float64))
    assert grouped.stderr == pytest.approx(float((16 / 15 * moved.square().sum()).sqrt()), rel=1e-4)
    # of documents with one sequence each, the errors are those of sequences
    apart = run(subject, Corpus(tokens, documents=torch.arange(64)), config).estimates["sparsity"]
    assert apart.stderr == pytest.approx(alone.stderr)


def test_baselines_belong_to_their_sequences(model, corpus):
    # a latent that is on where the first channel is positive: inactive at some positions
    sae = training_sae("standard", randomize=False)
    with torch.no_grad():
        sae.W_enc.zero_()
        sae.W_enc[0] = 1.0
        sae.b_enc.zero_()
        sae.b_dec.zero_()
    subject, config = Subject(model, sae), settings(sequences=24, baselines=3)
    result = run(subject, corpus, config)
    part, columns = places(subject, corpus, config)
    x = torch.stack([subject.site.activations(subject.site.prefix(row[None]))[0, t] for row, t in zip(part.tokens, columns, strict=True)])
    active = (subject.dictionary.encode(x) != 0).any(1)
    assert 0 < int(active.sum()) < 24
    assert result.estimates["inactive"].value == pytest.approx(1 - float(active.double().mean()))
    for name in ("sparsity", "random_sparsity", "sparsity_minus_channels", "sparsity_minus_random"):
        assert result.estimates[name].n == int(active.sum())
    assert result.estimates["channels_sparsity"].n == 24
    # each random direction is as long as what a latent of the same sequence adds
    group = SequenceGroup(subject, subject.site.changes, part, torch.arange(24), columns[0], config.ablation)
    changes = group.changes([torch.Generator().manual_seed(i) for i in range(24)])
    lengths = {
        kind: (changes[kind].changed(slice(None))[:, 0] - group._base[changes[kind].rows, 0]).norm(dim=1) for kind in ("", "random_")
    }
    assert set(changes["random_"].rows.tolist()) == set(changes[""].rows.tolist())
    for row, length in zip(changes["random_"].rows, lengths["random_"], strict=True):
        assert (lengths[""][changes[""].rows == row] - length).abs().min() < 1e-4 * length


def test_random_directions_are_as_long_as_latents(trained, corpus):
    # with nothing after the hook but normalisation and unembedding, effects grow with the length of what is subtracted
    estimates = run(trained["TopK"], corpus, settings(baselines=32)).estimates
    assert estimates["random_effect"].value == pytest.approx(estimates["effect"].value, rel=0.4)


@pytest.mark.parametrize("memory_gb", [1e-6, 1e-3])
def test_a_small_memory_limit_gives_the_same_numbers(memory_gb, trained, corpus):
    large, small = (run(trained["TopK"], corpus, settings(latents=3, memory_gb=limit)) for limit in (0.5, memory_gb))
    for name, estimate in large.estimates.items():
        rounding = 0.3 if name in ("noise_floor", "effect_over_noise") else 0  # which how many run at once moves
        assert small.estimates[name].value == pytest.approx(estimate.value, rel=1e-5 + rounding, abs=1e-6)
    tokens = [[[change.token for change in each.raised] for each in result.effects] for result in (small, large)]
    assert tokens[0] == tokens[1]


def test_same_seed_same_numbers_and_nothing_else_is_touched(trained, corpus):
    subject = trained["L1"]
    state = torch.get_rng_state()
    assert run(subject, corpus, settings(latents=5)) == run(subject, corpus, settings(latents=5))
    assert torch.equal(state, torch.get_rng_state())
    assert not any(hook.fwd_hooks for hook in subject.site.model.hook_dict.values())


def test_a_sample_of_latents_is_said(trained, corpus):
    subject = trained["TopK"]
    result = run(subject, corpus, settings(latents=5))
    assert sum(row["ablations"] for row in result.tables["latents"]) == 6 * 5
    assert any("random sample" in note for note in result.notes)
    assert not any("random sample" in note for note in run(subject, corpus, settings()).notes)


def test_too_many_tokens_for_the_context(trained, corpus):
    with pytest.raises(ConfigError, match=r"ablation.tokens is 64: no position in sequences of 64 tokens"):
        run(trained["L1"], corpus, settings(tokens=64))  # BOS is not ablated
    run(trained["L1"], corpus, settings(tokens=63, latents=1, baselines=1))
    with pytest.raises(ConfigError, match=r"ablation.tokens is 65"):
        run(trained["L1"], corpus, settings(tokens=65))


def test_no_active_latent_is_absent_with_a_reason(model, corpus):
    sae = training_sae("standard")
    with torch.no_grad():
        sae.b_enc.fill_(-1e6)
    result = run(Subject(model, sae), corpus, settings())
    for name in ("sparsity", "sparsity_weighted", "random_sparsity", "sparsity_minus_random", "effect", "no_effect"):
        assert result.estimates[name].value is None
        assert "active" in result.estimates[name].reason
    assert result.estimates["inactive"].value == 1
    assert result.estimates["channels_sparsity"].value > 0
    assert result.tables["latents"] == []


def test_special_tokens_are_not_ablated(model, tokens, trained):
    tokens = tokens.clone()
    tokens[::2, 1:] = model.tokenizer.eos_token_id
    corpus = Corpus.from_tokens(tokens)
    result = run(trained["TopK"], corpus, settings(sequences=64, latents=1, baselines=1))
    assert result.estimates["inactive"].n == 32
    assert any("32 positions hold a special token" in note for note in result.notes)


def test_hook_after_the_last_block(model, corpus):
    subject = Subject(model, training_sae("standard", hook=f"blocks.{model.cfg.n_layers - 1}.hook_resid_post"))
    estimates = run(subject, corpus, settings(latents=4)).estimates
    # nothing moves on to other tokens
    assert estimates["tokens_affected"].value == pytest.approx(1 / T)
    assert estimates["sparsity"].value < DENSE_EFFECT / T * 1.2


def linear_model(unembedding):
    """A model whose logits are ``x @ unembedding``, x being the activation after its only block."""
    d_model, vocabulary = unembedding.shape
    cfg = HookedTransformerConfig(
        n_layers=1, d_model=d_model, n_heads=1, d_head=8, n_ctx=32, d_vocab=vocabulary, attn_only=True, normalization_type=None, seed=0
    )
    model = HookedTransformer(cfg)
    with torch.no_grad():
        model.unembed.W_U.copy_(unembedding)
        model.unembed.b_U.zero_()
    return model


def linear_subject(unembedding, decoder):
    sae = training_sae("standard", d_in=unembedding.shape[0], hook="blocks.0.hook_resid_post", context_size=32)
    with torch.no_grad():
        sae.W_dec.copy_(decoder)
        sae.b_enc.fill_(1.0)  # all are active
        sae.W_enc.mul_(0.01)
    return Subject(linear_model(unembedding), sae, prepend_bos=False)


def test_closed_form_equal_logits():
    vocabulary, d_in = 600, 128
    # each latent writes to a dimension of its own, which is read by as many tokens as its number
    unembedding = torch.zeros(d_in, vocabulary)
    for latent in range(D_SAE):
        unembedding[latent, : latent + 1] = 2.0
    subject = linear_subject(unembedding, torch.eye(D_SAE, d_in))
    tokens = torch.randint(vocabulary, (8, 32), generator=torch.Generator().manual_seed(0))
    result = run(subject, Corpus.from_tokens(tokens), settings(shown=2))
    rows = result.tables["latents"]
    assert len(rows) == D_SAE
    for row in rows:
        assert row["sparsity"] == pytest.approx((row["latent"] + 1) / (vocabulary * T), rel=1e-5)
        assert row["tokens_affected"] == pytest.approx(1 / T)
    strongest = max(range(D_SAE), key=lambda i: rows[i]["effect"])
    assert result.effects[strongest].raised != result.effects[strongest].lowered
    lowered = result.effects[1].lowered
    assert {change.token for change in lowered} == {0, 1}  # the only two tokens that it touches
    assert {change.text for change in lowered} == {" 0", " 1"}
    assert all(change.by < 0 for change in lowered)


def test_closed_form_gaussian_logits():
    generator = torch.Generator().manual_seed(0)
    subject = linear_subject(torch.randn(128, 4000, generator=generator), torch.randn(D_SAE, 128, generator=generator))
    tokens = torch.randint(4000, (8, 32), generator=generator)
    result = run(subject, Corpus.from_tokens(tokens), settings(latents=20))
    for kind in ("", "channels_", "random_"):
        estimate = result.estimates[f"{kind}sparsity"]
        assert estimate.value == pytest.approx(2 / math.pi / T, rel=0.01)
        assert result.estimates[f"{kind}tokens_affected"].value == pytest.approx(1 / T, rel=1e-6)


# --- models in half precision ------------------------------------------------------------------------------------------------

ROUNDING = ("noise_floor", "effect_over_noise")


@pytest.mark.parametrize(
    ("kind", "dtype", "layer"),
    slow_but(
        [
            (kind, dtype, layer)
            for kind in ("HookedTransformer", "AutoModelForCausalLM", "TransformerBridge")
            for dtype in (torch.bfloat16, torch.float16)
            for layer in (0, 1)
        ],
        lambda case: case[1:] == (torch.bfloat16, 1),
    ),
)
def test_the_layers_after_the_hook_run_in_float32(kind, dtype, layer, corpus, trained, tmp_path_factory):
    """Logits in half precision are off by more than a latent's effect: sparsity was 2 to 3 times as large."""
    hook, folder = f"blocks.{layer}.hook_resid_post", tmp_path_factory.mktemp("gpt2")
    if kind == "HookedTransformer":
        whole, half = load_tiny_lm(), load_tiny_lm().to(dtype)
    else:
        model_folder("gpt2", folder, n_embd=D_IN, n_positions=128)
        whole, half = (load_spec(ModelSpec(str(folder), (kind,), str(each).removeprefix("torch."))) for each in (torch.float32, dtype))
    before = {name: value.clone() for name, value in half.state_dict().items()}
    subjects = [Subject(model, trained["TopK"].dictionary.sae, hook_name=hook) for model in (whole, half)]
    config = settings(sequences=4, positions=1, baselines=2)  # all active latents, as a sample of slightly others is another one
    expected, found = (run(subject, corpus, config).estimates for subject in subjects)
    for name in ("sparsity", "random_sparsity", "channels_sparsity", "channels_lasting_sparsity", "tokens_affected"):
        assert found[name].value == pytest.approx(expected[name].value, rel=0.05), name
    assert found["effect_over_noise"].value > 1000
    after = half.state_dict()
    assert all(value.dtype == after[name].dtype and torch.equal(value, after[name]) for name, value in before.items())
    # with little memory weights are widened layer by layer
    few = settings(sequences=2, positions=1, latents=2, baselines=1)
    enough, little = (run(subjects[1], corpus, dataclasses.replace(few, memory_gb=gib)).estimates for gib in (0.5, 1e-3))
    assert little["sparsity"].value == pytest.approx(enough["sparsity"].value, rel=1e-4)


def test_where_float32_is_impossible_effects_that_drown_in_rounding_are_absent(corpus):
    model = load_tiny_lm().to(torch.bfloat16)
    model.blocks[3].quantised = torch.nn.Parameter(torch.zeros(2, dtype=torch.int8), requires_grad=False)
    sae = training_sae("topk", hook=HOOK)
    large, small = copy.deepcopy(sae), copy.deepcopy(sae)
    with torch.no_grad():
        small.W_dec *= 0.02
        large.W_dec *= 100
    config = settings(latents=2, sequences=3, baselines=1)
    drowned, clear = (run(Subject(model, each), corpus, config) for each in (small, large))
    assert any("quantised" in note for note in drowned.notes)
    assert "rounding" in drowned.estimates["sparsity"].reason
    assert drowned.estimates["noise_floor"].value > 0
    assert not drowned.tables
    assert clear.estimates["effect_over_noise"].value > 10
    assert 0 < clear.estimates["sparsity"].value < 1


def test_a_group_of_sequences_without_active_latents_joins_the_others():
    generator = torch.Generator().manual_seed(0)
    some = Effects(*(torch.rand(3, generator=generator) for _ in range(3)), torch.zeros(3, 2, 5, dtype=torch.long), torch.rand(3, 2, 5))
    none = joined([])
    for parts in ([none, some], [some, none], [none, some, none]):
        assert all(torch.equal(one, other) for one, other in zip(joined(parts), some, strict=True))
    assert len(joined([none, none]).sparsity) == 0
