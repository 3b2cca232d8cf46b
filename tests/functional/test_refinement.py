import numpy as np
import pytest
import torch
from scipy.optimize import nnls

from sae_lens_metrics.functional.nnls import block_pivot, lawson_hanson, natural_residual
from sae_lens_metrics.functional.refinement import kkt_residual, kkt_residual_on_support, refine_activations, refine_on_support
from sae_lens_metrics.functional.refinement_checks import RefinementInputError
from sae_lens_metrics.functional.supports import to_support

DECODERS = ("random", "correlated", "nearly_collinear", "duplicate_rows", "low_rank", "unequal_lengths", "positive")


def decoder_of(kind, d_sae, d_in, generator):
    rows = torch.randn(d_sae, d_in, generator=generator)
    if kind == "correlated":
        rows = rows * 0.3 + torch.randn(1, d_in, generator=generator)
    if kind == "nearly_collinear":
        rows = rows[torch.arange(d_sae) % 4] + 1e-3 * rows
    if kind == "duplicate_rows":
        rows = rows[torch.arange(d_sae) % (d_sae // 3)]
    if kind == "low_rank":
        # Small integers: float32 holds these products exactly, so that the rank is 2 and not 2 "within rounding".
        rows = (torch.randn(d_sae, 2, generator=generator) * 3).round() @ (rows[:2] * 3).round()
    if kind == "unequal_lengths":
        rows = rows * torch.logspace(-4, 4, d_sae)[:, None]
    return rows.abs() if kind == "positive" else rows


def problem(kind="random", n=24, d_in=16, d_sae=48, largest=12, signed=False, seed=0):
    """x, decoder and raw activations with 0 to `largest` of them per token."""
    generator = torch.Generator().manual_seed(seed)
    decoder = decoder_of(kind, d_sae, d_in, generator)
    order = torch.rand(n, d_sae, generator=generator).argsort(1)
    l0 = torch.arange(n) % (largest + 1)
    acts = torch.where(order < l0[:, None], 0.1 + torch.rand(n, d_sae, generator=generator), 0.0)
    if signed:
        acts = acts * torch.randn(n, d_sae, generator=generator).sign()
    x = acts @ decoder
    x = x + torch.randn(n, d_in, generator=generator) * x.square().mean().sqrt()
    # Differences of nearly equal rows take activations so large that float32 cannot even hold the optimum to the accuracy asked for.
    return tuple(t.double() if kind == "nearly_collinear" else t for t in (x, decoder, acts))


def nnls_oracle(x, decoder, acts):
    refined = torch.zeros(acts.shape, dtype=torch.float64)
    for i, (token, raw) in enumerate(zip(x.double(), acts, strict=True)):
        support = raw.nonzero()[:, 0]
        if len(support):
            rows = decoder[support].double() * raw[support].sign().double()[:, None]
            # Unit rows and target do not change the optimum; they keep the oracle's own tolerance meaningful.
            length, peak = rows.norm(dim=1).clamp(min=1e-300), token.norm().clamp(min=1e-300)
            solution = nnls((rows / length[:, None]).T.numpy(), (token / peak).numpy(), maxiter=100 * len(support))[0]
            refined[i, support] = torch.from_numpy(solution) / length * peak * raw[support].sign()
    return refined


def objective(x, decoder, acts):
    return (x.double() - acts.double() @ decoder.double()).square().sum(1)


def assert_as_good(x, decoder, ours, oracle, relative=1e-5):
    # Where the optimum reconstructs x all but exactly, no relative error can be asked of float32: then 1e-9 of |x|² is.
    floor = 1e-9 * x.double().square().sum(1)
    best = objective(x, decoder, oracle)
    excess = objective(x, decoder, ours) - best
    assert (excess <= relative * best + floor).all(), (excess / (best + floor)).max()


def assert_feasible(acts, refined):
    assert refined.isfinite().all()
    assert (refined[acts == 0] == 0).all()
    assert (refined * acts >= 0).all()


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("largest", [8, 45])  # 45 active latents are more than d_in
@pytest.mark.parametrize("kind", DECODERS)
def test_agrees_with_scipy(kind, largest, signed):
    for seed in range(3):
        x, decoder, acts = problem(kind, n=92, largest=largest, signed=signed, seed=seed)
        refined = refine_activations(x, decoder, acts)
        assert_feasible(acts, refined)
        assert_as_good(x, decoder, refined, nnls_oracle(x, decoder, acts))


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("of", ["x", "decoder", "acts"])
def test_scale_changes_nothing_but_the_scale(of, scale):
    x, decoder, acts = problem()
    factors = {name: scale if name == of else 1.0 for name in ("x", "decoder", "acts")}
    scaled = refine_activations(x * factors["x"], decoder * factors["decoder"], acts * factors["acts"])
    expected = refine_activations(x, decoder, acts)
    torch.testing.assert_close(scaled / factors["x"] * factors["decoder"], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_squares_that_leave_the_range_of_float32_do_no_harm(scale):
    x, decoder, acts = problem()
    refined = refine_activations(x * scale, decoder * scale, acts)
    torch.testing.assert_close(refined, refine_activations(x, decoder, acts), rtol=1e-3, atol=1e-4)


def test_an_orthonormal_dictionary_shrunk_by_c_is_refined_by_its_inverse():
    generator = torch.Generator().manual_seed(0)
    rows, c = torch.linalg.qr(torch.randn(32, 32, generator=generator))[0], 0.6
    true = (0.1 + torch.rand(50, 32, generator=generator)) * (torch.rand(50, 32, generator=generator) < 0.3)
    x = true @ rows
    raw = c * torch.where(true > 0, x @ rows.T, 0)
    ratio = refine_activations(x, rows, raw)[true > 0] / raw[true > 0]
    torch.testing.assert_close(ratio, torch.full_like(ratio, 1 / c), rtol=1e-5, atol=0)
    # The decoder shrunk by c while the raw activations stay what they were: the same ratio.
    ratio = refine_activations(x, c * rows, raw / c)[true > 0] / (raw / c)[true > 0]
    torch.testing.assert_close(ratio, torch.full_like(ratio, 1 / c), rtol=1e-5, atol=0)


@pytest.mark.parametrize("solver", ["exact", "pgd"])
@pytest.mark.parametrize("kind", DECODERS)
def test_never_worse_than_raw(kind, solver):
    x, decoder, acts = problem(kind, largest=40, signed=True)
    refined = refine_activations(x, decoder, acts, solver=solver)
    assert (objective(x, decoder, refined) <= objective(x, decoder, acts) * (1 + 1e-6) + 1e-9 * x.square().sum(1)).all()


def test_refining_again_changes_nothing():
    x, decoder, acts = problem(signed=True)
    refined = refine_activations(x, decoder, acts)
    torch.testing.assert_close(refine_activations(x, decoder, refined), refined, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", DECODERS)
def test_kkt_residual_is_small_at_the_optimum_and_large_before(kind):
    x, decoder, acts = problem(kind, largest=40, signed=True)
    refined = refine_activations(x, decoder, acts)
    active = (acts != 0).any(1)
    assert kkt_residual(x, decoder, acts, refined).max() < 1e-5
    assert kkt_residual(x, decoder, acts, acts)[active].median() > 1e-2
    assert (kkt_residual(x, decoder, acts, acts)[~active] == 0).all()


def test_kkt_residual_has_no_dimension():
    x, decoder, acts = problem(signed=True)
    expected = kkt_residual(x, decoder, acts, acts)
    torch.testing.assert_close(kkt_residual(1e3 * x, 1e-2 * decoder, acts, 1e5 * acts), expected, rtol=1e-3, atol=1e-6)


def test_kkt_residual_sees_a_wrong_sign_and_refuses_another_support():
    x, decoder, acts = problem()
    refined = refine_activations(x, decoder, acts)
    assert (kkt_residual(x, decoder, acts, -refined)[(refined != 0).any(1)] > 1e-2).all()
    with pytest.raises(RefinementInputError, match=r"nonzero at .* entries where feature_acts is zero"):
        kkt_residual(x, decoder, acts, refined + 1)


def test_no_small_move_improves_the_optimum():
    x, decoder, acts = (t.double() for t in problem(signed=True))
    refined = refine_activations(x, decoder, acts)
    assert refined.dtype == torch.float64
    best = objective(x, decoder, refined)
    generator = torch.Generator().manual_seed(1)
    for size in (1e-1, 1e-3, 1e-5):
        for _ in range(50):
            moved = refined + size * torch.randn(acts.shape, generator=generator, dtype=torch.float64) * (acts != 0)
            moved = (moved * acts.sign()).clamp(min=0) * acts.sign()
            assert (objective(x, decoder, moved) >= best * (1 - 1e-12)).all()


@pytest.mark.parametrize("kind", ["random", "correlated", "duplicate_rows", "unequal_lengths"])
def test_projected_gradient_agrees(kind):
    x, decoder, acts = problem(kind, signed=True)
    exact, descended = (refine_activations(x, decoder, acts, solver=solver) for solver in ("exact", "pgd"))
    assert_feasible(acts, descended)
    assert_as_good(x, decoder, descended, exact, relative=1e-4)


def test_projected_gradient_takes_no_step_more_than_allowed():
    x, decoder, acts = problem()
    torch.testing.assert_close(refine_activations(x, decoder, acts, solver="pgd", max_iterations=0), acts)


def test_sparse_form_with_gaps_in_any_order_gives_the_same():
    x, decoder, acts = problem(signed=True)
    indices, values = to_support(acts)
    shuffle = torch.randperm(indices.shape[1] + 3, generator=torch.Generator().manual_seed(0))
    wide_indices = torch.nn.functional.pad(indices, (0, 3))[:, shuffle]
    wide_values = torch.nn.functional.pad(values, (0, 3))[:, shuffle]
    wide = refine_on_support(x, decoder, wide_indices, wide_values)
    dense = torch.zeros_like(acts).scatter_add_(1, wide_indices, wide)
    torch.testing.assert_close(dense, refine_activations(x, decoder, acts), rtol=1e-5, atol=1e-6)
    residual = kkt_residual_on_support(x, decoder, wide_indices, wide_values, wide)
    torch.testing.assert_close(residual, kkt_residual(x, decoder, acts, dense), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", DECODERS)
def test_looking_up_inner_products_and_computing_them_agree(kind):
    x, decoder, acts = problem(kind, n=200, largest=12, signed=True)
    looked_up = refine_activations(x, decoder, acts)
    assert_as_good(x, decoder, refine_activations(x, decoder, acts, table_bytes=0), looked_up)


def test_chunks_and_threads_change_nothing():
    x, decoder, acts = problem(n=3000, signed=True)
    threads = torch.get_num_threads()
    together = refine_activations(x, decoder, acts)
    apart = torch.cat([refine_activations(*part) for part in zip(x.split(500), [decoder] * 6, acts.split(500), strict=True)])
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)
    assert torch.equal(together, refine_activations(x, decoder, acts))
    assert torch.get_num_threads() == threads


def test_works_in_inference_mode_and_on_tensors_that_need_gradients():
    x, decoder, acts = problem(n=3000)
    expected = refine_activations(x, decoder, acts)
    assert not refine_activations(x.clone().requires_grad_(), decoder, acts).requires_grad
    with torch.inference_mode():
        torch.testing.assert_close(refine_activations(x * 1, decoder * 1, acts * 1), expected)


def test_half_precision_is_computed_in_float32():
    x, decoder, acts = (t.bfloat16() for t in problem())
    refined = refine_activations(x, decoder, acts)
    assert refined.dtype == torch.float32
    assert_as_good(x, decoder, refined, nnls_oracle(x.float(), decoder.float(), acts.float()))


def test_nothing_active_zero_x_zero_rows_and_no_tokens():
    x, decoder, acts = problem()
    assert (refine_activations(x, decoder, torch.zeros_like(acts)) == 0).all()
    assert (refine_activations(torch.zeros_like(x), decoder, acts) == 0).all()
    decoder[::3] = 0
    refined = refine_activations(x, decoder, acts)
    assert_feasible(acts, refined)
    assert_as_good(x, decoder, refined, nnls_oracle(x, decoder, acts))
    assert refine_activations(x[:0], decoder, acts[:0]).shape == (0, acts.shape[1])
    assert kkt_residual(x[:0], decoder, acts[:0], acts[:0]).shape == (0,)


def test_inputs_and_global_random_state_stay_as_they_were():
    inputs = problem()
    before, state = [t.clone() for t in inputs], torch.get_rng_state()
    refine_activations(*inputs)
    assert all(torch.equal(a, b) for a, b in zip(inputs, before, strict=True))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_values_that_are_not_finite_are_refused(which, bad):
    inputs = list(problem())
    inputs[which][1, 2] = bad
    with pytest.raises(RefinementInputError, match=("x", "decoder", "feature_acts")[which] + " holds 1 values that are not finite"):
        refine_activations(*inputs)


def test_shapes_indices_and_solvers_that_do_not_fit_are_refused():
    x, decoder, acts = problem()
    indices, values = to_support(acts)
    with pytest.raises(RefinementInputError, match="the same d_in"):
        refine_activations(x, decoder.T, acts)
    with pytest.raises(RefinementInputError, match=r"feature_acts has shape .* must be \[24, 48\]"):
        refine_activations(x, decoder, acts[:-1])
    with pytest.raises(RefinementInputError, match="feature_acts has shape"):
        refine_activations(x, decoder, acts[:, :-1])
    with pytest.raises(RefinementInputError, match="the decoder has rows 0 to 47"):
        refine_on_support(x, decoder, indices + 40, values)
    with pytest.raises(RefinementInputError, match="the same shape"):
        refine_on_support(x, decoder, indices[:, 1:], values)
    with pytest.raises(RefinementInputError, match="'exact' or 'pgd'"):
        refine_activations(x, decoder, acts, solver="newton")


def unit_problems(k, d_in, n=50, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.nn.functional.normalize(torch.randn(n, k, d_in, generator=generator, dtype=torch.float64), dim=2)
    x = torch.nn.functional.normalize(torch.randn(n, d_in, generator=generator, dtype=torch.float64), dim=1)
    return torch.bmm(rows, rows.mT), torch.bmm(rows, x[:, :, None])[:, :, 0]


@pytest.mark.parametrize(("k", "d_in"), [(1, 5), (10, 20), (30, 31), (40, 12)])
def test_the_slow_solver_is_optimal_by_itself(k, d_in):
    gram, correlation = unit_problems(k, d_in)
    z, optimal = lawson_hanson(gram, correlation, ridge=1e-13)
    assert optimal.all()
    assert natural_residual(z, correlation - (gram @ z[:, :, None])[:, :, 0]).max() < 1e-10


def test_the_fast_solver_says_where_it_gave_up():
    gram, correlation = unit_problems(40, 12)  # rank-deficient: it may fail, but must not claim otherwise
    z, optimal = block_pivot(gram, correlation)
    residual = natural_residual(z, correlation - (gram @ z[:, :, None])[:, :, 0])
    assert (residual[optimal] < 1e-10).all()


def test_more_tokens_and_latents_than_a_chunk_holds():
    generator = torch.Generator().manual_seed(0)
    decoder = torch.randn(600, 64, generator=generator)
    acts = torch.rand(1500, 600, generator=generator) * (torch.rand(1500, 600, generator=generator) < 0.05)
    x = acts @ decoder + torch.randn(1500, 64, generator=generator)
    refined = refine_activations(x, decoder, acts)
    some = np.arange(0, 1500, 10)
    assert_as_good(x[some], decoder, refined[some], nnls_oracle(x[some], decoder, acts[some]))
