"""Self-checks of the chapter "Depth and learning rate"."""

from __future__ import annotations

import torch
from torch import Tensor

from orthobook.orthogonal import haar
from orthobook.teaching.exercises._self_checks import function, near, require, self_check, tensor


@self_check("rates-exercise-carry")
def _carry(carried: object) -> None:
    carried = function("carried", carried)
    generator = torch.Generator().manual_seed(0)
    default = torch.get_default_dtype()
    for depth in (3, 1, 5):
        J = haar(depth, 4, 4, generator=generator) + 0.1 * torch.randn(depth, 4, 4, generator=generator)
        delta = torch.randn(depth, 4, generator=generator)
        J, delta = J.to(default), delta.to(default)
        at = f"for {depth} layers of width 4" if depth > 1 else "for a single layer"
        found = tensor(f"carried(J, delta) {at}", carried(J.clone(), delta.clone()), 4)
        right = _sum(J, delta)
        for fault, wrong in {
            "δ_l is a movement of the output of layer l: its own Jacobian does not act on it": _sum(J, delta, own=True),
            "that adds the layers' own movements; those that come after must carry each of them on": delta.sum(dim=0),
            "the order is reversed: what layer 1 adds must pass all others, what layer L adds passes none": (
                _sum(J.flip(0), delta.flip(0))
            ),
            "the Jacobians act transposed: for a vector x, x @ J is Jᵀx": _sum(J.mT, delta),
            "only the first layer's movement is carried on; every layer adds its own": _sum(
                J, delta * (torch.arange(depth) == 0)[:, None]
            ),
        }.items():
            require(near(wrong, right) or not near(found, wrong), fault)
        place = "" if depth > 1 else ", where the movement is δ₁"
        require(near(found, right), f"{at} your movement is {(found - right).norm():.2g} away from the sum{place}")


def _sum(J: Tensor, delta: Tensor, *, own: bool = False) -> Tensor:
    """Return Σ J_L ⋯ J_{l+1} δ_l; with ``own`` Σ J_L ⋯ J_l δ_l."""
    total = torch.zeros(J.shape[-1], dtype=torch.float64)
    for matrix, movement in zip(J.double(), delta.double(), strict=True):
        total = matrix @ (total + movement) if own else matrix @ total + movement
    return total


@self_check("rates-exercise-one")
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
