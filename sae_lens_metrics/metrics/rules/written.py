"""Rules as they stand in a result: rows of a table that hold token ids beside their text."""

from collections.abc import Iterator

from sae_lens_metrics.functional.rule_text import FIRST, NONE, PREVIOUS, WITHIN
from sae_lens_metrics.functional.rules import Rules
from sae_lens_metrics.results import Row
from sae_lens_metrics.results.rules import Asks, Condition, LatentRules, Rule
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.token_text import TokenText

__all__ = ["latent_rules", "written"]

_ASKS: dict[int, Asks] = {PREVIOUS: "after", WITHIN: "within", FIRST: "first"}
_DIGITS = 6


def written(rules: Rules, subject: Subject, within: int) -> dict[str, list[Row]]:
    """The rules of all latents as a table, and the special tokens beside them.

    Args:
        rules: The rules.
        subject: The model whose tokens they are.
        within: How many tokens in front of one they ask about.
    """
    special = subject.language.special_tokens.tolist()
    texts = _Texts(subject)
    rows = [row for each in latent_rules(rules, within, special, texts) for row in each.rows()]
    return {"rules": rows, "special_tokens": [{"token": token, "text": texts[token]} for token in special]}


def latent_rules(rules: Rules, within: int, special_tokens: list[int], texts: "_Texts | None" = None) -> Iterator[LatentRules]:
    """The rules of each latent that has some, in order.

    Args:
        rules: The rules.
        within: How many tokens in front of one they ask about.
        special_tokens: As in ``LatentRules``.
        texts: The text of tokens, if it is known.
    """
    texts = texts or _Texts(None)
    texts.read(rules)
    unless: dict[int, list[Condition]] = {}
    for rule, kind, other in zip(*(column.tolist() for column in rules.unless), strict=True):
        unless.setdefault(rule, []).append(_condition(kind, other, within, texts))
    latent, found = -1, []
    columns = (rules.latent, rules.token, rules.kind, rules.other, rules.value)
    for number, (of, token, kind, other, value) in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
        if of != latent and found:
            yield LatentRules(latent, found, special_tokens)
            found = []
        latent = of
        condition = _condition(kind, other, within, texts) if kind in _ASKS else None
        own = None if token == NONE else token
        found.append(Rule(own, None if own is None else texts[own], condition, unless.get(number, []), float(f"{value:.{_DIGITS}g}")))
    if found:
        yield LatentRules(latent, found, special_tokens)


def _condition(kind: int, other: int, within: int, texts: "_Texts") -> Condition:
    asks = _ASKS[kind]
    if asks == "first":
        return Condition(asks, reach=other)
    return Condition(asks, other, texts[other], within if asks == "within" else 1)


class _Texts:
    """The text of tokens, each written once."""

    def __init__(self, subject: Subject | None) -> None:
        self._writer = None if subject is None else TokenText(subject.language.tokenizer)
        self._known: dict[int, str] = {}

    def read(self, rules: Rules) -> None:
        """Writes the tokens of rules, all at once."""
        if self._writer is None:
            return
        named = [rules.token[rules.token != NONE], rules.other[(rules.kind == PREVIOUS) | (rules.kind == WITHIN)]]
        asked = (rules.unless.kind == PREVIOUS) | (rules.unless.kind == WITHIN)
        tokens = sorted({token for part in (*named, rules.unless.other[asked]) for token in part.unique().tolist()})
        self._known |= dict(zip(tokens, self._writer.write([[token] for token in tokens]), strict=True))

    def __getitem__(self, token: int) -> str | None:
        if self._writer is not None and token not in self._known:
            self._known[token] = self._writer.write([[token]])[0]
        return self._known.get(token)
