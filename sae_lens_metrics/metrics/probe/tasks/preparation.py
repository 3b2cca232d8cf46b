"""From raw examples to a probe task: no duplicates, no contradictions, balanced classes, random order."""

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sae_lens_metrics.metrics.probe.tasks.task import ProbeTask

__all__ = ["LONGEST_PROMPT", "LabelledText", "prepare", "rng_of", "without_duplicates"]

LONGEST_PROMPT = 8_192
"""Characters; a longer prompt loses its beginning, as its end is what a probe reads."""


class LabelledText(NamedTuple):
    """A text as its source has it."""

    text: str

    label: bool | str
    """The class; or the number or letter of the right option, while the text is a question with several."""

    group: str | None = None
    """What it shares with others that must be held out together."""


def rng_of(name: str, seed: int) -> random.Random:
    """The random numbers of a task."""
    return random.Random(f"{name} {seed}")


def without_duplicates(examples: Iterable[LabelledText]) -> list[LabelledText]:
    """Each text once, in the order of first appearance and without white space at its end.

    Texts without a word, and those that carry several labels, are left out.
    """
    first: dict[str, LabelledText] = {}
    labels: defaultdict[str, set[bool | str]] = defaultdict(set)
    for example in examples:
        # white space at the end, which a probe would read instead of a word, goes with the class in some sources
        text = example.text.rstrip()[-LONGEST_PROMPT:]
        if text:
            first.setdefault(text, example._replace(text=text))
            labels[text].add(example.label)
    return [example for text, example in first.items() if len(labels[text]) == 1]


def prepare(name: str, family: str, description: str, examples: Iterable[LabelledText], n_examples: int, rng: random.Random) -> ProbeTask:
    """A balanced task of at most n_examples examples.

    Args:
        name: The task's name.
        family: Its family.
        description: What a positive and a negative example is.
        examples: Labelled True and False; may hold duplicates, and any number of each class.
        n_examples: How many to take at most.
        rng: Chooses them and their order.

    Raises:
        TaskError: Fewer than 20 examples are left, or they are of one class.
    """
    distinct = without_duplicates(examples)
    classes = [[example for example in distinct if example.label is label] for label in (True, False)]
    # one class alone is kept as it is, for the task itself to say what is wrong
    size = min(min(map(len, classes)) or max(map(len, classes)), n_examples // 2)
    chosen = [example for members in classes for example in rng.sample(members, min(size, len(members)))]
    rng.shuffle(chosen)
    texts, labels, groups = zip(*chosen, strict=True) if chosen else ((), (), ())
    return ProbeTask(name, family, description, texts, tuple(label is True for label in labels), _numbered(groups))


def _numbered(groups: Sequence[str | None]) -> tuple[int, ...] | None:
    """Numbers of the groups by first appearance; an example without one is a group of its own."""
    if all(group is None for group in groups):
        return None
    keys = [f"group {group}" if group is not None else f"example {i}" for i, group in enumerate(groups)]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return tuple(numbers[key] for key in keys)
