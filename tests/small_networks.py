"""Small networks of every registered architecture, by what kind of layer it has."""

import math

import torch

import orthobook as ob
from orthobook.layers.base import architectures, block
from orthobook.orthogonal import haar

IMAGES, RECTANGULAR = architectures("image"), architectures("rectangular")
EXACT = [name for name in architectures() if block(name).isometric]
EXACT_DENSE = [name for name in EXACT if name in architectures("square")]
EXACT_IMAGES = [name for name in EXACT if name in IMAGES]
BASELINES = [name for name in architectures() if name not in EXACT]
# folds that really happen, where an architecture's defaults leave few
OPTIONS = {
    "partial-fold": {"folds": 3, "threshold": 0.0},
    "modified-residual": {"folds": 3, "threshold": 0.0},
    "rotated-residual": {"folds": 3, "threshold": 0.0},
    "leaky-residual": {"threshold": 0.0},
    "conv-modified-residual": {"threshold": 0.0},
    "soft-threshold": {"threshold": 1.0},
}


def sizes(architecture, width=8, inputs=20):
    """Return what ``build`` needs besides the depth and the classes; the width is the next one that it takes."""
    if isinstance(inputs, tuple):
        return {"width": width, "inputs": inputs, "downsampling": 0}
    if architecture in IMAGES:
        height = next(h for h in range(math.isqrt(inputs), 0, -1) if inputs % h == 0)
        return {"width": 4, "inputs": (height, inputs // height), "downsampling": 0}
    return {"width": next(w for w in range(width, 2 * width + 1) if takes(architecture, w)), "inputs": inputs}


def takes(architecture, width):
    try:
        block(architecture).resolve(1, width)
    except ValueError:
        return False
    return True


def network(architecture, depth=3, width=8, dtype=torch.float64, inputs=20, classes=4, **options):
    size = sizes(architecture, width, inputs)
    return ob.build(architecture, depth=depth, classes=classes, dtype=dtype, device="cpu", **{**size, **options})


def scatter_(net, generator):
    """Draw new orthogonal parameters and biases, so that every layer folds at some inputs and not at others."""
    with torch.no_grad():
        for name, stack in net.trunk.items():
            if name in net.block.orthogonal:  # convolutions start with kernels that are all centre
                stack.copy_(haar(*stack.shape, generator=generator, dtype=net.dtype))
            elif name.endswith(("bias", "factor")):  # ReZero's factors start at 0, where its layers are the identity
                stack += 2 * torch.randn(stack.shape, generator=generator, dtype=torch.float64)
    return net


def deviation(net, generator, number=2):
    """Return max |σ − 1| of a network whose parameters have been scattered."""
    x = torch.randn(number, net.inputs, generator=generator, dtype=torch.float64).to(net.dtype)
    return (ob.singular_values(scatter_(net, generator), x) - 1).abs().max().item()
