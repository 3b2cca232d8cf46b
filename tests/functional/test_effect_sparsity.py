import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sae_lens_metrics.functional.effect_sparsity import DENSE_EFFECT, effect_norms, effect_sparsity, sparsity, tokens_affected


def oracle(differences):
    """NumPy, one effect at a time, in float64."""
    d = np.asarray(differences, dtype=np.float64)
    ordered = np.sort(d, axis=-1)
    d = (d - ordered[:, [(d.shape[-1] - 1) // 2]]).ravel()
    l1, l2 = np.abs(d).sum(), np.sqrt((d**2).sum())
    return (l1 / l2) ** 2 / d.size


@pytest.mark.parametrize("vocabulary", [1000, 1001, 2, 3])
@pytest.mark.parametrize("length", [1, 16])
def test_equals_numpy(vocabulary, length):
    differences = torch.randn(3, 2, length, vocabulary, generator=torch.Generator().manual_seed(vocabulary)) ** 3
    ours = effect_sparsity(differences)
    assert ours.shape == (3, 2)
    for index in np.ndindex(3, 2):
        assert float(ours[index]) == pytest.approx(oracle(differences[index]), rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(2, 60), st.booleans())
def test_equals_numpy_on_ties_and_zeros(seed, length, vocabulary, even):
    generator = torch.Generator().manual_seed(seed)
    differences = torch.randint(-2, 3, (length, vocabulary + even), generator=generator).float()
    ours = float(effect_sparsity(differences))
    centred = differences - differences.median(-1, keepdim=True).values
    if not centred.any():
        assert ours == 0
    else:
        assert ours == pytest.approx(oracle(differences), rel=1e-6)
        assert 1 / differences.numel() - 1e-12 <= ours <= 1


def test_gaussian_logits_give_two_over_pi():
    generator = torch.Generator().manual_seed(0)
    unembedding = torch.randn(64, 8192, generator=generator)
    effects = torch.randn(200, 4, 64, generator=generator)
    value = effect_sparsity(effects @ unembedding)
    # tokens' norms differ: (Σ|d|₂)² / (T Σ|d|₂²) is the rest of it
    norms = (effects @ unembedding).norm(dim=-1)
    value = value * 4 * norms.square().sum(1) / norms.sum(1).square()
    assert pytest.approx(2 / math.pi) == DENSE_EFFECT
    assert abs(float(value.mean()) - DENSE_EFFECT) < 4 * float(value.std()) / 200**0.5 + 1e-3


@pytest.mark.parametrize("m", [1, 7, 400])
@pytest.mark.parametrize("common", [0.0, 5.0])
def test_equal_logits_on_one_of_the_tokens(m, common):
    differences = torch.full((16, 1000), common)
    differences[3, torch.randperm(1000, generator=torch.Generator().manual_seed(m))[:m]] -= 0.25
    assert float(effect_sparsity(differences)) == pytest.approx(m / (1000 * 16))
    assert float(tokens_affected(effect_norms(differences))) == pytest.approx(1 / 16)


def test_does_not_depend_on_scale_sign_or_a_common_difference():
    differences = torch.randn(5, 16, 777, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    value = effect_sparsity(differences)
    torch.testing.assert_close(effect_sparsity(1e-6 * differences), value)
    torch.testing.assert_close(effect_sparsity(-differences), value)
    torch.testing.assert_close(effect_sparsity(differences + torch.randn(5, 16, 1, dtype=torch.float64)), value)


def test_no_effect_has_no_sparsity():
    differences = torch.zeros(3, 2, 10)
    differences[1] = 4.0  # the same for all tokens of the vocabulary
    differences[2, 0, 0] = 1.0
    assert effect_sparsity(differences).tolist() == [0, 0, pytest.approx(1 / 20)]
    assert tokens_affected(effect_norms(differences)).tolist() == [0, 0, 0.5]


def test_chunks_of_tokens_add_up_and_the_input_stays_as_it_was():
    differences = torch.randn(4, 16, 300)
    before = differences.clone()
    whole = effect_norms(differences)
    assert torch.equal(differences, before)
    parts = [effect_norms(part) for part in differences.split(5, 1)]
    joined = type(whole)(*(torch.cat(column, -1) for column in zip(*parts, strict=True)))
    torch.testing.assert_close(sparsity(joined, 300), effect_sparsity(differences))
    torch.testing.assert_close(effect_norms(differences.clone(), overwrite=True), whole)
    torch.testing.assert_close(effect_norms(differences.transpose(0, 1)).l1, whole.l1.T)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_precisions(dtype):
    differences = torch.randn(2, 16, 501, generator=torch.Generator().manual_seed(3)).to(dtype)
    torch.testing.assert_close(effect_sparsity(differences), effect_sparsity(differences.double()), rtol=1e-6, atol=0)


@pytest.mark.parametrize("shape", [(5,), (2, 0, 4), (2, 3, 0)])
def test_nothing_to_measure_is_refused(shape):
    with pytest.raises(ValueError, match=r"at least one token and one logit"):
        effect_sparsity(torch.zeros(shape))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused(bad):
    differences = torch.randn(2, 3, 50)
    differences[1, 2, 7] = bad
    with pytest.raises(ValueError, match="NaN or infinity"):
        effect_sparsity(differences)
