"""Persistent subspaces: what the layers keep, what the singular values owe to it, and what is measured."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import network, scatter_

import orthobook as ob
from orthobook.layers.base import block
from orthobook.layers.persistent import GAINS
from orthobook.theory.subspaces import persistent_dimension, persistent_subspace

ARCHITECTURES = ("persistent-residual", "persistent-feedforward")
SIDES = ("forward", "backward", "both")
sides = pytest.mark.parametrize("keeps", SIDES)
both_kinds = pytest.mark.parametrize("architecture", ARCHITECTURES)


def inputs(generator, number=4):
    return torch.randn(number, 20, generator=generator, dtype=torch.float64)


def moved_(net, generator, retracted=True):
    """Move every parameter as a few steps of training might, and retract."""
    with torch.no_grad():
        for stack in net.trunk.values():
            stack += 0.03 * torch.randn(stack.shape, generator=generator, dtype=stack.dtype)
    if retracted:
        net.retract_()
    return net


# --- at the start ---


@pytest.mark.parametrize("activation", GAINS)
@both_kinds
def test_a_thousand_layers_have_k_singular_values_of_one_at_the_start(architecture, activation, generator):
    net = network(architecture, depth=1000, width=16, persistent=5, activation=activation)
    x = inputs(generator, 2)
    off = (ob.singular_values(net, x) - 1).abs().sort(dim=-1).values
    assert off[:, :5].max() <= 1e-10
    assert off[:, 5].min() > 1e-6  # and no more than k
    assert persistent_dimension(net, x) == 5


@given(st.sampled_from(ARCHITECTURES), st.integers(1, 12), st.data(), st.integers(1, 30), st.sampled_from([*GAINS]))
@settings(max_examples=40, deadline=None)
def test_the_persistent_dimension_is_k_at_the_start(architecture, width, data, depth, activation):
    k = data.draw(st.integers(0, width))
    options = {"persistent": k, "activation": activation}
    net = network(architecture, depth=depth, width=width, **options)
    x = inputs(torch.Generator().manual_seed(0))
    E = net.block.subspace(width)
    assert E.shape == (width, k)
    K = persistent_subspace(net, x)
    assert K.shape == (width, k)
    torch.testing.assert_close(K @ K.mT, E @ E.mT, rtol=0, atol=1e-6)


# --- in training ---


@sides
@both_kinds
def test_the_constrained_mode_keeps_what_it_says(architecture, keeps, generator):
    """JE = E Q or JᵀE = E Q with Q orthogonal, to rounding, after all parameters have been moved."""
    net = moved_(network(architecture, depth=30, width=12, persistent=5, keeps=keeps), generator)
    E, J = net.block.subspace(12), ob.jacobian(net, inputs(generator))
    for side, images in (("forward", J @ E), ("backward", J.mT @ E)):
        inside = E.mT @ images
        lost = (images - E @ inside).abs().max()
        kept = (inside.mT @ inside - torch.eye(5)).abs().max()
        if keeps in (side, "both"):
            assert max(lost, kept) < 1e-12
        else:
            assert lost > 0.01


@sides
@both_kinds
def test_one_side_bounds_the_singular_values_and_both_fix_them(architecture, keeps, generator):
    net = moved_(network(architecture, depth=30, width=12, persistent=4, keeps=keeps), generator)
    x = inputs(generator)
    values = ob.singular_values(net, x)
    assert (values[:, 3] >= 1 - 1e-12).all()  # σ_k
    assert (values[:, 12 - 4] <= 1 + 1e-12).all()  # σ_{n−k+1}
    ones = ((values - 1).abs() < 1e-10).sum(-1)
    assert (ones == (4 if keeps == "both" else 0)).all()


@both_kinds
def test_more_than_half_of_the_width_fixes_the_excess(architecture, generator):
    """σ_k ≥ 1 ≥ σ_{n−k+1} with k = 8, n = 12: the singular values 5 to 8 are 1, whatever is written to e."""
    net = moved_(network(architecture, depth=30, width=12, persistent=8), generator)
    values = ob.singular_values(net, inputs(generator))
    assert (values[:, 4:8] - 1).abs().max() < 1e-10
    assert (values[:, 3] - 1).abs().min() > 1e-6


@both_kinds
def test_the_gradients_part_in_the_subspace_keeps_its_length(architecture, generator):
    """With JE = E R the component Eᵀu of the gradient is only rotated; read from e, and it is not."""
    x = inputs(generator)
    for keeps, constant in (("forward", True), ("backward", False)):
        net = moved_(network(architecture, depth=20, width=12, persistent=4, keeps=keeps), generator)
        states = [net.embed(x).detach().requires_grad_()]
        for layer in net.layers():
            states.append(net.block.forward(states[-1], **layer))
        gradients = torch.autograd.grad(net.classifier(states[-1]).logsumexp(-1).sum(), states)
        lengths = torch.stack([(u @ net.block.subspace(12)).norm(dim=-1) for u in gradients])
        change = (lengths / lengths[-1] - 1).abs().max()
        assert (change < 1e-12) == constant


@both_kinds
def test_free_parameters_lose_it(architecture, generator):
    net = moved_(network(architecture, depth=10, width=12, persistent=4), generator, retracted=False)
    assert persistent_dimension(net, inputs(generator), within=net.block.subspace(12)) == 0


def test_retracting_twice_is_retracting_once(generator):
    for architecture, keeps in itertools.product(ARCHITECTURES, SIDES):
        net = moved_(network(architecture, width=9, persistent=4, keeps=keeps), generator)
        before = {name: stack.detach().clone() for name, stack in net.trunk.items()}
        net.retract_()
        for name, stack in net.trunk.items():
            torch.testing.assert_close(stack.detach(), before[name], rtol=0, atol=1e-14)


# --- formulas ---


def test_the_layers_are_their_formulas(generator):
    x, x0 = inputs(generator), None
    net = moved_(network("persistent-residual", depth=4, persistent=3, activation="gelu"), generator, retracted=False)
    C, B, b = (net.trunk[name][0] for name in ("inner_weight", "outer_weight", "inner_bias"))
    x0 = net.embed(x)
    z = torch.einsum("ij,bj->bi", C, x0) + b
    gelu = z * (1 + torch.erf(z / 2**0.5)) / 2
    torch.testing.assert_close(net.states(x)[1], x0 + torch.einsum("ij,bj->bi", B, gelu) / 2)  # 1/√L
    net = network("persistent-feedforward", depth=1, persistent=3, activation="sine")
    net = moved_(net, generator, retracted=False)
    OP, Q, R, b = (net.trunk[name][0] for name in ("weight", "mixing", "rotation", "bias"))
    x0 = net.embed(x)
    a = torch.sin(x0 @ OP.mT + b[:5])
    e = x0[:, 5:] @ R.mT + x0[:, :5] @ Q.mT + b[5:]
    torch.testing.assert_close(net.states(x)[1], torch.cat((a, e), dim=-1))


def test_a_feedforward_network_without_a_persistent_part_is_the_orthogonal_relu_network():
    nets = [network("persistent-feedforward", persistent=0), network("relu-orthogonal")]
    torch.testing.assert_close(nets[0].trunk["weight"], nets[1].trunk["weight"])
    x = torch.randn(3, 20, dtype=torch.float64)
    torch.testing.assert_close(nets[0].states(x)[-1], nets[1].states(x)[-1])


def test_a_network_that_persists_altogether_is_linear(generator):
    net = network("persistent-feedforward", depth=5, persistent=8)
    product = torch.linalg.multi_dot(list(net.trunk["rotation"].detach().flip(0)))
    torch.testing.assert_close(ob.jacobian(net, inputs(generator)), product.expand(4, 8, 8))


# --- measuring ---


@pytest.mark.parametrize("architecture", ["relu-he", "relu-orthogonal", "tanh-orthogonal", "residual", "rezero"])
def test_others_have_no_persistent_subspace(architecture, generator):
    net = scatter_(network(architecture, depth=10, width=16), generator)
    assert persistent_dimension(net, inputs(generator)) == 0


@pytest.mark.parametrize("architecture", ["linear", "absolute", "shifted-fold", "modified-residual", "maxmin", "crelu"])
def test_in_an_exact_network_everything_persists(architecture, generator):
    net = scatter_(network(architecture, depth=4), generator)
    assert persistent_dimension(net, inputs(generator)) == 8


@pytest.mark.parametrize("k", [-1, 9, 2.5, True, "3"])
@both_kinds
def test_bad_dimensions_are_named(architecture, k):
    with pytest.raises(ValueError, match=r"persistent must be a whole number from 0 to the width 8, got "):
        ob.build(architecture, depth=1, width=8, inputs=3, classes=2, persistent=k)


@both_kinds
def test_bad_options_are_named(architecture):
    with pytest.raises(ValueError, match="unknown activation 'relu6'; allowed: relu, tanh, gelu, silu, sine"):
        block(architecture, activation="relu6")
    with pytest.raises(ValueError, match=r"unknown activation \['relu'\]; allowed: relu, tanh, gelu, silu, sine"):
        block(architecture, activation=["relu"])
    with pytest.raises(ValueError, match="keeps must be one of forward, backward, both, got 'all'"):
        block(architecture, keeps="all")


def test_one_flat_unit_costs_one_dimension(generator):
    """Threshold ReLU layers are contractions, so K is all there is: n less the units that are flat at some input."""
    net, x = network("threshold-relu", depth=1, width=16, threshold=0.5), inputs(generator)
    z = net.embed(x) @ net.trunk["weight"][0].mT + net.trunk["bias"][0]
    flat = (z < 0).any(0)
    assert persistent_dimension(net, x) == 16 - flat.sum()
    each = [persistent_dimension(net, x[i : i + 1]) for i in range(4)]
    assert each == (16 - (z < 0).sum(-1)).tolist()


@both_kinds
def test_breaking_ce_breaks_it(architecture, generator):
    """One layer of fifty that reads one coordinate of e takes one dimension away: P in the one kind, C in the other."""
    net, x = network(architecture, depth=50, width=16, persistent=6), inputs(generator)
    name = "inner_weight" if architecture == "persistent-residual" else "weight"
    assert persistent_dimension(net, x) == 6
    with torch.no_grad():
        net.trunk[name][1, :, -1] += 0.5
    assert persistent_dimension(net, x) == 5


@both_kinds
def test_what_is_written_hides_the_subspace_unless_it_is_named(architecture, generator):
    net = moved_(network(architecture, depth=10, width=16, persistent=6), generator)
    x = inputs(generator)
    assert persistent_dimension(net, x) == 0
    assert persistent_dimension(net, x, within=net.block.subspace(16)) == 6
    strange = ob.haar(16, 6, generator=generator, dtype=torch.float64)
    assert persistent_dimension(net, x, within=strange) == 0


def test_half_of_a_looks_linear_network_persists_where_it_is_named(generator):
    net, x = network("looks-linear", depth=20, width=8), inputs(generator)
    assert persistent_dimension(net, x) == 0
    assert persistent_dimension(net, x, within=torch.eye(8, dtype=torch.float64)[:, :4]) == 4


def test_a_basis_is_one_and_is_kept_by_every_layer(generator):
    net, x = network("threshold-relu", depth=6, width=16, threshold=2.0), inputs(generator, 2)
    K = persistent_subspace(net, x)
    assert 0 < K.shape[1] < 16
    torch.testing.assert_close(K.mT @ K, torch.eye(K.shape[1], dtype=torch.float64))
    for J in ob.jacobians(net, x):
        torch.testing.assert_close((J @ K).norm(dim=-2), torch.ones(2, K.shape[1], dtype=torch.float64))


def test_a_float32_network_is_measured_in_float64_or_in_its_own(generator):
    net = network("persistent-feedforward", depth=100, width=12, persistent=5, dtype=torch.float32)
    x = inputs(generator).float()
    assert persistent_subspace(net, x).dtype == torch.float64
    assert persistent_subspace(net, x, dtype=None).dtype == torch.float32
    assert persistent_dimension(net, x) == persistent_dimension(net, x, dtype=None) == 5


def test_bad_arguments_are_named(generator):
    net, x = network("linear"), inputs(generator)
    with pytest.raises(ValueError, match="tolerance must be a positive finite number, got 0"):
        persistent_dimension(net, x, tolerance=0)
    with pytest.raises(ValueError, match="needs at least one input, got none"):
        persistent_dimension(net, x[:0])
    for within in (torch.ones(8, 2), torch.eye(7), torch.full((8, 2), torch.nan), torch.eye(8).long(), [1.0]):
        with pytest.raises(ValueError, match="within must hold orthonormal columns of length 8, got "):
            persistent_dimension(net, x, within=within)
