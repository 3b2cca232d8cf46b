"""A random model, a random SAE at its hook, and text as skewed as text is: what rates depend on, without a download."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from sae_lens import TopKSAE, TopKSAEConfig
from torch import Tensor

from sae_lens_metrics.benchmark.shapes import Shape
from sae_lens_metrics.integrations.transformer_lens import HookedTransformer, HookedTransformerConfig
from sae_lens_metrics.subject.subject import Subject

__all__ = ["Bench", "synthetic_bench", "zipf_tokens"]

_ACTIVE = 32


@dataclass(frozen=True)
class Bench:
    """What is measured on."""

    shape: Shape
    """The shape of everything."""
    subject: Subject
    """A random TopK SAE at the hook of a random model."""
    seconds: float
    """How long each measurement takes at least."""

    @property
    def device(self) -> torch.device:
        """Where it all is."""
        return self.subject.device

    @property
    def is_cpu(self) -> bool:
        """Whether measurements are to be small."""
        return self.device.type == "cpu"

    def tokens(self, sequences: int, seed: int = 0) -> Int[Tensor, "sequences context"]:
        """Text without meaning, on the device."""
        return zipf_tokens((sequences, self.shape.context), self.shape.vocabulary, seed).to(self.device)


def zipf_tokens(size: tuple[int, ...], vocabulary: int, seed: int) -> Int[Tensor, "..."]:
    """Tokens of which the r-th most frequent has a share of about 1 / r, as in text.

    Args:
        size: How many.
        vocabulary: Tokens that there are.
        seed: Of the draw.
    """
    uniform = torch.rand(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (vocabulary**uniform).long().sub(1).clamp(0, vocabulary - 1)


def synthetic_bench(shape: Shape, device: str, *, seconds: float, tokenizer: Any = None) -> Bench:
    """Makes a model and an SAE of a shape; no random number of anybody else's is used up.

    Args:
        shape: The shape.
        device: Where.
        seconds: How long each measurement is to take at least.
        tokenizer: The model's, if it is to read text; sequences begin with BOS then.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = HookedTransformer(
            HookedTransformerConfig(
                n_layers=shape.n_layers,
                d_model=shape.d_model,
                n_heads=shape.n_heads,
                d_head=shape.d_head,
                d_mlp=shape.d_mlp,
                d_vocab=shape.vocabulary,
                n_ctx=shape.context,
                act_fn="gelu_new",
                device="cpu",
                seed=0,
            ),
            tokenizer,
            move_to_device=False,
        )
        active = min(_ACTIVE, shape.d_model // 4)
        sae = TopKSAE(TopKSAEConfig(d_in=shape.d_model, d_sae=shape.d_sae, k=active, device="cpu"))
        with torch.no_grad():
            torch.nn.init.normal_(sae.W_enc, std=shape.d_model**-0.5)
            sae.W_dec.copy_(torch.nn.functional.normalize(sae.W_enc.T, dim=1))
    sae.cfg.metadata.hook_name = f"blocks.{shape.layers_to_hook - 1}.hook_resid_post"
    sae.cfg.metadata.context_size, sae.cfg.metadata.prepend_bos = shape.context, tokenizer is not None
    bench = Bench(shape, Subject(model.to(device, print_details=False), sae.to(device)), seconds)
    _centre(bench)
    return bench


@torch.no_grad()
def _centre(bench: Bench) -> None:
    """Reads activations around their mean, which is most of them in a random model: else few latents would ever be active."""
    site = bench.subject.site
    mean = site.activations(site.prefix(bench.tokens(4, seed=3))).flatten(0, 1).mean(0)
    bench.subject.dictionary.sae.b_dec.copy_(mean)
