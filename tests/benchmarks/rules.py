"""Time and memory of learning rules, on random activations: most latents fire by a rule, the others at random.

Run it with `python tests/benchmarks/rules.py 4096 65536` (latents, tokens), then without arguments for 32,768 latents and a million tokens.
"""

# ruff: noqa: T201 (its output is what it is for)

import resource
import sys
import time

import torch

from sae_lens_metrics.functional.rule_learning import Firings, RuleLearner
from sae_lens_metrics.functional.rule_text import RuleText

L0, CONTEXT, VOCABULARY, WITHIN = 32, 64, 50_000, 16
AT_ONCE = 2**19  # firings


def zipf(n, generator, vocabulary=VOCABULARY):
    """Tokens as frequent as words are."""
    weight = 1 / (torch.arange(1, vocabulary, dtype=torch.float64) + 2.7)
    return 1 + torch.multinomial(weight, n, replacement=True, generator=generator)


def firings_of(latents, n, seen, generator):
    """Firings of some latents: each on some tokens of the text, half of the time, and as often anywhere."""
    each = max(2, seen.token.numel() * L0 // latents)
    tokens = seen.token[torch.randint(len(seen), (n, 8), generator=generator)]
    order = seen.token.argsort(stable=True)
    first = torch.searchsorted(seen.token[order], tokens)
    count = torch.searchsorted(seen.token[order], tokens, right=True) - first
    draws = torch.rand(n, each // 2, generator=generator)
    which = torch.randint(8, (n, each // 2), generator=generator)
    place = order[first.gather(1, which) + (draws * count.gather(1, which)).long()]
    place = torch.cat([place, torch.randint(len(seen), (n, each - each // 2), generator=generator)], 1)
    key = (torch.arange(n)[:, None] * len(seen) + place).flatten().unique()
    return Firings(key // len(seen), key % len(seen), torch.rand(len(key), generator=generator) + 0.5)


def main(latents=32_768, tokens=2**20):
    """Learns all latents from half of so many tokens."""
    torch.set_num_threads(2)
    generator = torch.Generator().manual_seed(0)
    sequences = zipf(tokens // 2, generator).view(-1, CONTEXT)
    sequences[:, 0] = 0
    started = time.perf_counter()
    special = sequences == 0
    learner = RuleLearner(seen := RuleText.from_sequences(sequences, special, ~special, WITHIN))
    for kind in range(4):
        seen.postings(kind, any_token=False)
    print(f"text of {len(seen):,} places: {time.perf_counter() - started:.1f} s", flush=True)
    part = max(1, AT_ONCE * latents // (L0 * len(seen)))
    learned = rules = firings = 0
    spent = used = 0.0
    for first in range(0, latents, part):
        n = min(part, latents - first)
        own = firings_of(latents, n, seen, generator)
        started, processor = time.perf_counter(), time.process_time()
        rules += len(learner.learn(n, own).rules)
        spent, used = spent + time.perf_counter() - started, used + time.process_time() - processor
        learned, firings = learned + n, firings + len(own.place)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        seconds = f"{spent:.1f} s, {used:.1f} s of a processor"
        print(f"{learned:,} latents, {firings:,} firings, {rules:,} rules: {seconds}, {peak:.2f} GiB at most", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
