"""Building n-gram explanations: against hand-worked cases, and against a plain implementation on random latents."""

import random
import zlib
from dataclasses import dataclass

import n2g_oracle as oracle
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sae_lens_metrics.errors import MetricsError
from sae_lens_metrics.functional.matching import Matcher
from sae_lens_metrics.functional.ngram_building import build_explanation
from sae_lens_metrics.functional.ngrams import NGram, Patterns

PAD = 0
VARIANTS = ("released", "strict")


class Activate:
    """The callable that build_explanation takes, for a latent given as a function of one token list; keeps what it was asked."""

    def __init__(self, latent):
        self.latent = latent
        self.rows = []

    def __call__(self, rows):
        self.rows += map(tuple, rows)
        return [float(self.latent(row)) for row in rows]


class CheckedActivate(Activate):
    """Also refuses calls that waste a run of the model."""

    def __call__(self, rows):
        assert len(rows) > 0, "called without rows"
        assert all(type(row) is list and len(row) > 0 for row in rows), "rows must be lists of tokens, not empty"
        assert all(type(token) is int and token >= 0 for row in rows for token in row), "tokens must be plain token ids"
        assert len(set(map(tuple, rows))) == len(rows), "the same row twice in one call"
        return super().__call__(rows)


def as_dict(ngrams):
    found = {(ngram.tokens, ngram.at_start): ngram.value for ngram in ngrams}
    assert len(found) == len(ngrams), "a pattern came back twice"
    return found


def built(latent, examples, variant, pad=PAD):
    return as_dict(build_explanation(CheckedActivate(latent), examples, pad_token=pad, variant=variant))


def expected(activate, examples, variant, pad=PAD):
    if variant == "strict":
        return oracle.build_strict(activate, examples, pad)[0]
    return oracle.ngrams_of(oracle.build(activate, examples, pad)[0])


# --- by hand -----------------------------------------------------------------------------------------------------------------


def ends_in(*pattern, value=1.0):
    """A latent that fires after an n-gram; None stands for any token."""

    def latent(tokens):
        last = tokens[-len(pattern) :]
        return value if len(last) == len(pattern) and all(p in (None, t) for p, t in zip(pattern, last, strict=True)) else 0.0

    return latent


def is_one_of(**values):
    """A latent by a table: token lists are written as strings of digits, "t345" for [3, 4, 5]."""
    return lambda tokens: values.get("t" + "".join(map(str, tokens)), 0.0)


def has_3_before_or_4_two_before(tokens):
    return 1.0 if tokens[-1] == 7 and (tokens[-2:-1] == [3] or tokens[-3:-2] == [4]) else 0.0


def either_or(three_alone=4.0, four_alone=4.0, both=6.0):
    """Graded, and stronger still if 2 is the token before those three."""

    def latent(tokens):
        if tokens[-1] != 7:
            return 0.0
        three, four = tokens[-2:-1] == [3], tokens[-3:-2] == [4]
        value = both if three and four else three_alone if three else four_alone if four else 0.0
        return value + (4.0 if value and tokens[-4:-3] == [2] else 0.0)

    return latent


# name: latent, examples, what is released, what is strict (None: the same)
CASES = {
    "no_examples": (ends_in(5), [], {}, None),
    "one_token": (ends_in(5), [([3, 4, 5], 1.0)], {((5,), False): 1.0}, None),
    "an_example_of_one_token": (ends_in(5), [([5], 1.0)], {((5,), False): 1.0}, None),
    "examples_may_be_tuples": (ends_in(5), [((3, 4, 5), 1.0)], {((5,), False): 1.0}, None),
    "two_tokens": (ends_in(3, 4, value=2.0), [([9, 8, 3, 4], 2.0)], {((3, 4), False): 2.0}, None),
    "any_token_between_two": (ends_in(3, None, 5), [([9, 3, 4, 5], 1.0)], {((3, None, 5), False): 1.0}, None),
    "two_patterns": (
        lambda tokens: ends_in(3, 4)(tokens) + ends_in(5, value=2.0)(tokens),
        [([9, 3, 4], 1.0), ([4, 5], 2.0), ([8, 3, 4], 1.0)],
        {((3, 4), False): 1.0, ((5,), False): 2.0},
        None,
    ),
    "only_as_first_token": (is_one_of(t3=1.0), [([3], 1.0)], {((3,), True): 1.0}, None),
    "only_at_the_start": (is_one_of(t34=1.0), [([3, 4], 1.0)], {((3, 4), True): 1.0}, None),
    "negative": (ends_in(3, None, 5, value=-2.0), [([9, 3, 4, 5], -2.0)], {((3, None, 5), False): -2.0}, None),
    # [5] has the other sign, so that it is no part of an activation of -2
    "other_sign": (is_one_of(t5=2.0, t45=-2.0, t045=-2.0), [([4, 5], -2.0)], {((4, 5), False): -2.0}, None),
    # exactly half is enough for a suffix; it is enough not to be anchored; and it is too little for a wildcard
    "exactly_half": (is_one_of(t45=1.0, t045=1.0, t05=0.5, t40=0.5), [([9, 4, 5], 2.0)], {((4, 5), False): 1.0}, None),
    "just_below_half": (is_one_of(t5=0.875, t45=2.0, t045=0.875), [([4, 5], 2.0)], {((4, 5), True): 2.0}, None),
    "just_above_half": (is_one_of(t5=0.0, t45=2.0, t045=2.0, t05=1.125), [([4, 5], 2.0)], {((None, 5), False): 2.0}, None),
    # the start is judged by the activation in the text (0.625 / 1.5), wildcards by that of the suffix (0.625 / 1)
    "anchored_by_the_activation_in_the_text": (is_one_of(t5=1.0, t05=0.625), [([4, 5], 1.5)], {((5,), True): 1.0}, None),
    "wildcard_by_the_activation_of_the_suffix": (
        is_one_of(t45=1.0, t045=1.0, t05=0.625),
        [([3, 4, 5], 1.5)],
        {((None, 5), False): 1.0},
        None,
    ),
    "anchored_beside_free": (
        is_one_of(t5=1.0, t05=0.625),
        [([4, 5], 1.0), ([3, 5], 1.5)],
        {((5,), False): 1.0, ((5,), True): 1.0},
        None,
    ),
    "activating_token_does_not_matter": (ends_in(3, None), [([9, 3, 5], 1.0)], {((3, None), False): 1.0}, {((3, 5), False): 1.0}),
    "fires_on_everything": (lambda tokens: 1.0, [([4, 5], 1.0)], {((None,), False): 1.0}, {((5,), False): 1.0}),
    # nothing is longer than it must be: [3, 7] is enough by itself
    "either_or_where_one_is_enough": (has_3_before_or_4_two_before, [([4, 3, 7], 1.0)], {((3, 7), False): 1.0}, None),
    # it takes three tokens, so that the example keeps both reasons; each can go since the other is there
    "either_or_in_a_context_of_three": (
        lambda tokens: has_3_before_or_4_two_before(tokens) if len(tokens) > 2 else 0.0,
        [([4, 3, 7], 1.0)],
        {((None, None, 7), False): 1.0},
        {((None, 3, 7), False): 1.0},
    ),
    # half of 10 takes both reasons, half of 6 takes one
    "either_or_graded": (either_or(), [([2, 4, 3, 7], 10.0)], {((None, None, 7), False): 6.0}, {((None, 3, 7), False): 6.0}),
    "either_or_the_more_salient_stays": (
        either_or(four_alone=5.0),
        [([2, 4, 3, 7], 10.0)],
        {((None, None, 7), False): 6.0},
        {((4, None, 7), False): 6.0},
    ),
    "wildcards_that_do_together": (
        ends_in(3, None, None, 7),
        [([9, 3, 4, 5, 7], 1.0)],
        {((3, None, None, 7), False): 1.0},
        None,
    ),
    "several_values_of_one_pattern": (
        lambda tokens: 0.0 if len(tokens) < 2 or tokens[-1] != 5 else 2.0 if tokens[-2] == 4 else 1.5,
        [([3, 5], 1.5), ([8, 5], 1.5), ([4, 5], 2.0), ([3, 4, 5], 2.0)],
        {((None, 5), False): 2.0},
        {((None, 5), False): 1.75},
    ),
    "the_last_example_counts": (
        lambda tokens: 0.0 if len(tokens) < 2 or tokens[-1] != 5 else 2.0 if tokens[-2] == 4 else 1.5,
        [([4, 5], 2.0), ([3, 5], 1.5)],
        {((None, 5), False): 1.5},
        {((None, 5), False): 1.75},
    ),
    "no_suffix_reaches_half": (lambda tokens: 0.0, [([3, 4], 2.0)], {((3, 4), True): 2.0}, {}),
    # neither [5] nor the whole list reaches half of 4, and what is kept of them is measured by 4
    "no_suffix_reaches_half_but_pads_do": (
        is_one_of(t5=1.0, t45=1.5, t045=2.0, t05=2.0, t40=2.5),
        [([4, 5], 4.0)],
        {((4, None), False): 4.0},
        {},
    ),
    "some_examples_without_a_suffix": (
        ends_in(5),
        [([3, 4], 2.0), ([4, 5], 1.0)],
        {((3, 4), True): 2.0, ((5,), False): 1.0},
        {((5,), False): 1.0},
    ),
}


def case(name, variant):
    latent, examples, released, strict = CASES[name]
    return latent, examples, released if variant == "released" or strict is None else strict


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", CASES)
def test_hand_worked_explanations(name, variant):
    latent, examples, by_hand = case(name, variant)
    assert built(latent, examples, variant) == by_hand


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", CASES)
def test_the_oracle_agrees_with_hand_worked_explanations(name, variant):
    latent, examples, by_hand = case(name, variant)
    assert expected(Activate(latent), examples, variant) == by_hand


def test_released_is_the_default():
    latent, examples, released, _ = CASES["either_or_graded"]
    assert as_dict(build_explanation(Activate(latent), examples, pad_token=PAD)) == released


def test_no_examples_give_an_empty_list_and_run_nothing():
    activate = Activate(ends_in(5))
    assert build_explanation(activate, [], pad_token=PAD) == []
    assert activate.rows == []


def test_results_are_ngrams_of_plain_numbers():
    (ngram,) = build_explanation(Activate(ends_in(3, None, 5)), [([9, 3, 4, 5], 1)], pad_token=PAD)
    assert ngram == NGram((3, None, 5), False, 1.0)
    assert [type(token) for token in ngram.tokens] == [int, type(None), int]
    assert type(ngram.at_start) is bool
    assert type(ngram.value) is float


@pytest.mark.parametrize("length", [1, 2, 15, 16, 17, 20, 32, 33, 40])
@pytest.mark.parametrize("variant", VARIANTS)
def test_long_examples(length, variant):
    tokens = [3, *range(10, 48), 5]
    latent = ends_in(*tokens[-length:])
    assert built(latent, [(tokens, 1.0)], variant) == {(tuple(tokens[-length:]), False): 1.0}


def test_the_oracle_predicts_the_first_value_on_its_way():
    trie = {}
    oracle.insert(trie, (3, 4, 5), False, 1.0)
    oracle.insert(trie, (None, 5), True, 2.0)
    oracle.insert(trie, (None, None, 6), False, 3.0)
    oracle.insert(trie, (2, 6), False, 4.0)
    # the branch of 4 leads on to nothing here, and the wildcard beside it is not tried again
    assert oracle.predict(trie, [4, 5]) == [0, 0]
    assert oracle.predict(trie, [3, 4, 5]) == [0, 0, 1]
    # the start mark, where the wildcard took the first token
    assert oracle.predict(trie, [7, 5, 7, 5]) == [0, 2, 0, 0]
    assert oracle.predict(trie, [6, 9, 9, 6, 2, 6]) == [0, 0, 0, 3, 0, 4]
    assert oracle.predict(trie, [9, 6]) == [0, 0]
    # a value hides whatever is longer, and its own start mark
    oracle.insert(trie, (5,), False, 5.0)
    oracle.insert(trie, (5,), True, 6.0)
    assert oracle.predict(trie, [5, 3, 4, 5]) == [5, 0, 0, 5]
    assert oracle.ngrams_of(trie) == {
        ((3, 4, 5), False): 1,
        ((None, 5), True): 2,
        ((None, None, 6), False): 3,
        ((2, 6), False): 4,
        ((5,), False): 5,
        ((5,), True): 6,
    }


def test_the_oracle_tells_how_near_a_threshold_was():
    def margins(latent, examples):
        return [build(Activate(latent), examples, PAD)[1] for build in (oracle.build, oracle.build_strict)]

    assert margins(ends_in(5), [([4, 5], 1.0)]) == [0.5, 0.5]
    assert margins(is_one_of(t45=1.0, t045=1.0, t05=0.5, t40=0.5), [([9, 4, 5], 2.0)]) == [0.0, 0.0]
    assert margins(is_one_of(t5=1.0, t05=0.625), [([4, 5], 1.25)]) == [0.0, 0.0]
    # 4 / 10 and 6 / 10 are the nearest; strict has to choose between two wildcards that are equally salient
    assert margins(either_or(), [([2, 4, 3, 7], 10.0)]) == pytest.approx([0.1, 0.0])
    assert margins(either_or(four_alone=4.5), [([2, 4, 3, 7], 10.0)]) == pytest.approx([0.1, 0.5 / 6])


# --- errors ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    ("examples", "pad", "says"),
    [
        ([([4, 5], 1.0)], -1, "pad"),
        ([([4, 5], 1.0), ([], 1.0)], PAD, "token"),
        ([([4, 5], 1.0), ([3, 5], 0.0)], PAD, "activation"),
    ],
    ids=["negative_pad", "empty_example", "activation_of_zero"],
)
def test_impossible_input_is_refused(examples, pad, says, variant):
    activate = Activate(ends_in(5))
    with pytest.raises(MetricsError, match=says) as raised:
        build_explanation(activate, examples, pad_token=pad, variant=variant)
    assert len(str(raised.value).split()) >= 4  # a sentence
    assert activate.rows == []


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("surplus", [-1, 1])
def test_a_wrong_number_of_activations_is_refused(surplus, variant):
    with pytest.raises(ValueError, match=r"activation|value"):
        build_explanation(lambda rows: [1.0] * (len(rows) + surplus), [([4, 5], 1.0)], pad_token=PAD, variant=variant)


# --- random latents ----------------------------------------------------------------------------------------------------------
# All activations are small multiples of 1/8: float32 holds them, and ratios of exactly one half are frequent.

TOKENS = st.integers(1, 4)
PADS = st.integers(0, 2)  # mostly outside the vocabulary, but a pad token is a token like any other
EIGHTHS = st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.125, 0.25, 0.375, 0.5, 0.75, 0.875, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0])
NONZERO = EIGHTHS.filter(bool)


@dataclass(frozen=True)
class Noise:
    """A pseudo-random function of the last few tokens, or of all."""

    seed: int
    memory: int
    values: tuple[float, ...]

    def __call__(self, tokens):
        return self.values[zlib.crc32(repr((self.seed, list(tokens[-self.memory :]))).encode()) % len(self.values)]


@dataclass(frozen=True)
class Detectors:
    """A sum of n-grams, some of them at the start only."""

    patterns: tuple[tuple[tuple[int | None, ...], bool, float], ...]

    def __call__(self, tokens):
        return sum(
            ends_in(*pattern, value=value)(tokens)
            for pattern, at_start, value in self.patterns
            if not at_start or len(tokens) == len(pattern)
        )


@dataclass(frozen=True)
class EitherOr:
    """Fires on a token by any of several tokens at distances before it; saturates."""

    token: int
    reasons: tuple[tuple[int, int], ...]
    values: tuple[float, ...]
    earliest: int

    def __call__(self, tokens):
        if tokens[-1] != self.token or len(tokens) < self.earliest:
            return 0.0
        there = sum(len(tokens) > distance and tokens[-1 - distance] == reason for distance, reason in set(self.reasons))
        return self.values[min(there, len(self.values)) - 1] if there else 0.0


@dataclass(frozen=True)
class ByPosition:
    """What a token is worth depends on where it stands."""

    values: tuple[tuple[float, ...], ...]

    def __call__(self, tokens):
        row = self.values[min(len(tokens), len(self.values)) - 1]
        return row[tokens[-1] % len(row)]


@dataclass(frozen=True)
class Weights:
    """A sum of what each token is worth at its distance; above a bias, and in a long enough context, for some last token or for any."""

    weights: tuple[tuple[float, ...], ...]
    bias: float
    relu: bool
    token: int | None
    earliest: int

    def __call__(self, tokens):
        if self.token not in (None, tokens[-1]) or len(tokens) < self.earliest:
            return 0.0
        total = self.bias + sum(row[token % len(row)] for row, token in zip(self.weights, reversed(tokens), strict=False))
        return max(0.0, total) if self.relu else total


def weak_reasons(seed):
    """A latent with several reasons of different weight: each can be padded, but not all of them."""
    draw = random.Random(seed)
    weights = tuple((0.0, *draw.choices([0.0, 0.25, 0.375, 0.5, 0.75], k=4)) for _ in range(draw.randint(2, 6)))
    return Weights(weights, draw.choice([0.0, 0.125]), True, draw.randint(1, 4), draw.randint(3, 6))


def tuples(values, least, most):
    return st.lists(values, min_size=least, max_size=most).map(tuple)


PATTERNS = st.tuples(tuples(st.one_of(TOKENS, st.none()), 1, 5), st.booleans(), NONZERO)
LATENTS = st.one_of(
    st.builds(Noise, st.integers(0, 2**16), st.integers(1, 12), tuples(EIGHTHS, 1, 8)),
    st.builds(Detectors, tuples(PATTERNS, 1, 4)),
    st.builds(EitherOr, TOKENS, tuples(st.tuples(st.integers(1, 5), TOKENS), 1, 4), tuples(NONZERO, 1, 3), st.integers(1, 5)),
    st.builds(ByPosition, tuples(tuples(EIGHTHS, 2, 5), 1, 6)),
    st.builds(Weights, tuples(tuples(EIGHTHS, 5, 5), 1, 6), EIGHTHS, st.booleans(), st.one_of(st.none(), TOKENS), st.integers(1, 4)),
    st.builds(weak_reasons, st.integers(0, 2**16)),
)


@st.composite
def explained(draw, most_examples=6):
    """A latent and examples of it: tokens of its own firing in a longer context, or any activation at all."""
    latent = draw(LATENTS)
    last = getattr(latent, "token", None)
    examples = []
    for _ in range(draw(st.integers(0, most_examples))):
        tokens = draw(st.lists(TOKENS, min_size=1, max_size=8))
        if last is not None and draw(st.booleans()):
            tokens[-1] = last
        context = draw(st.lists(TOKENS, max_size=3))
        act = latent(context + tokens) if draw(st.booleans()) else 0.0
        examples.append((tokens, act or draw(NONZERO)))
    return latent, examples


CONTEXT_OF_FOUR = EitherOr(4, ((1, 1), (2, 2), (3, 3)), (1.0,), 4)


@pytest.mark.parametrize("variant", VARIANTS)
@given(case=explained(), pad=PADS)
@example(case=(CONTEXT_OF_FOUR, [([3, 2, 1, 4], 1.0), ([3, 3, 1, 4], 1.0), ([3, 2, 2, 4], 1.0)]), pad=0)
@settings(max_examples=400, deadline=None)
def test_explanations_are_the_oracles(variant, case, pad):
    latent, examples = case
    theirs = expected(Activate(latent), examples, variant, pad)
    ours = built(latent, examples, variant, pad)
    # patterns keep float32, which a mean need not fit
    assert ours == (theirs if variant == "released" else pytest.approx(theirs, rel=1e-6))


@given(case=explained())
@settings(max_examples=200, deadline=None)
def test_no_row_is_run_that_the_plain_algorithm_does_not_run_nor_twice(case):
    latent, examples = case
    ours, theirs = CheckedActivate(latent), Activate(latent)
    build_explanation(ours, examples, pad_token=0)  # no token of the examples: a row with padding is never a suffix as well
    expected(theirs, examples, "released", 0)
    assert len(ours.rows) == len(set(ours.rows))
    assert set(ours.rows) <= set(theirs.rows)


@given(case=explained(), pad=PADS)
@settings(max_examples=200, deadline=None)
def test_the_strict_variant_runs_no_more_rows_than_its_plain_algorithm(case, pad):
    latent, examples = case
    ours, theirs = CheckedActivate(latent), Activate(latent)
    build_explanation(ours, examples, pad_token=pad, variant="strict")
    expected(theirs, examples, "strict", pad)
    assert len(ours.rows) <= len(theirs.rows)


@pytest.mark.parametrize("length", [1, 3, 20, 40])
@pytest.mark.parametrize("variant", VARIANTS)
def test_long_examples_are_not_run_in_full(length, variant):
    tokens = [3, *range(10, 48), 5]
    latent = ends_in(*tokens[-length:])
    ours, theirs = CheckedActivate(latent), Activate(latent)
    # twice the same: the second is known already
    build_explanation(ours, [(tokens, 1.0)] * 2, pad_token=PAD, variant=variant)
    expected(theirs, [(tokens, 1.0)], variant)
    assert len(ours.rows) <= len(set(theirs.rows))


@given(
    cases=st.lists(explained(most_examples=4), min_size=1, max_size=3),
    pad=PADS,
    tokens=st.integers(1, 9).flatmap(lambda n: st.lists(st.lists(st.integers(0, 4), min_size=n, max_size=n), min_size=1, max_size=6)),
)
@settings(max_examples=300, deadline=None)
def test_predictions_of_explanations_are_the_oracles(cases, pad, tokens):
    tries = {3 * i: oracle.build(Activate(latent), examples, pad)[0] for i, (latent, examples) in enumerate(cases)}
    ngrams = {
        3 * i: build_explanation(CheckedActivate(latent), examples, pad_token=pad, variant="released")
        for i, (latent, examples) in enumerate(cases)
    }
    batch = torch.tensor(tokens)
    matches = Matcher(Patterns.from_ngrams(ngrams), variant="released").match(batch, torch.zeros_like(batch, dtype=torch.bool))

    predicted = {}
    for position, latent, value in zip(matches.position.tolist(), matches.latent.tolist(), matches.value.tolist(), strict=True):
        assert (position, latent) not in predicted
        predicted[position, latent] = value
    width = batch.shape[1]
    by_oracle = {
        (row * width + i, latent): value
        for latent, trie in tries.items()
        for row, sequence in enumerate(tokens)
        for i, value in enumerate(oracle.predict(trie, sequence))
        if value
    }
    assert predicted == by_oracle
