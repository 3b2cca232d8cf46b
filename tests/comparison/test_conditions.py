"""What is not compared, or not tested, as something else than the SAEs would move it."""

from dataclasses import replace

import pytest
from compared_reports import estimate, report, values
from specs import SPECS

from sae_lens_metrics import MetricResult, Number, Report, compare_reports
from sae_lens_metrics.comparison.comparability import ranked_by
from sae_lens_metrics.comparison.conditions import differing_conditions
from sae_lens_metrics.errors import ResultError
from sae_lens_metrics.metrics.registry import spec_of_result
from sae_lens_metrics.metrics.spec import MetricSpec

ALL = {name: {number: estimate(values(i + j)) for j, number in enumerate(spec.numbers)} for i, (name, spec) in enumerate(SPECS.items())}


def measured(*, sae=None, corpus=None, settings=None, **more):
    """A report with every number of the built-in metrics, measured under some conditions."""
    metrics = {name: numbers for name, numbers in ALL.items() if name != "sanity"}
    one = report(metrics, settings=settings, **ALL["sanity"])
    changes = {"sae": {"d_sae": 96, "hook_head_index": None, "prepend_bos": True, **(sae or {})}, "corpus": corpus or {}}
    return one.with_provenance(**changes, **more)


def compared(**changes):
    return compare_reports({"A": measured(), "B": measured(**changes)})


def left_out(comparison):
    """The numbers that are missing, by metric."""
    there = {each.number for each in comparison.differences}
    return {name: gone for name, spec in SPECS.items() if (gone := {number for number in spec.numbers if spec.full(number) not in there})}


LOSSES = {"ce_reconstructed", "ce_zeroed"}
ADDED = {"kl_divergence", "loss_recovered"}
SHRINKAGE_LOSSES, SHRINKAGE_ADDED = {"ce_raw", "ce_refined"}, {"ce_added_raw", "ce_added_refined", "ce_gained", "change_mean", "change_sd"}
WHOLE = {name: set(spec.numbers) for name, spec in SPECS.items()}
CROSS_ENTROPIES = {number for number in WHOLE["explanation"] if number.startswith("ce_")}


@pytest.mark.parametrize(
    ("changes", "gone"),
    [
        ({}, {}),
        (
            {"sae": {"hook_name": "blocks.2"}},
            {
                "sanity": LOSSES | ADDED,
                "explanation": WHOLE["explanation"],
                "ablation": WHOLE["ablation"],
                "shrinkage": SHRINKAGE_LOSSES | SHRINKAGE_ADDED,
                "directions": {"next_token"},
            },
        ),
        (
            {"sae": {"model_name": "other"}},
            {
                "sanity": LOSSES | ADDED | {"ce_clean"},
                "n2g": WHOLE["n2g"],
                "explanation": WHOLE["explanation"],
                "ablation": WHOLE["ablation"],
                "shrinkage": SHRINKAGE_LOSSES | SHRINKAGE_ADDED | {"ce_clean"},
                "rules": WHOLE["rules"],
                "directions": {"next_token"},
            },
        ),
        (
            {"corpus": {"tokens": 1_280}},
            {"sanity": {"dead_latents"}, "n2g": WHOLE["n2g"], "explanation": WHOLE["explanation"], "rules": WHOLE["rules"]},
        ),
        (
            {"sae": {"prepend_bos": False}},
            {"sanity": LOSSES | {"ce_clean"}, "explanation": CROSS_ENTROPIES, "shrinkage": SHRINKAGE_LOSSES | {"ce_clean"}},
        ),
        # n2g cuts sequences to 64 tokens, so that a longer context is none to it, and a shorter one is
        ({"corpus": {"context_size": 128}}, {"sanity": LOSSES | {"ce_clean"}, "shrinkage": SHRINKAGE_LOSSES | {"ce_clean"}}),
        (
            {"corpus": {"context_size": 32}},
            {
                "sanity": LOSSES | {"ce_clean"},
                "n2g": WHOLE["n2g"],
                "explanation": WHOLE["explanation"],
                "shrinkage": SHRINKAGE_LOSSES | {"ce_clean"},
                "rules": WHOLE["rules"],
            },
        ),
        ({"sae": {"dtype": "bfloat16", "model_dtype": "bfloat16"}}, {}),
    ],
)
def test_numbers_that_something_else_moves_are_left_out(changes, gone):
    """Across hooks the probe, explained variance, N2G and the ratio of shrinkage can be compared; nothing that runs the model on can."""
    assert left_out(compared(**changes)) == gone


def test_it_is_said_why_by_name():
    notes = compared(sae={"hook_name": "blocks.2"}).notes
    why = "on the hook ('blocks.1' in one and 'blocks.2' in the other)"
    assert f"ablation is left out, as it depends {why}" in notes
    losses = "sanity/ce_reconstructed, sanity/ce_zeroed, sanity/kl_divergence, sanity/loss_recovered"
    assert f"{losses} are left out, as they depend {why}" in notes
    assert "the reports differ in sae, hook_name: 'blocks.1' and 'blocks.2'" in notes
    both = compared(sae={"hook_name": "blocks.2", "model_name": "other"}).notes
    assert any(note.startswith("ablation is left out") and "the model (" in note and " and the hook (" in note for note in both)
    assert "sanity/dead_latents is left out, as it depends on how much text there is (640 tokens in one and 1280 tokens in the other)" in (
        compared(corpus={"tokens": 1_280}).notes
    )


def test_where_nothing_is_left_there_is_no_comparison():
    first, second = (report({"ablation": ALL["ablation"]}).with_provenance(sae={"hook_name": name}) for name in ("a", "b"))
    with pytest.raises(ResultError, match=r"no number in common.*ablation is left out, as it depends on the hook"):
        compare_reports({"A": first, "B": second})


def test_one_model_by_two_names_is_one():
    first, second = (measured(sae={"model_name": name}, model_sha256="ab") for name in ("gpt2", "gpt2-small"))
    assert left_out(compare_reports({"A": first, "B": second})) == {}
    other = replace(second, provenance=second.provenance | {"model_sha256": "cd"})
    assert "ablation" in left_out(compare_reports({"A": first, "B": other}))


def test_what_a_report_does_not_tell_is_passed_over():
    untold = measured()
    for section, names in (("sae", ("model_name", "hook_name", "prepend_bos")), ("corpus", ("tokens", "context_size"))):
        for name in names:
            del untold.provenance[section][name]
    assert left_out(compare_reports({"A": measured(), "B": untold})) == {}


def under(**provenance):
    return Report(MetricResult({}), {}, provenance=provenance)


@pytest.mark.parametrize(("tokens", "is_alike"), [(64_500, True), (65_500, True), (65_536, True), (60_000, False), (131_072, False)])
def test_the_last_sequences_of_a_text_make_no_difference(tokens, is_alike):
    spec = MetricSpec("mine", "Mine")
    found = differing_conditions(("text_size",), spec, under(corpus={"tokens": 65_536}), under(corpus={"tokens": tokens}))
    assert (found is None) == is_alike


def test_text_that_is_cut_loses_the_ends_of_sequences():
    """Of 100 tokens a piece of 64 is left, of 128 two."""
    spec = MetricSpec("mine", "Mine", cut_by="mine.longest")
    first, second = (under(corpus={"tokens": 128_000, "context_size": size}, config={"mine": {"longest": 64}}) for size in (128, 100))
    assert differing_conditions(("context",), spec, first, second) is None
    found = differing_conditions(("text_size",), spec, first, second)
    assert found == "how much text there is (128000 tokens in one and 81920 tokens in the other)"


def test_metrics_of_other_packages_are_careful_unless_they_say_otherwise(metric):
    numbers = {"anywhere": Number("cosine of decoder rows", given=()), "here": Number("strength")}
    metric("mine", lambda context: None, numbers=numbers)
    estimates = {"mine": {name: estimate(values(0)) for name in numbers}, "not_installed": {"depth": estimate(values(1))}}
    first, second = (report(estimates).with_provenance(sae={"hook_name": name}) for name in ("a", "b"))
    comparison = compare_reports({"A": first, "B": second})
    assert [each.number for each in comparison.differences] == ["mine/anywhere"]
    assert {note.split(" is left out")[0] for note in comparison.notes if "left out" in note} == {"mine/here", "not_installed"}


def test_a_spec_without_numbers_keeps_what_it_depends_on(metric):
    metric("mine", lambda context: None, given=("hook",))
    assert spec_of_result("mine", ["a", "b"]).given == ("hook",)


# --- numbers of latents ------------------------------------------------------------------------------------------------------


def of_sizes(first=96, second=192, **metrics):
    """Reports of SAEs of two sizes; B is one standard deviation above A, whatever the number."""

    def one(size, shift):
        shifted = {name: {number: estimate(values(i) + shift) for i, number in enumerate(numbers)} for name, numbers in metrics.items()}
        return report(shifted).with_provenance(sae={"d_sae": size})

    return compare_reports({"A": one(first, 0), "B": one(second, 1)})


def test_what_luck_among_more_latents_finds_is_not_tested():
    numbers = ("loss", "held_out_loss", "loss_minus_channels", "loss_minus_random", "loss_minus_shuffled")
    comparison = of_sizes(probe=numbers)
    reasons = {each.number: each.untested for each in comparison.differences}
    advice = "depends on d_sae (96 and 192), see probe/held_out_loss"
    assert reasons == {
        "probe/loss": advice,
        "probe/held_out_loss": None,
        "probe/loss_minus_channels": advice,
        "probe/loss_minus_random": None,
        "probe/loss_minus_shuffled": None,
    }
    loss = comparison.differences[0]
    assert (loss.verdict, loss.p, loss.by_size, loss.instead) == ("not tested", None, True, "probe/held_out_loss")
    assert (loss.difference, loss.stderr) == (pytest.approx(1), pytest.approx(0, abs=1e-5))
    why = "(the best of more latents is better by luck alone)"
    assert f"not tested between SAEs of different d_sae: probe/loss, probe/loss_minus_channels {why}" in comparison.notes
    assert of_sizes(96, 96, probe=numbers).differences[0].verdict == "higher"
    assert of_sizes(None, 96, probe=numbers).differences[0].verdict == "higher"


def test_the_number_to_look_at_instead_takes_the_place_of_the_main_one():
    (words,) = of_sizes(probe=("loss", "held_out_loss"), shrinkage=("gamma", "ratio")).in_words()
    assert "A on 1 (probe/held_out_loss in place of probe/loss)" in words
    assert "of 2 main numbers" in words
    (words,) = of_sizes(96, 96, probe=("loss", "held_out_loss")).in_words()
    assert "A on 1 (probe/loss)" in words
    (words,) = of_sizes(probe=("loss",)).in_words()
    assert words == "B and A have no main number that was tested"


def test_a_number_that_is_not_there_is_not_referred_to():
    (f1,) = of_sizes(n2g=("f1",)).differences
    assert (f1.untested, f1.by_size, f1.instead) == ("depends on d_sae (96 and 192)", True, None)
    f1, _ = of_sizes(n2g=("f1", "f1_full_sample")).differences
    assert f1.instead == "n2g/f1_full_sample"


def test_main_numbers_of_a_report():
    comparison = of_sizes(probe=("loss", "held_out_loss", "held_out_auc"))
    assert [each.number for each in comparison.of("B", main=True)] == ["probe/loss", "probe/held_out_loss"]
    assert len(comparison.of("B")) == 3


# --- ranks of several --------------------------------------------------------------------------------------------------------


def probed(*, d_sae=96, numbers=("loss", "held_out_loss"), **settings):
    return report({"probe": {name: estimate(values(0)) for name in numbers}}, settings=settings).with_provenance(sae={"d_sae": d_sae})


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([probed()], "loss"),
        ([probed(), probed(d_sae=192)], "held_out_loss"),
        ([probed(d_sae=192, numbers=("loss",))], None),
        ([probed(), probed(**{"probe.examples": 20})], None),
        ([report({})], None),  # one alone has no rank
        ([report({}), probed()], "loss"),
    ],
)
def test_several_saes_are_ranked_by_what_can_be_compared(others, expected):
    assert ranked_by("probe", [probed(), *others]) == expected


def test_several_saes_are_not_ranked_by_what_the_hook_moves():
    one, other = (measured(sae={"hook_name": hook}) for hook in ("a", "b"))
    assert [ranked_by(name, [one, other]) for name in SPECS] == ["explained_variance", "loss", "f1", None, None, "ratio", "f1", None]


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_what_to_look_at_instead_depends_less_on_the_number_of_latents(spec):
    for name, number in spec.numbers.items():
        assert bool(number.instead) == bool(number.depends_on_size), name
        assert not spec.number(number.instead).depends_on_size
        assert spec.number(number.instead).better == number.better or number.instead not in spec.numbers
