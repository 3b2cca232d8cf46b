"""The KL divergence against SciPy."""

import torch
from scipy.stats import entropy

from sae_lens_metrics.functional.divergence import kl_divergence


def test_equals_scipys():
    generator = torch.Generator().manual_seed(0)
    q, p = (3 * torch.randn(2, 5, 40, generator=generator) for _ in range(2))
    expected = entropy(p.double().softmax(-1), q.double().softmax(-1), axis=-1)
    assert torch.allclose(kl_divergence(q, p).double(), torch.from_numpy(expected), rtol=1e-5)


def test_is_zero_for_the_same_distribution_and_never_below():
    logits = torch.randn(1000, 300, generator=torch.Generator().manual_seed(0))
    assert kl_divergence(logits + 7, logits).abs().max() < 1e-5  # a constant changes no distribution
    nearly = kl_divergence(logits * (1 + 1e-7), logits)
    assert (nearly >= 0).all()
    assert kl_divergence(logits.bfloat16(), logits.bfloat16()).dtype == torch.float32
