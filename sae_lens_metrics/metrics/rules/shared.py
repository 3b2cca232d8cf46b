"""What several metrics of one run need of rules: the rules, and their scores; each made once."""

from sae_lens_metrics.metrics.context import MetricContext
from sae_lens_metrics.metrics.n2g.shared import texts_of
from sae_lens_metrics.metrics.rules.learning import LearnedRules, learn
from sae_lens_metrics.metrics.rules.scores import RuleScores, score

__all__ = ["learned_rules_of", "rule_scores_of"]


def learned_rules_of(context: MetricContext) -> LearnedRules:
    """The rules of all latents, learned from the first half of the text; to be asked for by ``context.once``."""
    text, _ = context.once(texts_of)
    return learn(context.subject, text, context.config, context.ranks)


def rule_scores_of(context: MetricContext) -> RuleScores:
    """How well they say where latents fire on the second half; likewise."""
    learned, (_, scoring) = context.once(learned_rules_of), context.once(texts_of)
    return score(learned, context.subject, scoring, context.config, context.ranks)
