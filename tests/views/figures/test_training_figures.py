"""Figures over a training run."""

from figure_reports import history

from sae_lens_metrics.results.history import History
from sae_lens_metrics.views.figures import training_figures


def test_lines_hold_the_history_with_its_errors():
    histories = {"a": history(0), "b": history(1, evaluations=1)}
    figures = {figure.name: figure for figure in training_figures(histories)}
    for name in ("probe/held_out_loss", "sanity/l0", "n2g/f1", "explanation/ce_explanation", "ablation/sparsity", "shrinkage/ratio"):
        figure = figures[f"training/{name.replace('/', '_')}"]
        for series, (sae, one) in zip(figure.series, histories.items(), strict=True):
            assert (series.name, series.mark) == (sae, "line")
            assert series.x == [point.samples for point in one.points]
            assert series.y == [point.values[name] for point in one.points]
            assert series.error == [point.values[f"{name}_stderr"] for point in one.points]


def test_a_number_that_one_sae_lacks():
    with_it, without = history(0), history(1)
    for point in without.points:
        del point.values["probe/held_out_loss"]
    del with_it.points[1].values["probe/held_out_loss"]
    del with_it.points[0].values["probe/held_out_loss_stderr"]
    (figure,) = [each for each in training_figures({"b": without, "a": with_it}) if each.name == "training/probe_held_out_loss"]
    (series,) = figure.series
    assert series.x == [with_it.points[0].samples, with_it.points[2].samples]
    assert series.error == [None, with_it.points[2].values["probe/held_out_loss_stderr"]]
    assert series.colour == 1  # the place of its SAE, as in the other figures


def test_what_to_compare_with():
    levels = {figure.name: [level.value for level in figure.levels] for figure in training_figures({"": history()})}
    assert levels["training/shrinkage_ratio"] == [1.0]
    assert levels["training/probe_held_out_loss_minus_random"] == [0.0]
    assert levels["training/probe_held_out_loss"] == []


def test_another_packages_metric_and_nothing_at_all():
    (other,) = [each for each in training_figures({"": history()}) if each.name == "training/other_number"]
    assert other.series[0].y == [1.0, 2.0, 3.0]
    assert training_figures({}) == []
    assert training_figures({"": History()}) == []
