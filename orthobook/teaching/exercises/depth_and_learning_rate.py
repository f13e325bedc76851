"""Self-checks of the chapter "Depth and learning rate"."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from orthobook.orthogonal import haar
from orthobook.teaching.exercises._self_checks import comparison, require, self_check, tensor


def _layers() -> Iterator[tuple[Tensor, Tensor]]:
    """Return Jacobians and movements of layers of width 4."""
    generator = torch.Generator().manual_seed(0)
    for depth in (3, 1, 5):
        J = haar(depth, 4, 4, generator=generator) + 0.1 * torch.randn(depth, 4, 4, generator=generator)
        yield J, torch.randn(depth, 4, generator=generator)


def _at(J: Tensor) -> str:
    """Say for which network a movement is wrong."""
    return f"for {len(J)} layers of width 4" if len(J) > 1 else "for a single layer"


def _far(found: Tensor, right: Tensor, J: Tensor, delta: Tensor) -> str:
    """Say how far a movement is from the right one."""
    place = "" if len(J) > 1 else ", where the movement is δ₁"
    return f"{_at(J)} your movement is {(found - right).norm():.2g} away from the sum{place}"


@comparison(
    "rates-exercise-carry",
    _layers,
    read=lambda value, J, delta: tensor(f"carried(J, delta) {_at(J)}", value, 4),
    otherwise=_far,
    wrong={
        "δ_l is a movement of the output of layer l: its own Jacobian does not act on it": lambda J, delta: carried(
            J, (J @ delta[..., None])[..., 0]
        ),
        "that adds the layers' own movements; those that come after must carry each of them on": lambda J, delta: (
            delta.sum(dim=0)
        ),
        "the order is reversed: what layer 1 adds must pass all others, what layer L adds passes none": (
            lambda J, delta: carried(J.flip(0), delta.flip(0))
        ),
        "the Jacobians act transposed: for a vector x, x @ J is Jᵀx": lambda J, delta: carried(J.mT, delta),
        "only the first layer's movement is carried on; every layer adds its own": lambda J, delta: carried(
            J, delta * (torch.arange(len(J)) == 0)[:, None]
        ),
    },
    further={"where the movement is δ₁": lambda J, delta: carried(J, delta) * (1 + (len(J) == 1))},
)
def carried(J: Float[Tensor, "L n n"], delta: Float[Tensor, "L n"]) -> Float[Tensor, " n"]:
    """Return Σ J_L ⋯ J_{l+1} δ_l."""
    total = torch.zeros_like(delta[0])
    for matrix, movement in zip(J, delta, strict=True):
        total = matrix @ total + movement
    return total


@self_check(
    "rates-exercise-one",
    wrong={
        "it is positive": [0.0, 0.0, 0.0],
        "the shares of the sum": [0.884, 0.869, 0.875],
        "not divided at all": [0.011, 0.045, 0.207],
        "the power is ½": [0.0034, 0.0063, 0.0148],
        "divided by too much": [1.1e-4, 1.7e-5, 4e-6],
        "times the smallest": [0.001, 0.002, 0.0012],
    },
)
def _one(far: object) -> None:
    found = tensor("far", list(far) if isinstance(far, tuple) else far, 3)
    require(found.min() > 0, "a movement is a length; it is positive as soon as the trunk learns")
    require(
        found.min() < 0.4,
        "these seem to be the shares of the sum, the second of the numbers that moved returns for each",
    )
    grown = (found[2] / found[0]).item()
    shown = f"from 10 to 200 layers your movement grows {grown:.3g} times"
    require(grown < 10, f"{shown}, about as the depth does: the rate is not divided at all")
    require(grown < 2.5, f"{shown}, about as the root of the depth: the power is ½, the default of the package")
    fallen = f"from 10 to 200 layers your movement falls to {grown:.2g} of what it was: the rate is divided by too much"
    require(grown > 0.4, fallen)
    spread = (found.max() / found.min()).item()
    require(spread < 1.5, f"the largest movement is {spread:.2f} times the smallest; with p = 1 they are nearer")
