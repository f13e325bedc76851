"""The mean field against closed forms, SciPy's bivariate normal, exact simulation and the real architectures."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.stats import multivariate_normal, norm

import orthobook as ob
from orthobook.layers.base import architectures, block
from orthobook.theory.mean_field import THRESHOLDED, mean_field, threshold_for

DENSE = [name for name in THRESHOLDED if name not in architectures("image")]


def one_layer(threshold, **start):
    return mean_field("shifted-fold", depth=1, threshold=threshold, **start)


# --- closed forms ---


@given(st.floats(-0.999, 0.999), st.integers(3, 500) | st.none(), st.floats(0.1, 10))
def test_without_a_threshold_everything_is_in_the_angle(correlation, width, q2):
    """Signs differ with probability θ/π in every dimension, and lengths stay."""
    field = one_layer(0.0, width=width, correlation=correlation, mean_square2=q2)
    angle = math.acos(correlation)
    assert_allclose(field.fold_rate, 0.5)
    assert_allclose(field.disagreement, angle / math.pi, atol=1e-9)
    assert_allclose(field.coherence, [1, 1 - 2 * angle / math.pi], atol=1e-9)
    assert_allclose(field.mean_square, 1)
    assert_allclose(field.mean_square2, q2)
    overlap = correlation + 2 / math.pi * (math.sin(angle) - angle * correlation)  # of unit vectors
    assert_allclose(field.correlation[1], overlap, atol=1e-9)


@given(
    st.floats(-0.99, 0.99), st.floats(0.2, 3), st.floats(0.2, 3), st.floats(0, 4, allow_subnormal=False), st.booleans()
)
def test_disagreement_in_the_limit_is_that_of_the_bivariate_normal(correlation, q, q2, threshold, equal):
    q2 = q if equal else q2
    field = one_layer(threshold, correlation=correlation, mean_square=q, mean_square2=q2)
    t, t2 = threshold / math.sqrt(q), threshold / math.sqrt(q2)
    both = multivariate_normal([0, 0], [[1, correlation], [correlation, 1]]).cdf([-t, -t2])
    expected = norm.cdf(-t) + norm.cdf(-t2) - 2 * both
    assert_allclose(field.fold_rate[0], norm.cdf(-t), rtol=1e-12)
    assert_allclose(field.disagreement[0], expected, atol=1e-8)  # SciPy's own error is about 1e-9


@pytest.mark.parametrize("width", [3, 4, 10, 64])
def test_one_coordinate_of_the_sphere_has_its_beta_law(width):
    """P(a > t) by integrating the density (1 − a²/n)^((n − 3)/2) of a coordinate, on a grid fine enough for 1e-6."""
    grid = np.linspace(0, math.sqrt(width), 400_001)
    grid = (grid[1:] + grid[:-1]) / 2
    density = (1 - grid**2 / width) ** ((width - 3) / 2)
    density /= 2 * density.sum()
    for t in (0.3, 1.0, 1.6):
        beyond = grid > t
        field = one_layer(t, width=width)
        assert_allclose(field.fold_rate[0], density[beyond].sum(), atol=1e-5)
        lost = 4 * t * (density * (grid - t))[beyond].sum()
        assert_allclose(field.mean_square[1], 1 - lost, atol=1e-5)


def test_thresholds_that_nothing_exceeds_leave_all_as_it_is():
    start = {"correlation": 0.3, "mean_square2": 0.5}
    for field in (
        mean_field("shifted-fold", depth=50, width=9, threshold=3.0, **start),  # no coordinate exceeds √9
        mean_field("modified-residual", depth=50, threshold=40.0, **start),
        mean_field("partial-fold", depth=50, width=9, folds=0, threshold=0.0, **start),
    ):
        for values in (field.mean_square, field.mean_square2, field.squared_distance, field.coherence):
            assert (values == values[0]).all()


def test_equal_inputs_stay_equal_and_wide_networks_approach_the_limit():
    field = mean_field("shifted-fold", depth=100, width=32, threshold=1.0, correlation=1.0)
    assert (field.squared_distance == 0).all()
    assert (field.coherence == 1).all()
    limit = mean_field("shifted-fold", depth=20, threshold=2.0, correlation=0.2).coherence
    gaps = [
        np.abs(mean_field("shifted-fold", depth=20, threshold=2.0, correlation=0.2, width=n).coherence - limit).max()
        for n in (100, 200, 400)
    ]
    assert_allclose(np.divide(gaps[:-1], gaps[1:]), 2, rtol=0.1)  # the difference is of the order 1/n


def test_an_equal_pair_does_not_disturb_another():
    start = {"mean_square2": np.array([1.0, 2.0, 2.0]), "correlation": np.array([1.0, 0.3, 1.0])}
    together = one_layer(1.0, **start)
    for i in range(3):
        alone = one_layer(1.0, **{name: values[i] for name, values in start.items()})
        assert_allclose(together.coherence[:, i], alone.coherence, rtol=1e-12)
        assert_allclose(together.squared_distance[:, i], alone.squared_distance, rtol=1e-12)


@pytest.mark.parametrize("threshold", [0.0, 0.4, 1.0, 2.5])
def test_coherence_is_the_derivative_of_the_overlap(threshold):
    """γ_L = d(x_L·x'_L)/d(x₀·x'₀) as n → ∞, by central differences of step h: error h² times a third derivative."""
    rho, h = np.array([-0.5, 0.0, 0.3, 0.9]), 1e-4

    def overlap(correlation):
        field = mean_field("shifted-fold", depth=12, threshold=threshold, correlation=correlation, mean_square2=0.7)
        return (field.mean_square[-1] + field.mean_square2[-1] - field.squared_distance[-1]) / 2

    slope = (overlap(rho + h) - overlap(rho - h)) / (2 * h * math.sqrt(0.7))
    field = mean_field("shifted-fold", depth=12, threshold=threshold, correlation=rho, mean_square2=0.7)
    assert_allclose(field.coherence[-1], slope, atol=1e-6)


# --- simulation ---


def simulate(width, depth, threshold, count, generator):
    """Simulate shifted folds at two inputs of mean square 1 without correlation, and push one unit tangent.

    A Haar matrix is only needed on the span of the four vectors, where it is a Haar frame: from b = Qr it makes (Haar
    frame) r. Returns the Gram matrices of the states (depth + 1, count, 2, 2), and for each layer the shares of units
    that fold x, and exactly one of the two, and the inner product of the tangents, each (depth, count).
    """
    n = width

    def frame(columns):
        return ob.haar(count, n, columns, generator=generator, dtype=torch.float64)

    b = torch.cat([frame(2) * math.sqrt(n), frame(1).repeat(1, 1, 2)], dim=-1)
    grams, layers = [b[..., :2].mT @ b[..., :2] / n], []
    for _ in range(depth):
        z = frame(4) @ torch.linalg.qr(b).R
        folded = z[..., :2] < -threshold
        b = torch.cat([(z[..., :2] + threshold).abs() - threshold, z[..., 2:] * (1 - 2.0 * folded)], dim=-1)
        grams.append(b[..., :2].mT @ b[..., :2] / n)
        shares = folded[..., 0], folded[..., 0] ^ folded[..., 1]
        layers.append(torch.stack([*(share.double().mean(-1) for share in shares), (b[..., 2] * b[..., 3]).sum(-1)]))
    return torch.stack(grams).numpy(), torch.stack(layers).unbind(1)


def one_step(gram, threshold, width):
    """Return what the mean field makes of Gram matrices (..., 2, 2) in one layer."""
    q, q2, c = gram[..., 0, 0], gram[..., 1, 1], gram[..., 0, 1]
    return one_layer(
        threshold, width=width, correlation=np.clip(c / np.sqrt(q * q2), -1, 1), mean_square=q, mean_square2=q2
    )


def describe(gram):
    """Return mean square, squared distance and correlation of Gram matrices (..., 2, 2), stacked."""
    q, q2, c = gram[..., 0, 0], gram[..., 1, 1], gram[..., 0, 1]
    return np.stack([q, q + q2 - 2 * c, c / np.sqrt(q * q2)])


def errors(values):
    return values.std(axis=-1, ddof=1) / math.sqrt(values.shape[-1])


WIDTH, DEPTH, COUNT = 512, 1000, 24


@pytest.fixture(scope="module", params=[0.0, 2.0, 4.0], ids=lambda tau: f"τ={tau:g}")
def simulated(request):
    """A threshold and 24 networks of 1,000 layers and width 512, with the mean field's one step from each layer."""
    generator = torch.Generator().manual_seed(8)
    gram, layers = simulate(WIDTH, DEPTH, request.param, COUNT, generator)
    return request.param, gram, [layer.numpy() for layer in layers], one_step(gram[:-1], request.param, WIDTH)


def test_one_step_is_exact(simulated):
    """Given the states before a layer, its formulas are exact expectations: what is left over has the mean 0."""
    _, gram, (rate, differ, _), step = simulated
    q, q2, distance = step.mean_square[1], step.mean_square2[1], step.squared_distance[1]
    after = gram[1:, :, 0, 0] + gram[1:, :, 1, 1] - 2 * gram[1:, :, 0, 1]
    pairs = [(gram[1:, :, 0, 0], q), (gram[1:, :, 1, 1], q2), (after, distance)]
    pairs += [(rate, step.fold_rate[0]), (differ, step.disagreement[0])]
    for measured, expected in pairs:
        rest = (measured - expected).sum(axis=0)  # one sum for each network
        assert abs(rest.mean()) <= 3 * errors(rest) + 1e-10  # q at τ = 0 is exact, up to rounding


@pytest.mark.parametrize("depth", [10, 100, 1000])
def test_the_whole_way_to_the_order_of_one_over_n(simulated, depth):
    """Three standard errors, and two terms of the order 1/n that the recursion leaves out.

    1. It takes the formulas at the mean states, not their mean over states that scatter by 1/√n. The difference in
       each layer, half a second derivative times a variance, is taken from the simulated scatter and carried along.
    2. γ' = (1 − 2d)γ neglects that signs depend on a row w of W through its part in the plane of x, x'. In E s s' wᵀMw
       over rows (M of norm 1, s s' = 1 − 2·1[differ]) that part counts E[|w|² in the plane; differ] = d r²/n at most
       twice, r² = E[radius²; differ]/d ≤ 2 + t²/cos²(θ/2) by the formula for d. These errors 4 d r²/n of each layer
       then shrink with γ.
    """
    threshold, gram, (rate, _, tangents), step = simulated
    field = mean_field("shifted-fold", depth=DEPTH, width=WIDTH, threshold=threshold)
    mean = gram.mean(axis=1)
    at_mean = one_step(mean[:-1], threshold, WIDTH)

    # the recursion with the first term added in each layer, and γ with the second as a bound
    corrected, gamma, bound = mean[0], 1.0, 0.0
    for layer in range(depth):
        before, here = corrected, one_step(corrected, threshold, WIDTH)
        q, q2, distance = (
            (getattr(here, name)[1] + (getattr(step, name)[1, layer].mean() - getattr(at_mean, name)[1, layer]))
            for name in ("mean_square", "mean_square2", "squared_distance")
        )
        corrected = np.array([[q, (q + q2 - distance) / 2], [(q + q2 - distance) / 2, q2]])
        d = here.disagreement[0]
        seen = 1 - 2 * step.disagreement[0, layer]
        scatter = (tangents[layer - 1] * seen).mean() - tangents[layer - 1].mean() * seen.mean() if layer else 0.0
        gamma = gamma * seen.mean() + scatter
        half_angle = (1 + describe(before)[2]) / 2  # cos²(θ/2)
        radius2 = 2 + threshold**2 / min(before[0, 0], before[1, 1]) / half_angle
        bound = bound * (1 - 2 * d) + 4 * d * radius2 / WIDTH

    names = ("mean_square", "squared_distance", "correlation")
    predicted = np.array([getattr(field, name)[depth] for name in names])
    values = describe(gram[depth])
    bent = values.mean(axis=-1) - describe(mean[depth])  # the correlation is a quotient
    term = np.abs(describe(corrected) - predicted) + np.abs(bent)
    assert (np.abs(values.mean(axis=-1) - predicted) <= 3 * errors(values) + term + 1e-10).all()
    assert (term <= 10 / WIDTH).all()  # it is of the order 1/n, and no loophole

    rates, expected = step.fold_rate[0, depth - 1], field.fold_rate[depth - 1]
    error = max(errors(rate[depth - 1]), math.sqrt(expected / (WIDTH * COUNT)))  # the folds may be too rare to scatter
    assert abs(rate[depth - 1].mean() - expected) <= 3 * error + abs(rates.mean() - expected)

    measured, expected = tangents[depth - 1], field.coherence[depth]
    assert abs(measured.mean() - expected) <= 3 * errors(measured) + abs(gamma - expected) + bound


# --- the real architectures ---


def layer_by_layer(architecture, threshold, layers=1500, **size):
    """Return for many independent layers what each makes of one pair: mean squares, distances and coherence."""
    net = ob.build(
        architecture, depth=layers, classes=2, threshold=threshold, dtype=torch.float64, device="cpu", seed=3, **size
    )
    shape = net.state_shape
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    x[1] = 0.8 * (x[0] + x[1])  # alike, and of another length
    n = math.prod(shape)
    eye = torch.eye(n, dtype=torch.float64).reshape(1, n, *shape).repeat(2, 1, *[1] * len(shape))
    found = []
    with torch.no_grad():
        for layer in net.layers():
            y, J = net.block.push(x, eye.clone(), **layer)
            J = J.flatten(2)
            found.append(
                [*y.square().mean((1, *range(2, y.ndim))), (y[0] - y[1]).square().mean(), (J[0] * J[1]).sum() / n]
            )
    return x.numpy(), np.array(found)


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("architecture", THRESHOLDED)
def test_every_architecture_is_the_same_recursion(architecture, threshold):
    """One layer's means are exact in every width, and as layers are drawn independently they are a recursion."""
    image = architecture in architectures("image")
    size = {"width": 6, "inputs": (2, 2), "downsampling": 0} if image else {"width": 12, "inputs": 12}
    folds = {"folds": 4} if any(field == "folds" for field in block(architecture).__dict__) else {}
    x, found = layer_by_layer(architecture, threshold, **size, **folds)
    q, q2 = (x**2).mean(axis=-1)
    start = {"mean_square": q, "mean_square2": q2, "correlation": (x[0] * x[1]).mean(axis=-1) / np.sqrt(q * q2)}
    field = mean_field(architecture, depth=1, threshold=threshold, width=size["width"], **folds, **start)
    expected = [v[1].mean() for v in (field.mean_square, field.mean_square2, field.squared_distance, field.coherence)]
    assert (np.abs(found.mean(axis=0) - expected) <= 3 * errors(found.T) + 1e-12).all()


def measured_coherence(architecture, seed=0, pairs=8, **options):
    net = ob.build(architecture, width=256, inputs=256, classes=2, device="cpu", seed=seed, **options)
    x = torch.randn(2 * pairs, 256, generator=torch.Generator().manual_seed(seed))
    x /= x.square().mean(dim=1, keepdim=True).sqrt()
    return ob.gradient_coherence(net, *x.split(pairs), probes=64).value.mean().item()


@pytest.mark.parametrize("target", [0.2, 0.5, 0.9])
@pytest.mark.parametrize(
    ("architecture", "depth"), [("shifted-fold", 3), ("modified-residual", 60), ("partial-fold", 25)]
)
def test_a_coherence_that_is_asked_for_is_there(architecture, depth, target):
    assert abs(measured_coherence(architecture, depth=depth, coherence=target) - target) < 0.05


def test_wrong_thresholds_and_other_networks_miss():
    threshold = threshold_for(30, 0.5, width=256)
    for wrong in (threshold - 0.4, threshold + 0.4):
        assert abs(measured_coherence("shifted-fold", depth=30, threshold=wrong) - 0.5) > 0.1
    folds = mean_field("shifted-fold", depth=3, threshold=0.0, width=256).coherence[-1]
    assert abs(measured_coherence("relu-orthogonal", depth=3) - folds) > 0.1
    assert abs(measured_coherence("tanh-orthogonal", depth=3) - folds) > 0.1


# --- thresholds ---


@settings(max_examples=20)
@given(st.integers(1, 200), st.floats(0.05, 0.99), st.sampled_from([None, 16, 64]), st.floats(0, 0.9))
def test_thresholds_solve_the_recursion_and_beyond_it_only_grows(depth, target, width, correlation):
    try:
        threshold = threshold_for(depth, target, width=width, correlation=correlation)
    except ValueError:
        least = min(
            mean_field("shifted-fold", depth=depth, width=width, correlation=correlation, threshold=t).coherence[-1]
            for t in np.linspace(0, 1, 21)
        )
        assert least > target - 0.01
        return

    def reached(threshold):
        where = {"depth": depth, "width": width, "correlation": correlation}
        return mean_field("shifted-fold", threshold=threshold, **where).coherence[-1]

    assert abs(reached(threshold) - target) < 1e-4
    beyond = [reached(threshold + step) for step in (0.1, 0.5, 2.0)]
    assert target < beyond[0] <= beyond[1] <= beyond[2] <= 1


def test_thresholds_scale_with_the_states():
    assert_allclose(threshold_for(40, 0.5, mean_square=4.0), 2 * threshold_for(40, 0.5), rtol=1e-5)


def test_coherence_is_not_monotone_in_the_threshold():
    """The reason for taking the largest: a small threshold may do more harm than none."""
    values = [mean_field("shifted-fold", depth=10, threshold=t, correlation=0.99).coherence[-1] for t in (0, 0.2, 3)]
    assert values[1] < values[0] < values[2]


def test_build_takes_a_coherence():
    net = ob.build("partial-fold", depth=20, width=32, folds=8, inputs=5, classes=2, coherence=0.7, device="cpu")
    assert net.block.threshold == threshold_for(20, 0.7, "partial-fold", 32, folds=8)
    image = {"width": 8, "inputs": (4, 4), "downsampling": 0}
    net = ob.build("conv-shifted-fold", depth=20, classes=2, coherence=0.7, device="cpu", **image)
    assert net.block.threshold == threshold_for(20, 0.7, "conv-shifted-fold", 8)


# --- errors ---


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("residual",), "which 'residual' has not; allowed: shifted-fold, partial-fold"),
        (("nope",), "unknown architecture 'nope'; allowed: .*residual"),
        (("conv-shifted-fold", {"width": 2}), "width must be a whole number of at least 3, got 2"),
        (("shifted-fold", {"depth": 0}), "depth must be a whole number of at least 1, got 0"),
        (("shifted-fold", {"width": 2}), "width must be a whole number of at least 3, got 2"),
        (("shifted-fold", {"threshold": -1.0}), r"threshold must not be negative, got -1\.0"),
        (("shifted-fold", {"correlation": [0.0, 1.5]}), "correlations must lie between -1 and 1"),
        (("shifted-fold", {"mean_square": 0.0}), "mean squares must be positive finite numbers"),
        (("partial-fold", {"folds": 3}), "folds=3 needs a width"),
        (("partial-fold", {"folds": 30, "width": 8}), "folds must be a whole number from 0 to the width 8, got 30"),
        (("shifted-fold", {"folds": 3}), "shifted-fold has no option 'folds'"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    architecture, *more = arguments
    with pytest.raises(ValueError, match=message):
        mean_field(architecture, **{"depth": 5} | (more[0] if more else {}))


def test_thresholds_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="coherence must lie between 0 and 1, both excluded, got 1"):
        threshold_for(10, 1)
    with pytest.raises(ValueError, match=r"at depth 1 partial-fold has a coherence between 0\.6875 and 1, got 0\.3"):
        threshold_for(1, 0.3, "partial-fold", 64, folds=20)
    with pytest.raises(ValueError, match=r"two equal inputs always have the coherence 1, got correlation=1\.0"):
        threshold_for(10, 0.5, correlation=1.0)
    with pytest.raises(ValueError, match="finds the threshold; got threshold=1 as well"):
        threshold_for(10, 0.5, threshold=1)
    size = {"depth": 4, "width": 8, "inputs": 3, "classes": 2}
    with pytest.raises(ValueError, match=r"give coherence=0\.5 or threshold=2, not both"):
        ob.build("shifted-fold", coherence=0.5, threshold=2, **size)
    with pytest.raises(ValueError, match="which 'linear' has not; allowed: shifted-fold"):
        ob.build("linear", coherence=0.5, **size)
    with pytest.raises(ValueError, match=r"unknown architecture 'nope'; allowed: .*linear"):
        ob.build("nope", coherence=0.5, **size)
