"""The model and the SAE on text: up to the hook, to the losses, the encoder, and the sanity line, in which costs are told."""

import torch
from torch import Tensor

from sae_lens_metrics.benchmark.rate import Rate, Work
from sae_lens_metrics.benchmark.synthetic import Bench
from sae_lens_metrics.benchmark.timing import seconds_of
from sae_lens_metrics.evaluation.run import EvaluationRun
from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.metrics.registry import SANITY
from sae_lens_metrics.text.corpus import Corpus

__all__ = ["SANITY_RATE", "encoding_rate", "forward_rate", "sanity_rate", "to_hook_rate"]

SANITY_RATE = "sanity"
"""Name of the rate that costs of metrics are told in."""
_SEQUENCES = {"cpu": 4}
_SEQUENCES_ELSEWHERE = 512


def to_hook_rate(bench: Bench) -> Rate:
    """Tokens per second up to the hook, as all metrics read activations; beside it the whole model with a hook."""
    site, tokens = bench.subject.site, bench.tokens(_sequences(bench))
    seen: list[Tensor] = []

    def with_hook() -> None:
        seen.clear()
        with torch.no_grad():
            site.model.run_with_hooks(tokens, fwd_hooks=[(bench.subject.hook_name, lambda activation, hook: seen.append(activation))])

    seconds = seconds_of(lambda: site.activations(site.prefix(tokens)), bench.device, at_least=bench.seconds)
    slow = seconds_of(with_hook, bench.device, at_least=0)
    count = tokens.numel()
    work = Work(bench.shape.to_hook, "matrix products")
    reference = "whole model, hooked"
    return Rate("to_hook", "model to the hook", "tokens", count / seconds, work, reference, count / slow)


def forward_rate(bench: Bench) -> Rate:
    """Tokens per second through the whole model, to the losses; beside it the model's own loss."""
    site, tokens = bench.subject.site, bench.tokens(_sequences(bench) // 2)

    def own() -> None:
        with torch.no_grad():
            site.model(tokens, return_type="loss")

    seconds = seconds_of(lambda: site.losses(site.prefix(tokens)), bench.device, at_least=bench.seconds)
    slow = seconds_of(own, bench.device, at_least=0)
    count = tokens.numel()
    work = Work(bench.shape.forward, "matrix products")
    return Rate("forward", "model to the losses", "tokens", count / seconds, work, "its own loss", count / slow)


def encoding_rate(bench: Bench) -> Rate:
    """Tokens per second through the encoder, dense latents of all of them."""
    count = 2_048 if bench.is_cpu else 2**16
    x = torch.randn(min(count, bench.subject.dictionary.chunk), bench.shape.d_model, device=bench.device)
    seconds = seconds_of(lambda: bench.subject.dictionary.encode(x), bench.device, at_least=bench.seconds)
    return Rate("encoding", "encoder", "tokens", len(x) / seconds, Work(bench.shape.encoding, "matrix products"))


def sanity_rate(bench: Bench) -> Rate:
    """Tokens per second of the sanity line, by which the time of all metrics is foretold."""
    corpus = Corpus.from_tokens(bench.tokens(_sequences(bench) // 2))
    run = EvaluationRun(bench.subject, corpus, MetricsConfig(names=[], batch_size=len(corpus)))
    seconds = seconds_of(lambda: run.compute(SANITY), bench.device, at_least=bench.seconds)
    work = Work(bench.shape.sanity, "matrix products")
    return Rate(SANITY_RATE, "sanity line", "tokens", corpus.tokens.numel() / seconds, work)


def _sequences(bench: Bench) -> int:
    return _SEQUENCES.get(bench.device.type, _SEQUENCES_ELSEWHERE)
