"""Use the package with every annotation of a shape checked: a script for `test_shapes`, in a process of its own."""

import sys
from contextlib import suppress

from jaxtyping import install_import_hook

CHECKED = ["orthogonal", "layers", "framework", "networks", "data", "training"]
# Not those that yield, as the hook hides a generator from torch, nor those on NumPy arrays, of which some are numbers.
CHECKED += [f"theory.{name}" for name in ("certificates", "origami", "subspaces")]

with install_import_hook([f"orthobook.{name}" for name in CHECKED], "shape_checker.checked"):
    import torch
    from small_networks import network, scatter_
    from torch.nn import functional

    import orthobook as ob
    from orthobook.layers import images
    from orthobook.layers.base import architectures
    from orthobook.theory import certificates, mean_field, origami, subspaces


def every_layer(generator):
    """Send states, tangents and gradients through each kind of layer, one by one and all at once."""
    for architecture in architectures():
        net = scatter_(network(architecture), generator)
        x = torch.randn(5, net.inputs, generator=generator, dtype=torch.float64)
        state = net.embed(x)
        tangents = (
            torch.eye(state[0].numel(), dtype=torch.float64)
            .reshape(1, -1, *state.shape[1:])
            .repeat(5, 1, *[1] * (state.ndim - 1))
        )
        for layer in net.layers():
            state, tangents = net.block.push(state, tangents, **layer)
        net(x)
        functional.cross_entropy(net.training_logits(x), torch.arange(5) % 4).backward()
        net.orthogonality_penalty()
        net.retract_()
        with suppress(ValueError):  # a kind of layer that states no bound
            net.block.lipschitz({name: stack.detach() for name, stack in net.trunk.items()})


def the_rest(generator):
    """Use what is not a layer."""
    x = torch.randn(4, 9, 9, 3, generator=generator)
    images.convolve(x, torch.randn(5, 3, 3, 3, generator=generator), "zeros", torch.zeros(5))
    for architecture in ("partial-fold", "leaky-residual", "persistent-residual", "residual-layernorm", "zigzag"):
        with suppress(ValueError):  # one that is not piecewise affine
            origami.fold(ob.Trunk(architecture, depth=3, width=2, dtype=torch.float64))
    factors = ob.compose(
        ob.haar(6, 3, generator=generator),
        ob.haar(6, 3, generator=generator),
        ob.haar(3, 3, generator=generator),
        slopes=(1, -1),
    )
    ob.factorise(*factors, slopes=(1, -1))
    ob.is_orthogonal(network("absolute").trunk, torch.randn(10, 8, dtype=torch.float64, generator=generator))
    data = ob.load("fashion-mnist-small")
    for size in ({"width": 16}, {"width": 4}):
        name = "shifted-fold" if size["width"] == 16 else "conv-shifted-fold"
        net = ob.build(name, depth=3, inputs=data.image_shape, classes=10, device="cpu", **size)
        for mode in ("free", "penalised", "constrained"):
            list(ob.train(net, data, ob.TrainingConfig(mode=mode, steps=2, batch_size=8), progress=False))
        images_, labels = data.test.images[:6], data.test.labels[:6]
        ob.evaluate(net, data.test)
        certificates.certified_radius(net, images_, labels)
        certificates.attack(net, images_, labels, 0.5)
        certificates.smallest_perturbation(net, images_, labels, 1.0)
    mean_field.mean_field("partial-fold", depth=4, width=16, correlation=[0.1, 0.2])
    mean_field.threshold_for(10, 0.7)
    subspaces.commutator_norm(torch.eye(3), torch.eye(3))
    subspaces.persistent_subspace(network("persistent-residual"), torch.randn(2, 20, dtype=torch.float64))


if __name__ == "__main__":
    if "--wrong" in sys.argv:  # the negative control: a vector in place of a matrix
        ob.orthogonality_error(torch.eye(3)[0])
    generator = torch.Generator().manual_seed(0)
    every_layer(generator)
    the_rest(generator)
