"""Counts and the choices that are made from them, against pandas and against trying everything."""

import numpy as np
import pandas as pd
import pytest
import torch
from planted_rules import text, windows
from rules_oracle import best_by_f1, bits_above, surprise

from sae_lens_metrics.functional import rule_selection
from sae_lens_metrics.functional.rule_cells import frequent_contexts
from sae_lens_metrics.functional.rule_counts import Tally, best_of_groups
from sae_lens_metrics.functional.rule_text import ALONE, FIRST, PREVIOUS, REACHES, WITHIN


@pytest.fixture(scope="module")
def frame():
    """Each place with every answer to every question, as a table."""
    tokens, _ = text(30, seed=4)
    rows = []
    for place, (token, before) in enumerate(windows(tokens)):
        rows.append((place, token, ALONE, 0))
        rows += [(place, token, PREVIOUS, other) for other in before[-1:]]
        rows += [(place, token, WITHIN, other) for other in sorted(set(before[-16:]))]
        rows += [(place, token, FIRST, reach) for reach in REACHES if len(before) < reach]
    return pd.DataFrame(rows, columns=["place", "token", "kind", "other"])


@pytest.mark.parametrize("kind", [ALONE, PREVIOUS, WITHIN, FIRST])
@pytest.mark.parametrize("any_token", [False, True])
def test_postings_hold_the_places_that_pandas_finds(frame, kind, any_token):
    _, seen = text(30, seed=4)
    postings = seen.postings(kind, any_token=any_token)
    columns = ["other"] if any_token else ["token", "other"]
    groups = frame[frame.kind == kind].groupby(columns).place.apply(lambda places: sorted(places))
    keys = torch.tensor(np.array([group if isinstance(group, tuple) else (0, group) for group in groups.index]))
    token = torch.full_like(keys[:, 0], -1) if any_token else keys[:, 0]
    of, place = postings.places(seen.key(token, keys[:, 1]))
    assert [place[of == i].tolist() for i in range(len(keys))] == groups.tolist()
    assert len(place) == len(postings.key)


def test_the_frequent_contexts_are_those_of_pandas(frame):
    _, seen = text(30, seed=4)
    found = frequent_contexts(seen, WITHIN, most=5)
    counts = frame[frame.kind == WITHIN].groupby(["token", "other"]).size()
    for token in set(found.key.tolist()):
        own = counts[token]
        chosen = found.other[found.key == token].tolist()
        assert sorted(own[chosen], reverse=True) == sorted(own[own > 1], reverse=True)[:5]


def test_a_tally_counts():
    keys = torch.randint(0, 30, (500,), generator=torch.Generator().manual_seed(0))
    expected = pd.Series(keys.numpy()).value_counts()
    asked = torch.arange(40)
    assert Tally.of(keys).at(asked).tolist() == [int(expected.get(key, 0)) for key in range(40)]
    assert Tally.of(keys[:0]).at(asked).sum() == 0


def test_the_best_of_each_group_is_the_first_of_the_largest():
    score, group = torch.tensor([1.0, 3.0, 3.0, -2.0, -1.0]), torch.tensor([0, 0, 0, 2, 2])
    assert best_of_groups(score, group, 3).tolist() == [False, True, False, False, True]


def test_bits_are_those_of_their_definition():
    for hits, count in ((0, 5), (3, 7), (7, 7), (1, 1000)):
        found = rule_selection.surprise(torch.tensor([hits]), torch.tensor([count]))
        assert float(found) == pytest.approx(surprise(hits, count))
        above = rule_selection.bits_above(torch.tensor([hits]), torch.tensor([count]), torch.tensor([0.1], dtype=torch.float64))
        assert float(above) == pytest.approx(bits_above(hits, count, 0.1))


@pytest.mark.parametrize("seed", range(20))
def test_a_threshold_on_precision_is_as_good_as_the_best_of_all_sets(seed):
    generator = torch.Generator().manual_seed(seed)
    count = torch.randint(1, 9, (16,), generator=generator)
    precision = torch.rand(16, generator=generator, dtype=torch.float64)
    group = torch.arange(16) // 8
    fired = torch.tensor([int((precision * count)[group == g].sum()) + 4 for g in range(2)])
    chosen = rule_selection.best_by_f1(precision, count, group, fired)
    for g in range(2):
        own = (group == g).nonzero()[:, 0]
        best, some = best_by_f1([(float(precision[i] * count[i]), int(count[i])) for i in own], int(fired[g]))
        assert float(chosen.f1[g]) == pytest.approx(best)
        assert chosen.which[own].nonzero()[:, 0].tolist() == list(some)
        assert torch.equal(chosen.which[own], precision[own] > best / 2)


def test_entropies_are_those_of_pandas():
    generator = torch.Generator().manual_seed(0)
    token, group = torch.randint(0, 9, (200,), generator=generator), torch.randint(0, 3, (200,), generator=generator)
    found = rule_selection.entropies(token, group, 4)
    for g in range(3):
        share = pd.Series(token[group == g].numpy()).value_counts(normalize=True)
        assert float(found[g]) == pytest.approx(-(share * np.log2(share)).sum())
    assert float(found[3]) == 0
