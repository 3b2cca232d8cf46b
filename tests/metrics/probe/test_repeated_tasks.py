"""Errors of the same probe tasks with other texts."""

import zlib

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from sae_lens_metrics.functional.best_probe import best_probes, held_out_influences, held_out_scores
from sae_lens_metrics.metrics.probe.repeated_tasks import GroupedInfluences, RepeatedTasks
from sae_lens_metrics.metrics.probe.search import Split
from sae_lens_metrics.metrics.probe.tasks import ProbeTask
from sae_lens_metrics.metrics.probe.text_groups import TEXT_GROUPS, text_groups

TEXTS, LATENTS = 240, 6


def task_of(texts, labels, groups=None):
    return ProbeTask("own", "own", "of this test", tuple(texts), tuple(labels), groups)


def draw(seed, passages=1):
    """Two tasks on the same texts, which ask for one of two features each; and what latents say of the texts.

    With passages, so many texts in a row have much in common, and are held out together.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    difficulty = normal(TEXTS // passages).repeat_interleave(passages)  # of a text, or of a passage, in both tasks
    features = [normal(TEXTS) > 0 for _ in range(2)]
    # a text that is hard for one task is hard for the other
    signals = [torch.where(y, 1.0, -1.0) * (0.5 * difficulty).exp() for y in features]
    z = torch.stack([signal + 0.7 * normal(TEXTS) for signal in signals] + [normal(TEXTS) for _ in range(LATENTS - 2)], dim=1)
    groups = None if passages == 1 else tuple(i // passages for i in range(TEXTS))
    return [task_of((f"text {seed} {i}" for i in range(TEXTS)), y.tolist(), groups) for y in features], z


def split_of(task):
    """Whole passages to fit on, in a random half of all."""
    numbers = torch.tensor(task.groups or range(TEXTS))
    order = torch.randperm(int(numbers.max()) + 1, generator=torch.Generator().manual_seed(zlib.crc32(task.texts[0].encode())))
    y, fit = torch.tensor(task.labels), order[numbers] < len(order) // 2
    halves = (y[fit], y[~fit])
    return Split(fit, halves, halves, torch.zeros(int(fit.sum()), dtype=torch.long), (numbers[fit], numbers[~fit]))


def probed(task, z):
    """A task's fitted and held-out loss, and what texts do to both."""
    split = split_of(task)
    (best,) = best_probes(lambda wanted: z[split.fit][:, wanted], LATENTS, [split.y[0]], at_once=LATENTS)
    log_odds = best.log_odds(z[~split.fit][:, best.index])
    fitted_on, y = int(split.fit.sum()), split.y[1]
    influences = {
        "loss": split.whole(fit=best.influence(split.y[0], split.units[0])),
        "held_out_loss": split.whole(test=held_out_influences(log_odds, y, fitted_on, split.units[1]).loss),
    }
    scores = {"loss": best.loss, "held_out_loss": held_out_scores(log_odds, y, fitted_on).loss}
    return scores, GroupedInfluences.of(influences, text_groups(task), split.fit)


def repeated(seed, passages=1):
    """The means over both tasks, and their errors."""
    tasks, z = draw(seed, passages)
    found = [probed(task, z) for task in tasks]
    errors = RepeatedTasks([influences for _, influences in found])
    keys = ("loss", "held_out_loss")
    return {key: (np.mean([scores[key] for scores, _ in found]), errors.error(key, kept=False)) for key in keys}


@pytest.mark.parametrize("passages", [1, 4])
@pytest.mark.parametrize("key", ["loss", "held_out_loss"])
def test_the_error_is_what_other_texts_move_and_its_intervals_hold_what_they_should(key, passages):
    """The texts of a passage belong together, and both tasks are about the same texts: either makes errors over texts alone too small."""
    found = [each[key] for each in runs(passages)]
    values, errors = np.array([value for value, _ in found]), np.array([error.stderr for _, error in found])
    # a standard deviation over 200 draws is known to 5 %
    assert np.sqrt(np.mean(errors**2)) / values.std(ddof=1) == pytest.approx(1, abs=0.15)
    reach = np.array([stats.t.ppf(0.975, error.degrees_of_freedom) * error.stderr for _, error in found])
    assert 0.905 < np.mean(abs(values - values.mean()) < reach) < 0.985


_RUNS = {}


def runs(passages):
    if passages not in _RUNS:
        _RUNS[passages] = [repeated(1000 * passages + seed, passages) for seed in range(200)]
    return _RUNS[passages]


def test_losses_are_scikit_learns():
    tasks, z = draw(0)
    split = split_of(tasks[0])
    x, y = z[split.fit].numpy(), split.y[0].numpy()
    models = [LogisticRegression(C=1e10, tol=1e-10, max_iter=10_000).fit(x[:, [i]], y) for i in range(LATENTS)]
    expected = min(log_loss(y, model.predict_proba(x[:, [i]])) for i, model in enumerate(models))
    assert probed(tasks[0], z)[0]["loss"] == pytest.approx(expected, abs=1e-6)


def influences_of(**columns):
    """Those of one task of eight texts in eight groups, half of them fitted on."""
    fit = torch.arange(8) < 4
    return GroupedInfluences.of({key: torch.tensor(each).double() for key, each in columns.items()}, torch.arange(8), fit)


def test_the_error_of_a_mean_over_tasks_by_hand():
    one = influences_of(loss=[1, 2, -3, 0, 0, 0, 0, 0], held_out_loss=[0, 0, 0, 0, 1, -1, 0, 0])
    two = influences_of(loss=[3, 0, -3, 0, 0, 0, 0, 0], held_out_loss=[0, 0, 0, 0, -1, 1, 0, 0])
    units = RepeatedTasks([one, two])
    found = units.error("loss", kept=True)
    factor = (3 / 4 * 64 / 63) ** 0.5
    assert found.influence == pytest.approx([2 * factor, factor, -3 * factor, 0, *[0] * (TEXT_GROUPS - 4)], rel=1e-5)
    assert found.stderr == pytest.approx((64 / 63 * (4 + 1 + 9)) ** 0.5)
    assert (found.n, found.of, found.degrees_of_freedom) == (4, "groups of texts", 3)
    assert units.error("held_out_loss", kept=False).stderr == 0  # what one task gains the other loses
    assert units.error("held_out_loss", kept=False).influence is None


def test_few_groups_that_hold_a_task_which_decides_have_few_degrees_of_freedom():
    even, uneven = torch.arange(40), torch.tensor([*[0] * 10, *[1] * 5, *range(2, 7), *range(40, 60)])
    fit = torch.arange(40) < 20
    tasks = [GroupedInfluences.of({"loss": scale * fit.double()}, groups, fit) for scale, groups in ((1e-6, even), (1.0, uneven))]
    found = RepeatedTasks(tasks).error("loss", kept=False)
    assert found.degrees_of_freedom == pytest.approx(400 / (100 + 25 + 5) - 1, rel=1e-3)  # those of the second task alone
    assert RepeatedTasks(tasks[:1]).error("loss", kept=False).degrees_of_freedom == pytest.approx(19)


def test_in_a_difference_what_scores_have_in_common_cancels():
    both = influences_of(loss=[1, 2, -3, 0, 0, 0, 0, 0], random_loss=[1, 2, -3, 0, 0, 0, 0, 0])
    assert RepeatedTasks([both]).error("loss", "random_loss", kept=True).stderr == 0


def test_there_is_no_error_where_all_texts_are_in_one_group():
    one = GroupedInfluences.of({"loss": torch.zeros(8)}, torch.zeros(8, dtype=torch.long), torch.arange(8) < 4)
    assert RepeatedTasks([one]).error("loss", kept=True) is None


def test_the_order_of_texts_and_tasks_does_not_matter():
    tasks, z = draw(3, passages=4)
    fit = torch.arange(TEXTS) < TEXTS // 2
    values = {"loss": z[:, 0].double() * fit}
    order = torch.randperm(TEXTS, generator=torch.Generator().manual_seed(1))
    task, groups = tasks[0], text_groups(tasks[0])
    texts, labels, numbers = ([each[i] for i in order] for each in (task.texts, task.labels, task.groups))
    other = task_of(texts, labels, tuple(numbers))
    assert torch.equal(text_groups(other), groups[order])
    first = GroupedInfluences.of(values, groups, fit)
    second = GroupedInfluences.of({"loss": values["loss"][order]}, text_groups(other), fit[order])
    assert torch.allclose(first.sums["loss"], second.sums["loss"])
    a, b = (RepeatedTasks(each).error("loss", kept=True) for each in ([first, second], [second, first]))
    assert a.stderr == pytest.approx(b.stderr)


def test_groups_stay_together_and_follow_texts_from_task_to_task():
    texts = [f"text {i}" for i in range(60)]
    labels = [i % 2 == 0 for i in range(60)]
    alone = text_groups(task_of(texts, labels))
    assert 0 <= int(alone.min()) <= int(alone.max()) < TEXT_GROUPS
    assert len(alone.unique()) > 30
    assert torch.equal(text_groups(task_of(texts[20:], labels[20:])), alone[20:])
    passages = text_groups(task_of(texts, labels, tuple(i // 3 for i in range(60))))
    assert all(len(set(passages[i : i + 3].tolist())) == 1 for i in range(0, 60, 3))
    renumbered = text_groups(task_of(texts[30:], labels[30:], tuple(i // 3 + 7 for i in range(30))))
    assert torch.equal(renumbered, passages[30:])
