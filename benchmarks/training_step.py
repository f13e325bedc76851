"""One training step of a deep orthogonal network against other ways to take it, and against its matrix products alone.

A step is forward, cross-entropy, backward and Adam, then the retraction where the mode asks for it. The network is the
shifted fold x ↦ |Wx + b| − τ, the same function with the same initial parameters in every row; the data are Gaussian,
in memory. The floor is what no way can avoid: the products Wx forward and back, and those of the weights' gradients.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any

import peers
import torch
from timing import Report, milliseconds, parsed, parser, sizes
from torch.utils._python_dispatch import TorchDispatchMode

import orthobook as ob
from orthobook.layers._stacked import parts
from orthobook.study.timings import BURST, interleaved, ratios

INPUTS, CLASSES = 784, 10
WARM_UP = 5  # steps of every row before the first that is timed
FLOOR, FREE, CONSTRAINED = "matrix products alone", "orthobook, free", "orthobook, constrained"
SEQUENTIAL, FUSED = "nn.Sequential, Adam", "nn.Sequential, fused Adam"


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


def network(arguments: argparse.Namespace, architecture: str = "shifted-fold") -> ob.DeepNetwork:
    """Return a network, always with the same parameters."""
    size = {"depth": arguments.depth, "width": arguments.width, "inputs": INPUTS, "classes": CLASSES}
    return ob.build(architecture, **size, seed=arguments.seed, device="cpu")


def products(arguments: argparse.Namespace) -> Iterator[None]:
    """Do a step's matrix products and nothing else, into memory that is there: one step for each ``next``."""
    depth, width, batch = arguments.depth, arguments.width, arguments.batch
    weights, rows = torch.randn(depth, width, width), torch.randn(depth, batch, width)
    images, embedding = torch.randn(batch, INPUTS), torch.randn(width, INPUTS)
    to_weights, to_embedding = torch.empty_like(weights), torch.empty_like(embedding)
    state = torch.empty(batch, width)
    pairs = list(zip(rows.unbind(), weights.unbind(), strict=True))
    while True:
        torch.mm(images, embedding.mT, out=state)
        for x, weight in pairs:
            torch.mm(x, weight.mT, out=state)
        for x, weight in reversed(pairs):
            torch.mm(x, weight, out=state)
        torch.bmm(rows.mT, rows, out=to_weights)
        torch.mm(state.mT, images, out=to_embedding)
        yield


def candidates(arguments: argparse.Namespace, data: ob.Dataset, number: int) -> dict[str, Iterator[object]]:
    """Return one training run for each row of the table; ``next`` takes a step."""
    config = partial(ob.TrainingConfig, steps=number, batch_size=arguments.batch, seed=arguments.seed)
    ours = {
        f"orthobook, {mode}": ob.train(network(arguments), data, config(mode=mode), progress=False)
        for mode in ("free", "constrained", "penalised")
    }
    return {FLOOR: products(arguments), **ours, **plain(arguments, data, config())} | {
        name: iterator for name, (iterator, _) in orthogonal_peers(arguments, data, config()).items()
    }


def plain(arguments: argparse.Namespace, data: ob.Dataset, config: ob.TrainingConfig) -> dict[str, Iterator[float]]:
    """Return the rows of plain torch, with nothing kept orthogonal."""
    rows = {}
    for name, fused in ((SEQUENTIAL, None), (FUSED, True)):
        model = peers.sequential(network(arguments))
        rows[name] = peers.steps(model, data, config, torch.optim.Adam(model.parameters(), 3e-3, fused=fused))
    return rows


def orthogonal_peers(
    arguments: argparse.Namespace, data: ob.Dataset, config: ob.TrainingConfig
) -> dict[str, tuple[Iterator[float], torch.nn.Module]]:
    """Return the rows that keep weights orthogonal as other libraries do, with their models."""
    maps = list(peers.MAPS)
    if peers.installed("geotorch"):
        maps += ["geotorch cayley", "geotorch expm"]
    models: dict[str, torch.nn.Module] = {}
    for name in maps:
        models[f"{name}, layer by layer"] = peers.sequential(network(arguments), name)
        models[f"{name}, one stack"] = peers.stacked(network(arguments), name)
    rows = {
        name: (peers.steps(model, data, config, torch.optim.Adam(model.parameters(), 3e-4, fused=True)), model)
        for name, model in models.items()
    }
    if geoopt := peers.installed("geoopt"):
        model = peers.riemannian(network(arguments), geoopt)
        optimiser = geoopt.optim.RiemannianAdam(model.parameters(), 3e-4)
        rows["geoopt, one stack"] = peers.steps(model, data, config, optimiser), model
    return rows


def warm_up(run: Iterator[object]) -> str:
    """Take some steps; return what went wrong, as batched decompositions of some builds of torch do at some sizes."""
    try:
        for _ in islice(run, WARM_UP):
            pass
    except RuntimeError as error:
        return str(error)
    return ""


def iterations_per_step(arguments: argparse.Namespace, data: ob.Dataset, number: int, timed: int) -> float:
    """Repeat the constrained run, which is the same to the bit, and count over the steps that were timed."""
    net = network(arguments)
    config = ob.TrainingConfig(steps=number, batch_size=arguments.batch, seed=arguments.seed)
    run = ob.train(net, data, config, progress=False)
    for _ in islice(run, WARM_UP):
        pass
    with Retractions() as counter:
        for _ in islice(run, timed):
            pass
    return counter.iterations / timed / len(parts(net.trunk["weight"]))


def main() -> None:
    """Time, and print the table."""
    arguments = parsed(sizes(parser("Time one training step."), depth=100, width=64, batch=128))
    timed = BURST * arguments.repetitions
    number = max(ob.TrainingConfig().steps, WARM_UP + timed)
    data = gaussian_data(arguments.batch)
    report = Report("training step", arguments)
    runs = candidates(arguments, data, number)
    for name, run in list(runs.items()):
        if failure := warm_up(run):
            report.fact(f"fails: {name}", failure)
            del runs[name]
    calls: dict[str, Callable[[], object]] = {name: partial(next, run) for name, run in runs.items()}
    seconds = interleaved(calls, arguments.repetitions)
    report.table(
        "one training step",
        {
            name: {
                "milliseconds": milliseconds(values),
                "relative to free": ratios(values, seconds[FREE]),
                "relative to constrained": ratios(values, seconds[CONSTRAINED]),
            }
            for name, values in seconds.items()
        },
    )
    peer = [name for name in seconds if name.endswith(("layer by layer", "one stack"))]
    fastest = [min(row) for row in zip(*(seconds[name] for name in peer), strict=True)]
    report.fact("free / matrix products alone", ratios(seconds[FREE], seconds[FLOOR]))
    report.fact("constrained / free", ratios(seconds[CONSTRAINED], seconds[FREE]))
    report.fact("constrained / nn.Sequential", ratios(seconds[CONSTRAINED], seconds[SEQUENTIAL]))
    report.fact("constrained / nn.Sequential, fused Adam", ratios(seconds[CONSTRAINED], seconds[FUSED]))
    report.fact("fastest orthogonal peer / constrained", ratios(fastest, seconds[CONSTRAINED]))
    iterations = iterations_per_step(arguments, data, number, timed)
    report.fact("iterations of the retraction in a step", iterations)
    # 2n³ for each of three products of an iteration, against 6Bn² of the step itself
    report.fact("constrained / free by counting", 1 + iterations * arguments.width / arguments.batch)
    report.close()


if __name__ == "__main__":
    main()
