"""Rules in words, as JSON, and what they predict."""

import pytest

from sae_lens_metrics.errors import ResultError
from sae_lens_metrics.results.rules import Condition, LatentRules, Rule

DEF, PAREN, IMPORT, SELF, NEWLINE = 5, 6, 7, 8, 9
RULES = LatentRules(
    3,
    [
        Rule(DEF, "def", Condition("after", NEWLINE, "\n"), [], 2.0),
        Rule(PAREN, "(", Condition("within", IMPORT, " import", 8), [Condition("after", SELF, "self")], 1.5),
        Rule(None, None, Condition("first", reach=2), [], 0.5),
        Rule(PAREN, "(", None, [Condition("first", reach=4), Condition("within", SELF, "self", 2)], 0.25),
    ],
    [0],
)


def test_words():
    assert RULES.to_text().splitlines() == [
        "`def` after newline",
        "`(` within 8 tokens after ` import`, not after `self`",
        "any token among the first 2 tokens",
        "`(`, not among the first 4 tokens, not within 2 tokens after `self`",
    ]


def test_a_tokenizer_writes_the_tokens():
    class Tokenizer:
        def decode(self, tokens):
            return f"<{tokens[0]}>"

    assert RULES.to_text(Tokenizer()).splitlines()[0] == "`<5>` after `<9>`"


def test_predictions_by_hand():
    #               first two        import .. (        self (            special: a new document
    tokens = [0, NEWLINE, DEF, IMPORT, 1, PAREN, SELF, PAREN, 1, 1, PAREN, 0, PAREN, 1, 1, 1, PAREN]
    expected = [0, 0.5, 2.0, 0, 0, 1.5, 0, 0, 0, 0, 1.5, 0, 0.5, 0.5, 0, 0, 0.25]
    assert RULES.predict(tokens) == expected


def test_json_and_rows_both_ways():
    assert LatentRules.from_dict(RULES.to_dict()) == RULES
    assert LatentRules.from_rows(3, RULES.rows(), [0]) == RULES


@pytest.mark.parametrize("data", [{}, {"latent": 0, "rules": [{}], "special_tokens": []}, {"latent": 0, "rules": 3, "special_tokens": []}])
def test_what_is_no_rule_is_refused(data):
    with pytest.raises(ResultError, match="no rules of a latent"):
        LatentRules.from_dict(data)
    with pytest.raises(ResultError, match="no condition"):
        Condition("first", 3, "x", 2)
    with pytest.raises(ValueError, match="one sequence"):
        RULES.predict([[1, 2]])
