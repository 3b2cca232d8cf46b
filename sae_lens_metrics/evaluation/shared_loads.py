"""What the SAEs of a sweep have in common: the model, the texts, and runs of the model up to a hook."""

import gc
from collections.abc import Callable, Sequence
from typing import Any

import torch

from sae_lens_metrics.errors import MetricsError
from sae_lens_metrics.evaluation.order import Job, Place
from sae_lens_metrics.loading.downloads import with_retries
from sae_lens_metrics.loading.models import ModelSpec, load_spec
from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.ranks import ALONE, Ranks
from sae_lens_metrics.subject.shared_prefixes import SharedPrefixes
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.corpus import Corpus
from sae_lens_metrics.text.parts import Part
from sae_lens_metrics.text.tokenization import Tokenization

__all__ = ["SharedLoads", "free_memory"]


class SharedLoads:
    """The model and the texts that the SAEs at hand have in common; what cannot be loaded is not tried again for each of them.

    Args:
        config: What to compute.
        jobs: The SAEs.
        part: Which rows of data sets may be drawn from; all by default.
        ranks: The processes that evaluate each SAE together, each of which loads all of it.
    """

    def __init__(self, config: MetricsConfig, jobs: Sequence[Job], part: Part | None = None, ranks: Ranks = ALONE) -> None:
        self.config, self.ranks, self._part = config, ranks, part
        places = [job.place for job in jobs]
        self._at_place = {place: places.count(place) for place in places}
        self._kept: dict[Any, Any] = {}
        self._model: tuple[ModelSpec, str | None] | None = None

    @classmethod
    def announced(cls, config: MetricsConfig, jobs: Sequence[Job], ranks: Ranks) -> "SharedLoads":
        """The same in this process, the first one, and in those that ``follow`` it.

        Args:
            config: What to compute.
            jobs: The SAEs.
            ranks: The processes.
        """
        ranks.of_first(lambda: (config, jobs))
        return cls(config, jobs, ranks=ranks)

    def subject(self, job: Job) -> Subject:
        """Loads an SAE onto its model."""
        place = job.place
        if place is None:
            self._forget()
            return job.subject(None)
        wanted = place.model, place.device
        if wanted != self._model:
            self._forget()  # before the next model is loaded: there may be no room for two
            self._model = wanted
        model = self._once(wanted, lambda: load_spec(*wanted))
        subject = job.subject(model)
        if self._at_place[place] > 1 or self.config.controls:  # which are at the same place too
            subject = subject.sharing(self._runs(place))
        return subject

    def corpus(self, subject: Subject, dataset: str) -> Corpus:
        """The text; every SAE of a model that is trained on sequences of the same form sees the same one."""
        config = self.config

        def draw() -> Corpus:
            return Corpus.from_dataset(dataset, subject, tokens=config.tokens, seed=config.seed, split=config.split, part=self._part)

        return self._once((Tokenization.of_subject(subject), dataset), lambda: with_retries(draw, f"the data set {dataset!r}"))

    def texts(self) -> dict[Any, Corpus]:
        """The texts that were drawn so far, by data set and form."""
        return {key: kept for key, kept in self._kept.items() if isinstance(kept, Corpus)}

    def reconfigure(self, config: MetricsConfig, part: Part | None = None) -> None:
        """Goes on with another configuration, such as another seed: the model stays, texts and runs on them go.

        Args:
            config: The configuration.
            part: Which rows of data sets may be drawn from; all by default.
        """
        self.config, self._part = config, part
        self._kept = {key: kept for key, kept in self._kept.items() if key == self._model}

    def _runs(self, place: Place) -> SharedPrefixes:
        if place not in self._kept:
            for other in [key for key, value in self._kept.items() if isinstance(value, SharedPrefixes)]:
                del self._kept[other]  # there is room for those of one hook
            self._kept[place] = SharedPrefixes(self.config.memory_gb * 2**30)
        return self._kept[place]

    def _once(self, key: Any, load: Callable[[], Any]) -> Any:
        if key not in self._kept:
            try:
                self._kept[key] = load()
            except MetricsError as error:
                self._kept[key] = type(error), str(error)  # not the error itself, which would keep all that it passed alive
        if isinstance(kept := self._kept[key], tuple):
            raise kept[0](kept[1])
        return kept

    def _forget(self) -> None:
        self._kept.clear()
        self._model = None
        free_memory()


def free_memory() -> None:
    """Gives back what models and SAEs that are gone have held."""
    gc.collect()  # models and SAEs hold hooks that refer back to them
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
