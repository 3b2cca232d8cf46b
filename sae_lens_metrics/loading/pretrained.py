"""SAEs from the hub or from disk, together with the model that they were trained on."""

import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache
from sae_lens import SAE

from sae_lens_metrics.errors import SubjectError
from sae_lens_metrics.integrations.saelens import (
    SAE_WEIGHTS_FILENAME,
    SPARSITY_FILENAME,
    get_config_overrides,
    get_conversion_loader_name,
    get_pretrained_saes_directory,
    get_repo_id_and_folder_name,
    get_sae_lens_config_from_disk,
    get_sae_lens_config_from_hf,
    load_sae_config_from_huggingface,
)
from sae_lens_metrics.loading.checkpoints import is_checkpoint, load_checkpoint, training_moment
from sae_lens_metrics.loading.configurations import checked_config
from sae_lens_metrics.loading.downloads import with_retries
from sae_lens_metrics.loading.file_faults import config_remarks, explain_failure, weights_fault
from sae_lens_metrics.loading.models import ModelChoice, ModelSpec, default_device, load_spec, nearest, refuse_nan
from sae_lens_metrics.results.in_words import encodable
from sae_lens_metrics.subject.half_weights import hold_in_half
from sae_lens_metrics.subject.subject import Subject

__all__ = ["SAEInfo", "check_name", "load_pretrained", "load_subject", "read_info"]

logger = logging.getLogger("sae_lens_metrics")


@dataclass(frozen=True)
class SAEInfo:
    """What the configuration of an SAE says, read without its weights."""

    metadata: dict[str, Any] | None
    """SAELens's metadata; ``None`` where they come with the weights only."""
    remarks: tuple[str, ...] = ()
    """What a reader of the numbers must know."""
    moment: dict[str, Any] | None = None
    """Of a checkpoint, which moment of which training run it is of."""

    def model(self, choice: ModelChoice) -> ModelSpec | None:
        """The model that the SAE is for, or another one in its place; ``None`` where nobody knows before the weights are there.

        Raises:
            SubjectError: If neither the metadata nor the caller name one.
        """
        return None if self.metadata is None else choice.spec(self.metadata)


def load_pretrained(
    release: str,
    sae_id: str | None = None,
    *,
    model: Any = None,
    model_class: str | None = None,
    model_dtype: str | None = None,
    device_map: Any = None,
    model_from_pretrained_kwargs: Mapping[str, Any] | None = None,
    device: str | None = None,
    dtype: str = "float32",
    special_tokens: Sequence[int] | None = None,
    **options: Any,
) -> Subject:
    """Loads an SAE and its model; what is odd about the SAE's configuration is logged as a warning.

    Args:
        release: A release of SAELens's directory, a repository on the hub, or a folder on disk that holds one SAE; of a checkpoint of
            SAELens's training, the inference SAE that would have been saved at that moment.
        sae_id: Which SAE of the release; ``None`` for a folder on disk.
        model: The model, if not the one in the SAE's metadata: an object, a folder on disk, a repository on the hub, or a name.
        model_class: ``"HookedTransformer"``, ``"TransformerBridge"`` or ``"AutoModelForCausalLM"``; default what the SAE's metadata say,
            else what can load the model.
        model_dtype: ``"float32"`` (the default), ``"bfloat16"``, ``"float16"``, ``"float64"``, or ``"auto"`` for the checkpoint's own.
        device_map: How to spread the model over devices, as transformers takes it, such as ``"auto"``.
        model_from_pretrained_kwargs: More arguments of the model's loading, besides those in the SAE's metadata.
        device: Where to put both; default a GPU if there is one. With a device map, where to put the SAE.
        dtype: What the SAE computes in. In float32, large weights that bfloat16 or float16 hold exactly take no more memory than there.
        special_tokens: Tokens that do not count besides the tokenizer's own, if not as in the SAE's metadata.
        **options: Passed to ``Subject``: ``hook_name``, ``context_size``, ``prepend_bos``, ``model_kwargs``.

    Raises:
        SubjectError: If there is no such release, SAE or model, or they do not fit together.
    """
    for remark in read_info(release, sae_id).remarks:
        logger.warning(remark)
    named = str(model) if isinstance(model, str | Path) else None
    choice = ModelChoice(named, model_class, model_dtype, device_map, dict(model_from_pretrained_kwargs or {}))
    at_hand = None if named else model
    return load_subject(release, sae_id, model=at_hand, choice=choice, device=device, dtype=dtype, special_tokens=special_tokens, **options)


def load_subject(
    release: str,
    sae_id: str | None = None,
    *,
    model: Any = None,
    choice: ModelChoice | None = None,
    device: str | None = None,
    dtype: str = "float32",
    special_tokens: Sequence[int] | None = None,
    **options: Any,
) -> Subject:
    """What ``load_pretrained`` does, for callers who have read the SAE's configuration themselves, and may have the model at hand."""
    device = default_device(device)
    at_first = "cpu" if dtype == "float32" else device  # where what need not be float32 is found, before it takes memory elsewhere
    sae = _from_disk(release, at_first, dtype) if sae_id is None else _from_hub(release, sae_id, at_first, dtype)
    refuse_nan(sae, "the SAE")
    if dtype == "float32":
        sae = hold_in_half(sae, device)
    if special_tokens is not None:
        sae.cfg.metadata.exclude_special_tokens = list(special_tokens)
    if sae_id is not None:
        options.setdefault("expected", _published(release, sae_id))
    if model is None:
        model = load_spec((choice or ModelChoice()).spec(sae.cfg.metadata.to_dict()), device)
    try:
        return Subject(model, sae, **options)
    except SubjectError as error:
        raise type(error)(f"{release if sae_id is None else f'{release}/{sae_id}'}: {error}") from error


def read_info(release: str, sae_id: str | None = None) -> SAEInfo:
    """Reads the configuration of an SAE, not its weights.

    Args:
        release: As in ``load_pretrained``.
        sae_id: Likewise.

    Raises:
        SubjectError: If there is no such release or SAE, or its configuration cannot be read.
    """
    check_name(release, sae_id)
    ours = sae_id is None or get_conversion_loader_name(release) == "sae_lens"
    try:
        return _read_info(release, sae_id, ours)
    except Exception as error:
        if not ours:  # some formats need more than SAELens's readers of configurations know; the weights will tell
            return SAEInfo(None)
        raise SubjectError(_failure(release, sae_id, error)) from error


def check_name(release: str, sae_id: str | None) -> None:
    """Makes sure that an SAE may exist, before anything is asked of a network.

    Raises:
        SubjectError: If there is no such folder or release, or no such SAE in the release.
    """
    for name in filter(None, (release, sae_id)):
        if encodable(name) != name:
            raise SubjectError(f"the name {name!r} is no text, expected one that UTF-8 can write: rename it")
    directory = get_pretrained_saes_directory()
    if sae_id is None:
        if release in directory:
            some = ", ".join(islice(directory[release].saes_map, 5))
            raise SubjectError(f"{release!r} is a release: say which of its SAEs, such as {some}, or '.*' for all")
        if not os.path.isfile(os.path.join(release, "cfg.json")):  # which answers of any name
            raise SubjectError(
                f"{release!r} is not a folder that holds an SAE (cfg.json, sae_weights.safetensors): give one, or RELEASE SAE_ID"
            )
    elif release not in directory and "/" not in release:
        raise SubjectError(f"there is no release {release!r}: the nearest names are {nearest(release, directory)}")
    elif release in directory and sae_id not in directory[release].saes_map:
        near = nearest(sae_id, directory[release].saes_map)
        raise SubjectError(f"the release {release!r} has no SAE {sae_id!r}: the nearest names are {near}")


# --- the SAE -----------------------------------------------------------------------------------------------------------------


def _read_info(release: str, sae_id: str | None, ours: bool) -> SAEInfo:
    if not ours and sae_id is not None:
        other = with_retries(lambda: load_sae_config_from_huggingface(release, sae_id), f"the SAE {sae_id!r} of {release!r}")
        return SAEInfo(dict(other["metadata"]))
    raw, config = _configuration(release, sae_id)
    moment = training_moment(release) if sae_id is None and is_checkpoint(raw) else None
    return SAEInfo(dict(config.get("metadata", {})), tuple(config_remarks(raw)), moment)


def _configuration(release: str, sae_id: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the ``cfg.json`` of an SAE in SAELens's own format holds, and the same checked, as today's SAELens writes it."""
    if sae_id is None:
        raw = get_sae_lens_config_from_disk(release)
        return raw, checked_config(raw)
    repository, folder = get_repo_id_and_folder_name(release, sae_id)
    raw = with_retries(lambda: get_sae_lens_config_from_hf(repository, folder), f"the SAE {sae_id!r} of {release!r}")
    return raw, checked_config({**raw, **get_config_overrides(release, sae_id)} if isinstance(raw, dict) else raw)


@contextmanager
def _without_advice() -> Iterator[None]:
    """SAELens's advice on how to load the model is followed already."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\s*This SAE has non-empty model_from_pretrained_kwargs")
        yield


def _from_disk(folder: str, device: str, dtype: str) -> SAE[Any]:
    check_name(folder, None)
    try:
        with _without_advice():
            raw, _ = _configuration(folder, None)
            _refuse_damaged(_weights_on_disk(folder, None))
            if is_checkpoint(raw):
                return load_checkpoint(folder, device=device, dtype=dtype)
            return SAE.load_from_disk(folder, device=device, dtype=dtype)
    except Exception as error:  # from broken JSON to weights of another shape: the user needs the folder and the reason
        raise SubjectError(_failure(folder, None, error)) from error


def _refuse_damaged(weights: Sequence[Path]) -> None:
    """Before anything is read of them: to open what is no file may wait for ever."""
    for fault in filter(None, map(weights_fault, weights)):
        raise SubjectError(fault)


def _from_hub(release: str, sae_id: str, device: str, dtype: str) -> SAE[Any]:
    check_name(release, sae_id)

    def load() -> SAE[Any]:
        if get_conversion_loader_name(release) == "sae_lens":
            _configuration(release, sae_id)
        with _without_advice():
            return SAE.from_pretrained(release, sae_id, device=device, dtype=dtype)

    try:
        return with_retries(load, f"the SAE {sae_id!r} of {release!r}")
    except Exception as error:  # network, missing file, weights of another shape: the user needs the name and the reason
        raise SubjectError(_failure(release, sae_id, error)) from error


def _failure(release: str, sae_id: str | None, error: Exception) -> str:
    reason = explain_failure(error, _weights_on_disk(release, sae_id))
    if sae_id is None:
        return f"cannot load the SAE in {release!r}, expected what SAELens's save_model writes: {reason}"
    return f"cannot load the SAE {sae_id!r} of {release!r}: {reason}"


def _weights_on_disk(release: str, sae_id: str | None) -> list[Path]:
    """The files that SAELens reads weights from, as far as they are here; releases in other formats have none."""
    names = (SAE_WEIGHTS_FILENAME, SPARSITY_FILENAME)
    if sae_id is None:
        weights, sparsity = (Path(release) / name for name in names)
        return [weights, *([sparsity] if sparsity.is_file() else [])]
    if get_conversion_loader_name(release) != "sae_lens":
        return []
    repository, folder = get_repo_id_and_folder_name(release, sae_id)
    try:
        kept = [try_to_load_from_cache(repository, f"{folder}/{name}") for name in names]
    except ValueError:  # a name that cannot be a repository's
        return []
    return [Path(path) for path in kept if isinstance(path, str)]


def _published(release: str, sae_id: str) -> dict[str, float]:
    """L0 and explained variance as the directory of releases has them; it writes 1.0 where nobody knows."""
    lookup = get_pretrained_saes_directory().get(release)
    if lookup is None:
        return {}
    claims = {"l0": lookup.expected_l0.get(sae_id), "explained_variance": lookup.expected_var_explained.get(sae_id)}
    return {name: float(value) for name, value in claims.items() if value is not None and value != 1.0}
