"""What explanations by rules say, as data: in words, as JSON, as rows of a table, and what they predict on tokens. Needs no torch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from operator import index
from typing import TYPE_CHECKING, Any, Literal, get_args

from sae_lens_metrics.errors import ResultError

if TYPE_CHECKING:
    from sae_lens_metrics.results.metric_result import MetricResult, Row

__all__ = ["Condition", "LatentRules", "Rule", "rules_of"]

Asks = Literal["after", "within", "first"]
_NAMES = {"\n": "newline", " ": "space", "\t": "tab", "": "an empty token"}


@dataclass(frozen=True, slots=True)
class Condition:
    """What else must hold where a rule says that a latent fires, or, as an exception from it, must not."""

    asks: Asks
    """``"after"`` that the token stands just before, ``"within"`` that it is one of the ``reach`` tokens before, ``"first"`` that the place
    is among the ``reach`` first of its document."""
    token: int | None = None
    """The other token's id; ``None`` for ``"first"``."""
    text: str | None = None
    """Its text."""
    reach: int = 1
    """How many tokens."""

    def __post_init__(self) -> None:
        if self.asks not in get_args(Asks) or (self.token is None) != (self.asks == "first") or self.reach < 1:
            raise ResultError(f"{self} is no condition of a rule")

    def to_text(self) -> str:
        """For people: ``within 8 tokens after `import```."""
        if self.asks == "first":
            return "at the start" if self.reach == 1 else f"among the first {self.reach} tokens"
        return f"{'after' if self.asks == 'after' else f'within {self.reach} tokens after'} {_word(self.text, self.token)}"

    def holds(self, before: Sequence[int]) -> bool:
        """Whether it holds at a place.

        Args:
            before: The tokens of its document that stand in front of it, in the order of the text.
        """
        if self.asks == "first":
            return len(before) < self.reach
        return self.token in before[-self.reach :]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule."""

    token: int | None
    """The token on which the latent fires; ``None`` for any."""
    text: str | None
    """Its text."""
    condition: Condition | None
    """What else must hold; ``None`` for nothing."""
    unless: list[Condition]
    """Where the rule does not hold after all."""
    value: float
    """The activation that it predicts."""

    def to_text(self) -> str:
        """For people: ```(` within 8 tokens after `import`, not after `self```."""
        words = "any token" if self.token is None else _word(self.text, self.token)
        if self.condition is not None:
            words += f" {self.condition.to_text()}"
        return words + "".join(f", not {each.to_text()}" for each in self.unless)

    def holds(self, before: Sequence[int], token: int) -> bool:
        """Whether it says that the latent fires.

        Args:
            before: The tokens of the document in front of the place.
            token: The token there.
        """
        if self.token is not None and token != self.token:
            return False
        if self.condition is not None and not self.condition.holds(before):
            return False
        return not any(each.holds(before) for each in self.unless)


@dataclass(frozen=True)
class LatentRules:
    """The rules of one latent, with all that it takes to predict it from tokens."""

    latent: int
    """The latent."""
    rules: list[Rule]
    """Its rules; the first that holds at a place decides. None where none was worth its words."""
    special_tokens: list[int] = field(default_factory=list)
    """Ids of BOS, separators and EOS: nothing is predicted on them, and a document begins behind each."""

    def predict(self, tokens: Sequence[int]) -> list[float]:
        """The activation that the rules predict on each token of a sequence, 0 where they say that the latent does not fire.

        Args:
            tokens: Ids of consecutive tokens, or a tensor of one dimension that holds them, with BOS in front or without. The first token
                begins a document, as does the first one behind special tokens.

        Raises:
            ValueError: If the tokens are not one sequence.
        """
        try:
            ids = [index(token) for token in (tokens.tolist() if hasattr(tokens, "tolist") else tokens)]  # type: ignore[union-attr]
        except TypeError as error:
            expected = "expected ids of one sequence of tokens: a list of whole numbers or a tensor of one dimension"
            raise ValueError(f"{expected} ({error})") from error
        predicted, start, special = [], 0, set(self.special_tokens)
        for place, token in enumerate(ids):
            if token in special:
                start = place + 1
            before = ids[start:place]
            rule = None if token in special else next((rule for rule in self.rules if rule.holds(before, token)), None)
            predicted.append(0.0 if rule is None else rule.value)
        return predicted

    def to_text(self, tokenizer: Any = None) -> str:
        """For people, one rule a line.

        Args:
            tokenizer: A tokenizer of ``transformers`` to write the tokens with; by default their texts are those that the rules hold.
        """
        rules = self.rules if tokenizer is None else [_with_texts(rule, tokenizer) for rule in self.rules]
        return "\n".join(rule.to_text() for rule in rules)

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "LatentRules":
        """The inverse of ``to_dict``.

        Raises:
            ResultError: If the data are no rules of a latent.
        """
        try:
            rules = [
                Rule(
                    rule["token"],
                    rule["text"],
                    None if rule["condition"] is None else Condition(**rule["condition"]),
                    [Condition(**each) for each in rule["unless"]],
                    float(rule["value"]),
                )
                for rule in data["rules"]
            ]
            return cls(int(data["latent"]), rules, [int(token) for token in data["special_tokens"]])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ResultError(f"these are no rules of a latent ({type(error).__name__}: {error})") from error

    def rows(self) -> "Iterable[Row]":
        """As rows of a table: one for each rule, and behind it one for each of its exceptions, whose ``rule`` is the same."""
        for number, rule in enumerate(self.rules):
            own = {"latent": self.latent, "rule": number, "unless": False, "token": rule.token, "token_text": rule.text}
            yield {**own, **_columns(rule.condition), "value": rule.value, "words": rule.to_text()}
            for each in rule.unless:
                yield {**own, "unless": True, **_columns(each), "value": None, "words": f"not {each.to_text()}"}

    @classmethod
    def from_rows(cls, latent: int, rows: "Iterable[Row]", special_tokens: Iterable[int]) -> "LatentRules":
        """The inverse of ``rows``.

        Args:
            latent: The latent.
            rows: Its rows.
            special_tokens: As in ``special_tokens``.

        Raises:
            ResultError: If the rows are no rules.
        """
        rules: list[Rule] = []
        try:
            for row in rows:
                condition = None if row["asks"] is None else Condition(row["asks"], row["other"], row["other_text"], row["reach"])  # type: ignore[arg-type]
                if row["unless"] and condition is not None:
                    rules[-1].unless.append(condition)
                else:
                    rules.append(Rule(row["token"], row["token_text"], condition, [], float(row["value"])))  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ResultError(f"the table of rules cannot be read ({type(error).__name__}: {error})") from error
        return cls(latent, rules, list(special_tokens))


def rules_of(result: "MetricResult", latent: int) -> LatentRules:
    """The rules of one latent in a result of the metric ``rules``.

    Args:
        result: The result, such as ``report.metrics["rules"]``.
        latent: The latent; one without any rule predicts nothing.

    Raises:
        ResultError: If the result has no such rules, or is about fewer latents.
    """
    if not {"latents", "rules", "special_tokens"} <= result.tables.keys():
        raise ResultError("this result holds no rules: give that of the metric rules")
    if all(row.get("latent") != latent for row in result.tables["latents"]):
        raise ResultError(f"latent {latent} is not among the {len(result.tables['latents'])} that this result explains")
    rows = [row for row in result.tables["rules"] if row.get("latent") == latent]
    return LatentRules.from_rows(latent, rows, [int(row["token"]) for row in result.tables["special_tokens"]])  # type: ignore[arg-type]


def _columns(condition: Condition | None) -> "Row":
    if condition is None:
        return {"asks": None, "other": None, "other_text": None, "reach": None}
    return {"asks": condition.asks, "other": condition.token, "other_text": condition.text, "reach": condition.reach}


def _with_texts(rule: Rule, tokenizer: Any) -> Rule:
    def text(token: int | None) -> str | None:
        return None if token is None else tokenizer.decode([token])

    def condition(each: Condition) -> Condition:
        return Condition(each.asks, each.token, text(each.token), each.reach)

    own = None if rule.condition is None else condition(rule.condition)
    return Rule(rule.token, text(rule.token), own, [condition(each) for each in rule.unless], rule.value)


def _word(text: str | None, token: int | None) -> str:
    """A token as it stands in a sentence."""
    if text is None:
        return f"token {token}"
    return _NAMES.get(text) or f"`{repr(text)[1:-1]}`"
