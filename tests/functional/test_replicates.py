"""What replicates vary by beyond their own errors."""

import statistics

import numpy as np
import pytest

from sae_lens_metrics.functional.replicates import added_variance


def test_without_errors_it_is_the_pooled_variance():
    groups = [[1.0, 2.0, 4.0], [3.0, 3.5], [9.0]]
    pooled = (2 * statistics.variance(groups[0]) + statistics.variance(groups[1])) / 3
    assert added_variance(groups, [0.0, 0.0, 0.0]) == (pytest.approx(pooled), 3)


def test_it_has_no_bias_where_replicates_have_errors_of_their_own():
    draw = np.random.default_rng(0)
    found = []
    for _ in range(4_000):
        values = draw.normal(0, 0.7, (6, 2)) + draw.normal(0, 0.3, (6, 2))
        found.append(added_variance(values.tolist(), [0.09] * 6)[0])
    assert np.mean(found) == pytest.approx(0.49, abs=3 * np.std(found) / len(found) ** 0.5)


def test_errors_that_explain_all_leave_nothing():
    assert added_variance([[1.0, 1.1], [2.0, 2.1]], [1.0, 1.0]) == (0.0, 2)


def test_single_ones_tell_nothing():
    assert added_variance([[1.0], [2.0], []], [0.0, 0.0, 0.0]) == (0.0, 0)
