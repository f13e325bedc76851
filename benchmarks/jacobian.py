"""The trunk's Jacobian by `orthobook.jacobian` against ways to get it from autograd: time and memory.

All compute ∂x_L/∂x₀ of the shifted fold network for the same batch of inputs, and must agree.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from functools import partial

import torch
from memory import peak_bytes
from timing import Report, milliseconds, parsed, parser, sizes
from torch import Tensor
from torch.func import jacfwd, jacrev, vmap
from torch.nn import functional

import orthobook as ob
from orthobook.study.timings import interleaved, ratios

INPUTS, CLASSES = 784, 10
FLOOR, OURS = "matrix products alone", "orthobook.jacobian"


def network(arguments: argparse.Namespace, depth: int) -> ob.DeepNetwork:
    """Return a shifted fold network as it is built, ready to be trained."""
    sizes = {"width": arguments.width, "inputs": INPUTS, "classes": CLASSES, "seed": arguments.seed}
    return ob.build("shifted-fold", depth=depth, **sizes, device="cpu")


def candidates(net: ob.DeepNetwork, x: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Return, for each row, a call that computes the Jacobian (batch, n, n).

    Unless told that nothing will be differentiated by the parameters, functorch keeps what that would take. So every
    rival but the plain first is given frozen ones.
    """
    frozen = copy.deepcopy(net).requires_grad_(False)

    def trunk(state: Tensor, model: ob.DeepNetwork = frozen) -> Tensor:
        # functional.linear, as vmap turns it into one product for all inputs, which it does not for torch.addmm.
        for weight, bias in zip(model.trunk["weight"], model.trunk["bias"], strict=True):
            state = model.block.activation(functional.linear(state, weight, bias))
        return state

    def looped() -> Tensor:
        start = frozen.embed(x).requires_grad_()
        end = trunk(start).sum(0)  # an input's state depends on that input alone
        rows = [torch.autograd.grad(coordinate, start, retain_graph=True)[0] for coordinate in end]
        return torch.stack(rows, dim=1)

    return {
        OURS: lambda: ob.jacobian(net, x),
        "vmap(jacrev)": lambda: vmap(jacrev(partial(trunk, model=net)))(net.embed(x)),
        "vmap(jacrev), frozen": lambda: vmap(jacrev(trunk))(frozen.embed(x)),
        "vmap(jacfwd), frozen": lambda: vmap(jacfwd(trunk))(frozen.embed(x)),
        "autograd by rows, frozen": looped,
    }


def products(net: ob.DeepNetwork, batch: int) -> None:
    """Multiply every input's n tangents by every layer's weights, and do nothing else."""
    tangents = torch.eye(net.width).repeat(batch, 1)
    target = torch.empty_like(tangents)
    for weight in net.trunk["weight"].detach():
        torch.mm(tangents, weight.mT, out=target)


def main() -> None:
    """Time, compare, measure memory, and print the tables."""
    arguments = parsed(sizes(parser("Time the Jacobian and measure its memory."), depth=100, width=64, batch=32))
    x = torch.randn(arguments.batch, INPUTS)
    net = network(arguments, arguments.depth)
    calls = candidates(net, x)
    results = {name: call() for name, call in calls.items()}
    seconds = interleaved({FLOOR: lambda: products(net, len(x)), **calls}, arguments.repetitions)

    report = Report("jacobian", arguments)
    rows = {
        name: {
            "milliseconds": milliseconds(values),
            f"relative to {OURS}": ratios(values, seconds[OURS]),
            "largest difference": "" if name == FLOOR else f"{(results[name] - results[OURS]).abs().max().item():.1e}",
        }
        for name, values in seconds.items()
    }
    report.table("Jacobian", rows)

    depths = [max(1, arguments.depth // 2), arguments.depth, 2 * arguments.depth]
    calls_by_depth = {depth: candidates(network(arguments, depth), x) for depth in depths}
    peaks = peak_bytes(
        {f"{name}, {depth}": call for depth, row in calls_by_depth.items() for name, call in row.items()}
    )
    report.table(
        "peak memory, MiB",
        {name: {f"depth {depth}": f"{peaks[f'{name}, {depth}'] / 2**20:.3f}" for depth in depths} for name in calls},
    )
    report.close()


if __name__ == "__main__":
    main()
