"""1d logistic probes: against scikit-learn and SciPy, and by their invariants."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sae_lens_metrics.functional.probing import LogisticFit, ProbeInputError, accuracy, auc, fit_logistic_1d, label_entropy, logistic_loss


def activations(kind: str, n: int = 200, latents: int = 24, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    share = {"unbalanced": 0.08}.get(kind, 0.5)
    y = torch.rand(n, generator=generator) < share
    y[:2] = torch.tensor([True, False])
    signal = torch.linspace(-2.5, 2.5, latents)
    z = torch.randn(n, latents, generator=generator) + signal * y[:, None]
    if kind == "sparse":
        z = torch.relu(z - 1)
    if kind == "tied":
        z = z.round()
    if kind == "skewed":
        z = (2 * z).exp()
    if kind == "heavy":
        z = z / torch.randn(n, latents, generator=generator).abs()
    return z, y


KINDS = ["gaussian", "unbalanced", "sparse", "tied", "skewed", "heavy"]


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None]


def sklearn_losses(z: torch.Tensor, y: torch.Tensor) -> list[float]:
    losses = []
    for values in z.double().numpy().T:
        x = ((values - values.mean()) / values.std())[:, None]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its versions disagree on how to ask for no penalty
            model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10, max_iter=1000).fit(x, y.numpy())
        losses.append(log_loss(y.numpy(), model.predict_proba(x)[:, 1]))
    return losses


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_loss_is_scikit_learns(kind, dtype):
    z, y = activations(kind)
    fit = fit_logistic_1d(z.to(dtype), y)
    assert fit.converged.all()
    bounded = ~fit.unbounded
    assert bounded.sum() >= 12
    np.testing.assert_allclose(fit.loss[bounded], sklearn_losses(z[:, bounded], y), atol=2e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_weight_and_bias_attain_the_loss(kind):
    z, y = activations(kind)
    fit = fit_logistic_1d(z, y)
    torch.testing.assert_close(logistic_loss(z, y, fit.weight, fit.bias), fit.loss, atol=1.5e-6, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_single_and_double_precision_agree(kind):
    z, y = activations(kind)
    single, double = fit_logistic_1d(z, y), fit_logistic_1d(z.double(), y, tolerance=1e-14)
    torch.testing.assert_close(single.loss, double.loss, atol=1e-6, rtol=0)
    torch.testing.assert_close(single.unbounded, double.unbounded)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_vanishes_in_double_precision(kind):
    z, y = activations(kind)
    fit = fit_logistic_1d(z.double(), y, tolerance=1e-20)
    residual = torch.sigmoid(z.double() * fit.weight + fit.bias) - y[:, None].double()
    gradient = torch.stack([residual.mean(0), (residual * z / z.std(0)).mean(0)])[:, ~fit.unbounded]
    assert gradient.abs().max() < 1e-7


@pytest.mark.parametrize("scale", [1e-8, 1e-3, 1e8, -1.0, -1e8])
@pytest.mark.parametrize("kind", ["gaussian", "sparse"])
def test_scale_does_not_matter(kind, scale):
    z, y = activations(kind)
    plain, scaled = fit_logistic_1d(z, y), fit_logistic_1d(z * scale, y)
    torch.testing.assert_close(scaled.loss, plain.loss, atol=1e-6, rtol=0)
    torch.testing.assert_close(scaled.weight * scale, plain.weight, atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(scaled.bias, plain.bias, atol=2e-3, rtol=2e-3)


def test_offset_far_beyond_the_spread_does_not_matter():
    z, y = activations("gaussian")
    z = (z * 256).round() / 256  # so that float32 holds z + 2**14 exactly
    plain, shifted = fit_logistic_1d(z, y), fit_logistic_1d(z + 2.0**14, y)
    torch.testing.assert_close(shifted.loss, plain.loss, atol=1e-6, rtol=0)
    torch.testing.assert_close(logistic_loss(z + 2.0**14, y, shifted.weight, shifted.bias), plain.loss, atol=1e-6, rtol=0)


def test_offset_of_1e8_leaves_what_float32_still_holds():
    y = torch.tensor([0, 0, 0, 1, 0, 1, 1, 1])
    z = column(0, 1, 2, 2, 3, 3, 4, 5)
    plain, shifted = fit_logistic_1d(z, y), fit_logistic_1d(1e8 + 8 * z, y)  # float32 is spaced by 8 there
    torch.testing.assert_close(shifted.loss, plain.loss, atol=1e-6, rtol=0)


def test_one_enormous_outlier_on_its_own_side_leaves_the_rest_resolved():
    z, y = activations("gaussian", latents=4)
    z, y = torch.cat([z, torch.full((1, 4), 1e6)]), torch.cat([y, torch.tensor([True])])
    fit = fit_logistic_1d(z * torch.tensor([-1.0, -1.0, 1.0, 1.0]), y)
    rest = fit_logistic_1d(z[:-1], y[:-1])
    assert fit.converged.all()
    # the two latents whose positive class is the higher one; the outlier is classified for nothing
    torch.testing.assert_close(fit.loss[2:] * len(y), rest.loss[2:] * (len(y) - 1), atol=1e-3, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_flipped_labels_give_the_same_loss_and_the_opposite_probe(kind):
    z, y = activations(kind)
    fit, flipped = fit_logistic_1d(z, y), fit_logistic_1d(z, ~y)
    torch.testing.assert_close(flipped.loss, fit.loss, atol=1e-6, rtol=0)
    torch.testing.assert_close(flipped.weight, -fit.weight, atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(flipped.unbounded, fit.unbounded)


def test_separable_latents_lose_nothing():
    y = torch.tensor([0, 0, 1, 1])
    z = torch.stack([torch.tensor(v) for v in ([0.0, 1, 2, 3], [3.0, 2, 1, 0], [0.0, 1, 1 + 2**-23, 3], [0.0, 1e-44, 2e-44, 3e-44])], 1)
    fit = fit_logistic_1d(z, y)
    assert fit.separable.all()
    assert fit.unbounded.all()
    assert (fit.loss == 0).all()
    assert fit.weight.isfinite().all()
    assert fit.bias.isfinite().all()
    assert (logistic_loss(z, y, fit.weight, fit.bias) < 1e-6).all()
    assert (accuracy(z, y, fit.weight, fit.bias) == 1).all()
    assert fit.weight.sign().tolist() == [1, -1, 1, 1]


@pytest.mark.parametrize(
    ("z", "y", "loss"),
    [
        ([0, 1, 1, 2], [0, 0, 1, 1], 2 / 4 * math.log(2)),
        ([0, 0, 0, 0, 5, 7], [0, 0, 0, 1, 1, 1], -(3 * math.log(3 / 4) + math.log(1 / 4)) / 6),  # fires on positives alone
        ([0, 0, 0, 0, -5, -7], [0, 0, 0, 1, 1, 1], -(3 * math.log(3 / 4) + math.log(1 / 4)) / 6),
        ([2, 1, 1, 0], [0, 0, 1, 1], 2 / 4 * math.log(2)),
        ([0, 0, 0, 1], [0, 0, 1, 1], -(2 * math.log(2 / 3) + math.log(1 / 3)) / 4),
    ],
)
def test_quasi_separable_infimum(z, y, loss):
    z, y = column(*z), torch.tensor(y)
    fit = fit_logistic_1d(z, y)
    assert fit.loss.item() == pytest.approx(loss, abs=1e-7)
    assert fit.unbounded.all()
    assert not fit.separable.any()
    assert logistic_loss(z, y, fit.weight, fit.bias).item() == pytest.approx(loss, abs=1e-6)

    def objective(parameters: np.ndarray) -> float:
        logits = z.double().numpy()[:, 0] * parameters[0] + parameters[1]
        return float(np.logaddexp(0, np.where(y.numpy() == 1, -logits, logits)).mean())

    found = minimize(objective, np.zeros(2), method="BFGS", options={"gtol": 1e-9}).fun
    assert fit.loss.item() == pytest.approx(found, abs=1e-4)  # the optimiser stops short of infinity


def test_one_class_inside_a_single_value_of_the_other_is_bounded():
    fit = fit_logistic_1d(column(0, 2, 1, 1), torch.tensor([0, 0, 1, 1]))
    assert not fit.unbounded.any()
    assert fit.loss.item() == pytest.approx(math.log(2), abs=1e-7)
    assert fit.weight.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("gap", [1e-1, 1e-3, 1e-6])
def test_barely_overlapping_classes_converge(gap):
    z, y = torch.tensor([[0, 1, 1 - gap, 2 - gap]], dtype=torch.float64).T, torch.tensor([0, 0, 1, 1])
    fit = fit_logistic_1d(z.float(), y)
    centred = z.float().double().numpy()[:, 0] - 1

    def objective(w: float) -> float:  # the optimal intercept puts the boundary in the middle of the overlap
        logits = w * (centred - (centred[1] + centred[2]) / 2)
        return float(np.logaddexp(0, np.where(y.numpy() == 1, -logits, logits)).mean())

    best = min(objective(w) for w in np.linspace(0, 40, 40_001))
    assert fit.converged.all()
    assert fit.loss.item() == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("value", [0.0, -3.0, 1e8, 1e-8])
def test_constant_latents_leave_the_entropy(value):
    y = torch.tensor([0, 0, 0, 1])
    fit = fit_logistic_1d(torch.full((4, 3), value), y)
    torch.testing.assert_close(fit.loss, label_entropy(y).expand(3))
    assert (fit.weight == 0).all()
    assert not fit.unbounded.any()
    assert fit.converged.all()
    assert fit.bias[0].item() == pytest.approx(math.log(1 / 3))


def test_nearly_constant_latents():
    z, y = activations("gaussian", latents=6)
    flat = torch.ones(200, 6)
    flat[z > 1] = 1 + 2**-23  # one unit in the last place
    assert (fit_logistic_1d(flat, y).loss - fit_logistic_1d((z > 1).float(), y).loss).abs().max() < 1e-6


def test_chunks_do_not_matter():
    z, y = activations("sparse")
    whole = fit_logistic_1d(z, y)
    torch.testing.assert_close(fit_logistic_1d(z, y, chunk_elements=5 * len(y)).loss, whole.loss, atol=5e-7, rtol=0)


@pytest.mark.parametrize("elements", [1, 60, 1000])
@pytest.mark.parametrize("kind", ["gaussian", "sparse"])
def test_tiles_do_not_matter(kind, elements, monkeypatch):
    z, y = activations(kind)
    whole = fit_logistic_1d(z, y)
    monkeypatch.setattr("sae_lens_metrics.functional.logistic._TILE_ELEMENTS", {"cpu": elements})  # from an example at a time on
    tiled = fit_logistic_1d(z, y)
    torch.testing.assert_close(tiled.loss, whole.loss, atol=5e-7, rtol=0)
    assert torch.equal(tiled.converged, whole.converged)


@pytest.mark.parametrize("examples", [2, 3, 31, 500])
def test_small_losses_keep_their_digits(examples):
    # of one latent: all but the two examples that overlap are far on their own side, where a loss is next to nothing
    z = torch.cat([torch.linspace(-40, -20, examples), torch.tensor([0.5, -0.5]), torch.linspace(20, 40, examples)])[:, None]
    y = torch.arange(len(z)) > examples
    found, single = fit_logistic_1d(z.double(), y), fit_logistic_1d(z, y)
    logits = z.double()[:, 0] * found.weight + found.bias
    losses = np.logaddexp(0, np.where(y, -logits, logits))
    assert float(found.loss) == pytest.approx(losses.mean(), rel=1e-12)
    assert float(single.loss) == pytest.approx(losses.mean(), rel=1e-5)


class Waits(TorchDispatchMode):
    """Counts what a device would be waited for, and evaluations of the gradient."""

    def __init__(self):
        super().__init__()
        self.n, self.sigmoids = 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        by_mask = name in ("index", "index_put_") and any(each.dtype == torch.bool for each in tree_leaves(args[1]) if each is not None)
        self.n += name in ("_local_scalar_dense", "nonzero") or by_mask
        self.sigmoids += name == "sigmoid_"
        return func(*args, **(kwargs or {}))


def test_a_device_is_waited_for_about_once_an_iteration():
    z, y = activations("skewed")
    with Waits() as waits:
        fit_logistic_1d(z.repeat(1, 4), y, chunk_elements=4 * z.numel())
    iterations = waits.sigmoids // 2  # one for each class
    assert iterations >= 4
    assert waits.n <= 2 * iterations + 10  # one each, one where latents are left behind, and the checks of what is given


def test_arguments_are_left_alone_and_layouts_do_not_matter():
    z, y = activations("gaussian")
    copy = z.clone()
    fit = fit_logistic_1d(z, y)
    assert torch.equal(z, copy)
    torch.testing.assert_close(fit_logistic_1d(z.T.contiguous().T, y.float()).loss, fit.loss)
    torch.testing.assert_close(fit_logistic_1d(z.requires_grad_(), y.long()).loss, fit.loss)
    torch.testing.assert_close(fit_logistic_1d(z.bfloat16(), y).loss, fit_logistic_1d(z.bfloat16().float(), y).loss)
    assert fit_logistic_1d(z[:, :0], y).loss.shape == (0,)


def test_iterations_that_run_out_are_flagged():
    z, y = activations("skewed")
    fit = fit_logistic_1d(z, y, max_iterations=1)
    assert not fit.converged.all()
    assert (fit.loss <= label_entropy(y)).all()
    assert isinstance(fit, LogisticFit)


# nine orders of magnitude in one latent: all that float32 can be asked to resolve
values = st.one_of(st.sampled_from([0.0, 1.0, -1.0, 1e6]), st.floats(-1e4, 1e4).map(lambda value: round(value, 3)))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(values, st.booleans()), min_size=4, max_size=30).filter(lambda rows: len({y for _, y in rows}) == 2))
def test_any_data(rows):
    z, y = column(*(z for z, _ in rows)), torch.tensor([y for _, y in rows])
    fit = fit_logistic_1d(z, y)
    assert fit.loss.isfinite().all()
    assert 0 <= fit.loss.item() <= label_entropy(y).item() + 1e-12
    assert fit.weight.isfinite().all()
    assert fit.bias.isfinite().all()
    assert fit.converged.all()
    area = auc(z, y).item()
    assert fit.separable.item() == (area in (0.0, 1.0))
    # no probe is better: neither the one found in double precision nor its neighbours
    assert fit.loss.item() <= fit_logistic_1d(z.double(), y, tolerance=1e-14).loss.item() + 2e-6


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=4, max_size=20).filter(lambda rows: len({y for _, y in rows}) == 2))
def test_any_tied_data_against_scipy(rows):
    z, y = np.array([float(z) for z, _ in rows]), np.array([y for _, y in rows])

    def objective(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        logits = parameters[0] * z + parameters[1]
        error = expit(logits) - y
        return float(np.logaddexp(0, np.where(y, -logits, logits)).mean()), np.array([(error * z).mean(), error.mean()])

    found = minimize(objective, np.zeros(2), jac=True, method="BFGS", options={"gtol": 1e-8}).fun
    loss = fit_logistic_1d(torch.tensor(z)[:, None], torch.tensor(y)).loss.item()
    assert loss == pytest.approx(found, abs=1e-4)
    assert loss <= found + 1e-9


@pytest.mark.parametrize(
    ("z", "y", "message"),
    [
        (torch.randn(4, 2), torch.ones(4), "both classes"),
        (torch.randn(4, 2), torch.zeros(4, dtype=torch.bool), "both classes"),
        (torch.randn(4, 2), torch.tensor([0, 1, 2, 1]), "0 or 1"),
        (torch.randn(4, 2), torch.tensor([0, 1, 1]), "one label per row"),
        (torch.randn(4), torch.tensor([0, 1, 1, 0]), "floating-point matrix"),
        (torch.ones(4, 2, dtype=torch.int64), torch.tensor([0, 1, 1, 0]), "floating-point matrix"),
        (torch.tensor([[0, 1.0], [2, 3], [4, math.nan], [6, 7]]), torch.tensor([0, 1, 1, 0]), "latent 1 are not finite"),
        (torch.tensor([[0, 1.0], [math.inf, 3], [4, 5], [6, 7]]), torch.tensor([0, 1, 1, 0]), "latent 0 are not finite"),
    ],
)
def test_errors(z, y, message):
    with pytest.raises(ProbeInputError, match=message):
        fit_logistic_1d(z, y)


def test_errors_of_the_scores():
    y = torch.tensor([0, 1])
    with pytest.raises(ProbeInputError, match="NaN"):
        auc(torch.tensor([math.nan, 0]), y)
    with pytest.raises(ProbeInputError, match="both classes"):
        auc(torch.tensor([1.0, 0]), torch.tensor([1, 1]))
    with pytest.raises(ProbeInputError, match="finite"):
        logistic_loss(column(math.inf, 0), y, torch.ones(1), torch.ones(1))


def test_scores_are_scikit_learns():
    z, y = activations("tied")
    fit = fit_logistic_1d(z, y)
    np.testing.assert_allclose(auc(z, y), [roc_auc_score(y, values) for values in z.numpy().T], atol=1e-12)
    predicted = (z * fit.weight + fit.bias > 0).numpy()
    np.testing.assert_allclose(accuracy(z, y, fit.weight, fit.bias), [accuracy_score(y, labels) for labels in predicted.T], atol=1e-12)
    probabilities = torch.sigmoid(z * fit.weight + fit.bias).numpy()
    np.testing.assert_allclose(logistic_loss(z, y, fit.weight, fit.bias), [log_loss(y, p) for p in probabilities.T], atol=1e-10)


def test_auc_shapes_and_symmetry():
    z, y = activations("tied")
    assert auc(z[:, 0], y).shape == ()
    torch.testing.assert_close(auc(z.reshape(200, 4, 6), y), auc(z, y).reshape(4, 6))
    torch.testing.assert_close(auc(-z, y), 1 - auc(z, y))
    assert auc(torch.ones(3), torch.tensor([0, 1, 1])).item() == 0.5


def test_loss_on_one_class_is_defined():
    assert logistic_loss(column(0, 0), torch.tensor([1, 1]), torch.zeros(1), torch.zeros(1)).item() == pytest.approx(math.log(2))


def test_label_entropy():
    assert label_entropy(torch.tensor([True, False])).item() == pytest.approx(math.log(2))
    assert label_entropy(torch.tensor([1, 1])).item() == 0
