"""Names of SAEs as people read them."""

import pytest

from sae_lens_metrics.results.sae_names import ending, short_names, without_shared_folders


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["/a/b/c"], ["/a/b/c"]),
        (["/a/b/c", "/a/b/d"], ["b/c", "b/d"]),
        (["/a/b/c", "/a/x/c"], ["a/b/c", "a/x/c"]),
        (["r/1", "r/1/2"], ["1", "1/2"]),
        (["release/one", "other"], ["release/one", "other"]),
        ([], []),
    ],
)
def test_shared_folders_are_left_out(names, short):
    assert list(without_shared_folders(names).items()) == list(zip(names, short, strict=True))


def test_a_long_name_keeps_its_end():
    assert ending("x" * 40) == "x" * 40
    assert ending("a" * 10 + "b" * 39) == "…" + "b" * 39


def test_names_that_end_alike_stay_whole():
    alike = [f"{letter}/{'x' * 50}" for letter in "ab"]
    assert short_names([*alike, "c/" + "y" * 50]) == {**{name: name for name in alike}, "c/" + "y" * 50: "…" + "y" * 39}
