"""Ablating latents one at a time: the package, and one whole run with a hook for each."""

import torch
from torch import Tensor

from sae_lens_metrics.benchmark.rate import Rate, Work
from sae_lens_metrics.benchmark.synthetic import Bench
from sae_lens_metrics.benchmark.timing import seconds_of
from sae_lens_metrics.functional.effect_sparsity import effect_sparsity
from sae_lens_metrics.metrics.ablation.effects import Ablations

__all__ = ["Ablated", "ablation_rate"]

_TOKENS = 16
_SEQUENCES = 4
_MEMORY = 2 * 2**30
_SAMPLE = 2
"""Latents that are ablated in whole runs."""


class Ablated:
    """The same ablations of random latents, for both ways to make them.

    Args:
        bench: The model and the SAE.
        count: How many.
    """

    def __init__(self, bench: Bench, count: int) -> None:
        self._subject = bench.subject
        tokens = bench.tokens(_SEQUENCES)
        self._start = (tokens.shape[1] - _TOKENS) // 2
        self._prefix = self._subject.site.prefix(tokens[:, : self._start + _TOKENS])
        self._x = self._subject.site.activations(self._prefix)[:, self._start]
        self._rows = torch.arange(_SEQUENCES, device=bench.device).repeat_interleave(-(-count // _SEQUENCES))[:count]
        generator = torch.Generator().manual_seed(0)
        self._latents = torch.randint(bench.shape.d_sae, (count,), generator=generator).to(bench.device)

    def _changed(self, part: slice) -> Tensor:
        x = self._x[self._rows[part]]
        return (x - self._subject.dictionary.latent_directions(x, self._latents[part][:, None])[:, 0])[:, None]

    def sparsities(self) -> Tensor:
        """By the package."""
        changes = self._subject.site.changes
        with Ablations(self._subject, changes, _MEMORY) as effects:
            return effects(changes.onwards(self._prefix, self._start), self._rows, self._changed).sparsity

    def in_whole_runs(self, count: int) -> Tensor:
        """Of the first ones, by two runs of the whole model for each."""
        model, found = self._subject.site.model, []
        for i in range(count):
            tokens, change = self._prefix.tokens[self._rows[i], None], self._changed(slice(i, i + 1))[0, 0]

            def put(activation: Tensor, hook: object, change: Tensor = change) -> Tensor:
                activation[0, self._start] = change
                return activation

            with torch.no_grad():
                clean = model(tokens)
                ablated = model.run_with_hooks(tokens, fwd_hooks=[(self._subject.hook_name, put)])
            found.append(effect_sparsity((ablated - clean)[0, self._start :]))
        return torch.stack(found)


def ablation_rate(bench: Bench) -> Rate:
    """Latents per second, effects on all logits of 16 tokens."""
    count = 32 if bench.is_cpu else 8_192
    ablated = Ablated(bench, count)
    seconds = seconds_of(ablated.sparsities, bench.device, at_least=bench.seconds)
    slow = seconds_of(lambda: ablated.in_whole_runs(_SAMPLE), bench.device, at_least=0)
    work = Work(bench.shape.ablation(_TOKENS), "matrix products")
    what = "ablation"
    return Rate("ablation", what, "latents", count / seconds, work, "hooked runs", _SAMPLE / slow)
