"""What there is to say of each latent: a row of the table, and the tokens that it writes."""

from jaxtyping import Float, Int
from torch import Tensor

from sae_lens_metrics.functional.nearest_directions import Nearest
from sae_lens_metrics.metrics.directions.firing import Fired
from sae_lens_metrics.metrics.directions.second_sae import Match
from sae_lens_metrics.metrics.directions.writing import Writing
from sae_lens_metrics.results import LatentEffects, Row, TokenChange
from sae_lens_metrics.results.metric_result import Scalar
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.token_text import TokenText

__all__ = ["effects_of", "rows_of"]

_DIGITS = 8
"""Significant digits of numbers of which there is one for each latent: those that float32 carries, and no more of a file than that."""


def rows_of(near: Nearest, writing: Writing | None, fired: Fired, match: Match | None) -> list[Row]:
    """A row for each latent.

    Args:
        near: The nearest other latents.
        writing: What latents write, if that is known.
        fired: Where they fire.
        match: Their matches in a second SAE, if there is one.
    """
    columns: dict[str, list[Scalar]] = {"latent": list(range(len(fired.count))), "fires": fired.count.tolist()}
    if writing is not None:
        columns["next_token"] = _numbers(fired.lift / fired.followed)  # NaN where it never fires
        columns["written"] = _numbers(writing.changes.by[:, 0, 0] / writing.changes.sd)
    for place in range(near.cosine.shape[1]):
        columns["nearest" if place == 0 else f"nearest_{place + 1}"] = near.which[:, place].tolist()
        columns["max_cosine" if place == 0 else f"cosine_{place + 1}"] = _numbers(near.cosine[:, place])
    if match is not None:
        columns["match"] = match.nearest.which[:, 0].tolist()
        columns["match_cosine"] = _numbers(match.nearest.cosine[:, 0])
    if fired.alike is not None:
        columns["match_correlation"] = _numbers(fired.alike.value())
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def effects_of(subject: Subject, writing: Writing, fired: Fired) -> list[LatentEffects]:
    """The tokens that each latent raises and lowers most, in logits, where it fires as it does on average.

    One that never fires is taken to add as much as others: so that no logit depends on the unit of a latent.

    Args:
        subject: The model and SAE.
        writing: What one unit of each writes.
        fired: How much each adds.
    """
    by = writing.changes.by * _usual_amount(subject.dictionary.decoder.norm(dim=1), fired)[:, None, None]
    tokens = writing.changes.tokens.cpu()
    known = tokens.unique().tolist()
    words = dict(zip(known, TokenText(subject.language.tokenizer).write([[token] for token in known]), strict=True))
    raised, lowered = (_changes(words, tokens[:, side], by[:, side].cpu()) for side in (0, 1))
    return [LatentEffects(*each) for each in zip(range(len(tokens)), raised, lowered, strict=True)]


def _usual_amount(lengths: Float[Tensor, "d_sae"], fired: Fired) -> Float[Tensor, "d_sae"]:
    """What each latent is where it fires, on average; of one that never does, so that it adds as much as others that fire do."""
    amount, count = fired.amount.float(), fired.count
    added = float((amount * lengths).sum() / count.sum().clamp_min(1))
    of_others = ((added or 1.0) / lengths).where(lengths > 0, 0)
    return (amount / count.clamp_min(1)).where(count > 0, of_others)


def _changes(words: dict[int, str], tokens: Int[Tensor, "d_sae shown"], by: Float[Tensor, "d_sae shown"]) -> list[list[TokenChange]]:
    rows = zip(tokens.tolist(), by.tolist(), strict=True)
    return [[TokenChange(token, words[token], _rounded(value)) for token, value in zip(*row, strict=True)] for row in rows]


def _numbers(values: Float[Tensor, "d_sae"]) -> list[Scalar]:
    """Numbers for a table, ``None`` for those that are none."""
    return [_rounded(value) if known else None for value, known in zip(values.tolist(), values.isfinite().tolist(), strict=True)]


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
