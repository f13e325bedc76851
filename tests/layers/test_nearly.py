"""Nearly orthogonal layers: what they become at ε = 0 and δ = 0, their singular values, and weights that are off.

Their Jacobians against autograd, their stacks, their training and much else are tested with those of all other layers.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_networks import network, scatter_

import orthobook as ob
from orthobook.layers.base import block
from orthobook.orthogonal import orthogonality_error
from orthobook.theory.depth_budget import perturb_

NEAR = {
    "smooth-fold": ("epsilon", "shifted-fold"),
    "uneven-fold": ("delta", "shifted-fold"),
    "smooth-residual": ("epsilon", "modified-residual"),
}


def points(generator, dtype=torch.float64, number=5):
    return torch.randn(number, 20, generator=generator, dtype=torch.float64).to(dtype)


def slopes(net, x):
    """Return |z|/√(z² + ε²), or the moduli of the slopes 1 and δ − 1, of every layer and unit: (depth, batch, n)."""
    found = []
    for state, layer in zip(net.states(x), net.layers(), strict=False):
        if "frame" in layer:
            z = torch.einsum("ij,bi->bj", layer["frame"], state) + layer["bias"]
        else:
            z = torch.einsum("ij,bj->bi", layer["weight"], state) + layer["bias"]
        if net.architecture == "uneven-fold":
            found.append(1 - net.block.delta * (z < 0).to(z.dtype))
        else:
            found.append(z.abs() / (z**2 + net.block.epsilon**2).sqrt())
    return torch.stack(found).detach()


@pytest.mark.parametrize("threshold", [0.0, 1.3, -0.7])
@pytest.mark.parametrize("architecture", NEAR)
def test_without_a_distance_they_are_the_exact_members_to_the_bit(architecture, threshold, generator, precision):
    option, member = NEAR[architecture]
    nets = [
        network(name, depth=10, dtype=precision.dtype, threshold=threshold, **options)
        for name, options in ((architecture, {option: 0.0}), (member, {}))
    ]
    x = points(generator, precision.dtype)
    assert torch.equal(nets[0](x), nets[1](x))
    assert torch.equal(ob.jacobian(nets[0], x), ob.jacobian(nets[1], x))
    gradients = [torch.autograd.grad(net(x).square().sum(), list(net.trunk.values())) for net in nets]
    assert all(torch.equal(near, exact) for near, exact in zip(*gradients, strict=True))


@pytest.mark.parametrize("architecture", NEAR)
def test_they_tend_to_the_exact_members(architecture, generator):
    """No layer stretches, so gaps add up over layers at most; a tenth of the distance leaves about a tenth."""
    option, member = NEAR[architecture]
    x, gaps = points(generator), []
    exact = network(member, depth=20, threshold=0.5)(x)
    for distance in (1e-3, 1e-4):
        gaps.append((network(architecture, depth=20, threshold=0.5, **{option: distance})(x) - exact).abs().max())
    assert 0 < gaps[1] < gaps[0] / 5 < 20 * 1e-3


@given(st.floats(0.01, 3), st.floats(-2, 2), st.integers(1, 9), st.sampled_from([*NEAR]))
def test_singular_values_of_a_layer_are_the_moduli_of_its_slopes(distance, threshold, width, architecture):
    generator = torch.Generator().manual_seed(width)
    option = NEAR[architecture][0]
    distance = distance / 4 if option == "delta" else distance
    net = network(architecture, depth=1, width=width, threshold=threshold, **{option: distance})
    x = points(generator)
    expected = slopes(scatter_(net, generator), x)[0].sort(descending=True).values
    torch.testing.assert_close(ob.singular_values(net, x), expected, rtol=0, atol=1e-12)


def test_directions_that_no_unit_sees_keep_their_length(generator):
    net = scatter_(network("smooth-residual", depth=1, folds=3, threshold=0.0), generator)
    x = points(generator)
    units = slopes(net, x)[0]
    expected = torch.cat((units, torch.ones(5, 5, dtype=torch.float64)), dim=1).sort(descending=True).values
    torch.testing.assert_close(ob.singular_values(net, x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("architecture", NEAR)
def test_the_mean_log_singular_value_is_the_mean_log_slope(architecture, generator):
    """Exactly, whatever the orthogonal weights: log |det J| adds up over layers."""
    net = scatter_(network(architecture, depth=10, threshold=0.5), generator)
    x = points(generator)
    units = slopes(net, x)
    contraction = ob.singular_values(net, x).log().mean(1)
    torch.testing.assert_close(contraction, units.log().mean(2).sum(0), rtol=0, atol=1e-10)


@pytest.mark.parametrize("architecture", NEAR)
def test_they_never_stretch(architecture, generator):
    net = scatter_(network(architecture, depth=30), generator)
    states = torch.stack(net.states(points(generator, number=30)))
    distances = (states[:, :, None] - states[:, None]).norm(dim=-1)
    assert (distances.diff(dim=0) <= 1e-12).all()
    assert distances[-1].sum() < 0.99 * distances[0].sum()


def test_the_smooth_residual_layer_is_a_rotated_smooth_fold(generator):
    """−V(√(z² + ε²) + b), up to which the two architectures are one."""
    net = scatter_(network("smooth-residual", depth=1, epsilon=0.4), generator)
    (layer,) = net.layers()
    x = torch.randn(9, 8, generator=generator, dtype=torch.float64)
    V, b = layer["frame"], layer["bias"]
    fold = block("smooth-fold", epsilon=0.4, threshold=0.0).forward(x, weight=V.mT, bias=b)
    torch.testing.assert_close(net.block.forward(x, **layer), -(fold + b) @ V.mT)


def test_towards_one_the_uneven_fold_becomes_a_shifted_relu(generator):
    z = torch.linspace(-4, 4, 41, dtype=torch.float64)[:, None]
    one, bias = torch.ones(1, 1, dtype=torch.float64), torch.tensor([1.0], dtype=torch.float64)
    y = block("uneven-fold", delta=1 - 1e-9, threshold=1.0).forward(z, weight=one, bias=bias)
    torch.testing.assert_close(y, torch.relu(z + 1) - 1, rtol=0, atol=4e-9)


@pytest.mark.parametrize("architecture", ["smooth-fold", "smooth-residual"])
def test_smooth_layers_have_creases_only_without_a_distance(architecture):
    (layer,) = network(architecture, depth=1).layers()
    with pytest.raises(ValueError, match=r"the activation smooth .* states no breakpoints"):
        block(architecture).creases(10.0, **layer)
    normals, _ = block(architecture, epsilon=0.0).creases(10.0, **layer)
    assert normals.shape == (8, 8)


def test_the_uneven_fold_bends_where_the_shifted_fold_does(generator):
    net = scatter_(network("uneven-fold", depth=1), generator)
    (layer,) = net.layers()
    for near, exact in zip(net.block.creases(5.0, **layer), block("absolute").creases(5.0, **layer), strict=True):
        assert torch.equal(near, exact)


@pytest.mark.parametrize(
    ("architecture", "options", "message"),
    [
        ("smooth-fold", {"epsilon": -1.0}, r"epsilon must be a finite number of at least 0, got -1\.0"),
        ("smooth-residual", {"epsilon": math.nan}, "epsilon must be a finite number of at least 0, got nan"),
        ("uneven-fold", {"delta": 1.0}, r"delta must be a finite number of at least 0 and below 1, got 1\.0"),
        ("smooth-fold", {"threshold": math.inf}, "threshold must be a finite number, got inf"),
        ("smooth-residual", {"folds": 9}, "folds must be a whole number from 0 to the width 8, got 9"),
    ],
)
def test_bad_options_are_named(architecture, options, message):
    with pytest.raises(ValueError, match=message):
        block(architecture, **options).resolve(2, 8)


# --- weights that are off ---


@pytest.mark.parametrize("architecture", ["shifted-fold", "modified-residual", "rotated-residual", "maxmin"])
def test_a_perturbation_has_the_norm_that_is_asked_for(architecture):
    """W⁻¹W(I + δG) − I is δG: its norm is δ for every layer, and no two layers' are the same."""
    net, other = network(architecture, depth=4), network(architecture, depth=4)
    perturb_(other, 0.02, seed=3)
    for name, exact in net.trunk.items():
        if name in net.block.orthogonal:
            change = exact.mT @ other.trunk[name] - torch.eye(exact.shape[-1], dtype=torch.float64)
            torch.testing.assert_close(torch.linalg.matrix_norm(change, ord=2), torch.full((4,), 0.02).double())
            assert not torch.allclose(change[0], change[1])
        else:
            assert torch.equal(exact, other.trunk[name])


def test_a_perturbation_repeats_and_can_be_none():
    first, again, other = (network("shifted-fold", dtype=torch.float32) for _ in range(3))
    exact = first.trunk["weight"].detach().clone()
    assert torch.equal(perturb_(first, 0.0).trunk["weight"], exact)
    perturb_(first, 0.1, seed=1)
    perturb_(again, 0.1, seed=1)
    perturb_(other, 0.1, seed=2)
    assert torch.equal(first.trunk["weight"], again.trunk["weight"])
    assert not torch.equal(first.trunk["weight"], other.trunk["weight"])


@pytest.mark.parametrize("delta", [0.01, 0.3])
def test_a_perturbation_is_seen_as_what_it_is(delta):
    """‖VᵀV − I‖₂ ≤ 2δ + δ² whatever G; the Frobenius norm that is measured is at most √n times that."""
    net = perturb_(network("shifted-fold", depth=6), delta)
    gram = net.trunk["weight"].mT @ net.trunk["weight"] - torch.eye(8, dtype=torch.float64)
    largest = torch.linalg.matrix_norm(gram, ord=2).max()
    assert delta / 2 < largest <= 2 * delta + delta**2
    assert largest <= orthogonality_error(net.trunk["weight"]).max() <= math.sqrt(8) * largest


@pytest.mark.parametrize("delta", [-0.1, 1, math.nan])
def test_bad_perturbations_are_named(delta):
    with pytest.raises(ValueError, match=f"delta must be a finite number of at least 0 and below 1, got {delta}"):
        perturb_(network("linear"), delta)
    with pytest.raises(ValueError, match="seed must be a whole number of at least 0, got -1"):
        perturb_(network("linear"), 0.1, seed=-1)
