"""The same as the package learns of one latent, written as plainly as possible: places in sets, loops over everything."""

import math

KINDS = ("previous", "within", "first")
REACHES = (1, 2, 4, 8, 16, 32)


def surprise(hits, count):
    """Bits that say which of some places are hits."""
    return sum(-part * math.log2(part / count) for part in (hits, count - hits) if part)


def bits_above(hits, count, rate):
    if hits <= rate * count:
        return 0.0
    return -(hits * math.log2(rate) + (count - hits) * math.log2(1 - rate)) - surprise(hits, count)


def shrunken(hits, count, rate):
    return (hits + rate) / (count + 1)


def best_by_f1(candidates, fired):
    """Of all sets of candidates (expected hits, places) that with the largest F1, the largest of these: by trying all of them."""
    best, chosen = 0.0, ()
    for number in range(2 ** len(candidates)):
        some = [i for i in range(len(candidates)) if number >> i & 1]
        hits, places = (sum(candidates[i][k] for i in some) for k in (0, 1))
        f1 = 2 * hits / max(1, places + fired)
        if f1 > best + 1e-12:
            best, chosen = f1, tuple(some)
    return best, chosen
