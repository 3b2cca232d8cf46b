"""Finds out by trying which backend gives, at a hook of a model, what whole runs give; the fastest that does is used."""

import warnings
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from sae_lens_metrics.errors import SubjectError
from sae_lens_metrics.integrations.saelens import HookedProxyLM
from sae_lens_metrics.subject.backends import Backend, FullRunBackend, Prefix, make_backend
from sae_lens_metrics.subject.capabilities import SiteCapabilities, relative_difference, tolerance_of
from sae_lens_metrics.subject.place import Place

__all__ = ["try_site"]


def try_site(
    model: Any, place: Place, *, vocabulary: int | None, device: torch.device, model_kwargs: dict[str, Any] | None = None
) -> SiteCapabilities:
    """Runs a few tokens: the activation must fit the SAE, and a fast run must agree with a whole one.

    Args:
        model: The model.
        place: Where the SAE sits.
        vocabulary: Number of tokens that the model knows, if it says so.
        device: The SAE's device.
        model_kwargs: More arguments for the model's forward pass.

    Raises:
        SubjectError: If the model lacks a hook, or the activation there does not fit the SAE.
    """
    tokens = torch.arange(8).remainder(vocabulary or 8).reshape(2, 4)
    whole = make_backend(model, place.output.path, model_kwargs)
    reading = make_backend(model, place.input.path, model_kwargs) if place.is_transcoder else whole
    prefix = _first_run(whole, tokens)
    read = reading.prefix(tokens).activation if place.is_transcoder else prefix.activation
    place.input.checked(place.input.read(read, device))
    y = place.output.checked(place.output.read(prefix.activation, device))
    trial = _Trial(model, tokens)
    if model_kwargs and isinstance(model, HookedProxyLM):
        trial.remarks.append(f"SAELens's wrapper of transformers models does not hand on arguments of the forward pass: {model_kwargs}")
    whole, changes = trial.onwards(whole, prefix, place.output.write(prefix.activation, y * 0.5))
    reading, short_runs = trial.reading(reading if place.is_transcoder else whole)
    for remark in trial.remarks:
        warnings.warn(remark, stacklevel=4)  # whoever makes a subject
    return SiteCapabilities(whole, reading, short_runs, changes)


def _first_run(backend: Backend, tokens: Int[Tensor, "rows pos"]) -> Prefix:
    try:
        return backend.prefix(tokens)
    except TypeError as error:
        if not backend.model_kwargs:
            raise
        raise SubjectError(
            f"the model's forward pass does not take {backend.model_kwargs} (model_kwargs): {error}; "
            "arguments of its loading are model_from_pretrained_kwargs"
        ) from error


class _Trial:
    def __init__(self, model: Any, tokens: Int[Tensor, "rows pos"]) -> None:
        self._model, self._tokens = model, tokens
        self._kind = type(model).__name__
        self.remarks: list[str] = []
        """What is slower than it could be."""

    def reading(self, backend: Backend) -> tuple[Backend, Backend]:
        """Backends for runs up to the hook, of whole sequences and of short rows that begin alike."""
        if backend.abilities.runs_whole:
            return backend, backend
        reference = self._reference(backend)
        expected = reference.prefix(self._tokens).activation
        position = torch.tensor([2, 1])
        same = _agree(backend.prefix(self._tokens).activation, expected)
        if not same or not _agree(backend.at(self._tokens, position)[:, 0], expected[torch.arange(2), position]):
            return reference, reference
        return backend, backend if self._continues_well(backend, expected[:, -1:]) else reference

    def onwards(self, backend: Backend, prefix: Prefix, replacement: Tensor) -> tuple[Backend, Backend]:
        """Backends for runs from the hook on, of whole sequences and of changes from one position on."""
        if backend.abilities.runs_whole:
            return backend, backend
        reference = self._reference(backend)
        fast, full = backend.logits(prefix, replacement), reference.logits(prefix, replacement)
        if not _agree(prefix.activation, reference.prefix(self._tokens).activation) or not _agree(fast, full):
            self.remarks.append(f"running {self._kind} from {backend.hook_name} on differs from a full run: every pass is one now")
            return reference, reference
        return backend, self._for_changes(backend, prefix, reference)

    def _reference(self, backend: Backend) -> Backend:
        return FullRunBackend(self._model, backend.hook_name, backend.model_kwargs)

    def _continues_well(self, backend: Backend, expected: Tensor) -> bool:
        """Whether the backend can go on from the beginnings of rows as if it ran them as a whole."""
        if not backend.abilities.remembers_past:
            return False
        well = _agree(backend.last(backend.past(self._tokens[:, :2]), self._tokens[:, 2:]), expected)
        if not well:
            self.remarks.append(f"running {self._kind} on from keys and values differs from a full run: N2G runs whole rows now, slower")
        return well

    def _for_changes(self, fastest: Backend, prefix: Prefix, reference: Backend) -> Backend:
        """The fastest backend that sees the same effects of changes as whole runs do."""
        backend, reason = fastest if fastest.abilities.remembers_onwards else None, ""
        while backend is not None:
            try:
                if _changes_well(backend, prefix, reference):
                    return backend
                reason = reason or "its results differ from a full run's"
            except Exception as error:  # whatever a model may raise when it is run in this way
                reason = reason or f"{type(error).__name__}: {error}"
            backend = backend.simpler()
        if reason:
            self.remarks.append(f"{self._kind} cannot be run on after a change ({reason}): ablation makes full runs now, slower")
        return reference


def _changes_well(backend: Backend, prefix: Prefix, reference: Backend) -> bool:
    rows = torch.tensor([1, 1, 1, 0, 0], device=prefix.activation.device)
    # towards another token's activation, as a model's norm may take a change of scale alone away
    weight = torch.linspace(0.2, 0.8, 5).to(prefix.activation).view(5, *[1] * (prefix.activation.ndim - 1))
    change = prefix.activation[rows, 1:3].lerp(prefix.activation[rows, 2:4], weight)
    effects = [
        each.logit_differences(each.outputs(onwards, rows, change), each.outputs(onwards, torch.arange(2), None)[rows])
        for each in (backend, reference)
        for onwards in [each.onwards(prefix, prefix.activation, 1)]
    ]
    return relative_difference(*effects) < tolerance_of(prefix.activation.dtype)


def _agree(fast: Tensor, full: Tensor) -> bool:
    return relative_difference(fast, full) < tolerance_of(full.dtype)
