"""What metrics are given, for tests that call one by itself."""

import torch

from sae_lens_metrics.evaluation.run import EvaluationRun


def context_of(name, subject, corpus, config, seed=0):
    """A metric's view of an evaluation, with a generator of a known seed."""
    return EvaluationRun(subject, corpus, config).context(name, torch.Generator().manual_seed(seed))
