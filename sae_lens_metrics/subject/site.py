"""The model at the hook of an SAE: activations up to it, and what other activations there do to the logits."""

import copy
import hashlib
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_lens_metrics.integrations.offloading import weights
from sae_lens_metrics.subject.backends import Past, Prefix, each_part, rows_of, tokens_at_once, tokens_of_a_run
from sae_lens_metrics.subject.capabilities import SiteCapabilities
from sae_lens_metrics.subject.changes import Changes
from sae_lens_metrics.subject.language import Language
from sae_lens_metrics.subject.next_tokens import losses, losses_beside_clean
from sae_lens_metrics.subject.place import Place
from sae_lens_metrics.subject.shared_prefixes import SharedPrefixes
from sae_lens_metrics.subject.trying_sites import try_site

__all__ = ["Site"]


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

    def activations_at(self, tokens: Int[Tensor, "batch pos"], position: Int[Tensor, "batch"]) -> Float[Tensor, "batch d_in"]:
        """The activation that the SAE sees, at one position of each sequence; it depends on nothing that comes later.

        Raises:
            SubjectError: If it holds a NaN or an infinity, or is not ``d_in`` wide.
        """
        run = partial(self._run_to_position, position=position)
        activation = run(tokens) if self._shared is None else self._shared.at(tokens, position, run)
        port = self.place.input
        return port.checked(port.read(activation, self._device))[:, 0]

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
        written = None if replacement is None else self._written(prefix, replacement, where)
        return losses(self.capabilities.whole, prefix, written, self._language.vocabulary).to(self._device)

    def losses_beside_clean(
        self, prefix: Prefix, replacement: Float[Tensor, "batch pos d_out"]
    ) -> tuple[Float[Tensor, "batch pos-1"], Float[Tensor, "batch pos-1"], Float[Tensor, "batch pos"]]:
        """What ``losses`` gives without a replacement and with one, and the KL divergence from the former's outputs to the latter's.

        Args:
            prefix: The tokens.
            replacement: The activation to put in the model's own place, where positions are ``valid(tokens)``.
        """
        written = self._written(prefix, replacement, None)
        clean, changed, divergence = losses_beside_clean(self.capabilities.whole, prefix, written, self._language.vocabulary)
        return clean.to(self._device), changed.to(self._device), divergence.to(self._device)

    def _written(self, prefix: Prefix, replacement: Tensor, where: Tensor | None) -> Tensor:
        where = self.valid(prefix.tokens) if where is None else where
        replaced = torch.where(where[..., None], replacement, self.place.output.read(prefix.activation, self._device))
        return self.place.output.write(prefix.activation, replaced)

    def rows_at_once(self, length: int, ceiling: int | None = None) -> int:
        """Sequences of some length that are best run at once on the device.

        Args:
            length: Tokens of a sequence.
            ceiling: Sequences at most, if there is a limit.
        """
        return rows_of(tokens_at_once(self.model, self.capabilities.whole.device), length, ceiling)

    def tokens_of_a_run(self) -> int:
        """Tokens that one run of the model is best given: of a thread, on a CPU."""
        return tokens_of_a_run(self.model, self.capabilities.whole.device)

    def model_hash(self) -> str:
        """SHA-256 of a sample of the model's weights: of each, up to 256 values at equal distances, its name, shape and dtype."""
        digest = hashlib.sha256()
        for name, value in weights(self.model):
            digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
            sample = value.detach().flatten()[:: max(1, value.numel() // 256)]
            digest.update(sample.cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def _run_to_position(self, tokens: Int[Tensor, "batch pos"], position: Int[Tensor, "batch"]) -> Float[Tensor, "batch 1 ..."]:
        reading = self.capabilities.reading
        return torch.cat(each_part(reading, tokens, lambda rows: reading.at(tokens[rows], position[rows])))

    def _run_to_hook(self, tokens: Int[Tensor, "batch pos"]) -> Prefix:
        whole, reading = self.capabilities.whole, self.capabilities.reading
        prefix = Prefix.joined(each_part(whole, tokens, lambda rows: whole.prefix(tokens[rows])))
        if not self.place.is_transcoder:
            return prefix
        return replace(prefix, read=torch.cat(each_part(reading, tokens, lambda rows: reading.prefix(tokens[rows]).activation)))
