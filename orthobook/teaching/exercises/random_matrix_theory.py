"""Self-checks of the chapter "Random-matrix theory"."""

from __future__ import annotations

import math

from orthobook.teaching.exercises._self_checks import function, near, number, require, self_check


@self_check("matrices-exercise-gaussian")
def _gaussian(largest: object) -> None:
    largest = function("largest", largest)
    for depth in (2, 10, 1):
        found = number(f"largest({depth})", largest(depth))
        right = math.sqrt((depth + 1) ** (depth + 1) / depth**depth)
        for fault, value in {
            "that is its square: the S-transform is that of squared singular values": right**2,
            "that is κ at the edge; insert it in ζ": depth + 1,
            "that is the edge of orthogonal ReLU layers, or of one Gaussian factor fewer": _relu_edge(depth),
            "that is an approximation for many layers; there is a closed form": math.sqrt(math.e * depth),
        }.items():
            require(near(value, right) or not near(found, value), f"at depth {depth}: {fault}")
        require(near(found, right), f"at depth {depth} you find {found:.4f}")


def _relu_edge(depth: int) -> float:
    """Return the largest singular value of an orthogonal ReLU network, √2 at depth 1."""
    return math.sqrt(depth**depth / (depth - 1) ** (depth - 1)) if depth > 1 else math.sqrt(2)


@self_check("matrices-exercise-share")
def _share(share_above: object) -> None:
    share_above = function("share_above", share_above)
    for x, depth in ((1.5, 3), (0.3, 2), (1e-3, 8), (2.0, 100), (1.01 * _relu_edge(5), 5)):
        found, right = number(f"share_above({x:g}, {depth})", share_above(x, depth)), _above(x**2, depth)
        for fault, value in {
            "that is the share up to x; the share above it is asked for": 1 - right,
            "you count only the singular values that are not 0; they are half of all": 2 * right,
            "x is a singular value, and t is its square": _above(x, depth),
            "one squaring too many: t is the square of x": _above(x**4, depth),
            "that is the share of those that are not 0, up to x": 1 - 2 * right,
            "that is the share between 0 and x; the share above it is asked for": 0.5 - right,
        }.items():
            require(near(value, right, 2e-3) or not near(found, value, 5e-4), f"at x = {x:g}, L = {depth}: {fault}")
        require(near(found, right, 1e-3), f"at x = {x:g} and {depth} layers you find the share {found:.4f}")


def _above(t: float, depth: int) -> float:
    """Return the share of squared singular values above t of an orthogonal ReLU network, by bisection of the angle."""
    low, high, share = 0.0, math.pi, 0.0
    for _ in range(50):
        theta = (low + high) / 2
        part = math.sin(theta / depth)
        r = math.sin(theta * (depth - 1) / depth) / part
        side = math.atan2(r * math.sin(theta), r * math.cos(theta) - 1)
        share = ((depth - 1) / 2 * theta + (1 - depth / 2) * side) / math.pi
        beyond = depth * math.log(math.sin(theta) / part) - (depth - 1) * math.log(r) > math.log(t)
        low, high = (theta, high) if beyond else (low, theta)
    return share
