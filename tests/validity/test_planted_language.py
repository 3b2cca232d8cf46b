"""What is planted is what is there: rules, directions and effects."""

import pytest
import torch
from planted_language import CONTEXT, HOOK, KINDS, PAD, VOCABULARY, PlantedLanguage, draw_text


@pytest.fixture(scope="module")
def language():
    return PlantedLanguage()


@pytest.fixture(scope="module")
def text(language):
    return draw_text(language, 64, seed=1)


def features_by_hand(triggers, sequence, position):
    """A sum over everything that applies, one by one."""
    fired = triggers.here[sequence[position]].clone()
    if position > 0:
        fired += triggers.before[sequence[position - 1]]
    for (first, second, distance), values in zip(triggers.pairs.tolist(), triggers.fired, strict=True):
        if position >= distance and sequence[position] == second and sequence[position - distance] == first:
            fired += values
    return fired


def test_features_are_what_their_rules_say(language, text):
    features = language.triggers.activations(text)
    for position in (0, 1, 2, 3, CONTEXT - 1):
        for row in range(8):
            torch.testing.assert_close(features[row, position], features_by_hand(language.triggers, text[row].tolist(), position))


def test_each_kind_fires_and_rules_of_one_feature_differ_in_size(language):
    triggers = language.triggers
    assert triggers.features == sum(KINDS.values())
    patterns = torch.cat([triggers.here, triggers.before, triggers.fired])
    count = (patterns > 0).sum(0).split(list(KINDS.values()))
    least_and_most = {kind: (int(each.min()), int(each.max())) for kind, each in zip(KINDS, count, strict=True)}
    assert least_and_most == {
        "token": (1, 1),
        "class": (6, 48),
        "class_before": (6, 48),
        "bigram": (1, 1),
        "skip_gram": (1, 1),
        "polysemantic": (3, 3),
    }
    assert len(triggers.pairs[:, :2].unique(dim=0)) == len(triggers.pairs)
    assert patterns[patterns > 0].min() > 0.8
    assert patterns.max() < 2.4


def test_the_activation_is_the_sum_of_features_along_directions_of_length_one(language, text):
    seen = []
    language.run_with_hooks(text, fwd_hooks=[(HOOK, lambda x, hook: seen.append(x))])
    expected = language.triggers.activations(text) @ language.directions + language.bias
    torch.testing.assert_close(seen[0], expected)
    torch.testing.assert_close(language.directions.norm(dim=1), torch.ones(language.triggers.features))
    assert len(language.directions) > language.directions.shape[1]  # in superposition


def test_taking_a_feature_away_moves_few_logits_of_two_tokens(language):
    direction, position = language.directions[0], 5
    tokens = torch.full((1, 12), VOCABULARY - 1)
    x = language.bias + 3 * torch.nn.functional.one_hot(torch.tensor([position]), 12).T * direction

    def run(activation):
        return language.run_with_hooks(tokens, fwd_hooks=[(HOOK, lambda _, hook: activation[None])])[0]

    moved = run(x) - run(language.bias.expand(12, -1))
    assert moved.abs().sum(1).nonzero()[:, 0].tolist() == [position, position + 1]
    torch.testing.assert_close(moved[position + 1], moved[position] / 2)
    assert int((moved[position].abs() > 1).sum()) <= 12


def test_text_is_drawn_from_the_model(language, text):
    assert text.shape == (64, CONTEXT)
    assert not (text == PAD).any()
    torch.testing.assert_close(text, draw_text(language, 64, seed=1))
    logits = language(text)
    losses = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), text[:, 1:].flatten(), reduction="none")
    log_chances = logits[:, :-1].flatten(0, 1).log_softmax(-1)
    entropy = -(log_chances.exp() * log_chances).sum(-1)
    excess = losses - entropy  # a martingale's differences: none on the average
    assert abs(excess.mean()) < 4 * excess.std() / len(excess) ** 0.5


def test_the_model_is_causal(language, text):
    torch.testing.assert_close(language(text)[:, :10], language(text[:, :10]))
