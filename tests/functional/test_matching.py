"""Matching against a walk and a comparison that are as plain as the definitions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from slow import slow_but

from sae_lens_metrics.functional import matching, pattern_runs
from sae_lens_metrics.functional.matching import Matcher, MatchLimits
from sae_lens_metrics.functional.ngrams import NGram, Patterns

VARIANTS = ("released", "strict")
VALUE, START = "value", "start"


def released_trie(ngrams):
    """Nested dicts: by token, by None for a wildcard, and by VALUE and START where there is one."""
    root = {}
    for ngram in ngrams:
        node = root
        for token in reversed(ngram.tokens):
            node = node.setdefault(token, {})
        node[START if ngram.at_start else VALUE] = ngram.value
    return root


def released(trie, document):
    """The prediction for a document's last token, None for none."""
    node = trie
    for token in reversed(document):
        node = node.get(token, node.get(None))
        if node is None:
            return None
        if VALUE in node:
            return node[VALUE]
    return node.get(START)


def matches(ngram, document):
    end = document[len(document) - len(ngram.tokens) :] if len(ngram.tokens) <= len(document) else []
    fits = bool(end) and all(token in (None, there) for token, there in zip(ngram.tokens, end, strict=True))
    return fits and (not ngram.at_start or len(ngram.tokens) == len(document))


def preference(ngram):
    concrete = [token is not None for token in reversed(ngram.tokens)]
    return len(ngram.tokens), sum(concrete) + ngram.at_start, ngram.at_start, concrete


def strict(ngrams, document):
    """The prediction for a document's last token, None for none."""
    best = max((ngram for ngram in ngrams if matches(ngram, document)), key=preference, default=None)
    return None if best is None else best.value


def documents(tokens, special):
    """Of each token that is not special, its flat position and its document up to there."""
    for row, (sequence, marks) in enumerate(zip(tokens.tolist(), special.tolist(), strict=True)):
        document = []
        for column, (token, mark) in enumerate(zip(sequence, marks, strict=True)):
            document = [] if mark else [*document, token]
            if not mark:
                yield row * len(sequence) + column, document


def oracle(ngrams, tokens, special, variant):
    tries = {latent: released_trie(of_latent) for latent, of_latent in ngrams.items()}
    found = []
    for position, document in documents(tokens, special):
        for latent in sorted(ngrams):
            value = released(tries[latent], document) if variant == "released" else strict(ngrams[latent], document)
            if value is not None:
                found.append((position, latent, value))
    return found


def as_list(result):
    return list(zip(*(column.tolist() for column in result), strict=True))


def everywhere(matcher, tokens, special, latents):
    """`predict` at all positions for latents 0, 1, ..., twice."""
    position = torch.arange(tokens.numel()).repeat_interleave(latents).repeat(2)
    latent = torch.arange(latents).repeat(tokens.numel()).repeat(2)
    predicted = matcher.predict(tokens, special, position, latent).view(2, tokens.numel(), latents)
    assert torch.equal(predicted[0], predicted[1])
    return predicted[0]


def dense(result, positions, latents):
    table = torch.zeros(positions, latents)
    table[result.position, result.latent] = result.value
    return table


def check(ngrams, tokens, special, variant, limits=None):
    matcher = Matcher(Patterns.from_ngrams(ngrams), variant=variant, limits=limits)
    result = matcher.match(tokens, special)
    assert as_list(result) == oracle(ngrams, tokens, special, variant)
    latents = max(ngrams, default=0) + 2
    assert torch.equal(everywhere(matcher, tokens, special, latents), dense(result, tokens.numel(), latents))


@st.composite
def problems(draw):
    """Some latents' n-grams, and tokens with special ones among them."""
    vocabulary = draw(st.integers(1, 5))
    token = st.integers(0, vocabulary - 1)
    spelling = st.tuples(st.lists(st.none() | token, min_size=1, max_size=6).map(tuple), st.booleans())
    latents = draw(st.lists(st.integers(0, 6), unique=True, max_size=4))
    ngrams, value = {}, 0
    for latent in latents:
        ngrams[latent] = []
        for tokens, at_start in draw(st.lists(spelling, unique=True, min_size=1, max_size=12)):
            value += 1
            ngrams[latent].append(NGram(tokens, at_start, float(value if value % 3 else -value)))
    pos = draw(st.integers(1, 12))
    row = st.lists(st.tuples(st.integers(0, vocabulary), st.sampled_from([False] * 5 + [True])), min_size=pos, max_size=pos)
    text = torch.tensor(draw(st.lists(row, min_size=1, max_size=4)))
    return ngrams, text[..., 0], text[..., 1].bool()


@pytest.mark.parametrize("variant", slow_but(VARIANTS, "released".__eq__))
@settings(max_examples=250, deadline=None)
@given(problem=problems())
def test_as_the_oracle(variant, problem):
    check(*problem, variant)


@pytest.mark.parametrize("variant", slow_but(VARIANTS, "strict".__eq__))
@settings(max_examples=100, deadline=None)
@given(problem=problems(), positions=st.integers(1, 5), entries=st.integers(1, 20), key_bits=st.integers(8, 12))
def test_chunks_do_not_matter(variant, problem, positions, entries, key_bits):
    check(*problem, variant, MatchLimits(positions, positions, entries, entries, key_bits))


@pytest.mark.parametrize("variant", VARIANTS)
def test_threads_do_not_matter(variant, tokens):
    special = tokens == 0
    patterns = Patterns.from_ngrams(from_text(tokens, 50, seed=3))
    alone = Matcher(patterns, variant=variant).match(tokens, special)
    matcher = Matcher(patterns, variant=variant, limits=MatchLimits(positions=100, pairs=1000))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        together, predicted = matcher.match(tokens, special), everywhere(matcher, tokens, special, 50)
    finally:
        torch.set_num_threads(before)
    assert as_list(together) == as_list(alone)
    assert torch.equal(predicted, dense(alone, tokens.numel(), 50))


def from_text(tokens, latents, seed):
    """Suffixes of the text at random places, with random wildcards; those of a latent mostly end on the same few tokens."""
    generator = torch.Generator().manual_seed(seed)
    last = tokens.flatten()

    def below(n):
        return int(torch.randint(n, (), generator=generator))

    def ngram(places):
        place = int(places[below(len(places))])
        end = place % tokens.shape[1]
        suffix = tokens.view(-1, tokens.shape[1])[place // tokens.shape[1], 1 : end + 1].tolist()
        suffix = suffix[-min(1 + below(8), len(suffix)) :]
        return tuple(None if below(10) < 3 else token for token in suffix), below(10) == 0

    ngrams = {}
    for latent in range(latents):
        of_latent = {}
        for _ in range(4):
            token = last[below(len(last))]
            places = (tokens == token).flatten().nonzero()[:, 0]
            places = places[places % tokens.shape[1] > 0]
            for _ in range(4 if len(places) else 0):
                of_latent[ngram(places)] = float(1 + below(100))
        ngrams[latent] = [NGram(*spelling, value) for spelling, value in of_latent.items()]
    return ngrams


@pytest.mark.parametrize("variant", slow_but(VARIANTS, "released".__eq__))
def test_real_text(variant, tokens):
    special = tokens == 0  # BOS
    ngrams = from_text(tokens, 300, seed=0)
    matcher = Matcher(Patterns.from_ngrams(ngrams), variant=variant)
    result = matcher.match(tokens, special)
    assert as_list(matcher.match(tokens[:16].int(), special[:16])) == oracle(ngrams, tokens[:16], special[:16], variant)
    assert torch.equal(everywhere(matcher, tokens, special, 300), dense(result, tokens.numel(), 300))
    assert len(result.value) > 0.01 * tokens.numel() * 300


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_patterns(variant):
    check({}, torch.tensor([[1, 2, 3]]), torch.zeros(1, 3, dtype=torch.bool), variant)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("shape", [(0, 4), (3, 0)])
def test_no_tokens(variant, shape):
    matcher = Matcher(Patterns.from_ngrams({0: [NGram((1,), False, 1.0)]}), variant=variant)
    tokens, special = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.bool)
    assert as_list(matcher.match(tokens, special)) == []
    nothing = torch.zeros(0, dtype=torch.long)
    assert len(matcher.predict(tokens, special, nothing, nothing)) == 0


@pytest.mark.parametrize("variant", VARIANTS)
def test_only_special_tokens(variant):
    check({0: [NGram((None,), True, 1.0)]}, torch.zeros(2, 3, dtype=torch.long), torch.ones(2, 3, dtype=torch.bool), variant)


@pytest.mark.parametrize("variant", VARIANTS)
def test_duplicates_are_refused(variant):
    twice = [NGram((1, None), False, 1.0), NGram((2,), False, 3.0), NGram((1, None), False, 2.0)]
    with pytest.raises(ValueError, match="same tokens"):
        Matcher(Patterns.from_ngrams({0: [twice[1]], 3: twice}), variant=variant)
    Matcher(Patterns.from_ngrams({0: twice[:2], 3: twice[1:]}), variant=variant)
    Matcher(Patterns.from_ngrams({0: [twice[0], NGram((1, None), True, 1.0)]}), variant=variant)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_pattern_without_tokens_is_refused(variant):
    with pytest.raises(ValueError, match="at least one"):
        Matcher(Patterns.from_ngrams({0: [NGram((1,), False, 1.0), NGram((), True, 1.0)]}), variant=variant)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_value_of_zero_is_a_match(variant):
    ngrams = {2: [NGram((1,), False, 0.0), NGram((None, 2), False, -1.5)]}
    tokens = torch.tensor([[1, 2, 2]])
    matcher = Matcher(Patterns.from_ngrams(ngrams), variant=variant)
    assert as_list(matcher.match(tokens, tokens < 0)) == [(0, 2, 0.0), (1, 2, -1.5), (2, 2, -1.5)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_patterns_longer_than_any_document(variant):
    ngrams = {0: [NGram((1,) * 9, False, 1.0), NGram((None,) * 5, True, 2.0), NGram((1,) * 30, True, 3.0)]}
    check(ngrams, torch.ones(2, 4, dtype=torch.long), torch.zeros(2, 4, dtype=torch.bool), variant)


@pytest.mark.parametrize("variant", VARIANTS)
def test_tokens_that_no_pattern_has(variant):
    ngrams = {0: [NGram((2, None), False, 1.0), NGram((None, 0), True, 2.0)], 1: [NGram((None,), False, 3.0)]}
    tokens = torch.tensor([[2, 10**6, -7, 0], [-1, 0, 2, 3]])
    check(ngrams, tokens, torch.zeros(2, 4, dtype=torch.bool), variant)


@pytest.mark.parametrize("variant", VARIANTS)
def test_wildcards_everywhere_stay_within_the_bound(variant, monkeypatch):
    """Every latent predicts at every position: what is worked on at once stays bounded, as far as one position allows."""
    latents, tokens = 500, torch.arange(4096).view(64, 64) % 50
    ngrams = {latent: [NGram((None,), False, float(latent)), NGram((None, None), False, float(-latent))] for latent in range(latents)}
    matcher = Matcher(Patterns.from_ngrams(ngrams), variant=variant, limits=MatchLimits(candidates=10_000))
    sizes = []
    numbers = pattern_runs.numbers

    def watched(first, size):
        sizes.append(int(size.sum()))
        return numbers(first, size)

    monkeypatch.setattr(pattern_runs, "numbers", watched)
    monkeypatch.setattr(matching, "numbers", watched)
    result = matcher.match(tokens, torch.zeros_like(tokens, dtype=torch.bool))
    assert max(sizes) < 10_000 + 2 * latents
    assert sum(sizes) >= len(result.value) == latents * tokens.numel()
    longer = torch.arange(4096) % 64 > 0 if variant == "strict" else torch.zeros(4096, dtype=torch.bool)
    sign = torch.where(longer, -1.0, 1.0)
    assert torch.equal(result.value.view(4096, latents), sign[:, None] * torch.arange(latents))


def test_long_walks_of_wildcards_stay_within_the_bound():
    """Every pattern of a's and wildcards: a text of a's reaches all nodes of the trie at every position."""
    spellings = [tuple(None if bits >> i & 1 else 1 for i in range(8)) for bits in range(256)]
    ngrams = {0: [NGram(spelling, False, float(i)) for i, spelling in enumerate(spellings)]}
    text = torch.ones(3, 12, dtype=torch.long)
    check(ngrams, text, torch.zeros_like(text, dtype=torch.bool), "strict", MatchLimits(entries=1000))
