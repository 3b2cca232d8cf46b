"""The paper's tasks that need no network: what is in them, checked against the raw files by other means."""

import re
from collections import Counter, defaultdict
from dataclasses import replace

import pandas as pd
import pytest
import torch

from sae_lens_metrics.metrics.probe.search import Split
from sae_lens_metrics.metrics.probe.tasks import load_tasks
from sae_lens_metrics.metrics.probe.tasks.catalogue import catalogue
from sae_lens_metrics.metrics.probe.tasks.selection import load_named_task

FILES = {name: entry for name, entry in catalogue().items() if entry.kind == "sae-probes"}
RECAST = [name for name, entry in FILES.items() if entry.recast]
PLAIN = [name for name, entry in FILES.items() if not entry.recast]
PHRASES = [name for name in FILES if name.startswith("phrase_")]
N = 6_000
"""More than any file has."""

# Rows left after de-duplication and balancing, counted in the files independently of this package, where all agree with it. White space
# at the end, which is dropped first, makes no two texts of a file alike.
COUNTS = {
    **{"amazon": 1998, "sciq": 3988, "truthfulqa": 488, "mc_taco": 1352, "quail": 3940, "justice": 4388, "virtue": 3030},
    **{"deontology": 4284, "commonsense_qa": 3820, "wikidata_isalive": 3376, "wikidata_sex_or_gender": 3332},
    **{"wikidata_occupation_isjournalist": 1276, "wikidata_occupation_isathlete": 1282, "wikidata_occupation_isactor": 1220},
    **{"wikidata_occupation_ispolitician": 1276, "wikidata_occupation_issinger": 1290, "wikidata_occupation_isresearcher": 1270},
    **{"phrase_high-school": 2024, "phrase_living-room": 1996, "phrase_social-security": 2034, "phrase_credit-card": 2002},
    **{"phrase_blood-pressure": 1994, "phrase_prime-factors": 2022, "phrase_social-media": 2026, "phrase_gene-expression": 2016},
    **{"phrase_control-group": 2012, "phrase_magnetic-field": 2038, "phrase_cell-lines": 2056, "phrase_trial-court": 2028},
    **{"phrase_second-derivative": 2038, "phrase_north-america": 1958, "phrase_human-rights": 2006, "phrase_side-effects": 2012},
    **{"phrase_public-health": 2054, "phrase_federal-government": 2018, "phrase_third-party": 1940, "phrase_clinical-trials": 2004},
    **{"phrase_mental-health": 1960, "cola": 3178, "gpt2disc": 4964},
    **{"ag_news_world": 2460, "ag_news_sports": 2440, "ag_news_business": 2434, "ag_news_scitech": 2448},
}
# Recasts, where the independent count is of different questions and the task holds different texts: (questions, texts of seed 0).
RECAST_COUNTS = {
    "quartz": (1716, 1710),  # 1717 questions, of which six are there with both answers; the count is rounded down to an even number
    "social_iqa": (4614, 4616),  # 4616 questions; balancing their three answers costs two, which balancing right and wrong does not
    "piqa": (4324, 4322),  # two questions with different wrong options end on the same right one
    "openbookqa": (3000, 2986),  # likewise
    "quail": (3940, 3940),
}
COUNTS |= {name: texts for name, (_, texts) in RECAST_COUNTS.items()}
# Generated here, as many as are asked for: no file bounds it.
COUNTS["base64"] = N


@pytest.fixture(scope="module")
def tasks(sae_probes):
    loaded = load_tasks(["offline"], n_examples=N, seed=0, strict=True)
    assert not loaded.missing
    return {task.name: task for task in loaded.tasks}


@pytest.fixture(scope="module")
def raw(sae_probes):
    return {
        name: pd.read_csv(sae_probes / "data" / "cleaned_data" / f"{entry.source}.csv.zst", dtype=str, keep_default_na=False)
        for name, entry in FILES.items()
    }


def examples(task):
    return zip(task.texts, task.labels, strict=True)


# --- the table ---------------------------------------------------------------------------------------------------------------


def test_the_papers_61_tasks():
    kinds = Counter(entry.kind for entry in catalogue().values())
    assert kinds == {"sae-probes": 48, "generated": 1, "hub": 12}
    assert len(FILES) == len(set(FILES.values()))
    assert len({entry.source for entry in FILES.values()}) == 48
    assert len(PHRASES) == 21
    for entry in catalogue().values():
        assert entry.description.endswith(".")
        assert " against " in entry.description
        assert entry.citation
        assert entry.licence
        assert re.fullmatch(r"[0-9a-f]{40}|refs/convert/parquet", entry.revision) or entry.kind != "hub"


def test_the_tables_counts_are_those_of_the_files():
    assert {name: entry.examples for name, entry in FILES.items()} == {name: COUNTS[name] for name in FILES}


# --- the tasks ---------------------------------------------------------------------------------------------------------------


def test_counts(tasks):
    assert {name: len(task.texts) for name, task in tasks.items()} == COUNTS


def test_counts_of_recast_questions(raw):
    for name, (questions, texts) in RECAST_COUNTS.items():
        assert abs(raw[name].prompt.nunique() - questions) <= 2, name
        assert 0 <= raw[name].prompt.nunique() - texts <= 16, name


@pytest.mark.parametrize("name", [*FILES, "base64"])
def test_balanced_and_without_duplicates(tasks, name):
    task = tasks[name]
    assert len(set(task.texts)) == len(task.texts) == 2 * sum(task.labels)
    assert all(text and text == text.rstrip() and len(text) <= 8192 for text in task.texts)
    changes = sum(a != b for a, b in zip(task.labels, task.labels[1:], strict=False))
    assert 0.4 * len(task.labels) < changes < 0.6 * len(task.labels)


@pytest.mark.parametrize("name", PLAIN)
def test_labels_are_those_of_the_file_and_contradictions_are_gone(tasks, raw, name):
    labels = raw[name].groupby(raw[name].prompt.str.rstrip()).target.agg(set).to_dict()
    for text, label in examples(tasks[name]):
        (only,) = labels[text]
        assert (only == FILES[name].positive) == label


@pytest.mark.slow
def test_a_cap_and_a_seed(sae_probes):
    def load(seed):
        return load_tasks(["offline"], n_examples=201, seed=seed).tasks

    first, other = load(0), load(1)
    load_named_task.cache_clear()
    again = load(0)
    assert all(a is not b for a, b in zip(first, again, strict=True))
    assert [task.fingerprint for task in first] == [task.fingerprint for task in again]
    assert not {task.fingerprint for task in first} & {task.fingerprint for task in other}
    for task in first:
        assert len(task.texts) == 2 * sum(task.labels) == 200
    assert [task.name for task in first] == [name for name, entry in catalogue().items() if entry.kind != "hub"]


# --- multiple choice ---------------------------------------------------------------------------------------------------------


def between(text, *marks):
    """What stands before, between and after marks, found one after the other from the end."""
    parts = []
    for mark in reversed(marks):
        text, found, part = text.rpartition(mark)
        assert found
        parts.insert(0, part.strip())
    return text.strip(), parts


def options_of(name, text):
    if name == "social_iqa":
        text = text.removeprefix("The following is a multiple choice question. Context: ").removesuffix(". The correct answer is ")
        return between(text.replace("| Question:", "", 1), "| Option A:", "| Option B:", "| Option C:")
    marks = {
        "piqa": ("\n\nA.", "\nB."),
        "quail": ("\nA. ", " B. ", " C. ", " D. "),
        "quartz": ("\nA. ", " B. "),
        "openbookqa": (" (A) ", " (B) ", " (C) ", " (D) "),
    }
    return between(text, *marks[name])


RIGHT = {"piqa": "01", "quail": "0123", "quartz": "AB", "openbookqa": "ABCD", "social_iqa": "123"}


@pytest.mark.parametrize("name", RECAST)
def test_the_right_option_is_the_positive_one(tasks, raw, name):
    possible = defaultdict(set)
    for prompt, target in zip(raw[name].prompt, raw[name].target, strict=True):
        question, options = options_of(name, prompt)
        for letter, option in zip(RIGHT[name], options, strict=True):
            possible[f"{question} {option}"].add(letter == target)
    unsure = sum(len(possible[text]) > 1 for text in tasks[name].texts)
    assert unsure < 0.01 * len(tasks[name].texts)  # questions that are there twice, with other options
    assert all(label in possible[text] for text, label in examples(tasks[name]))


def test_one_example_a_question(tasks, raw):
    questions = Counter(options_of("quail", prompt)[0] for prompt in set(raw["quail"].prompt))
    taken = Counter(next(text[:end] for end in range(len(text), 0, -1) if text[:end] in questions) for text in tasks["quail"].texts[:300])
    assert all(count <= questions[question] for question, count in taken.items())


def test_wrong_options_are_drawn_from_all(tasks, raw):
    places, wrong = Counter(), set_of(tasks["openbookqa"], False)
    for prompt, target in zip(raw["openbookqa"].prompt, raw["openbookqa"].target, strict=True):
        question, options = options_of("openbookqa", prompt)
        if target == "A":
            places.update(i for i, option in enumerate(options) if f"{question} {option}" in wrong)
    assert places[0] < 5
    assert all(places[i] > 50 for i in (1, 2, 3))


def set_of(task, label):
    return {text for text, own in examples(task) if own is label}


# --- groups ------------------------------------------------------------------------------------------------------------------


def words(count):
    return lambda text: " ".join(text.split()[:count])


# what the examples of a group share, found without regular expressions, or an empty text
SHARED = {
    "mc_taco": lambda text: text.split("\n")[0],
    "quail": lambda text: text.rpartition("\n")[0],  # the passage
    "quartz": words(8),
    "justice": lambda text: text.partition(" because ")[0] if " because " in text else "",
    "virtue": lambda text: text.partition(" [SEP]")[0],
    "deontology": lambda text: text.split("\n")[0],
    "cola": lambda text: " ".join(text.split(" ")[:3]) if text.count(" ") > 2 else "",
    "gpt2disc": lambda text: text.lstrip()[:80],
    **{name: lambda text: text.split()[-1] for name in FILES if name.startswith("wikidata")},
}


def share_on_both_sides(keys, fit):
    """How many of the held-out examples have a key that an example of the other half has."""
    fitted = {key for key, inside in zip(keys, fit, strict=True) if inside and key != ""}
    held_out = [key for key, inside in zip(keys, fit, strict=True) if not inside]
    return sum(key in fitted for key in held_out) / len(held_out)


def test_which_tasks_have_groups(tasks):
    assert {name for name, task in tasks.items() if task.groups is not None} == {*SHARED, "base64"}
    assert {name for name, entry in FILES.items() if entry.group} == set(SHARED)


@pytest.mark.parametrize("name", [*FILES, "base64"])
@pytest.mark.parametrize("seed", [0, 1])
def test_no_group_and_nothing_shared_is_on_both_sides_of_a_split(tasks, name, seed):
    task = tasks[name]
    split = Split.of(task, torch.Generator().manual_seed(seed))
    if task.groups is not None:
        assert share_on_both_sides(task.groups, split.fit) == 0
        assert sorted(set(task.groups)) == list(range(max(task.groups) + 1))
    if name in SHARED:
        assert share_on_both_sides([SHARED[name](text) for text in task.texts], split.fit) == 0
    assert all(0.4 < half.float().mean() < 0.6 for half in split.y)
    assert 0.5 <= split.fit.float().mean() < 0.6


@pytest.mark.parametrize("name", SHARED)
def test_without_groups_much_would_be_on_both_sides(tasks, name):
    task = tasks[name]
    fit = Split.of(replace(task, groups=None), torch.Generator().manual_seed(0)).fit
    share = share_on_both_sides([SHARED[name](text) for text in task.texts], fit)
    assert share > (0.9 if name in ("mc_taco", "quail") else 0.02)


def test_passages(tasks):
    passages = defaultdict(set)
    for text, group in zip(tasks["quail"].texts, tasks["quail"].groups, strict=True):
        passages[group].add(text.rpartition("\n")[0])
    assert len(passages) == 558
    versions = [[set(passage.split()) for passage in of] for of in passages.values() if len(of) > 1]
    assert len(versions) == 2  # the file has them with and without the place where they were written, or with a paragraph more
    assert all(len(one & other) > 0.8 * len(one | other) for one, other in versions)


# --- what the labels mean ----------------------------------------------------------------------------------------------------

WORDS = {
    "ag_news_sports": r"\b(season|coach|team|league|championship|quarterback|striker|cup|innings)\b",
    "ag_news_world": r"\b(baghdad|president|troops|palestinian|minister|killed|elections?)\b",
    "ag_news_business": r"\b(profit|shares|oil|stocks|earnings|investors|quarterly)\b",
    "ag_news_scitech": r"\b(software|microsoft|internet|nasa|linux|web|scientists)\b",
    "amazon": r"\b(great|love|perfect|excellent|loves)\b",
    "wikidata_sex_or_gender": r"\b(his|he|him)\b",
}


@pytest.mark.parametrize("name", WORDS)
def test_words_that_go_with_the_positive_class(tasks, name):
    having = [sum(bool(re.search(WORDS[name], text, re.IGNORECASE)) for text in set_of(tasks[name], label)) for label in (True, False)]
    assert having[0] > 1.3 * having[1]


@pytest.mark.parametrize("name", PHRASES)
def test_phrases_are_at_the_end(tasks, name):
    first, second = name.removeprefix("phrase_").split("-")
    wrong = [text for text, label in examples(tasks[name]) if bool(re.search(rf"{first}\W*{second}$", text, re.IGNORECASE)) != label]
    assert len(wrong) < 0.015 * len(tasks[name].texts)  # what the file counts as another phrase: "credit-card", "transgene expression"


def test_white_space_does_not_tell_who_wrote_an_essay(tasks, raw):
    ends = raw["gpt2disc"].groupby("target").prompt.agg(lambda prompts: sum(prompt != prompt.rstrip() for prompt in prompts) / len(prompts))
    assert ends["0"] > 0.3  # those of people, while 1 in 200 of the others has it: the last token, which is probed, would give them away
    assert ends["1"] < 0.01
    assert all(text == text.rstrip() for text in tasks["gpt2disc"].texts)
