"""Rankings of many SAEs: the tests are those of ``compare``, pair by pair, and each says what cannot be compared."""

import random
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from compared_reports import estimate, report, values

from sae_lens_metrics import Estimate, compare_reports
from sae_lens_metrics.comparison.contenders import Contenders
from sae_lens_metrics.comparison.ranking import ALPHA, rankings
from sae_lens_metrics.errors import ResultError
from sae_lens_metrics.functional.significance import holm
from sae_lens_metrics.results import Repeated
from sae_lens_metrics.results.estimate import with_drawn


def ranked(reports):
    contenders = Contenders()
    for each in reports:
        contenders.add(each)
    return {each.number: each for each in rankings(contenders)}


def alike(ranking):
    """The pairs of SAEs that no difference beyond noise is between."""
    return {frozenset((pool.saes[i], pool.saes[j])) for pool in ranking.pools for group in pool.groups for i, j in combinations(group, 2)}


def together(ranking):
    """The pairs of SAEs that can be compared."""
    return {frozenset(pair) for pool in ranking.pools for pair in combinations(pool.saes, 2)}


def exact(value):
    """A value that is the same in each unit."""
    return Estimate(value, 0.0, 30, "documents", influence=[0.0] * 30, df=29.0)


def drawn_report(draw, seed):
    """One of many, evaluated in one of several ways."""
    settings = {
        "seed": draw.choice([0, 0, 0, 1]),
        "n2g.latents": draw.choice([None, None, 8]),
        "n2g.variant": draw.choice(["released"] * 4 + ["strict"]),
    }
    shared, moved = values(99), 0.15 * seed
    own = [estimate(shared + 0.2 * values(10 * seed + i) + moved) for i in range(6)]
    own = [exact(float(draw.randrange(3))) if draw.random() < (0.6 if i == 2 else 0.25) else each for i, each in enumerate(own)]
    again = Repeated(0.1, 4, "groups of texts", influence=[0.02 * each for each in values(seed, 4)])
    if draw.random() < 0.25:
        again = Repeated(0.0, 4, "groups of texts", influence=[0.0] * 4)
    metrics = {
        "n2g": {"f1": with_drawn(own[0], 0.01, 5.0), "f1_full_sample": replace(own[1], of="latents", influence=None)},
        "probe": {"held_out_loss": replace(own[2], of="tasks", n=30, repeated=draw.choice([again, again, None])), "loss": own[3]},
        "ablation": {"sparsity": own[4]},
    }
    made = report(metrics, text=draw.choice(["abc", "abc", "abc", "other"]), settings=settings, explained_variance=own[5])
    made.metrics["probe"].tables["tasks"] = [
        {"task": f"t{i}", "fingerprint": draw.choice("aaaaaaab") if i == 0 else "x"} for i in range(30)
    ]
    sae = {"d_sae": draw.choice([64, 64, 128]), "hook_name": draw.choice(["blocks.1", "blocks.1", "blocks.2"]), "architecture": "topk"}
    return made.with_provenance(sae=sae)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_pair_is_compared_as_compare_does(seed):
    """An oracle: every two reports through ``compare_reports``, and Holm's correction over the pairs of each number."""
    draw = random.Random(seed)
    reports = [drawn_report(draw, each) for each in range(12)]
    p_values, comparable = {}, {}
    for i, j in combinations(range(len(reports)), 2):
        try:
            found = compare_reports({"a": reports[i], "b": reports[j]}).differences
        except ResultError:
            continue
        for each in found:
            if not each.by_size:
                comparable.setdefault(each.number, set()).add(frozenset((i, j)))
            if each.p is not None:
                p_values.setdefault(each.number, {})[frozenset((i, j))] = each.p
    shown = ranked(reports)
    assert {*p_values} == {*shown}
    apart_somewhere = 0
    for number, found in p_values.items():
        assert together(shown[number]) == comparable[number], number
        assert shown[number].pairs == len(found), number
        apart = {pair for pair, p in zip(found, holm([*found.values()]), strict=True) if p <= ALPHA}
        untested = {place for pair in comparable[number] for place in pair} - {place for pair in found for place in pair}
        assert {*shown[number].untested} == untested, number
        assert alike(shown[number]) == {pair for pair in comparable[number] - apart if not pair & untested}, number
        apart_somewhere += len(apart)
    assert apart_somewhere > 20


def test_pools_hold_the_best_first_and_say_why_they_are_apart():
    reports = [report({"probe": {"loss": estimate(values(i) + i), "held_out_loss": estimate(values(i) + i)}}) for i in range(4)]
    reports = [each.with_provenance(sae={"d_sae": 64 << (i % 2)}) for i, each in enumerate(reports)]
    found = ranked(reports)
    loss, held_out = found["probe/loss"], found["probe/held_out_loss"]
    assert [pool.saes for pool in loss.pools] == [[0, 2], [1, 3]]
    assert loss.instead == "probe/held_out_loss"
    assert len(loss.apart) == 1
    assert "number of latents" in loss.apart[0]
    assert [pool.saes for pool in held_out.pools] == [[0, 1, 2, 3]]
    assert held_out.apart == []


def test_other_text_is_compared_as_independent_and_that_is_said():
    same = [report(explained_variance=estimate(values(0) + 0.001 * values(i))) for i in range(3)]
    other = [replace(each).with_provenance(corpus={"tokens_sha256": str(i)}) for i, each in enumerate(same)]
    assert ranked(same)["sanity/explained_variance"].unpaired == []
    (reason,) = ranked(other)["sanity/explained_variance"].unpaired
    assert "the texts differ" in reason


def test_near_one_it_is_the_distance_that_counts():
    """0.9 and 1.1 are not the same value, but as far from one."""
    noise = 0.01 * values(0)
    reports = [report({"shrinkage": {"ratio": estimate(1 + each + noise)}}) for each in (-0.1, 0.1, 0.3, 0.01)]
    assert compare_reports({"a": reports[0], "b": reports[1]}).differences[0].verdict == "higher"
    (pool,) = ranked(reports)["shrinkage/ratio"].pools
    assert pool.saes[0] == 3
    assert {*pool.saes[1:3]} == {0, 1}
    assert pool.groups == [[0], [1, 2], [3]]


def test_what_is_not_tested_has_no_letter_and_says_why():
    exact = Estimate(0.5, None, 64, "latents", "an exact count")
    reports = [
        report({"n2g": {"precision": estimate(values(i))}}, dead_latents=exact, explained_variance=each)
        for i, each in enumerate((estimate(values(0)), estimate(values(1) + 5), exact, Estimate.absent("it failed", of="documents")))
    ]
    found = ranked(reports)
    assert found["sanity/dead_latents"].untested == dict.fromkeys(range(4), "an exact count")
    (pool,) = found["sanity/explained_variance"].pools
    assert found["sanity/explained_variance"].untested == {2: "an exact count"}
    assert pool.saes == [1, 2, 0]
    assert pool.groups == [[0], [2]]
    baseline = ranked([report({"probe": {"random_loss": estimate(values(i))}}) for i in range(3)])["probe/random_loss"]
    assert baseline.ungrouped == "a baseline"
    assert baseline.pools[0].groups == []


def test_two_values_without_spread_are_not_tested():
    """As in ``compare_reports``; one of them against a value with a spread is."""
    still = [report(l0=exact(each)) for each in (8.0, 16.0, 16.0)]
    assert {each.untested for each in compare_reports({"a": still[0], "b": still[1]}).differences} == {"no spread in either"}
    found = ranked(still)["sanity/l0"]
    assert found.untested == dict.fromkeys(range(3), "no spread in it or any other one")
    assert (found.pools[0].groups, found.pairs) == ([], 0)
    found = ranked([*still, report(l0=estimate(values(0)))])["sanity/l0"]
    assert (found.untested, found.pairs) == ({}, 3)
    assert {*map(tuple, found.pools[0].groups)} == {(0, 1, 2), (3,)}


def test_saes_that_are_alone_in_their_sets_are_no_pairs():
    reports = [report({"probe": {"loss": estimate(values(i))}}).with_provenance(sae={"d_sae": 64 << i}) for i in range(3)]
    found = ranked(reports)["probe/loss"]
    assert (len(found.pools), found.pairs, found.untested) == (3, 0, {})


def test_untested_saes_may_have_any_rank():
    """Where ranks are kept in place of groups, too."""
    draw = np.random.default_rng(0)
    common = [values(seed, 40) for seed in range(40)]
    reports = [report(l0=estimate(common[i // 2] + 1e-3 * draw.standard_normal(40) + 0.01 * (i % 2), None)) for i in range(80)]
    (before,) = ranked(reports)["sanity/l0"].pools
    (after,) = ranked([*reports, report(l0=Estimate(-9.0, None, 40, "documents", "an exact count"))])["sanity/l0"].pools
    assert after.saes == [*before.saes, 80]
    assert after.open == [*((best, worst + 1) for best, worst in before.open), None]


def test_where_groups_would_be_too_many_the_open_ranks_are_kept():
    """Half of the SAEs are alike but for a trifle that the text hides, and far from nothing else: pairs differ without any order."""
    draw = np.random.default_rng(0)
    common = [values(seed, 40) for seed in range(40)]
    reports = [
        report(explained_variance=estimate(common[i // 2] + 1e-3 * draw.standard_normal(40) + 0.01 * (i % 2), None)) for i in range(80)
    ]
    found = ranked(reports)["sanity/explained_variance"]
    (pool,) = found.pools
    assert pool.groups == []
    assert len(pool.open) == 80
    for rank, (best, worst) in enumerate(pool.open, start=1):
        assert 1 <= best <= rank <= worst <= 80
    assert any(best > 1 for best, _ in pool.open)


def test_a_metric_that_is_not_installed_is_ranked_by_size():
    reports = [report({"unknown": {"it": estimate(values(i) + 9 * i)}}) for i in range(3)]
    found = ranked(reports)["unknown/it"]
    assert found.better is None
    assert found.pools[0].saes == [2, 1, 0]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", range(4))
def test_whatever_a_file_may_hold_is_ranked_without_a_word(seed):
    draw = random.Random(seed)

    def number():
        return draw.choice([0.0, 1.0, -1.0, 1e100, -1e100, 1e-320, draw.gauss(0, 1)])

    def any_estimate():
        n, of = draw.choice([0, 1, 2, 8]), draw.choice(["documents", "tasks", "latents", ""])
        influence = draw.choice([None, [number() for _ in range(8)]])
        again = draw.choice(
            [None, Repeated(abs(number()), 3, "groups", draw.choice([None, 0.0]), draw.choice([None, [number() for _ in range(3)]]))]
        )
        df, drawn, drawn_df = draw.choice([None, 0.0, 1e-300, 7.5]), draw.choice([None, 0.0, abs(number())]), draw.choice([None, 0.0, 3.0])
        return Estimate(number(), draw.choice([None, abs(number())]), n, of, None, influence, df, drawn, drawn_df, again)

    def any_report():
        numbers = {name: any_estimate() for name in ("loss", "held_out_loss")}
        made = report({"probe": numbers, "shrinkage": {"ratio": any_estimate()}}, l0=any_estimate())
        about = {
            "sae": draw.choice([None, {}, {"d_sae": 3}, {"hook_name": "a.1"}]),
            "config": draw.choice([None, {}, {"seed": "x", "probe": 3}]),
        }
        return replace(
            made, provenance={**about, "corpus": draw.choice([3, {}, {"tokens_sha256": None}]), "metric_versions": draw.choice([3, {}])}
        )

    found = ranked([any_report() for _ in range(6)])
    for each in found.values():
        assert sorted(place for pool in each.pools for place in pool.saes) == list(range(6))
