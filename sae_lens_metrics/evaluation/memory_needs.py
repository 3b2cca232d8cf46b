"""What an evaluation holds on the SAE's device, before it has begun; and what does not fit, said in time."""

import logging
import math
from dataclasses import dataclass

import torch

from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.metrics.memory_scale import MemoryScale
from sae_lens_metrics.metrics.registry import SANITY, metric_spec
from sae_lens_metrics.subject.half_weights import held_bytes
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.corpus import Corpus

__all__ = ["Room", "gpus_needed", "memory_faults", "memory_needs", "scale_of"]

logger = logging.getLogger("sae_lens_metrics")

_GIB = 2**30
_SURE = 0.5
"""What is counted is an upper bound: an evaluation is refused where not even this share of it fits."""
_L0 = 64


@dataclass(frozen=True)
class Room:
    """Memory of a GPU, in bytes."""

    free: float
    """What is left of it."""
    total: float
    """All of it."""


def memory_needs(config: MetricsConfig, scale: MemoryScale) -> dict[str, float]:
    """Bytes that the sanity line and each metric hold at most, one after the other, beside model and SAE; 0 for one that says nothing.

    Args:
        config: What to compute.
        scale: How large it is.

    Raises:
        ConfigError: If a metric is unknown.
    """
    specs = [metric_spec(name) for name in (SANITY, *config.names)]
    return {
        spec.name: 0.0 if spec.memory is None else spec.memory(config.settings.get(spec.name), scale, config.settings) for spec in specs
    }


def scale_of(subject: Subject, corpus: Corpus, config: MetricsConfig) -> MemoryScale:
    """How large an evaluation is.

    Args:
        subject: The model and SAE.
        corpus: The text.
        config: What to compute.
    """
    l0 = subject.expected.get("l0") or getattr(subject.dictionary.sae.cfg, "k", None) or _L0
    return MemoryScale(
        tokens=corpus.tokens.numel(),
        context=corpus.tokens.shape[1],
        batch_size=subject.site.rows_at_once(corpus.tokens.shape[1], config.batch_size),
        d_in=max(subject.d_in, subject.d_out),
        d_sae=subject.d_sae,
        n_layers=subject.language.layers,
        vocabulary=subject.language.vocabulary or 2**16,
        memory=config.memory_gb * _GIB,
        l0=max(1, math.ceil(l0)),
        on_cpu=subject.device.type == "cpu",
    )


def gpus_needed(*, needed: float, sae: float, model: float, total: float) -> int | None:
    """How many GPUs would do, over which the model is spread; the SAE and what metrics hold are on one of them.

    Args:
        needed: Bytes that metrics hold at most.
        sae: Bytes of the SAE.
        model: Bytes of the model.
        total: Bytes of one GPU.

    Returns:
        Their number; ``None`` where no number would do.
    """
    left = total - sae - needed
    return None if left < 0 else 1 + max(0, math.ceil((model - left) / total))


def memory_faults(subject: Subject, corpus: Corpus, config: MetricsConfig, room: Room | None = None) -> dict[str, str]:
    """What the SAE's device cannot hold, as far as is known; what it may not be able to hold is logged as a warning.

    Args:
        subject: The model and SAE.
        corpus: The text.
        config: What to compute.
        room: Memory of the device, default what it says; no other device than a GPU is asked.

    Returns:
        By metric, in a sentence: how much is needed and there, what to do, and how many GPUs would do.
    """
    room = _room(subject.device) if room is None else room
    if room is None:
        return {}
    needs = memory_needs(config, scale_of(subject, corpus, config))
    sae, model = (_bytes_of(each, subject.device) for each in (subject.dictionary.sae, subject.site.model))
    faults: dict[str, str] = {}
    for name, needed in needs.items():
        if needed <= room.free:
            continue
        gpus = gpus_needed(needed=needed, sae=sae, model=model, total=room.total)
        said = (
            f"{name} on {subject.d_sae:,} latents of width {subject.d_in:,} takes up to {needed / _GIB:.1f} GiB beside the model and "
            f"the SAE, {subject.device} has {room.free / _GIB:.1f} GiB left: lower batch_size or memory_gb, or leave out {name}; "
            f"{_more(gpus)}"
        )
        if _SURE * needed > room.free:
            faults[name] = said
        else:
            logger.warning("it may be too much: %s", said)
    return faults


def _more(gpus: int | None) -> str:
    if gpus is None:
        return "no number of GPUs of this size would do, as an SAE is on one of them"
    return f"{gpus} GPUs of this size would do (--device-map auto)" if gpus > 1 else "a GPU with nothing else on it would do"


def _room(device: torch.device) -> Room | None:
    if device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(device)
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # PyTorch's own, which it uses again
    return Room(free + kept, total)


def _bytes_of(module: torch.nn.Module, device: torch.device) -> float:
    return sum(held_bytes(each) for each in (*module.parameters(), *module.buffers()) if each.device == device)
