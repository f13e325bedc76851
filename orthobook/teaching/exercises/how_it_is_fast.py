"""Self-checks of the chapter "How it is fast"."""

from __future__ import annotations

import torch
from torch import Tensor

from orthobook.teaching.exercises._self_checks import function, near, number, require, self_check, tensor


@self_check("fast-exercise-frame")
def _frame(factor: object) -> None:
    factor = function("factor", factor)
    for n, m, batch, iterations in ((60, 20, 128, 1), (100, 50, 20, 2), (32, 32, 32, 1)):
        found = number(f"factor({n}, {m}, {batch}, {iterations})", factor(n, m, batch, iterations))
        product, right = batch * n * m, 4 * n * m**2 + 2 * m**3
        added = iterations * right / (12 * product)
        for fault, wrong in {
            "that is what orthogonality adds; the factor counts the free step too, as 1": added,
            "that is for iterations of n × n matrices in a feedforward layer": 1 + iterations * n / batch,
            "a step has more than three products a layer: V stands in it twice": 1 + 2 * added,
            "a step has more than four products a layer; each place where V stands has a gradient of its own": (
                1 + 12 / 8 * added
            ),
            "a step has one product more a layer: V has a gradient from each of its two places": 1 + 12 / 10 * added,
            "E² is a product too": 1 + iterations * 4 * n * m**2 / (12 * product),
            "E has m rows and m columns, so E² does not take n": 1 + iterations * 6 * n * m**2 / (12 * product),
            "the retraction of a frame multiplies VᵀV, which is m × m; VVᵀ would be n × n": (
                1 + iterations * (4 * n**2 * m + 2 * n**3) / (12 * product)
            ),
            "every iteration takes its products": 1 + added / iterations,
        }.items():
            require(near(wrong, 1 + added) or not near(found, wrong), fault)
        at = f"at n = {n}, m = {m}, B = {batch} and k = {iterations} you find {found:.4g}"
        require(near(found, 1 + added), f"{at}; count the products of a step and of an iteration one by one")


@self_check("fast-exercise-back")
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
    W, z, x0, g = given
    slopes, x = z.sign(), torch.cat([x0[None], z[:-1].abs()])
    h = _way_back(W, slopes, g)
    unfolded = torch.ones_like(slopes)
    forgotten = torch.cat([slopes[:-1], unfolded[-1:]])
    for fault, wrong in {
        "your gradient at W is transposed: its rows belong to the outputs of a layer": x.mT @ h,
        "the loss sums over the examples, and so do its gradients; you take means": h.mT @ x / x.shape[1],
        "on the way back a row is multiplied by W_l, not by its transpose": _way_back(W.mT, slopes, g).mT @ x,
        "the slopes σ'(z) are missing: they turn the sign where an absolute value folds": (
            _way_back(W, unfolded, g).mT @ x
        ),
        "g is the gradient at x_L, behind the last σ: the last layer has slopes too": _way_back(W, forgotten, g).mT @ x,
        "the state before a layer is |z|, not z": h.mT @ torch.cat([x0[None], z[:-1]]),
        "the gradient at W_l needs the state before layer l, not the one after it": h.mT @ z.abs(),
    }.items():
        require(near(wrong, h.mT @ x) or not near(weights, wrong), fault)
    layers = [layer for layer in range(len(W)) if not near(weights[layer], (h.mT @ x)[layer])]
    require(not layers, f"{at} the gradient at W is not that of the loss; counted from 0, in the layers {layers}")
    require(
        near(biases, h.sum(dim=1)), f"{at} the gradient at W is right, but that at b is not the sum of the rows of h"
    )


def _way_back(W: Tensor, slopes: Tensor, g: Tensor) -> Tensor:
    """Return h of all layers."""
    h = torch.empty_like(slopes)
    for layer in reversed(range(len(W))):
        h[layer] = slopes[layer] * g
        g = h[layer] @ W[layer]
    return h
