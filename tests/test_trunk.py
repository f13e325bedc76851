"""A trunk in models of one's own: trained by torch's optimisers, saved, copied, compiled, spread over processes."""

import copy
import io
import pickle

import pytest
import torch
import torch.distributed as distributed
import torch.multiprocessing as multiprocessing
from small_networks import EXACT_DENSE, EXACT_IMAGES, OPTIONS, sizes
from tolerances import PRECISIONS
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import orthobook as ob
from orthobook.layers.base import architectures
from orthobook.networks import Trunk
from orthobook.orthogonal import haar
from orthobook.theory.origami import fold, folds_along


def trunk(architecture="shifted-fold", depth=5, width=8, dtype=torch.float64, **options):
    options = {**OPTIONS.get(architecture, {}), **options}
    width = sizes(architecture, width)["width"]
    return Trunk(architecture, depth=depth, width=width, dtype=dtype, **options)


def states(net, generator, number=6):
    shape = (3, 4, net.width) if not net.block.vectors else (net.width,)
    return torch.randn(number, *shape, generator=generator, dtype=net.dtype)


def scattered(net, generator):
    """Draw new orthogonal parameters and biases, so that units fold at some inputs and not at others."""
    with torch.no_grad():
        for name, stack in net.items():
            if name in net.block.orthogonal:
                stack.copy_(haar(*stack.shape, generator=generator, dtype=net.dtype))
            elif name.endswith("bias"):
                stack += torch.randn(stack.shape, generator=generator, dtype=net.dtype)
    return net


FLOAT32, FLOAT64 = PRECISIONS[torch.float32], PRECISIONS[torch.float64]


class TwoTrunks(nn.Module):
    """A model of a user's own: two trunks between linear maps that are no part of this package."""

    def __init__(self, dtype=torch.float32):
        super().__init__()
        torch.manual_seed(0)  # torch's own layers draw from the global generator
        self.read = nn.Linear(2, 8, dtype=dtype)
        self.first = Trunk("shifted-fold", depth=20, width=8, seed=1, threshold=1.0, dtype=dtype)
        self.second = Trunk("modified-residual", depth=20, width=8, seed=2, threshold=1.0, dtype=dtype)
        self.write = nn.Linear(8, 1, dtype=dtype)

    def forward(self, x):
        return self.write(self.second(torch.tanh(self.first(self.read(x)))))


@pytest.mark.parametrize("architecture", architectures())
def test_a_network_has_the_trunk_of_its_seed(architecture):
    size = sizes(architecture)
    inputs = size.pop("inputs")
    net = ob.build(architecture, depth=3, inputs=inputs, classes=2, seed=7, device="cpu", **size)
    alone = ob.Trunk(architecture, depth=3, seed=7, **size)
    assert (alone.architecture, alone.block) == (net.architecture, net.block)
    assert list(alone) == list(net.trunk)
    assert all(torch.equal(alone[name], net.trunk[name]) for name in alone)


# --- training in a model of one's own ---


OPTIMISERS = {
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=0.02, momentum=0.9, nesterov=True),
    "Adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01),
    "AdamW": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1),
    "RMSprop": lambda parameters: torch.optim.RMSprop(parameters, lr=0.003),
}


def trained(model, optimiser, generator, steps=60):
    """Learn the sign of a product; return the loss before and after."""
    losses = []
    for _ in range(steps):
        x = torch.randn(64, 2, generator=generator)
        loss = nn.functional.mse_loss(model(x).squeeze(1), x.prod(dim=1).sign())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return sum(losses[:5]) / 5, sum(losses[-5:]) / 5


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_model_of_ones_own_trains_with_a_hook_and_stays_exact(name, generator):
    model = TwoTrunks()
    optimiser = OPTIMISERS[name](model.parameters())
    for part in (model.first, model.second):
        optimiser.register_step_post_hook(lambda *_, part=part: part.retract_())
    before, after = trained(model, optimiser, generator)
    assert after < 0.8 * before
    x = torch.randn(20, 8, generator=generator)
    for part in (model.first, model.second):
        assert part.orthogonality_error() <= FLOAT32.layer
        assert (ob.singular_values(part, x) - 1).abs().max() <= FLOAT32.trunk


def test_without_the_hook_the_isometry_is_lost(generator):
    model = TwoTrunks()
    trained(model, OPTIMISERS["Adam"](model.parameters()), generator)
    x = torch.randn(20, 8, generator=generator)
    assert (ob.singular_values(model.first, x) - 1).abs().max() > 0.1


# --- what modules are expected to do ---


def restored(net):
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    other = Trunk(net.block, depth=net.depth, width=net.width, seed=99, dtype=net.dtype)
    other.load_state_dict(torch.load(file))
    return other


COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda net: pickle.loads(pickle.dumps(net)), "state_dict": restored}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("architecture", ["shifted-fold", "zigzag", "modified-residual", "conv-maxmin", "rezero"])
def test_copies_compute_the_same_and_share_nothing(architecture, way, generator):
    net = trunk(architecture)
    x, other = states(net, generator), COPIES[way](net)
    assert isinstance(other, Trunk)
    assert torch.equal(other(x), net(x))
    with torch.no_grad():
        next(net.parameters()).add_(1.0)
    assert not torch.equal(other(x), net(x))


def test_names_of_parameters_are_those_of_a_dictionary():
    assert list(dict(trunk("shifted-fold").named_parameters())) == ["bias", "weight"]
    model = TwoTrunks()
    expected = {"read.weight", "read.bias", "first.weight", "first.bias", "second.frame", "second.bias"}
    assert {name for name, _ in model.named_parameters()} == expected | {"write.weight", "write.bias"}
    assert set(model.state_dict()) - {name for name, _ in model.named_parameters()} == {
        "first._extra_state",  # whose they are
        "second._extra_state",
    }
    net = trunk("modified-residual")
    assert torch.equal(net["frame"], net.frame)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch.compile's own reading
@pytest.mark.parametrize("architecture", ["shifted-fold", "modified-residual", "conv-shifted-fold"])
def test_a_compiled_trunk_is_the_same_map(architecture, generator):
    net = trunk(architecture)
    x = states(net, generator)
    compiled = torch.compile(net, backend="aot_eager")
    tolerance = {"rtol": 0, "atol": FLOAT64.trunk}
    torch.testing.assert_close(compiled(x), net(x), **tolerance)
    gradients = [torch.autograd.grad(module(x).square().sum(), [*net.parameters()]) for module in (net, compiled)]
    for expected, gradient in zip(*gradients, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-10)


def one_of_two(rank, folder, results):
    """Take part in one step of two processes, each with half of the examples; store the gradients."""
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    model = TwoTrunks(torch.float64)
    x = torch.linspace(-2, 2, 32, dtype=torch.float64).reshape(2, 8, 2)
    parallel = DistributedDataParallel(model)  # its hooks average while it lives
    parallel(x[rank]).square().mean().backward()
    results[rank] = [parameter.grad.numpy() for parameter in model.parameters()]
    distributed.destroy_process_group()


def test_two_processes_average_the_gradients_of_their_halves(tmp_path):
    results = multiprocessing.Manager().dict()
    multiprocessing.spawn(one_of_two, (tmp_path, results), nprocs=2)
    model = TwoTrunks(torch.float64)
    model(torch.linspace(-2, 2, 32, dtype=torch.float64).reshape(16, 2)).square().mean().backward()
    for rank in range(2):
        for gradient, parameter in zip(results[rank], model.parameters(), strict=True):
            torch.testing.assert_close(torch.from_numpy(gradient), parameter.grad, rtol=1e-10, atol=1e-12)


def test_data_parallel_without_devices_is_the_module(generator):
    net = trunk()
    x = states(net, generator)
    assert torch.equal(nn.DataParallel(net)(x), net(x))


def test_precision_and_place_can_be_changed(generator):
    net = trunk(dtype=torch.float32)
    assert (net.double().dtype, net.device) == (torch.float64, torch.device("cpu"))
    assert net(states(net, generator)).dtype == torch.float64
    with torch.device("meta"):  # as a default device, which must not decide where the numbers are drawn
        same = trunk(dtype=torch.float32)
    assert torch.equal(same.double()["weight"], net["weight"])


# --- the map and its Jacobian ---


@pytest.mark.parametrize("architecture", [*EXACT_DENSE, *EXACT_IMAGES])
def test_the_jacobian_is_that_of_the_map_and_orthogonal(architecture, generator):
    net = scattered(trunk(architecture), generator)
    x = states(net, generator, number=2)
    expected = torch.stack([torch.func.jacrev(lambda y: net(y[None])[0])(y).reshape(2 * [y.numel()]) for y in x])
    torch.testing.assert_close(ob.jacobian(net, x), expected, rtol=0, atol=FLOAT64.convolution)
    assert (ob.singular_values(net, x) - 1).abs().max() <= FLOAT64.convolution
    torch.testing.assert_close(net.fused(x), net(x), rtol=0, atol=FLOAT64.trunk)


@pytest.mark.parametrize("architecture", EXACT_IMAGES)
def test_maps_of_any_size_go_through_one_trunk(architecture, generator):
    net = scattered(trunk(architecture), generator)
    for height, width in ((3, 3), (4, 6)):
        x = torch.randn(2, height, width, net.width, generator=generator, dtype=torch.float64)
        assert net(x).shape == x.shape
        assert (ob.singular_values(net, x) - 1).abs().max() <= FLOAT64.convolution


def test_gradients_keep_their_length_through_an_exact_trunk(generator):
    net = scattered(trunk(depth=30), generator)
    x, gradient = states(net, generator), states(net, generator)
    norms = ob.gradient_norms(net, x, gradient)
    assert norms.shape == (31, 6)
    torch.testing.assert_close(norms, gradient.norm(dim=1).expand(31, 6), rtol=FLOAT64.trunk, atol=0)
    with pytest.raises(ValueError, match=r"for a trunk give ∂ℓ/∂x_L, of the shape \(6, 8\), got \(6,\)"):
        ob.gradient_norms(net, x, torch.zeros(6, dtype=torch.int64))


def test_coherence_ranks_and_subspaces_are_those_of_the_network(generator):
    net = ob.build("threshold-relu", depth=4, width=8, inputs=8, classes=2, threshold=0.5, dtype=torch.float64)
    x, x2 = torch.randn(2, 5, 8, generator=generator, dtype=torch.float64)
    first = [net.embed(inputs).detach() for inputs in (x, x2)]
    for measure in (
        ob.gradient_coherence,
        lambda of, a, b: (ob.numerical_ranks(of, a), ob.singular_value_range(of, b)),
    ):
        for expected, found in zip(measure(net, x, x2), measure(net.trunk, *first), strict=True):
            torch.testing.assert_close(found, expected)
    assert ob.persistent_dimension(net, x) == ob.persistent_dimension(net.trunk, first[0])


def test_a_trunk_of_the_plane_folds_paper():
    half = folds_along(torch.tensor([0.0]), torch.tensor([0.0]))
    assert isinstance(half, Trunk)
    assert len(fold(half).cells) == 2
    torch.testing.assert_close(half(torch.tensor([[1.0, 2.0]]).double()), torch.tensor([[-1.0, 2.0]]).double())


def test_axes_before_the_last_are_a_batch(generator):
    net = trunk("partial-fold")
    x = torch.randn(2, 3, 5, 8, generator=generator, dtype=torch.float64)
    assert torch.equal(net(x), net(x.reshape(30, 8)).reshape(x.shape))
    assert torch.equal(net(x[0, 0, 0]), net(x[0, 0, :1])[0])


# --- errors ---


@pytest.mark.parametrize(
    ("architecture", "x", "message"),
    [
        ("linear", torch.zeros(3, 7), r"states must be a tensor \(batch, 8\), got \(3, 7\)"),
        ("linear", torch.zeros(3, 8), r"dtype torch\.float64, got torch\.float32; use x\.to\(trunk\.dtype\)"),
        ("linear", [0.0] * 8, r"states must be a tensor \(batch, 8\), got list"),
        ("linear", torch.tensor(1.0), r"states must be a tensor \(batch, 8\), got \(\)"),
        ("conv-maxmin", torch.zeros(2, 4, 5, 5), r"\(2, 4, 5, 5\); x\.movedim\(1, -1\) puts the channels last"),
        ("conv-maxmin", torch.zeros(5, 4), r"feature maps \(batch, height, width, 4\), got \(5, 4\)"),
    ],
)
def test_states_that_do_not_fit_are_named(architecture, x, message):
    with pytest.raises(ValueError, match=message):
        trunk(architecture)(x)


def test_what_is_measured_is_a_trunk_at_a_batch(generator):
    model, x = TwoTrunks(), torch.randn(2, 3, 8, generator=generator)
    with pytest.raises(ValueError, match="net must be a DeepNetwork or a Trunk, got TwoTrunks: give the trunk inside"):
        ob.numerical_ranks(model, x[0])
    with pytest.raises(ValueError, match=r"got \(2, 3, 8\); x\.flatten\(0, -2\) makes one batch"):
        ob.jacobian(model.first, x)
    assert ob.jacobian(model.first.retract_(), x.flatten(0, -2)).shape == (6, 8, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"architecture": "nope"}, "unknown architecture 'nope'; allowed: linear"),
        ({"treshold": 2.0}, "shifted-fold has no option 'treshold'; allowed: threshold"),
        ({"depth": 0}, "depth must be a whole number of at least 1, got 0"),
        ({"width": 2.5}, r"width must be a whole number of at least 1, got 2\.5"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"dtype": torch.float16}, r"dtype must be torch\.float32 or torch\.float64, got torch\.float16"),
        ({"device": "nowhere"}, "unknown device 'nowhere'"),
        (
            {"architecture": ob.layers.block("linear"), "threshold": 1.0},
            "a block has its options already, got threshold",
        ),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Trunk(**{"architecture": "shifted-fold", "depth": 2, "width": 4, **options})
