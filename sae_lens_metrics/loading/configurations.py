"""What the ``cfg.json`` of an SAE must say, and what is wrong with one that does not."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from packaging.version import InvalidVersion, Version

from sae_lens_metrics.errors import SubjectError
from sae_lens_metrics.integrations.saelens import (
    DTYPE_MAP,
    get_sae_class,
    get_sae_training_class,
    handle_config_defaulting,
    registered_architectures,
)
from sae_lens_metrics.results.in_words import shown

__all__ = ["checked_config"]

_LARGEST = 2**31 - 1
"""What any width or number of latents is at most: an index of PyTorch's that is larger overflows."""
_POSITIVE = {"d_in", "d_sae", "d_out", "k", "context_size"}
_METADATA: dict[str, Any] = {
    "model_name": str | None,
    "model_class_name": str | None,
    "model_from_pretrained_kwargs": dict | None,
    "hook_name": str | None,
    "hook_name_out": str | None,
    "hf_hook_name": str | None,
    "hf_hook_name_out": str | None,
    "hook_head_index": int | None,
    "hook_head_index_out": int | None,
    "context_size": int | None,
    "prepend_bos": bool | None,
    "seqpos_slice": list[int | None] | None,
    "exclude_special_tokens": bool | list[int] | None,
    "disable_concat_sequences": bool | None,
    "sequence_separator_token": int | str | None,
    "dataset_path": str | None,
    "neuronpedia_id": str | None,
    "l0": float | None,
}
"""The metadata that are read here, with their types."""
_OLDER: dict[str, Any] = {"hook_point": str, "hook_name": str, "activation_fn_kwargs": dict | None}
"""What SAELens reads of configurations before version 6 while it turns them into today's."""
_KINDS: dict[Any, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false", dict: "an object", NoneType: "null"}


def checked_config(raw: Any) -> dict[str, Any]:
    """The configuration of an SAE as today's SAELens writes it.

    Args:
        raw: What ``cfg.json`` holds.

    Raises:
        SubjectError: If a field is missing or cannot be used; the message names it, what was found and what was expected.
    """
    for fault in _faults_of_the_form(raw):
        raise _refusal(fault)
    config = handle_config_defaulting(raw)
    for fault in _faults_of_the_fields(config):
        raise _refusal(fault)
    return config


def _refusal(fault: str) -> SubjectError:
    return SubjectError(f"in its cfg.json, {fault}: correct it, or tell its publisher")


def _faults_of_the_form(raw: Any) -> Iterator[str]:
    """What keeps SAELens from reading a configuration at all."""
    if not isinstance(raw, dict):
        yield f"there is {shown(raw)}, expected an object with d_in, d_sae, metadata and so on"
        return
    metadata = raw.get("metadata", {})
    if not isinstance(metadata, dict):
        yield _wrong("metadata", metadata, "an object")
        return
    version = raw.get("sae_lens_version") or metadata.get("sae_lens_version")
    if version and not _is_version(version):
        yield _wrong("sae_lens_version", version, "a version such as 6.0.0")
        return
    older = not version or Version(version) < Version("6.0.0-rc.0")  # the same test as SAELens's
    architecture, known = raw.get("architecture", "standard"), registered_architectures(training=not older)
    if not (isinstance(architecture, str) and architecture in known):
        yield _wrong("architecture", architecture, f"one of {', '.join(known)}")
    if older:
        yield from _misfits(raw, _OLDER)
        if "activation_fn_kwargs" in raw and _is_topk(raw) and "k" not in (raw["activation_fn_kwargs"] or {}):
            yield f"activation_fn_kwargs.k is missing, expected {_expected('k', int)}"


def _is_topk(raw: Mapping[str, Any]) -> bool:
    return "topk" in (raw.get("architecture"), raw.get("activation_fn_str"), raw.get("activation_fn"))


def _is_version(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(Version(value))
    except InvalidVersion:
        return False


def _faults_of_the_fields(config: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with single fields of a configuration of today's form."""
    if "architecture" not in config:
        yield f"architecture is missing, expected one of {', '.join(registered_architectures())}"
        return
    described = _config_class(config["architecture"])
    needed = [each.name for each in fields(described) if each.default is MISSING and each.default_factory is MISSING]
    hints = {name: hint for name, hint in get_type_hints(described).items() if name not in ("metadata", "device")}
    yield from (f"{name} is missing, expected {_expected(name, hints[name])}" for name in needed if name not in config)
    yield from _misfits(config, hints)
    yield from _misfits(config.get("metadata", {}), _METADATA, "metadata.")
    if "k" in hints and config.get("k", 0) > config["d_sae"]:
        yield _wrong("k", config["k"], f"at most d_sae = {config['d_sae']}")
    if len((config.get("metadata") or {}).get("seqpos_slice") or []) > 3:
        yield _wrong("metadata.seqpos_slice", config["metadata"]["seqpos_slice"], "start, stop and step at most")


def _config_class(architecture: str) -> Any:
    """SAELens's class of an architecture's configuration; that in training, where it becomes another architecture when it is saved."""
    try:
        return get_sae_class(architecture)[1]
    except KeyError:
        return get_sae_training_class(architecture)[1]


def _misfits(config: Mapping[str, Any], hints: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, hint in hints.items():
        if name in config and not _is_usable(name, config[name], hint):
            yield _wrong(f"{prefix}{name}", config[name], _expected(name, hint))


def _is_usable(name: str, value: Any, hint: Any) -> bool:
    if name == "dtype":
        return isinstance(value, str) and value in DTYPE_MAP
    if name == "normalize_activations" and value == "constant_norm_rescale":  # which SAELens takes, whatever its types say
        return True
    if name in _POSITIVE and isinstance(value, int | float) and not 0 < value <= _LARGEST:
        return False
    return _fits(value, hint)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value of JSON is of a type; numbers are finite, and true is none."""
    if get_origin(hint) is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if get_origin(hint) is list:
        return isinstance(value, list) and all(_fits(each, get_args(hint)[0]) for each in value)
    if arguments := get_args(hint):
        return any(_fits(value, each) for each in arguments)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST**8 and math.isfinite(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST
    return isinstance(value, hint) if hint in _KINDS else True


def _wrong(name: str, value: Any, expected: str) -> str:
    return f"{name} is {shown(value)}, expected {expected}"


def _expected(name: str, hint: Any) -> str:
    if name == "dtype":
        return ", ".join(each for each in DTYPE_MAP if not each.startswith("torch."))
    if name in _POSITIVE:
        return f"a {'number' if hint is float else 'whole number'} from 1 to {_LARGEST:,}"
    return _in_words(hint)


def _in_words(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return f"one of {', '.join(get_args(hint))}"
    if get_origin(hint) is list:
        return f"a list of which each is {_in_words(get_args(hint)[0])}"
    if arguments := get_args(hint):
        return " or ".join(map(_in_words, arguments))
    return _KINDS.get(hint, str(hint))
