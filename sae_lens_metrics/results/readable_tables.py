"""Tables of a result with what belongs to their latents in words, for people."""

from sae_lens_metrics.results.metric_result import MetricResult, Row

__all__ = ["readable_tables"]


def readable_tables(result: MetricResult) -> dict[str, list[Row]]:
    """The tables of a result, of which ``latents`` has columns more.

    Those are ``explanation`` (``^ 'def' * '(' | 'x'``) and ``values`` (``0.5 | 1``), ``raised`` and ``lowered`` (``' a' +0.08``), where the
    result has explanations and effects. They are for reading: programs find the same as data in ``explanations`` and ``effects``.

    Args:
        result: A metric's result.
    """
    more: dict[int, Row] = {}
    for explained in result.explanations.latents if result.explanations is not None else ():
        values = " | ".join(f"{ngram.value:.3g}" for ngram in explained.ngrams)
        more.setdefault(explained.latent, {}).update(explanation=explained.to_text(), values=values)
    for effects in result.effects:
        sides = {"raised": effects.raised, "lowered": effects.lowered}
        texts = {name: " | ".join(change.to_text() for change in side) for name, side in sides.items()}
        more.setdefault(effects.latent, {}).update(texts)
    if not more or "latents" not in result.tables:
        return dict(result.tables)
    absent = dict.fromkeys(name for row in more.values() for name in row)
    rows = [{**row, **absent, **_of(row, more)} for row in result.tables["latents"]]
    return {**result.tables, "latents": rows}


def _of(row: Row, more: dict[int, Row]) -> Row:
    latent = row.get("latent")
    return more.get(latent, {}) if isinstance(latent, int) else {}
