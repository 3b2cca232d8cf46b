"""Explanation reconstruction: how much of the model do the explanations explain (Gao et al. 2024, section 4.4)?"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_lens_metrics.metrics.context import MetricContext
from sae_lens_metrics.metrics.explanation.by_rules import NO_RULES, SimulationByRules, simulation_by_rules
from sae_lens_metrics.metrics.explanation.redraws import Redraws, well_explained_again
from sae_lens_metrics.metrics.explanation.simulation import Simulation, decode_sparse
from sae_lens_metrics.metrics.explanation.token_means import TokenMeans, parts_that_fit
from sae_lens_metrics.metrics.n2g.explanations import Explanations
from sae_lens_metrics.metrics.n2g.shared import explanations_of, more_text, rebuilt_of, scores_of, texts_of
from sae_lens_metrics.metrics.replacements import replacement_losses
from sae_lens_metrics.metrics.sums import SequenceSums, moments, variance
from sae_lens_metrics.results import Estimate, MetricResult
from sae_lens_metrics.results.estimate import with_drawn
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.batches import ActivationBatch, activation_batches
from sae_lens_metrics.text.corpus import Corpus

__all__ = ["explanation"]

_REPLACEMENTS = ("reconstruction", "explanation", "explained_latents", "bias", "zeroed", "mean", "unigram", "bigram")
_REDRAWN = ("explanation", "explained_latents")
"""What another draw of activations to explain latents from moves."""
_OF_RULES = ("ce_rules", "recovered_rules", "rules_minus_bigram", "rules_minus_explanation")
_SHARE = 0.5
"""Of ``memory_gb``, for the means given tokens."""


def explanation(context: MetricContext) -> MetricResult:
    """Puts reconstructions from simulated latents into the model, and measures its next-token loss.

    Every latent is simulated from its N2G explanation, scaled by E[sa] / E[s²] (s what the explanation predicts, a the latent), and the
    SAE decodes the simulated latents. Explanations and scales come from the first half of the corpus's documents, losses from the rest.
    Mean activations come from that first half too, and from further text of the same source (``config.explanation.baseline_tokens``).

    - ``ce_…``: next-token cross-entropy in nats with the activation replaced: ``clean`` (not at all), ``reconstruction`` (by the SAE),
      ``explanation`` (by the SAE, from simulated latents), ``explained_latents`` (by the SAE, from those true latents whose explanation
      has an F1 of at least ``config.explanation.min_f1``, its precision from the same text as the loss),
      ``bias`` (by what the SAE decodes from zero latents), ``zeroed`` (everywhere), ``mean``, ``unigram``, ``bigram`` (by the mean
      activation; given the token; given the last two tokens, backing off to one, then to the mean). What the SAE's normalisation takes
      away from a token is put back in all of them but ``zeroed``. Special tokens keep their activation, except where all is zeroed, as in
      SAELens.
    - ``recovered_…``: (zeroed - it) / (zeroed - clean), for each.
    - ``ce_rules``, ``recovered_rules``, ``rules_minus_bigram``, ``rules_minus_explanation``: the same of latents that are simulated from
      rules about tokens, learned from the same half; where the metric ``rules`` is among those asked for.
    - ``explanation_minus_bigram``, ``explanation_minus_reconstruction``: paired differences of losses.
    - ``mse``, ``explained_variance``: E|x - x̂|² / E|x - E x|² of the simulated reconstruction, and 1 minus that.
    - ``unscaled``: latents with an explanation that never fires on the training text, and so is not used; ``used``: the others.
    - ``bigram_backoff``: share of positions whose pair of tokens the training text lacks; ``baseline_tokens``: how many positions the
      mean activations are over.

    Standard errors are over documents, with what other activations to explain latents from would move (``Estimate.drawn``), as far as the
    explanations that were built once more for ``n2g`` tell.

    The means that losses are measured with are held within half of ``config.memory_gb``, on the SAE's device. Where there are more, the
    text is measured part by part, and the model runs on the training text for each of them: that takes time, and moves no number.

    Args:
        context: The run: subject, text and settings.
    """
    subject, config = context.subject, context.config
    asked = config.n2g.latents
    if asked is not None and asked < subject.d_sae:
        reason = f"it needs explanations of all {subject.d_sae} latents, n2g.latents asks for {asked} only"
        return MetricResult({"ce_explanation": Estimate.absent(reason, of="sequences")})
    (text, scoring), explanations, rebuilt = context.once(texts_of), context.once(explanations_of), context.once(rebuilt_of)
    asked = config.explanation.baseline_tokens
    more, note = more_text(context, 2 * context.corpus.tokens.numel() if asked is None else asked)
    simulation, good = Simulation(explanations, subject, rebuilt), _explained_well(context)
    redraws = None if rebuilt is None else _redraws(context, simulation, good, rebuilt)
    by_rules = simulation_by_rules(context)
    measured: list[SequenceSums] = []
    before = 0  # sequences in earlier parts
    for number, part in enumerate(parts_that_fit(scoring, subject.d_out, config.memory_gb * 2**30 * _SHARE)):
        means = TokenMeans(subject, part)
        learners = [means] if number else [simulation, means]
        _learn(context, text, learners)
        _learn(context, more, [means])
        for learner in learners:
            learner.combine(context.ranks)
        measure = partial(_measured, context, scoring, part, before, simulation, means, good, redraws, by_rules)
        measured += context.ranks.each(measure)
        before += len(part)
    sums = SequenceSums.joined(scoring, measured)
    learned = sum(int(subject.site.valid(each.tokens).sum()) for each in (text, more) if each is not None)
    exact = {**_used(simulation, explanations), "baseline_tokens": _exact(learned, learned, "tokens")}
    return MetricResult(_estimates(sums, redraws, with_rules=by_rules is not None) | exact, notes=[f"means given tokens: {note}"])


def _explained_well(context: MetricContext) -> Bool[Tensor, "d_sae"]:
    """Which latents' explanations are good enough to count as explained."""
    good = torch.zeros(context.subject.d_sae, dtype=torch.bool)
    good[context.once(explanations_of).latents] = context.once(scores_of).f1 >= context.config.explanation.min_f1
    return good.to(context.subject.device)


def _redraws(context: MetricContext, simulation: Simulation, good: Bool[Tensor, "d_sae"], rebuilt: Explanations) -> Redraws:
    """What another draw of activations to explain latents from would give."""
    again = well_explained_again(good, context.once(scores_of), rebuilt, context.config.explanation.min_f1, context.generator)
    explanations, (_, scoring) = context.once(explanations_of), context.once(texts_of)
    return Redraws(explanations, rebuilt, simulation, scoring, good=good, again=again, seed=context.config.seed)


def _learn(context: MetricContext, text: Corpus | None, learners: Sequence[Simulation | TokenMeans]) -> None:
    """Runs the model up to the hook on a text, for all who learn from it."""
    if text is not None:
        context.ranks.together(lambda: _learn_share(context, text, learners))


def _learn_share(context: MetricContext, text: Corpus, learners: Sequence[Simulation | TokenMeans]) -> None:
    """Learns from this process's sequences."""
    for batch in text.activations(context.subject, context.config.batch_size, progress="explanation: fitting", ranks=context.ranks):
        for learner in learners:
            learner.learn(batch)


def _used(simulation: Simulation, explanations: Explanations) -> dict[str, Estimate]:
    """How many latents' explanations fire on the training text, and how many do not."""
    fires = simulation.fires.cpu()[explanations.patterns.latent.unique()]
    counts = {"used": fires.sum(), "unscaled": (~fires).sum()}
    return {name: _exact(int(count), len(explanations.latents), "latents") for name, count in counts.items()}


def _exact(count: int, n: int, of: str) -> Estimate:
    return Estimate(float(count), None, n, of, "an exact count on this text")


def _measured(
    context: MetricContext,
    scoring: Corpus,
    part: Int[Tensor, "part pos"],
    before: int,
    simulation: Simulation,
    means: TokenMeans,
    good: Bool[Tensor, "d_sae"],
    redraws: Redraws | None,
    by_rules: SimulationByRules | None,
) -> SequenceSums:
    """Losses and errors of this process's sequences of a part of the text, of which so many sequences come before."""
    sums, batch_size, ranks = SequenceSums(scoring), context.config.batch_size, context.ranks
    for batch in activation_batches(context.subject, part, batch_size, progress="explanation: measuring losses", ranks=ranks):
        _measure(sums, replace(batch, first=before + batch.first), context.subject, simulation, means, good, redraws, by_rules)
    return sums


def _measure(
    sums: SequenceSums,
    batch: ActivationBatch,
    subject: Subject,
    simulation: Simulation,
    means: TokenMeans,
    good: Bool[Tensor, "d_sae"],
    redraws: Redraws | None,
    by_rules: SimulationByRules | None,
) -> None:
    """Adds a batch's losses and errors to the sums."""
    predicted = simulation.simulate(batch)
    simulated = decode_sparse(subject, predicted.where(predicted.latent < subject.d_sae), batch.x)
    reconstruction, partial, change = (torch.zeros_like(batch.y) for _ in range(3))
    for rows, z in batch.latents():
        reconstruction[rows] = subject.dictionary.decode(z, batch.x[rows])
        partial[rows] = subject.dictionary.decode(z * good, batch.x[rows])
        if redraws is not None:
            change[rows] = redraws.change(batch, rows, z)
    baselines, backoff = means.predict(batch)
    replacements = {
        "reconstruction": reconstruction,
        "explanation": simulated,
        "explained_latents": partial,
        "bias": subject.dictionary.scale_and_offset(batch.x)[1],
        **baselines,
    }
    if by_rules is not None:
        replacements["rules"] = decode_sparse(subject, by_rules.simulate(batch), batch.x)
    if redraws is not None:
        redrawn = decode_sparse(subject, redraws.simulated(predicted, batch), batch.x)
        replacements |= {"explanation_redrawn": redrawn, "explained_latents_redrawn": partial + change}
        sums.add(error_redrawn=_squared_error(batch, redrawn))
    sums.add(**replacement_losses(subject, batch, replacements, zeroed="zeroed"), **moments(batch))
    sums.add(error=_squared_error(batch, simulated), backoff=batch.per_sequence(backoff))


def _squared_error(batch: ActivationBatch, simulated: Float[Tensor, "n d_out"]) -> Float[Tensor, "batch"]:
    return batch.per_sequence((batch.y - simulated).square().sum(-1))


def _estimates(sums: SequenceSums, redraws: Redraws | None, *, with_rules: bool) -> dict[str, Estimate]:
    predictions, clean, zeroed = sums["predictions"], sums["clean"], sums["zeroed"]

    def joined(estimate: Estimate, redrawn: str, weights: Float[Tensor, "sequences"]) -> Estimate:
        """With the error from another draw of explanations."""
        moves = None if redraws is None else redraws.variance(sums, sums[f"{redrawn}_redrawn"] - sums[redrawn], weights)
        return estimate if moves is None else with_drawn(estimate, math.sqrt(moves.variance), moves.df)

    def loss(name: str) -> Estimate:
        found = sums.ratio(name, "predictions")
        return joined(found, name, predictions) if name in _REDRAWN else found

    def recovered(name: str) -> Estimate:
        found = sums.estimate(zeroed - sums[name], zeroed - clean)
        return joined(found, name, zeroed - clean) if name in _REDRAWN else found

    def above(name: str) -> Estimate:
        return joined(sums.estimate(sums["explanation"] - sums[name], predictions), "explanation", predictions)

    def beside_rules() -> dict[str, Estimate]:
        """Of latents simulated from rules."""
        if not with_rules:
            return {name: Estimate.absent(NO_RULES, of="sequences") for name in _OF_RULES}
        differences = {name: sums.estimate(sums["rules"] - sums[name], predictions) for name in ("bigram", "explanation")}
        differences["explanation"] = joined(differences["explanation"], "explanation", predictions)
        return {
            "ce_rules": loss("rules"),
            "recovered_rules": recovered("rules"),
            **{f"rules_minus_{name}": difference for name, difference in differences.items()},
        }

    mse = joined(sums.estimate(sums["error"], variance(sums)), "error", variance(sums))
    return {
        **{f"ce_{name}": loss(name) for name in ("clean", *_REPLACEMENTS)},
        "explanation_minus_bigram": above("bigram"),
        "explanation_minus_reconstruction": above("reconstruction"),
        **{f"recovered_{name}": recovered(name) for name in _REPLACEMENTS if name != "zeroed"},
        **beside_rules(),
        "mse": mse,
        "explained_variance": mse.one_minus(),
        "bigram_backoff": sums.ratio("backoff", "tokens"),
    }
