"""Fitted encoders against what is known to be possible."""

import pytest
import torch
from sklearn.linear_model import orthogonal_mp

from sae_lens_metrics.functional.encoder_fitting import FittedEncoder, fit_encoder


def latents(fitted: FittedEncoder, x):
    pre = x @ fitted.weight + fitted.bias
    return pre * (pre > fitted.threshold)


def explained(fitted: FittedEncoder, x, y, decoder):
    error = (latents(fitted, x) @ decoder + fitted.decoder_bias - y).square().sum()
    return 1 - float(error / (y - y.mean(0)).square().sum())


def sparse_text(n=2_000, d_in=24, d_sae=24, l0=3, seed=0):
    """Sums of a few orthonormal directions with positive values, far from the origin."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.linalg.qr(torch.randn(d_in, d_in, generator=generator)).Q[:d_sae]
    active = torch.rand(n, d_sae, generator=generator).argsort(1) < l0
    values = active * (1 + torch.rand(n, d_sae, generator=generator))
    return values @ directions + 5, directions


def test_where_a_perfect_encoder_exists_it_is_nearly_found():
    x, directions = sparse_text()
    fitted = fit_encoder(x, x, directions, 3, torch.Generator().manual_seed(0))
    assert explained(fitted, x, x, directions) > 0.97
    assert float((latents(fitted, x) != 0).sum(-1).float().mean()) == pytest.approx(3, abs=1e-3)


def test_with_random_directions_it_gains_on_where_it_began_and_is_below_a_pursuit():
    """Orthogonal matching pursuit, which chooses latents token by token, is scikit-learn's."""
    x, _ = sparse_text(n=400)
    decoder = torch.nn.functional.normalize(torch.randn(48, 24, generator=torch.Generator().manual_seed(1)), dim=-1)
    start, end = (fit_encoder(x, x, decoder, 4, torch.Generator().manual_seed(0), steps=steps) for steps in (0, 500))
    pursued = orthogonal_mp(decoder.T.numpy(), (x - x.mean(0)).T.numpy(), n_nonzero_coefs=4).T
    best = 1 - float(((torch.tensor(pursued) @ decoder.double() - (x - x.mean(0))).square().sum()) / (x - x.mean(0)).square().sum())
    assert explained(start, x, x, decoder) + 0.1 < explained(end, x, x, decoder) < best


@pytest.mark.parametrize("l0", [0.4, 2.5, 7.0])
def test_the_mean_l0_is_as_wanted_whole_or_not(l0):
    x, directions = sparse_text(n=1_000)
    fitted = fit_encoder(x, x, directions, l0, torch.Generator().manual_seed(0), steps=50)
    assert float((latents(fitted, x) != 0).sum(-1).float().mean()) == pytest.approx(l0, abs=2e-3)
    assert fitted.threshold >= 0


def test_it_does_not_depend_on_the_units_of_the_activations():
    x, directions = sparse_text(n=500)
    small, large = (
        fit_encoder(scale * x, scale * x, directions, 3, torch.Generator().manual_seed(0), steps=100) for scale in (1.0, 1_000.0)
    )
    torch.testing.assert_close(latents(large, 1_000 * x), 1_000 * latents(small, x), rtol=1e-2, atol=1.0)


def test_another_activation_is_reconstructed_from_the_one_that_is_read():
    x, directions = sparse_text()
    rotation = torch.linalg.qr(torch.randn(24, 24, generator=torch.Generator().manual_seed(3))).Q[:, :10]
    y = x @ rotation - 7
    decoder = torch.nn.functional.normalize(directions @ rotation, dim=-1)
    assert explained(fit_encoder(x, y, decoder, 3, torch.Generator().manual_seed(0)), x, y, decoder) > 0.8


def test_neither_the_global_random_state_nor_gradients_are_touched():
    x, directions = sparse_text(n=100)
    before = torch.random.get_rng_state()
    with torch.no_grad():
        first, again = (fit_encoder(x, x, directions, 3, torch.Generator().manual_seed(0), steps=20) for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(first.weight, again.weight)
    assert not first.weight.requires_grad
