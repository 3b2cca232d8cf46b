"""All pairs at once are as each pair by itself."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from sae_lens_metrics.functional.pairwise_tests import PairErrors, independent_errors, paired_errors, told_apart
from sae_lens_metrics.functional.significance import welch_degrees_of_freedom

K, UNITS = 6, 25
RNG = np.random.default_rng(0)
DATA = RNG.standard_normal((K, UNITS)) * RNG.uniform(0.5, 3, (K, 1)) + 5 * RNG.standard_normal(UNITS) + np.linspace(0, 1, K)[:, None]
MEANS = DATA.mean(axis=1)
NONE, SOME = np.zeros(K), np.ones(K)


def p_values(errors, values=MEANS):
    return {(i, j): 2 * stats.t.sf(abs(values[i] - values[j]) / errors.stderr[i, j], errors.df[i, j]) for i, j in combinations(range(K), 2)}


def test_independent_means_are_scipys_welch_test():
    errors = independent_errors(stats.sem(DATA, axis=1), np.full(K, UNITS - 1.0))
    for (i, j), p in p_values(errors).items():
        assert p == pytest.approx(stats.ttest_ind(DATA[i], DATA[j], equal_var=False).pvalue)


@pytest.mark.parametrize("common", [0.0, 1e6], ids=["", "with much in common"])
def test_paired_means_are_scipys_paired_test(common):
    influences = (DATA - MEANS[:, None] + common * RNG.standard_normal(UNITS)) / UNITS
    errors = paired_errors(influences, np.full(K, float(UNITS)), np.full(K, UNITS - 1.0), NONE, SOME)
    for (i, j), p in p_values(errors).items():
        assert p == pytest.approx(stats.ttest_rel(DATA[i], DATA[j]).pvalue, rel=1e-5)


def test_what_was_drawn_for_each_alone_is_added_to_what_does_not_cancel():
    influences, drawn = (DATA - MEANS[:, None]) / UNITS, np.array([0, 0, 0.3, 0.1, 0, 2.0])
    n, df = np.array([25.0, 20, 25, 25, 12, 25]), np.array([24.0, 9, 24, 7.5, 11, 24])
    errors = paired_errors(influences, n, df, drawn, np.full(K, 4.0))
    for i, j in combinations(range(K), 2):
        fewer = min(n[i], n[j])
        parts = [((fewer / (fewer - 1) * ((influences[i] - influences[j]) ** 2).sum()) ** 0.5, min(df[i], df[j]))]
        parts += [(drawn[each], 4.0) for each in (i, j) if drawn[each]]
        assert errors.stderr[i, j] == errors.stderr[j, i] == pytest.approx(sum(stderr**2 for stderr, _ in parts) ** 0.5)
        assert errors.df[i, j] == pytest.approx(welch_degrees_of_freedom(*parts) if len(parts) > 1 else parts[0][1])


def test_errors_that_are_not_there_or_not_known():
    errors = independent_errors(np.array([0.0, 0.0, 1.0, 1.0]), np.array([5.0, 5.0, 0.0, 5.0]))
    assert errors.stderr[0, 1] == 0
    assert errors.df[0, 1] == np.inf
    assert errors.df[0, 2] == errors.df[2, 3] == 0
    assert errors.df[0, 3] == 5
    values, every, none = np.array([0.0, 1e-3, 1e6, 0.0]), np.ones((4, 4), dtype=bool), np.zeros((4, 4))
    apart = told_apart(values, errors, every, none, 0.05)
    assert apart[0, 1], "no error tells everything"
    assert not apart[2].any(), "an error that is not known tells nothing"
    assert not told_apart(values, errors, every, none + 1e-3, 0.05).any(), "but for what numbers do not resolve"


def test_pairs_are_told_apart_as_holms_steps_say():
    values, tested = np.array([0.0, 0.1, 2.2, 3.4, 3.5, 9.0]), RNG.random((K, K)) < 0.8
    tested = tested & tested.T
    errors = PairErrors(np.full((K, K), 0.7), np.full((K, K), 12.0))
    apart = told_apart(values, errors, tested, np.zeros((K, K)), 0.05)
    left = {pair: p for pair, p in p_values(errors, values).items() if tested[pair]}
    expected = set()
    for pair in sorted(left, key=left.__getitem__):
        if left[pair] > 0.05 / (len(left) - len(expected)):
            break
        expected.add(pair)
    assert 0 < len(expected) < len(left)
    assert {(i, j) for i, j in combinations(range(K), 2) if apart[i, j]} == expected
    assert np.array_equal(apart, apart.T)
