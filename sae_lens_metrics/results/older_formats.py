"""Result files of format 1: they wrote n-grams, the tokens of effects and, before 1.2, examples as text, without token ids."""

import ast
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

__all__ = ["OLDER_MAJOR", "upgraded"]

OLDER_MAJOR = "1"
"""The major number of the versions that are read here: 1.0, 1.1 (with influences) and 1.2 (with examples token by token)."""

_ESCAPE = r"\\(?:[\\'\"ntr]|x[0-9a-f]{2}|u[0-9a-f]{4}|U00(?:0[0-9a-f]|10)[0-9a-f]{4})"
_LITERAL = rf"'(?:[^'\\\n]|{_ESCAPE})*'|\"(?:[^\"\\\n]|{_ESCAPE})*\""
_WORD = re.compile(rf"\^|\*|\||{_LITERAL}")
_SIZE = r"\d+(?:\.\d+)?(?:e[-+]?\d+)?"
_CHANGE = re.compile(rf"({_LITERAL}) ([-+]{_SIZE})(?: \| |$)")
_KINDS = {"recall": "random", "precision": "predicted"}
"""What ways of choosing an example are called today."""
_EXAMPLE = {"latent", "kind", "text", "activation", "predicted"}
"""The columns of the table of examples before 1.2."""


def upgraded(data: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a file of format 1 in the form of format 2, as far as it tells; text that cannot be read stays in its table.

    Args:
        data: JSON types; they are left as they are.

    Raises:
        KeyError: If something is missing.
        TypeError: If something is of the wrong kind.
        AttributeError: Likewise.
    """
    settings = data.get("provenance", {}).get("config", {})
    metrics = {name: _upgraded_result(result, settings.get(name)) for name, result in data["metrics"].items()}
    return {**data, "sanity": dict(data["sanity"]), "metrics": metrics}


def _upgraded_result(result: Mapping[str, Any], settings: Any) -> dict[str, Any]:
    tables = dict(result.get("tables", {}))
    upgrade: dict[str, Any] = {}
    rows = tables.get("latents", [])
    explained = _explained(rows)
    if explained is not None:
        variant = settings.get("variant", "released") if isinstance(settings, Mapping) else "released"
        rules = {"variant": variant, "special_tokens": [], "bos_token": None}
        upgrade["explanations"] = {"rules": rules, "latents": sorted(explained, key=lambda each: each["latent"])}
        rows = [_counted(row, len(each["ngrams"])) for row, each in zip(rows, explained, strict=True)]
    effects = _effects(rows)
    if effects is not None:
        upgrade["effects"] = effects
        rows = [{name: value for name, value in row.items() if name not in ("raised", "lowered")} for row in rows]
    if "latents" in tables:
        tables["latents"] = rows
    if not result.get("examples") and all(row.keys() >= _EXAMPLE for row in tables.get("examples", [{}])):
        upgrade["examples"] = [_example(row) for row in tables.pop("examples")]
    return {**result, "tables": tables, **upgrade}


def _has_texts(rows: list[dict[str, Any]], names: tuple[str, ...]) -> bool:
    """Whether a table is about latents, and has columns of text."""
    about_latents = len({row["latent"] for row in rows if isinstance(row.get("latent"), int)}) == len(rows)
    return bool(rows) and about_latents and all(isinstance(row.get(name), str) for row in rows for name in names)


def _explained(rows: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """The n-grams of each row; None where a table has none, or other text."""
    if not _has_texts(rows, ("explanation", "values")):
        return None
    ngrams = [_ngrams(row["explanation"], row["values"]) for row in rows]
    return None if None in ngrams else [{"latent": row["latent"], "ngrams": each} for row, each in zip(rows, ngrams, strict=True)]


def _counted(row: dict[str, Any], count: int) -> dict[str, Any]:
    """A row with the number of n-grams in the place of their text."""
    columns = ((name, count if name == "explanation" else value) for name, value in row.items() if name != "values")
    return {"ngrams" if name == "explanation" else name: value for name, value in columns}


def _ngrams(text: str, values: str) -> list[dict[str, Any]] | None:
    """``^ 'def' * '(' | ' x'`` with ``0.5 | 1`` as n-grams; None where it is not of that form."""
    if not text:
        return [] if not values else None
    words = list(_words(text))
    if None in words:
        return None
    parts: list[list[str]] = [[]]
    for word in words:
        if word == "|":
            parts.append([])
        else:
            parts[-1].append(str(word))
    numbers = values.split(" | ")
    starts = [part[:1] == ["^"] for part in parts]
    tokens = [part[start:] for part, start in zip(parts, starts, strict=True)]
    if len(numbers) != len(parts) or any(not part or "^" in part for part in tokens) or not all(map(_is_number, numbers)):
        return None
    texts = [[None if word == "*" else _literal(word) for word in part] for part in tokens]
    return [
        {"tokens": [None] * len(each), "texts": each, "at_start": start, "value": float(number)}
        for each, start, number in zip(texts, starts, numbers, strict=True)
    ]


def _words(text: str) -> Iterator[str | None]:
    """The words of an explanation, which single spaces separate; None for what is none."""
    place = 0
    while place < len(text):
        found = _WORD.match(text, place)
        if found is None or text[found.end() : found.end() + 1] not in ("", " "):
            yield None
            return
        yield found[0]
        place = found.end() + 1


def _is_number(text: str) -> bool:
    return re.fullmatch(f"-?{_SIZE}", text) is not None


@lru_cache(2**16)
def _literal(text: str) -> str:
    """A text from how ``repr`` writes it."""
    return ast.literal_eval(text)


def _effects(rows: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """The raised and lowered tokens of each row; None where a table has none, or other text."""
    if not _has_texts(rows, ("raised", "lowered")):
        return None
    sides = {name: [_changes(row[name]) for row in rows] for name in ("raised", "lowered")}
    if any(each is None for side in sides.values() for each in side):
        return None
    return [
        {"latent": row["latent"], "raised": raised, "lowered": lowered}
        for row, raised, lowered in zip(rows, sides["raised"], sides["lowered"], strict=True)
    ]


def _changes(text: str) -> list[dict[str, Any]] | None:
    """``' a' +0.08 | ' b' +0.07`` as changes; None where it is not of that form."""
    changes, place = [], 0
    while place < len(text):
        found = _CHANGE.match(text, place)
        if found is None:
            return None
        changes.append({"token": None, "text": _literal(found[1]), "by": float(found[2])})
        place = found.end()
    return changes


def _example(row: Mapping[str, Any]) -> dict[str, Any]:
    """Text with one token in «guillemets», whose activation and prediction are known."""
    found = re.fullmatch(r"(.*?)«(.*)»(.*)", row["text"], re.DOTALL)
    before, token, after = found.groups() if found else ("", row["text"], "")
    parts = [(before, 0.0, 0.0), (token, row["activation"], row["predicted"]), (after, 0.0, 0.0)]
    there = [part for place, part in enumerate(parts) if part[0] or place == 1]
    texts, activations, predictions = (list(column) for column in zip(*there, strict=True))
    at = int(bool(before))
    kind = _KINDS.get(row["kind"], row["kind"])
    return {"latent": row["latent"], "kind": kind, "at": at, "tokens": texts, "activations": activations, "predictions": predictions}
