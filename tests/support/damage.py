"""Result files with damage: what falls out of a disk, an editor, another program, or the hands of somebody who means harm."""

import copy
import json
import math
from collections.abc import Callable
from random import Random
from typing import Any

from report_data import HOSTILE, hostile_report, make_report

from sae_lens_metrics.results import Control, ControlVerdict, Report

RAW = "\x00raw:"
"""Begins a text that stands in the file as it is, and not as JSON writes it."""
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, -5, 2, 1.5, -0.0, 1e-320, 1e99, 1e101, 1e308, -1e308, 2**53, 2**63, -(2**70), 10**400),
    *(math.nan, math.inf, -math.inf, f"{RAW}1e999", f"{RAW}{'9' * 5000}", f"{RAW}-{'9' * 5000}", f"{RAW}{'[' * 200_000}"),
    *("", "x", "3", "null", "documents", "latents", "sanity", "latent", "a" * 5000, *HOSTILE.values()),
    *([], {}, [1, 2], [None], [[]], [{}], {"a": 1}, {"": {}}, [{"latent": 0}], {"latent": [0]}, "2026-13-45", [0.5] * 40),
    *(json.loads("[" * depth + "]" * depth) for depth in (10, 49, 51, 200)),
]
"""What stands in the place of something else."""


def bases() -> list[dict[str, Any]]:
    """Whole result files as JSON types: with everything, with hostile text, with controls, of format 1."""
    full = make_report(12, examples=2, tokens=6)
    controls = {
        "random": Control(
            {"sanity": full.sanity, "n2g": full.metrics["n2g"].__class__(full.metrics["n2g"].estimates)},
            verdicts={"n2g": ControlVerdict("f1", "beaten", "as expected", 0.01)},
            sae={"d_sae": 12, "architecture": "standard"},
            seconds=1.0,
        )
    }
    training = {"run": "runs/a", "sae": None, "step": 10, "n_training_samples": 1000, "final": False}
    corpus = {"documents": 8, "context_size": 64, "tokens_sha256": "0" * 64}
    made = Report(full.sanity, full.metrics, {"other": "ValueError: no"}, ["mind"], full.provenance, controls)
    made = made.with_provenance(training=training, corpus=corpus, units={"probe": {"tasks": 3}}, seconds=9.0, metric_versions={"n2g": 3})
    older = json.loads(json.dumps(made.to_dict()))
    older["format_version"] = "1.2"
    row = {"explanation": "^ 'def' * '(' | 'x'", "values": "0.5 | 1", "raised": "' a' +0.08", "lowered": ""}
    older["metrics"]["n2g"]["tables"]["latents"] = [{"latent": latent, "f1": 0.5, **row} for latent in range(4)]
    for name in ("explanations", "effects"):
        del older["metrics"]["n2g"][name]
    text = {"latent": 1, "kind": "recall", "text": "a «b» c", "activation": 1.5, "predicted": 0.5}
    older["metrics"]["n2g"]["tables"]["examples"] = [text, text]
    older["metrics"]["n2g"]["examples"] = []
    return [made.to_dict(), hostile_report(HOSTILE["closing"]).to_dict(), older]


def damaged(data: dict[str, Any], kind: str, value: Any, seed: int) -> bytes:
    """The bytes of a result file with one damage more.

    Args:
        data: A result file, which is left as it is.
        kind: One of ``KINDS``.
        value: What stands in the place of something else, where something does.
        seed: Where.
    """
    draw = Random(seed)
    if kind in _OF_BYTES:
        return _OF_BYTES[kind](written(data), draw)
    data = copy.deepcopy(data)
    _OF_DATA[kind](data, value, draw)
    return written(data)


def written(data: Any) -> bytes:
    """A file of JSON types, among which there may be text that is written as it is."""
    text = json.dumps(data).encode("ascii").decode("ascii")
    for raw in {each for each in _texts(data) if each.startswith(RAW)}:
        text = text.replace(json.dumps(raw), raw.removeprefix(RAW))
    return text.encode()


def _texts(data: Any) -> list[str]:
    if isinstance(data, str):
        return [data]
    children = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return [text for child in children for text in _texts(child)]


def _place(data: Any, draw: Random) -> tuple[Any, Any]:
    """Some object or list, and a key or place in it; each level is as likely as another."""
    inner, key = data, draw.choice(list(data))
    while draw.random() < 0.85:
        child = inner[key]
        if not isinstance(child, dict | list) or not child:
            break
        inner, key = child, draw.choice(list(child) if isinstance(child, dict) else range(len(child)))
    return inner, key


def _replace(data: Any, value: Any, draw: Random) -> None:
    inner, key = _place(data, draw)
    inner[key] = value


def _remove(data: Any, value: Any, draw: Random) -> None:
    inner, key = _place(data, draw)
    del inner[key]


def _add(data: Any, value: Any, draw: Random) -> None:
    inner, key = _place(data, draw)
    if isinstance(inner, dict):
        inner[value if isinstance(value, str) and not value.startswith(RAW) else "more"] = copy.deepcopy(inner[key])
    else:
        inner.insert(key, copy.deepcopy(inner[key]))


def _swap(data: Any, value: Any, draw: Random) -> None:
    (one, a), (other, b) = _place(data, draw), _place(data, draw)
    one[a], other[b] = copy.deepcopy(other[b]), copy.deepcopy(one[a])


def _rename(data: Any, value: Any, draw: Random) -> None:
    inner, key = _place(data, draw)
    if isinstance(inner, dict):
        inner[value if isinstance(value, str) and not value.startswith(RAW) else "other"] = inner.pop(key)
    else:
        inner[key] = value


def _cut(text: bytes, draw: Random) -> bytes:
    return text[: draw.randrange(len(text))]


def _flip(text: bytes, draw: Random) -> bytes:
    changed = bytearray(text)
    for _ in range(draw.randint(1, 4)):
        changed[draw.randrange(len(changed))] = draw.choice([0, 10, 34, 44, 45, 48, 57, 58, 91, 92, 93, 101, 123, 125, 128, 237, 255])
    return bytes(changed)


def _lose(text: bytes, draw: Random) -> bytes:
    start = draw.randrange(len(text))
    return text[:start] + text[start + draw.randint(1, 40) :]


def _other(text: bytes, draw: Random) -> bytes:
    deep = b"[" * 200_000
    return draw.choice(
        [b"", b"\xef\xbb\xbf" + text, b"\x00" * 100, b"null", b"[]", b"{}", b"3", b'"a"', deep, text + text, b"\x89PNG\r\n", deep]
    )


_OF_DATA: dict[str, Callable[[Any, Any, Random], None]] = {
    "another value": _replace,
    "removed": _remove,
    "added": _add,
    "swapped": _swap,
    "renamed": _rename,
}
_OF_BYTES: dict[str, Callable[[bytes, Random], bytes]] = {"cut": _cut, "bytes changed": _flip, "bytes lost": _lose, "another file": _other}
KINDS = [*_OF_DATA, *_OF_BYTES]
"""Kinds of damage."""
