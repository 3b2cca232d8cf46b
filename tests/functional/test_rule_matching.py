"""Rules match where reading them says so, whichever way they are looked up."""

import torch
from planted_rules import text, windows

from sae_lens_metrics.functional.rule_matching import RuleMatcher
from sae_lens_metrics.functional.rule_text import FIRST, NONE, PREVIOUS, REACHES, WITHIN
from sae_lens_metrics.functional.rules import Rules, Unless
from sae_lens_metrics.metrics.rules.written import latent_rules


def random_rules(latents, seed):
    """Rules of every kind, about tokens of the text and others, with exceptions."""
    generator = torch.Generator().manual_seed(seed)
    n = 8 * latents
    latent = torch.arange(latents).repeat_interleave(8)
    kind = torch.randint(0, 4, (n,), generator=generator)
    token = torch.randint(1, 45, (n,), generator=generator)
    token[(kind > 0) & (torch.rand(n, generator=generator) < 0.2)] = NONE
    other = _others(kind, generator)
    rule = torch.randint(0, n, (2 * n,), generator=generator).sort().values
    excepted = torch.randint(PREVIOUS, FIRST + 1, (2 * n,), generator=generator)
    return Rules(latent, token, kind, other, torch.rand(n, generator=generator), Unless(rule, excepted, _others(excepted, generator)))


def _others(kind, generator):
    reaches = torch.tensor(REACHES)[torch.randint(0, len(REACHES), kind.shape, generator=generator)]
    tokens = torch.randint(1, 45, kind.shape, generator=generator)
    return torch.where(kind == FIRST, reaches, torch.where((kind == PREVIOUS) | (kind == WITHIN), tokens, 0))


def test_matches_are_those_of_reading_each_rule():
    tokens, seen = text(12, seed=6)
    rules = random_rules(6, seed=0)
    matches = rules.match(seen)
    found = dict(zip(zip(matches.latent.tolist(), matches.place.tolist(), strict=True), rules.rank[matches.rule].tolist(), strict=True))
    expected = {}
    for own in latent_rules(rules, 16, [0]):
        for place, (token, before) in enumerate(windows(tokens)):
            first = next((i for i, rule in enumerate(own.rules) if rule.holds(before, token)), None)
            if first is not None:
                expected[own.latent, place] = first
    assert found == expected


def test_predictions_are_the_values_of_what_matches():
    tokens, seen = text(12, seed=6)
    rules = random_rules(6, seed=0)
    predicted = torch.zeros(6, len(seen))
    matches = rules.match(seen)
    predicted[matches.latent, matches.place] = rules.value[matches.rule]
    for own in latent_rules(rules, 16, [0]):
        expected = [value for row in tokens for value in own.predict(row)[1:]]
        torch.testing.assert_close(predicted[own.latent], torch.tensor(expected), atol=1e-5, rtol=1e-4)


def test_both_ways_of_looking_up_find_the_same():
    _, seen = text(12, seed=6)
    rules = random_rules(30, seed=1)
    expected = rules.match(seen)
    for found in (rules.match(seen, at_once=1), rules.match(seen, at_once=100), RuleMatcher(rules, 64).match(seen)):
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_some_rules_keep_their_exceptions():
    rules = random_rules(5, seed=2)
    which = torch.arange(len(rules)).flip(0)[::2]
    which = which[rules.latent[which].argsort(stable=True)]
    some = rules.some(which)
    for new, old in enumerate(which.tolist()):
        own, before = (_exceptions(each, rule) for each, rule in ((some, new), (rules, old)))
        assert own == before


def _exceptions(rules, rule):
    which = rules.unless.rule == rule
    return sorted(zip(rules.unless.kind[which].tolist(), rules.unless.other[which].tolist(), strict=True))
