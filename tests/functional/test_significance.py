import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import quad

from sae_lens_metrics.functional.significance import holm, student_p, student_quantile, welch_degrees_of_freedom


@pytest.mark.parametrize("t", [1e-9, 0.01, 0.5, 1.0, 1.7, 3.0, 10.0, 37.0, 1e4])
def test_the_tail_is_that_of_the_closed_forms(t):
    """One and two degrees of freedom have a closed form each (Cauchy's distribution is the first), written so that no digit cancels."""
    root = math.sqrt(t * t + 2)
    for df, expected in ((1, 2 / math.pi * math.atan2(1, t)), (2, 2 / (root * (root + t)))):
        assert student_p(t, df) == pytest.approx(expected, rel=1e-9)
        assert student_p(-t, df) == student_p(t, df)


@given(st.floats(0, 50), st.floats(0.5, 1e4))
def test_the_tail_is_the_integral_of_the_density(t, df):
    log_scale = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - math.log(df * math.pi) / 2

    def density(x):
        return math.exp(log_scale - (df + 1) / 2 * math.log1p(x * x / df))

    inside = sum(quad(density, *ends, epsabs=1e-12)[0] for ends in itertools.pairwise([*(edge for edge in (0, 2, 8) if edge < t), t]))
    assert student_p(t, df) == pytest.approx(1 - 2 * inside, abs=1e-9)


def test_ends_of_the_tail():
    assert student_p(0.0, 5) == 1
    assert student_p(1e200, 5) == pytest.approx(0, abs=1e-300)
    assert student_p(float("inf"), 5) == 0
    assert student_p(1.96, 1e8) == pytest.approx(2 * stats.norm.sf(1.96), rel=1e-6)
    with pytest.raises(ValueError, match="degrees of freedom"):
        student_p(1.0, 0)


def test_welch_is_scipys():
    draw = random.Random(0)
    for n, m, spread in itertools.product((3, 8, 40), (2, 25), (0.1, 1, 5)):
        a, b = [draw.gauss(0, 1) for _ in range(n)], [draw.gauss(0.5, spread) for _ in range(m)]
        df = welch_degrees_of_freedom((stats.sem(a), n - 1), (stats.sem(b), m - 1))
        expected = stats.ttest_ind(b, a, equal_var=False)
        assert df == pytest.approx(expected.df)
        t = (sum(b) / m - sum(a) / n) / (stats.sem(a) ** 2 + stats.sem(b) ** 2) ** 0.5
        assert student_p(t, df) == pytest.approx(expected.pvalue)
    assert welch_degrees_of_freedom((0.0, 3), (1.0, 7)) == 7
    assert welch_degrees_of_freedom((1e-200, 3), (1e-200, 3)) == pytest.approx(6)
    assert welch_degrees_of_freedom((1.0, 0), (1.0, 7)) == 0
    assert welch_degrees_of_freedom((0.0, 0), (1.0, 7)) == 7


def stepwise_rejections(p_values, alpha):
    """Holm's own words: the smallest at α / m, the next at α / (m - 1), until one is not rejected."""
    rejected, left = set(), set(range(len(p_values)))
    while left:
        i = min(left, key=lambda j: p_values[j])
        if p_values[i] > alpha / len(left):
            break
        rejected.add(i)
        left.remove(i)
    return rejected


@settings(max_examples=30, deadline=None)  # the library collects garbage at each call
@given(st.lists(st.one_of(st.floats(0, 1), st.floats(0, 0.05), st.just(0.01)), max_size=12), st.floats(0.001, 0.5))
def test_holm_rejects_what_the_stepwise_procedure_does(p_values, alpha):
    corrected = holm(p_values)
    expected = stepwise_rejections(p_values, alpha)
    for i, value in enumerate(corrected):
        assert p_values[i] <= value <= 1
        if abs(value - alpha) > 1e-12:
            assert (value <= alpha) == (i in expected)


def test_holm_by_hand():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_quantiles_are_scipys():
    for df in (1, 2.5, 30, 1e6):
        assert student_quantile(0.95, df) == pytest.approx(stats.t.ppf(0.975, df))
    with pytest.raises(ValueError, match="freedom"):
        student_quantile(0.95, 0)
    with pytest.raises(ValueError, match="level"):
        student_quantile(95, 3)
