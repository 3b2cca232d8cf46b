"""Decoder directions: what each latent writes, and which others it is like."""

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from sae_lens_metrics.errors import SubjectError
from sae_lens_metrics.functional.nearest_directions import Nearest, nearest_directions
from sae_lens_metrics.functional.statistics import mean_with_error, ratio_influence
from sae_lens_metrics.metrics.context import MetricContext
from sae_lens_metrics.metrics.directions.firing import Fired, fired_on
from sae_lens_metrics.metrics.directions.memory import AT_ONCE
from sae_lens_metrics.metrics.directions.per_latent import effects_of, rows_of
from sae_lens_metrics.metrics.directions.second_sae import Match, load_second
from sae_lens_metrics.metrics.directions.spec import NEAR, SAME
from sae_lens_metrics.metrics.directions.writing import Writing, own_latents, writing_of
from sae_lens_metrics.results import Estimate, MetricResult
from sae_lens_metrics.text.corpus import Corpus

__all__ = ["directions"]

_RANDOM = 256
"""Random directions of a baseline."""


def directions(context: MetricContext) -> MetricResult:
    """Reads what decoder rows say, by themselves and where latents fire.

    With w_i a latent's decoder row, J the mean slope of the final norm over a little text and U the unembedding, a latent writes U J w_i,
    to first order and but for what later layers make of it; s_i is the standard deviation of that over the vocabulary.

    - ``next_token``: the mean over active latents of all tokens of (u_next - ū) · J w_i / s_i, u_next the unembedding of the token that
      comes next and ū its mean over the text, in (-∞, ∞): how far a latent raises what comes next, above what comes next elsewhere.
    - ``max_cosine``: the mean over latents of the largest cosine of w_i with another row, in [-1, 1]; ``duplicates``: the share where it is
      above 0.9. ``random_max_cosine``: of 256 random directions with the nearest row; ``max_cosine_above_random`` is the difference.
    - With a second SAE: ``match_cosine``, the mean over latents of the largest cosine of w_i with one of its rows, ``matched``, the share
      where that is above 0.7, ``random_match_cosine``, of random directions, and ``match_correlation``, the mean over latents of Pearson's
      correlation, over tokens, of the activations of both; a latent counts if both fire anywhere.
    - The table ``latents``: a row for each latent. ``effects``: the tokens that it raises and lowers most, in logits, where it fires as it
      does on average (one that never fires: where it adds as much as others), around the mean of the vocabulary.

    The error of ``next_token`` is over documents, where they are known, or sequences; those of cosines and correlations are over latents.

    Args:
        context: The run: subject, text and settings; the generator draws random directions.

    Raises:
        SubjectError: If there is no such second SAE.
        ConfigError: If it sits at another hook.
    """
    subject, settings, generator = context.subject, context.config.directions, context.generator
    part, decoder = context.corpus.head(settings.tokens), subject.dictionary.decoder
    near = _nearest(context, decoder, k=settings.nearest)
    match = _match(context)
    writing, reason = _written(context, part)
    fired = fired_on(context, part, writing, match)
    estimates = {
        "next_token": Estimate.absent(reason, of=part.unit) if reason else fired.next_token(),
        **_alike(near, _largest_of_random(decoder, generator)),
        **({} if match is None else _matched(match, fired, _largest_of_random(match.decoder, generator))),
    }
    effects = [] if writing is None else effects_of(subject, writing, fired)
    notes = [] if writing is None else [f"the slope of the final norm is its mean over {writing.positions} positions"]
    return MetricResult(estimates, {"latents": rows_of(near, writing, fired, match)}, effects=effects, notes=notes)


def _nearest(context: MetricContext, others: Float[Tensor, "m d_out"], *, k: int = 1) -> Nearest:
    """The nearest to each decoder row among the SAE's own, or among others; each process looks for some of them."""
    decoder, own = context.subject.dictionary.decoder, own_latents(context)
    first = own.start if others is decoder else None
    parts = context.ranks.each(lambda: nearest_directions(decoder[own], others, first=first, k=k, at_once=AT_ONCE))
    return Nearest(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _match(context: MetricContext) -> Match | None:
    """The second SAE, if there is one."""
    name = context.config.directions.against
    if not name:
        return None
    second = context.ranks.together(lambda: load_second(context.subject, name))
    return Match(second, _nearest(context, second.decoder))


def _written(context: MetricContext, part: Corpus) -> tuple[Writing | None, str]:
    """What latents write, or why that is not known."""
    try:
        return writing_of(context, part), ""
    except SubjectError as error:
        return None, str(error)


def _alike(near: Nearest, random: Float[Tensor, "n"]) -> dict[str, Estimate]:
    """How near the nearest other latents of the SAE are."""
    by_chance = _over_random(random)
    if not near.cosine.shape[1]:
        alone = Estimate.absent("the SAE has one latent only", of="latents")
        return {"random_max_cosine": by_chance, **dict.fromkeys(("max_cosine", "max_cosine_above_random", "duplicates"), alone)}
    largest = near.cosine[:, 0]
    return {
        "max_cosine": _over_latents(largest),
        "random_max_cosine": by_chance,
        "max_cosine_above_random": _less(_over_latents(largest), by_chance),
        "duplicates": _over_latents((largest > NEAR).float()),
    }


def _less(estimate: Estimate, baseline: Estimate) -> Estimate:
    """A mean over latents less an independent one."""
    if estimate.value is None or baseline.value is None:
        return estimate
    known = estimate.stderr is not None and baseline.stderr is not None
    stderr = math.hypot(estimate.stderr or 0.0, baseline.stderr or 0.0) if known else None
    return replace(estimate, value=estimate.value - baseline.value, stderr=stderr)


def _matched(match: Match, fired: Fired, random: Float[Tensor, "n"]) -> dict[str, Estimate]:
    """How alike the best matches in a second SAE are."""
    cosine, correlation = match.nearest.cosine[:, 0], torch.zeros(0) if fired.alike is None else fired.alike.value()
    known = correlation[correlation.isfinite()]
    together = _over_latents(known) if len(known) else Estimate.absent("no latent fires whose match fires, too", of="latents")
    return {
        "match_cosine": _over_latents(cosine),
        "random_match_cosine": _over_random(random),
        "match_correlation": together,
        "matched": _over_latents((cosine > SAME).float()),
    }


def _largest_of_random(decoder: Float[Tensor, "d_sae d_out"], generator: torch.Generator) -> Float[Tensor, "n"]:
    """The largest cosine of each of some random directions with a decoder row."""
    random = torch.randn(_RANDOM, decoder.shape[1], generator=generator).to(decoder)
    return nearest_directions(random, decoder, at_once=AT_ONCE).cosine[:, 0]  # a few, so that each process does all of them


def _over_latents(values: Float[Tensor, "latents"]) -> Estimate:
    value, stderr = mean_with_error(values.cpu().double())
    return Estimate(value, stderr, len(values), "latents", None if stderr is not None else "one latent has no standard error")


def _over_random(values: Float[Tensor, "n"]) -> Estimate:
    values = values.cpu().double()
    value, stderr = mean_with_error(values)
    influence = ratio_influence(values, torch.ones_like(values)).tolist()
    return Estimate(value, stderr, len(values), "random directions", influence=influence)
