"""The line before any metric: is the SAE what it claims to be?"""

import torch
from jaxtyping import Bool
from torch import Tensor

from sae_lens_metrics.metrics.context import MetricContext
from sae_lens_metrics.metrics.replacements import replacement_losses
from sae_lens_metrics.metrics.sums import SequenceSums, moments, variance
from sae_lens_metrics.results import Estimate, MetricResult

__all__ = ["sanity", "sanity_warnings"]


def sanity(context: MetricContext) -> MetricResult:
    """L0, explained variance, latents that never fire, and the cross-entropy clean, with the reconstruction and with zeros.

    ``l0`` counts nonzero latents. ``explained_variance`` is 1 - E|x - x̂|² / E|x - E x|², in (-∞, 1]. ``dead_latents`` is the fraction
    of latents that fire nowhere on the corpus, in [0, 1]; it depends on how many tokens that has. Cross-entropies are in nats per
    token, over positions that hold no special token; zeros replace the activation everywhere, as in SAELens's evaluation.
    ``loss_recovered`` is (zeroed - reconstructed) / (zeroed - clean). ``kl_divergence`` is KL(clean || reconstructed) of the model's
    outputs, in nats per token, 0 or more, at every position that holds no special token.

    Args:
        context: The run: subject, text and settings.
    """
    parts = context.ranks.each(lambda: _measured(context))
    sums = SequenceSums.joined(context.corpus, (part for part, _ in parts))
    fired = torch.stack([part for _, part in parts]).any(0)
    error = sums.estimate(sums["error"], variance(sums))
    return MetricResult(
        {
            "l0": sums.ratio("l0", "tokens"),
            "explained_variance": error.one_minus(),
            "dead_latents": Estimate(1 - float(fired.float().mean()), None, len(fired), "latents", "an exact count on this text"),
            "ce_clean": sums.ratio("clean", "predictions"),
            "ce_reconstructed": sums.ratio("reconstructed", "predictions"),
            "ce_zeroed": sums.ratio("zeroed", "predictions"),
            "kl_divergence": sums.ratio("divergence", "tokens"),
            "loss_recovered": sums.estimate(sums["zeroed"] - sums["reconstructed"], sums["zeroed"] - sums["clean"]),
        }
    )


def _measured(context: MetricContext) -> tuple[SequenceSums, Bool[Tensor, "d_sae"]]:
    """Sums of this process's sequences, and which latents fire there."""
    subject, corpus, config = context.subject, context.corpus, context.config
    sums, fired = SequenceSums(corpus), torch.zeros(subject.d_sae, dtype=torch.bool, device=subject.device)
    for batch in corpus.activations(subject, config.batch_size, progress="sanity", ranks=context.ranks):
        reconstruction = torch.empty_like(batch.y)
        l0 = torch.empty(len(batch.x), device=subject.device)
        for rows, z in batch.latents():
            reconstruction[rows], l0[rows] = subject.dictionary.decode(z, batch.x[rows]), (z != 0).sum(-1).float()
            fired |= (z != 0).any(0)
        sums.add(l0=batch.per_sequence(l0), error=batch.per_sequence((batch.y - reconstruction).square().sum(-1)))
        replacements = {"reconstructed": reconstruction}
        sums.add(**moments(batch), **replacement_losses(subject, batch, replacements, zeroed="zeroed", diverging="reconstructed"))
    return sums, fired


def sanity_warnings(result: MetricResult, expected: dict[str, float]) -> list[str]:
    """What looks wrong about the SAE: hubs hold SAEs that load with the wrong architecture or hook, and nothing else would tell.

    Args:
        result: What ``sanity`` returned.
        expected: What the SAE's publisher says, ``l0`` and ``explained_variance``.
    """
    found = []
    l0, explained = result.estimates["l0"].value, result.estimates["explained_variance"].value
    advice = "check that architecture, hook, normalisation and model are those it was trained with"
    if explained is not None and explained < 0:
        found.append(f"the SAE reconstructs worse than the mean activation (explained variance {explained:.2f}): {advice}")
    if l0 == 0:
        found.append(f"no latent ever fires: {advice}")
    claimed = expected.get("l0")
    if claimed and l0 and not 0.5 < l0 / claimed < 2:
        found.append(f"L0 is {l0:.1f} on this text, {claimed:.1f} according to the SAE's publisher: {advice}")
    claimed = expected.get("explained_variance")
    if claimed is not None and explained is not None and explained < claimed - 0.2:
        found.append(f"explained variance is {explained:.2f} on this text, {claimed:.2f} according to the SAE's publisher: {advice}")
    return found
