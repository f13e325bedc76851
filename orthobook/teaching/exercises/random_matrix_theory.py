"""Self-checks of the chapter "Random-matrix theory"."""

from __future__ import annotations

import math

from orthobook.teaching.exercises._self_checks import comparison


@comparison(
    "matrices-exercise-gaussian",
    [(2,), (10,), (1,)],
    at=lambda found, depth: f"at depth {depth}",
    otherwise=lambda found, right, depth: f" you find {found:.4f}",
    wrong={
        "that is its square: the S-transform is that of squared singular values": lambda depth: largest(depth) ** 2,
        "that is κ at the edge; insert it in ζ": lambda depth: depth + 1,
        "that is the edge of orthogonal ReLU layers, or of one Gaussian factor fewer": lambda depth: _relu_edge(depth),
        "that is an approximation for many layers; there is a closed form": lambda depth: math.sqrt(math.e * depth),
    },
)
def largest(depth: int) -> float:
    """Return the largest singular value of a product of Gaussian matrices."""
    return math.sqrt((depth + 1) ** (depth + 1) / depth**depth)


def _relu_edge(depth: int) -> float:
    """Return the largest singular value of an orthogonal ReLU network, √2 at depth 1."""
    return math.sqrt(depth**depth / (depth - 1) ** (depth - 1)) if depth > 1 else math.sqrt(2)


@comparison(
    "matrices-exercise-share",
    [(1.5, 3), (0.3, 2), (1e-3, 8), (2.0, 100), (1.01 * _relu_edge(5), 5)],
    at=lambda found, x, depth: f"at x = {x:g}, L = {depth}",
    otherwise=lambda found, right, x, depth: f" you find the share {found:.4f}",
    within=1e-3,
    wrong={
        "that is the share up to x; the share above it is asked for": lambda x, depth: 1 - share_above(x, depth),
        "you count only the singular values that are not 0; they are half of all": lambda x, depth: (
            2 * share_above(x, depth)
        ),
        "x is a singular value, and t is its square": lambda x, depth: share_above(x**0.5, depth),
        "one squaring too many: t is the square of x": lambda x, depth: share_above(x**2, depth),
        "that is the share of those that are not 0, up to x": lambda x, depth: 1 - 2 * share_above(x, depth),
        "that is the share between 0 and x; the share above it is asked for": lambda x, depth: (
            0.5 - share_above(x, depth)
        ),
    },
)
def share_above(x: float, depth: int) -> float:
    """Return the share of singular values above x of an orthogonal ReLU network, by bisection of the angle."""
    low, high, share = 0.0, math.pi, 0.0
    for _ in range(50):
        theta = (low + high) / 2
        part = math.sin(theta / depth)
        r = math.sin(theta * (depth - 1) / depth) / part
        side = math.atan2(r * math.sin(theta), r * math.cos(theta) - 1)
        share = ((depth - 1) / 2 * theta + (1 - depth / 2) * side) / math.pi
        beyond = depth * math.log(math.sin(theta) / part) - (depth - 1) * math.log(r) > 2 * math.log(x)
        low, high = (theta, high) if beyond else (low, theta)
    return share
