"""Where an SAE's latents fire on a text, held as sparse as they are and never more of it than fits."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_lens_metrics.functional.nonzeros import nonzeros
from sae_lens_metrics.functional.rule_learning import Firings
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.corpus import Corpus

__all__ = ["LatentFirings", "firings"]

KEPT = 40
"""Bytes of a firing that is kept, and of the order that it is put into."""


class LatentFirings(NamedTuple):
    """Where some consecutive latents fire."""

    first: int
    """The first of the latents."""
    latents: int
    """How many."""
    firings: Firings
    """Of all of them, counted from the first one on."""


def firings(
    subject: Subject, text: Corpus, batch_size: int | None, *, memory: float, at_once: int, latents: range | None = None
) -> Iterator[LatentFirings]:
    """Where latents fire, those of some after those of others, in order.

    Where all do not fit, the model runs on the text once more for those that were left out.

    Args:
        subject: The model and SAE.
        text: The text; places are counted over its positions that count.
        batch_size: Sequences at once at most.
        memory: Bytes to hold firings in.
        at_once: About how many firings are given at once; those of a latent are never parted.
        latents: Which latents, consecutive ones; all of the SAE's by default.
    """
    latents = range(subject.d_sae) if latents is None else latents
    first = latents.start
    while first < latents.stop:
        kept = _Kept(first, latents.stop, max(1, int(memory / KEPT)))
        before = 0
        for batch in text.activations(subject, batch_size, progress="rules: where latents fire"):
            for rows, z in batch.latents():
                for place, latent in nonzeros(z[:, kept.first : kept.stop] != 0):
                    latent = latent + kept.first
                    kept.add(latent, place + before + rows.start, z[place, latent])
            before += len(batch.x)
        yield from kept.parts(at_once)
        first = kept.stop


class _Kept:
    """The firings of as many latents as fit."""

    def __init__(self, first: int, stop: int, most: int) -> None:
        self.first, self.stop = first, stop
        self._most = most
        self._held = 0
        self._parts: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, latent: Int[Tensor, "n"], place: Int[Tensor, "n"], value: Float[Tensor, "n"]) -> None:
        """Adds firings, and lets those of the last latents go where they are too many."""
        within = latent < self.stop
        self._parts.append((latent[within].int(), place[within].int(), value[within].float()))
        self._held += int(within.sum())
        while self._held > self._most and self.stop > self.first + 1:
            self._shrink()

    def _shrink(self) -> None:
        latent = torch.cat([part[0] for part in self._parts])
        middle = int(latent.median())
        self.stop = max(self.first + 1, min(middle, self.stop - 1))
        self._parts = [tuple(column[part[0] < self.stop] for column in part) for part in self._parts]  # type: ignore[misc]
        self._held = sum(len(part[0]) for part in self._parts)

    def parts(self, at_once: int) -> Iterator[LatentFirings]:
        """What was kept, in order."""
        if self._parts:
            latent, place, value = (torch.cat(column) for column in zip(*self._parts, strict=True))
            self._parts = []
            order = place.argsort(stable=True)
            order = order[latent[order].argsort(stable=True)]
            latent, place, value = latent[order], place[order], value[order]
        else:
            latent, place, value = torch.zeros(0).int(), torch.zeros(0).int(), torch.zeros(0)
        count = torch.bincount(latent - self.first, minlength=self.stop - self.first).cpu()
        ends = count.cumsum(0)
        start = 0
        while start < len(count):
            done = int(ends[start - 1]) if start else 0
            stop = max(start + 1, int(torch.searchsorted(ends, torch.tensor(done + at_once), right=True)))
            some = slice(done, int(ends[stop - 1]))
            own = Firings(latent[some].long() - self.first - start, place[some].long(), value[some])
            yield LatentFirings(self.first + start, stop - start, own)
            start = stop
