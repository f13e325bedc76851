"""Self-checks of the chapter "Certified robustness"."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from orthobook.teaching.exercises._self_checks import function, near, number, require, self_check, tensor


@self_check("robust-exercise-product")
def _product(residual_bound: object) -> None:
    residual_bound = function("residual_bound", residual_bound)
    generator = torch.Generator().manual_seed(0)
    for depth, scale in ((1, 0.5), (3, 0.7)):
        inner, outer = torch.randn(depth, 6, 4, generator=generator), torch.randn(depth, 4, 6, generator=generator)
        given = residual_bound(inner.clone(), outer.clone(), scale)
        each = getattr(given, "shape", ()) == (depth,) and depth > 1
        require(not each, f"you return a number for each of the {depth} layers; their product is asked for")
        found = number("residual_bound(inner, outer, scale)", given)
        spectral, frobenius = (_norms(inner, order) * _norms(outer, order) for order in (2, "fro"))
        at = f"for {depth} layer{'s' * (depth > 1)} with s = {scale:g}"
        for fault, bound in {
            "the skip connection contributes 1 to every layer": (scale * spectral).prod(),
            "s multiplies the branch": (1 + spectral).prod(),
            "that is the product of Frobenius norms; the spectral norms are the largest singular values": (
                1 + scale * frobenius
            ).prod(),
            "a ReLU stands between the matrices, and W₂DW₁ may have a larger norm than W₂W₁": (
                1 + scale * _norms(outer @ inner, 2)
            ).prod(),
            "constants of layers in a row multiply, they do not add": (1 + scale * spectral).sum(),
            "the branches meet the skip in every layer, not once": 1 + (scale * spectral).prod(),
            "the largest layer does not bound the product": (1 + scale * spectral).max(),
            "s multiplies the skip as well": (scale * (1 + spectral)).prod(),
        }.items():
            same = near(bound, (1 + scale * spectral).prod())
            require(same or not near(found, bound), f"{at}: {fault}")
        require(near(found, (1 + scale * spectral).prod()), f"{at} you find {found:.5g}")


def _norms(stack: Float[Tensor, "depth p q"], order: float | str) -> Float[Tensor, " depth"]:
    """Return the norms of the matrices of a stack in float64."""
    return torch.linalg.matrix_norm(stack.double(), order)


@self_check("robust-exercise-affine")
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
    rivals = torch.tensor([j for j in range(len(z)) if j != y])
    lead, steep = z[y] - z[rivals], G[y] - G[rivals]
    distance = lead / steep.norm(dim=1)
    right = -(lead / steep.square().sum(dim=1))[:, None] * steep
    nearest, second = int(distance.argmin()), int(lead.argmin())
    left = (lead + steep @ change).min().item()
    require(not near(change, -right[nearest], 1e-3), "the sign: your change makes the lead twice as long")
    second_best = near(change, right[second], 1e-3)
    lost = "that is the shortest change towards the second largest logit; another boundary is nearer"
    require(not second_best, lost)
    unscaled = [near(change, right[j] * steep[j].norm() ** power, 1e-3) for j in (nearest, second) for power in (1, 2)]
    require(not any(unscaled), "the lead is no length: along its gradient it falls at the rate ‖g_y − g_j‖")
    require(left < 1e-3, f"a lead of {left:.3g} is left: no class is level with y yet")
    require(left > -1e-3, f"you go too far: another class is {-left:.3g} ahead of y")
    longer = change.norm().item() / distance.min().item()
    require(longer < 1.001, f"your change is {longer:.3f} times as long as the shortest")


@self_check("robust-exercise-box")
def _box(limits: object) -> None:
    limits = function("limits", limits)
    mean, std = 0.3, 0.25
    given = limits(mean, std)
    pair = isinstance(given, tuple | list | Tensor) and len(given) == 2
    require(pair, "limits must return two numbers, low and high")
    low, high = (number(name, value) for name, value in zip(("low", "high"), given, strict=True))
    for fault, (least, most) in {
        "those are limits of the pixels; the network sees standardised images": (0.0, 1.0),
        "low is above high": ((1 - mean) / std, -mean / std),
        "the images are divided by the standard deviation too": (-mean, 1 - mean),
        "the mean is subtracted first": (0.0, 1 / std),
        "standardising divides by the standard deviation": (-mean * std, (1 - mean) * std),
        "that takes inputs back to pixels; the other way is needed": (mean, std + mean),
        "those are the largest changes of a pixel; the limits are of the changed image": (-1 / std, 1 / std),
    }.items():
        require(not (near(low, least) and near(high, most)), fault)
    for name, value, pixel in (("low", low, 0.0), ("high", high, 1.0)):
        shown = f"with the mean {mean:g} and the deviation {std:g}, {name} = {value:.4g}"
        require(near(value * std + mean, pixel), f"{shown} belongs to the pixel {value * std + mean:.4g}")
