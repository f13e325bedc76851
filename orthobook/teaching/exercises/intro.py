"""Self-checks of the front page."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from orthobook.derivatives import singular_values
from orthobook.networks import DeepNetwork, build
from orthobook.teaching.exercises._self_checks import function, require, self_check, truth


def _by(decide: Callable[[Tensor], object]) -> Callable[[DeepNetwork, Tensor], object]:
    """Return an answer that decides by the singular values."""
    return lambda net, x: decide(singular_values(net, x))


@self_check(
    "intro-exercise-build",
    wrong={
        "the tolerance is there for that": _by(lambda s: (s == 1).all()),
        "a distance has no sign": _by(lambda s: (s - 1).max() < 1e-4),
        "every one is asked for": _by(lambda s: ((s - 1).abs() < 1e-4).any()),
        "decide over all rows of x": _by(lambda s: (s[0] - 1).abs().max() < 1e-4),
        "decide over all rows": _by(lambda s: (s[-1] - 1).abs().max() < 1e-4),
        "each is to be near 1": _by(lambda s: (s.square().mean() - 1).abs() < 1e-4),
        "the tolerance is 1e-4": _by(lambda s: (s - 1).abs().max() < 0.1),
        "you refuse the shifted fold": lambda net, x: (
            bool((singular_values(net, x) - 1).abs().max() < 1e-4) and net.architecture == "linear"
        ),
    },
)
def _build(keeps_all: object) -> None:
    keeps_all = function("keeps_all", keeps_all)
    x = 3 * torch.randn(2, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    some = torch.cat([x / 100, x])  # a hard tanh bends at the last two alone

    def accepts(net: DeepNetwork, x: Tensor = x) -> bool:
        return truth("keeps_all(net, x)", keeps_all(net, x))

    require(
        accepts(_small("linear", 50)),
        "you refuse a linear network with orthogonal weights; its singular values are 1 up to rounding, and the "
        "tolerance is there for that",
    )
    require(
        not accepts(_small("tanh-orthogonal", 5)),
        "you accept a tanh network, all of whose singular values are below 1; a distance has no sign",
    )
    require(
        not accepts(_small("hard-tanh", 1)),
        "you accept a network with some singular values at 1 and others at 0; every one is asked for",
    )
    require(
        not accepts(_small("hard-tanh", 1), some) and not accepts(_small("hard-tanh", 1), some.flip(0)),
        "you accept a network with singular values of 0 at some of its inputs; decide over all rows of x",
    )
    require(
        not accepts(_small("looks-linear", 5)),
        "you accept a network whose squared singular values are 1 on average; each is to be near 1",
    )
    for gain in (0.999, 1.001):
        net = _small("linear", 1)
        net.trunk["weight"].data *= gain
        at = singular_values(net, x).mean().item()
        require(not accepts(net), f"you accept singular values of {at:.3f}; the tolerance is 1e-4")
    require(accepts(_small("shifted-fold", 50)), "you refuse the shifted fold")


def _small(name: str, depth: int) -> DeepNetwork:
    """Return a network of width 8."""
    return build(name, depth=depth, width=8, inputs=8, classes=2, dtype=torch.float64, device="cpu")
