"""What torch is told to make things on does not matter: every function says where its own things are."""

import dataclasses

import pytest
import torch
from small_networks import network

import orthobook as ob
from orthobook.theory import depth_budget, origami, subspaces


def results():
    """Return what the public functions make of small things on the CPU, as tensors."""
    x = torch.linspace(-2, 2, 60, dtype=torch.float64, device="cpu").reshape(3, 20)
    labels = torch.tensor([0, 1, 2], device="cpu")
    net, group = network("shifted-fold"), network("groupsort")
    small = ob.load("fashion-mnist-small")
    few = ob.Split(small.train.images[:64], small.train.labels[:64])
    data = dataclasses.replace(small, train=few, test=few)
    trained = ob.build("absolute", depth=2, width=4, inputs=784, classes=10, device="cpu")
    yield torch.tensor(
        [m.loss for m in ob.train(trained, data, ob.TrainingConfig(steps=3, batch_size=16))], device="cpu"
    )
    yield data.held_out(10)[1].images
    yield torch.tensor(ob.evaluate(trained, few).loss, device="cpu")
    yield ob.singular_values(net, x)
    yield ob.singular_value_range(net, x)
    yield ob.gradient_coherence(net, x, x.flip(0), probes=3).value
    yield ob.gradient_norms(net, x, labels)
    yield ob.persistent_subspace(net, x)
    yield ob.certified_radius(net, x, labels)
    yield ob.attack(net, x, labels, 0.5)
    yield ob.smallest_perturbation(net, x, labels, 3.0)
    yield torch.tensor(ob.is_orthogonal(net.trunk, net.embed(x).detach()).deviation, device="cpu")
    frames = (ob.haar(*shape, generator=torch.Generator().manual_seed(0)) for shape in ((6, 3), (6, 3), (3, 3)))
    layer = ob.compose(*frames, slopes=(1, -1))
    yield layer[0]
    yield ob.factorise(*layer, slopes=(1, -1)).R
    yield depth_budget.perturb_(network("linear"), 0.1, seed=1).trunk["weight"].detach()
    plane = ob.Trunk("groupsort", depth=2, width=2, size=2, dtype=torch.float64)
    sheet = origami.fold(plane)
    yield from (sheet.images, sheet.signs, origami.kawasaki(sheet))
    yield group(x).detach()
    yield subspaces.commutator_norm(torch.eye(3, device="cpu"), torch.eye(3, device="cpu"))


@pytest.mark.parametrize("device", ["meta"])  # which no machine lacks, and which holds no numbers
def test_a_default_device_changes_nothing(device):
    expected = list(results())
    with torch.device(device):
        found = list(results())
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
