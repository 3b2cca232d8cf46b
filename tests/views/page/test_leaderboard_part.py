"""What a page holds to rank its SAEs by, without a browser."""

import json
from dataclasses import replace

import numpy as np
import pytest
from page_parts import parts_of
from ranked_reports import ranked_reports
from report_data import make_report

from sae_lens_metrics.comparison.contenders import Contenders
from sae_lens_metrics.comparison.ranking import rankings
from sae_lens_metrics.results import Estimate, MetricResult
from sae_lens_metrics.views.page import write_report


def rankings_of(reports):
    contenders = Contenders()
    for report in reports.values():
        contenders.add(report)
    return {each.number: each for each in rankings(contenders)}


def members(runs):
    return [at for first, last in zip(runs[::2], runs[1::2], strict=True) for at in range(first, last + 1)]


@pytest.fixture(scope="module")
def reports():
    return ranked_reports()


@pytest.fixture(scope="module")
def part(reports, tmp_path_factory):
    return json.loads(parts_of(write_report(reports, tmp_path_factory.mktemp("page") / "page.html"))["leaderboard"])


def test_the_part_holds_the_rankings(part, reports):
    expected = rankings_of(reports)
    assert (
        {*part["numbers"]}
        == {*expected}
        == {name for report in reports.values() for name, each in report.estimates() if each.value is not None}
    )
    for number, ranking in expected.items():
        held = part["numbers"][number]
        assert [(pool["saes"], [members(group) for group in pool["groups"]]) for pool in held["pools"]] == [
            (pool.saes, pool.groups) for pool in ranking.pools
        ]
        assert (held["better"], held["unpaired"], held["ungrouped"]) == (ranking.better, ranking.unpaired, ranking.ungrouped)
        assert held["pairs"] == ranking.pairs


def test_it_knows_what_each_sae_is_and_which_baselines_a_number_has(part):
    assert part["saes"][2] == {"model": "tiny", "layer": 1, "hook": "blocks.*.hook_resid_post", "width": 8, "architecture": "topk"}
    assert part["numbers"]["probe/loss"]["baselines"]["random_loss"] == "random directions"
    assert part["numbers"]["n2g/f1"]["baselines"] == {}


def test_layers_are_read_from_hooks(tmp_path):
    long = "a." + "9" * 5000
    expected = {
        "blocks.11.hook_mlp_out": (11, "blocks.*.hook_mlp_out"),
        "transformer.h.5": (5, "transformer.h.*"),
        "hook_embed": (None, "hook_embed"),
        "blocks2.x": (None, "blocks2.x"),
        long: (None, long),
        None: (None, None),
    }
    reports = {str(i): make_report(2, seed=i).with_provenance(sae={"hook_name": hook}) for i, hook in enumerate(expected)}
    abouts = json.loads(parts_of(write_report(reports, tmp_path / "page.html"))["leaderboard"])["saes"]
    assert [(about["layer"], about["hook"]) for about in abouts] == [*expected.values()]


def test_two_saes_are_compared_and_not_ranked(reports, tmp_path):
    two = parts_of(write_report(dict(list(reports.items())[:2]), tmp_path / "two.html"))
    assert "leaderboard" not in two
    assert not json.loads(two["contents"])["ranked"]


def test_it_is_small_however_many_pairs_there_are(tmp_path):
    """Of one error, groups are runs of neighbours, and no more than SAEs: 100 of them have 4,950 pairs."""
    values = np.random.default_rng(0).uniform(0, 1, 100)
    slim = replace(make_report(2, examples=0), metrics={})
    reports = {
        str(i): replace(slim, metrics={"n2g": MetricResult({"f1": Estimate(value, 0.02, 30, "documents")})})
        for i, value in enumerate(values.tolist())
    }
    held = json.loads(parts_of(write_report(reports, tmp_path / "page.html"))["leaderboard"])["numbers"]["n2g/f1"]
    (pool,) = held["pools"]
    assert pool["saes"] == np.argsort(-values).tolist()
    assert len(json.dumps(held)) < 100 * 30
    assert 10 < len(pool["groups"]) <= 100
    assert all(len(group) == 2 for group in pool["groups"])
