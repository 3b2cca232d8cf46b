"""Multiple choice as a binary task: each question once, with its right option or with a wrong one."""

import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sae_lens_metrics.metrics.probe.tasks.preparation import LabelledText, without_duplicates
from sae_lens_metrics.metrics.probe.tasks.task import TaskError

__all__ = ["FORMS", "options_as_examples", "pairs_as_examples"]


@dataclass(frozen=True)
class Form:
    """How a question and its options are written in one text."""

    pattern: re.Pattern[str]
    """Its group ``question``, then a group for each option."""

    answers: str
    """The label of each option."""

    def parse(self, text: str) -> tuple[str, list[str]] | None:
        """The question and its options; nothing where the text has another form."""
        match = self.pattern.fullmatch(text)
        if match is None:
            return None
        question, *options = (part.strip() for part in match.groups())
        return question, options


def _form(pattern: str, answers: str) -> Form:
    return Form(re.compile(pattern, re.DOTALL), answers)


# a question may hold what looks like an option; the last place where all options follow one another counts
FORMS: dict[str, Form] = {
    "lines from 0": _form(r"(.*)\n\nA\.(.*)\nB\.(.*)", "01"),
    "capitals from 0": _form(r"(.*)\nA\. (.*) B\. (.*) C\. (.*) D\. (.*)", "0123"),
    "capitals by letter": _form(r"(.*)\nA\. (.*) B\. (.*)", "AB"),
    "parentheses by letter": _form(r"(.*) \(A\) (.*) \(B\) (.*) \(C\) (.*) \(D\) (.*)", "ABCD"),
    "bars from 1": _form(
        r"The following is a multiple choice question\. Context: (.*)\| Option A: (.*)\| Option B: (.*)\| Option C: (.*)\. "
        r"The correct answer is",
        "123",
    ),
}
"""How each data set writes multiple choice, and what it calls the options."""


def options_as_examples(questions: Iterable[LabelledText], form: str, rng: random.Random) -> list[LabelledText]:
    """One example a question: half of them end on the right option, half on a wrong one.

    Args:
        questions: Texts of a question with all of its options, labelled with the right one; an example is in its question's group.
        form: One of `FORMS`.
        rng: Chooses.

    Raises:
        TaskError: A text has another form.
    """
    distinct = without_duplicates(questions)
    rng.shuffle(distinct)
    examples = []
    for i, (text, answer, group) in enumerate(distinct):
        parsed, right = FORMS[form].parse(text), FORMS[form].answers.find(str(answer))
        if parsed is None or right < 0 or not answer:
            raise TaskError(f"a question with the answer {answer!r} is not of the form {form!r} that was expected: {text[-120:]!r}")
        question, options = parsed
        wrong = rng.choice([j for j in range(len(options)) if j != right])
        label = i % 2 == 0
        examples.append(LabelledText(f"{_plain(question)} {options[right if label else wrong]}", label, group))
    return examples


def pairs_as_examples(
    rows: Iterable[dict[str, str]], columns: Sequence[str], text: Callable[[dict[str, str]], str], rng: random.Random
) -> list[LabelledText]:
    """Two texts in random order, positive where that of the first column comes first."""
    first, second = columns
    examples = []
    for row in rows:
        label = rng.random() < 0.5
        examples.append(LabelledText(text(row if label else {first: row[second], second: row[first]}), label))
    return examples


def _plain(question: str) -> str:
    return question.replace("| Question: ", " ")
