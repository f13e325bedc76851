"""The forward and backward pass of a deep network with `torch.compile` and without: time, and steps to break even.

Compiled are the layers written as plain operations, which is what a compiler can fuse. They are compared with the same
layers as they are, and with `orthobook`'s own single operation. All must give the same gradients to rounding.
"""

from __future__ import annotations

import os

os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"  # or a second run would not compile

import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from timing import Report, milliseconds, parsed, parser, positive, sizes
from torch import Tensor

import orthobook as ob
from orthobook.layers._stacked import FeedforwardStack
from orthobook.study.timings import interleaved, ratios

PLAIN, COMPILED, OURS = "plain operations", "plain operations, compiled", "orthobook"


def plain(activation: ob.activations.Activation, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Apply all layers x ↦ σ(Wx + b)."""
    for W, b in zip(weight.unbind(), bias.unbind(), strict=True):
        x = activation(torch.addmm(b, x, W.mT))
    return x


def gradients(layers: Callable[[Tensor, Tensor, Tensor], Tensor], *inputs: Tensor) -> tuple[Tensor, ...]:
    """Go forward and back once."""
    return torch.autograd.grad(layers(*inputs).square().sum(), inputs)


def rows(arguments: object, depth: int, repetitions: int) -> dict[str, dict[str, object]]:
    """Return what is measured at one depth."""
    size = {"width": arguments.width, "inputs": arguments.width, "classes": 2}
    net = ob.build("shifted-fold", depth=depth, **size, seed=arguments.seed, device="cpu")
    activation = net.block.activation
    inputs = (torch.randn(arguments.batch, arguments.width).requires_grad_(), net.trunk["weight"], net.trunk["bias"])
    compiled = torch.compile(partial(plain, activation), dynamic=False)
    layers = {
        PLAIN: partial(plain, activation),
        COMPILED: compiled,
        OURS: partial(FeedforwardStack.apply, activation),
    }
    start = time.perf_counter()
    gradients(compiled, *inputs)
    compilation = time.perf_counter() - start
    found = {name: gradients(layer, *inputs) for name, layer in layers.items()}
    seconds = interleaved({name: partial(gradients, layer, *inputs) for name, layer in layers.items()}, repetitions)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        f"depth {depth}, {name}": {
            "milliseconds": milliseconds(values),
            "relative to orthobook": ratios(values, seconds[OURS]),
            "largest difference": f"{difference(found[name], found[OURS]):.0e}",
            "seconds to compile": compilation if name == COMPILED else "",
            "steps to break even": break_even(compilation, median) if name == COMPILED else "",
        }
        for name, values in seconds.items()
    }


def difference(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> float:
    """Return the largest difference of two gradients, relative to the largest entry."""
    return max(((a - b).abs().max() / b.abs().max()).item() for a, b in zip(one, other, strict=True))


def break_even(compilation: float, seconds: dict[str, float]) -> float | str:
    """Return after how many steps compiling has paid against orthobook's own operation."""
    gain = seconds[OURS] - seconds[COMPILED]
    return compilation / gain if gain > 0 else "never"


def main() -> None:
    """Time, and print the table."""
    options = sizes(parser("Time torch.compile against this package."), width=64, batch=128)
    options.add_argument("--depths", type=positive, nargs="+", default=(10, 30, 100), help="layers")
    options.set_defaults(repetitions=10)
    arguments = parsed(options)
    report = Report("compiled", arguments)
    torch.compile(torch.abs)(torch.ones(2))  # loads the compiler
    cells = {}
    for depth in arguments.depths:
        cells |= rows(arguments, depth, arguments.repetitions)
    report.table("forward and back", cells)
    report.close()


if __name__ == "__main__":
    main()
