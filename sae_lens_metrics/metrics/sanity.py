"""The line before any metric: is the SAE what it claims to be?"""

import torch
from jaxtyping import Float
from torch import Tensor

from sae_lens_metrics.config import MetricsConfig
from sae_lens_metrics.corpus import ActivationBatch, Corpus
from sae_lens_metrics.metrics.sums import SequenceSums
from sae_lens_metrics.results import Estimate, MetricResult
from sae_lens_metrics.subject import Subject

__all__ = ["sanity", "sanity_warnings", "variance"]


def sanity(subject: Subject, corpus: Corpus, config: MetricsConfig, generator: torch.Generator) -> MetricResult:
    """L0, explained variance, latents that never fire, and the cross-entropy clean, with the reconstruction and with zeros.

    ``l0`` counts nonzero latents. ``explained_variance`` is 1 - E|x - x̂|² / E|x - E x|², in (-∞, 1]. ``dead_latents`` is the fraction
    of latents that fire nowhere on the corpus, in [0, 1]; it depends on how many tokens that has. Cross-entropies are in nats per
    token, over positions that hold no special token; zeros replace the activation everywhere, as in SAELens's evaluation.
    ``loss_recovered`` is (zeroed - reconstructed) / (zeroed - clean).

    Args:
        subject: The model and SAE.
        corpus: The text.
        config: ``batch_size`` is used.
        generator: Not used.
    """
    sums, fired = SequenceSums(corpus), torch.zeros(subject.d_sae, dtype=torch.bool, device=subject.device)
    for batch in corpus.activations(subject, config.batch_size, progress="sanity"):
        reconstruction = torch.empty_like(batch.x)
        l0 = torch.empty(len(batch.x), device=subject.device)
        for rows in batch.chunks(subject):
            z = subject.encode(batch.x[rows])
            reconstruction[rows], l0[rows] = subject.decode(z, batch.x[rows]), (z != 0).sum(-1).float()
            fired |= (z != 0).any(0)
        sums.add(l0=batch.per_sequence(l0), error=batch.per_sequence((batch.x - reconstruction).square().sum(-1)))
        sums.add(**moments(batch), **losses(subject, batch, reconstruction))
    error = sums.estimate(sums["error"], variance(sums))
    return MetricResult(
        {
            "l0": sums.ratio("l0", "tokens"),
            "explained_variance": _one_minus(error),
            "dead_latents": Estimate(1 - float(fired.float().mean()), None, subject.d_sae, "latents", "an exact count on this text"),
            "ce_clean": sums.ratio("clean", "predictions"),
            "ce_reconstructed": sums.ratio("reconstructed", "predictions"),
            "ce_zeroed": sums.ratio("zeroed", "predictions"),
            "loss_recovered": sums.estimate(sums["zeroed"] - sums["reconstructed"], sums["zeroed"] - sums["clean"]),
        }
    )


def moments(batch: ActivationBatch) -> dict[str, Float[Tensor, "batch ..."]]:
    """Counts, sums and squares of a batch's activations per sequence, for ``variance``."""
    ones = torch.ones(len(batch.x), device=batch.x.device)
    return {
        "tokens": batch.per_sequence(ones),
        "x": batch.per_sequence(batch.x),
        "squares": batch.per_sequence(batch.x.square()).sum(-1),
    }


def variance(sums: SequenceSums) -> Float[Tensor, "sequences"]:
    """Σ|x - μ|² of each sequence, with μ the mean over the whole corpus, from ``moments``."""
    mean = sums["x"].sum(0) / sums["tokens"].sum().clamp_min(1)
    return sums["squares"] - 2 * sums["x"] @ mean + sums["tokens"] * mean.square().sum()


def losses(subject: Subject, batch: ActivationBatch, reconstruction: Float[Tensor, "n d_in"]) -> dict[str, Float[Tensor, "batch"]]:
    """Sums of next-token losses per sequence: clean, reconstructed, zeroed; and the number of predictions."""
    valid = subject.valid(batch.prefix.tokens)
    counted = valid[:, :-1]
    replaced = batch.to_positions(subject, reconstruction)
    runs = {
        "clean": subject.losses(batch.prefix),
        "reconstructed": subject.losses(batch.prefix, replaced),
        "zeroed": subject.losses(batch.prefix, torch.zeros_like(replaced), where=torch.ones_like(valid)),
    }
    return {"predictions": counted.sum(1), **{name: (loss * counted).sum(1) for name, loss in runs.items()}}


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


def _one_minus(estimate: Estimate) -> Estimate:
    value = None if estimate.value is None else 1 - estimate.value
    return Estimate(value, estimate.stderr, estimate.n, estimate.of, estimate.reason)
