"""Explanation reconstruction: how much of the model do the explanations explain (Gao et al. 2024, section 4.4)?"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae_lens_metrics.metrics.context import MetricContext
from sae_lens_metrics.metrics.explanation.simulation import Simulation, decode_sparse
from sae_lens_metrics.metrics.explanation.token_means import TokenMeans
from sae_lens_metrics.metrics.n2g.shared import explanations_of, scores_of, texts_of
from sae_lens_metrics.metrics.replacements import replacement_losses
from sae_lens_metrics.metrics.sums import SequenceSums, moments, variance
from sae_lens_metrics.results import Estimate, MetricResult
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.batches import ActivationBatch

__all__ = ["explanation"]

_REPLACEMENTS = ("reconstruction", "explanation", "explained_latents", "bias", "zeroed", "mean", "unigram", "bigram")


def explanation(context: MetricContext) -> MetricResult:
    """Puts reconstructions from simulated latents into the model, and measures its next-token loss.

    Every latent is simulated from its N2G explanation, scaled by E[sa] / E[s²] (s what the explanation predicts, a the latent), and the
    SAE decodes the simulated latents. Explanations and scales come from the first half of the corpus's documents, losses from the rest.

    - ``ce_…``: next-token cross-entropy in nats with the activation replaced: ``clean`` (not at all), ``reconstruction`` (by the SAE),
      ``explanation`` (by the SAE, from simulated latents), ``explained_latents`` (by the SAE, from those true latents whose explanation
      has an F1 of at least ``config.explanation.min_f1``, its precision from the same text as the loss),
      ``bias`` (by what the SAE decodes from zero latents), ``zeroed``
      (everywhere), ``mean``, ``unigram``, ``bigram`` (by the mean activation; given the token; given the last two tokens, backing off
      to one, then to the mean). Special tokens keep their activation, except where all is zeroed, as in SAELens.
    - ``recovered_…``: (zeroed - it) / (zeroed - clean), for each.
    - ``explanation_minus_bigram``, ``explanation_minus_reconstruction``: paired differences of losses.
    - ``mse``, ``explained_variance``: E|x - x̂|² / E|x - E x|² of the simulated reconstruction, and 1 minus that.
    - ``unscaled``: latents with an explanation that never fires on the training text, and so is not used; ``used``: the others.
    - ``bigram_backoff``: share of positions whose pair of tokens the training text lacks; ``bigram_overflow``: share of training
      positions whose pair was not kept, as there were too many.

    Args:
        context: The run: subject, text and settings.
    """
    subject, config = context.subject, context.config
    asked = config.n2g.latents
    if asked is not None and asked < subject.d_sae:
        reason = f"it needs explanations of all {subject.d_sae} latents, n2g.latents asks for {asked} only"
        return MetricResult({"ce_explanation": Estimate.absent(reason, of="sequences")})
    (text, scoring), explanations = context.once(texts_of), context.once(explanations_of)
    good = torch.zeros(subject.d_sae, dtype=torch.bool)
    good[explanations.latents] = context.once(scores_of).f1 >= config.explanation.min_f1
    simulation, means = Simulation(explanations, subject), TokenMeans(subject, most=config.explanation.bigrams)
    for batch in text.activations(subject, config.batch_size, progress="explanation: fitting"):
        simulation.learn(batch)
        means.learn(batch)
    sums = SequenceSums(scoring)
    for batch in scoring.activations(subject, config.batch_size, progress="explanation: measuring losses"):
        _measure(sums, batch, subject, simulation, means, good.to(subject.device))
    used = simulation.fires.cpu()[explanations.patterns.latent.unique()]
    counts = {"used": int(used.sum()), "unscaled": int((~used).sum())}
    exact = {name: Estimate(float(n), None, subject.d_sae, "latents", "an exact count on this text") for name, n in counts.items()}
    overflow = means.overflow / max(1, explanations.tokens)
    exact["bigram_overflow"] = Estimate(overflow, None, explanations.tokens, "tokens", "an exact share of this text")
    return MetricResult(_estimates(sums) | exact)


def _measure(
    sums: SequenceSums, batch: ActivationBatch, subject: Subject, simulation: Simulation, means: TokenMeans, good: Bool[Tensor, "d_sae"]
) -> None:
    """Adds a batch's losses and errors to the sums."""
    simulated = decode_sparse(subject, simulation.simulate(batch), batch.x)
    reconstruction, partial = torch.empty_like(batch.y), torch.empty_like(batch.y)
    for rows, z in batch.latents():
        reconstruction[rows], partial[rows] = (
            subject.dictionary.decode(z, batch.x[rows]),
            subject.dictionary.decode(z * good, batch.x[rows]),
        )
    baselines, backoff = means.predict(batch)
    replacements = {
        "reconstruction": reconstruction,
        "explanation": simulated,
        "explained_latents": partial,
        "bias": subject.dictionary.scale_and_offset(batch.x)[1],
        **baselines,
    }
    sums.add(**replacement_losses(subject, batch, replacements, zeroed="zeroed"), **moments(batch))
    sums.add(error=batch.per_sequence((batch.y - simulated).square().sum(-1)), backoff=batch.per_sequence(backoff))


def _estimates(sums: SequenceSums) -> dict[str, Estimate]:
    predictions, clean, zeroed = sums["predictions"], sums["clean"], sums["zeroed"]

    def difference(a: str, b: str) -> Estimate:
        return sums.estimate(sums[a] - sums[b], predictions)

    def recovered(loss: Float[Tensor, "sequences"]) -> Estimate:
        return sums.estimate(zeroed - loss, zeroed - clean)

    mse = sums.estimate(sums["error"], variance(sums))
    return {
        **{f"ce_{name}": sums.ratio(name, "predictions") for name in ("clean", *_REPLACEMENTS)},
        "explanation_minus_bigram": difference("explanation", "bigram"),
        "explanation_minus_reconstruction": difference("explanation", "reconstruction"),
        **{f"recovered_{name}": recovered(sums[name]) for name in _REPLACEMENTS if name != "zeroed"},
        "mse": mse,
        "explained_variance": mse.one_minus(),
        "bigram_backoff": sums.ratio("backoff", "tokens"),
    }
