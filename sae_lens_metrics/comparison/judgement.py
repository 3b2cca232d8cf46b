"""Whether a difference is for the better, and that in words."""

from collections.abc import Mapping
from typing import Literal

from sae_lens_metrics.metrics.spec import Number
from sae_lens_metrics.results.in_words import with_error

__all__ = ["Judgement", "in_words", "judgement", "wider_in_words", "worth"]

Judgement = Literal["better", "worse", "neither"]


def judgement(number: Number, first: float, second: float) -> Judgement:
    """What a change of a number means for an SAE.

    Args:
        number: What the number's spec says.
        first: Its value before.
        second: Its value after; different.
    """
    if number.better is None:
        return "neither"
    return "better" if worth(number, second) > worth(number, first) else "worse"


def worth(number: Number, value: float) -> float:
    """A value on a scale on which more is better; the value itself where no direction is.

    Args:
        number: What the number's spec says.
        value: Its value.
    """
    if number.better == "one":
        return -abs(value - 1)
    return -value if number.better == "lower" else value


def in_words(first: str, second: str, judged: Mapping[str, Judgement | None]) -> str:
    """Which of two SAEs is better on what.

    Args:
        first: Name of one.
        second: Name of the other.
        judged: What was found of the second, by number; ``None`` where the difference may be noise.
    """
    if not judged:
        return f"{second} and {first} have no main number that was tested"

    def which(wanted: Judgement | None) -> str:
        numbers = [number for number, found in judged.items() if found == wanted]
        return f" ({', '.join(numbers)})" if numbers else ""

    better, worse, undecided = (sum(found == wanted for found in judged.values()) for wanted in ("better", "worse", None))
    return (
        f"{second} is better than {first} on {better} of {len(judged)} main numbers{which('better')}, "
        f"{first} on {worse}{which('worse')}, {undecided} undecided{which(None)}"
    )


def wider_in_words(first: str, second: str, over: str, known: Mapping[str, tuple[float, float | None, float | None]]) -> str:
    """What differences on the same tasks say of other tasks.

    Args:
        first: Name of one SAE.
        second: Name of the other.
        over: What other tasks would be of, as families.
        known: By number the difference, its standard error over these, and its p-value.
    """

    def of_others(difference: float, stderr: float | None, p: float | None) -> str:
        error = "" if p is None else f" (p = {p:.2g})"
        return f"{'+' if difference > 0 else ''}{with_error(difference, stderr)}{error}" if stderr else "not known"

    each = ", ".join(f"{number} {of_others(*what)}" for number, what in known.items())
    return (
        "† The verdict is about the tasks that both SAEs were asked, with other texts like these. Whether a difference would hold for "
        f"other {over} is a wider question; {second} minus {first} ± its error over {over}, p-values not corrected: {each}."
    )
