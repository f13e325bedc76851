"""Depth budgets: bounds that hold for random layers and are attained by named ones, expectations by other integrals."""

import math
from functools import partial
from itertools import islice, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import dawsn
from scipy.stats import norm
from small_networks import network

import orthobook as ob
from orthobook.layers.activations import two_slopes
from orthobook.theory import depth_budget
from orthobook.theory.depth_budget import Bounds, guaranteed_depth, perturb_, random_depth, random_spread, typical_depth

ROUNDING = 1e-12  # of a product of a few float64 matrices of order 1


def defect(V):
    """Return ‖VᵀV − I‖₂."""
    return torch.linalg.matrix_norm(V.mT @ V - torch.eye(V.shape[-1], dtype=V.dtype), ord=2).item()


def near_frame(n, m, delta, generator):
    """Return V with ‖VᵀV − I‖₂ = δ, its other eigenvalues spread in between."""
    left, right = (ob.haar(k, m, generator=generator, dtype=torch.float64) for k in (n, m))
    errors = delta * (2 * torch.rand(m, generator=generator, dtype=torch.float64) - 1)
    errors[0] = delta * errors[0].sign()
    return left * (1 + errors).sqrt() @ right.mT


def within(bounds, matrix):
    s = torch.linalg.svdvals(matrix)
    return bounds.smallest - ROUNDING <= s.min() and s.max() <= bounds.largest + ROUNDING


# --- worst case: bounds hold, and are attained ---


@given(st.floats(0, 0.99), st.integers(1, 8), st.integers(0, 2**31))
def test_weight_bounds_hold(delta, n, seed):
    generator = torch.Generator().manual_seed(seed)
    m = 1 + seed % n
    V, signs = near_frame(n, m, delta, generator), torch.randn(m, generator=generator, dtype=torch.float64).sign()
    assert defect(V) == pytest.approx(delta, abs=1e-12)
    residual = torch.eye(n, dtype=torch.float64) - V * (1 - signs) @ V.mT
    assert within(depth_budget.weight_bounds(delta, "residual"), residual)
    W = near_frame(n, n, delta, generator)
    assert within(depth_budget.weight_bounds(delta, "feedforward"), torch.diag(signs.repeat(n)[:n]) @ W)


@given(st.floats(0, 0.99), st.integers(1, 5))
def test_weight_bounds_are_attained_at_any_depth(delta, depth):
    """W = diag √(1 ± δ); V the same, with both units active: the same layer L times."""
    scale = torch.tensor([1 + delta, 1 - delta], dtype=torch.float64).sqrt().diag()
    eye = torch.eye(2, dtype=torch.float64)
    for layer, J in (("feedforward", scale), ("residual", eye - 2 * scale @ scale.mT)):
        bounds = depth_budget.weight_bounds(delta, layer).after(depth)
        s = torch.linalg.svdvals(torch.linalg.matrix_power(J, depth))
        assert defect(scale) == pytest.approx(delta, abs=1e-15)
        assert s.max().item() == pytest.approx(bounds.largest, rel=1e-12)
        if layer == "feedforward" or delta <= 0.5:
            assert s.min().item() == pytest.approx(bounds.smallest, rel=1e-12, abs=1e-15)


def test_beyond_a_half_a_residual_layer_may_lose_a_direction():
    V = torch.tensor([[math.sqrt(0.5)]], dtype=torch.float64)  # VᵀV − 1 = −½, so δ = ½ allows it, and every larger δ
    assert (1 - 2 * V @ V.mT).abs().item() <= 1e-15
    assert depth_budget.weight_bounds(0.7, "residual") == Bounds(0.0, 2.4)
    assert depth_budget.weight_bounds(0.5, "residual").smallest == 0


@given(st.floats(0, 0.99), st.integers(2, 6), st.integers(0, 2**31))
def test_slope_bounds_hold_and_are_attained(delta, n, seed):
    generator = torch.Generator().manual_seed(seed)
    bounds, product = depth_budget.slope_bounds(delta), torch.eye(n, dtype=torch.float64)
    for _ in range(3):
        slopes = 1 + delta * (2 * torch.rand(n, generator=generator, dtype=torch.float64) - 1)
        product = torch.diag(slopes) @ ob.haar(n, n, generator=generator, dtype=torch.float64) @ product
    assert within(bounds.after(3), product)
    phi = two_slopes(1 + delta, delta - 1)  # W = I; one unit stays above 0, the other below
    z = torch.tensor([1.0, -1.0], dtype=torch.float64)
    s = torch.linalg.svdvals(torch.linalg.matrix_power(torch.diag(phi.derivative(z)), 3))
    assert s.tolist() == pytest.approx([bounds.after(3).largest, bounds.after(3).smallest])


def test_the_uneven_fold_attains_its_smallest_slope_at_every_layer():
    """A bias that keeps one unit below 0 and another above: σ from (1 − δ)ᴸ to 1."""
    net = network("uneven-fold", depth=30, width=2, delta=0.1, threshold=0.0)
    with torch.no_grad():
        net.trunk["weight"].copy_(torch.eye(2).expand(30, 2, 2))
        net.trunk["bias"].copy_(torch.tensor([-1e6, 1e6]).expand(30, 2))
        s = ob.singular_values(net, torch.randn(3, 20, dtype=torch.float64))
    torch.testing.assert_close(s, torch.tensor([[1.0, 0.9**30]]).double().expand(3, 2))


@given(st.floats(0, 2), st.floats(0, 0.4), st.integers(1, 6), st.integers(0, 2**31))
def test_branch_bounds_hold_and_are_attained(scale, size, n, seed):
    generator = torch.Generator().manual_seed(seed)
    B = torch.randn(n, n, generator=generator, dtype=torch.float64)
    B *= size / torch.linalg.matrix_norm(B, ord=2)
    eye, bounds = torch.eye(n, dtype=torch.float64), depth_budget.branch_bounds(scale, size)
    assert within(bounds, eye + scale * B)
    assert (1 + scale * size, abs(1 - scale * size)) == pytest.approx((bounds.largest, bounds.smallest))


@pytest.mark.parametrize("bounds", [Bounds(0.9, 1.1), Bounds(0.99, 1.0), Bounds(1.0, 1.05), Bounds(0.5, 2.0)])
def test_a_guaranteed_depth_is_the_last_that_holds(bounds):
    for kappa in (1.5, 2.0, 8.0):
        depth = guaranteed_depth(bounds, kappa)
        kept, beyond = bounds.after(depth), bounds.after(depth + 1)
        assert 1 / kappa * (1 - 1e-9) <= kept.smallest <= kept.largest <= kappa * (1 + 1e-9)
        assert beyond.smallest < 1 / kappa or beyond.largest > kappa
    assert guaranteed_depth(Bounds(0.5, 2.0), 8.0) == 3


def test_bounds_of_many_layers_may_be_infinite_and_still_say_something():
    assert Bounds(0.9, 2.0).after(2000) == Bounds(0.9**2000, math.inf)
    assert Bounds(1.5, 2.0).after(5000) == Bounds(math.inf, math.inf)
    assert guaranteed_depth(Bounds(0.9, math.inf), 2) == 0


def test_depths_without_a_limit_and_without_a_layer():
    assert guaranteed_depth(depth_budget.slope_bounds(0), 2) == math.inf
    assert guaranteed_depth(Bounds(0.0, 1.0), 1e9) == 0
    assert random_depth(0, 2) == math.inf


# --- typical: expectations against other integrals ---


def expectation(function, variance, crease):
    """Return E f(z), z ~ N(0, q), for f that is singular at the crease: on both sides of it, in float64."""
    deviation = math.sqrt(variance)
    ends = sorted({-12 * deviation, 12 * deviation, min(max(crease, -12 * deviation), 12 * deviation)})
    density = norm(scale=deviation).pdf
    return sum(quad(lambda z: function(z) * density(z), a, b, limit=500, epsabs=1e-10)[0] for a, b in pairwise(ends))


@pytest.mark.parametrize("variance", [0.2, 1.0, 3.0])
@pytest.mark.parametrize("threshold", [0.0, 1.0, 3.0, -1.0])
@pytest.mark.parametrize("epsilon", [0.01, 0.3, 2.0])
def test_contraction_of_a_smooth_fold(epsilon, threshold, variance):
    one = depth_budget.smooth_fold(epsilon, threshold, variance)

    def mean(function):
        return expectation(lambda z: function(z + threshold), variance, -threshold)

    mean_log = mean(lambda t: -0.5 * math.log1p((epsilon / t) ** 2) if t else 0.0)
    assert one.mean_log == pytest.approx(mean_log, rel=1e-6, abs=1e-9)
    lost = mean(lambda t: epsilon**2 / (t * t + epsilon**2))
    assert one.log_rms == pytest.approx(0.5 * math.log1p(-lost), rel=1e-6, abs=1e-9)
    assert one.variance == pytest.approx(mean(lambda t: (math.sqrt(t * t + epsilon**2) - threshold) ** 2), rel=1e-6)
    assert one.mean_log >= -epsilon * math.sqrt(math.pi / 2 / variance) * (1 + 1e-9)  # at any threshold
    assert one.mean_log < one.log_rms < 0  # Jensen


@pytest.mark.parametrize("threshold", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("delta", [0.01, 0.3, 0.9])
def test_contraction_of_an_uneven_fold(delta, threshold):
    one = depth_budget.uneven_fold(delta, threshold, 0.5)

    def mean(function):
        return expectation(lambda z: function(z + threshold), 0.5, -threshold)

    assert one.mean_log == pytest.approx(mean(lambda t: math.log(1 - delta) * (t < 0)), rel=1e-8)
    assert one.log_rms == pytest.approx(0.5 * math.log(mean(lambda t: 1 if t > 0 else (1 - delta) ** 2)), rel=1e-8)
    assert one.variance == pytest.approx(mean(lambda t: ((t if t > 0 else (delta - 1) * t) - threshold) ** 2), rel=1e-8)


@pytest.mark.parametrize(("threshold", "variance"), [(0.0, 1.0), (1.0, 0.5), (3.0, 1.0)])
def test_expansion_of_a_smooth_fold_to_second_order(threshold, variance):
    """−ε √(π/2q) exp(−x²) − (ε²/2q) (2x F(x) − 1), x = τ/√2q, F Dawson's function: the rest is of order ε³."""
    x = threshold / math.sqrt(2 * variance)
    rests = []
    for epsilon in (2e-2, 1e-2):
        first = epsilon * math.sqrt(math.pi / 2 / variance) * math.exp(-x * x)
        second = epsilon**2 / 2 / variance * (2 * x * dawsn(x) - 1)
        rests.append(depth_budget.smooth_fold(epsilon, threshold, variance).mean_log + first + second)
    assert abs(rests[0]) < 1e-5
    assert rests[0] / rests[1] == pytest.approx(8, rel=0.1)


def test_without_a_threshold_the_mean_square_grows_by_epsilon_squared():
    found = list(islice(depth_budget.contractions(partial(depth_budget.smooth_fold, 0.3), 0.7), 20))
    assert [one.variance for one in found] == pytest.approx([0.7 + 0.09 * layer for layer in range(1, 21)])


def test_exact_folds_contract_nothing():
    for layer in (partial(depth_budget.smooth_fold, 0.0, 1.0), partial(depth_budget.uneven_fold, 0.0, 1.0)):
        found = list(islice(depth_budget.contractions(layer), 5))
        assert [(one.mean_log, one.log_rms) for one in found] == [(0, 0)] * 5
        assert found[-1].variance < found[0].variance < 1  # folding shortens
        assert typical_depth(layer, 1.1, longest=50) == 50


def test_a_typical_depth_is_the_last_that_holds():
    layer = partial(depth_budget.smooth_fold, 0.05, 0.5)
    depth = typical_depth(layer, 2.0, 0.8)
    logs = [one.mean_log for one in islice(depth_budget.contractions(layer, 0.8), depth + 1)]
    assert logs[-1] < -math.log(2) <= logs[-2]
    assert typical_depth(layer, 2.0, 0.8, longest=3) == 3
    assert typical_depth(partial(depth_budget.smooth_fold, 5.0), 1.01) == 0


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("smooth-fold", {"epsilon": 0.15, "threshold": 0.0}),
        ("smooth-fold", {"epsilon": 0.3, "threshold": 1.0}),
        ("smooth-residual", {"epsilon": 0.3, "threshold": 1.0}),
        ("uneven-fold", {"delta": 0.3, "threshold": 0.5}),
    ],
)
def test_networks_contract_as_predicted(architecture, options):
    """At width 128 and 50 layers: the mean over 16 inputs and the units of all layers is within 5 %."""
    net = ob.build(
        architecture, depth=50, width=128, inputs=128, classes=2, dtype=torch.float64, device="cpu", **options
    )
    x = torch.randn(16, 128, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    measured = ob.singular_values(net, x).log().mean().item()
    q = net.embed(x).square().mean().item()
    layer = partial(getattr(depth_budget, "uneven_fold" if "delta" in options else "smooth_fold"), *options.values())
    *_, predicted = islice(depth_budget.contractions(layer, q), 50)
    assert measured == pytest.approx(predicted.mean_log, rel=0.05)
    frozen = 50 * layer(variance=q).mean_log  # the control: lengths must be followed
    assert abs(measured / frozen - 1) > 0.1


def test_the_root_mean_square_is_right_while_the_width_is_large():
    net = ob.build("smooth-fold", depth=10, width=256, inputs=256, classes=2, epsilon=0.05, threshold=0.0, device="cpu")
    x = torch.randn(4, 256, generator=torch.Generator().manual_seed(0))
    measured = 0.5 * ob.singular_values(net, x, dtype=torch.float64).square().mean(1).log().mean().item()
    q = net.embed(x).square().mean().item()
    *_, predicted = islice(depth_budget.contractions(partial(depth_budget.smooth_fold, 0.05), q), 10)
    assert measured == pytest.approx(predicted.log_rms, rel=0.1)


# --- typical: layers I + G ---


def test_random_spread_in_its_limits():
    assert random_spread(0.0) == 0
    for tiny in (1e-30, 1e-300, 5e-324):
        assert random_spread(tiny) == pytest.approx(math.sqrt(2) * math.sqrt(tiny), rel=1e-12)
    assert random_spread(1e-8) == pytest.approx(math.sqrt(2e-8), rel=1e-6)
    large = 1e4
    assert random_spread(large) == pytest.approx((large + 1 + math.log(2 * large)) / 2, rel=1e-6)


@given(st.floats(1e-9, 1e3))
def test_random_spread_is_an_integral(time):
    """d(log κ)/d√t = √(t + 2): the rate at which the spectrum spreads, integrated by quadrature."""
    found = quad(lambda root: math.sqrt(root**2 + 2), 0, math.sqrt(time), epsabs=0)[0]
    assert random_spread(time) == pytest.approx(found, rel=1e-9)


@given(st.floats(1e-4, 20))
def test_random_spread_is_where_the_density_ends(time):
    """The edge of the law with S(z) = exp(−t (1 + 2z)): the least ζ(M) = (1 + M)/(M S(M)) over M > 0, by search."""
    M = np.exp(np.linspace(-8, 8, 200_001)) * math.sqrt(1 / (2 * time))
    logs = np.log1p(1 / M) + time * (1 + 2 * M)
    assert random_spread(time) == pytest.approx(logs.min() / 2, rel=1e-6)


@pytest.mark.parametrize("time", [0.05, 1.0])
def test_random_spread_is_measured(time):
    """Gaussian layers at width 256: both ends, to a few n^(−2/3); and the worst case is far away."""
    generator, depth, n = torch.Generator().manual_seed(0), 60, 256
    J = torch.eye(n, dtype=torch.float64)
    for _ in range(depth):
        J += math.sqrt(time / depth / n) * torch.randn(n, n, generator=generator, dtype=torch.float64) @ J
    logs = torch.linalg.svdvals(J).log()
    assert logs[0].item() == pytest.approx(random_spread(time), rel=0.06)
    assert -logs[-1].item() == pytest.approx(random_spread(time), rel=0.06)


def test_weights_whose_gram_matrix_is_off_by_delta_have_mean_square_errors_of_an_eighth_of_its_square():
    """W(I + G): ‖G + Gᵀ‖₂ = 2√(2v) = δ, so v = δ²/8; with v = δ²/16 the spread would be off by √2."""
    generator, n, depth, delta = torch.Generator().manual_seed(0), 200, 100, 0.04
    J, defects = torch.eye(n, dtype=torch.float64), []
    for _ in range(depth):
        G = delta / math.sqrt(8 * n) * torch.randn(n, n, generator=generator, dtype=torch.float64)
        layer = ob.haar(n, n, generator=generator, dtype=torch.float64) @ (torch.eye(n, dtype=torch.float64) + G)
        defects.append(defect(layer))
        J = layer @ J
    assert np.mean(defects) == pytest.approx(delta, rel=0.05)
    assert torch.linalg.svdvals(J)[0].log().item() == pytest.approx(random_spread(depth * delta**2 / 8), rel=0.06)


@pytest.mark.parametrize(("architecture", "mean_square"), [("residual", 0.05**2), ("shifted-fold", 0.1**2 / 4)])
def test_random_errors_of_networks_spread_as_predicted(architecture, mean_square):
    """Branches scaled by 0.05, and weights off by 0.1: the ends of the spectrum after 100 layers."""
    options = {"branch_scale": 0.05} if architecture == "residual" else {}
    net = ob.build(architecture, depth=100, width=128, inputs=128, classes=2, device="cpu", **options)
    if architecture != "residual":
        perturb_(net, 0.1)
    x = torch.randn(2, 128, generator=torch.Generator().manual_seed(0))
    logs = ob.singular_values(net, x, dtype=torch.float64).log()
    predicted = random_spread(100 * mean_square)
    assert logs.max().item() == pytest.approx(predicted, rel=0.1)
    assert -logs.min().item() == pytest.approx(predicted, rel=0.1)
    assert random_depth(mean_square, math.exp(predicted)) == pytest.approx(100)


@given(st.floats(1e-6, 1), st.floats(math.log(1e-9), math.log(1e6)).map(lambda x: 1 + math.exp(x)))
def test_random_depth_inverts_the_spread(mean_square, kappa):
    assert random_spread(random_depth(mean_square, kappa) * mean_square) == pytest.approx(math.log(kappa), rel=1e-6)


# --- bad input ---


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: depth_budget.smooth_fold(-0.1), r"epsilon must be a finite number of at least 0, got -0\.1"),
        (lambda: depth_budget.smooth_fold(math.nan), "epsilon must be a finite number of at least 0, got nan"),
        (lambda: depth_budget.smooth_fold(0.1, math.inf), "threshold must be a finite number, got inf"),
        (lambda: depth_budget.smooth_fold(0.1, 1, 0), "variance must be a positive finite number, got 0"),
        (lambda: depth_budget.uneven_fold(1), "delta must be a finite number of at least 0 and below 1, got 1"),
        (lambda: depth_budget.slope_bounds(-0.1), r"delta must be .* at least 0 and below 1, got -0\.1"),
        (lambda: depth_budget.weight_bounds(math.nan, "residual"), "delta must be .* and below 1, got nan"),
        (lambda: depth_budget.weight_bounds(0.1, "conv"), "unknown layer 'conv'; allowed: feedforward, residual"),
        (lambda: depth_budget.branch_bounds(-1, 1), "scale must be a finite number of at least 0, got -1"),
        (lambda: guaranteed_depth(Bounds(0.9, 1), 1), "kappa must be a finite number above 1, got 1"),
        (lambda: guaranteed_depth(Bounds(0.9, 1), math.nan), "kappa must be a finite number, got nan"),
        (lambda: typical_depth(depth_budget.smooth_fold, 0.5), r"kappa must be a finite number above 1, got 0\.5"),
        (lambda: random_depth(-1, 2), "mean_square must be a finite number of at least 0, got -1"),
        (lambda: random_spread(math.nan), "time must be a finite number of at least 0, got nan"),
        (lambda: next(depth_budget.contractions(depth_budget.smooth_fold, -1)), "variance must be a positive"),
        (lambda: Bounds(math.nan, 1.2), "smallest must be a finite number of at least 0, got nan"),
        (lambda: Bounds(-0.1, 1.2), r"smallest must be a finite number of at least 0, got -0\.1"),
        (lambda: Bounds(0.9, "1"), "largest must be a finite number of at least 0, got '1'"),
        (lambda: Bounds(1.2, 0.8), r"smallest must be at most largest, got 1\.2 and 0\.8"),
        (lambda: Bounds(1, 1).after(-1), "depth must be a whole number of at least 0, got -1"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
