"""What can be wrong with the files of an SAE, in words."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError
from packaging.version import InvalidVersion, Version

from sae_lens_metrics.errors import SubjectError
from sae_lens_metrics.integrations.saelens import get_sae_class, get_sae_training_class
from sae_lens_metrics.loading.downloads import TRIES, causes, is_passing

__all__ = ["config_remarks", "explain_failure", "weights_fault"]

_PICKLES = (b"PK\x03\x04", *(bytes([0x80, protocol]) for protocol in range(2, 6)))
"""How a file of ``torch.save`` begins: an archive, or a bare pickle."""
_FLOATS = ("F64", "F32", "F16", "BF16")
"""What safetensors call the dtypes that SAEs may have."""
_LARGEST_HEADER = 100_000_000
"""Bytes; the limit of safetensors itself."""
_BESIDES_SETTINGS = {"architecture", "metadata", "sae_lens_version", "sae_lens_training_version"}


def explain_failure(error: BaseException, weights: Sequence[Path] = ()) -> str:
    """Why an SAE or a model could not be loaded, and what to do about it.

    Args:
        error: What was raised.
        weights: The files of weights as far as they are on disk; one that is at fault is named.
    """
    if isinstance(error, SubjectError):  # our own words
        return str(error)
    for fault in (weights_fault(path) for path in weights):
        if fault:
            return fault
    if is_passing(error):
        cause = list(causes(error))[-1]
        return f"the connection failed {TRIES} times ({type(cause).__name__}: {cause}): check the network and start again"
    for reason in (_no_access(error), _missing_file(error), _broken_config(error), _other_shapes(error), _other_names(error)):
        if reason:
            return reason
    if isinstance(error, OSError) and (said := _of_transformers(str(error))):
        return said
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def weights_fault(path: Path) -> str | None:
    """What is wrong with a file that should hold safetensors, or ``None``; nothing in the file is run or unpickled."""
    try:
        if not path.is_file():
            return f"{path} is {_what_else(path)}, expected a file of safetensors: put the weights there, or load the SAE again"
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = int.from_bytes(start, "little")
            header = file.read(length) if len(start) == 8 and length <= min(size - 8, _LARGEST_HEADER) else b""
    except OSError as error:
        return f"{path} cannot be read ({error.strerror or error}): load the SAE again"
    ends = _data_ends(header)
    if ends is not None and size == 8 + length + ends:
        return _no_floats(path, header)
    if start.startswith(_PICKLES):
        return (
            f"{path} is a pickle (torch.save), expected safetensors: a pickle can run code when it is loaded, so it is refused; "
            "ask its publisher for safetensors"
        )
    if start.startswith(b"version "):
        return f"{path} is a pointer of git LFS, expected the weights themselves (safetensors): fetch them with git lfs pull"
    found = f"{size:,} bytes where its header asks for {8 + length + ends:,}" if ends is not None else "no readable header"
    return f"{path} is damaged or cut off ({found}), expected safetensors: delete it and load it again, or tell its publisher"


def _what_else(path: Path) -> str:
    if path.is_dir():
        return "a folder"
    if path.exists():
        return "no file"
    return "a link that leads nowhere" if path.is_symlink() else "missing"


def _no_floats(path: Path, header: bytes) -> str | None:
    kinds = {name: entry.get("dtype") for name, entry in json.loads(header).items() if name != "__metadata__"}
    others = [f"{name} of {kind}" for name, kind in kinds.items() if kind not in _FLOATS]
    return f"{path} holds {others[0]}, expected floating-point numbers ({', '.join(_FLOATS)}): convert it" if others else None


def config_remarks(raw: dict[str, Any]) -> Iterator[str]:
    """What a reader of the numbers must know about the ``cfg.json`` of an SAE.

    SAELens ignores keys that it does not know. Files of SAELens before version 6 are not searched for them, as they hold the settings
    of the whole training run.

    Args:
        raw: The file's contents.
    """
    if _is_of_version_6(raw):
        known = _known_settings(raw.get("architecture"))
        unknown = sorted(set(raw) - known - _BESIDES_SETTINGS) if known else []  # an unknown architecture is refused elsewhere
        if unknown:
            names = ", ".join(map(repr, unknown))
            yield (
                f"the SAE's cfg.json has settings that this SAELens ({raw['architecture']}) does not know and ignores: {names}; "
                "check that the SAE works without them"
            )
    elif "prepend_bos" not in raw:
        yield (
            "the SAE's cfg.json does not say whether sequences begin with BOS, and SAELens takes it that they do: "
            "give --no-prepend-bos if it was trained without"
        )


def _known_settings(architecture: Any) -> set[str]:
    """Settings of an SAE of some architecture, and of its training, which checkpoints hold too."""
    known: set[str] = set()
    for find in (get_sae_class, get_sae_training_class):
        with suppress(KeyError, TypeError, ValueError):
            known |= {field.name for field in fields(find(architecture)[1])}
    return known


def _is_of_version_6(raw: dict[str, Any]) -> bool:
    """Whether settings and metadata are apart; the same test as SAELens's."""
    metadata = raw.get("metadata")
    version = raw.get("sae_lens_version") or (metadata.get("sae_lens_version") if isinstance(metadata, dict) else None)
    try:
        return bool(version) and Version(str(version)) >= Version("6.0.0-rc.0")
    except InvalidVersion:
        return False


def _data_ends(header: bytes) -> int | None:
    """Where the data of safetensors end, counted from the end of the header; ``None`` if that is none."""
    try:
        entries = json.loads(header)
        return max((entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"), default=0)
    except (ValueError, TypeError, LookupError, AttributeError):
        return None


def _of_transformers(said: str) -> str | None:
    """What transformers says over several lines where it reached nothing, in one."""
    if "couldn't connect to" in said.lower():
        return "the hub cannot be reached, and it was not downloaded before: check the name and the network"
    return None


def _no_access(error: BaseException) -> str | None:
    for cause in causes(error):
        if isinstance(cause, GatedRepoError):
            return "its owners give access on request only: ask for it on its page of the hub, then log in (hf auth login, or HF_TOKEN)"
        if isinstance(cause, RepositoryNotFoundError):
            return "the hub has no such repository, or it is private: check the name, or log in (hf auth login, or HF_TOKEN)"
    return None


def _missing_file(error: BaseException) -> str | None:
    for cause in causes(error):
        if isinstance(cause, EntryNotFoundError) and not isinstance(cause, LocalEntryNotFoundError):
            address = re.search(r"https?://\S+?(?=[.\s]*(\s|$))", str(cause))
            what = address.group() if address else str(cause)
            return f"the hub has no file {what} (404): the SAE is incomplete, choose another one or tell its publisher"
    return None


def _broken_config(error: BaseException) -> str | None:
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return f"its configuration is not JSON ({error}): load it again, or tell its publisher"
    if isinstance(error, RecursionError):
        return "its configuration is nested too deeply, expected settings and metadata: load it again, or tell its publisher"
    if "integer string conversion" in str(error):
        return "its configuration holds a number of thousands of digits, expected settings: load it again, or tell its publisher"
    return None


def _other_shapes(error: BaseException) -> str | None:
    """PyTorch names every tensor that does not fit, with both shapes, over many lines; the one with most dimensions tells most."""
    found = re.findall(r"size mismatch for (\w+):.*?\(\[(.*?)\]\).*?\(\[(.*?)\]\)", str(error))
    if not found:
        return None
    name, there, asked = max(found, key=lambda each: each[1].count(","))
    return (
        f"the weights do not fit its cfg.json: {name} is [{there}], expected [{asked}] from d_in and d_sae there; "
        "correct cfg.json, or tell its publisher"
    )


def _other_names(error: BaseException) -> str | None:
    """PyTorch lists the tensors that are missing, and those that are too many, each kind on a line."""
    lists = {kind: re.search(rf"{kind} key\(s\) in state_dict: (.*?)\. *$", str(error), re.MULTILINE) for kind in ("Missing", "Unexpected")}
    said = [f"{word} {found[1]}" for word, found in zip(("lack", "hold also"), lists.values(), strict=True) if found]
    if not said:
        return None
    return f"the weights do not fit the architecture in its cfg.json: they {' and '.join(said)}; correct cfg.json, or tell its publisher"
