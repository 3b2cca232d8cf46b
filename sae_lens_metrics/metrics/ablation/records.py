"""What each ablation did, and the metric's numbers and tables from that."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_lens_metrics.functional.effect_sparsity import DENSE_EFFECT
from sae_lens_metrics.functional.statistics import histogram
from sae_lens_metrics.metrics.ablation.effects import Effects, joined
from sae_lens_metrics.metrics.ablation.sequence_groups import NOISE, SequenceChanges, SequenceGroup
from sae_lens_metrics.metrics.ablation.spec import AblationConfig
from sae_lens_metrics.metrics.sums import SequenceSums
from sae_lens_metrics.results import Estimate, Histogram, LatentEffects, MetricResult, Row, TokenChange
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.corpus import Corpus
from sae_lens_metrics.text.token_text import TokenText

__all__ = ["Records"]

_KINDS = {
    "": "what a latent adds is subtracted",
    "channels_": "a channel of the activation is zeroed at the position",
    "channels_lasting_": "a channel of the activation is zeroed at the position and all of the tokens that follow",
    "random_": "a random direction is subtracted, as long as what a latent adds",
}
_ABOVE_NOISE = 10
"""How many times as long as those of rounding effects must be, or their sparsity says nothing about latents."""
_LENGTHS = frozenset({"effect", "noise_floor", "effect_over_noise", "gaussian", "inactive"})
"""Numbers that are there even where effects do not stand above the noise."""
_BINS = 50
_DIGITS = 6
"""Significant digits of a change of a logit."""
_NOTHING = (
    "nothing to average over: no latent is active at any of the positions, special tokens are at all of them, or nothing has an effect"
)


class Records:
    """What each ablation did, and what that says.

    Args:
        sequences: How many sequences there are.
    """

    def __init__(self, sequences: int) -> None:
        self._place: dict[str, list[Tensor]] = {kind: [] for kind in (*_KINDS, NOISE)}
        self._effects: dict[str, list[Effects]] = {kind: [] for kind in (*_KINDS, NOISE)}
        self._active = torch.full((sequences,), -1)

    @classmethod
    def joined(cls, parts: "Sequence[Records]") -> "Records":
        """The records of all sequences from those of some each, in their order."""
        whole = cls(len(parts[0]._active))
        for part in parts:
            for kind in part._place:
                whole._place[kind] += part._place[kind]
                whole._effects[kind] += part._effects[kind]
            whole._active = torch.maximum(whole._active, part._active)
        return whole

    def add(self, kind: str, group: SequenceGroup, changes: SequenceChanges, effects: Effects) -> None:
        """Takes down the effects of some changes."""
        self._active[group.sequences] = group.active.cpu()
        self._place[kind].append(torch.stack([group.sequences[changes.rows.cpu()], changes.index.cpu()], 1))
        self._effects[kind].append(effects)

    def result(self, subject: Subject, corpus: Corpus, config: AblationConfig, remarks: list[str]) -> MetricResult:
        """Means over sequences, the distribution, and a row for each latent.

        Args:
            subject: The model and SAE.
            corpus: The sequences.
            config: How they were ablated.
            remarks: What to note besides.
        """
        ablated = {kind: _Ablated.joined(self._place[kind], effects) for kind, effects in self._effects.items()}
        estimates, notes = self._estimates(ablated, corpus), [*self._notes(config), *remarks]
        above = estimates["effect_over_noise"].value
        if above is not None and above < _ABOVE_NOISE:
            reason = (
                f"effects are only {above:.2g} times as long as those of rounding, expected {_ABOVE_NOISE} times: load the model in float32"
            )
            return MetricResult({name: each if name in _LENGTHS else _gone(each, reason) for name, each in estimates.items()}, notes=notes)
        shown = ablated[""].effects.sparsity[ablated[""].has_effect]
        edges, counts = histogram(shown, low=0.0, high=1.0, bins=_BINS)
        return MetricResult(
            estimates,
            tables={"latents": ablated[""].rows()},
            histograms={"distribution": Histogram(edges, counts)},
            effects=ablated[""].most_changed(TokenText(subject.language.tokenizer)),
            notes=notes,
        )

    def _estimates(self, ablated: dict[str, "_Ablated"], corpus: Corpus) -> dict[str, Estimate]:
        sums = SequenceSums(corpus)
        means = {kind: records.means(len(corpus)) for kind, records in ablated.items()}
        latents = means[""]
        estimates = {
            "sparsity": _mean(sums, latents, "sparsity"),
            "sparsity_weighted": _or_absent(sums.estimate(latents["weighted"], latents["norm_sum"])),
            "tokens_affected": _mean(sums, latents, "tokens_affected"),
            "effect": _mean(sums, latents, "norm"),
        }
        for kind in ("channels_", "channels_lasting_", "random_"):
            for name in ("sparsity", "tokens_affected", "effect"):
                estimates[f"{kind}{name}"] = _mean(sums, means[kind], "norm" if name == "effect" else name)
            both = (latents["there"] * means[kind]["there"]).double()
            difference = both * (latents["sparsity"] - means[kind]["sparsity"])
            estimates[f"sparsity_minus_{kind[:-1]}"] = _or_absent(sums.estimate(difference, both))
        positions = (self._active >= 0).double()
        return estimates | {
            "noise_floor": _mean(sums, means[NOISE], "norm"),
            "effect_over_noise": self._above_noise(sums, latents, means[NOISE]),
            "gaussian": Estimate(DENSE_EFFECT, None, 0, "sequences", "2/π, where all logits change independently: a constant"),
            "no_effect": _or_absent(sums.estimate(latents["without"], latents["ablated"])),
            "inactive": sums.estimate((self._active == 0).double(), positions),
        }

    @staticmethod
    def _above_noise(sums: SequenceSums, latents: dict[str, Tensor], noise: dict[str, Tensor]) -> Estimate:
        both = (latents["there"] * noise["there"]).double()
        estimate = sums.estimate(both * latents["norm"], both * noise["norm"])
        return estimate if estimate.value is not None else Estimate.absent("no change as small as rounding changes a logit", of=estimate.of)

    def _notes(self, config: AblationConfig) -> list[str]:
        counted = self._active >= 0
        notes = [f"effects of {int(counted.sum())} positions, on {config.tokens} tokens each; reference: the {config.reference}"]
        notes += [f"{name}: {what}" for name, what in _KINDS.items() if name]
        if config.latents is not None and bool((self._active > config.latents).any()):
            more = int((self._active > config.latents).sum())
            notes.append(f"at {more} positions more than {config.latents} latents were active: a random sample of them was ablated")
        if not bool(counted.all()):
            notes.append(f"{int((~counted).sum())} positions hold a special token, and were left out")
        return notes


def _mean(sums: SequenceSums, means: dict[str, Tensor], name: str) -> Estimate:
    """The mean over the sequences that have one."""
    return _or_absent(sums.estimate(means[name], means["there"].double()))


def _gone(estimate: Estimate, reason: str) -> Estimate:
    return Estimate.absent(reason, of=estimate.of)


def _or_absent(estimate: Estimate) -> Estimate:
    return estimate if estimate.value is not None else Estimate.absent(_NOTHING, of=estimate.of)


@dataclass(frozen=True)
class _Ablated:
    """All ablations of a kind."""

    sequence: Int[Tensor, "n"]
    index: Int[Tensor, "n"]
    effects: Effects

    @classmethod
    def joined(cls, place: list[Tensor], effects: list[Effects]) -> "_Ablated":
        """From its parts, of which there may be none."""
        sequence, index = torch.cat([torch.zeros(0, 2, dtype=torch.long), *place]).unbind(1)
        return cls(sequence, index, joined(effects))

    @property
    def has_effect(self) -> Tensor:
        """Which ablations changed any logit."""
        return self.effects.sparsity > 0

    def means(self, sequences: int) -> dict[str, Float[Tensor, "sequences"]]:
        """Per sequence: means over its ablations that have an effect, and the sums that weighted means are made of."""
        effect, has = self.effects, self.has_effect

        def total(values: Tensor) -> Float[Tensor, "sequences"]:
            return torch.zeros(sequences, dtype=torch.float64).index_add_(0, self.sequence, values.double())

        count = total(has)
        each = {name: total(has * getattr(effect, name)) / count.clamp_min(1) for name in ("sparsity", "norm", "tokens_affected")}
        sums = {"weighted": total(effect.norm * effect.sparsity), "norm_sum": total(has * effect.norm)}
        return {**each, **sums, "there": count > 0, "without": total(~has), "ablated": total(torch.ones_like(effect.norm))}

    def rows(self) -> list[Row]:
        """A row for each latent that was ablated, in the order of their numbers."""
        effect, has = self.effects, self.has_effect
        latents, which, count = self.index[has].unique(return_inverse=True, return_counts=True)
        columns = {
            name: torch.zeros(len(latents), dtype=torch.float64).index_add_(0, which, getattr(effect, name)[has].double()) / count
            for name in ("sparsity", "norm", "tokens_affected")
        }
        return [
            {
                "latent": latent,
                "ablations": int(count[i]),
                "sparsity": float(columns["sparsity"][i]),
                "effect": float(columns["norm"][i]),
                "tokens_affected": float(columns["tokens_affected"][i]),
            }
            for i, latent in enumerate(latents.tolist())
        ]

    def most_changed(self, text: TokenText) -> list[LatentEffects]:
        """Of each latent that was ablated, the tokens that its strongest ablation changes most, in the order of the latents' numbers."""
        effect, has = self.effects, self.has_effect
        latents, which = self.index[has].unique(return_inverse=True)
        # the last one after sorting by strength
        order = effect.norm[has].argsort()
        strongest = torch.zeros(len(latents), dtype=torch.long)
        strongest[which[order]] = order
        raised, lowered = (_changes(text, effect.tokens[has][strongest, i], effect.by[has][strongest, i]) for i in (0, 1))
        return [LatentEffects(*of_latent) for of_latent in zip(latents.tolist(), raised, lowered, strict=True)]


def _changes(text: TokenText, tokens: Int[Tensor, "n shown"], by: Float[Tensor, "n shown"]) -> list[list[TokenChange]]:
    """Tokens, and by how much their logits change."""
    known = tokens.unique().tolist()
    words = dict(zip(known, text.write([[token] for token in known]), strict=True))
    rows = zip(tokens.tolist(), by.tolist(), strict=True)
    return [[TokenChange(token, words[token], float(f"{value:.{_DIGITS}g}")) for token, value in zip(*row, strict=True)] for row in rows]
