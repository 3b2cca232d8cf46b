"""The best 1d probe of one task among an SAE's latents, and among what they are compared with, in bounded memory."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.functional.best_probe import BestProbe, best_probes, held_out_influences, held_out_scores
from sae_lens_metrics.functional.dense_probe import fit_dense_probe
from sae_lens_metrics.functional.probing import label_entropy
from sae_lens_metrics.functional.random_directions import RandomDirections
from sae_lens_metrics.functional.splitting import fit_half, fold_numbers, shuffled_within
from sae_lens_metrics.metrics.probe.tasks import ProbeTask
from sae_lens_metrics.metrics.probe.text_activations import BLOCK, Batch, Dictionary, TextActivations
from sae_lens_metrics.results import Row
from sae_lens_metrics.subject.subject import Subject

__all__ = ["CANDIDATES", "Dictionaries", "Memory", "Probed", "Split", "probe_activations"]

CANDIDATES = {
    "latents": "the SAE's latents",
    "channels": "the channels of the activation, as the SAE normalises it",
    "random": "as many random unit directions of the same as there are latents",
    "shuffled": "the SAE's latents, with shuffled labels",
}
"""What probes are fitted on, and what it is."""

_ENOUGH = 2**25
"""Values in a chunk of candidates (an eighth of a gigabyte) beyond which a larger chunk is no faster."""
_FITTING = 7
"""Copies of a chunk that there are while probes are fitted on it: itself, and six buffers."""


@dataclass(frozen=True)
class Memory:
    """What the metric may hold at once, beyond the model, the SAE and the texts, and what becomes of it."""

    gib: float
    """All of it, in GiB."""

    def share(self, of: float) -> int:
        """A share of it, in bytes."""
        return int(self.gib * 2**30 * of)

    @property
    def activations(self) -> int:
        """Bytes for the activations of all tokens of a task's half, where they are needed."""
        return self.share(1 / 4)

    @property
    def directions(self) -> int:
        """Bytes for random directions that are not drawn again for each task."""
        return self.share(1 / 8)

    @property
    def encoding(self) -> int:
        """Bytes for all latents of some tokens, for SAEs that encode everything or nothing."""
        return self.share(1 / 8)

    def columns(self, fit: TextActivations, test: TextActivations, d_in: int) -> int:
        """How many candidates can be searched at once.

        Raises:
            ConfigError: If there is no memory for any.
        """
        left = self.share(1) - self.directions - self.encoding - fit.nbytes - test.nbytes
        # beside a chunk and its fits there are values on single tokens, and directions of at most so many candidates
        each = 4 * (_FITTING * fit.n + 2 * max(fit.rows, test.rows) + 2 * d_in)
        if left < each:
            needed = (fit.nbytes + test.nbytes + 32 * each) / 2**30 / (3 / 4)
            raise ConfigError(
                f"memory_gb is {self.gib:g}, too little to probe {fit.n + test.n} texts of {d_in} channels: "
                f"raise it to {needed:.3f} or more, or lower probe.examples"
            )
        wanted = left // each if not fit.kept else min(left // each, max(1, _ENOUGH // fit.n))
        return wanted - wanted % BLOCK if wanted > BLOCK else wanted


class Dictionaries(NamedTuple):
    """What probes can read."""

    latents: Dictionary
    """Latents before their activation function."""
    channels: Dictionary
    """Channels of the activation, normalised where the SAE normalises it."""
    random: Dictionary
    """Random unit directions of the same, as many as latents."""

    @classmethod
    def of(cls, subject: Subject, seed: int, memory: Memory) -> "Dictionaries":
        """Those of an SAE; the random directions are the same for every task, and the first of them for every SAE."""

        def affine(batch: Batch, latents: slice) -> Tensor:
            return subject.dictionary.pre_activations_given(batch.sae_input, latents)

        def whole(batch: Batch, latents: slice) -> Tensor:
            # an encoder makes about four tensors of all latents
            return subject.dictionary.pre_activations(batch.sae_input, latents, at_once=max(1, memory.encoding // (16 * subject.d_sae)))

        has_affine = subject.dictionary.capabilities.affine_encoder is not None
        latents = Dictionary(subject.d_sae, affine if has_affine else whole, whole=not has_affine)
        directions = RandomDirections(subject.d_in, seed, subject.device, memory.directions)
        return cls.beside(latents, directions, subject.d_in)

    @classmethod
    def beside(cls, latents: Dictionary, directions: RandomDirections, d_in: int) -> "Dictionaries":
        """Those of any latents."""
        return cls(
            latents,
            channels=Dictionary(d_in, lambda batch, wanted: batch.x[..., wanted]),
            random=Dictionary(latents.count, lambda batch, wanted: batch.x @ directions.columns(wanted)),
        )


@dataclass(frozen=True)
class Split:
    """A task's examples, split into halves to fit on and to test on; the labels are in the order of the halves' texts."""

    fit: Bool[Tensor, "n"]
    """True for the examples to fit on."""
    y: tuple[Bool[Tensor, "fit"], Bool[Tensor, "test"]]
    """The labels of the two halves."""
    shuffled: tuple[Bool[Tensor, "fit"], Bool[Tensor, "test"]]
    """The same in random order."""
    folds: Int[Tensor, "fit"]
    """Folds of the half to fit on."""
    units: tuple[Int[Tensor, "fit"], Int[Tensor, "test"]]
    """Of each example of the halves the number of what is held out together with it, or of itself."""

    @classmethod
    def of(cls, task: ProbeTask, generator: torch.Generator) -> "Split":
        """Splits a task: half of each class to fit on, or half of the groups where texts belong together.

        Raises:
            ProbeInputError: If both halves cannot have examples of both classes.
        """
        y = torch.tensor(task.labels)
        fit = fit_half(y, task.groups, generator)
        shuffled = shuffled_within(y, fit, task.groups, generator)
        groups = None if task.groups is None else torch.tensor(task.groups)[fit].tolist()
        folds = fold_numbers(y[fit], groups, generator)
        units = torch.arange(len(y)) if task.groups is None else torch.tensor(task.groups).unique(return_inverse=True)[1]
        return cls(fit, (y[fit], y[~fit]), (shuffled[fit], shuffled[~fit]), folds, (units[fit], units[~fit]))

    def halves(self, texts: list[list[int]]) -> tuple[list[list[int]], list[list[int]]]:
        """Splits what there is one of for each example."""
        inside = self.fit.tolist()
        return [t for t, i in zip(texts, inside, strict=True) if i], [t for t, i in zip(texts, inside, strict=True) if not i]

    def whole(self, *, fit: Float[Tensor, "fit"] | None = None, test: Float[Tensor, "test"] | None = None) -> Float[Tensor, "n"]:
        """A number for each example from those of a half, 0 for the other half's."""
        values = torch.zeros(len(self.fit), dtype=torch.float64)
        for half, given in ((self.fit, fit), (~self.fit, test)):
            if given is not None:
                values[half] = given.cpu().double()
        return values


@dataclass(frozen=True)
class Probed:
    """What was found of one task."""

    row: Row
    """Its row of the table of tasks."""
    influences: dict[str, Float[Tensor, "n"]]
    """How far each of the task's texts moves each of its scores, by the names that these have in the row."""

    def named(self, prefix: str) -> "Probed":
        """The same with something in front of all names."""
        row: Row = {f"{prefix}{key}": value for key, value in self.row.items()}
        return Probed(row, {f"{prefix}{key}": each for key, each in self.influences.items()})

    def __or__(self, other: "Probed") -> "Probed":
        return Probed(self.row | other.row, self.influences | other.influences)


def probe_activations(split: Split, fit: TextActivations, test: TextActivations, dictionaries: Dictionaries, at_once: int) -> Probed:
    """Fits all candidates on one half, chooses the best of each kind there, and tests it on the other half.

    Args:
        split: The labels.
        fit: Activations of the texts to fit on.
        test: Activations of the texts to test on.
        dictionaries: The candidates.
        at_once: Candidates in memory at once.

    Returns:
        Numbers of examples, the entropy of the labels fitted on in nats, of each kind of candidates the best one's index, loss, and
        held-out loss, accuracy and AUC, and the latter three of the probe on all channels; and how far each text moves these scores.

    Raises:
        ProbeInputError: If a value is not finite.
    """
    found: dict[str, Probed] = {}
    for name, of in zip(("latents", "channels", "random"), dictionaries, strict=True):
        asked = {name: split.y} | ({"shuffled": split.shuffled} if name == "latents" else {})  # they share the latents' values
        labels = [y[0] for y in asked.values()]
        best = best_probes(lambda wanted, of=of: fit.columns(of, wanted), of.count, labels, at_once=at_once)
        found |= {kind: _tested(each, test, of, split, asked[kind]) for kind, each in zip(asked, best, strict=True)}
    row: Row = {"fitted_on": fit.n, "tested_on": test.n, "entropy": float(label_entropy(split.y[0]))}
    own = found["latents"]
    whole = Probed(row | {"latent" if key == "index" else key: value for key, value in own.row.items()}, own.influences)
    for kind in CANDIDATES:
        whole |= Probed({}, {}) if kind == "latents" else found[kind].named(f"{kind}_")
    return whole | _dense(split, fit, test, dictionaries.channels, at_once).named("dense_")


def _tested(best: BestProbe, test: TextActivations, candidates: Dictionary, split: Split, y: tuple[Tensor, Tensor]) -> Probed:
    z = test.columns(candidates, slice(best.index, best.index + 1))[:, 0]
    fitted = Probed({"loss": best.loss}, {"loss": split.whole(fit=best.influence(y[0], split.units[0]))})
    return fitted | _held_out(best.log_odds(z), split, y[1]) | Probed({"index": best.index}, {})


def _dense(split: Split, fit: TextActivations, test: TextActivations, channels: Dictionary, at_once: int) -> Probed:
    """The probe on all channels at once, which is the ceiling of what one latent can know."""

    def every(half: TextActivations) -> Float[Tensor, "n d_in"]:
        chunks = range(0, channels.count, at_once)
        return torch.cat([half.columns(channels, slice(start, min(start + at_once, channels.count))) for start in chunks], 1)

    probe = fit_dense_probe(every(fit), split.y[0], split.folds)
    return _held_out(probe.log_odds(every(test)), split, split.y[1]) | Probed({"penalty": probe.penalty}, {})


def _held_out(log_odds: Float[Tensor, "test"], split: Split, y: Bool[Tensor, "test"]) -> Probed:
    fitted_on = len(split.y[0])
    scores, influences = held_out_scores(log_odds, y, fitted_on), held_out_influences(log_odds, y, fitted_on, split.units[1])
    whole = {key: split.whole(test=each) for key, each in influences._asdict().items()}
    return Probed(scores._asdict(), whole).named("held_out_")
