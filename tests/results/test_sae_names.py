"""Names of SAEs as people read them."""

import pytest

from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.results.sae_names import ending, given_names, short_names


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["/a/b/c"], ["c"]),
        (["/a/b/c", "/a/b/d"], ["c", "d"]),
        (["/a/b/c", "/a/x/c"], ["b/c", "x/c"]),
        (["r/1", "r/1/2"], ["1", "1/2"]),
        (["tmp_newcomer_TopK_4ac0f6f19c", "tmp_newcomer_L1_90b2f6f19c"], ["TopK", "L1"]),
        (["run_4ac0f6f19c", "run_90b2f6f19c"], ["4ac0f6f19c", "90b2f6f19c"]),
        (["r/blocks.4.hook_resid_pre", "r/blocks.8.hook_resid_pre"], ["blocks.4.hook_resid_pre", "blocks.8.hook_resid_pre"]),
        (["release/one", "other"], ["release/one", "other"]),
        ([], []),
    ],
)
def test_what_all_begin_with_is_left_out(names, short):
    assert list(short_names(names).items()) == list(zip(names, short, strict=True))


def test_a_long_name_keeps_its_end():
    assert ending("x" * 40) == "x" * 40
    assert ending("a" * 10 + "b" * 39) == "…" + "b" * 39


def test_names_that_end_alike_stay_whole():
    alike = [f"{letter}/{'x' * 50}" for letter in "ab"]
    assert short_names([*alike, "c/" + "y" * 50]) == {**{name: name for name in alike}, "c/" + "y" * 50: "…" + "y" * 39}


def test_names_of_the_users():
    assert given_names("mine, yours", ["a/b", "a/c"]) == {"a/b": "mine", "a/c": "yours"}
    assert given_names(None, ["a/b", "a/c"]) == {"a/b": "b", "a/c": "c"}
    with pytest.raises(ConfigError, match="gives 1 names for 2 SAEs: b, c"):
        given_names("mine", ["a/b", "a/c"])
    with pytest.raises(ConfigError, match="a different name to each"):
        given_names("mine,mine", ["a/b", "a/c"])
