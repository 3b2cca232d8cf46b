"""Activation shrinkage: how much better would other values of the same active latents be (Gao et al. 2024, section 5.1)."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag

from sae_lens_metrics.functional.refinement import Solver, kkt_residual_on_support, refine_on_support
from sae_lens_metrics.functional.statistics import histogram
from sae_lens_metrics.functional.supports import to_support
from sae_lens_metrics.metrics.context import MetricContext
from sae_lens_metrics.metrics.replacements import replacement_losses
from sae_lens_metrics.metrics.sums import SequenceSums, moments, variance
from sae_lens_metrics.results import Estimate, Histogram, MetricResult
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.batches import ActivationBatch
from sae_lens_metrics.text.corpus import Corpus

__all__ = ["shrinkage"]

_BINS, _LOW, _HIGH = 80, -1.0, 3.0
_REFINED = (
    *("ratio", "ratio_mean", "change_mean", "change_sd", "change_relative", "mse_refined", "mse_refined_activation"),
    *("ce_refined", "ce_added_refined", "ce_gained"),
)
_NOTHING_REFINED = "no token has between one and d_in active latents: there is nothing to refine, or its best values are not unique"


def shrinkage(context: MetricContext) -> MetricResult:
    """Refines the active latents of every token and compares raw with refined.

    The support is frozen and each value keeps its sign, the squared error is minimised over the values to the optimum.

    Values count in units of what latents add: times the length of their decoder row, on which a latent's own unit has no influence.

    - ``ratio``: Σ|refined| / Σ|raw| over active latents, in [0, ∞); above 1 where the SAE shrinks its latents. ``ratio_mean``: the mean
      over active latents of refined / raw, in which small values count as much as large ones.
    - ``change_mean``, ``change_sd``: mean and standard deviation of refined - raw (of magnitudes, where latents are signed), in units of
      the activation that the SAE was trained on; ``change_relative`` is the mean change over the mean raw value.
    - ``mse_raw``, ``mse_refined``: E|x - x̂|² / E|x - E x|², in [0, ∞), of the activation as the SAE was trained on it, as in the paper:
      after the normalisation of each token, if it has one. ``mse_raw_activation``, ``mse_refined_activation``: of the model's activation.
    - ``ce_clean``, ``ce_raw``, ``ce_refined``: next-token cross-entropy in nats; ``ce_added_raw``, ``ce_added_refined`` are the
      differences to clean on the same tokens, ``ce_gained`` is raw minus refined.
    - the histogram ``change``: (refined - raw) / raw of every active latent, from -1 (the latent is better off) to 3 and above.
    - ``gamma``: E|x̂|² / E[x̂·x] of the raw reconstruction (Rajamanoharan et al. 2024, arXiv 2404.16014, eq. 10); below 1 means
      shrinkage.
    - ``not_refined``: the fraction of tokens with more active latents than dimensions, whose best values are not unique. They keep
      their raw values and count in errors and losses only; where all tokens are such, what depends on refinement is absent.
    - ``kkt_residual``: the largest violation of the optimality conditions, relative; how far from the optimum "refined" is.

    Args:
        context: The run: subject, text and settings.
    """
    text = context.corpus.head(context.config.shrinkage.tokens)
    parts = context.ranks.each(lambda: _measured(context, text))
    sums = SequenceSums.joined(text, (part.sums for part in parts))
    edges = histogram(torch.zeros(1), low=_LOW, high=_HIGH, bins=_BINS)[0]
    counts = torch.stack([part.counts for part in parts]).sum(0).tolist()
    return MetricResult(_estimates(sums, max(part.kkt for part in parts)), histograms={"change": Histogram(edges, counts)})


class _Measured(NamedTuple):
    """What was found of some sequences."""

    sums: SequenceSums
    counts: Int[Tensor, "bins"]
    """Changes of active latents, as in the histogram."""
    kkt: float
    """The largest violation of the optimality conditions."""


def _measured(context: MetricContext, text: Corpus) -> _Measured:
    """Refines the latents of this process's sequences."""
    subject, config = context.subject, context.config
    sums, counts, kkt = SequenceSums(text), torch.zeros(_BINS, dtype=torch.long), 0.0
    for batch in text.activations(subject, config.batch_size, progress="shrinkage", ranks=context.ranks):
        outputs = _Outputs(subject, batch, config.shrinkage.solver)
        counts += torch.tensor(histogram(outputs.changes, low=_LOW, high=_HIGH, bins=_BINS)[1])
        kkt = max(kkt, outputs.kkt)
        sums.add(**outputs.sums(), **(moments(batch) | moments(batch, outputs.trained, of="trained")))
        sums.add(**replacement_losses(subject, batch, {"raw_run": outputs.raw, "refined_run": outputs.refined}))
    return _Measured(sums, counts, kkt)


class _Outputs:
    """Raw and refined reconstructions of a batch, and the sums over its active latents."""

    def __init__(self, subject: Subject, batch: ActivationBatch, solver: Solver) -> None:
        self.raw, self.refined = torch.empty_like(batch.y), torch.empty_like(batch.y)
        self.trained = torch.empty_like(batch.y)
        self.kkt, self._batch = 0.0, batch
        lengths = subject.dictionary.decoder.norm(dim=1)
        columns, changes = [], []
        for rows, z in batch.latents():
            x = batch.x[rows]
            self.raw[rows] = subject.dictionary.decode(z, x)
            kept = (z != 0).sum(1, keepdim=True) > subject.d_out  # beyond that, many values give the same reconstruction
            latents, raw = to_support(z.masked_fill_(kept, 0) if bool(kept.any()) else z)
            scale, offset = subject.dictionary.scale_and_offset(x)
            target = (batch.y[rows] - offset) / scale  # decode is affine given the token, so its error is the error of z @ decoder
            refined = refine_on_support(target, subject.dictionary.decoder, latents, raw, solver=solver)
            self.kkt = max(self.kkt, float(kkt_residual_on_support(target, subject.dictionary.decoder, latents, raw, refined).max()))
            self.refined[rows] = self.raw[rows] + scale * _weighted_sum(subject.dictionary.decoder, latents, refined - raw)
            self.trained[rows] = subject.dictionary.as_trained(batch.y[rows], x)
            errors = ((each[rows] - batch.y[rows]).div(scale).square().sum(1) for each in (self.raw, self.refined))
            columns.append(torch.stack([*_totals(raw, refined, lengths[latents]), kept[:, 0], *errors], dim=1))
            changes.append((refined.abs() / raw.abs() - 1)[raw != 0])
        self._columns = torch.cat(columns) if columns else batch.y.new_zeros(0, 8)
        self.changes = torch.cat(changes).cpu() if changes else torch.zeros(0)

    def sums(self) -> dict[str, Float[Tensor, "batch"]]:
        """Sums per sequence."""
        batch = self._batch
        names = ("active", "raw", "refined", "squared_change", "ratios", "not_refined", "trained_error_raw", "trained_error_refined")
        return {
            **dict(zip(names, batch.per_sequence(self._columns).unbind(1), strict=True)),
            "error_raw": batch.per_sequence((batch.y - self.raw).square().sum(-1)),
            "error_refined": batch.per_sequence((batch.y - self.refined).square().sum(-1)),
            "norm": batch.per_sequence(self.raw.square().sum(-1)),
            "overlap": batch.per_sequence((self.raw * batch.y).sum(-1)),
        }


def _totals(raw: Float[Tensor, "n k"], refined: Float[Tensor, "n k"], lengths: Float[Tensor, "n k"]) -> list[Float[Tensor, "n"]]:
    """Of each token: how many latents are active, their raw and refined sums, squared changes, and the sum of ratios."""
    active, before, after = raw != 0, raw.abs() * lengths, refined.abs() * lengths
    ratios = (refined.abs() / raw.abs().where(active, 1)).where(active, 0)
    return [active.sum(1), before.sum(1), after.sum(1), (after - before).square().sum(1), ratios.sum(1)]


def _weighted_sum(rows: Float[Tensor, "d_sae d_in"], latents: Int[Tensor, "n k"], weights: Float[Tensor, "n k"]) -> Float[Tensor, "n d_in"]:
    if latents.shape[1] == 0:
        return rows.new_zeros(len(latents), rows.shape[1])
    return embedding_bag(latents, rows, per_sample_weights=weights, mode="sum")


def _estimates(sums: SequenceSums, kkt: float) -> dict[str, Estimate]:
    total, trained, predictions = variance(sums), variance(sums, of="trained"), sums["predictions"]
    change = sums["refined"] - sums["raw"]
    clean, raw, refined = sums["clean"], sums["raw_run"], sums["refined_run"]

    def per_prediction(values: Float[Tensor, "sequences"]) -> Estimate:
        return sums.estimate(values, predictions)

    estimates = {
        "ratio": sums.ratio("refined", "raw"),
        "ratio_mean": sums.ratio("ratios", "active"),
        "change_mean": sums.estimate(change, sums["active"]),
        "change_sd": _standard_deviation(sums, change),
        "change_relative": sums.estimate(change, sums["raw"]),
        "mse_raw": sums.estimate(sums["trained_error_raw"], trained),
        "mse_refined": sums.estimate(sums["trained_error_refined"], trained),
        "mse_raw_activation": sums.estimate(sums["error_raw"], total),
        "mse_refined_activation": sums.estimate(sums["error_refined"], total),
        "ce_clean": per_prediction(clean),
        "ce_raw": per_prediction(raw),
        "ce_refined": per_prediction(refined),
        "ce_added_raw": per_prediction(raw - clean),
        "ce_added_refined": per_prediction(refined - clean),
        "ce_gained": per_prediction(raw - refined),
        "gamma": sums.ratio("norm", "overlap"),
        "not_refined": sums.ratio("not_refined", "tokens"),
        "kkt_residual": sums.maximum(kkt),
    }
    if float(sums["active"].sum()) == 0:
        estimates |= {name: Estimate.absent(_NOTHING_REFINED, of=estimates["mse_raw"].of) for name in _REFINED}
    return estimates


def _standard_deviation(sums: SequenceSums, change: Float[Tensor, "sequences"]) -> Estimate:
    """Standard deviation over active latents; its error follows from that of the variance by the delta method."""
    counts = sums["active"]
    mean = change.sum() / counts.sum().clamp_min(1)
    spread = sums.estimate(sums["squared_change"] - 2 * mean * change + mean**2 * counts, counts)
    sd = max(spread.value or 0.0, 0.0) ** 0.5
    if sd == 0 or spread.stderr is None:
        return Estimate(sd, None, spread.n, spread.of, "a deviation of zero, or of one sequence, has no standard error")
    return spread.function(sd, 1 / (2 * sd))
