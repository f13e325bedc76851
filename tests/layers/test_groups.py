"""Layers that sort, reflect and double: each against an independent formulation, and the folds that they are."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_networks import network, scatter_

from orthobook.layers.base import block

FLOAT64 = {"dtype": torch.float64}


def scattered(architecture, generator, depth=1, width=8, **options):
    """Return a network of random layers and points in its trunk's first space."""
    net = scatter_(network(architecture, depth, width, **options), generator)
    return net, torch.randn(50, net.width, generator=generator, **FLOAT64)


def parts(net, x):
    """Return the parameters of the only layer and z = Wx + b, by other operations than the block's."""
    (layer,) = ({name: value.detach() for name, value in layer.items()} for layer in net.layers())
    return layer, torch.einsum("ij,bj->bi", layer["weight"], x) + layer["bias"]


def test_maxmin_sorts_pairs(generator):
    net, x = scattered("maxmin", generator)
    layer, z = parts(net, x)
    pairs = [z[:, i : i + 2].sort(dim=1, descending=True).values for i in range(0, 8, 2)]
    torch.testing.assert_close(net.block.forward(x, **layer), torch.cat(pairs, dim=1))


@given(st.integers(1, 5), st.integers(1, 3), st.integers(0, 1000))
def test_groupsort_sorts_groups(size, groups, seed):
    z = torch.randn(50, size * groups, generator=torch.Generator().manual_seed(seed), **FLOAT64)
    layer = {"weight": torch.eye(size * groups, **FLOAT64), "bias": torch.zeros(size * groups, **FLOAT64)}
    result = block("groupsort", size=size).forward(z, **layer).reshape(-1, size)
    for group, entries in zip(result.tolist(), z.reshape(-1, size).tolist(), strict=True):
        assert group == pytest.approx(sorted(entries, reverse=True), abs=1e-13)


def test_groupsort_in_pairs_is_maxmin(generator):
    net, x = scattered("maxmin", generator)
    layer, _ = parts(net, x)
    torch.testing.assert_close(block("groupsort", size=2).forward(x, **layer), net.block.forward(x, **layer))


def test_maxmin_is_the_modified_residual_layer_with_fixed_frame(generator):
    """x − 2V relu(Vᵀx) with V's columns (1, −1)/√2, one for each pair, sorts to (min, max): −V to (max, min)."""
    net, x = scattered("maxmin", generator)
    layer, z = parts(net, x)
    frame = torch.zeros(8, 4, **FLOAT64)
    for pair in range(4):
        frame[2 * pair, pair], frame[2 * pair + 1, pair] = -(0.5**0.5), 0.5**0.5
    sort = block("modified-residual").resolve(1, 8).forward(z, frame=frame, bias=torch.zeros(4, **FLOAT64))
    torch.testing.assert_close(net.block.forward(x, **layer), sort)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_householder_is_the_reflection_formula(size, generator):
    """A group is multiplied by the Householder matrix I − 2vvᵀ where vᵀz ≤ 0 (Singla, Singla and Feizi 2022)."""
    net, x = scattered("householder", generator, size=size)
    layer, z = parts(net, x)
    expected = z.clone()
    for group, v in enumerate(layer["vector"].squeeze(-1)):
        entries = slice(size * group, size * (group + 1))
        H = torch.eye(size, **FLOAT64) - 2 * torch.outer(v, v)
        expected[:, entries] = torch.where((z[:, entries] @ v > 0)[:, None], z[:, entries], z[:, entries] @ H)
    torch.testing.assert_close(net.block.forward(x, **layer), expected)


def test_householder_with_the_diagonal_is_maxmin(generator):
    net, x = scattered("maxmin", generator)
    layer, _ = parts(net, x)
    vector = torch.tensor([1.0, -1.0], **FLOAT64).div(2**0.5).expand(4, 2).unsqueeze(-1)
    reflected = block("householder").forward(x, vector=vector, **layer)
    torch.testing.assert_close(reflected, net.block.forward(x, **layer))


def test_crelu_is_both_halves_of_relu(generator):
    net, x = scattered("crelu", generator)
    layer, z = parts(net, x)
    y = net.block.forward(x, **layer)
    torch.testing.assert_close(y, torch.cat((z.clamp(min=0), -z.clamp(max=0)), dim=1))
    torch.testing.assert_close(y.square().sum(1), z.square().sum(1))  # nothing of z is lost


def test_crelu_doubles_the_width(generator):
    net = network("crelu", depth=3, width=5)
    x = torch.randn(4, 20, generator=generator, **FLOAT64)
    assert [state.shape[1] for state in net.states(x)] == [5, 10, 20, 40]
    assert net(x).shape == (4, 4)


@pytest.mark.parametrize(
    ("architecture", "width", "depth", "options", "message"),
    [
        ("maxmin", 7, 1, {}, "maxmin needs a width that is a multiple of 2, its group size, got 7"),
        ("groupsort", 8, 1, {"size": 3}, "groupsort needs a width that is a multiple of 3, its group size, got 8"),
        ("householder", 8, 1, {"size": 5}, "householder needs a width that is a multiple of 5, its group size, got 8"),
        ("groupsort", 8, 1, {"size": 0}, "size must be a whole number of at least 1, got 0"),
        ("householder", 8, 1, {"size": 2.0}, "size must be a whole number of at least 1, got 2.0"),
        ("crelu", 64, 11, {}, r"width · 2\^depth must be at most 65536, got width 64 and depth 11"),
        ("crelu", 1, 10**9, {}, r"must be at most 65536, got width 1 and depth 1000000000"),
    ],
)
def test_bad_sizes_are_named(architecture, width, depth, options, message):
    with pytest.raises(ValueError, match=message):
        block(architecture, **options).resolve(depth, width)


@pytest.mark.parametrize("architecture", ["maxmin", "groupsort", "householder"])
def test_creases_are_where_the_layer_bends(architecture, generator):
    """Along a random line the Jacobian changes exactly at the creases that the line crosses."""
    net, x = scattered(architecture, generator)
    (layer,) = ({name: value.detach() for name, value in layer.items()} for layer in net.layers())
    start, end = -9 * x[0], 9 * x[0]
    normals, offsets = net.block.creases(100.0, **layer)
    first, last = normals @ start + offsets, normals @ end + offsets
    crossed = (first / (first - last))[first * last < 0].sort().values
    assert len(crossed) > 0
    middles = torch.cat((crossed.new_zeros(1), crossed, crossed.new_ones(1)))
    points = start + ((middles[1:] + middles[:-1]) / 2)[:, None] * (end - start)
    eye = torch.eye(8, **FLOAT64).expand(len(points), 8, 8)
    _, J = net.block.push(points, eye.clone(), **layer)
    assert ((J[1:] - J[:-1]).abs().amax((-2, -1)) > 1e-6).all()
    nearby = points + 1e-9 * torch.randn(points.shape, generator=generator, **FLOAT64)
    _, same = net.block.push(nearby, eye.clone(), **layer)
    assert torch.equal(J, same)
