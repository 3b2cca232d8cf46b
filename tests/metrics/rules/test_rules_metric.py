"""The metric "rules": what it says of SAEs whose latents are known, beside N2G and in place of latents."""

import json
from dataclasses import replace

import pytest
import torch
from contexts import context_of
from saes import D_SAE, training_sae

from sae_lens_metrics import Corpus, MetricsConfig, Subject, evaluate
from sae_lens_metrics.errors import ConfigError, ResultError
from sae_lens_metrics.functional.jackknife import GROUPS, jackknife_variance, jackknife_variance_of_mean, random_groups
from sae_lens_metrics.functional.rule_learning import RuleLearner
from sae_lens_metrics.metrics.n2g.shared import texts_of
from sae_lens_metrics.metrics.n2g.spec import N2GConfig
from sae_lens_metrics.metrics.rules.compute import rules
from sae_lens_metrics.metrics.rules.firings import firings
from sae_lens_metrics.metrics.rules.shared import learned_rules_of
from sae_lens_metrics.metrics.rules.spec import RulesConfig
from sae_lens_metrics.metrics.rules.text import text_of_corpus
from sae_lens_metrics.results.rules import LatentRules, rules_of


@pytest.fixture(scope="module")
def corpus(tokens):
    return Corpus(tokens[:48], documents=torch.arange(48) // 2)


@pytest.fixture(scope="module")
def subject(model):
    return Subject(model, training_sae("topk"))


@pytest.fixture(scope="module")
def context(subject, corpus):
    return context_of("rules", subject, corpus, MetricsConfig(names=["rules"], batch_size=8))


@pytest.fixture(scope="module")
def result(context):
    return rules(context)


def dense(subject, corpus):
    """All latents of a corpus, [sequences, pos, d_sae], 0 where no position counts."""
    z = torch.zeros(*corpus.tokens.shape, subject.d_sae)
    for batch in corpus.activations(subject, None, progress=""):
        for rows, part in batch.latents():
            z.view(-1, subject.d_sae)[batch.in_corpus[rows]] = part
    return z


def test_scores_are_those_of_predicting_each_token(context, result, subject):
    """F1, latent by latent, from what the written rules predict on each sequence of the second half."""
    _, scoring = context.once(texts_of)
    fires = dense(subject, scoring) != 0
    for row in result.tables["latents"][::7]:
        own = rules_of(result, row["latent"])
        predicted = torch.tensor([own.predict(sequence) for sequence in scoring.tokens]) != 0
        actual = fires[..., row["latent"]]
        if row["f1"] is None:
            continue
        hits = int((predicted & actual).sum())
        assert row["predicted"] == int(predicted.sum())
        assert row["fired"] == int(actual.sum())
        assert row["f1"] == pytest.approx(2 * hits / (int(predicted.sum()) + int(actual.sum())))


def test_means_and_their_errors_are_those_without_each_group_of_documents(context, result, subject):
    """To score on: of all latents. To learn from: of those whose rules were learned again, by rules that were learned by themselves."""
    text, scoring = context.once(texts_of)
    group = random_groups(scoring.units, GROUPS, seed=0)
    fires = dense(subject, scoring) != 0
    counted = [row["latent"] for row in result.tables["latents"] if row["f1"] is not None]
    predicted = torch.zeros_like(fires)
    for latent in counted:
        own = rules_of(result, latent)
        predicted[..., latent] = torch.tensor([own.predict(sequence) for sequence in scoring.tokens]) != 0

    def f1(predicted, actual):
        return 2 * (predicted & actual).sum(0).double() / (predicted.sum(0) + actual.sum(0)).clamp_min(1)

    def mean(sequences):
        return float(f1(*(each[sequences][..., counted].flatten(0, 1) for each in (predicted, fires))).mean())

    found = result.estimates["f1"]
    assert found.value == pytest.approx(mean(torch.ones(len(scoring), dtype=torch.bool)))
    to_score = torch.tensor([mean(group != g) for g in range(GROUPS)], dtype=torch.float64)

    again = context.once(learned_rules_of).again
    group, matched = random_groups(text.units, again.groups, seed=0), []
    for g in range(again.groups):
        less = text.some((group != g).nonzero()[:, 0])
        [part] = firings(subject, less, None, memory=1e9, at_once=10**9)
        own = RuleLearner(text_of_corpus(less, subject, 16)).learn(part.latents, part.firings).rules
        latent, place, _ = own.match(text_of_corpus(scoring, subject, 16))
        says = torch.zeros(int(subject.site.valid(scoring.tokens).sum()), subject.d_sae, dtype=torch.bool)
        says[place, latent] = True
        matched.append(f1(says, fires[subject.site.valid(scoring.tokens)]))
    drawn = [latent for latent in again.latents.tolist() if latent in counted]
    to_learn = jackknife_variance_of_mean(torch.stack(matched)[:, drawn], len(counted))
    expected = float(jackknife_variance(to_score)) + to_learn
    assert to_learn > 0
    assert found.stderr == pytest.approx(expected**0.5, rel=1e-6)


def test_values_are_the_means_where_a_rule_decides(context, subject):
    """The least squares of a value for each rule."""
    text, _ = context.once(texts_of)
    z = dense(subject, text)
    learned = context.once(learned_rules_of)
    latent = int(torch.bincount(learned.rules.latent).argmax())
    own = rules_of(rules(context), latent)
    numbered = LatentRules(latent, [replace(rule, value=i + 1.0) for i, rule in enumerate(own.rules)], own.special_tokens)
    which = torch.tensor([numbered.predict(sequence) for sequence in text.tokens]).int()
    for i, rule in enumerate(own.rules):
        assert rule.value == pytest.approx(float(z[..., latent][which == i + 1].mean()), rel=1e-4)


def test_rules_survive_a_file_and_are_readable(result):
    read = type(result)(**{**vars(result), "tables": json.loads(json.dumps(result.tables))})
    latents = {row["latent"] for row in result.tables["rules"]}
    for latent in latents:
        own = rules_of(read, latent)
        assert own == rules_of(result, latent)
        assert own == LatentRules.from_dict(json.loads(json.dumps(own.to_dict())))
    words = [row["words"] for row in result.tables["rules"]]
    assert any("`" in each for each in words)


def test_a_latent_that_is_not_there_has_no_rules(result):
    with pytest.raises(ResultError, match="not among the 96"):
        rules_of(result, D_SAE)
    with pytest.raises(ResultError, match="holds no rules"):
        rules_of(type(result)({}), 0)


def test_memory_moves_no_number(subject, corpus, result):
    """With room for a few firings the model runs several times, for some latents each, and learns them in many parts."""
    text = corpus.some(torch.arange(8))
    whole, parted = (list(firings(subject, text, 4, memory=memory, at_once=most)) for memory, most in ((1e9, 10**9), (40 * 600, 200)))
    assert len(parted) > len(whole) == 1
    assert [part.first for part in parted] == [sum(part.latents for part in parted[:i]) for i in range(len(parted))]
    for i, column in enumerate(("latent", "place", "value")):
        joined = torch.cat([getattr(part.firings, column) + (part.first if column == "latent" else 0) for part in parted])
        assert torch.equal(joined, whole[0].firings[i])
    little = context_of("rules", subject, corpus, MetricsConfig(names=["rules"], batch_size=8, memory_gb=1e-4))
    assert rules(little).estimates == result.estimates


def test_n2g_is_beside_it_only_where_it_is_asked_for(subject, corpus, result):
    absent = result.estimates["f1_minus_n2g"]
    assert absent.value is None
    assert "ask for the metric n2g" in absent.reason
    small = N2GConfig(max_length=2, examples=4, latents=40)
    report = evaluate(subject, corpus, MetricsConfig(names=["n2g", "rules"], n2g=small))
    found = report.metrics["rules"].estimates
    by_n2g = {row["latent"]: row for row in report.metrics["n2g"].tables["latents"]}
    rows = [row for row in report.metrics["rules"].tables["latents"] if row["latent"] in by_n2g and row["f1"] is not None]
    assert found["f1_minus_n2g"].n == len(rows) <= 40
    own = sum(row["f1"] for row in rows) / len(rows)
    assert found["f1_minus_n2g"].value == pytest.approx(own - found["f1_n2g"].value)
    assert found["f1_minus_n2g"].stderr > 0


def test_a_careful_penalty_learns_shorter_lists(subject, corpus, result):
    careful = rules(context_of("rules", subject, corpus, MetricsConfig(names=["rules"], rules=RulesConfig(penalty=4.0))))
    assert careful.estimates["length"].value < result.estimates["length"].value
    assert careful.estimates["without_rules"].value >= result.estimates["without_rules"].value


@pytest.mark.parametrize("settings", [{"within": 0}, {"within": 1000}, {"penalty": -1.0}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        RulesConfig(**settings)
