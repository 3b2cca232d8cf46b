"""Names and patterns of SAEs that nothing can be done with."""

import time

import pytest
from refusals import in_few_words
from tiny_release import HUB_HOOK, RELEASE

from sae_lens_metrics.errors import SubjectError
from sae_lens_metrics.loading import patterns
from sae_lens_metrics.loading.targets import Target, find_targets


def refusal(*words):
    with pytest.raises(SubjectError) as caught:
        find_targets(words)
    in_few_words(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("place", "pattern"), [(0, "([a-z0-9.-]+)+!"), (1, "(|a+|[a-z0-9._]+)*(.*)*!")])
def test_a_pattern_that_backtracks_without_end(place, pattern, monkeypatch):
    monkeypatch.setattr(patterns, "LIMIT_S", 0.5)
    words = [RELEASE, HUB_HOOK]
    words[place] = pattern
    started = time.monotonic()
    assert "was still not matched after 0.5 s: write it without repetitions within repetitions" in refusal(*words)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("pattern", ["(", "a{99999999999999999999}", "(" * 140 + ")" * 140 + "!", "*", r"\p"])
def test_a_pattern_that_is_none(pattern):
    assert refusal(RELEASE, pattern)


@pytest.mark.parametrize("words", [["x" * 5_000], [RELEASE, ".*" * 5_000], ["x" * 5_000, HUB_HOOK]])
def test_a_name_that_is_too_long(words):
    assert "characters was given, expected a release, an SAE or a folder" in refusal(*words)


@pytest.mark.parametrize("word", ["a\x00b", "\udc80", "x" * 290, "\x1b[31mred", ""])
def test_a_folder_that_cannot_be(word):
    refusal(word)
    refusal(word, HUB_HOOK)
    refusal(RELEASE, word)


def test_patterns_find_what_they_match():
    assert find_targets(["gpt2-small-res-j.", r"blocks\.8\.hook_resid_pre"]) == [Target(RELEASE, HUB_HOOK)]
