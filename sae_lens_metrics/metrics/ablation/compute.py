"""Sparsity of ablation effects: how few logits does a latent touch (Gao et al. 2024, section 4.5)?"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_lens_metrics.errors import ConfigError, SubjectError
from sae_lens_metrics.functional.effect_sparsity import DENSE_EFFECT
from sae_lens_metrics.functional.statistics import histogram
from sae_lens_metrics.integrations.progress import progress
from sae_lens_metrics.metrics.ablation.effects import Ablations, Changed, Effects, joined
from sae_lens_metrics.metrics.ablation.spec import AblationConfig
from sae_lens_metrics.metrics.context import MetricContext
from sae_lens_metrics.metrics.sums import SequenceSums
from sae_lens_metrics.results import Estimate, Histogram, LatentEffects, MetricResult, Row, TokenChange
from sae_lens_metrics.subject.backends import Onwards
from sae_lens_metrics.subject.changes import Changes
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.batches import check_vocabulary
from sae_lens_metrics.text.corpus import Corpus
from sae_lens_metrics.text.token_text import TokenText

__all__ = ["SequenceGroup", "ablation", "positions_to_ablate"]

_KINDS = {
    "": "what a latent adds is subtracted",
    "channels_": "a channel of the activation is zeroed at the position",
    "channels_lasting_": "a channel of the activation is zeroed at the position and all of the tokens that follow",
    "random_": "a random direction is subtracted, as long as what a latent adds",
}
_NOISE = "noise"
"""The kind of changes that are as small as rounding, which are no baseline."""
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


def ablation(context: MetricContext) -> MetricResult:
    """Subtracts what active latents add at one position of each sequence, and asks how many logits change from there on.

    An effect is the vector of V·T differences of logits, ablated minus not ablated, over the vocabulary and T tokens from the position
    on, from each token's the median subtracted; its sparsity is (L1 / L2)² / (V·T), from 1 / (V·T) to 1. The SAE's error term stays in
    place, or, with ``reference="reconstruction"``, its reconstruction stands in the place of the activation before anything is ablated.

    - ``sparsity``: mean over sequences of the mean over active latents, the paper's number; lower is sparser.
      ``sparsity_weighted`` weights latents by the size of their effect.
    - ``channels_sparsity``: the same for residual channels that are zeroed at the position; ``channels_lasting_sparsity``: at all T
      tokens, as a channel, unlike a latent, is active everywhere. The 60 % that the paper reports for channels can only come from the
      latter: what is changed at one token reaches others but weakly. ``random_sparsity``: for random directions at the position, as
      long as what ablated latents add. ``gaussian`` is 2/π, where all logits change independently.
    - ``sparsity_minus_channels``, ``sparsity_minus_random`` and so on: paired differences over sequences, below 0 where latents are
      sparser.
    - ``tokens_affected`` (and with the prefixes of the baselines): the fraction of the T tokens that are touched, (Σ_t |d_t|)² /
      (T Σ_t |d_t|²), from 1/T to 1; ``effect``: the L2 norm of an effect, in logits.
    - ``noise_floor``: the length of the effect of a change as small as rounding, in logits: what the model's arithmetic alone does.
      ``effect_over_noise``: how many times as long the effects of latents are. Where that is below 10, sparsities say more about
      rounding than about latents, and are absent. The layers after the hook are run in float32, whatever the model's type is; only where
      that is impossible (quantised weights, or weights that are not in memory) does its own arithmetic count.
    - ``no_effect``: the share of ablations that change no logit, which have no sparsity; ``inactive``: of positions with no active latent.
    - the histogram ``distribution``: the sparsities of all ablations. The table ``latents``: means of each latent that was ablated.
      ``effects``: the tokens that its strongest ablation raises and lowers most, summed over T tokens.

    The standard errors are over documents, where they are known, or sequences.

    Args:
        context: The run: subject, text and settings; the generator draws what is random.

    Raises:
        ConfigError: If no position that counts has T tokens left in the context.
    """
    subject, corpus, config, generator = context.subject, context.corpus, context.config, context.generator
    part = corpus.spread(config.ablation.sequences)
    check_vocabulary(part.tokens, subject)
    columns = positions_to_ablate(subject, part, config.ablation, generator)
    # a seed for each sequence, so that what is drawn for one depends neither on the SAE's latents in another nor on the batch size
    seeds = torch.randint(2**62, (len(part),), generator=generator).tolist()
    changes, memory, remarks = _precise(subject, config.memory_gb * 2**30)
    records = _Records(subject, part)
    with (
        progress("ablation", unit="sequence", total=len(part)) as bar,
        Ablations(subject, changes, memory) as effects_of,
    ):
        for sequences, column in _groups(columns, config.batch_size):
            group = SequenceGroup(subject, changes, part, sequences, column, config.ablation)
            for kind, made in group.changes([torch.Generator().manual_seed(seeds[i]) for i in sequences.tolist()]).items():
                shown = config.ablation.shown if kind == "" else 0
                records.add(kind, group, made, effects_of(group.onwards, made.rows, made.changed, shown=shown))
            bar.update(len(sequences))
    return records.result(config.ablation, remarks)


def _precise(subject: Subject, memory: float) -> tuple[Changes, float, list[str]]:
    """Runs of the layers after the hook, in float32 where that is possible, the memory left for them; and a remark where it is not."""
    own = subject.site.changes
    try:
        wide = own.in_float32(memory / 2)
    except SubjectError as error:
        return own, memory, [f"{error}: small effects are rounded away, see noise_floor"]
    return wide, memory if wide is own else memory / 2, []


def positions_to_ablate(subject: Subject, corpus: Corpus, config: AblationConfig, generator: torch.Generator) -> Int[Tensor, "sequences"]:
    """The position to ablate in each sequence, -1 where it holds a special token: a few positions over the whole context, in turn.

    Args:
        subject: Whose special tokens and positions count.
        corpus: The sequences.
        config: How many positions, and how many tokens must be left from each on.
        generator: Draws the positions.

    Raises:
        ConfigError: If no position that counts has so many tokens left.
    """
    context = corpus.tokens.shape[1]
    valid = subject.site.valid(corpus.tokens).cpu()
    possible = valid[:, : max(0, context - config.tokens + 1)].any(0).nonzero()[:, 0]
    if not len(possible):
        raise ConfigError(
            f"ablation.tokens is {config.tokens}: no position in sequences of {context} tokens has as many left, expected fewer"
        )
    n = min(config.positions, len(possible), len(corpus))
    # one at random from each of n equal parts of the context
    edges = torch.linspace(0, len(possible), n + 1).round().long()
    within = (torch.rand(n, generator=generator) * edges.diff()).long()
    columns = possible[edges[:-1] + within][torch.arange(len(corpus)) % n]
    return columns.where(valid[torch.arange(len(corpus)), columns], -1)


def _groups(columns: Int[Tensor, "sequences"], size: int) -> Iterator[tuple[Int[Tensor, "n"], int]]:
    """Sequences that are ablated at the same position, so many at once."""
    for column in columns.unique().tolist():
        if column >= 0:
            for sequences in (columns == column).nonzero()[:, 0].split(size):
                yield sequences, column


@dataclass(frozen=True)
class _Changes:
    """What is done to some sequences of a group, one change a run."""

    rows: Int[Tensor, "n"]
    """The sequence within the group."""
    index: Int[Tensor, "n"]
    """The latent or channel."""
    changed: Changed


class SequenceGroup:
    """Sequences that are ablated at the same position."""

    def __init__(
        self, subject: Subject, changes: Changes, corpus: Corpus, sequences: Int[Tensor, "n"], column: int, config: AblationConfig
    ) -> None:
        self._subject, self._config = subject, config
        self._rounding = max(torch.finfo(kind).eps for kind in (changes.dtype, torch.float32)) / 2
        self.sequences = sequences
        prefix = subject.site.prefix(corpus.tokens[sequences, : column + config.tokens])
        x, y = subject.site.activations(prefix), subject.site.targets(prefix)
        self._x, self._z = x[:, column], subject.dictionary.encode(x[:, column])
        reference = None if config.reference == "activation" else _reconstructed(subject, prefix.tokens, x, y)
        self._base = (y if reference is None else reference)[:, column:]
        self.onwards: Onwards = changes.onwards(prefix, column, reference)
        self.active = (self._z != 0).sum(1)

    def changes(self, generators: list[torch.Generator]) -> dict[str, _Changes]:
        """What to do, by the prefix of its results' names; each sequence has a generator of its own."""
        channels = self._channels(generators)
        shape = (self._config.baselines, self._subject.d_out)
        directions = torch.stack([torch.randn(shape, generator=generator) for generator in generators])
        latents = self._latents(generators)
        return {"": latents, **channels, "random_": self._random(directions, latents), _NOISE: self._noise(generators)}

    def _noise(self, generators: list[torch.Generator]) -> _Changes:
        """Changes of every channel by half of what its last digit is worth, up or down at random, and the same with their signs turned."""
        signs = torch.stack([torch.randint(2, (self._subject.d_out,), generator=generator) for generator in generators]) * 2 - 1
        signs = torch.stack([signs, -signs], 1).to(self._x.device).flatten(0, 1)
        rows = torch.arange(len(self._x), device=self._x.device).repeat_interleave(2)

        def changed(part: slice) -> Float[Tensor, "m 1 d_out"]:
            base = self._base[rows[part], 0]
            return (base + self._rounding * base.abs() * signs[part])[:, None]

        return _Changes(rows, torch.arange(len(rows), device=rows.device), changed)

    def _channels(self, generators: list[torch.Generator]) -> dict[str, _Changes]:
        each = [torch.randperm(self._subject.d_out, generator=generator)[: self._config.baselines] for generator in generators]
        rows, index = self._in_one(each)

        def zeroed(length: int) -> _Changes:
            def changed(part: slice) -> Float[Tensor, "m c d_out"]:
                activation = self._base[rows[part], :length]
                return activation.scatter(2, index[part, None, None].expand(-1, length, 1), 0.0)

            return _Changes(rows, index, changed)

        return {"channels_": zeroed(1), "channels_lasting_": zeroed(self._config.tokens)}

    def _latents(self, generators: list[torch.Generator]) -> _Changes:
        """All active latents, or a random sample of those of each sequence."""
        active = [latents.nonzero()[:, 0].cpu() for latents in self._z]
        each = [
            latents[torch.randperm(len(latents), generator=generator)[: self._config.latents]]
            for latents, generator in zip(active, generators, strict=True)
        ]
        rows, index = self._in_one(each)

        def changed(part: slice) -> Float[Tensor, "m 1 d_out"]:
            return (self._base[rows[part], 0] - self._added(rows[part], index[part]))[:, None]

        return _Changes(rows, index, changed)

    def _random(self, directions: Float[Tensor, "n baselines d_out"], latents: _Changes) -> _Changes:
        """Directions with the norms of what the sequence's ablated latents add, taken in turn."""
        rows, number = latents.rows, len(self._x)
        counts = torch.bincount(rows, minlength=number)
        first = counts.cumsum(0) - counts
        turn = torch.arange(directions.shape[1], device=rows.device)
        own = (counts > 0).nonzero()[:, 0]
        like = (first[own, None] + turn % counts[own, None]).flatten()
        directions = (directions / directions.norm(dim=-1, keepdim=True)).to(self._x.device)[own].flatten(0, 1)
        rows = own.repeat_interleave(len(turn))

        def changed(part: slice) -> Float[Tensor, "m 1 d_out"]:
            norms = self._added(latents.rows[like[part]], latents.index[like[part]]).norm(dim=1, keepdim=True)
            return (self._base[rows[part], 0] - norms * directions[part])[:, None]

        return _Changes(rows, like, changed)

    def _in_one(self, each: list[Int[Tensor, "of_one"]]) -> tuple[Int[Tensor, "n"], Int[Tensor, "n"]]:
        """Which sequence, and what of it, from what was chosen for each."""
        counts = torch.tensor([len(chosen) for chosen in each])
        rows = torch.arange(len(each)).repeat_interleave(counts)
        return rows.to(self._x.device), torch.cat(each).to(self._x.device)

    def _added(self, rows: Int[Tensor, "m"], latents: Int[Tensor, "m"]) -> Float[Tensor, "m d_out"]:
        """What latents add to the activation."""
        return self._z[rows, latents, None] * self._subject.dictionary.latent_directions(self._x[rows], latents[:, None])[:, 0]


def _reconstructed(
    subject: Subject, tokens: Int[Tensor, "n pos"], x: Float[Tensor, "n pos d_in"], y: Float[Tensor, "n pos d_out"]
) -> Float[Tensor, "n pos d_out"]:
    """The SAE's reconstruction at the positions that count, the activation elsewhere."""
    valid = subject.site.valid(tokens)
    parts = x[valid].split(subject.dictionary.chunk)
    y = y.clone()
    y[valid] = torch.cat([subject.dictionary.decode(subject.dictionary.encode(part), part) for part in parts])
    return y


class _Records:
    """What each ablation did, and what that says."""

    def __init__(self, subject: Subject, corpus: Corpus) -> None:
        self._subject, self._corpus = subject, corpus
        self._place: dict[str, list[Tensor]] = {kind: [] for kind in (*_KINDS, _NOISE)}
        self._effects: dict[str, list[Effects]] = {kind: [] for kind in (*_KINDS, _NOISE)}
        self._active = torch.full((len(corpus),), -1)

    def add(self, kind: str, group: SequenceGroup, changes: _Changes, effects: Effects) -> None:
        """Takes down the effects of some changes."""
        self._active[group.sequences] = group.active.cpu()
        self._place[kind].append(torch.stack([group.sequences[changes.rows.cpu()], changes.index.cpu()], 1))
        self._effects[kind].append(effects)

    def result(self, config: AblationConfig, remarks: list[str]) -> MetricResult:
        """Means over sequences, the distribution, and a row for each latent."""
        ablated = {kind: _Ablated.joined(self._place[kind], effects) for kind, effects in self._effects.items()}
        estimates, notes = self._estimates(ablated), [*self._notes(config), *remarks]
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
            effects=ablated[""].most_changed(TokenText(self._subject.language.tokenizer)),
            notes=notes,
        )

    def _estimates(self, ablated: dict[str, "_Ablated"]) -> dict[str, Estimate]:
        sums = SequenceSums(self._corpus)
        means = {kind: records.means(len(self._corpus)) for kind, records in ablated.items()}
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
            "noise_floor": _mean(sums, means[_NOISE], "norm"),
            "effect_over_noise": self._above_noise(sums, latents, means[_NOISE]),
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
            notes.append(f"{int((~counted).sum())} sequences hold a special token at their position, and were left out")
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
