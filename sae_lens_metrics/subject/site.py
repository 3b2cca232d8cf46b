"""The model at the hook of an SAE: activations up to it, and what other activations there do to the logits."""

import copy
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_lens_metrics.errors import SubjectError
from sae_lens_metrics.functional.divergence import kl_divergence
from sae_lens_metrics.integrations.offloading import weights
from sae_lens_metrics.subject.backends import Past, Prefix
from sae_lens_metrics.subject.capabilities import SiteCapabilities
from sae_lens_metrics.subject.changes import Changes
from sae_lens_metrics.subject.language import Language
from sae_lens_metrics.subject.place import Place
from sae_lens_metrics.subject.shared_prefixes import SharedPrefixes
from sae_lens_metrics.subject.trying_sites import try_site

__all__ = ["LOGITS_AT_ONCE", "Site"]

LOGITS_AT_ONCE = 2**27
"""Logits held at once while losses are computed: half a gigabyte in float32."""


class Site:
    """A model at one hook, or between two of them.

    Activations are handed out as float32 on the SAE's device, with heads flattened or selected, whatever the model's own dtype,
    device and shape are. What is replaced and changed is the activation at the output: for an SAE the one that it reads.

    Args:
        model: A HookedTransformer, or another model with hook points as ``sae_lens.load_model.load_model`` returns it.
        place: Where the SAE sits.
        language: What the model says about its tokens.
        device: The SAE's device.
        model_kwargs: More arguments for the model's forward pass.

    Attributes:
        model: The model.
        place: Where the SAE sits.
        capabilities: Which backend answers which questions, found out by trying.
        changes: Runs with many changes from one position on.

    Raises:
        SubjectError: If the model lacks a hook, or the activation there does not fit the SAE.
    """

    def __init__(
        self, model: Any, place: Place, language: Language, device: torch.device, model_kwargs: dict[str, Any] | None = None
    ) -> None:
        self.model, self.place = model, place
        self._language, self._device = language, device
        self._shared: SharedPrefixes | None = None
        self._use(try_site(model, place, vocabulary=language.vocabulary, device=device, model_kwargs=model_kwargs))

    def using(self, capabilities: SiteCapabilities) -> "Site":
        """The same site, asked through other backends, as a reference for those that were found."""
        other = copy.copy(self)
        other._use(capabilities)
        return other

    def sharing(self, prefixes: SharedPrefixes) -> "Site":
        """The same site, whose runs up to the hook other sites there share."""
        other = copy.copy(self)
        other._shared = prefixes
        return other

    def _use(self, capabilities: SiteCapabilities) -> None:
        self.capabilities = capabilities
        self.changes = Changes(capabilities.changes, self.place.output, self._language.vocabulary, self._device)

    def prefix(self, tokens: Int[Tensor, "batch pos"]) -> Prefix:
        """Runs the model up to the hook; several questions about the same tokens share one prefix."""
        return self._run_to_hook(tokens) if self._shared is None else self._shared.prefix(tokens, self._run_to_hook)

    def activations(self, prefix: Prefix) -> Float[Tensor, "batch pos d_in"]:
        """The activation that the SAE sees.

        Raises:
            SubjectError: If it holds a NaN or an infinity, or is not ``d_in`` wide.
        """
        port = self.place.input
        return port.checked(port.read(prefix.activation if prefix.read is None else prefix.read, self._device))

    def targets(self, prefix: Prefix) -> Float[Tensor, "batch pos d_out"]:
        """The activation that the SAE's reconstruction stands for.

        Raises:
            SubjectError: If it holds a NaN or an infinity, or is not ``d_out`` wide.
        """
        return self.place.output.checked(self.place.output.read(prefix.activation, self._device))

    def valid(self, tokens: Int[Tensor, "batch pos"]) -> Bool[Tensor, "batch pos"]:
        """Positions that count: no special token, and inside the SAE's ``seqpos_slice``."""
        return self.place.inside(~self._language.special(tokens))

    def past(self, tokens: Int[Tensor, "rows past"]) -> Past:
        """Remembers beginnings that many rows share, for ``last``."""
        return self.capabilities.short_runs.past(tokens)

    def last(self, past: Past, tokens: Int[Tensor, "rows new"]) -> Float[Tensor, "rows d_in"]:
        """The activation on the last token of rows, given the beginnings of them all and what follows, at least one token."""
        return self.place.input.read(self.capabilities.short_runs.last(past, tokens), self._device)[:, -1]

    def logits(self, prefix: Prefix, replacement: Float[Tensor, "batch pos d_out"] | None = None) -> Float[Tensor, "batch pos vocab"]:
        """The model's logits, with another activation at the hook if one is given; on the model's device."""
        written = None if replacement is None else self.place.output.write(prefix.activation, replacement)
        return self.capabilities.whole.logits(prefix, written)

    def losses(
        self,
        prefix: Prefix,
        replacement: Float[Tensor, "batch pos d_out"] | None = None,
        *,
        where: Bool[Tensor, "batch pos"] | None = None,
    ) -> Float[Tensor, "batch pos-1"]:
        """Next-token cross-entropy in nats at every position but the last.

        Args:
            prefix: The tokens.
            replacement: The activation to put in the model's own place.
            where: Positions at which it is replaced; default ``valid(tokens)``, as SAELens leaves special tokens alone.
        """
        replacement = None if replacement is None else self._replaced(prefix, replacement, where)
        rows = self._rows_at_once(prefix)
        parts = [
            _next_token_losses(self.logits(part, None if replacement is None else replacement[i : i + rows]), part.tokens)
            for i, part in _split(prefix, rows)
        ]
        return torch.cat(parts).to(self._device)

    def losses_beside_clean(
        self, prefix: Prefix, replacement: Float[Tensor, "batch pos d_out"]
    ) -> tuple[Float[Tensor, "batch pos-1"], Float[Tensor, "batch pos-1"], Float[Tensor, "batch pos"]]:
        """What ``losses`` gives without a replacement and with one, and the KL divergence from the former's outputs to the latter's.

        Args:
            prefix: The tokens.
            replacement: The activation to put in the model's own place, where positions are ``valid(tokens)``.
        """
        replacement = self._replaced(prefix, replacement)
        rows = max(1, self._rows_at_once(prefix) // 2)
        parts = []
        for i, part in _split(prefix, rows):
            clean, changed = self.logits(part), self.logits(part, replacement[i : i + rows])
            losses = (_next_token_losses(logits, part.tokens) for logits in (clean, changed))
            parts.append([*losses, kl_divergence(changed, clean)])
        clean_losses, changed_losses, divergence = (torch.cat(each).to(self._device) for each in zip(*parts, strict=True))
        return clean_losses, changed_losses, divergence

    def _replaced(self, prefix: Prefix, replacement: Tensor, where: Tensor | None = None) -> Tensor:
        where = self.valid(prefix.tokens) if where is None else where
        return torch.where(where[..., None], replacement, self.place.output.read(prefix.activation, self._device))

    def _rows_at_once(self, prefix: Prefix) -> int:
        return max(1, LOGITS_AT_ONCE // (prefix.tokens.shape[1] * (self._language.vocabulary or 2**16)))

    def model_hash(self) -> str:
        """SHA-256 of a sample of the model's weights: of each, up to 256 values at equal distances, its name, shape and dtype."""
        digest = hashlib.sha256()
        for name, value in weights(self.model):
            digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
            sample = value.detach().flatten()[:: max(1, value.numel() // 256)]
            digest.update(sample.cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def _run_to_hook(self, tokens: Int[Tensor, "batch pos"]) -> Prefix:
        prefix = self.capabilities.whole.prefix(tokens)
        return replace(prefix, read=self.capabilities.reading.prefix(tokens).activation) if self.place.is_transcoder else prefix


def _split(prefix: Prefix, rows: int) -> Iterator[tuple[int, Prefix]]:
    for i in range(0, len(prefix.tokens), rows):
        part = slice(i, i + rows)
        yield i, Prefix(prefix.tokens[part], prefix.activation[part], None if prefix.residual is None else prefix.residual[part])


def _next_token_losses(logits: Tensor, tokens: Tensor) -> Tensor:
    if not bool(logits.sum().isfinite()) and not bool(logits.isfinite().all()):
        raise SubjectError("the model's logits hold NaN or infinity: load it in float32 or bfloat16, and check the SAE's reconstruction")
    targets = tokens[:, 1:].to(logits.device)
    losses = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), targets.flatten(), reduction="none")
    return losses.view(targets.shape)
