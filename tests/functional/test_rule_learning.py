"""Rules are learned where they were planted, and nowhere else."""

import pytest
import torch
from planted_rules import PLANTED, firings, text, windows
from rules_oracle import Learner

from sae_lens_metrics.functional.rule_learning import Firings, RuleLearner
from sae_lens_metrics.functional.rule_text import NONE, RuleText
from sae_lens_metrics.metrics.rules.written import latent_rules

LEAST = {
    "one token": ["token 3"],
    "a set of tokens": ["token 5", "token 6", "token 7"],
    "a b": ["token 9 after token 8"],
    "a within 16 of b": ["token 11 within 16 tokens after token 12"],
    "a unless b": ["token 13, not after token 14"],
    "not within 16 of b": ["token 15, not within 16 tokens after token 16"],
    "the first four": ["any token among the first 4 tokens"],
    "a at the start": ["token 17 among the first 8 tokens"],
    "any after b": ["any token after token 18"],
    "either or": ["token 19", "token 21 after token 20"],
}
"""What each planted latent's rules are in words."""


@pytest.fixture(scope="module")
def learned():
    tokens, seen = text(400, seed=0)
    generator = torch.Generator().manual_seed(2)
    chance = set(torch.randperm(len(seen), generator=generator)[:300].tolist())
    own = firings(tokens, [*PLANTED.values()])
    random = torch.tensor(sorted(chance))
    by_chance = Firings(torch.full_like(random, len(PLANTED)), random, torch.ones(300))
    own = Firings(*(torch.cat(pair) for pair in zip(own, by_chance, strict=True)))
    return RuleLearner(seen).learn(len(PLANTED) + 1, own)


@pytest.fixture(scope="module")
def in_words(learned):
    return {each.latent: [rule.to_text() for rule in each.rules] for each in latent_rules(learned.rules, 16, [0])}


@pytest.mark.parametrize("name", PLANTED)
def test_the_rules_are_those_that_were_planted(name, in_words):
    assert sorted(in_words[list(PLANTED).index(name)]) == sorted(LEAST[name])


def test_chance_is_no_rule(in_words, learned):
    assert len(PLANTED) not in in_words
    assert not bool((learned.tokens.latent == len(PLANTED)).any())


def test_other_text_is_predicted_without_a_mistake(learned):
    tokens, seen = text(60, seed=1)
    matches = learned.rules.match(seen)
    own = firings(tokens, [*PLANTED.values()])
    assert torch.equal(matches.latent * len(seen) + matches.place, own.latent * len(seen) + own.place)
    single = matches.latent != list(PLANTED).index("any after b")
    single &= matches.latent != list(PLANTED).index("the first four")
    assert torch.allclose(learned.rules.value[matches.rule][single], own.value[single])


def test_a_set_of_tokens_knows_no_context(learned):
    assert bool((learned.tokens.token != NONE).all())
    by_latent = {name: learned.tokens.token[learned.tokens.latent == i].tolist() for i, name in enumerate(PLANTED)}
    assert sorted(by_latent["a set of tokens"]) == [5, 6, 7]
    assert by_latent["one token"] == [3]
    assert by_latent["a unless b"] == [13]


def test_each_latent_is_learned_by_itself():
    tokens, seen = text(100, seed=3)
    own = firings(tokens, [*PLANTED.values()])
    learner = RuleLearner(seen)
    together = {each.latent: each for each in latent_rules(learner.learn(len(PLANTED), own).rules, 16, [0])}
    for i in range(len(PLANTED)):
        which = own.latent == i
        alone = learner.learn(1, Firings(own.latent[which] - i, own.place[which], own.value[which])).rules
        assert [each.rules for each in latent_rules(alone, 16, [0])] == [together[i].rules] if i in together else len(alone) == 0


def test_the_size_of_activations_moves_values_alone():
    tokens, seen = text(100, seed=3)
    own = firings(tokens, [*PLANTED.values()])
    one, other = (RuleLearner(seen).learn(len(PLANTED), own._replace(value=own.value * scale)).rules for scale in (1, 3))
    assert torch.equal(one.token, other.token)
    assert torch.allclose(3 * one.value, other.value)


def test_words_that_are_windows():
    tokens, seen = text(3, seed=5)
    for place, (token, before) in enumerate(windows(tokens)):
        assert int(seen.token[place]) == token
        assert int(seen.column[place]) == len(before)
        assert {t for t in seen.earlier[place].tolist() if t >= 0} == set(before[-16:])


@pytest.mark.parametrize("penalty", [0.3, 1.0])
def test_a_learner_of_sets_and_loops_learns_the_same(penalty):
    """On text of few tokens, from latents that fire by rules but for some mistakes."""
    tokens, _ = text(20, seed=7)
    tokens = torch.where(tokens == 0, 0, 1 + tokens % 9)
    special = tokens == 0
    seen, places = RuleText.from_sequences(tokens, special, ~special, 16), windows(tokens)
    generator = torch.Generator().manual_seed(8)
    fires = [[rule(*place) for place in places] for rule in SMALL]
    mistaken = torch.rand(len(fires), 1, generator=generator) / 6
    noisy = torch.tensor(fires) ^ (torch.rand(len(fires), len(places), generator=generator) < mistaken)
    latent, place = noisy.nonzero(as_tuple=True)
    learned = RuleLearner(seen, penalty=penalty).learn(len(fires), Firings(latent, place, torch.ones(len(place))))
    found = {each.latent: {_plain(rule) for rule in each.rules} for each in latent_rules(learned.rules, 16, [0])}
    for i in range(len(fires)):
        oracle = Learner(places, noisy[i].nonzero()[:, 0].tolist(), penalty)
        assert found.get(i, set()) == set(oracle.learn()), i
        assert set(learned.tokens.token[learned.tokens.latent == i].tolist()) == oracle.tokens()


SMALL = [
    lambda token, before: token == 3,
    lambda token, before: token in (3, 4) and before[-1:] != [5],
    lambda token, before: token == 2 and 6 in before[-16:],
    lambda token, before: (token == 2 and before[-1:] in ([6], [7])) or token == 8,
    lambda token, before: before[-1:] == [4] or token == 1,
    lambda token, before: len(before) < 4,
    lambda token, before: token == 7 and len(before) > 8 and 1 not in before[-16:],
    lambda token, before: (token + sum(before[-2:])) % 3 == 0,
    lambda token, before: before[-2:-1] == [5],
    lambda token, before: False,
]


def _plain(rule):
    asks = {"after": "previous", "within": "within", "first": "first"}

    def question(each):
        return None if each is None else (asks[each.asks], each.reach if each.asks == "first" else each.token)

    return rule.token, question(rule.condition), frozenset(map(question, rule.unless))
