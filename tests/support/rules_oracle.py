"""The same as the package learns of one latent, written as plainly as possible: sets of places, loops over everything."""

import math
from itertools import combinations

PREVIOUS, WITHIN, FIRST = "previous", "within", "first"
REACHES = (1, 2, 4, 8, 16, 32)
LEAST, TURNS, FREQUENT = 0.05, 4, 32


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
    """Of all sets of candidates (expected hits, places) that with the largest F1: by trying all of them."""
    best, chosen = 0.0, ()
    for number in range(len(candidates) + 1):
        for some in combinations(range(len(candidates)), number):
            hits, places = (sum(candidates[i][k] for i in some) for k in (0, 1))
            f1 = 2 * hits / max(1, places + fired)
            if f1 > best + 1e-12:
                best, chosen = f1, some
    return best, chosen


def chosen_by_precision(candidates, fired):
    """The same by a threshold on precision, of candidates (precision, places); indices, and F1."""
    best, chosen, hits, places = 0.0, [], 0.0, 0
    order = sorted(range(len(candidates)), key=lambda i: -candidates[i][0])
    for number, i in enumerate(order):
        hits, places = hits + candidates[i][0] * candidates[i][1], places + candidates[i][1]
        f1 = 2 * hits / max(1, places + fired)
        if f1 > best + 1e-9:
            best, chosen = f1, order[: number + 1]
    return set(chosen), best


class Learner:
    """One latent's rules, each a tuple: token or ``None``, question or ``None``, and a frozenset of questions that must not hold.

    Args:
        places: Each place's token, and the tokens of its document in front of it.
        fires: Indices of the places where the latent fires.
        penalty: As in the package.
    """

    def __init__(self, places, fires, penalty=1.0):
        self.token = [token for token, _ in places]
        self.answers = [self.answered(before) for _, before in places]
        self.everywhere, self.fires, self.penalty = set(range(len(places))), set(fires), penalty
        self.words = math.log2(max(2, len(set(self.token))))
        self.base = len(self.fires) / len(places)

    @staticmethod
    def answered(before):
        """All questions to which a place says yes."""
        yes = {(PREVIOUS, token) for token in before[-1:]} | {(WITHIN, token) for token in before[-16:]}
        return yes | {(FIRST, reach) for reach in REACHES if len(before) < reach}

    def price(self, question):
        """Bits of a question; of none, those of a token."""
        if question is None:
            return self.penalty * self.words
        return self.penalty * (2 + (math.log2(len(REACHES)) if question[0] == FIRST else self.words))

    def rate_price(self, count):
        return self.penalty / 2 * math.log2(max(1, count))

    def holding(self, rule):
        token, question, unless = rule
        return {
            i
            for i in self.everywhere
            if token in (None, self.token[i]) and (question is None or question in self.answers[i]) and not unless & self.answers[i]
        }

    def covered(self, rules):
        return set().union(*map(self.holding, rules))

    def counted(self, places):
        return len(places & self.fires), len(places)

    def f1(self, rules):
        hits, count = self.counted(self.covered(rules))
        return 2 * hits / max(1, count + len(self.fires))

    def chosen(self, candidates, threshold=None):
        """Of candidates (places, expected rate, price): those that are worth it and make F1 largest; and the threshold."""
        judged = []
        for places, expected, price in candidates:
            hits, count = self.counted(places)
            worth = bits_above(hits, count, self.base) > price + self.rate_price(count)
            judged.append((shrunken(hits, count, expected) if worth else 0.0, count))
        if threshold is not None:
            return {i for i, (precision, _) in enumerate(judged) if precision > threshold}, threshold
        which, f1 = chosen_by_precision(judged, len(self.fires))
        return which, f1 / 2

    def saved(self, places, price):
        hits, count = self.counted(places)
        return max(0.0, bits_above(hits, count, self.base) - price - self.rate_price(count))

    def learn(self):
        rules = self.general([]) if self.prefers_general() else []
        rules += self.specific(rules)
        rules += self.general(rules, threshold=self.f1(rules) / 2)
        for _ in range(2):
            rules = self.pruned(rules)
        return rules

    def tokens(self):
        """The set of tokens."""
        tokens = sorted({self.token[i] for i in self.fires})
        cells = [({i for i in self.everywhere if self.token[i] == token}, self.base, self.price(None)) for token in tokens]
        return {tokens[i] for i in self.chosen(cells)[0]}

    def questions(self, places, *kinds):
        return sorted({question for i in places for question in self.answers[i] if question[0] in kinds})

    def prefers_general(self):
        by_token = sum(
            self.saved(self.holding((token, None, frozenset())), self.price(None)) for token in {self.token[i] for i in self.fires}
        )
        asked = {
            question: self.saved(self.holding((None, question, frozenset())), self.price(question))
            for question in self.questions(self.fires, PREVIOUS, FIRST)
        }
        before = sum(saved for question, saved in asked.items() if question[0] == PREVIOUS)
        return max([before, *(saved for question, saved in asked.items() if question[0] == FIRST)]) > by_token

    def general(self, rules, threshold=None):
        gone = self.covered(rules)
        asked = []
        for question in self.questions(self.fires - gone, PREVIOUS, FIRST):
            places = self.holding((None, question, frozenset())) - gone
            saved = self.saved(places, self.price(question))
            if saved > 0:
                asked.append((question, places, saved))
        asked.sort(key=lambda each: self._number(each[0]))
        first = max((each for each in asked if each[0][0] == FIRST), key=lambda each: each[2], default=None)
        asked = [each for each in asked if each[0][0] == PREVIOUS or each is first]
        which, _ = self.chosen([(places, self.base, self.price(question)) for question, places, _ in asked], threshold)
        return [(None, asked[i][0], frozenset()) for i in sorted(which)]

    def specific(self, rules):
        gone = self.covered(rules)
        parts = []
        for token in sorted({self.token[i] for i in self.fires - gone}):
            cell = self.holding((token, None, frozenset())) - gone
            hits, count = self.counted(cell)
            leaves, rest = self.split(cell)
            parts.append((token, None, rest, self.base, self.price(None), -1))
            parts += [(token, asked, places, hits / count, self.price(None) + self.price(asked), turn) for asked, places, turn in leaves]
        which, threshold = self.chosen([(places, expected, price) for _, _, places, expected, price, _ in parts])
        whole = {part[0] for i, part in enumerate(parts) if i in which and part[1] is None}
        found = []
        for i, (token, question, _, _, _, turn) in enumerate(parts):
            if i not in which or (question is not None and token in whole):
                continue
            low = [
                other
                for j, other in enumerate(parts)
                if other[0] == token and other[1] is not None and j not in which
                if shrunken(*self.counted(other[2]), other[3]) <= threshold
            ]
            if question is not None:
                low = [other for other in low if other[5] < turn and not other[1][0] == question[0] == PREVIOUS]
            found.append((token, question, frozenset(other[1] for other in low)))
        return found

    def split(self, cell):
        """The parts of a cell that differ from what is left of it, and that."""
        leaves, rest = [], set(cell)
        for turn in range(TURNS):
            hits, count = self.counted(rest)
            asked = {}
            for question in self.questions(rest, PREVIOUS, WITHIN, FIRST):
                part = {i for i in rest if question in self.answers[i]}
                h, n = self.counted(part)
                gain = surprise(hits, count) - surprise(h, n) - surprise(hits - h, count - n) - self.price(question)
                tried = h > 1 or (hits >= LEAST * count and count - hits > 1)
                if tried and hits > 1 and n > 1 and gain > 0 and max(h / n, hits / count) >= LEAST:
                    asked[question] = (gain, h, n)
            if not asked:
                break
            best = max(asked, key=lambda question: (asked[question][0], -self._number(question)))
            before = {question: each for question, each in asked.items() if question[0] == PREVIOUS}
            left = hits - sum(h for _, h, _ in before.values()), count - sum(n for _, _, n in before.values())
            told = sum(surprise(h, n) + self.price(question) for question, (_, h, n) in before.items())
            together = surprise(hits, count) - surprise(*left) - told
            taken = before if together >= asked[best][0] - 1e-9 else [best]
            for question in taken:
                leaves.append((question, {i for i in rest if question in self.answers[i]}, turn))
            rest -= set().union(*(places for _, places, number in leaves if number == turn))
        return leaves, rest

    @staticmethod
    def _number(question):
        return (PREVIOUS, WITHIN, FIRST).index(question[0]) * 1000 + question[1]

    def pruned(self, rules):
        """Those that gain where others are there, the most telling ones first."""
        seen, own = set(), []
        for rule in rules:
            own.append(self.holding(rule) - seen)
            seen |= own[-1]
        precision = [(shrunken(*self.counted(places), self.base) if places else 0.0, len(places)) for places in own]
        which, f1 = chosen_by_precision(precision, len(self.fires))
        return [rules[i] for i in sorted(which, key=lambda i: -precision[i][1] * (precision[i][0] - f1 / 2)) if precision[i][1]]
