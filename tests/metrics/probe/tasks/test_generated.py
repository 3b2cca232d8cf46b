"""Generated probe tasks: their form, and each label derived again by other means."""

import ast
import random
import re
from collections import Counter

import pytest
import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

from sae_lens_metrics.metrics.probe.search import Split
from sae_lens_metrics.metrics.probe.tasks import ProbeTask, generate_task, generated_tasks
from sae_lens_metrics.metrics.probe.tasks.generated import GENERATORS
from sae_lens_metrics.metrics.probe.tasks.shared_text import Passages, groups_of
from sae_lens_metrics.metrics.probe.tasks.source_cuts import Excerpt
from sae_lens_metrics.metrics.probe.tasks.task import TaskError

N = 400
TASKS = {name: generate_task(name, N, seed=0) for name in generated_tasks()}
NUMBERS = ["hexadecimal", "true_sum", "true_comparison", "ascending_numbers"]
CODE = ["inside_string", "inside_comment", "inside_brackets", "in_function_signature", "deep_indentation"]

each_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())


def split(task: ProbeTask) -> tuple[list[str], list[str]]:
    examples = list(zip(task.texts, task.labels, strict=True))
    return [text for text, label in examples if label], [text for text, label in examples if not label]


def test_there_are_enough_tasks_and_families():
    assert len(TASKS) >= 8
    assert len({task.family for task in TASKS.values()}) >= 3
    assert all(name == task.name and task.description.endswith(".") for name, task in TASKS.items())


@each_task
def test_balanced_and_without_duplicates(task):
    assert sum(task.labels) == len(task.labels) // 2 == N // 2
    assert len(set(task.texts)) == N
    assert all(40 <= len(text) <= 300 for text in task.texts)


@each_task
def test_deterministic_for_a_seed_and_different_for_another(task):
    assert generate_task(task.name, N, seed=0) == task
    assert len(set(generate_task(task.name, N, seed=1).texts) & set(task.texts)) < N / 2
    rng = random.Random(3)
    assert GENERATORS[task.name](rng, 40) != GENERATORS[task.name](rng, 40)


@each_task
def test_the_global_random_state_is_left_alone(task):
    before = random.getstate()
    generate_task(task.name, 40, seed=5)
    assert random.getstate() == before


@each_task
def test_lengths_and_last_characters_do_not_tell_the_classes_apart(task):
    positive, negative = split(task)
    assert Counter(len(text) // 20 for text in positive) == Counter(len(text) // 20 for text in negative)
    assert Counter(text[-1].lower() for text in positive) == Counter(text[-1].lower() for text in negative)


@pytest.mark.parametrize("name", [*CODE, "repeated_word"])
def test_last_characters_do_not_solve_it(name):
    task = TASKS[name]
    for count, ceiling in ((1, 0.6), (3, 0.75)):
        x = CountVectorizer(analyzer="char", lowercase=False).fit_transform([text[-count:] for text in task.texts])
        assert cross_val_score(LogisticRegression(), x, task.labels, cv=5).mean() < ceiling


@each_task
def test_order_is_random(task):
    runs = sum(a != b for a, b in zip(task.labels, task.labels[1:], strict=False))
    assert 0.35 * N < runs < 0.65 * N


@each_task
def test_thousands_of_examples(task):
    assert len(generate_task(task.name, 2000, seed=0).texts) == 2000


# --- halves ------------------------------------------------------------------------------------------------------------------


def passages(texts: list[str]) -> set[str]:
    return {text[start : start + 40] for text in texts for start in range(len(text) - 39)}


@pytest.mark.parametrize("n_examples", [200, 800, 2000])
@pytest.mark.parametrize("name", [name for name in TASKS if name not in NUMBERS])
def test_halves_share_no_passage_and_have_both_classes(name, n_examples):
    task = generate_task(name, n_examples, seed=0)
    for seed in range(5):
        split = Split.of(task, torch.Generator().manual_seed(seed))
        fit, held_out = ([text for text, inside in zip(task.texts, split.fit, strict=True) if inside == side] for side in (True, False))
        assert not passages(fit) & passages(held_out)
        assert all(0.25 < half.float().mean() < 0.75 for half in split.y)
        assert len(fit) < 0.7 * n_examples


@pytest.mark.parametrize("name", NUMBERS)
def test_random_numbers_have_no_groups(name):
    assert TASKS[name].groups is None


def test_what_is_from_nowhere_is_a_group_of_its_own():
    assert groups_of([Excerpt("a", 4), Excerpt("b"), Excerpt("c", 2), Excerpt("d"), Excerpt("e", 4)]) == (0, 1, 2, 3, 0)
    assert groups_of([Excerpt("a"), Excerpt("b")]) is None


def test_documents_that_copy_each_other():
    seen, copied = Passages(), "x" * 39 + "y"
    assert seen.admit(Excerpt(f"of one{copied}", 1), Excerpt(f"{copied}of one as well", 1))
    assert not seen.admit(Excerpt("another", 2), Excerpt(f"with{copied}in it", 2))
    assert not seen.admit(Excerpt(copied))
    assert seen.admit(Excerpt(copied[1:], 2), Excerpt(f"{copied}of one again", 1))
    assert not seen.admit(Excerpt("z" * 40, 2), Excerpt("z" * 41, 3))
    assert not seen.admit(Excerpt("z" * 40), Excerpt("z" * 41))


# --- labels ------------------------------------------------------------------------------------------------------------------

# whole literals and comments, or one that the end of the text leaves open
LITERAL = re.compile(
    r"""(?P<comment>\#[^\n]*)|(?P<string>\"{3}(?:\\.|(?!\"{3}).)*(?:\"{3}|$)|'{3}(?:\\.|(?!'{3}).)*(?:'{3}|$)|"(?:\\.|[^"\\])*(?:"|$)|'(?:\\.|[^'\\])*(?:'|$))""",
    re.DOTALL,
)


def ends_in(text: str) -> str:
    """What a cut text ends in, a "string", a "comment" or "code": by a regular expression."""
    # a text ends after a word, so that a string that reaches the end is not closed
    return next((str(literal.lastgroup) for literal in LITERAL.finditer(text) if literal.end() == len(text)), "code")


def open_brackets(text: str) -> list[str]:
    """For each bracket that is not closed, the text before it."""
    code = LITERAL.sub(lambda literal: "_" * len(literal[0]), text)
    openings: list[int] = []
    for i, character in enumerate(code):
        if character in "([{":
            openings.append(i)
        elif character in ")]}":
            openings.pop()
    return [code[:i] for i in openings]


@pytest.mark.parametrize("name", ["inside_string", "inside_comment"])
def test_strings_and_comments(name):
    positive, negative = split(TASKS[name])
    assert {ends_in(text) for text in positive} == {name.removeprefix("inside_")}
    assert {ends_in(text) for text in negative} == {"code"}
    assert all(re.search(r"[\"'#]", text) for text in negative)


def test_brackets():
    positive, negative = split(TASKS["inside_brackets"])
    assert all(open_brackets(text) for text in positive)
    assert not any(open_brackets(text) for text in negative)
    assert all("(" in text for text in negative)


def test_signatures():
    positive, negative = split(TASKS["in_function_signature"])
    for texts, expected in ((positive, True), (negative, False)):
        for text in texts:
            (before,) = open_brackets(text)
            assert bool(re.search(r"\bdef\s+\w+$", before)) == expected
            assert re.search(r"[\w)\]]\s*$", before)


def test_indentation():
    positive, negative = split(TASKS["deep_indentation"])
    for texts, expected in ((positive, True), (negative, False)):
        columns = [len(line) - len(line.lstrip()) for text in texts for line in [text.split("\n")[-1]]]
        assert all((column >= 8) == expected for column in columns)


def test_base64():
    positive, negative = split(TASKS["base64"])
    assert all(re.fullmatch(r"[A-Za-z0-9+/]+", text) for text in positive)
    assert all(" " in text or "\n" in text for text in negative)


def test_code_and_prose():
    positive, negative = split(TASKS["code_against_prose"])
    assert sum(bool(re.search(r"[=(:]", text)) for text in positive) > 0.95 * len(positive)
    assert sum(_parses(text) for text in negative) < 0.05 * len(negative)


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    return True


def test_hexadecimal():
    positive, negative = split(TASKS["hexadecimal"])
    assert all(re.search(r"[a-f]", text.split()[-1]) for text in positive)
    assert all(re.fullmatch(r"[0-9a-f ]+", text) for text in positive)
    assert all(re.fullmatch(r"[0-9 ]+", text) for text in negative)


def test_identifiers():
    positive, negative = split(TASKS["camel_case"])
    assert all(re.fullmatch(r"[a-z]+([A-Z][a-z]+)+", word) for text in positive for word in text.split(", "))
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)+", word) for text in negative for word in text.split(", "))


def test_sums():
    for text, label in zip(TASKS["true_sum"].texts, TASKS["true_sum"].labels, strict=True):
        truths = []
        for equation in text.split("; "):
            a, plus, b, equals, c = equation.split()
            assert (plus, equals) == ("+", "=")
            truths.append(int(a) + int(b) == int(c))
        assert all(truths[:-1])
        assert truths[-1] == label


def test_comparisons():
    for text, label in zip(TASKS["true_comparison"].texts, TASKS["true_comparison"].labels, strict=True):
        parts = [comparison.split() for comparison in text.split(", ")]
        truths = [(int(a) > int(b)) == (sign == ">") for a, sign, b in parts]
        assert all(truths[:-1])
        assert truths[-1] == label


def test_ascending_numbers():
    positive, negative = split(TASKS["ascending_numbers"])
    for texts, expected in ((positive, True), (negative, False)):
        for text in texts:
            numbers = [int(number) for number in text.split(", ")]
            assert numbers == sorted(set(numbers), reverse=not expected)
    mean = {label: sum(int(text.split()[-1]) for text in texts) / len(texts) for label, texts in ((1, positive), (0, negative))}
    assert abs(mean[1] - mean[0]) < 800  # the last number is no clue


def test_repeated_words():
    positive, negative = split(TASKS["repeated_word"])
    for texts, expected in ((positive, True), (negative, False)):
        for text in texts:
            last = re.search(r"[A-Za-z]+$", text)
            assert last
            assert bool(re.search(rf"(?<![A-Za-z]){last[0]}(?![A-Za-z])", text[: last.start()], re.IGNORECASE)) == expected


def test_errors():
    with pytest.raises(TaskError, match=r"no generated probe task 'sentiment'.*inside_string"):
        generate_task("sentiment", 100, seed=0)
    with pytest.raises(TaskError, match="at least 20"):
        generate_task("true_sum", 19, seed=0)
    with pytest.raises(TaskError, match="ask for fewer"):
        generate_task("in_function_signature", 100_000, seed=0)


TEXTS = tuple(f"example {i}" for i in range(20))
LABELS = (True, False) * 10


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        (TEXTS, LABELS[:-1], "20 texts but 19 labels"),
        (TEXTS[:4], LABELS[:4], "at least 20"),
        (TEXTS, (True,) * 20, "one class only"),
        ((*TEXTS[:-1], TEXTS[0]), LABELS, "holds already"),
    ],
)
def test_unusable_tasks(texts, labels, message):
    with pytest.raises(TaskError, match=message):
        ProbeTask("name", "family", "What it is.", texts, labels)
