"""Examples of where latents fire, as one HTML document that needs nothing from anywhere."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sae_lens_metrics.results import FiringExample, MetricResult, Row
from sae_lens_metrics.results.in_words import printable

__all__ = ["examples_html"]

_LATENTS = 40
"""Latents to show at most."""
_LONGEST_TOKEN, _LONGEST_EXPLANATION = 60, 300
"""Characters of a token and of an explanation to show at most."""
_KINDS = {"random": "fires here", "top": "largest", "predicted": "predicted"}
"""What to call how an example was chosen."""

# colours of text and background are both given: what surrounds the document may be white or dark, whatever the system's scheme is
_TEMPLATE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Examples</title><style>
:root { color-scheme: light dark; --page: #fff; --text: #1c1c1c; --dim: #666; --line: #ddd; --fires: 255, 150, 30; --predicts: 20, 90, 200 }
@media (prefers-color-scheme: dark) {
  :root { --page: #1a1c1f; --text: #ececec; --dim: #a3a3a3; --line: #3a3d42; --fires: 165, 80, 0; --predicts: 120, 180, 255 }
}
body { background: var(--page); color: var(--text); font: 14px/1.5 system-ui, sans-serif; margin: 12px }
h2 { font-size: 14px; margin: 0 }
h2 .dim { font-weight: normal }
section { border-top: 1px solid var(--line); padding: 8px 0 }
.dim { color: var(--dim) }
.example { display: grid; grid-template-columns: 6.5em 1fr; margin: 3px 0 }
.text { font-family: ui-monospace, monospace; font-size: 13px; white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: isolate }
.text span, .key { background: rgba(var(--fires), var(--a, 0)); border-bottom: 3px solid rgba(var(--predicts), var(--p, 0)) }
.text .at { outline: 1px solid var(--text); border-radius: 2px }
</style></head><body>
<p><span class="key" style="--a:1">background</span> how strongly the latent fires,
<span class="key" style="--p:1">underlined</span> what its explanation predicts, both as shares of the largest value shown of that latent;
the token in question has a frame. Numbers appear on pointing at a token.
What is "largest" and "predicted" is so on the second half of the text, on which explanations are scored.
{% if latents | length < of %}Shown: {{ latents | length }} of {{ of }} latents{{ ", spread over F1" if by_f1 }}.{% endif %}</p>
{% for latent in latents %}<section><h2>Latent {{ latent.number }} <span class="dim">{{ latent.numbers }}</span></h2>
{% if latent.explanation %}<div class="text dim">{{ latent.explanation }}</div>{% endif %}
{% for example in latent.examples %}<div class="example"><span class="dim">{{ example.kind }}</span><div class="text" dir="ltr">
{%- for token in example.tokens -%}
{%- if token.marks -%}
<span{% if token.at %} class="at"{% endif %} style="--a:{{ token.a }};--p:{{ token.p }}" title="{{ token.title }}">{{ token.text }}</span>
{%- else -%}{{ token.text }}{%- endif -%}
{%- endfor -%}
</div></div>
{% endfor %}</section>
{% endfor %}</body></html>
"""


@dataclass(frozen=True)
class _Token:
    """A token as it is shown."""

    text: str
    at: bool
    """Whether it is the token in question."""
    a: str
    """Its activation, as a share of the largest one."""
    p: str
    """Its prediction, likewise."""
    title: str
    """The numbers themselves."""

    @property
    def marks(self) -> bool:
        return self.at or self.a != "0" or self.p != "0"


def examples_html(result: MetricResult) -> str:
    """Draws a metric's examples: true activations as background, predictions underlined (Figure 7 of Gao et al. 2024).

    Of many latents 40 are shown: from the best explained to the worst, where the table ``latents`` tells, otherwise evenly. Whatever the
    tokens hold is text: it is escaped, control characters are written out, and a very long token is cut.

    Args:
        result: A metric's result with examples, which are sorted by latent.
    """
    import jinja2

    rows = {row["latent"]: row for row in result.tables.get("latents", [])}
    explained = {} if result.explanations is None else {each.latent: each for each in result.explanations.latents}
    examples = {latent: list(some) for latent, some in groupby(result.examples, key=lambda example: example.latent)}
    chosen = _spread(examples, rows)
    latents = [
        {
            "number": latent,
            "numbers": _numbers(rows.get(latent, {})),
            "explanation": _cut(_shown(explained[latent].to_text()), _LONGEST_EXPLANATION) if latent in explained else "",
            "examples": list(_drawn(examples[latent])),
        }
        for latent in chosen
    ]
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(_TEMPLATE)
    return template.render(latents=latents, of=len(examples), by_f1=any(_f1(rows, latent) is not None for latent in chosen))


def _spread(examples: Mapping[int, list[FiringExample]], rows: Mapping[Any, Row]) -> list[int]:
    """A bounded number of latents, from the best explained to the worst; latents without a score come last, in their order."""

    def order(latent: int) -> tuple[bool, float]:
        f1 = _f1(rows, latent)
        return (f1 is None, 0.0 if f1 is None else -f1)

    latents = sorted(examples, key=order)
    shown = min(_LATENTS, len(latents))
    return [latents[i * (len(latents) - 1) // max(1, shown - 1)] for i in range(shown)]


def _f1(rows: Mapping[Any, Row], latent: int) -> float | None:
    f1 = rows.get(latent, {}).get("f1")
    return float(f1) if isinstance(f1, int | float) else None


def _numbers(row: Row) -> str:
    named = {"F1": row.get("f1"), "precision": row.get("precision"), "recall": row.get("recall"), "density": row.get("density")}
    return ", ".join(f"{name} {value:.2g}" for name, value in named.items() if isinstance(value, int | float))


def _drawn(examples: list[FiringExample]) -> Iterator[dict[str, Any]]:
    """One latent's examples on common scales."""
    most = max((abs(value) for example in examples for value in example.activations), default=0.0)
    most_predicted = max((abs(value) for example in examples for value in example.predictions), default=0.0)
    for example in examples:
        numbers = zip(example.tokens, example.activations, example.predictions, strict=True)
        tokens = [
            _Token(
                text=_cut(_shown(token), _LONGEST_TOKEN),
                at=i == example.at,
                a=_share(activation, most),
                p=_share(prediction, most_predicted),
                title=f"fires {activation:.3g}, predicted {prediction:.3g}",
            )
            for i, (token, activation, prediction) in enumerate(numbers)
        ]
        yield {"kind": _KINDS.get(example.kind, example.kind), "tokens": tokens}


def _share(value: float, most: float) -> str:
    """A share to two digits; signed latents show their size."""
    return f"{abs(value) / most:.2g}" if value and most else "0"


def _shown(text: str) -> str:
    """Text whose every character can be seen and changes nothing around it: line breaks as ↵, control characters written out."""
    return printable(text.replace("\n", "↵").replace("\t", "⇥"))


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
