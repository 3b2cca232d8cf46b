"""Where in a model an SAE sits: what it reads, what its reconstruction stands for, and which positions count."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from sae_lens import SAE
from torch import Tensor

from sae_lens_metrics.errors import SubjectError
from sae_lens_metrics.subject.hook_paths import hook_path

__all__ = ["Place", "Port"]


@dataclass(frozen=True)
class Port:
    """One hook, as the SAE sees it: heads flattened or one of them, in float32 on the SAE's device."""

    hook_name: str
    """What the SAE calls the hook."""
    path: str
    """What the model calls it."""
    head: int | None
    """Which head is meant, where the hook has several and the SAE is for one."""
    width: int
    """How wide the activation is that the SAE reads or reconstructs."""
    kind: str
    """What SAELens calls that width, for errors."""

    def read(self, activation: Float[Tensor, "batch pos ..."], device: torch.device) -> Float[Tensor, "batch pos width"]:
        """From the model's shape, dtype and device to the SAE's.

        Raises:
            SubjectError: If the SAE is for a head that the activation does not have.
        """
        if self.head is not None:
            heads = activation.shape[2] if activation.ndim > 3 else 0
            if not -heads <= self.head < heads:
                raise SubjectError(f"the SAE is for head {self.head} of {self.hook_name}, which has {heads} heads: correct hook_head_index")
            activation = activation[:, :, self.head]
        return activation.flatten(2).to(device, torch.float32)

    def checked(self, activation: Float[Tensor, "batch pos width"]) -> Float[Tensor, "batch pos width"]:
        """The same activation, if it can be the one that the SAE is for.

        Raises:
            SubjectError: If it holds a NaN or an infinity, or has another width.
        """
        if activation.shape[-1] != self.width:
            raise SubjectError(
                f"the activation at {self.hook_name} is {activation.shape[-1]} wide, the SAE expects {self.kind} = {self.width}: "
                "is this the model, and the hook, that the SAE was trained on?"
            )
        if not bool(activation.isfinite().all()):
            raise SubjectError(f"the activation at {self.hook_name} holds NaN or infinity: load the model in float32 or bfloat16")
        return activation

    def write(self, activation: Float[Tensor, "batch pos ..."], y: Float[Tensor, "batch pos width"]) -> Float[Tensor, "batch pos ..."]:
        """From the SAE's shape, dtype and device to the model's; of an activation with several heads, one is replaced."""
        y = y.to(activation)
        if self.head is None:
            return y.reshape(activation.shape)
        activation = activation.clone()
        activation[:, :, self.head] = y
        return activation


@dataclass(frozen=True)
class Place:
    """The hooks of an SAE or a transcoder, and the positions at which it may be used."""

    input: Port
    """What the SAE reads."""
    output: Port
    """What its reconstruction stands for: the same, or another hook of a transcoder."""
    is_transcoder: bool
    """Whether what is reconstructed is another activation than the one that is read."""
    positions: slice
    """Positions of a sequence that the SAE is for."""

    @classmethod
    def of(cls, sae: SAE[Any], model: Any, hook_name: str | None = None, output_hook_name: str | None = None) -> "Place":
        """Where an SAE's metadata say that it sits in a model, if the caller does not say otherwise.

        Raises:
            SubjectError: If nobody names a hook, or no module of the model puts out what passes it.
        """
        metadata, d_in = sae.cfg.metadata, int(sae.cfg.d_in)
        suggested = None if hook_name else getattr(metadata, "hf_hook_name", None)
        hook_name = hook_name or metadata.hook_name
        if not hook_name:
            raise SubjectError("the SAE's metadata have no hook_name: pass hook_name")
        positions, head = slice(*(metadata.seqpos_slice or (None,))), metadata.hook_head_index
        read = Port(hook_name, hook_path(model, hook_name, suggested), head, d_in, "d_in")
        if not hasattr(sae.cfg, "d_out"):
            return cls(read, replace(read, kind="d_out"), False, positions)
        suggested = None if output_hook_name else getattr(metadata, "hf_hook_name_out", None)
        output_hook_name = output_hook_name or metadata.hook_name_out
        if not output_hook_name:
            raise SubjectError("the transcoder's metadata have no hook_name_out: pass output_hook_name")
        path = hook_path(model, output_hook_name, suggested)
        output = Port(output_hook_name, path, metadata.hook_head_index_out, int(sae.cfg.d_out), "d_out")
        return cls(read, output, True, positions)

    @property
    def counts_everywhere(self) -> bool:
        """Whether the SAE is for all positions of a sequence, not a slice of them."""
        return self.positions == slice(None)

    def inside(self, positions: Bool[Tensor, "batch pos"]) -> Bool[Tensor, "batch pos"]:
        """Those of some positions at which the SAE may be used."""
        inside = torch.zeros_like(positions)
        inside[:, self.positions] = True
        return inside & positions
