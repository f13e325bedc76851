"""The same network in other ways: plain torch, and with weights kept orthogonal by other libraries.

Every peer gets the parameters of the network that it stands beside, and is written as fast as we know how: fused Adam
where it may be used, and both ways of holding the weights, as a list of layers, as its users do, and as one stack.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from itertools import cycle
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

import orthobook as ob

MAPS = ("cayley", "matrix_exp", "householder")


class Layer(nn.Module):
    """One layer of a network as a module with parameters of its own."""

    def __init__(self, block: ob.Block, parameters: dict[str, Tensor]) -> None:
        super().__init__()
        self.block = block
        self.own = nn.ParameterDict({name: nn.Parameter(value.detach().clone()) for name, value in parameters.items()})

    def forward(self, x: Tensor) -> Tensor:
        return self.block.forward(x, **self.own)


class Fold(nn.Module):
    """An activation of orthobook as a module."""

    def __init__(self, activation: ob.activations.Activation) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, z: Tensor) -> Tensor:
        return self.activation(z)


class Stack(nn.Module):
    """Feedforward layers whose weights are one tensor, so that they can be parametrised at once."""

    def __init__(self, net: ob.DeepNetwork) -> None:
        super().__init__()
        self.activation = net.block.activation
        self.weight = nn.Parameter(net.trunk["weight"].detach().clone())
        self.bias = nn.Parameter(net.trunk["bias"].detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        for weight, bias in zip(self.weight.unbind(), self.bias.unbind(), strict=True):
            x = self.activation(functional.linear(x, weight, bias))
        return x


def layer_by_layer(net: ob.DeepNetwork) -> nn.Sequential:
    """Return a network of any architecture as a list of modules."""
    layers = [Layer(net.block, dict(layer)) for layer in net.layers()]
    return nn.Sequential(net.embedding, *layers, nn.Flatten(), net.classifier)


def sequential(net: ob.DeepNetwork, orthogonal_map: str | None = None) -> nn.Sequential:
    """Return a feedforward network as ``nn.Linear`` and activations, its weights parametrised if a map is named.

    The map is one of torch's, or of geotorch's, as ``geotorch cayley``.
    """
    layers: list[nn.Module] = []
    for layer in net.layers():
        linear = nn.Linear(net.width, net.width)
        linear.load_state_dict(layer)
        if orthogonal_map is not None:
            parametrise(linear, orthogonal_map)
        layers += [linear, Fold(net.block.activation)]
    return nn.Sequential(net.embedding, *layers, net.classifier)


def stacked(net: ob.DeepNetwork, orthogonal_map: str | None = None) -> nn.Sequential:
    """Return a feedforward network whose weights are one tensor, parametrised at once if a map is named."""
    stack = Stack(net)
    if orthogonal_map is not None:
        parametrise(stack, orthogonal_map)
    return nn.Sequential(net.embedding, stack, net.classifier)


def parametrise(module: nn.Module, orthogonal_map: str) -> None:
    """Keep a module's weight orthogonal by a map of torch's or geotorch's; its value stays as it is."""
    library, _, name = orthogonal_map.rpartition(" ")
    if library:
        weight = module.weight.detach().clone()
        geotorch = importlib.import_module("geotorch")
        geotorch.orthogonal(module, "weight", triv={"cayley": "cayley", "expm": "expm"}[name])
        module.weight = weight
    else:
        parametrizations.orthogonal(module, orthogonal_map=name)


def installed(library: str) -> ModuleType | None:
    """Return an optional library, or None where it is not installed: `pip install geotorch geoopt`."""
    try:
        return importlib.import_module(library)
    except ModuleNotFoundError:
        return None


def riemannian(net: ob.DeepNetwork, geoopt: ModuleType) -> nn.Sequential:
    """Return a feedforward network whose stack of weights is a point of geoopt's Stiefel manifold."""
    model = stacked(net)
    manifold = geoopt.EuclideanStiefel()
    model[1].weight = geoopt.ManifoldParameter(model[1].weight.detach().clone(), manifold=manifold)
    return model


def steps(
    model: nn.Module, data: ob.Dataset, config: ob.TrainingConfig, optimiser: torch.optim.Optimizer
) -> Iterator[float]:
    """Train with torch alone, one step for each loss that is asked for."""
    for batch in cycle(torch.randperm(len(data.train)).split(config.batch_size)):
        optimiser.zero_grad()
        loss = functional.cross_entropy(model(data.train.images[batch]), data.train.labels[batch])
        loss.backward()
        optimiser.step()
        yield loss.item()
