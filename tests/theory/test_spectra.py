"""Laws of singular values against closed forms, against their own moments, and against matrices and networks."""

import functools
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.special import ndtri
from scipy.stats import kstest, norm

import orthobook as ob
from orthobook.layers import activations
from orthobook.layers.activations import Activation
from orthobook.theory import spectra
from orthobook.theory.spectra import (
    FeedforwardLayer,
    ResidualLayer,
    SlopeLaw,
    feedforward_law,
    product_law,
    residual_law,
)

RELU = SlopeLaw(np.array([0.0, 1.0]), np.array([0.5, 0.5]))
LINEAR = SlopeLaw(np.ones(1), np.ones(1))
HARD_TANH = activations.hard_tanh(1.0)
SINE = Activation("half a sine added", lambda z: z + 0.5 * z.sin(), lambda z: 1 + 0.5 * z.cos())
SQUARE = Activation("square", lambda z: z.square() / 2, lambda z: z)
CUBE = Activation("cube", lambda z: z**3, lambda z: 3 * z.square())
EXP = Activation("exp", torch.exp, torch.exp)


def relative_variance(law):
    return law.moment(4) / law.moment(2) ** 2 - 1


# --- slopes ---


def test_slopes_of_piecewise_affine_activations_have_exact_laws():
    relu = spectra.slope_law(activations.relu, 3.0)
    assert relu.squares.tolist() == [0, 1]
    assert relu.weights.tolist() == [0.5, 0.5]
    assert relu.atom == 0.5
    clipped = spectra.slope_law(HARD_TANH, 4.0)
    assert_allclose(clipped.weights, [2 * norm.cdf(-0.5), 1 - 2 * norm.cdf(-0.5)], rtol=1e-14)
    shifted = spectra.slope_law(activations.two_slopes(2.0, 0.5), 4.0, bias=1.0)
    assert_allclose(shifted.squares, [0.25, 4])
    assert_allclose(shifted.weights, [norm.cdf(-0.5), norm.cdf(0.5)], rtol=1e-14)
    for fold in (activations.absolute, activations.shifted_fold(0.7), activations.triangle_wave(1.0)):
        assert spectra.slope_law(fold).constant


@pytest.mark.parametrize("mean_square", [1e-4, 1.0, 30.0])
def test_slopes_of_tanh_have_the_moments_of_their_law(mean_square):
    law = spectra.slope_law(activations.tanh, mean_square)
    for power in (1, 2, 3):
        expected, _ = quad(
            lambda z, k=power: np.cosh(math.sqrt(mean_square) * z) ** (-4.0 * k) * norm.pdf(z), -9, 9, limit=200
        )
        assert law.mean(power) == pytest.approx(expected, rel=1e-7)
    assert law.weights.sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("activation", "mean", "second"),
    [
        (SQUARE, 1, 3),
        (CUBE, 27, 81 * 105),  # the slope touches 0 without a change of sign
        (EXP, math.exp(2), math.exp(8)),
        (activations.smooth_relu(0.1), 0.4710184400, 0.4459358481),  # SciPy's quad; the slope rises over a width of 0.1
    ],
)
def test_rules_reproduce_the_moments(activation, mean, second):
    """The complex rule against the closed form; also in a product, where relative variances add."""
    law = spectra.slope_law(activation)
    assert (law.weights @ law.squares).real == pytest.approx(mean, rel=3e-5)
    assert (law.weights @ law.squares**2).real == pytest.approx(second, rel=3e-5)
    product = product_law([FeedforwardLayer(law)] * 2)
    assert product.moment(2) == pytest.approx(mean**2, rel=1e-4)
    assert relative_variance(product) == pytest.approx(2 * (second / mean**2 - 1), rel=0.03)  # a tail of exp is cut


def test_moments_of_one_layer_are_those_of_its_slopes():
    """Also of slopes with long tails: E exp(kz) = exp(k²/2), and normal moments."""
    exponential = product_law([FeedforwardLayer(spectra.slope_law(EXP), 2.0)])
    for order in (0.0, 1.0, 2.5, 4.0):
        assert exponential.moment(order) == pytest.approx(2**order * math.exp(order**2 / 2), rel=1e-5)
    square = feedforward_law(SQUARE, 1)
    for order, expected in ((1, math.sqrt(2 / math.pi)), (2, 1), (3, math.sqrt(8 / math.pi)), (8, 105)):
        assert square.moment(order) == pytest.approx(expected, rel=1e-4)  # |z| has a kink
    with pytest.raises(ValueError, match=r"exp.* must be finite and not carried by \|z\| > 8"):
        exponential.moment(6)


def test_steep_growth_is_followed_from_layer_to_layer():
    """E z⁶ = 15 is the second layer's q; T = 9z⁴q² has the mean 27q² and the relative variance 105/9 − 1."""
    law = feedforward_law(CUBE, 2)
    assert law.moment(2) == pytest.approx(27 * 27 * 15**2, rel=1e-4)
    assert relative_variance(law) == pytest.approx(2 * (105 / 9 - 1), rel=1e-3)


def test_no_variance_leaves_the_slope_at_the_bias():
    law = spectra.slope_law(activations.tanh, 0.0, bias=0.3)
    assert law.constant
    assert law.mean() == pytest.approx(np.cosh(0.3) ** -4)


def test_mean_squares_follow_the_recursion():
    assert_allclose(
        spectra.mean_squares(activations.relu, 9, weight_scale=math.sqrt(2), mean_square=0.7), np.full(9, 1.4)
    )
    found = spectra.mean_squares(HARD_TANH, 3, weight_scale=1.5, bias_variance=0.2, mean_square=2.0)
    expected = [1.5**2 * 2.0 + 0.2]
    for _ in range(2):
        q = expected[-1]
        h = 1 / math.sqrt(q)  # E clip(√q z)² = q (Φ(h) − Φ(−h) − 2hφ(h)) + 2Φ(−h)
        inner = q * (norm.cdf(h) - norm.cdf(-h) - 2 * h * norm.pdf(h))
        expected.append(1.5**2 * (inner + 2 * norm.cdf(-h)) + 0.2)
    assert_allclose(found, expected, rtol=1e-12)


# --- closed forms ---


def test_a_gaussian_matrix_has_the_quarter_circle_law():
    """Marchenko and Pastur's law for square matrices: the density of σ is √(4 − σ²)/π on [0, 2]."""
    law = feedforward_law(activations.identity, 1, gaussian=True)
    x = np.linspace(0.01, 1.99, 50)
    assert law.atoms == ()
    assert_allclose(law.support, (0, 2), atol=1e-6)
    assert_allclose(law.density(x), np.sqrt(4 - x**2) / math.pi, rtol=1e-4)
    assert_allclose(law.distribution(x), (x * np.sqrt(4 - x**2) / 2 + 2 * np.arcsin(x / 2)) / math.pi, atol=2e-5)


@pytest.mark.parametrize("depth", [1, 2, 3, 10, 60])
def test_products_of_gaussian_matrices_have_fuss_and_catalans_edges_and_moments(depth):
    law = feedforward_law(activations.identity, depth, gaussian=True)
    assert law.support[1] ** 2 == pytest.approx((depth + 1) ** (depth + 1) / depth**depth, rel=1e-6)
    for k in (1, 2, 3, 4):
        fuss_catalan = math.comb((depth + 1) * k, k) / (depth * k + 1)
        assert law.moment(2 * k) == pytest.approx(fuss_catalan, rel=1e-4)


@pytest.mark.parametrize("depth", [2, 3, 7, 40, 128])
def test_orthogonal_relu_networks_have_a_law_in_closed_form(depth):
    """Here ζ = (1 + κ)^L κ^(1 − L). With φ = arg κ the real ζ have arg(1 + κ) = φ(L − 1)/L: all lies on a curve."""
    law = spectra.spectral_law("relu-orthogonal", depth)
    assert law.atoms == ((0.0, 0.5),)
    assert law.support[0] == 0
    assert law.support[1] ** 2 == pytest.approx(depth**depth / (depth - 1) ** (depth - 1), rel=1e-6)
    phi = np.linspace(0.04, 0.9, 40) * math.pi
    kappa = np.sin(phi * (depth - 1) / depth) / np.sin(phi / depth) * np.exp(1j * phi)
    logarithm = depth * np.log(np.sin(phi) / np.sin(phi / depth)) - (depth - 1) * np.log(np.abs(kappa))
    x = np.exp(logarithm / 2)
    above = ((1 - depth / 2) * np.angle(kappa - 1) + phi * (depth - 1) / 2) / math.pi
    assert_allclose(law.distribution(x), 1 - above, atol=1e-5)
    assert_allclose(law.density(x) * x, -2 * (1 / (kappa - 1)).imag / math.pi, rtol=2e-3)


def test_two_orthogonal_relu_layers_have_an_arcsine_law():
    law = spectra.spectral_law("relu-orthogonal", 2)
    x = np.linspace(0, 2, 41)
    assert_allclose(law.distribution(x), 0.5 + np.arcsin(x / 2) / math.pi, atol=1e-4)
    assert_allclose(law.density(x[1:-1]), 1 / (math.pi * np.sqrt(4 - x[1:-1] ** 2)), rtol=1e-3)


@pytest.mark.parametrize("depth", [1, 2, 8, 128])
def test_gaussian_relu_networks_have_known_edges(depth):
    """Here ζ = κ((κ + 1)/(κ − 1))^L, whose critical points are L ± √(L² + 1)."""
    law = spectra.spectral_law("relu-he", depth)
    kappa = depth + math.sqrt(depth**2 + 1)
    assert law.support[1] ** 2 == pytest.approx(kappa * ((kappa + 1) / (kappa - 1)) ** depth, rel=1e-6)
    assert law.support[0] == pytest.approx(math.sqrt(2) - 1 if depth == 1 else 0, abs=1e-6)
    assert law.atom == 0.5


@pytest.mark.parametrize("depth", [1, 2, 8, 32, 128])
@pytest.mark.parametrize(("right", "left", "scale"), [(1, 0, math.sqrt(2)), (1, 0, 0.9), (1, 0.25, 1.3), (0.5, 2, 1)])
def test_mean_and_variance_of_networks_with_two_slopes(depth, right, left, scale):
    """Means multiply and relative variances add; with p = ½ and slopes 1, 0 they are σ_w^(2L) p^L and L(1 − p)/p."""
    mean, second = (right**2 + left**2) / 2, (right**4 + left**4) / 2
    for gaussian in (False, True):
        law = feedforward_law(activations.two_slopes(right, left), depth, weight_scale=scale, gaussian=gaussian)
        assert law.moment(2) == pytest.approx((scale**2 * mean) ** depth, rel=1e-4)
        assert relative_variance(law) == pytest.approx(depth * (second / mean**2 - 1 + gaussian), rel=1e-3)
        assert law.moment(0) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("depth", [2, 16])  # 16: laws that are told apart by ten of them
def test_mean_and_variance_of_tanh_networks(depth):
    mean, variance, q = 1.0, 0.0, 1.0
    for _ in range(depth):

        def average(f, q=q):
            return quad(lambda z: f(math.sqrt(q) * z) * norm.pdf(z), -9, 9, limit=200)[0]

        first, second = average(lambda t: np.cosh(t) ** -4.0), average(lambda t: np.cosh(t) ** -8.0)
        mean, variance = mean * first, variance + second / first**2 - 1
        q = average(lambda t: np.tanh(t) ** 2)
    law = spectra.spectral_law("tanh-orthogonal", depth)
    assert law.moment(2) == pytest.approx(mean, rel=1e-5)
    assert relative_variance(law) == pytest.approx(variance, rel=1e-5)


@pytest.mark.parametrize("depth", [1, 2, 8, 32, 128])
def test_mean_and_variance_of_residual_networks(depth):
    """From the determining series: 1 + cp and 1 + (c²p − 1)/(1 + cp)² for each layer, c = 2/L and p = ½."""
    law = spectra.spectral_law("residual", depth)
    assert law.moment(2) == pytest.approx((1 + 1 / depth) ** depth, rel=1e-3)
    assert relative_variance(law) == pytest.approx(depth * (2 * depth + 3) / (depth + 1) ** 2, rel=1e-3)


def test_residual_networks_converge_to_one_law_for_all_activations():
    """ζ → κ e^(1 + 2M): edges at M = (−1 ± √3)/2, with the squares (2 + √3) e^√3 and its inverse."""
    top = math.sqrt((2 + math.sqrt(3)) * math.exp(math.sqrt(3)))
    laws = [residual_law(depth) for depth in (100, 400)]
    gaps = [max(abs(law.support[1] / top - 1), abs(law.support[0] * top - 1)) for law in laws]
    assert gaps[1] < 0.4 * gaps[0] < 0.02
    scale = 1 / spectra.slope_law(activations.two_slopes(1.0, -0.5)).mean()  # so that E T = 1, as of √2 · ReLU
    leaky = product_law([ResidualLayer(spectra.slope_law(activations.two_slopes(1.0, -0.5)), scale / 400)] * 400)
    assert_allclose(leaky.support, laws[1].support, rtol=0.01)
    x = np.linspace(0.2, 4.6, 100)
    assert np.abs(leaky.distribution(x) - laws[1].distribution(x)).max() < 2e-3


def test_without_a_branch_a_residual_layer_is_the_identity():
    assert product_law([ResidualLayer(RELU, 0.0)] * 3).atoms == ((1.0, 1.0),)
    law = product_law([ResidualLayer(RELU, 0.0), FeedforwardLayer(LINEAR, 3.0, gaussian=True)])
    assert law.support[1] == pytest.approx(6)


@pytest.mark.parametrize("architecture", ["linear", "absolute", "shifted-fold", "modified-residual", "crelu"])
@pytest.mark.parametrize("depth", [1, 1000])
def test_orthogonal_members_have_a_point_mass_at_one(architecture, depth):
    law = spectra.spectral_law(architecture, depth)
    assert law.atoms == ((1.0, 1.0),)
    assert law.support is None
    assert law.moment(3) == 1
    assert law.distribution([0.999, 1, 2]).tolist() == [0, 1, 1]
    assert not law.density([0.5, 1]).any()
    assert law.kolmogorov_smirnov([1 + 1e-12, 1 - 1e-12], resolution=1e-9) == 0


def test_folds_have_a_point_mass_from_the_equations_too():
    law = feedforward_law(activations.shifted_fold(0.5), 7, weight_scale=2.0)
    assert law.atoms == ((2.0**7, 1.0),)


def test_one_layer_is_the_law_of_its_slopes():
    relu = spectra.spectral_law("relu-orthogonal", 1)
    assert relu.atoms == ((0.0, 0.5), (math.sqrt(2), 0.5))
    law = spectra.spectral_law("tanh-orthogonal", 1)
    x = np.linspace(0.05, 0.95, 40)
    assert_allclose(law.distribution(x), 2 * norm.cdf(-np.arccosh(x**-0.5)), atol=1e-3)


def test_flat_units_only_leave_nothing():
    for flat in (activations.two_slopes(0.0, 0.0), Activation("constant", torch.ones_like, torch.zeros_like)):
        assert feedforward_law(flat, 3).atoms == ((0.0, 1.0),)


# --- atoms ---


def test_common_directions_are_atoms():
    """ab is an atom where the masses of a and b exceed 1 together; 0 has the larger mass."""
    first, second = (
        SlopeLaw(np.array([0, 1.0]), np.array([0.1, 0.9])),
        SlopeLaw(np.array([0, 4.0]), np.array([0.3, 0.7])),
    )
    law = product_law([FeedforwardLayer(first), FeedforwardLayer(second)])
    (zero, lost), (two, kept) = law.atoms
    assert (zero, two) == (0, 2)
    assert (lost, kept) == (pytest.approx(0.3), pytest.approx(0.6))
    assert product_law([FeedforwardLayer(first)] * 11).atoms == ((0.0, pytest.approx(0.1)),)


def test_atoms_are_counts_of_equal_singular_values(generator):
    """Of a residual layer with 70 % flat units, 40 % of the singular values are 1; of two layers, 40 % are 1 or 0."""
    n, flat = 200, SlopeLaw(np.array([0, 1.0]), np.array([0.7, 0.3]))
    draws = [gaussian(n, generator) for _ in range(2)]
    J = torch.eye(n, dtype=torch.float64) + draws[0] @ (slopes(flat, n, generator)[:, None] * draws[1])
    ones = ((torch.linalg.svdvals(J) - 1).abs() < 1e-9).double().mean().item()
    assert ones == pytest.approx(0.4)
    assert product_law([ResidualLayer(flat)]).atoms == ((1.0, pytest.approx(ones)),)


# --- consistency ---

activation = st.sampled_from([activations.relu, activations.leaky_relu(0.2), HARD_TANH, activations.tanh, SINE])
products = st.fixed_dictionaries(
    {
        "activation": activation,
        "mean_square": st.floats(0.2, 3),
        "weight_scale": st.floats(0.5, 2),
        "gaussian": st.booleans(),
        "strength": st.floats(0.01, 0.6),
        "counts": st.tuples(st.integers(1, 12), st.integers(1, 12)),
    }
)


def mixed(activation, mean_square, weight_scale, gaussian, strength, counts):
    """Return feedforward layers and residual layers."""
    law = spectra.slope_law(activation, mean_square)
    return counts[0] * [FeedforwardLayer(law, weight_scale, gaussian)] + counts[1] * [ResidualLayer(RELU, strength)]


@hypothesis_settings(max_examples=10)
@given(products)
def test_density_and_distribution_agree_and_have_mass_one(kinds):
    layers = mixed(**kinds)
    law = product_law(layers)
    x = np.geomspace(max(law.support[0], 1e-4 * law.support[1]), law.support[1], 4001)
    density, distribution = law.density(x), law.distribution(x)
    assert (density >= 0).all()
    assert (np.diff(distribution) >= -1e-12).all()
    assert distribution[-1] == pytest.approx(1, abs=1e-9)
    assert law.distribution(0.0) == pytest.approx(law.atom, abs=1e-9)
    jumps = sum(np.where(x[1:] >= place, mass, 0) for place, mass in law.atoms if place >= x[0])
    integral = np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(x))
    assert np.abs(integral + jumps - (distribution[1:] - distribution[0])).max() < 1e-3
    mean = math.prod(layer.mean for layer in layers)
    assert law.moment(2) == pytest.approx(mean, rel=1e-3)
    assert relative_variance(law) == pytest.approx(sum(layer.relative_variance for layer in layers), rel=1e-3)


@hypothesis_settings(max_examples=4)
@given(products, st.floats(0.3, 3))
def test_a_factor_in_the_weights_scales_the_law(kinds, factor):
    layers = mixed(**kinds)
    scaled = product_law([FeedforwardLayer(LINEAR, factor), *layers])
    law = product_law(layers)
    x = np.geomspace(max(law.support[0], 1e-3 * law.support[1]), law.support[1], 100)
    assert_allclose(scaled.support, np.multiply(law.support, factor), rtol=1e-5)
    assert_allclose(scaled.distribution(factor * x), law.distribution(x), atol=1e-5)


@hypothesis_settings(max_examples=2)
@given(products)
def test_the_order_of_layers_does_not_matter(kinds):
    layers = mixed(**kinds)
    law = product_law(layers)
    layers = layers[1::2][::-1] + layers[::2]
    assert product_law(layers).support == pytest.approx(law.support, rel=1e-5)


# --- matrices ---


def gaussian(n, generator, variance=1.0):
    return torch.randn(n, n, generator=generator, dtype=torch.float64) * math.sqrt(variance / n)


def slopes(law, n, generator):
    """Return slopes with exactly the law's shares, in random order: their own chance would blur the comparison."""
    shares = (np.arange(n) + 0.5) / n
    values = (
        law.quantiles[(shares * len(law.quantiles)).astype(int)]
        if law.quantiles is not None
        else law.squares[np.searchsorted(law.weights.cumsum(), shares - 1e-12)]
    )
    return torch.from_numpy(values).sqrt()[torch.randperm(n, generator=generator)]


NETWORKS = {
    "ReLU": (activations.relu, math.sqrt(2)),
    "tanh": (activations.tanh, 1.0),
    "hard tanh": (HARD_TANH, 1.0),
}


@functools.cache
def law_of(name, depth):
    activation, scale = NETWORKS[name]
    return feedforward_law(activation, depth, weight_scale=scale)


@pytest.fixture(scope="module")
def feedforward_samples():
    """Singular values of products of 2, 8 and 32 matrices D_l W_l, n = 1,000, one draw, the same W_l for all slopes."""
    n, generator, found = 1000, torch.Generator().manual_seed(0), {}
    squares = {name: spectra.mean_squares(a, 32, weight_scale=s) for name, (a, s) in NETWORKS.items()}
    products = {name: torch.eye(n, dtype=torch.float64) for name in NETWORKS}
    for depth in range(1, 33):
        W = ob.haar(n, n, generator=generator, dtype=torch.float64)
        for name, (activation, scale) in NETWORKS.items():
            D = slopes(spectra.slope_law(activation, squares[name][depth - 1]), n, generator)
            products[name] = scale * D[:, None] * (W @ products[name])
            if depth in (2, 8, 32):
                found[name, depth] = torch.linalg.svdvals(products[name])
    return found


@pytest.mark.parametrize("depth", [2, 8, 32])
@pytest.mark.parametrize("name", NETWORKS)
def test_products_of_random_matrices_follow_the_law(feedforward_samples, name, depth):
    assert law_of(name, depth).kolmogorov_smirnov(feedforward_samples[name, depth]) < 0.02


@pytest.mark.parametrize(("name", "other"), [*itertools.permutations(NETWORKS, 2)])
def test_the_law_of_another_activation_does_not_fit(feedforward_samples, name, other):
    assert law_of(other, 8).kolmogorov_smirnov(feedforward_samples[name, 8]) > 0.1


@pytest.mark.parametrize("name", NETWORKS)
def test_the_law_of_another_depth_does_not_fit(feedforward_samples, name):
    for depth, wrong in ((2, 8), (8, 2), (32, 8)):
        assert law_of(name, wrong).kolmogorov_smirnov(feedforward_samples[name, depth]) > 0.05


@pytest.mark.parametrize("depth", [2, 8, 32])
def test_scaled_residual_products_follow_the_law(depth, generator):
    n, J = 1000, torch.eye(1000, dtype=torch.float64)
    for _ in range(depth):
        inner, outer = gaussian(n, generator, 2), gaussian(n, generator)
        J += outer @ (slopes(RELU, n, generator)[:, None] * (inner @ J)) / math.sqrt(depth)
    values = torch.linalg.svdvals(J)
    assert residual_law(depth).kolmogorov_smirnov(values) < 0.01
    for wrong in (1, 4 * depth):
        assert residual_law(wrong, branch_scale=1 / math.sqrt(depth)).kolmogorov_smirnov(values) > 0.05


def test_slopes_that_change_their_sign_and_kinks_follow_the_law(generator):
    sine = Activation("sine", torch.sin, torch.cos)
    elu = Activation("ELU", torch.nn.functional.elu, lambda z: z.clamp(max=0).exp(), breakpoints=(0.0,))
    for activation in (sine, elu):
        law, J = spectra.slope_law(activation, 1.5), torch.eye(400, dtype=torch.float64)
        for _ in range(2):
            J = slopes(law, 400, generator)[:, None] * (ob.haar(400, 400, generator=generator, dtype=J.dtype) @ J)
        assert product_law([FeedforwardLayer(law)] * 2).kolmogorov_smirnov(torch.linalg.svdvals(J)) < 0.02


def test_mixed_products_follow_the_law(generator):
    """Residual layers of any slopes and strength, Haar and Gaussian layers, in one product."""
    n, tanh, hard = 400, spectra.slope_law(activations.tanh), spectra.slope_law(HARD_TANH)
    J = torch.eye(n, dtype=torch.float64)
    J += 1.5 * gaussian(n, generator) @ (slopes(tanh, n, generator)[:, None] * gaussian(n, generator))
    J = 0.7 * slopes(hard, n, generator)[:, None] * (ob.haar(n, n, generator=generator, dtype=torch.float64) @ J)
    J = slopes(tanh, n, generator)[:, None] * (gaussian(n, generator) @ J)
    layers = [ResidualLayer(tanh, 1.5**2), FeedforwardLayer(hard, 0.7), FeedforwardLayer(tanh, gaussian=True)]
    assert product_law(layers).kolmogorov_smirnov(torch.linalg.svdvals(J)) < 0.01
    assert product_law(layers[1:]).kolmogorov_smirnov(torch.linalg.svdvals(J)) > 0.05


# --- networks ---


def spectrum(architecture, depth, width=500, number=2, **options):
    net = ob.build(architecture, depth=depth, width=width, inputs=width, classes=2, dtype=torch.float64, **options)
    x = torch.randn(number, width, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return net, x, ob.singular_values(net, x).cpu()


@pytest.mark.parametrize(
    ("architecture", "bound"),
    [("relu-orthogonal", 0.06), ("relu-he", 0.06), ("tanh-orthogonal", 0.04), ("residual", 0.015)],
)
def test_real_networks_follow_the_law(architecture, bound):
    """Here slopes depend on weights. The share of active units varies by 1/(2√n) = 0.022, and so does the atom."""
    _, _, values = spectrum(architecture, 4)
    assert spectra.spectral_law(architecture, 4).kolmogorov_smirnov(values) < bound


def test_with_its_own_slopes_a_relu_network_follows_the_law_closely():
    """What the law misses in one network is the share of active units: given it, n = 500 is nearly infinite."""
    net, x, values = spectrum("relu-orthogonal", 4, number=1)
    states = [state[0] for state in net.states(x)]
    shares = [(state > 0).double().mean().item() for state in states[1:]]
    own = [SlopeLaw(np.array([0, 1.0]), np.array([1 - p, p])) for p in shares]
    law = product_law([FeedforwardLayer(slope, math.sqrt(2)) for slope in own])
    assert law.kolmogorov_smirnov(values) < 0.01


def test_constant_biases_shift_the_slopes():
    expected = feedforward_law(activations.relu, 3, bias=0.8, weight_scale=1.0)
    q, layers = 1.0, []
    for _ in range(3):
        share = norm.cdf(0.8 / math.sqrt(q))
        layers.append(FeedforwardLayer(SlopeLaw(np.array([0, 1.0]), np.array([1 - share, share]))))
        q = (q + 0.64) * share + 0.8 * math.sqrt(q) * norm.pdf(0.8 / math.sqrt(q))
    assert product_law(layers).support == pytest.approx(expected.support, rel=1e-6)


@pytest.mark.parametrize(
    ("architecture", "options", "kept"),
    [
        ("hard-tanh", {"limit": 0.8}, 1 - 2 * norm.cdf(-0.8)),
        ("threshold-relu", {"threshold": 1.0}, norm.cdf(1)),
        ("soft-threshold", {"threshold": 0.2}, 2 * norm.cdf(-0.2)),
    ],
)
def test_partial_isometries_follow_the_law(architecture, options, kept):
    """One layer keeps a share of the directions, and the rest is lost. A network's shares vary by up to 1/(2√n)."""
    assert spectra.spectral_law(architecture, 1, **options).atoms == (
        (0, pytest.approx(1 - kept)),
        (1, pytest.approx(kept)),
    )
    _, _, values = spectrum(architecture, 3, **options)
    assert spectra.spectral_law(architecture, 3, **options).kolmogorov_smirnov(values, resolution=1e-9) < 0.04
    assert spectra.spectral_law(architecture, 6, **options).kolmogorov_smirnov(values, resolution=1e-9) > 0.1


@pytest.mark.parametrize("depth", [1, 7])
def test_looks_linear_networks_keep_half_of_the_directions_and_lose_half(depth):
    law = spectra.spectral_law("looks-linear", depth)
    assert law.atoms == ((0.0, 0.5), (math.sqrt(2), 0.5))
    assert law.kolmogorov_smirnov(spectrum("looks-linear", depth, width=20)[2], resolution=1e-9) < 1e-12


def test_laws_by_name_are_the_laws_of_their_layers():
    named = spectra.spectral_law("residual", 6, branch_scale=0.2)
    assert named.support == pytest.approx(product_law([ResidualLayer(RELU, 2 * 0.2**2)] * 6).support, rel=1e-6)
    hot = spectra.spectral_law("tanh-orthogonal", 3, mean_square=4.0)
    assert hot.support == feedforward_law(activations.tanh, 3, mean_square=4.0).support
    assert hot.support[1] < spectra.spectral_law("tanh-orthogonal", 3).support[1]


# --- the distance ---


def test_kolmogorov_smirnov_is_scipys_where_there_are_no_atoms(generator):
    law = feedforward_law(activations.identity, 1, gaussian=True)
    for samples in (torch.rand(300, generator=generator), 2 * torch.rand(7, generator=generator)):
        assert law.kolmogorov_smirnov(samples) == pytest.approx(kstest(samples.numpy(), law.distribution).statistic)


def test_kolmogorov_smirnov_counts_atoms():
    law = spectra.spectral_law("relu-orthogonal", 1)
    root = math.sqrt(2)
    assert law.kolmogorov_smirnov([0, 1e-17, root, root * (1 + 1e-14)]) == pytest.approx(0, abs=1e-15)
    assert law.kolmogorov_smirnov([0, root, root, root]) == pytest.approx(0.25)
    assert law.kolmogorov_smirnov([1.0, 1.0]) == pytest.approx(0.5)
    assert law.kolmogorov_smirnov([0.1, root]) == pytest.approx(0.5)
    assert law.kolmogorov_smirnov([0.1, root], resolution=0.2) == pytest.approx(0)
    assert law.kolmogorov_smirnov([3.0]) == pytest.approx(1)


def test_samples_of_the_law_itself_are_close():
    law = spectra.spectral_law("residual", 5)
    x = np.linspace(*law.support, 20001)
    samples = np.interp((np.arange(500) + 0.5) / 500, law.distribution(x), x)
    assert law.kolmogorov_smirnov(samples) == pytest.approx(0.001, abs=1e-4)
    assert ndtri(0.5) == 0


# --- bad input ---


def test_what_cannot_be_solved_says_so():
    sine = Activation("sine", torch.sin, torch.cos)
    with pytest.raises(RuntimeError, match="slopes vary too much"):
        feedforward_law(sine, 60, weight_scale=1.4)
    with pytest.raises(RuntimeError, match="slopes are too small"):
        feedforward_law(activations.tanh, 40, weight_scale=5.0)


def test_equations_beyond_the_range_of_floating_point_numbers_say_so(recwarn):
    extreme = SlopeLaw([1e-120, 1, 1e120], [0.3, 0.4, 0.3])
    with pytest.raises(RuntimeError, match="equations were not solved"):
        product_law([FeedforwardLayer(extreme)] * 3)
    assert not recwarn.list


def test_laws_can_be_built_from_lists():
    law = product_law([FeedforwardLayer(SlopeLaw([0, 1], [0.5, 0.5]), math.sqrt(2))] * 2)
    assert law.support[1] == pytest.approx(2)


def test_jumps_that_are_not_stated_are_found():
    hidden = Activation("hidden jump", lambda z: (z - 0.3).relu(), lambda z: (z >= 0.3).to(z.dtype))
    with pytest.raises(RuntimeError, match="hidden jump at q = 1 varies too fast to be integrated; breakpoints"):
        spectra.slope_law(hidden)


def test_nearly_constant_slopes_count_as_constant():
    law = feedforward_law(activations.tanh, 10, mean_square=1e-8)
    assert law.atoms == ((pytest.approx(1, abs=1e-6), 1.0),)


def steep(z):
    return 2 * z * (z.square()).exp()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: feedforward_law(activations.relu, 0), "depth must be a whole number of at least 1, got 0"),
        (lambda: residual_law(0), "depth must be a whole number of at least 1, got 0"),
        (lambda: feedforward_law(activations.relu, 2, weight_scale=0.0), "weight_scale must be a positive finite"),
        (lambda: feedforward_law(activations.relu, 2, weight_scale=math.inf), "weight_scale must be a positive finite"),
        (
            lambda: feedforward_law(activations.relu, 2, bias_variance=-1.0),
            "bias_variance must be a finite number of at least 0, got -1.0",
        ),
        (lambda: feedforward_law(activations.relu, 2, mean_square=math.nan), "mean_square must be a finite number"),
        (
            lambda: spectra.slope_law(activations.relu, -1.0),
            "mean_square must be a finite number of at least 0, got -1.0",
        ),
        (lambda: residual_law(2, branch_scale=math.nan), "branch_scale must be a finite number"),
        (lambda: residual_law(2, inner_scale=-1.0), "inner_scale must be a positive finite number"),
        (lambda: ResidualLayer(RELU, -1.0), "strength must be a finite number of at least 0, got -1.0"),
        (lambda: FeedforwardLayer(RELU, 0.0), "weight_scale must be a positive finite number"),
        (lambda: product_law([]), "at least one layer"),
        (
            lambda: spectra.spectral_law("rezero", 2),
            "the law of 'rezero' is not known here; allowed: relu-orthogonal",
        ),
        (lambda: spectra.spectral_law("relu", 2), "unknown architecture 'relu'"),
        (
            lambda: feedforward_law(Activation("steep", lambda z: z.square().exp(), steep), 1),
            r"σ' of steep at q = 1 must be finite and not carried by \|z\| > 8",
        ),
        (
            lambda: feedforward_law(Activation("steep", lambda z: z.square().exp(), torch.ones_like), 2),
            r"σ of steep at q = 1 must be finite and not carried by \|z\| > 8",
        ),
        (lambda: residual_law(50, activation=EXP), r"of exp at q = .* must be finite and not carried by \|z\| > 8"),
        (lambda: SlopeLaw([0, 1], [0.5, 0.6]), "weights must sum to 1, got 1.1"),
        (lambda: SlopeLaw([0, 1], [-0.5, 1.5]), "weights must be at least 0, got -0.5"),
        (lambda: SlopeLaw([-1, 1], [0.5, 0.5]), "squares must be at least 0, got -1"),
        (lambda: SlopeLaw([0, math.inf], [0.5, 0.5]), "squares must be finite, got inf"),
        (lambda: SlopeLaw([0, 1], [1.0]), r"one weight for each square, got the shapes \(2,\) and \(1,\)"),
        (lambda: SlopeLaw([], []), r"one weight for each square, got the shapes \(0,\) and \(0,\)"),
        (lambda: spectra.slope_law(activations.relu, 0.0), "mean_square must be positive at a breakpoint of ReLU"),
        (lambda: spectra.spectral_law("relu-orthogonal", 3, mean_square=0), "mean_square must be a positive finite"),
        (lambda: spectra.spectral_law("linear", 3, mean_square=-1), "mean_square must be a positive finite"),
        (lambda: residual_law(3).moment(-1), "order must be a finite number of at least 0"),
        (lambda: residual_law(3).moment(math.inf), "order must be a finite number of at least 0, got inf"),
        (lambda: residual_law(3).density([-1.0]), "x must be finite and at least 0, got -1.0"),
        (lambda: residual_law(3).distribution(math.nan), "x must be finite and at least 0, got nan"),
        (lambda: residual_law(3).kolmogorov_smirnov([]), "samples must hold at least one"),
        (lambda: residual_law(3).kolmogorov_smirnov([-1.0]), "samples must be finite and at least 0"),
        (lambda: residual_law(3).kolmogorov_smirnov([1.0], resolution=0.0), "resolution must be a positive finite"),
    ],
)
def test_bad_values_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SlopeLaw(["a"], [1.0]), "squares must be numbers, got \\['a'\\]"),
        (lambda: FeedforwardLayer("a"), "slopes must be a SlopeLaw, got 'a'"),
        (lambda: ResidualLayer([0, 1]), r"slopes must be a SlopeLaw, got \[0, 1\]"),
        (lambda: product_law([1, 2]), "layers must be FeedforwardLayer or ResidualLayer, got 1"),
        (
            lambda: feedforward_law("relu", 2),
            "activation must be an Activation of orthobook.layers, got 'relu'",
        ),
        (
            lambda: feedforward_law(torch.relu, 2),
            "activation must be an Activation of orthobook.layers, got <",
        ),
        (
            lambda: residual_law(2, activation="relu"),
            "activation must be an Activation of orthobook.layers, got 'r",
        ),
        (
            lambda: spectra.slope_law("relu"),
            "activation must be an Activation of orthobook.layers, got 'relu'",
        ),
    ],
)
def test_bad_types_are_named(call, message):
    with pytest.raises(TypeError, match=message):
        call()
