"""N2G explanations of an SAE's latents, kept in files under a key of everything that they depend on."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_lens_metrics.errors import ExplanationError
from sae_lens_metrics.functional.matching import Matcher
from sae_lens_metrics.functional.ngrams import NGram, Patterns
from sae_lens_metrics.ranks import ALONE, Ranks
from sae_lens_metrics.results import write_atomically

__all__ = ["Explanations", "kept"]

FORMAT, FORMAT_VERSION = "sae-lens-metrics explanations", "1.0"


@dataclass(frozen=True)
class Explanations:
    """The explanations of some latents, and the activations that were held out to measure their recall."""

    patterns: Patterns
    """The n-grams of all latents."""
    latents: Int[Tensor, "latents"]
    """The latents that were asked about, ascending; rare ones have no n-grams."""
    activations: Int[Tensor, "latents"]
    """How often each of them fires in the text that the explanations were built from."""
    held_out: Int[Tensor, "latents examples"]
    """Activations that no explanation was built from: sequence times sequence length plus column in that text; -1 where there are fewer."""
    held_out_activation: Float[Tensor, "latents examples"]
    """What the latent is there."""
    tokens: int
    """Positions in that text that count."""
    depends_on: dict[str, Any]
    """All that the explanations depend on, as JSON types."""

    @property
    def key(self) -> str:
        """SHA-256 of what they depend on."""
        return _key(self.depends_on)

    def matcher(self, device: torch.device | str = "cpu") -> Matcher:
        """Predicts all latents on tokens."""
        return Matcher(self.patterns.to(device), variant=self.depends_on["variant"])

    @cached_property
    def ngrams(self) -> dict[int, list[NGram]]:
        """The n-grams by latent."""
        return self.patterns.to_ngrams()

    def require(self, depends_on: dict[str, Any]) -> "Explanations":
        """These explanations, if they depend on just that.

        Raises:
            ExplanationError: If they belong to another SAE, model, text or setting.
        """
        different = sorted(name for name in {*self.depends_on, *depends_on} if self.depends_on.get(name) != depends_on.get(name))
        if different:
            raise ExplanationError(f"these explanations belong to something else: {', '.join(different)} differ; build them again")
        return self

    def save(self, path: str | Path) -> Path:
        """Writes the explanations as JSON; a file that is there is replaced at once or not at all.

        The form: ``format``, ``format_version``, ``key``, ``checksum`` of the latents, ``depends_on``, ``tokens``, and ``latents``, a
        list of objects with ``latent``, ``activations``, ``held_out`` (pairs of position and activation) and ``ngrams``: ``tokens``
        (ids in the order of the text, null for any token), ``at_start`` and ``value``.

        Raises:
            OSError: If the folder cannot be written.
        """
        columns = (self.latents, self.activations, self.held_out, self.held_out_activation)
        latents = [
            {
                "latent": latent,
                "activations": activations,
                "held_out": [[position, value] for position, value in zip(held_out, held_out_values, strict=True) if position >= 0],
                "ngrams": [{"tokens": n.tokens, "at_start": n.at_start, "value": n.value} for n in self.ngrams.get(latent, [])],
            }
            for latent, activations, held_out, held_out_values in zip(*(column.tolist() for column in columns), strict=True)
        ]
        data = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "key": self.key,
            "checksum": _key(latents),
            "depends_on": self.depends_on,
        }
        return write_atomically(path, json.dumps({**data, "tokens": self.tokens, "latents": latents}, allow_nan=False))

    @classmethod
    def load(cls, path: str | Path) -> "Explanations":
        """Reads explanations that ``save`` wrote.

        Raises:
            ExplanationError: If the file is damaged, of another kind, or of a version that cannot be read.
            OSError: If there is no such file.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
            if data["format"] != FORMAT or data["format_version"].split(".")[0] != FORMAT_VERSION.split(".")[0]:
                found = f"{data['format']} {data['format_version']}"
                raise ExplanationError(f"{path} is of the form {found!r}, this release reads {FORMAT!r} {FORMAT_VERSION}: build them again")
            if data["key"] != _key(data["depends_on"]) or data["checksum"] != _key(data["latents"]):
                raise ExplanationError(f"{path} has been changed since it was written: delete it, and build the explanations again")
            return cls(**_from_json(data))
        except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
            if isinstance(error, ExplanationError):
                raise
            reason = f"{type(error).__name__}: {error}"
            raise ExplanationError(f"{path} does not hold explanations ({reason}): delete it, and build them again") from error


def _from_json(data: dict[str, Any]) -> dict[str, Any]:
    latents = data["latents"]
    shape = (len(latents), data["depends_on"]["examples"])
    held_out, held_out_activation = torch.full(shape, -1), torch.zeros(shape)
    for i, entry in enumerate(latents):
        for j, (position, value) in enumerate(entry["held_out"]):
            held_out[i, j], held_out_activation[i, j] = position, value
    ngrams = {
        entry["latent"]: [NGram(tuple(n["tokens"]), bool(n["at_start"]), float(n["value"])) for n in entry["ngrams"]] for entry in latents
    }
    return {
        "patterns": Patterns.from_ngrams(ngrams),
        "latents": torch.tensor([entry["latent"] for entry in latents], dtype=torch.long),
        "activations": torch.tensor([entry["activations"] for entry in latents], dtype=torch.long),
        "held_out": held_out,
        "held_out_activation": held_out_activation,
        "tokens": int(data["tokens"]),
        "depends_on": data["depends_on"],
    }


def _key(data: Any) -> str:
    """SHA-256 of JSON types."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def kept(folder: str | None, depends_on: dict[str, Any], build: Callable[[], Explanations], ranks: Ranks = ALONE) -> Explanations:
    """What a folder holds, if it holds what depends on just that; else what is built, and then kept there.

    Args:
        folder: The folder; ``None`` to keep nothing.
        depends_on: All that the explanations depend on.
        build: Makes them.
        ranks: The processes that build them together, of which the first one has the folder.

    Raises:
        ExplanationError: If what the folder holds has been damaged.
        OSError: If the folder cannot be written.
    """
    if folder is None:
        return build()
    path = Path(folder) / f"{_key(depends_on)}.json"
    there = ranks.of_first(lambda: Explanations.load(path).require(depends_on) if path.is_file() else None)
    if there is not None:
        return there
    built = build()
    if ranks.is_first:
        built.save(path)
    return built
