"""Lipschitz bounds, certificates and attacks: against closed forms, against each other, and what they refuse."""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import BASELINES, EXACT, EXACT_DENSE, network, scatter_
from torch import nn
from torch.nn.utils import prune

import orthobook as ob
from orthobook.layers import activations
from orthobook.layers.base import architectures, reflection_bounds
from orthobook.layers.feedforward import Feedforward
from orthobook.layers.groups import MaxMin
from orthobook.theory import certificates

TOLERANCE = 1e-9  # what is subtracted for rounding in networks as small as these


def inputs(generator, number, size, dtype=torch.float64):
    return torch.randn(number, size, generator=generator, dtype=torch.float64).to(dtype)


def bound(net):
    """Return the Lipschitz bound, or None where the kind of layer states none."""
    try:
        return ob.lipschitz_bound(net)
    except ValueError:
        return None


def disturb_(net, generator, size):
    """Move the parameters off the Stiefel manifolds, each entry by about ``size``."""
    with torch.no_grad():
        for name in net.block.orthogonal:
            stack = net.trunk[name]
            stack += size * torch.randn(stack.shape, generator=generator, dtype=torch.float64).to(stack)
    return net


def straight(depth=6, n=12, classes=5, seed=0):
    """Return a linear network whose embedding is orthogonal, and all distances to the boundaries with other classes."""
    net = ob.build(
        "linear", depth=depth, width=n, inputs=n, classes=classes, seed=seed, dtype=torch.float64, device="cpu"
    )
    x = inputs(torch.Generator().manual_seed(seed), 100, n)
    with torch.no_grad():
        whole = net(torch.eye(n, dtype=torch.float64)) - net(torch.zeros(1, n, dtype=torch.float64))
        logits = net(x)
    labels = logits.argmax(1)
    lead = logits.gather(1, labels[:, None]) - logits
    normals = whole.mT[labels][:, None] - whole.mT[None]  # (images, classes, n)
    distances = lead / normals.norm(dim=2)
    return net, x, labels, distances.scatter(1, labels[:, None], torch.inf).amin(1)


# --- the trunk's Lipschitz bound ---


def test_what_states_a_bound():
    """Every isometric kind of layer, with its weights in check; none of the baselines that let their weights grow."""
    found = {name for name in architectures() if bound(network(name)) is not None}
    assert set(EXACT) <= found
    assert not found & {name for name in BASELINES if not network(name).block.orthogonal}


@pytest.mark.parametrize("architecture", EXACT)
def test_isometric_trunks_have_the_bound_one(architecture):
    net = network(architecture, depth=5)
    assert 1 <= ob.lipschitz_bound(net) <= 1 + 1e-9  # 5 layers of 1000 n ε, and some roundings of ε √n


@pytest.mark.parametrize("disturbance", [0.0, 0.03, 0.5])
@pytest.mark.parametrize("architecture", [name for name in architectures() if bound(network(name)) is not None])
def test_the_bound_holds_wherever_it_is_stated(architecture, disturbance, generator):
    """No singular value of the Jacobian is larger, and no distance grows by more, orthogonal or not."""
    net = disturb_(scatter_(network(architecture, depth=4), generator), generator, disturbance)
    x, y = inputs(generator, 2 * 30, net.inputs).chunk(2)
    Γ = ob.lipschitz_bound(net)
    assert ob.singular_values(net, x).max() <= Γ
    with torch.no_grad():
        start, end = (
            (net.embed(x) - net.embed(y)).flatten(1),
            (net.trunk(net.embed(x)) - net.trunk(net.embed(y))),
        )
    assert (end.flatten(1).norm(dim=1) <= Γ * start.norm(dim=1) * (1 + 1e-12)).all()
    assert disturbance == 0 or Γ > 1.01


@pytest.mark.parametrize(
    ("architecture", "factor"),
    [
        ("linear", lambda c: c),
        ("shifted-fold", lambda c: c),
        ("maxmin", lambda c: c),
        ("tanh-orthogonal", lambda c: c),
        ("modified-residual", lambda c: max(1, 2 * c**2 - 1)),
        ("rotated-residual", lambda c: c * max(1, 2 * c**2 - 1)),
        ("householder", lambda c: c * max(1, 2 * c**2 - 1)),
        ("leaky-residual", lambda c: max(1.1 / 0.9 - 0.2 / 0.9 * c**2, 2 / 0.9 * c**2 - 1.1 / 0.9)),
        ("conv-shifted-fold", lambda c: c * max(1, 2 * c**2 - 1) ** 4),
        ("conv-modified-residual", lambda c: max(1, 2 * (c * max(1, 2 * c**2 - 1) ** 4) ** 2 - 1)),
    ],
)
@pytest.mark.parametrize("c", [0.9, 1.0, 1.1])
def test_scaled_parameters_scale_the_bound(architecture, factor, c):
    net = network(architecture, depth=3)
    with torch.no_grad():
        for name in net.block.orthogonal:
            net.trunk[name].mul_(c)
    assert ob.lipschitz_bound(net) == pytest.approx(factor(c) ** 3, rel=1e-9)


@pytest.mark.parametrize(("architecture", "options"), [("modified-residual", {"folds": 8}), ("leaky-residual", {})])
def test_bounds_of_reflections_are_attained(architecture, options):
    """With every unit active the layer is a multiple of the identity, and the bound is its modulus."""
    net = network(architecture, depth=1, **options)
    with torch.no_grad():
        net.trunk["frame"].mul_(1.2)
        net.trunk["bias"].fill_(1e3)
    attained = ob.singular_values(net, torch.zeros(1, net.inputs, dtype=torch.float64)).max().item()
    assert ob.lipschitz_bound(net) == pytest.approx(attained, rel=1e-9)


def test_a_frame_without_columns_reflects_nothing():
    assert torch.equal(reflection_bounds(torch.zeros(3, 4, 0)), torch.ones(3))
    assert ob.lipschitz_bound(network("modified-residual", folds=0)) == pytest.approx(1, abs=1e-9)


def test_errors_add_up_over_depth(generator):
    """In float32 the bound exceeds 1 by the orthogonality error of all layers, and by no more."""
    net = network("shifted-fold", depth=50, width=16, dtype=torch.float32)
    assert 0 < ob.lipschitz_bound(net) - 1 <= 50 * net.orthogonality_error() + 1e-8


def test_a_subclass_that_does_something_else_inherits_no_bound():
    @dataclass(frozen=True, kw_only=True)
    class Doubled(MaxMin):
        def bend(self, z):
            return 2 * super().bend(z)

    @dataclass(frozen=True, kw_only=True)
    class Same(MaxMin):
        pass

    @dataclass(frozen=True, kw_only=True)
    class Stated(Doubled):
        def lipschitz(self, stacks):
            return 2 * MaxMin.lipschitz(self, stacks)

    nets = [ob.build(kind(), depth=3, width=4, inputs=5, classes=2) for kind in (Doubled, Same, Stated)]
    with pytest.raises(ValueError, match="Doubled layers state no Lipschitz bound"):
        ob.lipschitz_bound(nets[0])
    assert [ob.lipschitz_bound(net) for net in nets[1:]] == [pytest.approx(1, rel=1e-5), pytest.approx(8, rel=1e-5)]


def test_an_activation_without_a_stated_slope_has_no_bound():
    @dataclass(frozen=True, kw_only=True)
    class Smooth(Feedforward):
        activation = activations.Activation("softplus", nn.functional.softplus, torch.sigmoid)

    net = ob.build(Smooth(), depth=2, width=3, inputs=4, classes=2)
    with pytest.raises(ValueError, match="the trunk of Smooth has no proven Lipschitz bound: Smooth layers state no"):
        ob.lipschitz_bound(net)


@pytest.mark.parametrize("architecture", ["relu-he", "relu-orthogonal", "residual", "rezero", "residual-layernorm"])
def test_baselines_are_refused(architecture):
    net = network(architecture)
    with pytest.raises(ValueError, match=rf"the trunk of {architecture} has no proven Lipschitz bound"):
        ob.certified_radius(net, torch.zeros(1, net.inputs, dtype=torch.float64))


def test_an_unknown_embedding_is_refused():
    net = network("linear")
    net.embedding = nn.Sequential(net.embedding, nn.Tanh())
    with pytest.raises(ValueError, match="the embedding Sequential has no proven Lipschitz bound"):
        ob.certified_radius(net, torch.zeros(1, net.inputs, dtype=torch.float64))


class Wrapped(nn.Linear):
    def forward(self, x):
        return super().forward(3 * x)


class Louder(ob.DeepNetwork):
    def forward(self, x):
        return 2 * super().forward(x) + 1


@pytest.mark.parametrize("part", ["embedding", "classifier"])
def test_a_linear_map_that_does_something_else_is_refused(part):
    """It has a weight of known norm, but its output is another: a certificate would be false."""
    net, x = network("linear"), torch.zeros(1, 20, dtype=torch.float64)
    known = getattr(net, part)
    setattr(net, part, other := Wrapped(known.in_features, known.out_features, dtype=torch.float64))
    other.load_state_dict(known.state_dict())
    with pytest.raises(ValueError, match=f"the {part} Wrapped has no proven Lipschitz bound"):
        ob.certified_radius(net, x)
    setattr(net, part, known)
    known.forward = lambda x: 3 * nn.Linear.forward(known, x)
    with pytest.raises(ValueError, match=f"the {part} Linear has a forward of its own"):
        ob.certified_radius(net, x)


def hook(module, arguments, output=None):
    return None


WAYS = {
    "a hook of the network": lambda net: net.register_forward_hook(hook),
    "a hook of the embedding": lambda net: net.embedding.register_forward_hook(hook),
    "a hook of the trunk": lambda net: net.trunk.register_forward_pre_hook(hook),
    "pruning": lambda net: prune.random_unstructured(net.embedding, "weight", 0.5),
    "a method of its own": lambda net: setattr(net, "embed", lambda x: 3 * net.embedding(x)),
    "a trunk's method of its own": lambda net: setattr(net.trunk, "forward", lambda x: 3 * x),
    "another trunk": lambda net: setattr(net, "trunk", nn.Sequential(net.trunk, nn.Tanh())),
    "a trunk's subclass": lambda net: setattr(net.trunk, "__class__", type("Other", (ob.Trunk,), {})),
    "a subclass": lambda net: setattr(net, "__class__", type("Other", (ob.DeepNetwork,), {"embed": lambda net, x: x})),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_network_that_may_compute_something_else_is_refused(way):
    net = network("linear")
    WAYS[way](net)
    with pytest.raises(ValueError, match="Lipschitz bound"):
        ob.certified_radius(net, torch.zeros(1, 20, dtype=torch.float64))
    with pytest.raises(ValueError, match="Lipschitz bound"):
        ob.lipschitz_bound(net)


def test_a_hook_of_all_modules_is_refused():
    net = network("linear")
    handle = nn.modules.module.register_module_forward_hook(hook)
    try:
        with pytest.raises(ValueError, match="forward hooks for all modules"):
            ob.lipschitz_bound(net)
    finally:
        handle.remove()


@pytest.mark.parametrize("part", ["embedding", "classifier", "trunk"])
def test_parametrised_weights_count_as_they_are(part, generator):
    """The same numbers as for a network that has what the parametrisation makes as its plain weights."""
    plain, x = network("linear"), inputs(generator, 6, 20)
    net = network("linear")
    nn.utils.parametrize.register_parametrization(getattr(net, part), "weight", Tripled())
    with torch.no_grad():
        weight = plain.trunk["weight"] if part == "trunk" else getattr(plain, part).weight
        weight *= 3
    assert torch.equal(ob.certified_radius(net, x), ob.certified_radius(plain, x))
    assert ob.lipschitz_bound(net) == ob.lipschitz_bound(plain)
    assert nn.utils.parametrize.is_parametrized(getattr(net, part))


class Tripled(nn.Module):
    def forward(self, weight):
        return 3 * weight


def test_orthogonal_parametrisation_of_the_embedding_has_a_certificate(generator):
    net, x = network("linear"), inputs(generator, 6, 20)
    nn.utils.parametrizations.orthogonal(net.embedding)
    radius = ob.certified_radius(net, x)
    labels = net(x).argmax(1)
    change = ob.attack(net, x, labels, 0.999 * radius, steps=40)
    assert (radius > 0).all()
    assert torch.equal(net(x + change).argmax(1), labels)


def test_attacks_work_in_inference_mode(generator):
    outside, x = network("shifted-fold"), inputs(generator, 6, 20)
    labels = outside(x).argmax(1)
    expected = ob.attack(outside, x, labels, 0.3), ob.smallest_perturbation(outside, x, labels, 3.0)
    with torch.inference_mode():
        for net in (outside, network("shifted-fold")):
            found = (
                ob.attack(net, x.clone(), labels.clone(), 0.3),
                ob.smallest_perturbation(net, x.clone(), labels.clone(), 3.0),
            )
            for one, other in zip(found, expected, strict=True):
                torch.testing.assert_close(one, other)


def test_a_network_that_does_something_else_is_refused():
    net = network("linear")
    net.__class__ = Louder
    with pytest.raises(ValueError, match="the network Louder has no proven Lipschitz bound"):
        ob.certified_radius(net, torch.zeros(1, 20, dtype=torch.float64))


def calls(net):
    """Return the public functions, each ready to be called with the network."""
    x, labels = torch.zeros(1, 20, dtype=torch.float64), torch.tensor([0])
    return (
        lambda: ob.certified_radius(net, x),
        lambda: ob.lipschitz_bound(net),
        lambda: ob.attack(net, x, labels, 1.0),
        lambda: ob.smallest_perturbation(net, x, labels, 1.0),
    )


@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize("part", ["embedding.bias", "trunk.weight", "classifier.weight"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_parameters_that_are_not_finite_are_refused(index, part, value):
    net = network("linear")
    net.get_parameter(part).data[..., 0] = value
    with pytest.raises(ValueError, match="the network's parameters must be finite"):
        calls(net)[index]()


@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize("net", [None, "linear", nn.Linear(20, 4)])
def test_what_is_no_deep_network_is_refused(index, net):
    with pytest.raises(ValueError, match=r"net must be a DeepNetwork, as ob.build returns, got"):
        calls(net)[index]()


# --- certificates ---


@pytest.mark.parametrize("seed", range(3))
def test_the_certificate_of_a_linear_network_is_the_distance_to_the_boundary(seed):
    net, x, _, distance = straight(seed=seed)
    radius = ob.certified_radius(net, x)
    assert (radius <= distance).all()
    torch.testing.assert_close(radius, distance, rtol=1e-6, atol=TOLERANCE)


def test_an_inflated_certificate_is_broken():
    """The control: one per mille more than the certificate is too much for a linear network, one less is not."""
    net, x, labels, _ = straight()
    radius = ob.certified_radius(net, x)
    for factor, broken in ((0.999, False), (1.001, True)):
        change = ob.attack(net, x, labels, factor * radius, restarts=1)
        assert torch.equal(net(x + change).argmax(1) != labels, torch.full((100,), broken))


@settings(max_examples=25)
@given(
    architecture=st.sampled_from([*EXACT_DENSE, "tanh-orthogonal", "conv-shifted-fold", "conv-modified-residual"]),
    depth=st.integers(1, 6),
    seed=st.integers(0, 1000),
    steps=st.sampled_from([0, 15]),
    disturbance=st.sampled_from([0.0, 0.02]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_no_attack_contradicts_a_certificate(architecture, depth, seed, steps, disturbance, dtype):
    """Trained or not, orthogonal or not: whatever the attack finds is farther away than the certified radius."""
    generator = torch.Generator().manual_seed(seed)
    net = scatter_(network(architecture, depth=depth, dtype=dtype, seed=seed), generator)
    x = inputs(generator, 40, net.inputs, dtype)
    split = ob.Split(x, torch.randint(net.classes, (40,), generator=generator))
    data = ob.Dataset("noise", split, split, ("a", "b", "c", "d"), image_shape=(net.inputs,))
    if steps:
        config = ob.TrainingConfig(steps=steps, batch_size=20, learning_rate=1e-2)
        list(ob.train(net, data, config, progress=False))
    disturb_(net, generator, disturbance)
    exact = certificates.in_float64(net)
    labels = exact(x.double()).argmax(1)
    radius = ob.certified_radius(net, x)
    assert (radius > 0).all()
    limit = 3 * radius.max().item()
    assert (ob.smallest_perturbation(net, x, labels, limit, rounds=4, steps=5) > radius).all()
    change = ob.attack(net, x, labels, radius, steps=5).double()
    assert (change.norm(dim=1) <= radius).all()
    assert torch.equal(exact(x.double() + change).argmax(1), labels)


def test_a_scaled_classifier_or_embedding_changes_nothing_or_everything(generator):
    """Logits twice as large give the same radius; an embedding twice as large, on the same states, half of it."""
    net, x, _, _ = straight()
    before = ob.certified_radius(net, x)
    with torch.no_grad():
        net.classifier.weight.mul_(2)
        net.classifier.bias.mul_(2)
    torch.testing.assert_close(ob.certified_radius(net, x), before, rtol=1e-6, atol=TOLERANCE)
    with torch.no_grad():
        net.embedding.weight.mul_(2)
    torch.testing.assert_close(ob.certified_radius(net, x / 2), before / 2, rtol=1e-6, atol=TOLERANCE)


def test_drift_off_orthogonality_shortens_the_radius():
    net, x, _, _ = straight(depth=4)
    before = ob.certified_radius(net, x)
    with torch.no_grad():
        net.trunk["weight"][2].mul_(1.25)
        net.trunk["weight"][3].div_(1.25)
    net.trunk["weight"].data[3].mul_(1.25)  # logits 1.25 times as far apart, and a bound 1.25 times as large
    torch.testing.assert_close(ob.certified_radius(net, x), before, rtol=1e-6, atol=TOLERANCE)
    with torch.no_grad():
        left, _, right = torch.linalg.svd(net.trunk["weight"][0])
        stretched = torch.ones(12, dtype=torch.float64)
        stretched[0] = 3
        net.trunk["weight"][0] = left * stretched @ right
    assert ob.lipschitz_bound(net) == pytest.approx(3 * 1.25, rel=1e-9)
    lead = net(x).topk(2).values
    apart = torch.pdist(net.classifier.weight).min()
    assert (ob.certified_radius(net, x) <= (lead[:, 0] - lead[:, 1]) / (3 * 1.25 * apart)).all()


def test_wrong_predictions_have_the_radius_zero(generator):
    net = network("shifted-fold")
    x = inputs(generator, 50, net.inputs)
    labels = torch.arange(50) % net.classes
    right = net(x).argmax(1) == labels
    radius = ob.certified_radius(net, x, labels)
    assert 0 < right.sum() < 50
    assert torch.equal(radius[right], ob.certified_radius(net, x)[right])
    assert (radius[~right] == 0).all()


def test_equal_rows_and_a_single_class_cannot_be_told_apart(generator):
    net = network("maxmin", classes=2)
    x = inputs(generator, 5, net.inputs)
    with torch.no_grad():
        net.classifier.weight[1] = net.classifier.weight[0]
        net.classifier.bias[0] = 1
    assert (ob.certified_radius(net, x) == torch.inf).all()
    assert (ob.certified_radius(network("maxmin", classes=1), x) == torch.inf).all()
    with torch.no_grad():
        net.classifier.bias.zero_()
    assert (ob.certified_radius(net, x) == 0).all()


def test_parameters_in_float32_are_certified_as_they_are(generator):
    net = network("shifted-fold", dtype=torch.float32)
    x = inputs(generator, 20, net.inputs, torch.float32)
    before = {name: parameter.clone() for name, parameter in net.named_parameters()}
    radius = ob.certified_radius(net, x)
    assert radius.dtype == torch.float64
    assert all(torch.equal(parameter, before[name]) for name, parameter in net.named_parameters())
    torch.testing.assert_close(radius, ob.certified_radius(net.double(), x.double()), rtol=1e-12, atol=0)


@pytest.mark.skipif(np.finfo(np.longdouble).eps > 1e-18, reason="no longer numbers than float64 here")
@pytest.mark.parametrize("depth", [1, 50])
def test_rounding_is_allowed_for(depth, generator):
    """The logits in float64 differ from those in 80-bit numbers by less than is subtracted, which is not felt."""
    net = scatter_(network("shifted-fold", depth=depth, width=16), generator)
    x = inputs(generator, 20, net.inputs)
    long = {name: p.detach().numpy().astype(np.longdouble) for name, p in net.named_parameters()}
    state = x.numpy().astype(np.longdouble) @ long["embedding.weight"].T + long["embedding.bias"]
    for weight, bias in zip(long["trunk.weight"], long["trunk.bias"], strict=True):
        state = abs(state @ weight.T + bias) - net.block.threshold
    exact = state @ long["classifier.weight"].T + long["classifier.bias"]
    logits, size = certificates._logits(net, x)
    bounds, moved = certificates.layer_bounds(net), torch.zeros(20, dtype=torch.float64)
    allowed = certificates._rounding(net, bounds, x, size, moved)
    error = 2 * torch.from_numpy(abs(exact - logits.numpy()).max(axis=1).astype(float))
    assert (error > 0).any()
    assert (error < allowed).all()
    assert (allowed < 1e-7).all()


def exact_leads(net, x, labels):
    """Return the smallest lead of the labels, computed in fractions: a layer is Wx + b and then, if at all, |·| − τ."""

    def fractions(tensor):
        return np.vectorize(Fraction, otypes=[object])(tensor.detach().double().numpy())

    state = fractions(x) @ fractions(net.embedding.weight).T + fractions(net.embedding.bias)
    for weight, bias in zip(net.trunk["weight"], net.trunk["bias"], strict=True):
        state = state @ fractions(weight).T + fractions(bias)
        if net.architecture == "shifted-fold":
            state = abs(state) - Fraction(net.block.threshold)
    logits = state @ fractions(net.classifier.weight).T + fractions(net.classifier.bias)
    return [row[label] - max(np.delete(row, label)) for row, label in zip(logits, labels.tolist(), strict=True)]


def refuted(net, x, number=30):
    """Return how many certificates the straightest change within their radius refutes, in exact arithmetic.

    At most ``number`` of those that are positive are tried. The change is that of an attack or, where the logits'
    leads have lost their digits, none at all: the prediction at x may be wrong already.
    """
    radius = ob.certified_radius(net, x)
    labels = certificates.in_float64(net)(x.double()).argmax(1)
    tried = (radius > 0).nonzero().squeeze(1)[:number]
    x, labels, radius = x[tried], labels[tried], radius[tried]
    if not len(x):
        return 0
    change = ob.attack(net, x, labels, 0.999 * radius, restarts=1)
    leads = exact_leads(net, torch.cat((x, x + change)), labels.repeat(2))
    return sum(here <= 0 or there < 0 for here, there in zip(leads[: len(x)], leads[len(x) :], strict=True))


def wide(architecture="linear", **options):
    return ob.build(architecture, depth=3, width=16, inputs=40, classes=5, dtype=torch.float64, device="cpu", **options)


def test_rounding_by_a_large_bias_of_the_classifier_breaks_no_certificate(generator):
    net, x = wide(), inputs(generator, 30, 40)
    net.classifier.bias.data += 2.0**52
    assert refuted(net, x) == 0
    net.classifier.bias.data -= 2.0**52
    assert (ob.certified_radius(net, x) > 0).all()


def test_rounding_of_long_inputs_that_the_embedding_drops_breaks_no_certificate(generator):
    net, x = wide(), inputs(generator, 30, 40)
    E = net.embedding.weight.detach()
    dropped = torch.linalg.svd(E).Vh[16:]
    far = x + 1e15 * inputs(generator, 30, 24) @ dropped
    assert refuted(net, far) == 0
    assert refuted(net, x) == 0


def test_rounding_by_a_large_bias_of_the_embedding_breaks_no_certificate(generator):
    """The first layer takes the bias away again, so that the states from there on are short."""
    net, x = wide(), inputs(generator, 30, 40)
    net.embedding.bias.data += 2.0**50
    net.trunk["bias"].data[0] -= net.trunk["weight"].detach()[0] @ net.embedding.bias.detach()
    assert refuted(net, x) == 0


def test_rounding_by_a_large_constant_of_the_activation_breaks_no_certificate(generator):
    """A triangle wave is the identity on short states, but is computed with a quarter of its period added."""
    net, x = wide("zigzag", period=2.0**53), inputs(generator, 30, 40)
    assert refuted(net, x) == 0


@pytest.mark.parametrize("slope", [0.0, 0.9, 1 - 1e-9])
def test_terms_that_cancel_within_a_layer_are_allowed_for(slope, generator):
    """A leaky residual layer adds terms 2/(1 − a) times as long as its state: the same layers in 80-bit numbers."""
    if np.finfo(np.longdouble).eps > 1e-18:
        pytest.skip("no longer numbers than float64 here")
    net, x = wide("leaky-residual", slope=slope), inputs(generator, 20, 40)
    logits, size = certificates._logits(net, x)
    long = {name: p.detach().numpy().astype(np.longdouble) for name, p in net.named_parameters()}
    state = x.numpy().astype(np.longdouble) @ long["embedding.weight"].T + long["embedding.bias"]
    a = np.longdouble(slope)
    for V, b in zip(long["trunk.frame"], long["trunk.bias"], strict=True):
        z = state @ V + b
        units = np.where(z < 0, a * z, z) + np.longdouble(net.block.slope * net.block.threshold)
        state = (1 + a) / (1 - a) * state - 2 / (1 - a) * units @ V.T
    exact = state @ long["classifier.weight"].T + long["classifier.bias"]
    bounds, moved = certificates.layer_bounds(net), torch.zeros(20, dtype=torch.float64)
    allowed = certificates._rounding(net, bounds, x, size, moved)
    assert (torch.from_numpy(2 * abs(exact - logits.numpy()).max(axis=1).astype(float)) < allowed).all()


def test_rounding_costs_an_ordinary_network_a_millionth_of_its_radius_at_most():
    data = ob.load("fashion-mnist-small")
    net = ob.build("shifted-fold", depth=100, width=64, inputs=784, classes=10, dtype=torch.float64, device="cpu")
    x = data.test.images[:50].double()
    with torch.no_grad():
        logits, rows = net(x), net.classifier.weight
        y = logits.argmax(1)
        apart = (rows[:, None] - rows).norm(dim=2)[y]
        lead = (logits.gather(1, y[:, None]) - logits) / apart
    whole = lead.scatter(1, y[:, None], torch.inf).amin(1) / torch.linalg.matrix_norm(net.embedding.weight.data, 2)
    radius = ob.certified_radius(net, x)
    assert (radius <= whole).all()
    torch.testing.assert_close(radius, whole, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("part", ["trunk", "embedding", "classifier"])
@pytest.mark.parametrize("factor", [0.0, 1e-200, 1e200])
def test_no_radius_is_nan(part, factor, generator):
    """Γ, ‖E‖ or logits that are 0, underflow or overflow: a radius is 0, or holds for changes of that length."""
    net, x = wide(), inputs(generator, 10, 40)
    tensors = {"trunk": net.trunk["weight"], "embedding": net.embedding.weight, "classifier": net.classifier.weight}
    tensors[part].data.mul_(factor)
    radius = ob.certified_radius(net, x)
    assert (radius >= 0).all()
    net.classifier.bias.data[2] = 1
    radius = ob.certified_radius(net, x)
    assert (radius >= 0).all()
    labels = net(x).argmax(1)
    moved = radius.clamp(max=1e100)[:, None] * inputs(generator, 10, 40) / 40
    assert torch.equal(net(x + moved).argmax(1)[radius > 0], labels[radius > 0])
    assert ob.lipschitz_bound(net) >= 0


def test_a_product_of_bounds_is_rounded_up_where_it_underflows():
    net = wide()
    for layer, factor in enumerate((1e-200, 1e-200, 1e300)):
        net.trunk["weight"].data[layer] *= factor
    assert ob.lipschitz_bound(net) >= 0.999e-100
    for layer, factor in enumerate((1e300, 1e300, 0.0)):
        net.trunk["weight"].data[layer] = factor * torch.eye(16, dtype=torch.float64)
    assert ob.lipschitz_bound(net) >= 0


# --- attacks ---


@pytest.mark.parametrize("seed", range(3))
def test_the_shortest_change_of_a_linear_network_is_found(seed):
    """To within 1 % of the exact distance, from above."""
    net, x, labels, distance = straight(seed=seed)
    found = ob.smallest_perturbation(net, x, labels, 10.0, rounds=12)
    assert (found >= distance * (1 - 1e-9)).all()
    assert (found <= 1.01 * distance).all()


def test_an_attack_goes_straight_for_the_boundary():
    net, x, labels, distance = straight()
    change = ob.attack(net, x, labels, 2 * distance, restarts=1)
    lead = net(x + change).gather(1, labels[:, None]).squeeze(1)
    assert (lead < net(x + change).amax(1)).all()
    torch.testing.assert_close(change.norm(dim=1), 2 * distance, rtol=1e-6, atol=0)


def test_more_starts_and_longer_changes_never_do_worse(generator):
    net = scatter_(network("shifted-fold", depth=5), generator)
    x, labels = inputs(generator, 30, net.inputs), torch.arange(30) % 4

    def lead(radius, restarts):
        logits = net(x + ob.attack(net, x, labels, radius, restarts=restarts))
        own = logits.gather(1, labels[:, None]).squeeze(1)
        return own - logits.scatter(1, labels[:, None], -torch.inf).amax(1)

    one, three = lead(0.5, 1), lead(0.5, 3)
    assert (three <= one + 1e-12).all()
    assert (three < one - 1e-6).any()
    assert (one <= lead(0.0, 1) + 1e-12).all()
    torch.testing.assert_close(lead(0.0, 1), lead(0.0, 2))


def test_an_attack_stays_in_ball_and_box_and_repeats_itself(precision, generator):
    net = network("modified-residual", dtype=precision.dtype)
    x = inputs(generator, 30, net.inputs, precision.dtype).clamp(-1, 1)
    labels, radius = torch.arange(30) % 4, torch.linspace(0, 3, 30, dtype=torch.float64)
    change = ob.attack(net, x, labels, radius, box=(-1, 1))
    assert (change.double().norm(dim=1) <= radius).all()
    assert (x + change).abs().max() <= 1
    assert torch.equal(change, ob.attack(net, x, labels, radius, box=(-1, 1)))
    assert not torch.equal(change, ob.attack(net, x, labels, radius, box=(-1, 1), seed=1))
    assert (ob.attack(net, x, labels, radius) + x).abs().max() > 1


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1.0])
def test_a_box_makes_no_change_longer_than_the_radius(scale, precision, generator):
    """Not by a rounding either, also where the change is short beside the input; nor does rounding leave the box."""
    net = network("shifted-fold", dtype=precision.dtype)
    low, high = -0.81, 2.0199999
    x = inputs(generator, 200, net.inputs, precision.dtype).clamp(low, high)
    radius = scale * torch.linspace(0, 3, 200, dtype=torch.float64)
    change = ob.attack(net, x, torch.arange(200) % 4, radius, box=(low, high), steps=5)
    assert (change.double().norm(dim=1) <= radius).all()
    assert ((x + change) >= low).all()
    assert ((x + change) <= high).all()
    # A change below the rounding of the logits may not move them, and then none is as good as any.
    assert scale < torch.finfo(precision.dtype).eps or (change.double().norm(dim=1) > 0.5 * radius).any()


def test_what_is_wrong_already_needs_no_change_and_what_is_far_is_not_found():
    net, x, labels, distance = straight()
    wrong = (labels + 1) % 5
    assert (ob.smallest_perturbation(net, x, wrong, 1.0, rounds=1) == 0).all()
    found = ob.smallest_perturbation(net, x, labels, distance.min().item() / 2)
    assert (found == torch.inf).all()


def test_attacks_leave_the_network_alone(generator):
    net = network("residual")
    net.requires_grad_(False)
    x = inputs(generator, 3, net.inputs)
    with torch.no_grad():
        ob.attack(net, x, torch.tensor([0, 1, 2]), 1.0)
    assert all(parameter.grad is None for parameter in net.parameters())


# --- bad arguments ---


@pytest.mark.parametrize("radius", [math.nan, math.inf, -0.1, torch.tensor([0.1, math.nan, 1.0])])
def test_bad_radii_are_named(radius, generator):
    net = network("linear")
    with pytest.raises(ValueError, match=r"radius must be at least 0 and finite, got (nan|inf|-0.1)"):
        ob.attack(net, inputs(generator, 3, net.inputs), torch.tensor([0, 1, 2]), radius)


@pytest.mark.parametrize("radius", ["a", None, True, [1.0, 1.0, 1.0], 1j, torch.tensor([True, True, False])])
def test_radii_that_are_no_numbers_are_named(radius, generator):
    net = network("linear")
    with pytest.raises(ValueError, match=r"radius must be a number or 3 numbers, got ") as error:
        ob.attack(net, inputs(generator, 3, net.inputs), torch.tensor([0, 1, 2]), radius)
    assert repr(radius) in str(error.value)


@pytest.mark.parametrize(
    "box", [5, (-9, 9, 3), "ab", (1, 0), (0, math.nan), (True, 2), (torch.zeros(20), torch.ones(20)), (None, 1)]
)
def test_bad_boxes_are_named(box, generator):
    net, x, labels = network("linear"), torch.zeros(3, 20, dtype=torch.float64), torch.tensor([0, 1, 2])
    for search in (ob.attack, ob.smallest_perturbation):
        with pytest.raises(ValueError, match=r"box must be two numbers, low <= high, got ") as error:
            search(net, x, labels, 1.0, box=box)
        assert repr(box) in str(error.value)


def test_numbers_may_be_tensors_or_of_numpy(generator):
    net, x, labels, _ = straight()
    expected = ob.smallest_perturbation(net, x, labels, 3.0, rounds=2, box=(-9.0, 9.0))
    limit, box = torch.tensor(3.0), (np.float64(-9), torch.tensor(9))
    assert torch.equal(ob.smallest_perturbation(net, x, labels, limit, rounds=2, box=box), expected)
    change = ob.attack(net, x, labels, torch.tensor(2), steps=2, box=list(box))
    assert torch.equal(change, ob.attack(net, x, labels, np.float32(2), steps=2, box=box))


def test_networks_that_halve_their_images_are_certified_and_attacked(generator):
    net = ob.build("conv-shifted-fold", depth=2, width=4, inputs=(8, 8), classes=3, dtype=torch.float64, device="cpu")
    x = inputs(generator, 10, 64)
    labels, radius = net(x).argmax(1), ob.certified_radius(net, x)
    assert (radius > 0).all()
    assert (ob.smallest_perturbation(net, x, labels, 3 * radius.max()) > radius).all()


def test_linear_maps_without_biases_are_those_with_biases_of_zero(generator):
    net, x = wide(), inputs(generator, 10, 40)
    expected = ob.certified_radius(net, x)
    net.embedding.bias = net.classifier.bias = None
    assert torch.equal(ob.certified_radius(net, x), expected)


def test_no_inputs_give_no_radii():
    net, x, labels, _ = straight()
    none = x[:0], labels[:0]
    assert ob.certified_radius(net, *none).shape == (0,)
    assert ob.attack(net, *none, 1.0, box=(-1, 1)).shape == (0, 12)
    assert ob.smallest_perturbation(net, *none, 1.0).shape == (0,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": torch.tensor([0, 1, 4])}, r"labels must lie in 0 … 3, got 0 … 4"),
        ({"labels": torch.tensor([0, 1])}, r"labels must be 3 numbers of torch.int64, got \(2,\) of torch.int64"),
        ({"labels": [0, 1, 2]}, r"labels must be 3 numbers of torch.int64, got \[0, 1, 2\]"),
        ({"x": torch.zeros(3, 7, dtype=torch.float64)}, r"inputs must have the shape \(batch, 20\)"),
        ({"x": torch.zeros(3, 20)}, "inputs must have the network's dtype torch.float64"),
        ({"x": torch.full((3, 20), math.nan, dtype=torch.float64)}, "inputs must be finite"),
        ({"radius": torch.ones(2)}, r"radius must be a number or 3 numbers, got the shape \(2,\)"),
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        ({"restarts": 0}, "restarts must be a whole number of at least 1, got 0"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"box": (0.5, 1.0)}, r"inputs must lie in the box \(0.5, 1.0\), got 0.0 … 0.0"),
    ],
)
def test_bad_arguments_are_named(change, message):
    net = network("linear")
    given = {"x": torch.zeros(3, 20, dtype=torch.float64), "labels": torch.tensor([0, 1, 2]), "radius": 1.0}
    with pytest.raises(ValueError, match=message):
        ob.attack(net, **given | change)
    if "labels" in change or "x" in change:
        with pytest.raises(ValueError, match=message):
            ob.certified_radius(net, *({**given, **change}[name] for name in ("x", "labels")))


def test_bad_arguments_of_the_search_are_named():
    net, x, labels, _ = straight()
    with pytest.raises(ValueError, match="limit must be a positive finite number, got 0"):
        ob.smallest_perturbation(net, x, labels, 0)
    with pytest.raises(ValueError, match="rounds must be a whole number of at least 1, got 0"):
        ob.smallest_perturbation(net, x, labels, 1.0, rounds=0)
    with pytest.raises(ValueError, match="an attack needs at least 2 classes, got 1"):
        ob.attack(network("linear", classes=1), torch.zeros(1, 20, dtype=torch.float64), torch.tensor([0]), 1.0)
