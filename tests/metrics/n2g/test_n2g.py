"""The metric n2g: planted latents with known answers, slow references on a real model, and SAEs that SAELens trained."""

import dataclasses
import json
import math
import re
from itertools import product

import n2g_oracle
import numpy as np
import pytest
import torch
from planted import PlantedTokenizer, earlier, fires_after, fires_on_either, fires_on_first, planted_subject, planted_tokens
from saes import SUPPORTED, training_sae

from sae_lens_metrics import Corpus, MetricsConfig, Subject, evaluate
from sae_lens_metrics.demo.shipped import SHIPPED_SAES
from sae_lens_metrics.evaluation.run import EvaluationRun
from sae_lens_metrics.functional.jackknife import GROUPS, random_groups
from sae_lens_metrics.functional.matching import Matcher
from sae_lens_metrics.functional.ngrams import ABSENT, NGram, Patterns
from sae_lens_metrics.metrics.n2g import building
from sae_lens_metrics.metrics.n2g.building import explain, texts
from sae_lens_metrics.metrics.n2g.scores import score
from sae_lens_metrics.metrics.n2g.shared import explanations_of, scores_of
from sae_lens_metrics.metrics.n2g.spec import N2GConfig
from sae_lens_metrics.results import MatchingRules, Report
from sae_lens_metrics.subject.dictionary import Dictionary
from sae_lens_metrics.text.token_text import TokenText

VARIANTS = ("released", "strict")
NEAR = 1e-4  # a comparison this near to its threshold may turn out otherwise in another batch
BOS, PAD = 49, 0


class NamedTokenizer(PlantedTokenizer):
    def batch_decode(self, pieces, clean_up_tokenization_spaces):
        assert not clean_up_tokenization_spaces
        return [self.decode(piece) for piece in pieces]


def n2g_config(batch_size=16, seed=0, **n2g):
    return MetricsConfig(
        names=["n2g"], seed=seed, batch_size=batch_size, n2g=N2GConfig(**({"context": 16, "max_length": 8, "pad_token": PAD} | n2g))
    )


def planted(rules, *, bos=None, **kwargs):
    subject = planted_subject(rules, bos=bos, **kwargs)
    if bos is not None:
        subject.site.model.tokenizer = NamedTokenizer(bos)
    return subject


def measured(subject, tokens, **n2g):
    """The metric's result, and the rows of its table by latent."""
    result = evaluate(subject, Corpus.from_tokens(tokens), n2g_config(**n2g)).metrics["n2g"]
    return result, {row["latent"]: row for row in result.tables["latents"]}


def explained(result):
    """The explanations in words, by latent."""
    return {each.latent: each.to_text() for each in result.explanations.latents}


def value(result, name):
    return result.estimates[name].value


# --- planted latents -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bos", [None, BOS])
@pytest.mark.parametrize("variant", VARIANTS)
def test_latents_that_are_ngrams_are_explained_perfectly(variant, bos):
    rules = [
        fires_after(1),
        fires_after(2, 3, value=2.0),
        fires_after(4, None, 5, value=0.5),
        fires_after(7, None, None, 8),
        fires_on_first(6, bos=bos),
    ]
    subject = planted(rules, bos=bos)
    result, rows = measured(subject, planted_tokens(subject, 600), variant=variant)
    for name in ("precision", "recall", "f1", "precision_by_density", "recall_by_density", "f1_by_density", "f1_sparse", "recall_text"):
        assert value(result, name) == 1, name
        assert result.estimates[name].stderr == 0, name
    for row in rows.values():
        assert row["precision"] == row["recall"] == row["f1"] == 1
        assert row["predicted"] == row["fired"] > 10
    names = ["' t1'", "' t2' ' t3'", "' t4' * ' t5'", "' t7' * * ' t8'", "^ ' t6'"]
    names = names if bos else [name.replace("t", "") for name in names]
    assert explained(result) == dict(enumerate(names))
    assert [[ngram.value for ngram in each.ngrams] for each in result.explanations.latents] == [[1], [2], [0.5], [1], [1]]
    ids = [[1], [2, 3], [4, None, 5], [7, None, None, 8], [6]]
    assert [each.ngrams[0].tokens for each in result.explanations.latents] == ids
    assert result.explanations.rules == MatchingRules(variant, subject.language.special_tokens.tolist(), bos)
    counts = {"explained": 5, "dead": 0, "rare": 0, "unexplained": 0, "never_fired": 0}
    assert {name: value(result, name) for name in counts} == counts


def after_one_of(first, last):
    """On a token behind any of several."""
    first = torch.tensor(first)
    return lambda tokens: ((tokens == last) & torch.isin(earlier(tokens, 1), first)).float()


@pytest.mark.slow
@pytest.mark.parametrize("n", [8, 16, 32])
def test_recall_of_a_latent_with_many_reasons_is_the_chance_of_having_seen_them(n):
    """Of n equally likely n-grams, 16 examples show each with probability 1 - (1 - 1/n)^16."""
    last = 1
    rule = after_one_of(range(2, 2 + n), last)
    subject = planted([rule] * 100)  # the same rule, but each latent has a sample of its own
    tokens = torch.randint(2, 2 + n, (1600, 16), generator=torch.Generator().manual_seed(n))
    tokens[:, 1::2] = last  # half of all positions fire, so that each n-gram is equally frequent to some percent
    result, rows = measured(subject, tokens, max_length=3)
    recall, expected = result.estimates["recall"], 1 - (1 - 1 / n) ** 16
    assert len(rows) == recall.n == 100
    assert recall.stderr < 0.025
    assert abs(recall.value - expected) < 4 * recall.stderr
    # the other recall is over all of the text: the share of reasons that were seen
    on_text = result.estimates["recall_text"]
    assert abs(on_text.value - expected) < 4 * on_text.stderr
    assert value(result, "precision") == 1
    assert all(row["precision"] == 1 for row in rows.values())


def test_either_of_two_reasons_fools_the_released_variant_only():
    rules = [fires_on_either(8, 1, 2)] * 10
    subject = planted(rules)
    tokens = torch.tensor([1, 2, 8, 9])[torch.randint(0, 4, (400, 16), generator=torch.Generator().manual_seed(0))]
    fooled, _ = measured(subject, tokens, variant="released")
    # a pattern in which both became wildcards predicts every 8
    assert value(fooled, "precision") < 0.8
    assert any("* * ' 8'" in text for text in explained(fooled).values())
    mended, _ = measured(subject, tokens, variant="strict")
    assert value(mended, "precision") == 1
    assert value(mended, "recall") == 1
    assert not any("* * ' 8'" in text for text in explained(mended).values())


@pytest.mark.parametrize("variant", VARIANTS)
def test_latents_are_counted_by_how_often_they_fire(variant):
    subject = planted([fires_after(token) for token in (1, 20, 21, 22, 23, 24, 25)])
    tokens = torch.randint(1, 10, (40, 16), generator=torch.Generator().manual_seed(0))
    tokens[0, 5] = 21  # the first 20 sequences explain, the others score
    tokens[20, 10] = 22
    tokens[1, 5] = 23
    tokens[20:, 7] = 23
    tokens[:4, 9] = 24
    tokens[:20, 3] = 25
    tokens[20:, 3:6] = 25
    tokens[:, 12:14] = 1
    result, rows = measured(subject, tokens, variant=variant)
    counts = {"explained": 3, "dead": 1, "rare": 3, "unexplained": 0, "never_fired": 1, "dense": 2}
    assert {name: value(result, name) for name in counts} == counts
    assert all(result.estimates[name].n == 7 for name in counts)
    assert [rows[latent]["ngrams"] > 0 for latent in range(7)] == [True, False, False, False, False, True, True]
    assert [rows[each.latent]["ngrams"] for each in result.explanations.latents] == [len(e.ngrams) for e in result.explanations.latents]
    for latent in (1, 2, 3, 4):
        assert rows[latent]["precision"] is rows[latent]["recall"] is rows[latent]["f1"] is None
    assert (rows[6]["fired"], rows[6]["density"]) == (60, 80 / 640)
    assert (rows[1]["density"], rows[2]["density"], rows[4]["density"]) == (0, 1 / 640, 21 / 640)
    # its token never comes again: it cannot be precise, and counts as useless
    assert (rows[5]["precision"], rows[5]["recall"], rows[5]["f1"], rows[5]["predicted"]) == (None, 1, 0, 0)
    assert (value(result, "precision"), result.estimates["precision"].n) == (1, 2)
    assert (value(result, "f1"), result.estimates["f1"].n) == (pytest.approx(2 / 3), 3)
    assert (value(result, "recall"), result.estimates["recall"].n) == (1, 3)
    assert (value(result, "f1_sparse"), result.estimates["f1_sparse"].n) == (0, 1)
    assert result.estimates["f1_sparse"].reason


def test_what_fires_only_where_no_suffix_can_is_unexplained_in_the_strict_variant():
    # from the third position of the sequence on; two tokens never get there
    late = fires_on_either(8, 1, 2)
    subject = planted([late, fires_after(1)])
    tokens = torch.tensor([1, 2, 8, 9])[torch.randint(0, 4, (40, 16), generator=torch.Generator().manual_seed(0))]
    result, rows = measured(subject, tokens, variant="strict", max_length=2)
    assert (value(result, "unexplained"), value(result, "explained")) == (1, 1)
    assert rows[0]["ngrams"] == 0
    assert explained(result)[0] == ""
    assert rows[0]["f1"] is None
    result, _ = measured(subject, tokens, variant="released", max_length=2)
    assert (value(result, "unexplained"), value(result, "explained")) == (0, 2)


# --- the numbers ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpus(model, tokens):
    """Real text in which documents end within the sequences too."""
    tokens = tokens[:32].clone()
    tokens[torch.rand(tokens.shape, generator=torch.Generator().manual_seed(1)) < 0.05] = model.tokenizer.bos_token_id
    return Corpus.from_tokens(tokens)


def real_config(**n2g):
    return n2g_config(**({"pad_token": None, "context": 64, "max_length": 6, "examples": 8} | n2g))


@pytest.fixture(scope="module", params=VARIANTS)
def real(request, model, corpus):
    """A report on a real model: subject, configuration, report."""
    subject, config = Subject(model, training_sae("topk")), real_config(variant=request.param)
    return subject, config, evaluate(subject, corpus, config)


def mean_and_error(values, weights=None):
    values = np.asarray(values, dtype=float)
    n = len(values)
    if weights is None:
        return values.mean(), values.std(ddof=1) / math.sqrt(n)
    weights = np.asarray(weights, dtype=float)
    mean = (weights * values).sum() / weights.sum()
    return mean, math.sqrt(n / (n - 1) * ((weights * (values - mean)) ** 2).sum()) / weights.sum()


def test_means_and_errors_follow_from_the_table(real):
    """Of 96 of the latents: errors hold the spread over latents, but for the share that was asked about, and the text they share."""
    result = real[2].metrics["n2g"]
    left_out = 1 - 96 / real[0].d_sae
    rows = result.tables["latents"]
    with_ngrams = [row for row in rows if row["ngrams"]]
    firing = [row for row in with_ngrams if row["predicted"]]
    assert len(with_ngrams) > len(firing) > 10
    columns = {
        "precision": (firing, "precision"),
        "recall": (with_ngrams, "recall"),
        "f1": (with_ngrams, "f1"),
    }
    for name, (of, column) in columns.items():
        values = [row[column] for row in of]
        for suffix, weights in (("", None), ("_by_density", [row["density"] for row in of])):
            estimate = result.estimates[name + suffix]
            mean, spread = mean_and_error(values, weights)
            assert estimate.value == pytest.approx(mean, rel=1e-9), name + suffix
            assert spread * left_out**0.5 < estimate.stderr < 5 * spread, name + suffix
            assert (estimate.n, estimate.of) == (len(of), "latents")
    sparse = [row["f1"] for row in with_ngrams if row["density"] <= 0.1]
    assert len(sparse) < len(with_ngrams)
    assert value(result, "f1_sparse") == pytest.approx(mean_and_error(sparse)[0], rel=1e-9)
    on_text = [(row["precision"] or 0) * row["predicted"] / row["fired"] for row in with_ngrams if row["fired"]]
    assert value(result, "recall_text") == pytest.approx(mean_and_error(on_text)[0], rel=1e-9)
    for row in with_ngrams:
        precision, recall = row["precision"] or 0, row["recall"]
        harmonic = 2 * precision * recall / (precision + recall) if precision and recall else 0
        assert row["f1"] == pytest.approx(harmonic)
    counts = {
        "explained": len(with_ngrams),
        "never_fired": len(with_ngrams) - len(firing),
        "dense": sum(row["density"] > 0.1 for row in rows),
        "dead": sum(row["density"] == 0 for row in rows),
    }
    assert {name: value(result, name) for name in counts} == counts
    assert sum(value(result, name) for name in ("explained", "dead", "rare", "unexplained")) == len(rows) == 96


def test_what_is_without_a_group_of_documents_is_what_the_others_give():
    subject = planted([fires_after(1), fires_after(2, 3), fires_on_either(8, 1, 2)])
    corpus, config = Corpus.from_tokens(planted_tokens(subject, 120)), n2g_config(examples=4)
    text, scoring = texts(subject, corpus, config)
    explained = explain(subject, text, config)
    whole = score(explained, subject, text, scoring, config)
    groups = random_groups(scoring.units, GROUPS, seed=config.seed)
    for group in (0, 7, 19):
        rest = Corpus.from_tokens(scoring.tokens[groups != group])
        alone, without = score(explained, subject, text, rest, config), whole.without(group)
        for name in ("fired", "predicted", "hits"):
            assert torch.equal(getattr(alone, name), getattr(without, name))
        in_text = random_groups(text.units, GROUPS, seed=config.seed)[explained.held_out // text.tokens.shape[1]] == group
        assert torch.equal(without.held_out, (explained.held_out >= 0) & ~in_text)


def test_perfect_latents_score_by_a_full_sample_whatever_their_number():
    """Over all latents F1 falls with their number, as rare ones lack examples, and predictions."""
    words = 200
    subject = planted([fires_after(token) for token in range(1, words)], d_vocab=words)
    ranks = torch.arange(words).clamp_min(1).double()
    drawn = torch.multinomial(1 / ranks, 120 * 16, replacement=True, generator=torch.Generator().manual_seed(0)).view(120, 16)
    result, _ = measured(subject, drawn, max_length=2)
    assert value(result, "f1") < 0.95
    assert 2 < value(result, "full_sample") < words / 2
    for name in ("f1_full_sample", "f1_of_means"):
        assert value(result, name) > 0.97
    (warning,) = (note for note in result.notes if "full sample" in note)
    tokens = int(re.search(r"([\d,]+) tokens to sample", warning)[1].replace(",", ""))
    assert 960 < tokens < 16_000


def documents_of(tokens, special):
    """The documents of a text: lists of (flat position, token)."""
    for row, sequence in enumerate(tokens.tolist()):
        document = []
        for column, token in enumerate(sequence):
            if token in special:
                yield document
                document = []
            else:
                document.append((row * len(sequence) + column, token))
        yield document


def predicts(ngrams, variant):
    """Whether one latent is predicted on the last of some tokens, as plainly as possible."""
    if variant == "released":
        trie = {}
        for ngram in ngrams:
            n2g_oracle.insert(trie, ngram.tokens, ngram.at_start, ngram.value)
        return lambda tokens: n2g_oracle.predict_last(trie, tokens) != 0

    def matches(ngram, tokens):
        last = tokens[len(tokens) - len(ngram.tokens) :] if len(tokens) >= len(ngram.tokens) else None
        return (
            last is not None
            and all(wanted in (None, token) for wanted, token in zip(ngram.tokens, last, strict=True))
            and (not ngram.at_start or len(last) == len(tokens))
        )

    return lambda tokens: any(matches(ngram, tokens) for ngram in ngrams)


def predicted_positions(predict, tokens, special):
    found = set()
    for document in documents_of(tokens, special):
        words = [token for _, token in document]
        found |= {position for end, (position, _) in enumerate(document) if predict(words[: end + 1])}
    return found


def test_precision_recall_and_f1_are_those_of_a_walk_over_every_document(real, corpus):
    subject, config, report = real
    rows = {row["latent"]: row for row in report.metrics["n2g"].tables["latents"]}
    text, scoring = texts(subject, corpus, config)
    explained = explain(subject, text, config)  # kept
    special = set(subject.language.special_tokens.tolist())
    x = subject.site.model.run_with_cache(scoring.tokens, names_filter=[subject.hook_name])[1][subject.hook_name]
    fires = (subject.dictionary.sae.encode(x) != 0).flatten(0, 1) & ~torch.isin(scoring.tokens, subject.language.special_tokens).flatten()[
        :, None
    ]
    assert len(explained.ngrams) > 20
    for latent, ngrams in list(explained.ngrams.items())[::2]:
        predict = predicts(ngrams, config.n2g.variant)
        predicted = predicted_positions(predict, scoring.tokens, special)
        fired = set(fires[:, latent].nonzero()[:, 0].tolist())
        row = rows[latent]
        assert (row["predicted"], row["fired"]) == (len(predicted), len(fired)), latent
        precision = len(predicted & fired) / len(predicted) if predicted else None
        assert row["precision"] == (None if precision is None else pytest.approx(precision))
        held_out = {position for position in explained.held_out[latent].tolist() if position >= 0}
        recall = len(held_out & predicted_positions(predict, text.tokens, special)) / len(held_out)
        assert row["recall"] == pytest.approx(recall)
        f1 = 2 * precision * recall / (precision + recall) if precision and recall else 0
        assert row["f1"] == pytest.approx(f1)


def test_the_batch_size_changes_no_number_on_exact_activations():
    rules = [fires_after(1), fires_after(2, 3), fires_on_either(8, 1, 2), after_one_of(range(1, 8), 9)]
    reports = []
    for batch_size in (1, 7, 1000):
        subject = planted(rules)
        result = evaluate(subject, Corpus.from_tokens(planted_tokens(subject, 60)), n2g_config(batch_size=batch_size))
        reports.append((result.flat(), result.metrics["n2g"].tables))
    assert reports[0][1] == reports[1][1] == reports[2][1]
    assert {key: number for key, number in reports[0][0].items() if key.startswith("n2g/")} == {
        key: number for key, number in reports[2][0].items() if key.startswith("n2g/")
    }


def test_a_run_owns_explanations_and_scores(model, corpus):
    run = EvaluationRun(Subject(model, training_sae("topk")), corpus, real_config(latents=6))
    first, second = run.context("n2g"), run.context("explanation")
    assert first.once(explanations_of) is second.once(explanations_of)
    assert first.once(scores_of) is second.once(scores_of)
    other = EvaluationRun(run.subject, corpus, run.config).context("n2g")
    assert other.once(explanations_of) is not first.once(explanations_of)


def test_small_chunks_of_latents_give_the_same_scores(model, corpus, monkeypatch):
    config = real_config(latents=20)
    whole = evaluate(Subject(model, training_sae("topk")), corpus, config).metrics["n2g"].tables
    monkeypatch.setattr(Dictionary, "chunk", property(lambda self: 37))
    parts = evaluate(Subject(model, training_sae("topk")), corpus, config).metrics["n2g"].tables
    for one, other in zip(whole["latents"], parts["latents"], strict=True):
        assert (one["latent"], one["fired"], one["density"]) == (other["latent"], other["fired"], other["density"])
    same = sum(one["predicted"] == other["predicted"] for one, other in zip(whole["latents"], parts["latents"], strict=True))
    assert same >= 18  # rounding is the exception


# --- the report ----------------------------------------------------------------------------------------------------------------


def test_the_report_is_saved_and_loaded_without_nan(real, tmp_path):
    report = real[2]
    path = report.save(tmp_path / "report.json")
    assert not {"NaN", "Infinity"} & set(path.read_text().replace(",", " ").split())
    loaded = Report.load(path)
    assert loaded.flat() == report.flat()
    assert loaded.metrics["n2g"] == report.metrics["n2g"]
    assert all(math.isfinite(number) for number in report.flat().values())
    means = ["precision", "recall", "f1"]
    named = [*means, *(f"{name}_by_density" for name in means), "f1_sparse", "recall_text"]
    assert {f"n2g/{name}" for name in named} | {f"n2g/{name}_stderr" for name in named} <= report.flat().keys()
    assert {f"n2g/{name}" for name in ("explained", "dead", "rare", "unexplained", "never_fired", "dense")} <= report.flat().keys()
    for name, estimate in report.estimates():
        assert estimate.stderr is not None or estimate.reason, name
        if name.split("/")[1] in named:
            assert 0 <= estimate.value <= 1


def test_tables_hold_rows_of_equal_columns(real):
    _, config, report = real
    tables = report.metrics["n2g"].tables
    assert set(tables) == {"latents"}
    for rows in tables.values():
        assert len({tuple(row) for row in rows}) == 1
        assert all(isinstance(cell, str | int | float | None) for row in rows for cell in row.values())
    assert [row["latent"] for row in tables["latents"]] == list(range(96))
    notes = " ".join(report.metrics["n2g"].notes)
    assert config.n2g.variant in notes
    assert "' _'" in notes


def test_explanations_are_data_and_can_be_read(real):
    subject, _, report = real
    found = report.metrics["n2g"].explanations.latents
    assert [each.latent for each in found] == list(range(96))
    ngrams = [ngram for each in found for ngram in each.ngrams]
    assert any(None in ngram.tokens for ngram in ngrams)
    assert any(ngram.at_start for ngram in ngrams)
    for ngram in ngrams:
        assert ngram.texts == [None if token is None else subject.language.tokenizer.decode([token]) for token in ngram.tokens]
    words = " | ".join(each.to_text() for each in found if each.ngrams).split()
    assert {"*", "^", "|"} <= {*words}


def test_an_explanation_predicts_what_was_scored(real, corpus):
    """Position by position what the metric's own matcher says, with BOS in the text and in front, and without."""
    subject, config, report = real
    result = report.metrics["n2g"]
    of_latent = {each.latent: [NGram(tuple(n.tokens), n.at_start, n.value) for n in each.ngrams] for each in result.explanations.latents}
    matcher = Matcher(Patterns.from_ngrams(of_latent), variant=config.n2g.variant)
    text = corpus.tokens[:6]
    assert bool((text == subject.language.bos_token).any())
    for tokens in (text, text[:, 1:]):
        position, latent = torch.arange(tokens.numel()), torch.arange(96)
        predicted = matcher.predict(
            tokens, subject.language.special(tokens), position.repeat_interleave(96), latent.repeat(tokens.numel())
        ).view(*tokens.shape, 96)
        assert (predicted != 0).any(0).any(0).sum() > 20
        for number in range(96):
            explanation = report.explanations(number)
            ours = torch.tensor([explanation.predict(sequence) for sequence in tokens], dtype=torch.float32)
            assert torch.equal(ours, predicted[..., number]), number


def test_no_examples_are_shown_where_none_are_wanted(model, corpus):
    report = evaluate(Subject(model, training_sae("topk")), corpus, real_config(latents=6, shown=0))
    assert report.metrics["n2g"].examples == []


@pytest.mark.parametrize("architecture", SUPPORTED)
def test_every_architecture(architecture, model, corpus):
    report = evaluate(Subject(model, training_sae(architecture)), corpus, real_config(latents=8, max_length=8, examples=16))
    assert report.errors == {}
    flat = report.flat()
    assert 0 < flat["n2g/explained"] <= 8
    assert 0 <= flat["n2g/f1"] <= 1
    assert len(report.metrics["n2g"].tables["latents"]) == 8
    json.dumps(report.to_dict(), allow_nan=False)


# --- tokens as text ------------------------------------------------------------------------------------------------------------

HOSTILE = ["\n", " | ", "*", "^", "'", '"', "«»", "\x00", "\ud800", "\u202e", "", "\\", "[red]", "<script>", "%s{}", "\x1b[31m"]


class HostileTokenizer(NamedTokenizer):
    def decode(self, tokens):
        return "".join(HOSTILE[int(token) % len(HOSTILE)] for token in torch.as_tensor(tokens).flatten())


def test_hostile_token_text_breaks_nothing(tmp_path):
    subject = planted([fires_after(token) for token in range(1, 17)] + [fires_after(1, None, 2)], context_size=8)
    subject.site.model.tokenizer = HostileTokenizer()
    tokens = torch.randint(1, 17, (800, 8), generator=torch.Generator().manual_seed(0))
    report = evaluate(subject, Corpus.from_tokens(tokens), n2g_config(context=8))
    rows = report.metrics["n2g"].tables["latents"]
    for latent, row in enumerate(rows[:16]):
        (ngram,) = report.explanations(latent).ngrams
        assert (ngram.tokens, ngram.texts) == ([latent + 1], [HOSTILE[(latent + 1) % len(HOSTILE)]])
        assert row["f1"] == 1
    assert report.explanations(16).to_text() == "' | ' * '*'"
    assert {word for example in report.metrics["n2g"].examples for word in example.tokens} == set(HOSTILE)
    assert Report.load(report.save(tmp_path / "r.json")).metrics["n2g"] == report.metrics["n2g"]
    report.to_frame()


def test_without_a_tokenizer_tokens_are_numbers():
    assert TokenText(None).write([[3, 4], [], [5]]) == [" 3 4", "", " 5"]


def test_the_real_tokenizer_writes_what_it_read(model):
    text = "def f(x):\n    return x . y , z 's"  # cleaned up, the spaces before punctuation would go
    assert TokenText(model.tokenizer).write([model.tokenizer.encode(text, add_special_tokens=False), []]) == [text, ""]


# --- trained SAEs --------------------------------------------------------------------------------------------------------------


def real_activate(subject, latent, known):
    """What the oracle takes: TransformerLens and the SAE on padded rows; what a row gives is known to all latents."""
    assert subject.hook_name == "blocks.2.hook_resid_post"

    def activate(rows):
        new = [row for row in rows if tuple(row) not in known]
        if new:
            batch = torch.zeros(len(new), 1 + max(map(len, new)), dtype=torch.long)
            batch[:, 0] = subject.language.bos_token
            for line, row in zip(batch, new, strict=True):
                line[1 : 1 + len(row)] = torch.tensor(row)
            with torch.no_grad():
                x = subject.site.model(batch, stop_at_layer=3)[torch.arange(len(new)), [len(row) for row in new]]
                known.update(zip(map(tuple, new), subject.dictionary.sae.encode(x).numpy(), strict=True))
        return [float(known[tuple(row)][latent]) for row in rows]

    return activate


@pytest.mark.slow
@pytest.mark.parametrize(("name", "variant"), [*product(SHIPPED_SAES, VARIANTS)])
def test_explanations_of_trained_saes_are_the_oracles(name, variant, trained, tokens, monkeypatch):
    subject, seen = trained[name], []
    original = building.build_patterns
    monkeypatch.setattr(building, "build_patterns", lambda runs, examples, **o: seen.append(examples) or original(runs, examples, **o))
    latents = 40 if variant == "released" else 12
    explained = explain(subject, Corpus.from_tokens(tokens), real_config(latents=latents, max_length=24, examples=16, variant=variant))
    (examples,) = seen
    pad, known, same = explained.depends_on["pad_token"], {}, 0
    build = n2g_oracle.build if variant == "released" else n2g_oracle.build_strict
    asked = examples.latent.unique().tolist()
    assert len(asked) > latents / 2
    for latent in asked:
        mine = examples.latent == latent
        of_latent = [
            ([token for token in reversed(row) if token != ABSENT], act)
            for row, act in zip(examples.tokens[mine].tolist(), examples.activation[mine].tolist(), strict=True)
        ]
        theirs, margin = build(real_activate(subject, latent, known), of_latent, pad)
        theirs = n2g_oracle.ngrams_of(theirs) if variant == "released" else theirs
        ours = {(n.tokens, n.at_start): n.value for n in explained.ngrams.get(latent, [])}
        if ours == pytest.approx(theirs, rel=1e-3, abs=1e-5):
            same += 1
        else:
            assert margin < NEAR, latent
    assert same >= 0.7 * len(asked)  # rounding is the exception


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED_SAES)
def test_explanations_fit_their_own_latents_best(name, trained, tokens):
    subject, corpus, config = trained[name], Corpus.from_tokens(tokens), real_config(latents=40, max_length=24, examples=16)
    text, scoring = texts(subject, corpus, config)
    explained = explain(subject, text, config)
    own = score(explained, subject, text, scoring, config)
    has_patterns = sorted(explained.ngrams)
    order = torch.randperm(len(has_patterns), generator=torch.Generator().manual_seed(0)).tolist()
    to = {latent: has_patterns[other] for latent, other in zip(has_patterns, order, strict=True)}
    latent = torch.tensor([to[latent] for latent in explained.patterns.latent.tolist()])
    permuted = dataclasses.replace(
        explained,
        patterns=dataclasses.replace(explained.patterns, latent=latent),
        depends_on=explained.depends_on | {"permuted": True},
    )
    others = score(permuted, subject, text, scoring, config)
    which = torch.isin(explained.latents, torch.tensor(has_patterns))
    assert which.sum() > 15
    assert own.f1[which].mean() > 2 * others.f1[which].mean()
    assert own.f1[which].mean() > 0.1
