"""Latents simulated from rules about tokens, beside those from n-grams."""

from sae_lens_metrics.functional.rule_matching import RuleMatcher
from sae_lens_metrics.metrics.context import MetricContext
from sae_lens_metrics.metrics.explanation.simulation import Latents
from sae_lens_metrics.metrics.n2g.shared import texts_of
from sae_lens_metrics.metrics.rules.scores import vocabulary_of
from sae_lens_metrics.metrics.rules.shared import learned_rules_of
from sae_lens_metrics.metrics.rules.text import text_of_batch
from sae_lens_metrics.text.batches import ActivationBatch

__all__ = ["NO_RULES", "SimulationByRules", "simulation_by_rules"]

NO_RULES = "it simulates latents from rules: ask for the metric rules, too"
"""Why numbers are absent without the metric."""


class SimulationByRules:
    """Simulates latents from rules: each place has the mean activation where the same rule decided in the text that rules come from.

    These means are the values with the least squared error, so that no further scale is needed: E[sa] / E[s²] is 1 on that text.

    Args:
        matcher: The rules of all latents.
        within: How many tokens in front of one they ask about.
    """

    def __init__(self, matcher: RuleMatcher, within: int) -> None:
        self._matcher, self._within = matcher, within

    def simulate(self, batch: ActivationBatch) -> Latents:
        """Simulated latents of a batch."""
        latent, place, rule = self._matcher.match(text_of_batch(batch, self._within))
        order = place.argsort(stable=True)
        return Latents(place[order], latent[order], self._matcher.rules.value[rule[order]])


def simulation_by_rules(context: MetricContext) -> SimulationByRules | None:
    """A simulation from the rules of this run; ``None`` where the metric ``rules`` is not asked for, so that it costs nothing.

    Args:
        context: The run.
    """
    if "rules" not in context.config.names:
        return None
    rules, (_, scoring) = context.once(learned_rules_of).rules, context.once(texts_of)
    matcher = RuleMatcher(rules.to(context.subject.device), vocabulary_of(rules, scoring))
    return SimulationByRules(matcher, context.config.rules.within)
