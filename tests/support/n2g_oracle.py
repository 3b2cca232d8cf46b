"""N2G explanations of one latent, written as plainly as possible: what the package's own are compared with."""

import math

VALUE, START = "value", "start"  # keys of a trie's node beside its branches: tokens, and None for the wildcard
BATCH = 16  # rows per call


def build(activate, examples, pad):
    """The trie as released, and the smallest distance to a threshold that was met on the way."""
    trie, thresholds = {}, Thresholds()
    for tokens, act in examples:
        suffix, suffix_act = shortest_suffix(activate, tokens, act, thresholds)
        if suffix is None:
            suffix, suffix_act = list(tokens), act
        at_start = is_anchored(activate, suffix, act, pad, thresholds)
        saliencies = single_saliencies(activate, suffix, suffix_act, pad, range(len(suffix)), thresholds)
        pattern = [None if saliencies[i] < 0.5 else token for i, token in enumerate(suffix)]
        insert(trie, pattern, at_start, suffix_act)
    return trie, thresholds.margin


def build_strict(activate, examples, pad):
    """{(tokens, at_start): value} of the strict variant, and the smallest distance to a threshold."""
    found, thresholds = {}, Thresholds()
    for tokens, act in examples:
        suffix, suffix_act = shortest_suffix(activate, tokens, act, thresholds)
        if suffix is None:
            continue
        at_start = is_anchored(activate, suffix, act, pad, thresholds)
        saliencies = single_saliencies(activate, suffix, suffix_act, pad, range(len(suffix) - 1), thresholds)
        wild = [i for i, saliency in saliencies.items() if saliency < 0.5]
        while wild:
            padded = [pad if i in wild else token for i, token in enumerate(suffix)]
            if 1 - thresholds.ratio(run(activate, [padded])[0], suffix_act) < 0.5:
                break
            wild.remove(most_salient(wild, saliencies, thresholds))
        pattern = tuple(None if i in wild else token for i, token in enumerate(suffix))
        found.setdefault((pattern, at_start), []).append(suffix_act)
    return {pattern: sum(values) / len(values) for pattern, values in found.items()}, thresholds.margin


def insert(trie, pattern, at_start, value):
    node = trie
    for token in reversed(pattern):
        node = node.setdefault(token, {})
    if at_start:
        node = node.setdefault(START, {})
    node[VALUE] = value


def ngrams_of(trie):
    """{(tokens, at_start): value} of every node that holds a value, reachable by ``predict`` or not."""

    def walk(node, tokens):
        if VALUE in node:
            yield (tokens, False), node[VALUE]
        if START in node:
            yield (tokens, True), node[START][VALUE]
        for branch, child in node.items():
            if branch not in (VALUE, START):
                yield from walk(child, (branch, *tokens))

    return dict(walk(trie, ()))


def predict(trie, tokens):
    """The released prediction at every position of one sequence."""
    return [predict_last(trie, tokens[: end + 1]) for end in range(len(tokens))]


def predict_last(trie, tokens):
    node, left = trie, list(tokens)
    while left:
        token = left.pop()
        node = node.get(token, node.get(None))
        if node is None:
            return 0.0
        if VALUE in node:
            return node[VALUE]
        if START in node and not left:
            return node[START][VALUE]
    return 0.0


class Thresholds:
    """Remembers how near the comparisons came to turning out otherwise, so that a test can excuse differences that are mere rounding."""

    def __init__(self):
        self.margin = math.inf

    def ratio(self, part, whole):
        """A ratio that is going to be compared with one half, as is one minus it."""
        self.note(part / whole - 0.5)
        return part / whole

    def note(self, distance):
        self.margin = min(self.margin, abs(distance))


def run(activate, rows):
    return [act for i in range(0, len(rows), BATCH) for act in activate(rows[i : i + BATCH])]


def shortest_suffix(activate, tokens, act, thresholds):
    """The shortest suffix that reaches half of the activation, and its own activation; (None, None) if there is none."""
    suffixes = [list(tokens[len(tokens) - length :]) for length in range(1, len(tokens) + 1)]
    for i in range(0, len(suffixes), BATCH):
        batch = suffixes[i : i + BATCH]
        for suffix, suffix_act in zip(batch, run(activate, batch), strict=True):
            if thresholds.ratio(suffix_act, act) >= 0.5:
                return suffix, suffix_act
    return None, None


def is_anchored(activate, suffix, act, pad, thresholds):
    return thresholds.ratio(run(activate, [[pad, *suffix]])[0], act) < 0.5


def single_saliencies(activate, suffix, suffix_act, pad, positions, thresholds):
    rows = [[*suffix[:i], pad, *suffix[i + 1 :]] for i in positions]
    return {i: 1 - thresholds.ratio(act, suffix_act) for i, act in zip(positions, run(activate, rows), strict=True)}


def most_salient(wild, saliencies, thresholds):
    """The wildcard to restore first; which one it is hangs on rounding where two are equally salient, so that counts as a margin too."""
    *_, second, first = sorted([(-math.inf, -1), *((saliencies[i], i) for i in wild)])
    thresholds.note(first[0] - second[0])
    return first[1]
