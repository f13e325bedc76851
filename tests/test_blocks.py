"""Every kind of layer that is registered: its closed-form Jacobian, its stack, its options."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from small_networks import network, scatter_
from tolerances import PRECISIONS

from orthobook import blocks
from orthobook.blocks import architectures, block, register
from orthobook.orthogonal import orthogonality_error


def states(depth, width, kind, generator, dtype=torch.float64):
    """Return stacked parameters with random biases, so that some units fold and some do not, and random points."""
    parameters = kind.init(depth, width, generator, dtype)
    for name, stack in parameters.items():
        if name.endswith("bias"):
            stack += torch.randn(stack.shape, generator=generator, dtype=dtype)
    return parameters, torch.randn(7, width, generator=generator, dtype=dtype)


@pytest.mark.parametrize("architecture", architectures())
def test_push_is_autograds_jacobian(architecture, generator, precision):
    net = scatter_(network(architecture, depth=1, width=10, dtype=precision.dtype), generator)
    (layer,) = ({name: value.detach() for name, value in layer.items()} for layer in net.layers())
    x = net.embed(2 * torch.randn(7, 20, generator=generator, dtype=precision.dtype)).detach()
    tangents = torch.randn(7, 4, *x.shape[1:], generator=generator, dtype=precision.dtype)
    y, pushed = net.block.push(x, tangents.clone(), **layer)
    torch.testing.assert_close(y, net.block.forward(x, **layer))
    assert pushed.shape == (7, 4, *y.shape[1:])
    for point, directions, result in zip(x, tangents, pushed, strict=True):
        J = torch.autograd.functional.jacobian(lambda point: net.block.forward(point[None], **layer)[0], point)
        expected = torch.tensordot(directions, J, dims=([*range(1, x.ndim)], [*range(y.ndim - 1, J.ndim)]))
        assert (result - expected).abs().max() <= precision.layer * 10  # |tangents| reaches about 10 roundings' unit


@pytest.mark.parametrize("architecture", architectures())
def test_parameters_are_stacked_over_depth(architecture):
    net = network(architecture, depth=5, dtype=torch.float32)
    assert set(net.block.orthogonal) <= set(net.trunk)
    for name, stack in net.trunk.items():
        assert stack.shape[0] == 5, name
        assert stack.dtype == torch.float32
    for name in net.block.orthogonal:
        assert orthogonality_error(net.trunk[name]).max() <= PRECISIONS[torch.float32].layer


def test_he_and_orthogonal_relu_keep_the_mean_square(generator):
    """E‖Wx‖² = 2‖x‖²: a ReLU halves it again."""
    for architecture in ("relu-he", "relu-orthogonal"):
        weight = block(architecture).init(200, 50, generator, torch.float64)["weight"]
        assert weight.square().sum(-1).mean().item() == pytest.approx(2, rel=0.02)


def test_named_layers_do_what_their_names_say(generator):
    """Each against its formula, written with other operations."""
    width, x = 6, torch.randn(9, 6, generator=generator, dtype=torch.float64)

    def apply(kind):
        kind = kind.resolve(1, width)
        stacks = kind.init(1, width, torch.Generator().manual_seed(3), torch.float64)
        layer = {name: stack[0] for name, stack in stacks.items()}
        return layer, kind.forward(x, **layer)

    layer, y = apply(blocks.Absolute())
    torch.testing.assert_close(y, torch.einsum("ij,bj->bi", layer["weight"], x).abs())
    layer, y = apply(blocks.ShiftedFold(threshold=0.7))
    z = torch.einsum("ij,bj->bi", layer["weight"], x)
    torch.testing.assert_close(y, torch.maximum(z, -z - 1.4))
    layer, y = apply(blocks.PartialFold(folds=2, threshold=0.0))
    z = torch.einsum("ij,bj->bi", layer["weight"], x)
    torch.testing.assert_close(y[:, :2], z[:, :2].abs())
    torch.testing.assert_close(y[:, 2:], z[:, 2:])
    layer, y = apply(blocks.ModifiedResidual(folds=1, threshold=0.2))
    v = layer["frame"][:, 0]
    reflected = x - 2 * torch.outer(x @ v - 0.2, v)  # across the plane v·x = 0.2
    torch.testing.assert_close(y, torch.where((x @ v > 0.2)[:, None], reflected, x))


@pytest.mark.parametrize(("folds", "same_as"), [(0, blocks.Linear()), (8, blocks.ShiftedFold(threshold=0.5))])
def test_partial_fold_goes_from_linear_to_the_shifted_fold(folds, same_as, generator):
    kind = blocks.PartialFold(folds=folds, threshold=0.5).resolve(1, 8)
    stacks, x = states(1, 8, kind, generator)
    layer = {name: stack[0] for name, stack in stacks.items()}
    torch.testing.assert_close(kind.forward(x, **layer), same_as.forward(x, **layer))


def test_defaults_that_depend_on_the_network():
    assert block("partial-fold").resolve(3, 9).folds == 4
    assert block("modified-residual").resolve(3, 9).folds == 9
    assert block("residual").resolve(100, 9).branch_scale == pytest.approx(0.1)
    assert block("residual", branch_scale=1.0).resolve(100, 9).branch_scale == 1.0


def test_unknown_names_list_the_allowed_ones():
    with pytest.raises(ValueError, match="unknown architecture 'resnet'; allowed: linear, absolute, shifted-fold"):
        block("resnet")
    with pytest.raises(ValueError, match="partial-fold has no option 'fold'; allowed: threshold, folds"):
        block("partial-fold", fold=3)
    with pytest.raises(ValueError, match="linear has no option 'threshold'; allowed: none"):
        block("linear", threshold=3.0)


@pytest.mark.parametrize(
    ("architecture", "options", "message"),
    [
        ("partial-fold", {"folds": 9}, "folds must be a whole number from 0 to the width 8, got 9"),
        ("partial-fold", {"folds": -1}, "folds must be a whole number from 0 to the width 8, got -1"),
        ("modified-residual", {"folds": 2.5}, "folds must be a whole number from 0 to the width 8, got 2.5"),
        ("shifted-fold", {"threshold": math.nan}, "threshold must be a finite number, got nan"),
        ("modified-residual", {"threshold": math.inf}, "threshold must be a finite number, got inf"),
        ("shifted-fold", {"threshold": "3"}, "threshold must be a finite number, got '3'"),
        ("residual", {"branch_scale": math.nan}, "branch_scale must be a finite number, got nan"),
    ],
)
def test_bad_options_are_named(architecture, options, message):
    with pytest.raises(ValueError, match=message):
        block(architecture, **options).resolve(2, 8)


def test_a_name_belongs_to_one_class(monkeypatch):
    monkeypatch.setattr(blocks, "_registry", dict(blocks._registry))
    with pytest.raises(ValueError, match="'linear' is registered already, as Linear"):
        register("linear")(blocks.Absolute)
    assert register("linear")(blocks.Linear) is blocks.Linear  # a notebook's cell that is run again


@pytest.mark.parametrize("kind", [int, blocks.Absolute(), type("Plain", (blocks.Feedforward,), {})])
def test_only_dataclasses_of_blocks_are_registered(kind):
    with pytest.raises(TypeError, match="register a frozen dataclass derived from Block as 'new'"):
        register("new")(kind)


def test_numbers_of_other_libraries_are_numbers():
    kind = block("partial-fold", folds=np.int64(3), threshold=np.float32(0.5)).resolve(2, 8)
    assert kind.folds == 3


def test_a_new_block_is_one_class(monkeypatch, generator, float64):
    """A block defined here takes part at once: built by name, with its Jacobian and its isometry."""
    monkeypatch.setattr(blocks, "_registry", dict(blocks._registry))

    @register("two-way-fold")
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class TwoWayFold(blocks.Feedforward):
        isometric = True
        activation = blocks.activations.two_slopes(-1.0, 1.0)

    assert architectures()[-1] == "two-way-fold"
    from orthobook import build, singular_values

    net = build("two-way-fold", depth=20, width=8, inputs=5, classes=3, dtype=torch.float64, device="cpu")
    x = torch.randn(4, 5, generator=generator, dtype=torch.float64)
    assert (singular_values(net, x) - 1).abs().max() <= float64.trunk
