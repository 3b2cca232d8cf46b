"""The KL divergence against SciPy."""

import torch
from scipy.stats import entropy

from sae_lens_metrics.functional.divergence import kl_divergence


def test_equals_scipys():
    generator = torch.Generator().manual_seed(0)
    q, p = (3 * torch.randn(2, 5, 40, generator=generator) for _ in range(2))
    expected = entropy(p.double().softmax(-1), q.double().softmax(-1), axis=-1)
    assert torch.allclose(kl_divergence(q.log_softmax(-1), p.log_softmax(-1)).double(), torch.from_numpy(expected), rtol=1e-5)


def test_is_zero_for_the_same_distribution_and_never_below():
    logits = torch.randn(1000, 300, generator=torch.Generator().manual_seed(0))
    log_p = logits.log_softmax(-1)
    assert kl_divergence((logits + 7).log_softmax(-1), log_p).abs().max() < 1e-5  # a constant changes no distribution
    assert (kl_divergence((logits * (1 + 1e-7)).log_softmax(-1), log_p) >= 0).all()
