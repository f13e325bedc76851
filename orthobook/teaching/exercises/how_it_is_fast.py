"""Self-checks of the chapter "How it is fast"."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from orthobook.teaching.exercises._self_checks import comparison, function, near, require, self_check, tensor


@comparison(
    "fast-exercise-frame",
    [(60, 20, 128, 1), (100, 50, 20, 2), (32, 32, 32, 1)],
    otherwise=lambda found, right, n, m, batch, k: (
        f"at n = {n}, m = {m}, B = {batch} and k = {k} you find {found:.4g}; count the products of a step and of an "
        "iteration one by one"
    ),
    wrong={
        "that is what orthogonality adds; the factor counts the free step too, as 1": lambda *sizes: factor(*sizes) - 1,
        "that is for iterations of n × n matrices in a feedforward layer": lambda n, m, batch, k: 1 + k * n / batch,
        "a step has more than three products a layer: V stands in it twice": {"step": 6},
        "a step has more than four products a layer; each place where V stands has a gradient of its own": {"step": 8},
        "a step has one product more a layer: V has a gradient from each of its two places": {"step": 10},
        "E² is a product too": {"square": 0},
        "E has m rows and m columns, so E² does not take n": {"gram": 6, "square": 0},
        "the retraction of a frame multiplies VᵀV, which is m × m; VVᵀ would be n × n": lambda n, m, batch, k: (
            1 + k * (4 * n**2 * m + 2 * n**3) / (12 * batch * n * m)
        ),
        "every iteration takes its products": lambda n, m, batch, k: factor(n, m, batch, 1),
    },
)
def factor(n: int, m: int, batch: int, iterations: int, step: int = 12, gram: int = 4, square: int = 2) -> float:
    """Return how many times as much a step with orthogonality takes; the last three count products."""
    return 1 + iterations * (gram * n * m**2 + square * m**3) / (step * batch * n * m)


def _way_back(
    W: Float[Tensor, "L n n"],
    z: Float[Tensor, "L batch n"],
    x0: Float[Tensor, "batch n"],
    g: Float[Tensor, "batch n"],
    *,
    transposed: bool = False,
    slopes: Callable[[Tensor], Tensor] = torch.sign,
    before: Callable[[Tensor, Tensor], Tensor] = lambda z, x0: torch.cat([x0[None], z[:-1].abs()]),
    last: bool = True,
) -> tuple[Float[Tensor, "L n n"], Float[Tensor, "L n"]]:
    """Return the gradients at weights and biases; the options make mistakes."""
    h = torch.empty_like(z)
    for layer in reversed(range(len(W))):
        h[layer] = g * slopes(z[layer]) if last or layer < len(W) - 1 else g
        g = h[layer] @ (W[layer].mT if transposed else W[layer])
    return h.mT @ before(z, x0), h.sum(dim=1)


_Gradients = Callable[..., tuple[Tensor, Tensor]]

# Mistakes in the gradient at W, in the order in which they are looked for.
_MISTAKES: dict[str, _Gradients] = {
    "your gradient at W is transposed: its rows belong to the outputs of a layer": lambda *given: (
        _way_back(*given)[0].mT,
        _way_back(*given)[1],
    ),
    "the loss sums over the examples, and so do its gradients; you take means": lambda *given: (
        _way_back(*given)[0] / len(given[-1]),
        _way_back(*given)[1] / len(given[-1]),
    ),
    "on the way back a row is multiplied by W_l, not by its transpose": partial(_way_back, transposed=True),
    "the slopes σ'(z) are missing: they turn the sign where an absolute value folds": partial(
        _way_back, slopes=torch.ones_like
    ),
    "g is the gradient at x_L, behind the last σ: the last layer has slopes too": partial(_way_back, last=False),
    "the state before a layer is |z|, not z": partial(_way_back, before=lambda z, x0: torch.cat([x0[None], z[:-1]])),
    "the gradient at W_l needs the state before layer l, not the one after it": partial(
        _way_back, before=lambda z, x0: z.abs()
    ),
}


@self_check(
    "fast-exercise-back",
    wrong={
        **_MISTAKES,
        "way_back must return two things": lambda *given: _way_back(*given)[0],
        "counted from 0, in the layers [0, 1, 2]": partial(_way_back, slopes=lambda z: (z > 0).to(z)),
        "that at b is not the sum of the rows of h": lambda *given: (_way_back(*given)[0], _way_back(*given)[1] / 5),
    },
)
def _back(way_back: object) -> None:
    way_back = function("way_back", way_back)
    generator = torch.Generator().manual_seed(0)
    for depth in (3, 1):
        W, b = torch.randn(depth, 4, 4, generator=generator), torch.randn(depth, 1, 4, generator=generator)
        x0, g = torch.randn(2, 5, 4, generator=generator)
        z, x = torch.empty(depth, 5, 4), x0
        for layer in range(depth):
            z[layer] = x @ W[layer].mT + b[layer]
            x = z[layer].abs()
        default = torch.get_default_dtype()
        given = [value.to(default) for value in (W, z, x0, g)]
        found = way_back(*(value.clone() for value in given))
        require(isinstance(found, tuple | list) and len(found) == 2, "way_back must return two things: for W and for b")
        at = f"with {depth} layers" if depth > 1 else "with a single layer"
        weights = tensor(f"{at} the gradient at W", found[0], depth, 4, 4)
        biases = tensor(f"{at} the gradient at b", found[1], depth, 4)
        _compare_gradients(weights, biases, [value.double() for value in given], at)


def _compare_gradients(weights: Tensor, biases: Tensor, given: list[Tensor], at: str) -> None:
    """Find the typical faults of the gradients at weights and biases."""
    right = _way_back(*given)
    for fault, mistake in _MISTAKES.items():
        wrong = mistake(*given)[0]
        require(near(wrong, right[0]) or not near(weights, wrong), fault)
    layers = [layer for layer in range(len(weights)) if not near(weights[layer], right[0][layer])]
    require(not layers, f"{at} the gradient at W is not that of the loss; counted from 0, in the layers {layers}")
    require(near(biases, right[1]), f"{at} the gradient at W is right, but that at b is not the sum of the rows of h")
