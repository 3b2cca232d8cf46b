"""Models in each of the classes that SAEs are trained on: TransformerLens's two, and transformers' own in SAELens's wrapper."""

import inspect
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sae_lens_metrics.errors import SubjectError
from sae_lens_metrics.integrations.saelens import HookedProxyLM, load_model
from sae_lens_metrics.integrations.transformer_lens import HookedTransformer, TransformerBridge
from sae_lens_metrics.integrations.transformer_lens import loading_from_pretrained as loading
from sae_lens_metrics.subject.capabilities import relative_difference, tolerance_of

__all__ = ["MODEL_CLASSES", "OTHER_CLASS", "Source", "UnfitClassError", "is_known_name"]

OTHER_CLASS = "AutoModelForCausalLM"
"""The class that is tried where TransformerLens's own does not know a model."""
_PROCESSING = ("fold_ln", "center_writing_weights", "center_unembed", "fold_value_biases", "refactor_factored_attn_matrices")
_SHARED_WITH_TOKENIZER = ("revision", "trust_remote_code", "token", "subfolder")


class UnfitClassError(SubjectError):
    """A model cannot be had in some class, but maybe in another."""


@dataclass(frozen=True)
class Source:
    """Where a model comes from, and how it is wanted."""

    name: str
    """A name, a repository on the hub, or a folder on disk."""
    device: str
    """Where to put it, if there is no device map."""
    dtype: str
    """A dtype, or ``"auto"`` for the checkpoint's own."""
    device_map: Any
    """As transformers takes it, or ``None``."""
    kwargs: Mapping[str, Any]
    """More arguments of its loading."""

    @property
    def is_folder(self) -> bool:
        """Whether it is on disk."""
        return Path(self.name).is_dir()

    @property
    def repository(self) -> str:
        """The folder, or the hub's name of what TransformerLens has shorter names for."""
        return loading.get_official_model_name(self.name) if not self.is_folder and is_known_name(self.name) else self.name

    def foreign(self, *names: str) -> dict[str, Any]:
        """The arguments without some."""
        return {name: value for name, value in self.kwargs.items() if name not in names}


def is_known_name(name: str) -> bool:
    """Whether TransformerLens has a model of that name."""
    return name.lower() in loading.make_model_alias_map()


# --- transformers' own ---------------------------------------------------------------------------------------------------------


def _wrapped(source: Source) -> HookedProxyLM:
    _refuse_centred(source, model := _transformers_model(source))
    return HookedProxyLM(model, _tokenizer(source))


def _bridge(source: Source) -> Any:
    model = _transformers_model(source, attn_implementation="eager")  # or attention's inner hooks would see nothing
    _refuse_centred(source, model)
    try:
        return TransformerBridge.boot_transformers(
            source.repository,
            hf_model=model,
            tokenizer=_tokenizer(source),
            dtype=model.dtype,
            device=None if source.device_map is not None else source.device,
        )
    except Exception as error:  # whatever it may say of an architecture that it does not know
        raise UnfitClassError(f"TransformerBridge cannot be made of it ({type(error).__name__}: {error})") from error


def _transformers_model(source: Source, **defaults: Any) -> Any:
    from transformers import AutoModelForCausalLM

    options = {"use_safetensors": True, **defaults, "dtype": _dtype(source.dtype), **source.foreign(*_of_transformer_lens())}
    if source.device_map is not None:
        options["device_map"] = source.device_map
    model = AutoModelForCausalLM.from_pretrained(source.repository, **options, local_files_only=source.is_folder)
    if source.device_map is None:
        model.to(torch.device(source.device))  # pyright: ignore[reportArgumentType] (its types want a module)
    return model.requires_grad_(False).eval()


def _tokenizer(source: Source) -> Any:
    from transformers import AutoTokenizer

    shared = {name: source.kwargs[name] for name in _SHARED_WITH_TOKENIZER if name in source.kwargs}
    return AutoTokenizer.from_pretrained(source.repository, local_files_only=source.is_folder, **shared)


def _refuse_centred(source: Source, model: torch.nn.Module) -> None:
    """Centring changes activations where norms subtract the mean; TransformerLens leaves other models alone."""
    if source.kwargs.get("center_writing_weights") and any(isinstance(module, torch.nn.LayerNorm) for module in model.modules()):
        raise UnfitClassError("the SAE is for a model with centred weights (center_writing_weights), which only HookedTransformer makes")


def _of_transformer_lens() -> list[str]:
    """Arguments of loading a HookedTransformer that mean nothing to transformers."""
    own = [*inspect.signature(HookedTransformer.from_pretrained).parameters, *inspect.signature(_config_of).parameters]
    return [name for name in own if name not in ("dtype", "torch_dtype", *_SHARED_WITH_TOKENIZER)]


# --- HookedTransformer ---------------------------------------------------------------------------------------------------------


def _hooked_transformer(source: Source) -> Any:
    if source.device_map is not None:
        raise UnfitClassError("HookedTransformer takes no device map, expected n_devices, or another class")
    if source.is_folder:
        return _from_folder(source)
    if not is_known_name(source.name):
        raise UnfitClassError("TransformerLens does not know it")
    kwargs = {**source.kwargs, "dtype": _own_dtype(source) if source.dtype == "auto" else _dtype(source.dtype)}
    return load_model("HookedTransformer", source.name, device=source.device, model_from_pretrained_kwargs=kwargs)


def _own_dtype(source: Source) -> torch.dtype:
    from transformers import AutoConfig

    with suppress(OSError):  # some of TransformerLens's own models have no configuration there
        own = getattr(AutoConfig.from_pretrained(source.repository), "dtype", None)
        return own if isinstance(own, torch.dtype) else torch.float32
    return torch.float32


def _from_folder(source: Source) -> Any:
    """TransformerLens knows names only, and goes by them: what it makes of a folder is compared with what transformers does."""
    given = _transformers_model(source)
    tokenizer = _tokenizer(source)
    processing = {name: bool(source.kwargs.get(name)) for name in _PROCESSING}
    try:
        with _without_a_telling_name(source.name) as folder:
            more = {name: source.kwargs[name] for name in ("n_ctx", "default_prepend_bos") if name in source.kwargs}
            config = _config_of(folder, device=source.device, fold_ln=processing["fold_ln"], dtype=given.dtype, **more)
            model = HookedTransformer(config, tokenizer)
            model.load_and_process_state_dict(loading.get_pretrained_state_dict(folder, config, given), **processing)
        model.requires_grad_(False).eval().to(given.dtype, print_details=False)
        with torch.no_grad():
            tokens = torch.arange(16, device=source.device).remainder(config.d_vocab).reshape(2, 8)
            ours, theirs = (logits.float().log_softmax(-1) for logits in (model(tokens), given(tokens).logits))
    except Exception as error:  # whatever it may say of an architecture that it does not know
        raise UnfitClassError(f"HookedTransformer cannot be made of it ({type(error).__name__}: {error})") from error
    if relative_difference(ours, theirs) > tolerance_of(given.dtype):
        raise UnfitClassError("what HookedTransformer makes of it gives other logits than transformers")
    return model


_config_of: Callable[..., Any] = loading.get_pretrained_model_config


@contextmanager
def _without_a_telling_name(folder: str) -> Iterator[str]:
    """The model's configuration in a folder whose path holds no names of models, by which TransformerLens would choose another one."""
    config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    config.setdefault("n_ctx", config.get("n_positions"))  # which TransformerLens reads, and transformers writes no more
    with tempfile.TemporaryDirectory() as parent:
        copied = Path(parent) / "model"
        copied.mkdir()
        (copied / "config.json").write_text(json.dumps(config), encoding="utf-8")
        yield str(copied)


MODEL_CLASSES: dict[str, Callable[[Source], Any]] = {
    "HookedTransformer": _hooked_transformer,
    "TransformerBridge": _bridge,
    OTHER_CLASS: _wrapped,
}
"""Loaders by the class's name, SAELens's where it has one."""


def _dtype(name: str) -> Any:
    return name if name == "auto" else getattr(torch, name)
