"""What an evaluation will cost, before it has begun."""

from collections.abc import Mapping

from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.metrics.registry import metric_spec
from sae_lens_metrics.metrics.spec import Scale
from sae_lens_metrics.text.corpus import Corpus

__all__ = ["costs_in_words", "expected_passes", "expected_seconds"]


def expected_seconds(config: MetricsConfig, corpus: Corpus, d_sae: int, sanity: float) -> dict[str, float]:
    """How long each metric of a configuration will take, by what its spec says it costs; 0 for one that says nothing.

    Controls, where there are any, stand there too, under ``"controls"``.

    Args:
        config: What to compute.
        corpus: The text.
        d_sae: Latents.
        sanity: Seconds that the sanity line takes on that text, with which costs are measured.

    Raises:
        ConfigError: If a metric, or what its settings name, is unknown.
    """
    tokens, context = corpus.tokens.numel(), corpus.tokens.shape[1]
    passes = expected_passes(config, tokens=tokens, context=context, d_sae=d_sae)
    seconds = {name: sanity * each for name, each in passes.items()}
    if config.controls:
        seconds["controls"] = sum(_of_control(config.for_control(name), seconds, sanity) for name in config.controls)
    return seconds


def expected_passes(config: MetricsConfig, *, tokens: int, context: int, d_sae: int) -> dict[str, float]:
    """The work of each metric of a configuration, in sanity lines on the same text, as its spec tells it; 0 for one that says nothing.

    Args:
        config: What to compute.
        tokens: Tokens of the text.
        context: Tokens of a sequence.
        d_sae: Latents.

    Raises:
        ConfigError: If a metric, or what its settings name, is unknown.
    """
    passes: dict[str, float] = {}
    for spec in map(metric_spec, config.names):
        settings = config.settings.get(spec.name)
        units = spec.count_units(settings) if spec.count_units is not None else 0
        passes[spec.name] = 0.0 if spec.cost is None else spec.cost(settings, Scale(tokens, context, d_sae, units), config.settings)
    return passes


def _of_control(config: MetricsConfig, seconds: Mapping[str, float], sanity: float) -> float:
    """The sanity line takes as long as the SAE's own, as do the metrics; to make the control, about as long as a sanity line."""
    return 2 * sanity + sum(seconds[name] for name in config.names)


def costs_in_words(seconds: Mapping[str, float]) -> str:
    """The metrics with the seconds that each takes, the longest first.

    Args:
        seconds: By metric.
    """
    longest_first = sorted(seconds.items(), key=lambda each: -each[1])
    return ", ".join(f"{name} {seconds:.0f} s" for name, seconds in longest_first if seconds >= 1)
