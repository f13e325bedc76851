"""Whole networks: the isometry that everything stands on, and the controls that must fail it."""

import copy
import itertools
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from small_networks import (
    BASELINES,
    EXACT,
    EXACT_DENSE,
    EXACT_IMAGES,
    OPTIONS,
    RECTANGULAR,
    deviation,
    network,
    scatter_,
)
from torch import nn

import orthobook as ob
from orthobook.layers import activations, feedforward, residual
from orthobook.networks import Trunk


def test_the_class_has_its_members_and_its_baselines():
    assert {"linear", "absolute", "shifted-fold", "partial-fold", "modified-residual"} <= set(EXACT)
    assert {"rotated-residual", "leaky-residual", "zigzag", "maxmin", "groupsort", "householder"} <= set(EXACT_DENSE)
    images = ("shifted-fold", "partial-fold", "maxmin", "modified-residual")
    assert {f"conv-{name}" for name in images} <= set(EXACT_IMAGES)
    assert set(RECTANGULAR) == {"crelu"}
    assert {"relu-he", "relu-orthogonal", "tanh-orthogonal", "residual", "conv-residual"} <= set(BASELINES)


# What grows with depth shows at little width, what grows with width at little depth; both are large at once for one.
SIZES = [*itertools.product([1, 10, 100], [8, 33, 128]), (1000, 8), (1000, 33)]


@pytest.mark.parametrize(
    ("architecture", "depth", "width"),
    [*((name, *size) for name in EXACT_DENSE for size in SIZES), ("shifted-fold", 1000, 128)],
)
def test_exact_at_any_depth_and_width(architecture, depth, width, precision, generator):
    net = network(architecture, depth, width, precision.dtype)
    assert deviation(net, generator) <= precision.trunk
    if architecture in OPTIONS:
        net = network(architecture, depth, width, precision.dtype, **OPTIONS[architecture])
        assert deviation(net, generator) <= precision.trunk


@pytest.mark.parametrize("architecture", ob.architectures())
def test_the_certificate_for_any_module_agrees(architecture, generator):
    """By automatic differentiation, with no closed form of a block: true for the class, false for the baselines."""
    net = scatter_(network(architecture, depth=3, **OPTIONS.get(architecture, {})), generator)
    x = torch.randn(4, 20, generator=generator, dtype=torch.float64)
    certificate = ob.is_orthogonal(net.trunk, net.embed(x).detach())
    assert bool(certificate) == (architecture in EXACT), certificate
    assert certificate.shape == (net.classifier.in_features, net.coordinates)


@pytest.mark.parametrize("depth", [1, 10, 50])
@pytest.mark.parametrize("architecture", EXACT_IMAGES)
def test_exact_on_images(architecture, depth, precision, generator):
    """8 channels on 8×8 places: the exact Jacobian of 512 coordinates."""
    net = network(architecture, depth, dtype=precision.dtype, width=8, inputs=(8, 8))
    assert deviation(net, generator) <= precision.convolution


@pytest.mark.parametrize("depth", [1, 3, 6])
@pytest.mark.parametrize("width", [1, 8, 33])
@pytest.mark.parametrize("architecture", RECTANGULAR)
def test_exact_where_layers_are_rectangular(architecture, width, depth, precision, generator):
    net = network(architecture, depth, width, precision.dtype)
    J = ob.jacobian(scatter_(net, generator), torch.randn(2, 20, generator=generator, dtype=precision.dtype))
    assert J.shape == (2, net.block.final_width(depth, width), width)
    assert (J.mT @ J - torch.eye(width)).abs().max() <= precision.layer * depth


@pytest.mark.parametrize("depth", [1, 10, 100, 1000])
@pytest.mark.parametrize("architecture", BASELINES)
def test_baselines_fail_the_same_test(architecture, depth, precision, generator):
    net = scatter_(network(architecture, depth, 33, precision.dtype), generator)
    x = torch.randn(2, net.inputs, generator=generator, dtype=torch.float64).to(net.dtype)
    J = ob.jacobian(net, x)
    if not J.isfinite().all():  # a product that overflows has no spectrum
        assert (architecture, depth, precision.dtype) == ("rezero", 1000, torch.float32)
        return
    assert (ob.singular_values(net, x) - 1).abs().max() > 0.1


@pytest.mark.parametrize("architecture", EXACT)
def test_a_parameter_that_is_off_is_seen(architecture, generator, precision):
    depth = 3 if architecture in RECTANGULAR else 10
    net = scatter_(network(architecture, depth, 16, precision.dtype, **OPTIONS.get(architecture, {})), generator)
    x = torch.randn(2, 20, generator=generator, dtype=precision.dtype)
    for name in net.block.orthogonal:
        with torch.no_grad():
            net.trunk[name][1] *= 1.01
        assert (ob.singular_values(net, x) - 1).abs().max() > 10 * precision.trunk, name
        net.retract_()
        assert (ob.singular_values(net, x) - 1).abs().max() <= precision.trunk


def test_folds_really_happen(generator):
    """Two inputs see different Jacobians: the exact networks are not linear ones in disguise."""
    x = torch.randn(2, 20, generator=generator, dtype=torch.float64)
    for architecture in EXACT:
        if architecture == "linear":
            continue
        depth = 3 if architecture in RECTANGULAR else 10
        net = scatter_(network(architecture, depth, 16, **OPTIONS.get(architecture, {})), generator)
        J = ob.jacobian(net, x)
        assert (J[0] - J[1]).abs().max() > 0.1, architecture
    J = ob.jacobian(network("linear", 10, 16), x)
    assert torch.equal(J[0], J[1])


@pytest.mark.parametrize("depth", [1, 6])
@pytest.mark.parametrize("architecture", ob.architectures())
def test_all_layers_in_one_operation_are_those_of_autograd(architecture, depth, precision, generator):
    depth = min(depth, 3) if architecture in RECTANGULAR else depth
    net = scatter_(network(architecture, depth, dtype=precision.dtype, **OPTIONS.get(architecture, {})), generator)
    x = torch.randn(5, 20, generator=generator, dtype=precision.dtype)
    direction = torch.randn(5, net.classes, generator=generator, dtype=precision.dtype)
    logits = {method: method(x) for method in (net, net.training_logits)}
    one_by_one, at_once = (torch.autograd.grad(y, [*net.parameters()], direction) for y in logits.values())
    assert torch.allclose(*logits.values(), rtol=0, atol=precision.trunk)
    for expected, gradient in zip(one_by_one, at_once, strict=True):
        assert (gradient - expected).norm() <= precision.trunk * (1 + expected.norm())


@pytest.mark.parametrize(
    "architecture", ["shifted-fold", "modified-residual", "residual", "crelu", "conv-shifted-fold"]
)
def test_segments_save_memory_and_change_nothing(architecture, generator):
    depth = 4 if architecture in RECTANGULAR else 30
    net = scatter_(network(architecture, depth), generator)
    x = torch.randn(5, 20, generator=generator, dtype=torch.float64)
    gradients, kept = [], []
    for segment in (None, 1, 5, depth + 1):
        sizes = {}  # of the tensors kept for the way back, by address, as some are kept twice
        with torch.autograd.graph.saved_tensors_hooks(
            lambda kept_one, sizes=sizes: (sizes.update({kept_one.data_ptr(): kept_one.numel()}), kept_one)[1],
            lambda kept_one: kept_one,
        ):
            loss = net.training_logits(x, segment=segment).square().sum()
        gradients.append(torch.autograd.grad(loss, [*net.parameters()]))
        kept.append(sum(sizes.values()))
    for others in gradients[1:]:
        assert all(torch.allclose(a, b, rtol=1e-12) for a, b in zip(gradients[0], others, strict=True))
    assert kept[2] < kept[0]


@dataclass(frozen=True, kw_only=True)
class Doubled(feedforward.ShiftedFold):
    """Another map than its base's."""

    def forward(self, x, **layer):
        return 2 * super().forward(x, **layer)


@dataclass(frozen=True, kw_only=True)
class Softened(residual.ModifiedResidual):
    """Another activation than its base's."""

    activation = activations.tanh


@dataclass(frozen=True, kw_only=True)
class Leaking(residual.ModifiedResidual):
    """Another piecewise affine activation than its base's."""

    activation = activations.leaky_relu(0.3)


@pytest.mark.parametrize("block", [Doubled(), Softened(), Leaking()])
def test_a_subclass_trains_what_it_computes(block, generator):
    net = ob.build(block, depth=3, width=8, inputs=20, classes=3, dtype=torch.float64)
    x = torch.randn(5, 20, generator=generator, dtype=torch.float64)
    gradients = [torch.autograd.grad(y.square().sum(), [*net.parameters()]) for y in (net(x), net.training_logits(x))]
    for expected, gradient in zip(*gradients, strict=True):
        assert torch.allclose(gradient, expected)


@pytest.mark.parametrize("architecture", ["shifted-fold", "modified-residual"])
def test_training_logits_cannot_be_differentiated_twice_in_silence(architecture, generator):
    net = network(architecture, depth=3)
    y = net.training_logits(torch.randn(5, 20, generator=generator, dtype=torch.float64))
    first = torch.autograd.grad(y.sum(), net.trunk["bias"], create_graph=True)[0]
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


@pytest.mark.parametrize("architecture", EXACT)
def test_networks_never_stretch(architecture, generator):
    """The trunk is 1-Lipschitz: distances between any two inputs' states never grow."""
    net = scatter_(network(architecture, 5 if architecture in RECTANGULAR else 30, 16), generator)
    x = torch.randn(50, 20, generator=generator, dtype=torch.float64)
    states = [state.flatten(1) for state in net.states(x)]
    distances = torch.stack([(state[:, None] - state[None]).norm(dim=-1) for state in states])
    assert (distances.diff(dim=0) <= 1e-12).all()


@pytest.mark.parametrize(("width", "inputs"), [(8, 50), (50, 8), (30, 30)])
def test_embedding_gives_coordinates_of_mean_square_one(width, inputs, generator):
    net = ob.build("linear", depth=1, width=width, inputs=inputs, classes=2, device="cpu")
    x = torch.randn(5_000, inputs, generator=generator)
    assert net.embed(x).square().mean().item() == pytest.approx(1, rel=0.05)


def test_seed_fixes_every_parameter():
    first, again = (network("shifted-fold", dtype=torch.float32) for _ in range(2))
    other = ob.build("shifted-fold", depth=3, width=8, inputs=20, classes=4, seed=1, device="cpu")
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.trunk["weight"], other.trunk["weight"])
    torch.testing.assert_close(network("shifted-fold").float().trunk["weight"], first.trunk["weight"])


@pytest.mark.parametrize("architecture", ob.architectures())
def test_forward_is_embedding_trunk_classifier(architecture, generator):
    net = network(architecture)
    x = torch.randn(6, 20, generator=generator, dtype=torch.float64)
    states = net.states(x)
    assert len(states) == net.depth + 1
    assert torch.equal(net.trunk(states[0]), states[-1])
    torch.testing.assert_close(net(x), net.classifier(states[-1].flatten(1)))
    assert net(x).shape == (6, 4)


def test_a_network_can_be_copied_saved_and_loaded(tmp_path, generator):
    net = network("partial-fold", folds=3)
    x = torch.randn(6, 20, generator=generator, dtype=torch.float64)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    other = ob.build("partial-fold", depth=3, width=8, inputs=20, classes=4, seed=5, folds=3, dtype=torch.float64)
    other.load_state_dict(torch.load(tmp_path / "net.pt", weights_only=True))
    assert torch.equal(other(x.to(other.device)).cpu(), net(x))
    assert torch.equal(copy.deepcopy(net)(x), net(x))
    assert "partial-fold, depth=3, width=8" in repr(net)


@pytest.mark.parametrize("before", [{}, {"threshold": 1.0}, {"architecture": "absolute"}], ids=str)
def test_a_state_knows_whose_it_is(before):
    """Nothing is loaded of another's, the embedding included; one that says nothing may be loaded."""
    sizes = {"depth": 3, "width": 8, "inputs": 20, "classes": 4}
    other = ob.build(**{"architecture": "shifted-fold", "seed": 1} | sizes | before)
    net = ob.build("shifted-fold", **sizes)
    start = net.embedding.weight.clone()
    if not before:
        net.load_state_dict(other.state_dict())
        assert torch.equal(net.trunk["weight"], other.trunk["weight"])
        return
    for module, state in ((net, other.state_dict()), (net.trunk, other.trunk.state_dict())):
        with pytest.raises(ValueError, match=r"this state is that of a trunk .*, depth=3, width=8, and the trunk here"):
            module.load_state_dict(state)
    assert torch.equal(net.embedding.weight, start)
    net.load_state_dict(dict(other.named_parameters()))
    assert torch.equal(net.embedding.weight, other.embedding.weight)


@pytest.mark.parametrize("threshold", [2, 2.0, np.float32(2), np.int64(2)], ids=lambda value: type(value).__name__)
def test_equal_options_make_the_same_trunk(threshold):
    one, other = (ob.Trunk("shifted-fold", depth=2, width=4, threshold=value) for value in (threshold, 2.0))
    assert one.block == other.block
    other.load_state_dict(one.state_dict())


@pytest.mark.parametrize("architecture", ob.architectures())
def test_parameters_are_contiguous(architecture, generator):
    """As optimisers that make one vector of them and formats that store them need it, at the start and after a step."""
    net = network(architecture)
    vector = nn.utils.parameters_to_vector(net.parameters())
    nn.utils.vector_to_parameters(vector + 0.01 * torch.randn(vector.shape, generator=generator), net.parameters())
    net.retract_()
    assert all(value.is_contiguous() for value in net.state_dict().values())


def test_another_head_is_one_s_own_affair(generator):
    net, x = network("shifted-fold"), torch.randn(6, 20, generator=generator, dtype=torch.float64)
    net.classifier = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 10)).double()
    assert net(x).shape == (6, 10)
    assert (ob.singular_values(net, x) - 1).abs().max() < 1e-12


@pytest.mark.parametrize("architecture", ob.architectures())
def test_a_used_network_can_be_pickled(architecture, generator):
    net = network(architecture)
    x = torch.randn(6, 20, generator=generator, dtype=torch.float64)
    before = net(x)
    again = pickle.loads(pickle.dumps(net))
    assert torch.equal(again(x), before)
    assert again.block == net.block


def test_building_leaves_the_global_generator_alone():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    network("shifted-fold")
    assert torch.equal(torch.rand(1), expected)


def test_a_default_device_does_not_matter():
    with torch.device("meta"):
        net = network("residual")
    assert all(parameter.device.type == "cpu" for parameter in net.parameters())


def test_sizes_of_other_libraries_are_sizes():
    net = ob.build("linear", depth=np.int64(2), width=np.int32(4), inputs=3, classes=2, device="cpu")
    assert net.trunk["weight"].shape == (2, 4, 4)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("depth", 0), ("depth", -3), ("width", 0), ("width", 2.5), ("inputs", 0), ("classes", 0), ("depth", True)],
)
def test_bad_sizes_are_named(argument, value):
    sizes = {"depth": 2, "width": 4, "inputs": 3, "classes": 2, argument: value}
    with pytest.raises(ValueError, match=f"{argument} must be a whole number of at least 1, got {value}"):
        ob.build("linear", **sizes)


@pytest.mark.parametrize("device", ["gpu", "cuda:x", 3.5])
def test_unknown_devices_are_named(device):
    with pytest.raises(ValueError, match="unknown device"):
        ob.build("linear", depth=1, width=2, inputs=3, classes=2, device=device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine with CUDA has the device")
def test_absent_devices_are_named():
    with pytest.raises(ValueError, match="this machine has no device 'cuda'"):
        ob.build("linear", depth=1, width=2, inputs=3, classes=2, device="cuda")


@pytest.mark.parametrize("seed", [1.5, None, "a", -1, 2**63])
def test_bad_seeds_are_named(seed):
    with pytest.raises(ValueError, match=r"seed must be (a whole number of at least 0|below 2\*\*63)"):
        ob.build("linear", depth=1, width=2, inputs=3, classes=2, seed=seed)


@dataclass(frozen=True)
class Unfinished(feedforward.Linear):
    """A linear layer whose parameters are not what a network needs."""

    first: str = "depth"
    orthogonal: tuple[str, ...] = ("weight",)

    def init(self, depth, width, generator, dtype):
        parameters = super().init(depth if self.first == "depth" else width, width, generator, dtype)
        return {n: stack[0] for n, stack in parameters.items()} if self.first == "none" else parameters


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"first": "width"},
            r"init must give 'weight' the depth 2 as its first axis, got the shape \(4, 4, 4\)",
        ),
        ({"first": "none"}, r"the depth 2 as its first axis, got the shape \(4, 4\)"),
        (
            {"orthogonal": ("wieght",)},
            r"orthogonal must be a tuple of names among weight, bias, got \('wieght',\)",
        ),
        ({"orthogonal": "weight"}, "must be a tuple of names among weight, bias, got 'weight'"),
    ],
)
def test_parameters_that_a_block_gets_wrong_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Trunk(Unfinished(**options), depth=2, width=4)


def test_mps_and_float64_exclude_each_other():
    with pytest.raises(ValueError, match="device 'mps' has no"):
        ob.build("linear", depth=1, width=2, inputs=3, classes=2, dtype=torch.float64, device="mps")


def test_bad_dtypes_and_inputs_are_named(generator):
    with pytest.raises(ValueError, match=r"dtype must be torch\.float32 or torch\.float64, got torch\.float16"):
        ob.build("linear", depth=1, width=2, inputs=3, classes=2, dtype=torch.float16)
    net = network("linear")
    with pytest.raises(ValueError, match=r"shape \(batch, 20\), got \(3, 21\)"):
        net(torch.zeros(3, 21, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"shape \(batch, 20\), got \(20,\)"):
        net(torch.zeros(20, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"dtype torch\.float64, got torch\.float32"):
        net(torch.zeros(3, 20))
    with pytest.raises(ValueError, match=r"must be a tensor, got ndarray; torch\.from_numpy"):
        net(np.zeros((3, 20)))
    with pytest.raises(ValueError, match=r"got \(3, 4, 5\); flatten\(1\)"):
        net(torch.zeros(3, 4, 5, dtype=torch.float64))
