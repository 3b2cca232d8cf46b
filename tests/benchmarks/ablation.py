"""Ablations per second: this package against one full run with hooks per latent; and the share of the machine's matrix-product rate.

python tests/benchmarks/ablation.py [small|gpt2] [--ablations 512] [--repetitions 4]

"small" is 4 layers, d_model 128, a vocabulary of 4096, context 128, hook after layer 2; "gpt2" has GPT-2 small's shapes, context 64, hook
after layer 8. Both have random weights and T = 16. Counted is the arithmetic that the definition needs: two operations per weight and
position for the projections and the MLP of the layers after the hook and for the unembedding, on T positions; but queries, keys and
values of the first of these layers on one position only, as nothing else has changed there. Not counted: attention itself, everything
elementwise, the median and the norms.
"""
# ruff: noqa: T201 - a script prints

import argparse
import time
import warnings
from collections.abc import Callable

import torch
from sae_lens import StandardSAE, StandardSAEConfig
from torch import Tensor
from transformer_lens import HookedTransformer, HookedTransformerConfig

from sae_lens_metrics import Subject
from sae_lens_metrics.functional.effect_sparsity import effect_sparsity
from sae_lens_metrics.metrics.ablation.effects import Ablations

T = 16
SHAPES = {
    "small": {"n_layers": 4, "d_model": 128, "n_heads": 4, "d_head": 32, "d_mlp": 512, "d_vocab": 4096, "n_ctx": 128, "act_fn": "gelu_new"},
    "gpt2": {
        "n_layers": 12,
        "d_model": 768,
        "n_heads": 12,
        "d_head": 64,
        "d_mlp": 3072,
        "d_vocab": 50257,
        "n_ctx": 1024,
        "act_fn": "gelu_new",
    },
}
LAYER = {"small": 2, "gpt2": 8}
CONTEXT = {"small": 128, "gpt2": 64}
SEQUENCES = 16


def subject(shape: str, device: str) -> Subject:
    """A random model, and a random SAE at its hook."""
    torch.manual_seed(0)
    model = HookedTransformer(HookedTransformerConfig(seed=0, device=device, **SHAPES[shape]))
    d_in = SHAPES[shape]["d_model"]
    sae = StandardSAE(StandardSAEConfig(d_in=d_in, d_sae=4 * d_in, device=device))
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.normal_(std=d_in**-0.5)
    return Subject(model, sae, hook_name=f"blocks.{LAYER[shape]}.hook_resid_post", context_size=CONTEXT[shape], prepend_bos=False)


class Work:
    """The same ablations, for both ways to make them."""

    def __init__(self, subject: Subject, context: int, ablations: int, shown: int) -> None:
        self.subject, self.shown = subject, shown
        self.tokens = torch.randint(subject.language.vocabulary, (SEQUENCES, context), device=subject.device)
        self.start = (context - T) // 2
        self.prefix = subject.site.prefix(self.tokens[:, : self.start + T])
        self.x = subject.site.activations(self.prefix)[:, self.start]
        self.rows = torch.arange(SEQUENCES, device=subject.device).repeat_interleave(ablations // SEQUENCES)
        self.latents = torch.randint(subject.d_sae, self.rows.shape, device=subject.device)

    def changed(self, part: slice) -> Tensor:
        x = self.x[self.rows[part]]
        return (x - subject_directions(self.subject, x, self.latents[part]))[:, None]

    def ours(self) -> Tensor:
        onwards = self.subject.site.changes.onwards(self.prefix, self.start)
        with Ablations(self.subject, self.subject.site.changes, 2 * 2**30) as effects:
            return effects(onwards, self.rows, self.changed, shown=self.shown).sparsity

    def full_runs(self, n: int) -> Tensor:
        model, name, sparsity = self.subject.site.model, self.subject.hook_name, []
        with torch.no_grad():
            for i in range(n):
                tokens, change = self.tokens[self.rows[i], None], self.changed(slice(i, i + 1))[0, 0]

                def hook(activation, hook, change=change):
                    activation[0, self.start] = change
                    return activation

                if i == 0 or self.rows[i] != self.rows[i - 1]:
                    clean = model(tokens)
                ablated = model.run_with_hooks(tokens, fwd_hooks=[(name, hook)])
                sparsity.append(effect_sparsity((ablated - clean)[0, self.start : self.start + T]))
        return torch.stack(sparsity)


def subject_directions(subject: Subject, x: Tensor, latents: Tensor) -> Tensor:
    return subject.dictionary.latent_directions(x, latents[:, None])[:, 0]


def operations(shape: str) -> float:
    """What the definition needs for one ablation."""
    s = SHAPES[shape]
    layers = s["n_layers"] - LAYER[shape] - 1
    attention, d = s["n_heads"] * s["d_head"], s["d_model"]
    every_position = T * (layers * (attention * d + 2 * d * s["d_mlp"]) + d * s["d_vocab"])
    queries_keys_values = 3 * d * attention * ((layers - 1) * T + 1)
    return 2.0 * (every_position + queries_keys_values)


def seconds(run: Callable[[], object], repetitions: int) -> float:
    times = []
    for _ in range(repetitions + 1):  # the first one warms up
        start = time.perf_counter()
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def matmul_rate(device: str) -> float:
    """Floating-point operations per second of a large matrix product in float32."""
    n = 2048 if device == "cpu" else 8192
    a = torch.randn(n, n, device=device)
    return 2.0 * n**3 / seconds(lambda: a @ a, 5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", nargs="?", choices=SHAPES, default="small")
    parser.add_argument("--ablations", type=int, default=512)
    parser.add_argument("--full-runs", type=int, default=32)
    parser.add_argument("--repetitions", type=int, default=4)
    parser.add_argument("--shown", type=int, default=5, help="tokens named for each ablation")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    work = Work(subject(arguments.shape, arguments.device), CONTEXT[arguments.shape], arguments.ablations, arguments.shown)
    ours, full = work.ours(), work.full_runs(arguments.full_runs)
    print(f"largest relative difference of the sparsity: {((ours[: len(full)] - full.cpu()) / full.cpu()).abs().max():.1e}")
    rate = matmul_rate(arguments.device)
    slow = arguments.full_runs / seconds(lambda: work.full_runs(arguments.full_runs), arguments.repetitions)
    fast = arguments.ablations / seconds(work.ours, arguments.repetitions)
    rate = max(rate, matmul_rate(arguments.device))
    needed = operations(arguments.shape)
    print(f"{arguments.shape}, {torch.get_num_threads()} threads, {arguments.device}")
    print(f"one full run with hooks per latent {slow:10.1f} latents/s")
    print(f"sae_lens_metrics                   {fast:10.1f} latents/s   {fast / slow:.1f}x")
    print(f"needed: {needed / 1e9:.4f} GFLOP per latent (counted as above); {fast * needed / 1e9:.1f} GFLOP/s")
    print(f"matrix product: {rate / 1e9:.1f} GFLOP/s; share {fast * needed / rate:.0%}")


if __name__ == "__main__":
    main()
