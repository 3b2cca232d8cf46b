"""SAEs from the hub or from disk, together with the model that they were trained on."""

import difflib
import warnings
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from sae_lens.load_model import load_model
from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory
from sae_lens.saes.sae import SAE
from transformer_lens import HookedTransformer
from transformer_lens import loading_from_pretrained as loading

from sae_lens_metrics.errors import SubjectError
from sae_lens_metrics.subject import Subject

__all__ = ["load_local_model", "load_pretrained"]


def load_pretrained(
    release: str,
    sae_id: str | None = None,
    *,
    model: Any = None,
    device: str | None = None,
    dtype: str = "float32",
    **options: Any,
) -> Subject:
    """Loads an SAE and its model.

    Args:
        release: A release of SAELens's directory, a repository on the hub, or a folder on disk that holds one SAE.
        sae_id: Which SAE of the release; ``None`` for a folder on disk.
        model: The model, if not the one in the SAE's metadata: an object, a folder on disk, or a name.
        device: Where to put both; default a GPU if there is one.
        dtype: The SAE's dtype.
        **options: Passed to ``Subject``: ``hook_name``, ``context_size``, ``prepend_bos``, ``model_kwargs``.

    Raises:
        SubjectError: If there is no such release, SAE or model, or they do not fit together.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    sae = _from_disk(release, device, dtype) if sae_id is None else _from_hub(release, sae_id, device, dtype)
    _refuse_nan(sae, "the SAE")
    if sae_id is not None:
        options.setdefault("expected", _published(release, sae_id))
    if model is None or isinstance(model, str):
        model = _load_model(sae, model, device)
        _refuse_nan(model, "the model")
    return Subject(model, sae, **options)


def _from_disk(folder: str, device: str, dtype: str) -> SAE[Any]:
    if folder in get_pretrained_saes_directory():
        some = ", ".join(islice(get_pretrained_saes_directory()[folder].saes_map, 5))
        raise SubjectError(f"{folder!r} is a release: say which of its SAEs, such as {some}")
    if not (Path(folder) / "cfg.json").is_file():
        raise SubjectError(f"{folder!r} is not a folder that holds an SAE (cfg.json, sae_weights.safetensors): give one, or RELEASE SAE_ID")

    try:
        return SAE.load_from_disk(folder, device=device, dtype=dtype)
    except Exception as error:  # from broken JSON to weights of another shape: the user needs the folder and the reason
        reason = f"{type(error).__name__}: {error}"
        raise SubjectError(f"cannot load the SAE in {folder!r}, expected what SAELens's save_model writes: {reason}") from error


def _from_hub(release: str, sae_id: str, device: str, dtype: str) -> SAE[Any]:
    directory = get_pretrained_saes_directory()
    if release not in directory and "/" not in release:
        raise SubjectError(f"there is no release {release!r}: the nearest names are {_nearest(release, directory)}")
    if release in directory and sae_id not in directory[release].saes_map:
        raise SubjectError(
            f"the release {release!r} has no SAE {sae_id!r}: the nearest names are {_nearest(sae_id, directory[release].saes_map)}"
        )
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"\s*This SAE has non-empty model_from_pretrained_kwargs")  # they are used below
            return SAE.from_pretrained(release, sae_id, device=device, dtype=dtype)
    except Exception as error:  # network, missing file, weights of another shape: the user needs the name and the reason
        raise SubjectError(f"cannot load the SAE {sae_id!r} of {release!r}: {type(error).__name__}: {error}") from error


def _refuse_nan(module: torch.nn.Module, what: str) -> None:
    broken = [name for name, value in module.state_dict().items() if value.is_floating_point() and bool(value.isnan().any())]
    if broken:
        raise SubjectError(f"the weights of {what} hold NaN ({', '.join(broken[:3])}): the file is damaged, load it again")


def _nearest(name: str, known: Any) -> str:
    return ", ".join(difflib.get_close_matches(name, list(known), n=5, cutoff=0.0))


def _published(release: str, sae_id: str) -> dict[str, float]:
    """L0 and explained variance as the directory of releases has them; it writes 1.0 where nobody knows."""
    lookup = get_pretrained_saes_directory().get(release)
    if lookup is None:
        return {}
    claims = {"l0": lookup.expected_l0.get(sae_id), "explained_variance": lookup.expected_var_explained.get(sae_id)}
    return {name: float(value) for name, value in claims.items() if value is not None and value != 1.0}


def _load_model(sae: SAE[Any], name: str | None, device: str) -> Any:
    metadata = sae.cfg.metadata
    name = name or metadata.model_name
    if not name:
        raise SubjectError("the SAE's metadata name no model: give one (model=..., or --model)")
    kind = metadata.model_class_name or "HookedTransformer"
    is_folder, known = Path(name).is_dir(), loading.make_model_alias_map()
    if not is_folder and kind == "HookedTransformer" and name.lower() not in known:
        near = _nearest(name, known)
        raise SubjectError(f"{name!r} is neither a folder nor a model that TransformerLens knows: the nearest names are {near} (--model)")
    try:
        if is_folder:
            return load_local_model(name, device=device)
        return load_model(kind, name, device=device, model_from_pretrained_kwargs=metadata.model_from_pretrained_kwargs or {})
    except Exception as error:  # as above
        raise SubjectError(f"cannot load the model {name!r}: {type(error).__name__}: {error}") from error


def load_local_model(folder: str | Path, device: str | torch.device = "cpu") -> HookedTransformer:
    """A Hugging Face model on disk as a HookedTransformer, weights unprocessed, in float32.

    ``HookedTransformer.from_pretrained`` knows names only, not folders.

    Args:
        folder: Holds ``config.json``, the weights as safetensors, and the tokenizer.
        device: Where to put it.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = str(folder)
    weights = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32, use_safetensors=True, local_files_only=True)
    config = loading.get_pretrained_model_config(folder, device=str(device), fold_ln=False)
    model = HookedTransformer(config, AutoTokenizer.from_pretrained(folder, local_files_only=True))
    state = loading.get_pretrained_state_dict(folder, config, weights)
    model.load_and_process_state_dict(state, fold_ln=False, center_writing_weights=False, center_unembed=False, fold_value_biases=False)
    return model.requires_grad_(False).eval()
