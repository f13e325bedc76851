"""Every kind of layer that is registered: its closed-form Jacobian, its stack, its options."""

import math

import numpy as np
import pytest
import torch
from small_networks import network, scatter_
from tolerances import PRECISIONS

from orthobook.layers import base, feedforward, residual
from orthobook.layers.base import architectures, block, register
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

    layer, y = apply(feedforward.Absolute())
    torch.testing.assert_close(y, torch.einsum("ij,bj->bi", layer["weight"], x).abs())
    layer, y = apply(feedforward.ShiftedFold(threshold=0.7))
    z = torch.einsum("ij,bj->bi", layer["weight"], x)
    torch.testing.assert_close(y, torch.maximum(z, -z - 1.4))
    layer, y = apply(feedforward.PartialFold(folds=2, threshold=0.0))
    z = torch.einsum("ij,bj->bi", layer["weight"], x)
    torch.testing.assert_close(y[:, :2], z[:, :2].abs())
    torch.testing.assert_close(y[:, 2:], z[:, 2:])
    layer, y = apply(residual.ModifiedResidual(folds=1, threshold=0.2))
    v = layer["frame"][:, 0]
    reflected = x - 2 * torch.outer(x @ v - 0.2, v)  # across the plane v·x = 0.2
    torch.testing.assert_close(y, torch.where((x @ v > 0.2)[:, None], reflected, x))


@pytest.mark.parametrize(("folds", "same_as"), [(0, feedforward.Linear()), (8, feedforward.ShiftedFold(threshold=0.5))])
def test_partial_fold_goes_from_linear_to_the_shifted_fold(folds, same_as, generator):
    kind = feedforward.PartialFold(folds=folds, threshold=0.5).resolve(1, 8)
    stacks, x = states(1, 8, kind, generator)
    layer = {name: stack[0] for name, stack in stacks.items()}
    torch.testing.assert_close(kind.forward(x, **layer), same_as.forward(x, **layer))


def test_defaults_that_depend_on_the_network():
    assert block("partial-fold").resolve(3, 9).folds == 4
    assert block("modified-residual").resolve(3, 9).folds == 9
    assert block("residual").resolve(100, 9).branch_scale == pytest.approx(0.1)
    assert block("residual", branch_scale=1.0).resolve(100, 9).branch_scale == 1.0


def test_every_architecture_is_of_one_kind():
    kinds = [architectures(kind) for kind in ("square", "rectangular", "image")]
    assert sorted(name for names in kinds for name in names) == sorted(architectures())
    assert kinds[1] == ("crelu",)
    assert all(name.startswith("conv-") for name in kinds[2])
    with pytest.raises(ValueError, match="unknown kind 'dense'; allowed: square, rectangular, image, or None for all"):
        architectures("dense")


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
        ("leaky-residual", {"slope": 1}, "slope must be at least -1 and below 1, got 1"),
        ("leaky-residual", {"slope": -1.5}, "slope must be at least -1 and below 1, got -1.5"),
        ("leaky-residual", {"slope": math.nan}, "slope must be a finite number, got nan"),
        ("leaky-residual", {"threshold": math.inf}, "threshold must be a finite number, got inf"),
        ("zigzag", {"period": 0}, "period must be a positive finite number, got 0"),
        ("soft-threshold", {"threshold": 0}, "threshold must be a positive finite number, got 0"),
        ("hard-tanh", {"limit": -1.0}, "limit must be a positive finite number, got -1.0"),
    ],
)
def test_bad_options_are_named(architecture, options, message):
    with pytest.raises(ValueError, match=message):
        block(architecture, **options).resolve(2, 8)


def test_a_name_belongs_to_one_class(monkeypatch):
    monkeypatch.setattr(base, "_registry", dict(base._registry))
    with pytest.raises(ValueError, match="'linear' is registered already, as Linear"):
        register("linear")(feedforward.Absolute)
    assert register("linear")(feedforward.Linear) is feedforward.Linear  # a notebook's cell that is run again


@pytest.mark.parametrize("kind", [int, feedforward.Absolute(), type("Plain", (feedforward.Feedforward,), {})])
def test_only_dataclasses_of_blocks_are_registered(kind):
    with pytest.raises(TypeError, match="register a frozen dataclass derived from Block as 'new'"):
        register("new")(kind)


def test_a_decorator_without_a_name_is_noticed():
    with pytest.raises(TypeError, match=r'@register\("my-layer"\), got <class'):
        register(feedforward.Linear)


def test_numbers_of_other_libraries_are_numbers():
    kind = block("partial-fold", folds=np.int64(3), threshold=np.float32(0.5)).resolve(2, 8)
    assert kind.folds == 3


@pytest.mark.parametrize("slope", [0.9, 0.1, 0.0, -0.5, -1.0])
def test_leaky_residual_is_its_formula(slope, generator):
    net = scatter_(network("leaky-residual", depth=1, slope=slope, threshold=0.7), generator)
    V, b = net.trunk["frame"][0].detach(), net.trunk["bias"][0].detach()
    x = torch.randn(9, 8, generator=generator, dtype=torch.float64)
    z = torch.einsum("ij,bi->bj", V, x) + b
    units = torch.where(z < 0, slope * z, z) + slope * 0.7
    expected = (1 + slope) / (1 - slope) * x - 2 / (1 - slope) * torch.einsum("ij,bj->bi", V, units)
    torch.testing.assert_close(net.block.forward(x, frame=V, bias=b), expected)


def test_leaky_residual_goes_from_the_modified_residual_to_the_absolute_value(generator):
    net = scatter_(network("leaky-residual", depth=1), generator)
    layer = {name: stack[0].detach() for name, stack in net.trunk.items()}
    x = torch.randn(9, 8, generator=generator, dtype=torch.float64)

    def leaky(slope):
        return block("leaky-residual", slope=slope).forward(x, **layer)

    torch.testing.assert_close(leaky(0.0), block("modified-residual").forward(x, **layer))
    absolute = feedforward.Absolute().forward(x, weight=layer["frame"].mT, bias=layer["bias"])
    torch.testing.assert_close(leaky(-1.0), -(absolute - 3.0) @ layer["frame"].mT)
    for limit in (0.0, -1.0):  # continuously: α has the derivative 2/(1 − a)², at most 2 here
        assert (leaky(limit + 1e-7) - leaky(limit)).abs().max() < 1e-5


def test_the_slope_of_a_leaky_residual_layer_moves_its_image_by_a_constant(generator):
    """Whatever the slope, the layer is −V|Vᵀx + b| up to a vector: the skip is in the formula, not in the function."""
    net = scatter_(network("leaky-residual", depth=1), generator)
    layer = {name: stack[0].detach() for name, stack in net.trunk.items()}
    x = torch.randn(9, 8, generator=generator, dtype=torch.float64)
    absolute = -(x @ layer["frame"] + layer["bias"]).abs() @ layer["frame"].mT
    for slope in (0.5, 0.0, -0.5, -1.0):
        gap = block("leaky-residual", slope=slope).forward(x, **layer) - absolute
        torch.testing.assert_close(gap, gap[:1].expand_as(gap))


def test_points_that_no_unit_reflects_stay_where_they_are(generator):
    x = torch.randn(9, 8, generator=generator, dtype=torch.float64)
    for architecture in ("modified-residual", "leaky-residual", "conv-modified-residual"):
        net = network(architecture, depth=1, threshold=100.0)
        state = x.reshape(9, 1, 2, 4) if architecture.startswith("conv") else x
        (layer,) = net.layers()
        torch.testing.assert_close(net.block.forward(state, **layer), state)


def test_rotated_residual_is_a_rotation_after_the_modified_residual(generator):
    net = scatter_(network("rotated-residual", depth=1, folds=3, threshold=0.0), generator)
    layer = {name: stack[0].detach() for name, stack in net.trunk.items()}
    x = torch.randn(9, 8, generator=generator, dtype=torch.float64)
    inner = block("modified-residual").forward(x, frame=layer["frame"], bias=layer["bias"])
    rotated = torch.einsum("ij,bj->bi", layer["rotation"], inner)
    torch.testing.assert_close(net.block.forward(x, **layer), rotated)


def test_zigzag_is_the_identity_within_a_quarter_period_and_stays_there(generator):
    kind = block("zigzag", period=4.0)
    eye, zero = torch.eye(6, dtype=torch.float64), torch.zeros(6, dtype=torch.float64)
    x = 3 * torch.randn(50, 6, generator=generator, dtype=torch.float64)
    y = kind.forward(x, weight=eye, bias=zero)
    assert y.abs().max() <= 1
    torch.testing.assert_close(y[x.abs() < 1], x[x.abs() < 1])
    torch.testing.assert_close(kind.forward(x + 4.0, weight=eye, bias=zero), y)


PIECEWISE_AFFINE = ["absolute", "shifted-fold", "partial-fold", "zigzag", "relu-orthogonal", "residual"]
PIECEWISE_AFFINE += ["modified-residual", "rotated-residual", "leaky-residual", "rezero"]
PIECEWISE_AFFINE += ["threshold-relu", "soft-threshold", "hard-tanh", "looks-linear"]
PIECEWISE_AFFINE += ["persistent-residual", "persistent-feedforward"]


@pytest.mark.parametrize("architecture", PIECEWISE_AFFINE)
def test_creases_are_where_the_layer_bends(architecture, generator):
    """Along a random line the Jacobian changes exactly at the creases that the line crosses."""
    options = {"period": 6.0} if architecture == "zigzag" else {}
    net = scatter_(network(architecture, depth=1, **options), generator)
    (layer,) = ({name: value.detach() for name, value in layer.items()} for layer in net.layers())
    end = 20 * torch.randn(8, generator=generator, dtype=torch.float64)
    normals, offsets = net.block.creases(end.norm().item(), **layer)
    first, last = offsets - normals @ end, offsets + normals @ end
    crossed = (first / (first - last))[first * last < 0].sort().values
    ends = torch.cat((crossed.new_zeros(1), crossed, crossed.new_ones(1)))
    points = (ends[1:] + ends[:-1] - 1)[:, None] * end
    eye = torch.eye(8, dtype=torch.float64).expand(len(points), 8, 8)
    _, J = net.block.push(points, eye.clone(), **layer)
    assert len(crossed) >= 2
    assert ((J[1:] - J[:-1]).abs().amax((-2, -1)) > 1e-9).all()
    fine = torch.linspace(-1, 1, 20_001, dtype=torch.float64)[:, None] * end
    _, along = net.block.push(fine, torch.eye(8, dtype=torch.float64).repeat(len(fine), 1, 1), **layer)
    assert ((along[1:] - along[:-1]).abs().amax((-2, -1)) > 1e-9).sum() == len(crossed)


def test_creases_out_of_reach_are_left_out():
    eye, bias = torch.eye(3, dtype=torch.float64), torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    normals, offsets = feedforward.Absolute().creases(2.5, weight=eye, bias=bias)
    assert (normals.tolist(), offsets.tolist()) == (eye[:2].tolist(), [1.0, -2.0])


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ("tanh-orthogonal", "the activation tanh states no breakpoints"),
        ("crelu", "crelu doubles the width"),
        ("residual-layernorm", "the creases of LayerNormResidual layers are not known in closed form"),
        ("conv-residual", "the creases of ConvResidual layers are not known in closed form"),
    ],
)
def test_layers_without_creases_say_so(architecture, message):
    (layer,) = network(architecture, depth=1).layers()
    with pytest.raises(ValueError, match=message):
        block(architecture).creases(1.0, **layer)


def test_a_feedforward_layer_needs_an_activation():
    with pytest.raises(NotImplementedError, match="Plain names no activation"):
        type("Plain", (feedforward.Feedforward,), {})().activation  # noqa: B018
