"""The trunk's Jacobian by `orthobook.jacobian` against ways to get it from autograd: time and memory.

All compute ∂x_L/∂x₀ of the shifted fold network for the same batch of inputs, and must agree.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from itertools import accumulate
from operator import itemgetter
from pathlib import Path

import torch
from timing import interleaved, options, print_facts, print_table, ratios, spread
from torch import Tensor
from torch.func import jacfwd, jacrev, vmap
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile, record_function

import orthobook as ob

INPUTS, CLASSES = 784, 10
OURS = "orthobook.jacobian"


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


def peak_bytes(calls: Mapping[str, Callable[[], object]]) -> dict[str, int]:
    """Return the most memory that each call's tensors took at one time, beyond what was there before."""
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            for name, call in calls.items():
                with record_function(name):
                    call()
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    changes = [(event["ts"], event["args"]["Bytes"]) for event in events if event["name"] == "[memory]"]
    changes.sort(key=itemgetter(0))  # of two at one time the first stays first
    spans = {event["name"]: (event["ts"], event["ts"] + event["dur"]) for event in events if event["name"] in calls}
    return {
        name: max(accumulate(size for time, size in changes if spans[name][0] <= time <= spans[name][1]))
        for name in calls
    }


def main() -> None:
    """Time, compare, measure memory, and print the tables."""
    arguments = options("Time the Jacobian and measure its memory, against autograd.", batch=32)
    x = torch.randn(arguments.batch, INPUTS)
    calls = candidates(network(arguments, arguments.depth), x)
    results = {name: call() for name, call in calls.items()}
    seconds = interleaved(calls, arguments.repetitions)

    print_facts(arguments)
    rows = [
        [
            name,
            spread([1e3 * value for value in values]),
            spread(ratios(values, seconds[OURS])),
            f"{(results[name] - results[OURS]).abs().max().item():.1e}",
        ]
        for name, values in seconds.items()
    ]
    print_table(["Jacobian", "milliseconds", f"relative to {OURS}", "largest difference"], rows)

    depths = [max(1, arguments.depth // 2), arguments.depth, 2 * arguments.depth]
    calls_by_depth = {depth: candidates(network(arguments, depth), x) for depth in depths}
    peaks = peak_bytes(
        {f"{name}, {depth}": call for depth, row in calls_by_depth.items() for name, call in row.items()}
    )
    rows = [[name, *(f"{peaks[f'{name}, {depth}'] / 2**20:.3f}" for depth in depths)] for name in calls]
    print_table(["peak memory, MiB", *(f"depth {depth}" for depth in depths)], rows)


if __name__ == "__main__":
    main()
