"""What is done to some sequences that are ablated at one position: what latents add is taken away, and what that is compared with."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_lens_metrics.metrics.ablation.effects import Changed
from sae_lens_metrics.metrics.ablation.spec import AblationConfig
from sae_lens_metrics.subject.backends import Onwards
from sae_lens_metrics.subject.changes import Changes
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.corpus import Corpus

__all__ = ["NOISE", "SequenceChanges", "SequenceGroup"]

NOISE = "noise"
"""The kind of changes that are as small as rounding, which are no baseline."""


@dataclass(frozen=True)
class SequenceChanges:
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

    def changes(self, generators: list[torch.Generator]) -> dict[str, SequenceChanges]:
        """What to do, by the prefix of its results' names; each sequence has a generator of its own."""
        channels = self._channels(generators)
        shape = (self._config.baselines, self._subject.d_out)
        directions = torch.stack([torch.randn(shape, generator=generator) for generator in generators])
        latents = self._latents(generators)
        return {"": latents, **channels, "random_": self._random(directions, latents), NOISE: self._noise(generators)}

    def _noise(self, generators: list[torch.Generator]) -> SequenceChanges:
        """Changes of every channel by half of what its last digit is worth, up or down at random, and the same with their signs turned."""
        signs = torch.stack([torch.randint(2, (self._subject.d_out,), generator=generator) for generator in generators]) * 2 - 1
        signs = torch.stack([signs, -signs], 1).to(self._x.device).flatten(0, 1)
        rows = torch.arange(len(self._x), device=self._x.device).repeat_interleave(2)

        def changed(part: slice) -> Float[Tensor, "m 1 d_out"]:
            base = self._base[rows[part], 0]
            return (base + self._rounding * base.abs() * signs[part])[:, None]

        return SequenceChanges(rows, torch.arange(len(rows), device=rows.device), changed)

    def _channels(self, generators: list[torch.Generator]) -> dict[str, SequenceChanges]:
        each = [torch.randperm(self._subject.d_out, generator=generator)[: self._config.baselines] for generator in generators]
        rows, index = self._in_one(each)

        def zeroed(length: int) -> SequenceChanges:
            def changed(part: slice) -> Float[Tensor, "m c d_out"]:
                activation = self._base[rows[part], :length]
                return activation.scatter(2, index[part, None, None].expand(-1, length, 1), 0.0)

            return SequenceChanges(rows, index, changed)

        return {"channels_": zeroed(1), "channels_lasting_": zeroed(self._config.tokens)}

    def _latents(self, generators: list[torch.Generator]) -> SequenceChanges:
        """All active latents, or a random sample of those of each sequence."""
        active = self._z.nonzero()[:, 1].cpu().split(self.active.tolist())  # not sequence by sequence, as each time a device is waited for
        each = [
            latents[torch.randperm(len(latents), generator=generator)[: self._config.latents]]
            for latents, generator in zip(active, generators, strict=True)
        ]
        rows, index = self._in_one(each)

        def changed(part: slice) -> Float[Tensor, "m 1 d_out"]:
            return (self._base[rows[part], 0] - self._added(rows[part], index[part]))[:, None]

        return SequenceChanges(rows, index, changed)

    def _random(self, directions: Float[Tensor, "n baselines d_out"], latents: SequenceChanges) -> SequenceChanges:
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

        return SequenceChanges(rows, like, changed)

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
