"""A model and an SAE (or a transcoder) at its hook, as one thing: the subject of an evaluation.

Only this folder knows hooks, normalisation state, architectures, devices, dtypes and special tokens.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from sae_lens import SAE, TrainingSAE

from sae_lens_metrics.errors import SubjectError
from sae_lens_metrics.functional.threads import Map
from sae_lens_metrics.subject.backends import concurrently
from sae_lens_metrics.subject.dictionary import Dictionary
from sae_lens_metrics.subject.inference_sae import SCALED_OUTSIDE, inference_sae
from sae_lens_metrics.subject.language import Language
from sae_lens_metrics.subject.place import Place
from sae_lens_metrics.subject.shared_prefixes import SharedPrefixes
from sae_lens_metrics.subject.site import Site

__all__ = ["Subject"]


class Subject:
    """A model and an SAE at its hook, or a transcoder between two of them.

    Args:
        model: A HookedTransformer, or another model with hook points as ``sae_lens.load_model.load_model`` returns it.
        sae: An SAE of SAELens; an SAE in training is evaluated as the inference SAE that would be saved now.
        hook_name: The hook, if not the one in the SAE's metadata.
        output_hook_name: The hook of a transcoder's output, if not the one in its metadata.
        context_size: Tokens a sequence, if not as in the SAE's metadata.
        prepend_bos: Whether sequences begin with the beginning-of-sequence token, if not as in the SAE's metadata.
        model_kwargs: More arguments for the model's forward pass, as in SAELens's configuration.
        expected: What the SAE's publisher says about it, ``l0`` and ``explained_variance``; default the ``l0`` in the metadata.

    Attributes:
        site: The model at the hook: activations, logits, losses.
        dictionary: The SAE: latents, and what they add.
        language: The model's tokens, and the form of the SAE's sequences.
        expected: What the SAE's publisher says about it.

    Raises:
        SubjectError: If the model lacks the hook or the activation there is not ``d_in`` wide.
        UnsupportedSAEError: If the SAE's architecture cannot be evaluated yet.
    """

    def __init__(
        self,
        model: Any,
        sae: SAE[Any],
        *,
        hook_name: str | None = None,
        output_hook_name: str | None = None,
        context_size: int | None = None,
        prepend_bos: bool | None = None,
        model_kwargs: dict[str, Any] | None = None,
        expected: dict[str, float] | None = None,
    ) -> None:
        sae = _for_inference(sae)
        metadata = sae.cfg.metadata
        place = Place.of(sae, model, hook_name, output_hook_name)
        self.expected = expected or ({"l0": float(metadata.l0)} if metadata.l0 else {})
        self.dictionary = Dictionary(sae, place.output.width)
        prepend_bos = metadata.prepend_bos if prepend_bos is None else prepend_bos
        excluded = metadata.exclude_special_tokens
        self.language = Language(model, context_size or metadata.context_size, prepend_bos, excluded, self.device)
        self.site = Site(model, place, self.language, self.device, model_kwargs)

    @property
    def device(self) -> torch.device:
        """The SAE's device, where all of the subject's tensors live."""
        return self.dictionary.sae.W_dec.device

    @property
    def d_in(self) -> int:
        """Width of the activation that is read."""
        return self.site.place.input.width

    @property
    def d_out(self) -> int:
        """Width of the activation that is reconstructed."""
        return self.site.place.output.width

    @property
    def d_sae(self) -> int:
        """Number of latents."""
        return self.dictionary.d_sae

    @property
    def hook_name(self) -> str:
        """Where the SAE sits, and reads."""
        return self.site.place.input.hook_name

    @property
    def is_transcoder(self) -> bool:
        """Whether what is reconstructed is another activation than the one that is read."""
        return self.site.place.is_transcoder

    @property
    def neuronpedia_id(self) -> str | None:
        """What Neuronpedia calls the SAE, "model/layer-set", if its metadata say so."""
        return getattr(self.dictionary.sae.cfg.metadata, "neuronpedia_id", None)

    def sharing(self, prefixes: SharedPrefixes) -> "Subject":
        """The same subject, whose runs up to the hook other subjects there share."""
        other = copy.copy(self)
        other.site = self.site.sharing(prefixes)
        return other

    @contextmanager
    def many_short_runs(self) -> Iterator[Map]:
        """A `map` for calls of the site's ``past`` and ``last`` and of ``encode``: on several threads, where both allow it."""
        # in evaluation mode here already, as threads must not switch modes under each other
        with concurrently(self.site.capabilities.short_runs, self.device) as every, self.dictionary.quiet():
            yield every if self.dictionary.capabilities.concurrent else map

    def settings(self) -> dict[str, Any]:
        """What the latents depend on besides weights and text: the hook, which positions count, BOS, the SAE's configuration."""
        config = {name: value for name, value in self.dictionary.sae.cfg.to_dict().items() if name not in ("metadata", "device")}
        place = self.site.place
        return {
            "hook_name": place.input.hook_name,
            "hook_head_index": place.input.head,
            **({"output_hook_name": place.output.hook_name} if place.is_transcoder else {}),
            "positions": [place.positions.start, place.positions.stop, place.positions.step],
            "bos_token": self.language.bos_token,
            "model_kwargs": {name: str(value) for name, value in self.site.capabilities.whole.model_kwargs.items()},
            "special_tokens": self.language.special_tokens.tolist(),
            "sae_settings": {name: value if isinstance(value, int | float | bool | None) else str(value) for name, value in config.items()},
        }

    def describe(self) -> dict[str, Any]:
        """The subject as JSON types, for the result file."""
        sae, place = self.dictionary.sae, self.site.place
        return {
            "architecture": str(sae.cfg.architecture()),
            "d_in": self.d_in,
            "d_sae": self.d_sae,
            "d_out": self.d_out,
            "dtype": str(sae.dtype).removeprefix("torch."),
            "hook_name": place.input.hook_name,
            "hook_head_index": place.input.head,
            "output_hook_name": place.output.hook_name,
            "hook_path": place.input.path,
            "output_hook_path": place.output.path,
            "context_size": self.language.context_size,
            "prepend_bos": self.language.prepend_bos,
            "normalize_activations": str(sae.cfg.normalize_activations),
            "model_name": sae.cfg.metadata.model_name,
            "model_class": type(self.site.model).__name__,
            "model_dtype": str(next(self.site.model.parameters()).dtype).removeprefix("torch."),
            "backend": type(self.site.capabilities.whole).__name__,
            "neuronpedia_id": self.neuronpedia_id,
            "weights_sha256": self.dictionary.weights_hash(),
        }


def _for_inference(sae: SAE[Any]) -> SAE[Any]:
    """The SAE itself, or the inference SAE that SAELens would save of one in training."""
    if not isinstance(sae, TrainingSAE):
        return sae
    if sae.cfg.normalize_activations in SCALED_OUTSIDE:
        kind = sae.cfg.normalize_activations
        raise SubjectError(f"the SAE is in training with {kind}, whose scaler is not part of it: pass inference_sae(sae, scaler)")
    return inference_sae(sae)
