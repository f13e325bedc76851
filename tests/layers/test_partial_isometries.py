"""Partial isometries: products against principal angles, layers against their closed forms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import subspace_angles
from small_networks import network, scatter_
from tolerances import PRECISIONS

import orthobook as ob
from orthobook.theory.subspaces import commutator_norm, partial_isometry_error

FLOAT64 = PRECISIONS[torch.float64]
KEPT = ("threshold-relu", "soft-threshold", "hard-tanh")
OPTIONS = {"threshold-relu": {"threshold": 0.5}, "soft-threshold": {"threshold": 0.5}, "hard-tanh": {"limit": 1.0}}


def draw(generator, n, rank):
    """Return a random partial isometry of ℝⁿ of some rank."""
    U, V = ob.haar(2, n, rank, generator=generator, dtype=torch.float64)
    return U @ V.mT


def inputs(generator, number=4):
    return torch.randn(number, 20, generator=generator, dtype=torch.float64)


# --- Halmos and Wallen ---


@given(st.integers(1, 12), st.data(), st.integers(0, 2**31))
@settings(max_examples=50, deadline=None)
def test_random_products_have_the_cosines_of_principal_angles(n, data, seed):
    """SciPy's angles between the spaces that S keeps and T reaches give the spectrum and the commutator."""
    first, second = (data.draw(st.integers(1, n)) for _ in range(2))
    generator = torch.Generator().manual_seed(seed)
    S, T = draw(generator, n, second), draw(generator, n, first)
    angles = subspace_angles(S.mT.numpy() @ S.numpy(), T.numpy() @ T.mT.numpy())
    values = torch.linalg.svdvals(S @ T).numpy()[: len(angles)]
    assert np.sort(values) == pytest.approx(np.sort(np.cos(angles)), abs=1e-9)
    # of equal dimension at least in the angles; the dimensions beyond them are orthogonal or shared
    assert commutator_norm(S, T).item() == pytest.approx(np.max(np.abs(np.sin(2 * angles))) / 2, abs=1e-7)


@given(st.lists(st.booleans(), min_size=1, max_size=10), st.data(), st.integers(0, 2**31))
@settings(max_examples=50, deadline=None)
def test_spaces_along_the_same_axes_commute(keeps, data, seed):
    """Diagonal projections in one orthonormal basis commute: the product of the partial isometries is one."""
    n = len(keeps)
    reaches = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    left, basis, right = ob.haar(3, n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    S = left @ torch.diag(torch.tensor(keeps).double()) @ basis.mT
    T = basis @ torch.diag(torch.tensor(reaches).double()) @ right
    assert commutator_norm(S, T) <= FLOAT64.layer
    assert partial_isometry_error(S @ T) <= FLOAT64.layer
    assert torch.linalg.svdvals(S @ T).sum().item() == pytest.approx(sum(np.logical_and(keeps, reaches)))


def test_random_spaces_do_not_commute(generator):
    S, T = draw(generator, 16, 8), draw(generator, 16, 8)
    assert partial_isometry_error(torch.stack((S, T))).max() <= FLOAT64.layer
    assert commutator_norm(S, T) > 0.3
    assert partial_isometry_error(S @ T) > 0.3


@pytest.mark.parametrize(("value", "error"), [(0.0, 0.0), (1.0, 0.0), (0.5, 0.375), (2.0, 6.0)])
def test_the_error_of_a_number(value, error):
    assert partial_isometry_error(torch.tensor([[[value]], [[-value]]])).tolist() == [error, error]


def test_a_plane_turned_by_an_angle():
    """Two lines at the angle θ: ST = cos θ, and the commutator is ½ sin 2θ."""
    for theta in (0.0, 0.3, math.pi / 4, 1.2, math.pi / 2):
        S = torch.tensor([[math.cos(theta), math.sin(theta)]], dtype=torch.float64)
        T = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
        assert (S @ T).item() == pytest.approx(math.cos(theta))
        assert commutator_norm(S, T).item() == pytest.approx(abs(math.sin(2 * theta)) / 2, abs=1e-15)


@pytest.mark.parametrize("bad", [[[1.0]], torch.eye(2).long(), torch.ones(3), torch.ones(0, 3), torch.eye(2) / 0])
def test_bad_matrices_are_named(bad):
    good = torch.eye(2)
    what = "must hold (finite numbers, got nan or inf|matrices of floating-point numbers, got )"
    with pytest.raises(ValueError, match=f"matrices {what}"):
        partial_isometry_error(bad)
    with pytest.raises(ValueError, match=f"second {what}"):
        commutator_norm(bad, good)
    with pytest.raises(ValueError, match=f"first {what}"):
        commutator_norm(good, bad)


@pytest.mark.parametrize("second", [torch.eye(3), torch.eye(2).expand(4, 2, 2), torch.eye(2).double()])
def test_matrices_that_do_not_fit_are_named(second):
    with pytest.raises(ValueError, match=r"second and first must be \(…, p, n\) and \(…, n, q\) of one dtype, got "):
        commutator_norm(second, torch.eye(2))


def test_a_commutator_of_other_matrices_is_refused(generator):
    other = 3 * torch.randn(4, 4, generator=generator, dtype=torch.float64)
    for pair in ((other, draw(generator, 4, 2)), (draw(generator, 4, 2), other)):
        with pytest.raises(ValueError, match=r"(first|second) must hold partial isometries, ‖MMᵀM − M‖₂ ≤ 0\.001, got"):
            commutator_norm(*pair)


# --- layers ---


@pytest.mark.parametrize("architecture", KEPT)
def test_one_layer_is_a_partial_isometry_whose_rank_is_the_number_of_units_not_flat(architecture, generator):
    net = scatter_(network(architecture, depth=1, width=16, **OPTIONS[architecture]), generator)
    x = inputs(generator)
    J = ob.jacobian(net, x)
    assert partial_isometry_error(J).max() <= FLOAT64.layer
    z = net.embed(x) @ net.trunk["weight"][0].mT + net.trunk["bias"][0]
    flat = (net.block.activation.derivative(z) == 0).sum(-1)
    assert (ob.numerical_ranks(net, x) == 16 - flat).all()
    assert 0 < flat.sum() < z.numel()


@pytest.mark.parametrize("architecture", KEPT)
def test_a_deep_network_is_none(architecture, generator):
    rare = {"threshold-relu": {"threshold": 1.0}, "soft-threshold": {"threshold": 0.02}, "hard-tanh": {"limit": 1.0}}
    net = network(architecture, depth=20, width=16, **rare[architecture])
    x = inputs(generator)
    assert partial_isometry_error(ob.jacobian(net, x)).max() > 0.01
    ranks = ob.numerical_ranks(net, x, tolerance=0.5)
    assert ranks.shape == (20, 4)
    assert (ranks.diff(dim=0) <= 0).all()  # each layer is a contraction


def test_formulas(generator):
    x = inputs(generator)
    for architecture, formula in {
        "threshold-relu": lambda z: torch.where(z > -0.5, z, -0.5),
        "soft-threshold": lambda z: z.sign() * (z.abs() - 0.5).clamp(min=0),
        "hard-tanh": lambda z: z.sign() * z.abs().clamp(max=1.0),
    }.items():
        net = network(architecture, depth=1, **OPTIONS[architecture])
        z = torch.einsum("ij,bj->bi", net.trunk["weight"][0], net.embed(x))
        torch.testing.assert_close(net.states(x)[-1], formula(z))


@pytest.mark.parametrize("depth", [1, 7, 300])
@pytest.mark.parametrize("width", [2, 8, 34])
def test_looks_linear_has_two_singular_values_at_any_depth(depth, width, generator):
    net, x = network("looks-linear", depth, width), inputs(generator)
    values = ob.singular_values(net, x)
    half = width // 2
    torch.testing.assert_close(values[:, :half], torch.full((4, half), math.sqrt(2), dtype=torch.float64))
    assert values[:, half:].max() <= FLOAT64.trunk


def test_looks_linear_is_linear_in_the_difference_of_its_halves(generator):
    net, x = network("looks-linear", depth=9, width=8), inputs(generator)
    first, last = (state[:, :4] - state[:, 4:] for state in (net.embed(x), net.states(x)[-1]))
    product = torch.linalg.multi_dot([weight[:4, :4] for weight in net.trunk["weight"].detach().flip(0)])
    torch.testing.assert_close(last, first @ product.mT)
    with torch.no_grad():  # the negative control: it is the mirror that makes it linear
        net.trunk["weight"][4, 0, 0] += 0.5
    last = net.states(x)[-1]
    assert (last[:, :4] - last[:, 4:] - first @ product.mT).abs().max() > 0.01


def test_looks_linear_needs_an_even_width():
    with pytest.raises(ValueError, match="looks-linear needs an even width, got 7"):
        ob.build("looks-linear", depth=1, width=7, inputs=3, classes=2)


# --- ranks ---


def test_ranks_are_counts_of_singular_values(generator):
    net, x = network("relu-he", depth=5), inputs(generator)
    for tolerance in (1e-3, 0.1, 1.0):
        ranks = ob.numerical_ranks(net, x, tolerance=tolerance)
        for J, counted in zip(ob.jacobians(net, x), ranks, strict=True):
            assert counted.tolist() == [int((np.linalg.svd(one)[1] > tolerance).sum()) for one in J.numpy()]


def test_an_exact_network_keeps_its_rank_and_bad_tolerances_are_named(generator):
    net, x = network("shifted-fold", depth=50), inputs(generator)
    assert (ob.numerical_ranks(net, x, tolerance=0.999) == 8).all()
    with pytest.raises(ValueError, match="tolerance must be a positive finite number, got 0"):
        ob.numerical_ranks(net, x, tolerance=0)
