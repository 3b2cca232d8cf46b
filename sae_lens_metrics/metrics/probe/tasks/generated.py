"""Probe tasks that need no download: generated from random numbers and the Python standard library's own text."""

import base64 as base64_codec
import random
import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, zip_longest

from sae_lens_metrics.metrics.probe.tasks.shared_text import Passages, groups_of
from sae_lens_metrics.metrics.probe.tasks.source_cuts import LONGEST, SHORTEST, Cut, Excerpt, code_cuts, code_window, prose_windows
from sae_lens_metrics.metrics.probe.tasks.task import MIN_EXAMPLES, ProbeTask, TaskError

__all__ = ["GENERATORS", "Generator", "generate_task", "generated_tasks"]

_Streams = tuple[Iterable[Excerpt], Iterable[Excerpt]]
"""Candidates for positive and negative examples."""


@dataclass(frozen=True)
class Generator:
    """Makes a task from a random generator and a number of examples."""

    name: str
    family: str
    description: str

    streams: Callable[[random.Random], _Streams]
    """Yields candidates."""

    matched: Callable[[str], Hashable]
    """What the two classes have the same distribution of, beside the length."""

    def __call__(self, rng: random.Random, n_examples: int, allow_fewer: bool = False) -> ProbeTask:
        """The task; what there is, if the material gives fewer examples and that is allowed.

        Raises:
            TaskError: There are fewer examples, and that is not allowed.
        """
        positive, negative = self.streams(rng)
        passages = Passages()
        pairs = (pair for pair in _pairs(positive, negative, self.matched, limit=400 * n_examples) if passages.admit(*pair))
        pairs = list(islice(pairs, n_examples // 2))
        if len(pairs) < n_examples // 2 and not allow_fewer:
            raise TaskError(f"The probe task {self.name!r} has text for {2 * len(pairs)} examples, not for {n_examples}; ask for fewer.")
        examples = [(excerpt, label) for pair in pairs for excerpt, label in zip(pair, (True, False), strict=True)]
        rng.shuffle(examples)
        excerpts, labels = [excerpt for excerpt, _ in examples], tuple(label for _, label in examples)
        return ProbeTask(self.name, self.family, self.description, tuple(excerpt.text for excerpt in excerpts), labels, groups_of(excerpts))


GENERATORS: dict[str, Generator] = {}
"""What makes each task."""


def generated_tasks() -> tuple[str, ...]:
    """The names of all generated tasks."""
    return tuple(GENERATORS)


def generate_task(name: str, n_examples: int, seed: int, allow_fewer: bool = False) -> ProbeTask:
    """Makes a task: balanced classes whose texts agree in length and in the last character, 40 to 300 characters long.

    The same arguments give the same task on one Python version; the global random state is left alone.

    Args:
        name: One of `generated_tasks`.
        n_examples: How many texts, at least 20; an odd number is rounded down.
        seed: Chooses the texts.
        allow_fewer: Whether to give what there is where the material gives fewer.

    Raises:
        TaskError: The task is unknown, or n_examples is below 20 or, unless that is allowed, more than the material gives.
    """
    if name not in GENERATORS:
        raise TaskError(f"There is no generated probe task {name!r}; there are {', '.join(GENERATORS)}.")
    if n_examples < MIN_EXAMPLES:
        raise TaskError(f"The probe task {name!r} was asked for {n_examples} examples; ask for at least {MIN_EXAMPLES}.")
    return GENERATORS[name](random.Random(f"{name} {seed}"), n_examples, allow_fewer)


def _last_character(text: str) -> Hashable:
    return text[-1]


def _last_word(text: str) -> Hashable:
    return _words(text)[-1]


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def _task(family: str, matched: Callable[[str], Hashable] = _last_character) -> Callable[[Callable[[random.Random], _Streams]], None]:
    """Registers a function that yields candidates as the task of its name, whose docstring says what the classes are.

    Args:
        family: The task's family.
        matched: What the two classes have the same distribution of, beside the length.
    """

    def register(streams: Callable[[random.Random], _Streams]) -> None:
        name = streams.__name__
        GENERATORS[name] = Generator(name, family, (streams.__doc__ or "").strip(), streams, matched)

    return register


def _pairs(
    positive: Iterable[Excerpt], negative: Iterable[Excerpt], matched: Callable[[str], Hashable], limit: int
) -> Iterator[tuple[Excerpt, Excerpt]]:
    """Pairs of a positive and a negative text, alike in length and in what must not give the label away; no text twice."""
    waiting: tuple[dict[Hashable, list[Excerpt]], ...] = (defaultdict(list), defaultdict(list))
    seen: set[str] = set()
    for candidates in islice(zip_longest(positive, negative), limit):
        for side, excerpt in enumerate(candidates):
            if excerpt is None or not SHORTEST <= len(excerpt.text) <= LONGEST or excerpt.text in seen:
                continue
            seen.add(excerpt.text)
            key = (len(excerpt.text) // 20, matched(excerpt.text))
            if waiting[1 - side][key]:
                other = waiting[1 - side][key].pop()
                yield (other, excerpt) if side else (excerpt, other)
            else:
                waiting[side][key].append(excerpt)


def _code(rng: random.Random, holds: Callable[[Cut], bool], contains: str = "") -> Iterator[Excerpt]:
    """Source code up to the cuts where a condition holds, in random order."""
    cuts = [cut for cut in code_cuts() if holds(cut)]
    rng.shuffle(cuts)
    windows = (code_window(cut, rng) for cut in cuts)
    return (window for window in windows if window is not None and contains in window.text)


def _endless(make: Callable[[], Excerpt]) -> Iterator[Excerpt]:
    while True:
        yield make()


def _from_nowhere(make: Callable[[], str]) -> Iterator[Excerpt]:
    return _endless(lambda: Excerpt(make()))


@_task("format")
def base64(rng: random.Random) -> _Streams:
    """Base64 of random bytes or of a text, against ordinary text."""
    prose = prose_windows(rng)

    def encoded() -> Excerpt:
        text, document = next(prose) if rng.random() < 0.5 else (None, None)
        raw = rng.randbytes(LONGEST) if text is None else text.encode()
        return Excerpt(base64_codec.b64encode(raw).decode()[: rng.randint(SHORTEST, LONGEST)].rstrip("="), document)

    return _endless(encoded), prose_windows(rng)


@_task("format")
def code_against_prose(rng: random.Random) -> _Streams:
    """Python source code, against English documentation."""
    return _code(rng, lambda cut: cut.kind == "code"), prose_windows(rng)


@_task("format")
def hexadecimal(rng: random.Random) -> _Streams:
    """Numbers of hexadecimal digits (a letter among the last number's), against numbers of decimal digits."""

    def numbers(digits: str) -> str:
        return " ".join("".join(rng.choices(digits, k=rng.randint(4, 8))) for _ in range(rng.randint(8, 30)))

    hexadecimals = (made for made in _from_nowhere(lambda: numbers("0123456789abcdef")) if re.search(r"[a-f][0-9a-f]*$", made.text))
    return hexadecimals, _from_nowhere(lambda: numbers("0123456789"))


@_task("format")
def camel_case(rng: random.Random) -> _Streams:
    """Identifiers of several words in camelCase, against identifiers in snake_case."""
    prose = prose_windows(rng)

    def identifiers(join: Callable[[list[str]], str]) -> Excerpt:
        text, document = next(prose)
        words = [word for word in _words(text) if len(word) > 2]
        length = rng.randint(2, 3)
        return Excerpt(", ".join(join(words[i : i + length]) for i in range(0, len(words) - length + 1, length)), document)

    def camel(words: list[str]) -> str:
        return words[0] + "".join(word.capitalize() for word in words[1:])

    return _endless(lambda: identifiers(camel)), _endless(lambda: identifiers("_".join))


@_task("code")
def inside_string(rng: random.Random) -> _Streams:
    """Source code that ends inside a string literal, against code that ends outside of one but has one before."""
    outside = _code(rng, lambda cut: cut.kind == "code")
    return _code(rng, lambda cut: cut.kind == "string"), (window for window in outside if re.search("[\"']", window.text))


@_task("code")
def inside_comment(rng: random.Random) -> _Streams:
    """Source code that ends inside a comment, against code that ends outside of one but has one before."""
    return _code(rng, lambda cut: cut.kind == "comment"), _code(rng, lambda cut: cut.kind == "code", contains="# ")


@_task("code")
def inside_brackets(rng: random.Random) -> _Streams:
    """Source code that ends inside of open brackets, against code whose brackets are all closed again."""
    inside = _code(rng, lambda cut: cut.kind == "code" and bool(cut.brackets))
    return inside, _code(rng, lambda cut: cut.kind == "code" and not cut.brackets, contains="(")


@_task("code")
def in_function_signature(rng: random.Random) -> _Streams:
    """Source code that ends among the parameters of a function's definition, against the arguments of a call."""
    signature = _code(rng, lambda cut: cut.kind == "code" and cut.brackets == ("signature",))
    not_calls = ("def", "async", "class", "@")
    return signature, _code(rng, lambda cut: cut.kind == "code" and cut.brackets == ("call",) and cut.statement not in not_calls)


@_task("code")
def deep_indentation(rng: random.Random) -> _Streams:
    """Source code whose last line is indented by eight spaces or more, against four or none."""
    deep = _code(rng, lambda cut: cut.kind == "code" and not cut.brackets and cut.indentation >= 8)
    return deep, _code(rng, lambda cut: cut.kind == "code" and not cut.brackets and cut.indentation <= 4)


@_task("arithmetic")
def true_sum(rng: random.Random) -> _Streams:
    """True sums, the last of them true as well, against a last one that is wrong by up to twenty."""

    def equation(error: int = 0) -> str:
        a, b = rng.randint(21, 99), rng.randint(21, 99)
        return f"{a} + {b} = {a + b + error}"

    def equations(last: Callable[[], str]) -> str:
        return "; ".join([*(equation() for _ in range(rng.randint(3, 12))), last()])

    wrong = [error for error in range(-20, 21) if error]
    return _from_nowhere(lambda: equations(equation)), _from_nowhere(lambda: equations(lambda: equation(rng.choice(wrong))))


@_task("arithmetic")
def true_comparison(rng: random.Random) -> _Streams:
    """True comparisons of numbers, the last of them true as well, against a last one that is false."""

    def comparison(truth: bool = True) -> str:
        a, b = rng.sample(range(100, 1000), 2)
        return f"{a} {'>' if (a > b) == truth else '<'} {b}"

    def comparisons(truth: bool) -> str:
        return ", ".join([*(comparison() for _ in range(rng.randint(3, 16))), comparison(truth)])

    return _from_nowhere(lambda: comparisons(True)), _from_nowhere(lambda: comparisons(False))


@_task("arithmetic")
def ascending_numbers(rng: random.Random) -> _Streams:
    """Numbers that grow, against numbers that shrink, to a last one of the same distribution."""

    def numbers(sign: int) -> str:
        values = [rng.randint(2000, 8000)]
        for _ in range(rng.randint(8, 40)):
            values.append(values[-1] - sign * rng.randint(1, 40))
        return ", ".join(map(str, reversed(values)))

    return _from_nowhere(lambda: numbers(1)), _from_nowhere(lambda: numbers(-1))


@_task("text", matched=_last_word)
def repeated_word(rng: random.Random) -> _Streams:
    """Documentation whose last word has occurred in it before, against the same last word occurring for the first time."""

    def repeats(window: Excerpt) -> bool:
        *before, last = _words(window.text)
        return last in before

    return (window for window in prose_windows(rng) if repeats(window)), (window for window in prose_windows(rng) if not repeats(window))
