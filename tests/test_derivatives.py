"""The Jacobian and the gradients against autograd, and against closed forms where there are any."""

import weakref

import pytest
import small_networks
import torch
from small_networks import EXACT_DENSE, EXACT_IMAGES, RECTANGULAR
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

import orthobook as ob


def network(architecture, depth=12, width=16, dtype=torch.float64, **options):
    return small_networks.network(architecture, depth, width, dtype, **options)


def points(generator, dtype=torch.float64, number=3):
    return torch.randn(number, 20, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("architecture", ob.architectures())
def test_jacobian_is_autograds(architecture, precision, generator):
    net = network(architecture, depth=3 if architecture in RECTANGULAR else 12, dtype=precision.dtype)
    x = points(generator, precision.dtype)

    def trunk(state):
        state = state[None]
        for layer in net.layers():
            state = net.block.forward(state, **layer)
        return state.flatten()

    expected = torch.stack([torch.func.jacrev(trunk)(state).flatten(1) for state in net.embed(x).detach()])
    J = ob.jacobian(net, x)
    assert J.shape == (3, net.classifier.in_features, net.coordinates)
    assert J.dtype == precision.dtype
    assert not J.requires_grad
    assert (J - expected).abs().max() <= 12 * precision.layer


def test_jacobian_of_a_linear_network_is_the_product_of_its_weights(generator):
    net = network("linear", depth=4)
    product = torch.linalg.multi_dot(list(net.trunk["weight"].detach().flip(0)))
    torch.testing.assert_close(ob.jacobian(net, points(generator)), product.expand(3, 16, 16))


def test_jacobians_grow_layer_by_layer(generator):
    """The l-th is the Jacobian of the network cut off after l layers."""
    net, x = network("relu-he", depth=5), points(generator)
    for depth, J in enumerate(ob.jacobians(net, x), start=1):
        short = network("relu-he", depth=depth)
        short.load_state_dict(
            {name: value[:depth] if name.startswith("trunk") else value for name, value in net.named_parameters()}
        )
        torch.testing.assert_close(J, ob.jacobian(short, x))
    assert depth == 5


def test_any_map_has_a_jacobian_and_singular_values(generator):
    """By differentiation, against a closed form, the trunk's own, and a wrapped network's chain of three maps."""
    W, x = torch.randn(3, 5, generator=generator, dtype=torch.float64), points(generator)
    linear = torch.nn.Linear(5, 3).double()
    linear.weight.data = W
    torch.testing.assert_close(ob.jacobian(linear, x[:, :5]), W.expand(3, 3, 5))
    net = network("residual")
    torch.testing.assert_close(ob.singular_values(net.trunk.forward, net.embed(x)), ob.singular_values(net, x))
    whole = net.classifier.weight @ ob.jacobian(net, x) @ net.embedding.weight
    torch.testing.assert_close(ob.jacobian(torch.nn.DataParallel(net), x), whole.detach())
    assert ob.jacobian(linear.float(), x[:, :5].float(), dtype=torch.float32).dtype == torch.float32


@pytest.mark.parametrize(
    ("map_", "message"),
    [
        (5, "net must be a DeepNetwork, a Trunk or another map of tensors, got int"),
        (lambda x: (x, x), "the module must return one tensor, got tuple"),
        (lambda x: torch.ones(1, 3), "the module's output does not depend differentiably on its input"),
    ],
)
def test_what_is_no_differentiable_map_is_an_error(map_, message, generator):
    with pytest.raises(ValueError, match=message):
        ob.singular_values(map_, points(generator))


@pytest.mark.parametrize("x", [[1.0], torch.ones(2, 3).long(), torch.ones(0, 3), torch.full((1, 3), torch.nan)])
def test_inputs_of_any_map_are_checked(x):
    with pytest.raises(ValueError, match="inputs must be"):
        ob.jacobian(torch.nn.Tanh(), x)


@pytest.mark.parametrize("function", [ob.numerical_ranks, ob.singular_value_range, ob.gradient_coherence])
def test_what_needs_layers_says_so(function, generator):
    x = points(generator)
    with pytest.raises(ValueError, match=r"net must be a DeepNetwork or a Trunk, got Linear: .* ob\.singular_values"):
        function(torch.nn.Linear(20, 20).double(), *[x] * (2 if function is ob.gradient_coherence else 1))


@pytest.mark.parametrize("architecture", ["shifted-fold", "tanh-orthogonal", "conv-maxmin"])
def test_where_the_network_is_not_finite_it_has_no_spectrum(architecture, generator):
    net, x = network(architecture, depth=5), points(generator)
    name = next(name for name in net.trunk if name.endswith("bias"))
    net.trunk[name].data[1, 0] = torch.nan
    assert ob.jacobian(net, x).isnan().all()
    for function in (ob.singular_values, ob.numerical_ranks, ob.singular_value_range):
        with pytest.raises(ValueError, match="the Jacobian at input 0 is not finite"):
            function(net, x)


def test_a_jacobian_that_overflows_is_one_sentence(generator):
    net = network("residual", depth=300, branch_scale=50.0)
    for function in (ob.singular_values, ob.singular_value_range):
        with pytest.raises(ValueError, match=r"the Jacobian at input 0 is not finite.* overflow"):
            function(net, 1e6 * points(generator))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64, torch.complex64, "float64"])
def test_jacobians_are_computed_in_single_or_double_precision(dtype, generator):
    with pytest.raises(ValueError, match=r"are computed in torch\.float32 or torch\.float64, got .*: give dtype"):
        ob.singular_values(network("linear"), points(generator), dtype=dtype)


def test_a_network_in_half_precision_is_measured_in_another(generator):
    net, x = network("shifted-fold").bfloat16(), points(generator).bfloat16()
    with pytest.raises(ValueError, match=r"got torch\.bfloat16: give dtype"):
        ob.singular_values(net, x)
    assert (ob.singular_values(net, x, dtype=torch.float64) - 1).abs().max() < 0.2  # its weights have three digits


def test_inference_mode_changes_nothing(generator):
    outside, x, labels = network("shifted-fold"), points(generator), torch.tensor([0, 1, 2])
    expected = ob.gradient_norms(outside, x, labels), ob.singular_value_range(outside, x)
    with torch.inference_mode():
        for net in (outside, network("shifted-fold")):
            found = ob.gradient_norms(net, x.clone(), labels), ob.singular_value_range(net, x.clone())
            for one, other in zip(found, expected, strict=True):
                torch.testing.assert_close(one, other)


def test_autocast_changes_no_gradient_norm(generator):
    net, x = network("shifted-fold", dtype=torch.float32), points(generator, torch.float32)
    labels = torch.tensor([0, 1, 2])
    with torch.autocast("cpu", torch.bfloat16):
        inside = ob.gradient_norms(net, x, labels)
    assert torch.equal(inside, ob.gradient_norms(net, x, labels))


def test_singular_values_descend_and_match_the_spectrum(generator):
    net, x = network("relu-orthogonal"), points(generator)
    values = ob.singular_values(net, x)
    assert values.shape == (3, 16)
    assert (values.diff(dim=-1) <= 0).all()
    J = ob.jacobian(net, x)
    torch.testing.assert_close(values.square().sum(-1), J.square().sum((-2, -1)))
    torch.testing.assert_close(values.prod(-1), torch.linalg.det(J).abs())


def test_float64_spectrum_of_a_float32_network(generator):
    net = network("shifted-fold", depth=100, dtype=torch.float32)
    x = points(generator, torch.float32)
    values = ob.singular_values(net, x, dtype=torch.float64)
    assert values.dtype == torch.float64
    assert net.dtype == torch.float32
    torch.testing.assert_close(values.float(), ob.singular_values(net, x), rtol=0, atol=2e-5)


class Census(TorchDispatchMode):
    """Count how many tensors of one shape are alive."""

    def __init__(self, shape):
        super().__init__()
        self.shape, self.born = shape, []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.shape == self.shape:
            self.born.append(weakref.ref(result))
        return result

    def alive(self):
        return sum(reference() is not None for reference in self.born)


def test_memory_does_not_grow_with_depth(generator):
    net, x = network("shifted-fold", depth=30), points(generator)
    with Census(torch.Size((3, 16, 16))) as census:
        alive = [census.alive() for _ in ob.jacobians(net, x)]
    assert len(census.born) >= 30
    assert alive[-1] == alive[2]


def test_gradient_norms_are_autograds_one_example_at_a_time(generator):
    net, x = network("residual", depth=6), points(generator)
    labels = torch.tensor([0, 3, 1])
    norms = ob.gradient_norms(net, x, labels)
    assert norms.shape == (7, 3)
    for example in range(3):
        states = net.states(x[example : example + 1])
        loss = functional.cross_entropy(net.classifier(states[-1]), labels[example : example + 1])
        expected = torch.stack([gradient.norm() for gradient in torch.autograd.grad(loss, states)])
        torch.testing.assert_close(norms[:, example], expected)


def test_settings_between_layers_are_the_callers(generator):
    """Precision is raised around each layer alone, however the generators are interleaved or left."""
    net, x = network("shifted-fold", depth=4, dtype=torch.float32), points(generator, torch.float32)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            for _ in zip(ob.jacobians(net, x), ob.jacobians(net, x), strict=True):
                assert torch.get_float32_matmul_precision() == "medium"
                assert torch.is_autocast_enabled("cpu")
            left = ob.jacobians(net, x)
            next(left)
        del left
        assert not torch.is_autocast_enabled("cpu")
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_gradient_norms_need_no_trainable_parameters(generator):
    net, x, labels = network("residual"), points(generator), torch.tensor([0, 1, 2])
    expected = ob.gradient_norms(net, x, labels)
    frozen = network("residual").requires_grad_(False)
    with torch.no_grad():
        assert torch.equal(ob.gradient_norms(frozen, x, labels), expected)


def test_bad_labels_are_named(generator):
    net, x = network("linear"), points(generator)
    with pytest.raises(ValueError, match=r"labels must be 3 numbers of torch\.int64, got \(2,\)"):
        ob.gradient_norms(net, x, torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"labels must lie in 0 … 3, got 0 … 4"):
        ob.gradient_norms(net, x, torch.tensor([0, 1, 4]))


def test_gradients_keep_their_size_in_exact_networks_and_not_in_relu_networks(generator):
    x, labels = points(generator, number=8), torch.arange(8) % 4
    for architecture in EXACT_DENSE + EXACT_IMAGES:
        norms = ob.gradient_norms(network(architecture, depth=200), x, labels)
        torch.testing.assert_close(norms, norms[-1].expand_as(norms))
    norms = ob.gradient_norms(network("relu-he", depth=200), x, labels)
    assert (norms[0] < 1e-2 * norms[-1]).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_bad_inputs_are_named(value, generator):
    net, x = network("linear"), points(generator)
    x[1, 2] = value
    with pytest.raises(ValueError, match="inputs must be finite"):
        ob.jacobian(net, x)
    with pytest.raises(ValueError, match="inputs must be finite"):
        ob.gradient_norms(net, x, torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match=r"shape \(batch, 20\), got \(2, 3\)"):
        ob.singular_values(net, torch.zeros(2, 3, dtype=torch.float64))


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("shifted-fold", {"depth": 30, "width": 40}),
        ("relu-orthogonal", {"depth": 4, "width": 40}),
        ("crelu", {"depth": 2, "width": 12}),
        ("conv-shifted-fold", {"depth": 4, "width": 4, "inputs": (5, 4), "downsampling": 0, "threshold": 0.1}),
        ("conv-residual", {"depth": 4, "width": 4, "inputs": (5, 4), "downsampling": 0}),
    ],
)
def test_lanczos_finds_the_ends_of_the_exact_spectrum(architecture, options, generator):
    size = {} if architecture.startswith("conv") else {"inputs": 20}
    net = ob.build(architecture, classes=4, dtype=torch.float32, device="cpu", **size, **options)
    x = points(generator, torch.float32)
    exact = ob.singular_values(net, x, dtype=torch.float64)
    ends = ob.singular_value_range(net, x)
    assert ends.shape == (3, 2)
    # its eigenvalues σ² are right to 1e-10 of the largest, and a smallest σ of 0 to the square root of that
    largest = exact[:, :1].max().item()
    torch.testing.assert_close(ends[:, 1], exact[:, 0], rtol=1e-9, atol=0)
    torch.testing.assert_close(ends[:, 0].square(), exact[:, -1].square(), rtol=0, atol=1e-9 * largest**2)


def test_lanczos_repeats_itself_and_leaves_gradients_alone(generator):
    net, x = network("relu-orthogonal"), points(generator)
    with torch.no_grad():
        first = ob.singular_value_range(net, x)
    assert torch.equal(first, ob.singular_value_range(net.requires_grad_(False), x))
    assert all(parameter.grad is None for parameter in net.parameters())


def test_a_jacobian_of_zeros_has_the_range_zero(generator):
    net = network("relu-he")
    torch.nn.init.constant_(net.trunk["bias"], -100.0)
    assert torch.equal(ob.singular_value_range(net, points(generator)), torch.zeros(3, 2, dtype=torch.float64))


def test_bad_arguments_of_lanczos_are_named(generator):
    with pytest.raises(ValueError, match="tolerance must be a positive finite number, got 0"):
        ob.singular_value_range(network("linear"), points(generator), tolerance=0)
    plane = ob.build("linear", depth=1, width=2, inputs=20, classes=2, dtype=torch.float64, device="cpu")
    with pytest.raises(ValueError, match="a width of at least 3, got 2; use singular_values"):
        ob.singular_value_range(plane, points(generator))


# --- gradient coherence ---


@pytest.mark.parametrize("architecture", ob.architectures())
def test_coherence_is_the_cosine_of_the_jacobians(architecture, generator):
    net = network(architecture, depth=2 if architecture in RECTANGULAR else 5)
    x, x2 = points(generator), points(generator)
    J, J2 = (ob.jacobian(net, both).flatten(1) for both in (x, x2))
    exact = ob.gradient_coherence(net, x, x2)
    torch.testing.assert_close(exact.value, functional.cosine_similarity(J, J2))
    assert torch.equal(exact.standard_error, torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(ob.gradient_coherence(net, x, x).value, torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize("architecture", EXACT_DENSE)
def test_coherence_of_orthogonal_jacobians_is_their_mean_product(architecture, generator):
    net = network(architecture)
    x, x2 = points(generator), points(generator)
    J, J2 = ob.jacobian(net, x), ob.jacobian(net, x2)
    layers = list(ob.gradient_coherences(net, x, x2))
    assert len(layers) == net.depth
    torch.testing.assert_close(layers[-1].value, (J * J2).sum((1, 2)) / net.coordinates)


def test_errors_of_few_probes_are_the_errors_made(generator):
    """Over 200 draws of 12 out of 48 directions the mean square of error/standard error is 1, up to 4 · √(2/200)."""
    net = ob.build("shifted-fold", depth=10, width=48, inputs=20, classes=2, threshold=1, dtype=torch.float64)
    x, x2 = points(generator, number=1), points(generator, number=1)
    exact = ob.gradient_coherence(net, x, x2).value
    found = [ob.gradient_coherence(net, x, x2, probes=12, seed=seed) for seed in range(200)]
    scores = torch.stack([(value - exact) / error for value, error in found])
    # the estimated error has 11 degrees of freedom: the mean square of a t variable is 11/9
    assert abs(scores.square().mean() * 9 / 11 - 1) < 0.4
    assert abs(scores.mean()) < 4 / 200**0.5


def test_wide_networks_take_64_probes_and_repeat(generator):
    size = {"width": 4, "inputs": (12, 12), "downsampling": 0}
    net = ob.build("conv-shifted-fold", depth=3, classes=2, threshold=0.5, dtype=torch.float64, device="cpu", **size)
    x, x2 = (torch.randn(2, 144, generator=generator, dtype=torch.float64) for _ in range(2))
    few = ob.gradient_coherence(net, x, x2)
    assert (few.standard_error > 0).all()
    exact = ob.gradient_coherence(net, x, x2, probes=576)
    assert ((few.value - exact.value).abs() <= 4 * few.standard_error).all()
    again = ob.gradient_coherence(net, x, x2, probes=64)
    assert all(torch.equal(one, other) for one, other in zip(few, again, strict=True))


def test_autocorrelation_averages_the_coherence_of_a_lag(generator):
    net, x = network("relu-orthogonal"), points(generator, number=6)
    found = ob.gradient_autocorrelation(net, x)
    assert found.shape == (6,)
    for lag in range(6):
        expected = ob.gradient_coherence(net, x[: 6 - lag], x[lag:]).value.mean()
        torch.testing.assert_close(found[lag], expected)


def test_bad_arguments_of_coherence_are_named(generator):
    net, x = network("shifted-fold"), points(generator)
    with pytest.raises(ValueError, match=r"x and x2 must have the same shape, got \(3, 20\) and \(2, 20\)"):
        ob.gradient_coherence(net, x, x[:2])
    with pytest.raises(ValueError, match="probes must be at most the number of coordinates 16, got 17"):
        ob.gradient_coherence(net, x, x, probes=17)
    with pytest.raises(ValueError, match="probes must be a whole number of at least 2, got 1"):
        ob.gradient_coherence(net, x, x, probes=1)


@pytest.mark.parametrize(
    "measure",
    [
        lambda net, x: ob.gradient_coherence(net, x, x),
        lambda net, x: ob.gradient_coherence(net, torch.ones(1, 20, dtype=torch.float64), x),
        ob.gradient_autocorrelation,
    ],
    ids=["pairs", "second", "curve"],
)
def test_coherence_refuses_what_the_network_does_not_take(measure):
    net, x = network("shifted-fold"), torch.ones(1, 20, dtype=torch.float64)
    for bad, message in (
        (x.numpy(), "inputs must be a tensor, got ndarray"),
        (None, "inputs must be a tensor, got NoneType"),
        (x[:, :7], r"inputs must have the shape \(batch, 20\), got \(1, 7\)"),
        (x.float(), "inputs must have the network's dtype torch.float64, got torch.float32"),
        (x * torch.nan, "inputs must be finite, but hold nan or inf"),
    ):
        with pytest.raises(ValueError, match=message):
            measure(net, bad)


def test_coherence_needs_an_input():
    net, none = network("shifted-fold"), torch.empty(0, 20, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"inputs must be at least one, got the shape \(0, 20\)"):
        ob.gradient_coherence(net, none, none)
    with pytest.raises(ValueError, match=r"inputs must be at least one, got the shape \(0, 20\)"):
        ob.gradient_autocorrelation(net, none)


def test_no_inputs_have_no_singular_values():
    net, none = network("shifted-fold"), torch.empty(0, 20, dtype=torch.float64)
    assert ob.singular_value_range(net, none).shape == (0, 2)
