"""Self-checks of the chapter "Certified robustness"."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from orthobook.teaching.exercises._self_checks import comparison, function, near, number, require, self_check, tensor


def _branches() -> Iterator[tuple[Tensor, Tensor, float]]:
    """Return the matrices of residual layers of width 4 with 6 hidden units, and a scale."""
    generator = torch.Generator().manual_seed(0)
    for depth, scale in ((1, 0.5), (3, 0.7)):
        yield (torch.randn(depth, 6, 4, generator=generator), torch.randn(depth, 4, 6, generator=generator), scale)


def _one_bound(value: object, inner: Tensor, outer: Tensor, scale: float) -> float:
    """Return the number of an answer, and refuse one for each layer."""
    depth = len(inner)
    each = getattr(value, "shape", ()) == (depth,) and depth > 1
    require(not each, f"you return a number for each of the {depth} layers; their product is asked for")
    return number("residual_bound(inner, outer, scale)", value)


def _norms(inner: Tensor, outer: Tensor, order: float | str = 2) -> Float[Tensor, " L"]:
    """Return the products of the two norms of each layer."""
    return torch.linalg.matrix_norm(inner, order) * torch.linalg.matrix_norm(outer, order)


@comparison(
    "robust-exercise-product",
    _branches,
    read=_one_bound,
    at=lambda found, W1, W2, s: f"for {len(W1)} layer{'s' * (len(W1) > 1)} with s = {s:g}",
    otherwise=lambda found, *_: f" you find {found:.5g}",
    wrong={
        "the skip connection contributes 1 to every layer": lambda W1, W2, s: (s * _norms(W1, W2)).prod(),
        "s multiplies the branch": lambda W1, W2, s: residual_bound(W1, W2, 1.0),
        "that is the product of Frobenius norms; the spectral norms are the largest singular values": (
            lambda W1, W2, s: (1 + s * _norms(W1, W2, "fro")).prod()
        ),
        "a ReLU stands between the matrices, and W₂DW₁ may have a larger norm than W₂W₁": (
            lambda W1, W2, s: (1 + s * torch.linalg.matrix_norm(W2 @ W1, 2)).prod()
        ),
        "constants of layers in a row multiply, they do not add": lambda W1, W2, s: (1 + s * _norms(W1, W2)).sum(),
        "the branches meet the skip in every layer, not once": lambda W1, W2, s: 1 + (s * _norms(W1, W2)).prod(),
        "the largest layer does not bound the product": lambda W1, W2, s: (1 + s * _norms(W1, W2)).max(),
        "s multiplies the skip as well": lambda W1, W2, s: (s * (1 + _norms(W1, W2))).prod(),
    },
    further={"you return a number for each of the 3 layers": lambda W1, W2, s: 1 + s * _norms(W1, W2)},
)
def residual_bound(inner: Float[Tensor, "L m n"], outer: Float[Tensor, "L n m"], scale: float) -> Float[Tensor, ""]:
    """Return the product of the layers' Lipschitz constants."""
    return (1 + scale * _norms(inner, outer)).prod()


def _change(
    G: Float[Tensor, "classes pixels"],
    z: Float[Tensor, " classes"],
    y: int,
    *,
    power: int = 2,
    second: bool = False,
    times: float = 1.0,
) -> Float[Tensor, " pixels"]:
    """Return the shortest change to the boundary that is nearest, or that of the second largest logit."""
    lead, steep = z[y] - z, G[y] - G
    reach = lead.clone() if second else lead / steep.norm(dim=1)
    reach[y] = torch.inf
    j = reach.argmin()
    return -times * lead[j] * steep[j] / steep[j].norm() ** power


def _roundabout(G: Tensor, z: Tensor, y: int) -> Tensor:
    """Return another change to the same boundary: a little way towards where the first pixel alone meets it."""
    straight = _change(G, z, y)
    j = (z + G @ straight).scatter(0, torch.tensor(y), -torch.inf).argmax()
    along_one_pixel = torch.zeros_like(straight)
    along_one_pixel[0] = (z[j] - z[y]) / (G[y, 0] - G[j, 0])
    return straight + 0.1 * (straight - along_one_pixel)


@self_check(
    "robust-exercise-affine",
    wrong={
        "the sign": lambda G, z, y: -_change(G, z, y),
        "towards the second largest logit": partial(_change, second=True),
        "the lead is no length": partial(_change, power=1),
        "it falls at the rate": partial(_change, power=0),
        "no class is level with y yet": partial(_change, times=0.5),
        "you go too far": partial(_change, times=1.1),
        "times as long as the shortest": _roundabout,
    },
)
def _affine(shortest_change: object) -> None:
    shortest_change = function("shortest_change", shortest_change)
    generator = torch.Generator().manual_seed(0)
    for y, others in ((0, (1.5, 1.0, 0.0)), (2, (1.0, 1.8, 0.5))):
        G = torch.randn(4, 9, generator=generator)
        rivals = [j for j in range(4) if j != y]
        z = torch.full((4,), 2.0)
        z[rivals] = torch.tensor(others)
        near_one = rivals[1 - others.index(max(others))]  # is the nearest, not the second largest
        G[near_one] = G[y] - 20 * (G[y] - G[near_one])
        found = tensor("shortest_change(G, z, y)", shortest_change(G.clone(), z.clone(), y), 9)
        _is_shortest(found, G.double(), z.double(), y)


def _is_shortest(change: Float[Tensor, " pixels"], G: Tensor, z: Tensor, y: int) -> None:
    """Demand that a change reaches the nearest boundary of an affine map, and no more."""
    right = _change(G, z, y)
    require(not near(change, -right, 1e-3), "the sign: your change makes the lead twice as long")
    second = near(change, _change(G, z, y, second=True), 1e-3)
    require(not second, "that is the shortest change towards the second largest logit; another boundary is nearer")
    unscaled = [
        near(change, _change(G, z, y, second=second, power=power), 1e-3) for second in (False, True) for power in (0, 1)
    ]
    require(not any(unscaled), "the lead is no length: along its gradient it falls at the rate ‖g_y − g_j‖")
    logits = z + G @ change
    left = (logits[y] - torch.cat([logits[:y], logits[y + 1 :]]).max()).item()
    require(left < 1e-3, f"a lead of {left:.3g} is left: no class is level with y yet")
    require(left > -1e-3, f"you go too far: another class is {-left:.3g} ahead of y")
    longer = (change.norm() / right.norm()).item()
    require(longer < 1.001, f"your change is {longer:.3f} times as long as the shortest")


def _pair(value: object, *_: float) -> Tensor:
    """Return the two numbers of an answer."""
    pair = isinstance(value, tuple | list | Tensor) and len(value) == 2
    require(pair, "limits must return two numbers, low and high")
    return torch.tensor([number(name, limit) for name, limit in zip(("low", "high"), value, strict=True)])  # type: ignore[call-overload]


def _pixels(found: Tensor, right: tuple[float, float], mean: float, std: float) -> str:
    """Say to which pixel the first wrong limit belongs."""
    name, value = next(
        (name, value)
        for name, value, limit in zip(("low", "high"), found.tolist(), right, strict=True)
        if not near(value, limit)
    )
    shown = f"with the mean {mean:g} and the deviation {std:g}, {name} = {value:.4g}"
    return f"{shown} belongs to the pixel {value * std + mean:.4g}"


@comparison(
    "robust-exercise-box",
    [(0.3, 0.25)],
    read=_pair,
    otherwise=_pixels,
    wrong={
        "those are limits of the pixels; the network sees standardised images": lambda mean, std: (0.0, 1.0),
        "low is above high": lambda mean, std: limits(mean, std)[::-1],
        "the images are divided by the standard deviation too": lambda mean, std: (-mean, 1 - mean),
        "the mean is subtracted first": lambda mean, std: (0.0, 1 / std),
        "standardising divides by the standard deviation": lambda mean, std: (-mean * std, (1 - mean) * std),
        "that takes inputs back to pixels; the other way is needed": lambda mean, std: (mean, std + mean),
        "those are the largest changes of a pixel; the limits are of the changed image": lambda mean, std: (
            -1 / std,
            1 / std,
        ),
    },
    further={
        "limits must return two numbers": lambda mean, std: 1 / std,
        "high = 1 belongs to the pixel 0.55": lambda mean, std: (-mean / std, 1.0),
    },
)
def limits(mean: float, std: float) -> tuple[float, float]:
    """Return the standardised values of a black and of a white pixel."""
    return -mean / std, (1 - mean) / std
