"""One training step of a deep orthogonal network against the same network in plain torch and parametrised.

A step is forward, cross-entropy, backward and Adam, then the retraction where the mode asks for it. The network is the
shifted fold x ↦ |Wx + b + τ| − τ, the same function with the same initial parameters in every row; the data are
Gaussian, in memory.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from itertools import cycle, islice
from typing import Any

import torch
from timing import BURST, interleaved, options, print_facts, print_table, ratios, spread
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.utils._python_dispatch import TorchDispatchMode

import orthobook as ob

INPUTS, CLASSES = 784, 10
WARM_UP = 20  # steps of every row before the first that is timed
FREE, CONSTRAINED = "orthobook, free", "orthobook, constrained"
SEQUENTIAL, FUSED = "nn.Sequential, Adam", "nn.Sequential, fused Adam"
MAPS = ("cayley", "matrix_exp", "householder")


class Fold(nn.Module):
    """An activation of orthobook as a module."""

    def __init__(self, activation: ob.activations.Activation) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, z: Tensor) -> Tensor:
        return self.activation(z)


class Retractions(TorchDispatchMode):
    """Counts the iterations of the retraction: the only batched products that are added to a stack."""

    def __init__(self) -> None:
        super().__init__()
        self.iterations = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.iterations += operation is torch.ops.aten.baddbmm.default
        return operation(*args, **(kwargs or {}))


def gaussian_data(batch: int) -> ob.Dataset:
    """Return a data set of 16 batches, Gaussian inputs with random labels."""
    split = ob.Split(torch.randn(16 * batch, INPUTS), torch.randint(CLASSES, (16 * batch,)))
    classes = tuple(map(str, range(CLASSES)))
    return ob.Dataset("gaussian", train=split, test=split, classes=classes, image_shape=(INPUTS,))


def network(arguments: argparse.Namespace) -> ob.DeepNetwork:
    """Return the shifted fold network, always with the same parameters."""
    sizes = {"depth": arguments.depth, "width": arguments.width, "inputs": INPUTS, "classes": CLASSES}
    return ob.build("shifted-fold", **sizes, seed=arguments.seed, device="cpu")


def sequential(net: ob.DeepNetwork, orthogonal_map: str | None = None) -> nn.Sequential:
    """Return a network's copy as a list of modules, its weights parametrised by a map onto the orthogonal group."""
    layers: list[nn.Module] = []
    for layer in net.layers():
        linear = nn.Linear(net.width, net.width)
        linear.load_state_dict(layer)
        if orthogonal_map is not None:
            parametrizations.orthogonal(linear, orthogonal_map=orthogonal_map)
        layers += [linear, Fold(net.block.activation)]
    return nn.Sequential(net.embedding, *layers, net.classifier)


def plain_steps(model: nn.Module, data: ob.Dataset, config: ob.TrainingConfig, *, fused: bool) -> Iterator[float]:
    """Train with torch alone, one step for each loss that is asked for."""
    optimiser = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=fused or None)
    for batch in cycle(torch.randperm(len(data.train)).split(config.batch_size)):
        optimiser.zero_grad()
        loss = functional.cross_entropy(model(data.train.images[batch]), data.train.labels[batch])
        loss.backward()
        optimiser.step()
        yield loss.item()


def candidates(arguments: argparse.Namespace, data: ob.Dataset, steps: int) -> dict[str, Iterator[object]]:
    """Return one training run for each row of the table; ``next`` takes a step."""
    config = partial(ob.TrainingConfig, steps=steps, batch_size=arguments.batch, seed=arguments.seed)
    runs: dict[str, Iterator[object]] = {
        f"orthobook, {mode}": ob.train(network(arguments), data, config(mode=mode), progress=False)
        for mode in ("free", "constrained", "penalised")
    }
    for name, fused in ((SEQUENTIAL, False), (FUSED, True)):
        runs[name] = plain_steps(sequential(network(arguments)), data, config(), fused=fused)
    for name in MAPS:  # with the faster Adam
        runs[f"parametrised, {name}"] = plain_steps(sequential(network(arguments), name), data, config(), fused=True)
    return runs


def iterations_per_step(arguments: argparse.Namespace, data: ob.Dataset, steps: int, timed: int) -> float:
    """Repeat the constrained run, which is the same to the bit, and count over the steps that were timed."""
    run = candidates(arguments, data, steps)[CONSTRAINED]
    for _ in islice(run, WARM_UP):
        pass
    with Retractions() as counter:
        for _ in islice(run, timed):
            pass
    return counter.iterations / timed


def main() -> None:
    """Time, and print the table."""
    arguments = options("Time one training step, constrained, free, and in plain torch.", batch=128)
    timed = BURST * arguments.repetitions
    steps = max(ob.TrainingConfig().steps, WARM_UP + timed)
    data = gaussian_data(arguments.batch)
    runs = candidates(arguments, data, steps)
    for run in runs.values():
        for _ in islice(run, WARM_UP):
            pass
    seconds = interleaved({name: partial(next, run) for name, run in runs.items()}, arguments.repetitions)

    print_facts(arguments)
    rows = [
        [
            name,
            spread([1e3 * value for value in values]),
            spread(ratios(values, seconds[FREE])),
            spread(ratios(values, seconds[SEQUENTIAL])),
        ]
        for name, values in seconds.items()
    ]
    print_table(["one training step", "milliseconds", "relative to free", "relative to nn.Sequential"], rows)
    # In every repetition, the fastest of the maps.
    parametrised = [min(row) for row in zip(*(seconds[f"parametrised, {name}"] for name in MAPS), strict=True)]
    print(f"constrained / free                       {spread(ratios(seconds[CONSTRAINED], seconds[FREE]))}")
    print(f"constrained / nn.Sequential              {spread(ratios(seconds[CONSTRAINED], seconds[SEQUENTIAL]))}")
    print(f"constrained / nn.Sequential, fused Adam  {spread(ratios(seconds[CONSTRAINED], seconds[FUSED]))}")
    print(f"fastest parametrisation / constrained    {spread(ratios(parametrised, seconds[CONSTRAINED]))}")
    iterations = iterations_per_step(arguments, data, steps, timed)
    print(f"Steps {WARM_UP + 1} to {WARM_UP + timed} of {steps}; retraction: {iterations:.2f} iterations a step.")


if __name__ == "__main__":
    main()
