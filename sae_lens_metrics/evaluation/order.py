"""In which order many SAEs are evaluated: those of one model, and those at one of its hooks, come one after the other."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sae_lens_metrics.errors import MetricsError, SubjectError
from sae_lens_metrics.loading.downloads import is_passing
from sae_lens_metrics.loading.models import ModelChoice, ModelSpec
from sae_lens_metrics.loading.pretrained import SAEInfo, load_subject, read_info
from sae_lens_metrics.loading.targets import Target
from sae_lens_metrics.subject.subject import Subject

__all__ = ["Job", "Overrides", "Place", "plan"]

logger = logging.getLogger("sae_lens_metrics")


@dataclass(frozen=True)
class Overrides:
    """What is known better than by the SAEs' metadata; ``None`` where the metadata hold."""

    model: str | None = None
    """Name, hub repository or folder of the model."""
    model_class: str | None = None
    """``"HookedTransformer"``, ``"TransformerBridge"`` or ``"AutoModelForCausalLM"``; else what can load the model."""
    model_dtype: str | None = None
    """The model's dtype, ``"auto"`` for the checkpoint's own; default float32."""
    device_map: Any = None
    """How to spread the model over devices, as transformers takes it."""
    model_from_pretrained_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """More arguments of the model's loading."""
    model_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """More arguments of the model's forward pass."""
    device: str | None = None
    """Where models and SAEs go; default a GPU if there is one."""
    hook_name: str | None = None
    """The hook."""
    output_hook_name: str | None = None
    """The hook of a transcoder's output."""
    context_size: int | None = None
    """Tokens a sequence."""
    prepend_bos: bool | None = None
    """Whether sequences begin with BOS."""
    special_tokens: tuple[int, ...] | None = None
    """Tokens that do not count, besides those of the tokenizer."""

    @property
    def choice(self) -> ModelChoice:
        """What is known better about the model."""
        return ModelChoice(self.model, self.model_class, self.model_dtype, self.device_map, self.model_from_pretrained_kwargs)

    def subject(self, target: Target, model: Any) -> Subject:
        """Loads an SAE, onto a model at hand if there is one."""
        return load_subject(
            target.release,
            target.sae_id,
            model=model,
            choice=self.choice,
            device=self.device,
            hook_name=self.hook_name,
            output_hook_name=self.output_hook_name,
            context_size=self.context_size,
            prepend_bos=self.prepend_bos,
            special_tokens=self.special_tokens,
            model_kwargs=dict(self.model_kwargs),
        )


@dataclass(frozen=True)
class Place:
    """Which model, and at which hooks of it: SAEs at the same place can share runs of the model."""

    model: ModelSpec
    device: str | None
    runs: str
    """The hooks, and arguments of the model's forward pass."""


@dataclass(frozen=True)
class Job:
    """One SAE, and what its configuration says; nothing where that could not be read, which loading it will tell again."""

    target: Target
    info: SAEInfo
    overrides: Overrides

    def subject(self, model: Any) -> Subject:
        """Loads the SAE, onto a model at hand if there is one."""
        return self.overrides.subject(self.target, model)

    @property
    def place(self) -> Place | None:
        """The model and where the SAE sits in it."""
        overrides = self.overrides
        if self.info.metadata is None:
            return None
        try:
            model = self.info.model(overrides.choice)
        except SubjectError:  # no model is named: loading it will tell
            return None
        if model is None:
            return None
        hooks = (
            overrides.hook_name or self.info.metadata.get("hook_name"),
            overrides.output_hook_name or self.info.metadata.get("hook_name_out"),
        )
        return Place(model, overrides.device, f"{hooks} {dict(overrides.model_kwargs)}")


def plan(targets: Sequence[Target], overrides: Overrides | Mapping[Target, Overrides], *, certain: bool = False) -> list[Job]:
    """The SAEs in an order that keeps those of one model together, and those at one of its hooks; otherwise as they were given.

    Args:
        targets: The SAEs.
        overrides: What is known better than by the SAEs' metadata; the same for all, or by target.
        certain: Whether the order must be the same in every process: a configuration that may be read at another moment is an error.

    Raises:
        SubjectError: If the order must be certain, and the connection fails.
    """
    logger.info("reading the configurations of %d SAEs", len(targets))
    each = dict.fromkeys(targets, overrides) if isinstance(overrides, Overrides) else overrides
    jobs = [Job(target, _info(target, certain), each.get(target, Overrides())) for target in targets]
    places = [job.place for job in jobs]
    models = list(dict.fromkeys((place.model, place.device) for place in places if place))
    known = list(dict.fromkeys(place for place in places if place))

    def order(i: int) -> tuple[int, int]:
        place = places[i]
        return (len(models), 0) if place is None else (models.index((place.model, place.device)), known.index(place))

    return [jobs[i] for i in sorted(range(len(jobs)), key=order)]


def _info(target: Target, certain: bool) -> SAEInfo:
    try:
        return read_info(target.release, target.sae_id)
    except MetricsError as error:  # this one will fail in its turn, which is recorded then
        if certain and is_passing(error):
            raise
        return SAEInfo(None)
