"""Latent-tokens per second of `Matcher.match` against walks in Python tries, on real text, in the same run, with equal results.

Run it with `python tests/benchmarks/matching.py`; it needs about two minutes.
"""

# ruff: noqa: T201 (its output is what it is for)

import random
import statistics
import time
from itertools import islice

import torch
from datasets import Dataset

from sae_lens_metrics.demo.shipped import load_tiny_lm
from sae_lens_metrics.functional.matching import Matcher
from sae_lens_metrics.functional.ngrams import NGram, Patterns
from sae_lens_metrics.text.standard_library import standard_library_documents
from sae_lens_metrics.text.tokenization import Tokenization, choose_sequences, read_sequences, token_store

CONTEXT, SEQUENCES = 128, 512  # as many tokens to match on, and as many others to cut patterns from
LATENTS = (1024, 32768)
PATTERNS, LAST_TOKENS = 16, 5  # of each latent; the patterns of a latent end on few distinct tokens
LENGTHS = ((0.35, 1, 1), (0.25, 2, 2), (0.30, 3, 8), (0.10, 9, 40))  # probability, shortest, longest
WILDCARDS, WILDCARD_LAST, AT_START = 0.30, 0.03, 0.03
REPETITIONS = 3
ORACLE_LATENTS, ORACLE_SEQUENCES = 256, 16  # the walks cost the same for every latent and token, so a part of them will do


def real_text():
    """Sequences of real text, each beginning with BOS, and the id of BOS."""
    model = load_tiny_lm()
    rows = Dataset.from_dict({"text": list(islice(standard_library_documents("train"), 600))})
    store = token_store(rows, model, Tokenization(CONTEXT, True, False, "bos"))
    return choose_sequences(read_sequences(store, 2 * SEQUENCES), 2 * SEQUENCES, seed=0).tokens, model.tokenizer.bos_token_id


class Cutter:
    """Cuts patterns from text."""

    def __init__(self, tokens, bos, seed):
        self.random = random.Random(seed)
        self.documents = [[]]
        for token in tokens.flatten().tolist():
            if token == bos:
                self.documents.append([])
            else:
                self.documents[-1].append(token)
        self.places = [(d, i) for d, document in enumerate(self.documents) for i in range(len(document))]
        self.by_token = {}
        for d, i in self.places:
            self.by_token.setdefault(self.documents[d][i], []).append((d, i))

    def of_latent(self):
        """Patterns that end on a few tokens, as frequent as they are in the text."""
        ends = [self.documents[d][i] for d, i in self.random.choices(self.places, k=LAST_TOKENS)]
        spellings = dict.fromkeys(self.spelling(self.random.choice(ends)) for _ in range(4 * PATTERNS))
        return [NGram(*spelling, 0.1 + self.random.random()) for spelling in islice(spellings, PATTERNS)]

    def spelling(self, end):
        """The tokens of a pattern that ends on a token, or on a wildcard in its place, and whether it asks for the start."""
        d, i = self.random.choice(self.by_token[end])
        _, shortest, longest = self.random.choices(LENGTHS, [length[0] for length in LENGTHS])[0]
        cut = self.documents[d][max(0, i + 1 - self.random.randint(shortest, longest)) : i + 1]
        tokens = [None if self.random.random() < WILDCARDS else token for token in cut[1:-1]]
        first = cut[:1] if len(cut) > 1 else []  # what is cut to its shortest form does not begin with a wildcard
        last = None if len(cut) > 1 and self.random.random() < WILDCARD_LAST else end
        return (*first, *tokens, last), self.random.random() < AT_START


def first_latents(patterns, latents):
    rows = patterns.latent < latents
    return Patterns(patterns.latent[rows], patterns.tokens[rows], patterns.at_start[rows], patterns.value[rows])


def trie_of(ngrams):
    """Nested dicts by token, None for a wildcard, "value" and "start" for what ends there."""
    root = {}
    for ngram in ngrams:
        node = root
        for token in reversed(ngram.tokens):
            node = node.setdefault(token, {})
        node["start" if ngram.at_start else "value"] = ngram.value
    return root


def released_walk(trie, document, i):
    """The released variant's prediction at token i, 0 for none."""
    node = trie
    while True:
        token = document[i]
        if token in node:
            node = node[token]
        elif None in node:
            node = node[None]
        else:
            return 0.0
        if "value" in node:
            return node["value"]
        if i == 0:
            return node.get("start", 0.0)
        i -= 1


def strict_walk(trie, document, i):
    """The strict variant's prediction at token i, 0 for none."""
    best, open_nodes = ((), 0.0), [(trie, i, 0, ())]
    while open_nodes:
        node, j, concrete, mask = open_nodes.pop()
        for key, start in (("value", False), ("start", True)):
            if key in node and (not start or j < 0):
                best = max(best, ((len(mask), concrete + start, start, mask), node[key]))
        if j >= 0:
            for token in (document[j], None):
                if token in node:
                    open_nodes.append((node[token], j - 1, concrete + (token is not None), (*mask, token is not None)))
    return best[1]


def walks(tries, tokens, bos, walk):
    """Predictions [latents, tokens], latent by latent and position by position; a special token is the end of a document."""
    documents = []
    for sequence in tokens.tolist():
        documents.append([])
        for token in sequence:
            if token == bos:
                documents.append([])
            else:
                documents[-1].append(token)
    return [[walk(trie, document, i) for document in documents for i in range(len(document))] for trie in tries]


def seconds(function, repetitions):
    """Every repetition's time, after one to warm up."""
    function()
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return times


def is_equal(predicted, result, special, latents):
    """Whether walks and matches say the same about the first latents."""
    table = torch.zeros(special.numel(), latents)
    ours = result.latent < latents
    table[result.position[ours], result.latent[ours]] = result.value[ours]
    return torch.equal(table[~special.flatten()], torch.tensor(predicted).T)


def main():
    text, bos = real_text()
    tokens, elsewhere = text[:SEQUENCES], text[SEQUENCES:]
    special = tokens == bos
    part, part_special = tokens[:ORACLE_SEQUENCES], special[:ORACLE_SEQUENCES]
    cutter = Cutter(elsewhere, bos, seed=0)
    ngrams = {latent: cutter.of_latent() for latent in range(max(LATENTS))}
    patterns = Patterns.from_ngrams(ngrams)
    walked = {latent: trie_of(ngrams[latent]) for latent in range(ORACLE_LATENTS)}
    print(f"{torch.get_num_threads()} threads, {tokens.numel()} tokens, median (and range) of {REPETITIONS} runs")
    for variant, walk in (("released", released_walk), ("strict", strict_walk)):
        predicted = walks(walked.values(), part, bos, walk)
        oracle_times = seconds(lambda walk=walk: walks(walked.values(), part, bos, walk), REPETITIONS)
        oracle = [part.numel() * ORACLE_LATENTS / s for s in oracle_times]
        for latents in LATENTS:
            start = time.perf_counter()
            matcher = Matcher(first_latents(patterns, latents), variant=variant)
            preparation = time.perf_counter() - start
            ours = [tokens.numel() * latents / s for s in seconds(lambda matcher=matcher: matcher.match(tokens, special), REPETITIONS)]
            density = len(matcher.match(tokens, special).value) / tokens.numel() / latents
            equal = is_equal(predicted, matcher.match(part, part_special), part_special, ORACLE_LATENTS)
            print(
                f"{variant}, {latents} latents, which predict at {density:.2%} of tokens: "
                f"walks {statistics.median(oracle):.2e}/s, ours {statistics.median(ours):.2e}/s ({min(ours):.2e}-{max(ours):.2e}), "
                f"ratio {statistics.median(ours) / statistics.median(oracle):,.0f}; prepared in {preparation:.1f} s; "
                f"{'equal' if equal else 'NOT EQUAL'}"
            )


if __name__ == "__main__":
    main()
