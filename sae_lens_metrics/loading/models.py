"""The model that an SAE is for: by name, from the hub or from disk, in the class that fits."""

import difflib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sae_lens_metrics.errors import SubjectError
from sae_lens_metrics.integrations.offloading import weights
from sae_lens_metrics.integrations.saelens import load_model
from sae_lens_metrics.integrations.transformer_lens import loading_from_pretrained as loading
from sae_lens_metrics.loading.downloads import with_retries
from sae_lens_metrics.loading.file_faults import explain_failure
from sae_lens_metrics.loading.model_classes import MODEL_CLASSES, OTHER_CLASS, Source, UnfitClassError, is_known_name

__all__ = ["MODEL_DTYPES", "ModelChoice", "ModelSpec", "default_device", "load_local_model", "load_spec", "nearest", "refuse_nan"]

logger = logging.getLogger("sae_lens_metrics")

MODEL_DTYPES = ("auto", "float32", "bfloat16", "float16", "float64")
"""What a model can be loaded in; ``auto`` is what its checkpoint holds."""
_DEFAULT_DTYPE = "float32"


@dataclass(frozen=True)
class ModelSpec:
    """Which model: equal ones need not be loaded twice."""

    name: str
    """A name, a repository on the hub, or a folder on disk."""
    classes: tuple[str, ...] = ("HookedTransformer",)
    """Names of the classes that are tried, in this order."""
    dtype: str = _DEFAULT_DTYPE
    """One of ``MODEL_DTYPES``."""
    device_map: Any = field(default=None, hash=False)
    """How to spread it, as transformers takes it; ``None`` for one device."""
    kwargs: dict[str, Any] = field(default_factory=dict, hash=False)
    """More arguments of its loading."""


@dataclass(frozen=True)
class ModelChoice:
    """What is known better about a model than by an SAE's metadata; ``None`` where those hold."""

    name: str | None = None
    """A name, a repository on the hub, or a folder on disk."""
    model_class: str | None = None
    """One of ``MODEL_CLASSES``; default what the metadata say, else what can load it."""
    dtype: str | None = None
    """One of ``MODEL_DTYPES``; default float32."""
    device_map: Any = None
    """How to spread it over GPUs and the CPU."""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of its loading, besides those in the metadata."""

    def spec(self, metadata: Mapping[str, Any]) -> ModelSpec:
        """Which model to load for an SAE with such metadata.

        Raises:
            SubjectError: If nobody names a model, or the class or dtype is none.
        """
        name = self.name or metadata.get("model_name")
        if not name:
            raise SubjectError("the SAE's metadata name no model: give one (model=..., or --model)")
        if self.model_class is not None and self.model_class not in MODEL_CLASSES:
            raise SubjectError(f"there is no class of models {self.model_class!r}: expected one of {', '.join(MODEL_CLASSES)}")
        kwargs = {**(metadata.get("model_from_pretrained_kwargs") or {}), **self.kwargs}
        said = [kwargs.pop(key) for key in ("dtype", "torch_dtype") if key in kwargs]
        dtype = str(self.dtype or (said[0] if said else _DEFAULT_DTYPE)).removeprefix("torch.")
        if dtype not in MODEL_DTYPES:
            raise SubjectError(f"a model cannot be loaded in {dtype!r}: expected one of {', '.join(MODEL_DTYPES)}")
        mapped = kwargs.pop("device_map", None)
        device_map = mapped if self.device_map is None else self.device_map
        return ModelSpec(name, self._classes(metadata.get("model_class_name")), dtype, device_map, kwargs)

    def _classes(self, said: str | None) -> tuple[str, ...]:
        if self.model_class is not None:
            return (self.model_class,)
        first = said or "HookedTransformer"  # which SAELens takes it to be, too
        return (first, OTHER_CLASS) if first == "HookedTransformer" else (first,)


def load_spec(spec: ModelSpec, device: str | None = None) -> Any:
    """Loads a model.

    Args:
        spec: Which one.
        device: Where to put it; default a GPU if there is one.

    Raises:
        SubjectError: If there is no such model, it cannot be had in any of the classes, or its weights are damaged.
    """
    source = Source(spec.name, default_device(device), spec.dtype, spec.device_map, spec.kwargs)
    reasons: list[str] = []
    for name in spec.classes:
        try:
            model = with_retries(lambda name=name: _load(name, source), f"the model {spec.name!r}")
        except UnfitClassError as error:
            reasons.append(str(error))
            continue
        except Exception as error:  # network, missing files, damaged weights: the user needs the name and the reason
            raise SubjectError(_failure(source, [*reasons, explain_failure(error)])) from error
        if reasons:
            logger.info("the model %r is loaded as %s: %s", spec.name, name, "; ".join(reasons))
        refuse_nan(model, "the model")
        return model
    raise SubjectError(f"{_failure(source, reasons)} (--model, --model-class)")


def load_local_model(folder: str | Path, device: str | torch.device = "cpu") -> Any:
    """A Hugging Face model on disk as a HookedTransformer, weights unprocessed, in float32.

    ``HookedTransformer.from_pretrained`` knows names only, not folders.

    Args:
        folder: Holds ``config.json``, the weights as safetensors, and the tokenizer.
        device: Where to put it.
    """
    return load_spec(ModelSpec(str(folder)), str(device))


def default_device(name: str | None) -> str:
    """The device that is named, or a GPU if there is one: this process's own, by its number, which some packages take for 0 without it."""
    if name in (None, "cuda") and torch.cuda.is_available():
        return f"cuda:{torch.cuda.current_device()}"
    return name or "cpu"


def nearest(name: str, known: Iterable[str]) -> str:
    """The names that are most like one that does not exist, for an error."""
    return ", ".join(difflib.get_close_matches(name, list(known), n=5, cutoff=0.0))


def refuse_nan(module: torch.nn.Module, what: str) -> None:
    """Makes sure that no weight is NaN.

    Raises:
        SubjectError: If one is.
    """
    broken = [name for name, value in weights(module) if value.is_floating_point() and bool(value.isnan().any())]
    if broken:
        raise SubjectError(f"the weights of {what} hold NaN ({', '.join(broken[:3])}): the file is damaged, load it again")


def _load(name: str, source: Source) -> Any:
    if name in MODEL_CLASSES:
        return MODEL_CLASSES[name](source)
    return load_model(name, source.name, device=source.device, model_from_pretrained_kwargs=dict(source.kwargs))


def _failure(source: Source, reasons: list[str]) -> str:
    said = f"cannot load the model {source.name!r}: {'; '.join(reasons)}"
    if source.is_folder or is_known_name(source.name):
        return said
    return f"{said}; the nearest names that TransformerLens knows are {nearest(source.name, _known_names())}"


def _known_names() -> Iterable[str]:
    return loading.make_model_alias_map()
