"""A model and an SAE (or a transcoder) at its hook, as one thing: the subject of an evaluation.

Only this file and its backends know hooks, normalisation state, architectures, devices, dtypes and special tokens.
"""

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from sae_lens.saes.sae import SAE, TrainingSAE
from sae_lens.util import get_special_token_ids
from torch import Tensor

from sae_lens_metrics.errors import SubjectError, UnsupportedSAEError
from sae_lens_metrics.functional.threads import Map, chunk_threads
from sae_lens_metrics.subject.backends import FullRunBackend, Onwards, Past, Prefix, evaluating, make_backend
from sae_lens_metrics.subject.inference_sae import inference_sae
from sae_lens_metrics.subject.shared_prefixes import SharedRuns

__all__ = ["Subject"]

_LOGITS_LIMIT = 2**27
"""Logits held at once while losses are computed: half a gigabyte in float32."""
_SCALED_OUTSIDE = ("expected_average_only_in", "covariance_whitening")
"""Normalisations that SAELens's trainer does, not the SAE; they are folded into its weights when it is saved."""
_STATE_WHILE_ENCODING = ("constant_norm_rescale", "layer_norm")
"""Normalisations whose state SAELens keeps on the SAE between encode and decode."""
_ENCODERS: tuple[tuple[str, str | None], ...] = (("b_enc", None), ("b_mag", "r_mag"))
"""Parameters of known encoders: the bias, and the logarithm of what scales the columns of ``W_enc`` if there is one."""
_TOLERANCE = 1e-3
"""Largest relative difference between SAELens's decode and the affine form that is taken for rounding."""


class Subject:
    """A model and an SAE at its hook, or a transcoder between two of them.

    Activations are handed out as float32 on the SAE's device, with heads flattened or selected, whatever the model's own dtype,
    device and shape are. What is reconstructed, replaced and ablated is the activation at the output: for an SAE the one that it reads.

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
        d_in: Width of the activation that is read.
        d_out: Width of the activation that is reconstructed.
        d_sae: Number of latents.
        hook_name: Where the SAE sits, and reads.
        output_hook_name: Where its reconstruction belongs; another hook for a transcoder.
        is_transcoder: Whether what is reconstructed is another activation than the one that is read.
        has_pre_activations: Whether the encoder has values before its activation function.
        context_size: Tokens a sequence, the beginning-of-sequence token included; ``None`` if nobody knows.
        prepend_bos: Whether sequences begin with the beginning-of-sequence token; ``None`` if nobody knows.
        expected: What the SAE's publisher says about it.
        decoder: What one unit of each latent adds, before normalisation is undone, [d_sae, d_out].
        shared_runs: Runs of the model up to the hook that other subjects there share, if any.

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
        self.model = model
        if isinstance(sae, TrainingSAE) and sae.cfg.normalize_activations in _SCALED_OUTSIDE:
            kind = sae.cfg.normalize_activations
            raise SubjectError(f"the SAE is in training with {kind}, whose scaler is not part of it: pass inference_sae(sae, scaler)")
        self.sae = inference_sae(sae) if isinstance(sae, TrainingSAE) else sae
        metadata = self.sae.cfg.metadata
        self.hook_name: str = hook_name or metadata.hook_name or ""
        if not self.hook_name:
            raise SubjectError("the SAE's metadata have no hook_name: pass hook_name")
        self.context_size: int | None = context_size or metadata.context_size
        self.prepend_bos: bool | None = metadata.prepend_bos if prepend_bos is None else prepend_bos
        self.d_in, self.d_sae = int(self.sae.cfg.d_in), int(self.sae.cfg.d_sae)
        self.is_transcoder = hasattr(self.sae.cfg, "d_out")
        self.d_out = int(self.sae.cfg.d_out) if self.is_transcoder else self.d_in
        self.output_hook_name: str = (output_hook_name or metadata.hook_name_out or "") if self.is_transcoder else self.hook_name
        if not self.output_hook_name:
            raise SubjectError("the transcoder's metadata have no hook_name_out: pass output_hook_name")
        self.expected = expected or ({"l0": float(metadata.l0)} if metadata.l0 else {})
        self._head: int | None = metadata.hook_head_index
        self._output_head: int | None = metadata.hook_head_index_out if self.is_transcoder else self._head
        self._positions = slice(*(metadata.seqpos_slice or (None,)))
        self.special_tokens = _special_tokens(model, metadata.exclude_special_tokens)
        self.shared_runs: SharedRuns | None = None
        self._encoder: tuple[str, str | None] | None = None
        self._adds_bias = True
        self.decoder = self._checked_decoder()
        self._backend = self._changes = make_backend(model, self.output_hook_name, model_kwargs)
        self._reader = self._short_runs = make_backend(model, self.hook_name, model_kwargs) if self.is_transcoder else self._backend
        self._check_fit()

    @classmethod
    def from_pretrained(cls, release: str, sae_id: str | None = None, **options: Any) -> "Subject":
        """Loads an SAE from the hub, or from a folder, and its model; ``pretrained.load_pretrained`` lists the options."""
        from sae_lens_metrics.loading.pretrained import load_pretrained  # a convenience that reaches one layer up

        return load_pretrained(release, sae_id, **options)

    @property
    def device(self) -> torch.device:
        """The SAE's device, where all of the subject's tensors live."""
        return self.sae.W_dec.device

    @property
    def chunk(self) -> int:
        """Tokens whose dense latents take at most a quarter of a gigabyte, for loops over encode and decode."""
        return max(16, 2**26 // self.d_sae)

    @property
    def vocabulary(self) -> int | None:
        """Number of tokens that the model knows, or ``None`` if it does not say."""
        config = getattr(self.model, "cfg", None)
        size = getattr(config, "d_vocab", None) or getattr(getattr(getattr(self.model, "model", None), "config", None), "vocab_size", None)
        return int(size) if size else None

    @property
    def precise(self) -> bool:
        """Whether the model computes in float32 at least."""
        return next(self.model.parameters()).dtype in (torch.float32, torch.float64)

    @property
    def counts_everywhere(self) -> bool:
        """Whether the SAE is for all positions of a sequence, not a slice of them."""
        return self._positions == slice(None)

    @property
    def longest_context(self) -> int | None:
        """Tokens that the model takes at most, or ``None`` if it does not say."""
        longest = getattr(getattr(self.model, "cfg", None), "n_ctx", None)
        return int(longest) if longest else None

    @property
    def bos_token(self) -> int | None:
        """The token that begins every sequence, or ``None`` where sequences begin without one, as they do if the tokenizer has none.

        Raises:
            SubjectError: If sequences begin with one and the model has no tokenizer to say which.
        """
        if not self.prepend_bos:
            return None
        if self.tokenizer is None:
            raise SubjectError(
                "sequences begin with BOS, but the model has no tokenizer to say which token that is: pass prepend_bos=False"
            )
        token = getattr(self.tokenizer, "bos_token_id", None)
        return None if token is None else int(token)

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer, or ``None``."""
        return getattr(self.model, "tokenizer", None)

    # --- the model -----------------------------------------------------------------------------------------------------------

    def prefix(self, tokens: Int[Tensor, "batch pos"]) -> Prefix:
        """Runs the model up to the hook; several questions about the same tokens share one prefix."""
        return self._run_to_hook(tokens) if self.shared_runs is None else self.shared_runs.prefix(tokens, self._run_to_hook)

    def _run_to_hook(self, tokens: Int[Tensor, "batch pos"]) -> Prefix:
        prefix = self._backend.prefix(tokens)
        return replace(prefix, read=self._reader.prefix(tokens).activation) if self.is_transcoder else prefix

    def activations(self, prefix: Prefix) -> Float[Tensor, "batch pos d_in"]:
        """The activation that the SAE sees.

        Raises:
            SubjectError: If it holds a NaN or an infinity, or is not ``d_in`` wide.
        """
        x = self._read(prefix.activation if prefix.read is None else prefix.read, self._head)
        return self._checked(x, self.hook_name, "d_in", self.d_in)

    def targets(self, prefix: Prefix) -> Float[Tensor, "batch pos d_out"]:
        """The activation that the SAE's reconstruction stands for.

        Raises:
            SubjectError: If it holds a NaN or an infinity, or is not ``d_out`` wide.
        """
        return self._checked(self._read(prefix.activation, self._output_head), self.output_hook_name, "d_out", self.d_out)

    def past(self, tokens: Int[Tensor, "rows past"]) -> Past:
        """Remembers beginnings that many rows share, for ``last``."""
        return self._short_runs.past(tokens)

    def last(self, past: Past, tokens: Int[Tensor, "rows new"]) -> Float[Tensor, "rows d_in"]:
        """The activation on the last token of rows, given the beginnings of them all and what follows, at least one token."""
        return self._read(self._short_runs.last(past, tokens), self._head)[:, -1]

    def many_short_runs(self) -> AbstractContextManager[Map]:
        """A `map` for calls of ``past``, ``last`` and ``encode``: on several threads, where the model and the SAE allow it."""
        stateless = self.sae.cfg.normalize_activations not in _STATE_WHILE_ENCODING
        return self._many(concurrent=self._short_runs.concurrent and stateless)

    def onwards(self, prefix: Prefix, start: int, activation: Float[Tensor, "batch pos d_out"] | None = None) -> Onwards:
        """Gets ready for many changes of the activation from one position on.

        Args:
            prefix: The tokens, up to the last position that is asked about.
            start: The first position that is changed.
            activation: What is in the place of the model's own activation, if it is not that itself.
        """
        written = prefix.activation if activation is None else self._write(prefix.activation, activation)
        return self._changes.onwards(prefix, written, start)

    def outputs(
        self, onwards: Onwards, rows: Int[Tensor, "n"], change: Float[Tensor, "n c d_out"] | None = None
    ) -> Float[Tensor, "n length d_output"]:
        """Runs the model with changed activations; the outputs tell of logits, from the first change on, by their differences.

        Args:
            onwards: The sequences and the position.
            rows: The sequence that each run is about.
            change: The activation at the first c positions in each run; by default nothing is changed.
        """
        rows = rows.to(onwards.activation.device)
        written = None
        if change is not None:
            written = self._write(onwards.activation[rows, onwards.start : onwards.start + change.shape[1]], change)
        return self._changes.outputs(onwards, rows, written)

    def logit_differences(
        self, outputs: Float[Tensor, "n pos d_output"], unchanged: Float[Tensor, "n pos d_output"]
    ) -> Float[Tensor, "n pos vocab"]:
        """Logits of changed runs minus those of unchanged ones, in float32."""
        return self._changes.logit_differences(outputs, unchanged)

    def bytes_per_change(self, onwards: Onwards) -> int:
        """Memory that ``outputs`` takes for each run while it computes, roughly, in bytes."""
        return self._changes.bytes_per_output(onwards, self.vocabulary or 2**16)

    def many_changes(self) -> AbstractContextManager[Map]:
        """A `map` for calls of ``outputs`` and ``logit_differences``: on several threads, where the model allows it."""
        return self._many(concurrent=self._changes.concurrent)

    def special(self, tokens: Int[Tensor, "batch pos"]) -> Bool[Tensor, "batch pos"]:
        """Where special tokens are; a document ends before and begins after each."""
        tokens = tokens.to(self.device)
        return torch.isin(tokens, self.special_tokens.to(self.device))

    def valid(self, tokens: Int[Tensor, "batch pos"]) -> Bool[Tensor, "batch pos"]:
        """Positions that count: no special token, and inside the SAE's ``seqpos_slice``."""
        special = self.special(tokens)
        inside = torch.zeros_like(special)
        inside[:, self._positions] = True
        return inside & ~special

    def logits(self, prefix: Prefix, replacement: Float[Tensor, "batch pos d_out"] | None = None) -> Float[Tensor, "batch pos vocab"]:
        """The model's logits, with another activation at the hook if one is given; on the model's device."""
        return self._backend.logits(prefix, None if replacement is None else self._write(prefix.activation, replacement))

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
        if replacement is not None:
            where = self.valid(prefix.tokens) if where is None else where
            replacement = torch.where(where[..., None], replacement, self._read(prefix.activation, self._output_head))
        rows = max(1, _LOGITS_LIMIT // (prefix.tokens.shape[1] * (self.vocabulary or 2**16)))
        parts = [
            _next_token_losses(self.logits(part, None if replacement is None else replacement[i : i + rows]), part.tokens)
            for i, part in _split(prefix, rows)
        ]
        return torch.cat(parts).to(self.device)

    # --- the SAE -------------------------------------------------------------------------------------------------------------

    def encode(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_sae"]:
        """Latents of activations, dense."""
        with self._quiet_sae(), torch.no_grad():
            z = self.sae.encode(x.to(self.sae.dtype))
            self._forget_state(x)
        return (z.to_dense() if z.is_sparse else z).float()

    def pre_activations(
        self, x: Float[Tensor, "*batch d_in"], latents: slice | None = None, *, at_once: int | None = None
    ) -> Float[Tensor, "*batch latents"]:
        """Latents before the activation function, as SAELens's ``hook_sae_acts_pre`` sees them.

        A gated SAE's magnitude path and a TopK SAE's values before rescaling are meant; both are affine in ``x @ W_enc`` per
        latent, like every other choice, so a 1d probe on them has the same loss. Where an architecture has none, as matching pursuit,
        these are the latents themselves.

        Args:
            x: Activations.
            latents: Which latents are wanted, all by default. Only they are computed where ``encoder_input`` gives something; other
                SAEs encode everything, and what is not wanted is thrown away.
            at_once: Tokens that such an SAE encodes at once; default ``chunk``.

        Raises:
            UnsupportedSAEError: If the SAE has several for each latent.
        """
        if latents is None:
            return self._hooked_pre_activations(x)
        given = self.encoder_input(x)
        if given is not None:
            return self.pre_activations_given(given, latents)
        parts = x.reshape(-1, self.d_in).split(at_once or self.chunk)
        wanted = torch.cat([self._hooked_pre_activations(part)[:, latents].clone() for part in parts])
        return wanted.view(*x.shape[:-1], -1)

    @property
    def has_affine_encoder(self) -> bool:
        """Whether the pre-activations are an affine map of what ``encoder_input`` gives."""
        return self._encoder is not None

    def encoder_input(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_in"] | None:
        """What the encoder's affine map is applied to, x normalised and without ``b_dec``; ``None`` where there is no such map.

        Whether there is one was tried out when the subject was made; the architecture's name says nothing about it.
        """
        if self._encoder is None:
            return None
        with self._quiet_sae(), torch.no_grad():
            given = self.sae.process_sae_in(x)
            self._forget_state(x)
        return given

    def pre_activations_given(self, encoder_input: Float[Tensor, "*batch d_in"], latents: slice) -> Float[Tensor, "*batch latents"]:
        """Pre-activations of some latents from what ``encoder_input`` gave, an affine map of it; several threads may ask at once."""
        if self._encoder is None:
            raise UnsupportedSAEError(f"the pre-activations of an SAE of architecture {self._architecture!r} are not known to be affine")
        return self._affine(self._encoder, encoder_input, latents).float()

    @torch.no_grad()
    def _affine(self, encoder: tuple[str, str | None], given: Tensor, latents: slice) -> Tensor:
        """``given @ W_enc + bias`` for some columns, in the dtype of ``given``; a second name is the logarithm of the columns' scale."""
        bias, log_scale = encoder
        weight: Tensor = getattr(self.sae, "W_enc")[:, latents]  # noqa: B009 - SAELens's types do not promise it
        if log_scale is not None:
            weight = weight * getattr(self.sae, log_scale)[latents].exp()
        return (given @ weight.to(given.dtype)).add_(getattr(self.sae, bias)[latents].to(given.dtype))

    def _hooked_pre_activations(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_sae"]:
        """Pre-activations by a full run of the encoder; the latents themselves where the architecture has none."""
        seen: list[Tensor] = []
        handle = self.sae.hook_sae_acts_pre.register_forward_hook(lambda module, args, output: seen.append(output.detach()))
        try:
            z = self.encode(x)
        finally:
            handle.remove()
        self.has_pre_activations = bool(seen)
        if len(seen) > 1:
            raise UnsupportedSAEError(f"an SAE of architecture {self._architecture!r} has several pre-activations per latent")
        return seen[0].float() if seen else z

    def decode(self, feature_acts: Float[Tensor, "*batch d_sae"], x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_out"]:
        """Reconstruction from latents, with the normalisation state that the true activation ``x`` sets, and what skips the latents."""
        with self._quiet_sae(), torch.no_grad():
            if self.is_transcoder:  # which undoes no normalisation
                return self.sae.decode(feature_acts.to(self.sae.dtype)).float() + self._skipped(x)
            self.sae.run_time_activation_norm_fn_in(x.to(self.sae.dtype))
            return self.sae.decode(feature_acts.to(self.sae.dtype)).float()

    def scale_and_offset(self, x: Float[Tensor, "*batch d_in"]) -> tuple[Float[Tensor, "*batch 1"], Float[Tensor, "*batch d_out"]]:
        """The affine form of decode: ``decode(z, x) = scale * (z @ decoder) + offset``; both depend on the token only."""
        bias = self.sae.b_dec.detach().float() * self._adds_bias
        if self.is_transcoder:
            return torch.ones_like(x[..., :1]), (bias + self._skipped(x)).expand(*x.shape[:-1], -1)
        zeros = torch.zeros_like(x)
        shift = self._undo_normalisation(zeros, x)
        scale = (self._undo_normalisation(zeros + 1, x) - shift)[..., :1]
        return scale, scale * bias + shift

    def latent_directions(self, x: Float[Tensor, "*batch d_in"], latents: Int[Tensor, "*batch k"]) -> Float[Tensor, "*batch k d_out"]:
        """What one unit of some latents adds to the reconstruction of each token, normalisation undone."""
        scale, _ = self.scale_and_offset(x)
        return scale[..., None] * self.decoder[latents]

    def settings(self) -> dict[str, Any]:
        """What the latents depend on besides weights and text: the hook, which positions count, BOS, the SAE's configuration."""
        config = {name: value for name, value in self.sae.cfg.to_dict().items() if name not in ("metadata", "device")}
        return {
            "hook_name": self.hook_name,
            "hook_head_index": self._head,
            **({"output_hook_name": self.output_hook_name} if self.is_transcoder else {}),
            "positions": [self._positions.start, self._positions.stop, self._positions.step],
            "bos_token": self.bos_token,
            "model_kwargs": {name: str(value) for name, value in self._backend.model_kwargs.items()},
            "special_tokens": self.special_tokens.tolist(),
            "sae_settings": {name: value if isinstance(value, int | float | bool | None) else str(value) for name, value in config.items()},
        }

    def weights_hash(self) -> str:
        """SHA-256 of the SAE's weights: names, shapes, dtypes and bytes."""
        digest = hashlib.sha256()
        for name, value in sorted(self.sae.state_dict().items()):
            digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def model_hash(self) -> str:
        """SHA-256 of a sample of the model's weights: of each, up to 256 values at equal distances, its name, shape and dtype."""
        digest = hashlib.sha256()
        for name, value in sorted(self.model.state_dict().items()):
            digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
            sample = value.detach().flatten()[:: max(1, value.numel() // 256)]
            digest.update(sample.cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    @property
    def neuronpedia_id(self) -> str | None:
        """What Neuronpedia calls the SAE, "model/layer-set", if its metadata say so."""
        return getattr(self.sae.cfg.metadata, "neuronpedia_id", None)

    def describe(self) -> dict[str, Any]:
        """The subject as JSON types, for the result file."""
        metadata = self.sae.cfg.metadata
        return {
            "architecture": self._architecture,
            "d_in": self.d_in,
            "d_sae": self.d_sae,
            "d_out": self.d_out,
            "dtype": str(self.sae.dtype).removeprefix("torch."),
            "hook_name": self.hook_name,
            "hook_head_index": self._head,
            "output_hook_name": self.output_hook_name,
            "context_size": self.context_size,
            "prepend_bos": self.prepend_bos,
            "normalize_activations": str(self.sae.cfg.normalize_activations),
            "model_name": metadata.model_name,
            "model_class": type(self.model).__name__,
            "backend": type(self._backend).__name__,
            "neuronpedia_id": self.neuronpedia_id,
            "weights_sha256": self.weights_hash(),
        }

    # --- inside --------------------------------------------------------------------------------------------------------------

    @property
    def _architecture(self) -> str:
        return str(self.sae.cfg.architecture())

    def _read(self, activation: Tensor, head: int | None) -> Tensor:
        """From the model's shape, dtype and device to the SAE's."""
        if head is not None:
            activation = activation[:, :, head]
        return activation.flatten(2).to(self.device, torch.float32)

    def _checked(self, activation: Tensor, hook_name: str, kind: str, width: int) -> Tensor:
        if activation.shape[-1] != width:
            raise SubjectError(
                f"the activation at {hook_name} is {activation.shape[-1]} wide, the SAE expects {kind} = {width}: "
                "is this the model, and the hook, that the SAE was trained on?"
            )
        if not bool(activation.isfinite().all()):
            raise SubjectError(f"the activation at {hook_name} holds NaN or infinity: load the model in float32 or bfloat16")
        return activation

    def _write(self, activation: Tensor, y: Tensor) -> Tensor:
        """From the SAE's shape, dtype and device to the model's."""
        y = y.to(activation)
        if self._output_head is None:
            return y.reshape(activation.shape)
        activation = activation.clone()
        activation[:, :, self._output_head] = y
        return activation

    def _skipped(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_out"] | float:
        """What a transcoder's reconstruction takes from its input past the latents."""
        weight = getattr(self.sae, "W_skip", None)
        return 0.0 if weight is None else x @ weight.detach().float().T

    def _undo_normalisation(self, values: Tensor, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.sae.run_time_activation_norm_fn_in(x.to(self.sae.dtype))
            return self.sae.run_time_activation_norm_fn_out(values.to(self.sae.dtype)).float()

    def _forget_state(self, x: Tensor) -> None:
        """Encode leaves the normalisation state on the SAE, which only decode would remove."""
        self.sae.run_time_activation_norm_fn_out(torch.zeros_like(x, dtype=self.sae.dtype))

    @contextmanager
    def _many(self, *, concurrent: bool) -> Iterator[Map]:
        with evaluating(self.model), self._quiet_sae():  # here already, as threads must not switch modes under each other
            if concurrent:
                with chunk_threads(self.device) as threads:
                    yield threads
            else:
                yield map

    @contextmanager
    def _quiet_sae(self) -> Iterator[None]:
        """The SAE in evaluation mode, taking flat activations; both restored afterwards."""
        reshapes = self.sae.hook_z_reshaping_mode
        if reshapes:
            self.sae.turn_off_forward_pass_hook_z_reshaping()
        try:
            with evaluating(self.sae):
                yield
        finally:
            if reshapes:
                self.sae.turn_on_forward_pass_hook_z_reshaping()

    def _checked_decoder(self) -> Float[Tensor, "d_sae d_out"]:
        """The decoder's rows, after a check that the SAE is of the supported form: latents in, affine decode out."""
        rows = getattr(self.sae, "W_dec", None)
        if not isinstance(rows, Tensor) or rows.shape != (self.d_sae, self.d_out):
            raise UnsupportedSAEError(
                f"an SAE of architecture {self._architecture!r} has no decoder W_dec of shape {(self.d_sae, self.d_out)}: not supported yet"
            )
        x = torch.randn(4, self.d_in, generator=torch.Generator().manual_seed(0)).to(self.device)
        with self._refusing("does not encode single activations"):
            z, pre = self.encode(x), self.pre_activations(x)
        if z.shape != (4, self.d_sae) or pre.shape != z.shape:
            shape = tuple(z.shape if z.shape != (4, self.d_sae) else pre.shape)
            raise UnsupportedSAEError(f"an SAE of architecture {self._architecture!r} gives latents of shape {shape}: not supported yet")
        with self._refusing("does not run like one of SAELens's own"):
            self._encoder = self._checked_encoder(x, pre)
            return self._decoder_by_trying(x, z)

    @contextmanager
    def _refusing(self, what: str) -> Iterator[None]:
        """Says in words what an SAE does not do, whatever it raises."""
        try:
            yield
        except UnsupportedSAEError:
            raise
        except (RuntimeError, ValueError, TypeError, AttributeError, LookupError) as error:
            reason = " ".join(str(error).split())
            raise UnsupportedSAEError(f"an SAE of architecture {self._architecture!r} {what} ({reason}): not supported yet") from error

    def _decoder_by_trying(self, x: Float[Tensor, "n d_in"], z: Float[Tensor, "n d_sae"]) -> Float[Tensor, "d_sae d_out"]:
        """The rows with which decode is affine in the latents: those of ``W_dec``, or the same at unit length; with ``b_dec`` or not."""
        with self._quiet_sae(), torch.no_grad():
            whole = self.sae(x.to(self.sae.dtype)).float()
            if self.is_transcoder:  # others forget it themselves
                self._forget_state(x)
        if not _relative_difference(self.decode(z, x), whole) < _tolerance_of(self.sae.dtype):
            raise UnsupportedSAEError(
                f"an SAE of architecture {self._architecture!r} does more than to decode what it encodes: not supported yet"
            )
        z = torch.randn(z.shape, generator=torch.Generator().manual_seed(1)).to(self.device)
        expected = self.decode(z, x)
        rows = self.sae.W_dec.detach().float()
        for self._adds_bias in (True, False):  # which tied SAEs leave out where the encoder does not subtract it
            scale, offset = self.scale_and_offset(x)
            for decoder in (rows, rows / self.sae.W_dec.detach().norm(dim=-1, keepdim=True).float()):
                if _relative_difference(scale * (z @ decoder) + offset, expected) < _tolerance_of(self.sae.dtype):
                    return decoder
        raise UnsupportedSAEError(
            f"an SAE of architecture {self._architecture!r} does not decode by a sum of latents times decoder rows: not supported yet"
        )

    def _checked_encoder(self, x: Float[Tensor, "n d_in"], expected: Float[Tensor, "n d_sae"]) -> tuple[str, str | None] | None:
        """Names of the parameters that make the pre-activations an affine map, found by trying; ``None`` if none do."""
        if not hasattr(self.sae, "process_sae_in"):
            return None
        with self._quiet_sae(), torch.no_grad():
            given = self.sae.process_sae_in(x)
            self._forget_state(x)
        for encoder in _ENCODERS:
            if all(isinstance(getattr(self.sae, name, None), Tensor) for name in ("W_enc", *filter(None, encoder))):
                pre = self._affine(encoder, given, slice(None))
                if pre.shape == expected.shape and _relative_difference(pre, expected) < _tolerance_of(self.sae.dtype):
                    return encoder
        return None

    def _check_fit(self) -> None:
        """Runs a few tokens: the activation must fit the SAE, and the fast run must agree with the full one."""
        tokens = torch.arange(8).remainder(self.vocabulary or 8).reshape(2, 4)
        prefix = self.prefix(tokens)
        self.activations(prefix)
        y = self.targets(prefix)
        if self.is_transcoder:
            self._check_reader(tokens)
        if type(self._backend) is FullRunBackend:
            return
        reference = FullRunBackend(self.model, self.output_hook_name, self._backend.model_kwargs)
        replacement = self._write(prefix.activation, y * 0.5)
        fast, full = self._backend.logits(prefix, replacement), reference.logits(prefix, replacement)
        activation = reference.prefix(tokens).activation
        same_activation = _relative_difference(prefix.activation, activation) < _tolerance_of(activation.dtype)
        if not same_activation or not _relative_difference(fast, full) < _tolerance_of(full.dtype):
            warnings.warn(
                f"running {type(self.model).__name__} from {self.output_hook_name} on differs from a full run: every pass is one now",
                stacklevel=3,
            )
            self._backend = self._changes = reference
            if not self.is_transcoder:
                self._reader = self._short_runs = reference
            return
        if not self.is_transcoder and not self._continues_well(tokens, activation[:, -1:]):
            self._short_runs = reference
        self._changes = self._for_changes(prefix, reference)

    def _check_reader(self, tokens: Int[Tensor, "rows pos"]) -> None:
        """The same for the hook that a transcoder reads."""
        reference = FullRunBackend(self.model, self.hook_name, self._backend.model_kwargs)
        activation = reference.prefix(tokens).activation
        if not _relative_difference(self._reader.prefix(tokens).activation, activation) < _tolerance_of(activation.dtype):
            self._reader = self._short_runs = reference
        elif not self._continues_well(tokens, activation[:, -1:]):
            self._short_runs = reference

    def _continues_well(self, tokens: Int[Tensor, "rows pos"], expected: Tensor) -> bool:
        """Whether the backend can go on from the beginnings of rows as if it ran them as a whole."""
        if not self._reader.remembers_past:
            return False
        continued = self._reader.last(self._reader.past(tokens[:, :2]), tokens[:, 2:])
        well = _relative_difference(continued, expected) < _tolerance_of(expected.dtype)
        if not well:
            kind = type(self.model).__name__
            warnings.warn(f"running {kind} on from keys and values differs from a full run: N2G runs whole rows now, slower", stacklevel=4)
        return well

    def _for_changes(self, prefix: Prefix, reference: FullRunBackend) -> FullRunBackend:
        """The fastest backend that sees the same effects of changes as whole runs do."""
        backend, reason = self._backend if self._backend.remembers_onwards else None, ""
        while backend is not None:
            try:
                if self._changes_well(backend, prefix, reference):
                    return backend
                reason = reason or "its results differ from a full run's"
            except Exception as error:  # whatever a model may raise when it is run in this way
                reason = reason or f"{type(error).__name__}: {error}"
            backend = backend.simpler()
        if reason:
            kind = type(self.model).__name__
            warnings.warn(f"{kind} cannot be run on after a change ({reason}): ablation makes full runs now, slower", stacklevel=4)
        return reference

    def _changes_well(self, backend: FullRunBackend, prefix: Prefix, reference: FullRunBackend) -> bool:
        rows = torch.tensor([1, 1, 1, 0, 0], device=prefix.activation.device)
        # towards another token's activation, as a model's norm may take a change of scale alone away
        weight = torch.linspace(0.2, 0.8, 5).to(prefix.activation).view(5, *[1] * (prefix.activation.ndim - 1))
        change = prefix.activation[rows, 1:3].lerp(prefix.activation[rows, 2:4], weight)
        effects = [
            each.logit_differences(each.outputs(onwards, rows, change), each.outputs(onwards, torch.arange(2), None)[rows])
            for each in (backend, reference)
            for onwards in [each.onwards(prefix, prefix.activation, 1)]
        ]
        return _relative_difference(*effects) < _tolerance_of(prefix.activation.dtype)


def _special_tokens(model: Any, excluded: bool | list[int] | None) -> Int[Tensor, "special"]:
    tokenizer = getattr(model, "tokenizer", None)
    ids = set(get_special_token_ids(tokenizer)) if tokenizer is not None else set()
    ids |= set(excluded) if isinstance(excluded, list) else set()
    return torch.tensor(sorted(ids), dtype=torch.long)


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


def _relative_difference(a: Tensor, b: Tensor) -> float:
    return float((a.float() - b.float()).norm() / b.float().norm().clamp_min(1e-12))


def _tolerance_of(dtype: torch.dtype) -> float:
    return _TOLERANCE if dtype in (torch.float32, torch.float64) else 0.05
