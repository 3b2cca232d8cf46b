"""Errors over families of tasks."""

from collections import Counter

import pytest
import torch
from scipy.stats import t

from sae_lens_metrics.metrics.probe.sampled_tasks import SampledTasks
from sae_lens_metrics.metrics.probe.tasks.catalogue import catalogue

PAPER = [entry.family for entry in catalogue().values()]


def degrees_of_freedom(estimate):
    return estimate.n - 1


def coverage(families, rho, repetitions=1000):
    """How often a 95 % interval of the mean over tasks holds 0, its expectation, where tasks of one family have the correlation rho."""
    generator = torch.Generator().manual_seed(int(100 * rho))
    numbers = {family: number for number, family in enumerate(dict.fromkeys(families))}
    of_tasks = torch.tensor([numbers[family] for family in families])
    units, covered = SampledTasks(families), 0
    for _ in range(repetitions):
        common, own = (torch.randn(n, generator=generator, dtype=torch.float64) for n in (len(numbers), len(families)))
        estimate = units.mean(rho**0.5 * common[of_tasks] + (1 - rho) ** 0.5 * own)
        covered += abs(estimate.value) <= t.ppf(0.975, degrees_of_freedom(estimate)) * estimate.stderr
    return covered / repetitions


@pytest.mark.parametrize("rho", [0.0, 0.2, 0.5])
def test_intervals_over_the_families_of_the_papers_tasks_hold_what_they_should(rho):
    """Over tasks they would hold it 95, 74 and 54 % of the time."""
    assert len(PAPER) == 61
    assert sorted(Counter(PAPER).values()) == [1, 1, 1, 1, 2, 4, 4, 4, 5, 8, 9, 21]
    assert 0.86 < coverage(PAPER, rho) < 0.98


@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_intervals_over_the_four_families_of_generated_tasks(rho):
    families = ["format"] * 4 + ["code"] * 5 + ["arithmetic"] * 3 + ["text"]
    assert 0.9 < coverage(families, rho) < 0.98


def test_the_error_is_that_of_a_ratio_of_sums_over_families():
    families, values = ["a", "b", "a", "c"], torch.tensor([1.0, 5.0, 2.0, 4.0], dtype=torch.float64)
    estimate = SampledTasks(families).mean(values)
    assert (estimate.value, estimate.n, estimate.of) == (3, 3, "families")
    assert estimate.influence == pytest.approx([(3 - 2 * 3) / 4, (5 - 3) / 4, (4 - 3) / 4])


def test_where_each_task_is_a_family_the_error_is_that_of_a_mean():
    values = torch.randn(9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    estimate = SampledTasks([f"family {i}" for i in range(9)]).mean(values)
    assert estimate.stderr == pytest.approx(float(values.std()) / 3)
    assert SampledTasks([f"family {i}" for i in range(9)]).correlation(values).value is None


def test_the_correlation_of_families_is_found():
    values = torch.tensor([1.0, 1.1, 3.0, 3.1, 7.0, 7.1])
    estimate = SampledTasks(["a", "a", "b", "b", "c", "c"]).correlation(values)
    assert (estimate.n, estimate.of) == (3, "families")
    assert estimate.value == pytest.approx(1, abs=0.01)
    assert SampledTasks(["a"] * 6).correlation(values).value is None
