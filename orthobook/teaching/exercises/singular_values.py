"""Self-checks of the chapter "Singular values of deep networks"."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from orthobook.teaching.exercises._self_checks import comparison, function, near, require, self_check, tensor


def _network() -> Iterator[tuple[Tensor, ...]]:
    """Return weights, biases and an input of 3 layers of width 4."""
    generator = torch.Generator().manual_seed(0)
    yield tuple(torch.randn(*shape, generator=generator) for shape in ((3, 4, 4), (3, 4), (4,)))


@comparison(
    "singular-exercise-push",
    _network,
    read=lambda J, *network: tensor("your J", J, 4, 4),
    otherwise=lambda *_: "your J is not the derivative of x_L with respect to x₀, for 3 layers of width 4",
    wrong={
        "your J is the transpose of the Jacobian": lambda W, b, x: tanh_jacobian(W, b, x).mT,
        "you multiply the layers from the right; the product is J_L ⋯ J₁": {"left": False},
        "the slopes are on the wrong side: D_l W_l multiplies the rows of W_l": {"rows": False},
        "your slopes are 1 − z² with z before tanh; they are 1 − tanh²": {"slope": lambda z: 1 - z**2},
        "your slopes apply tanh twice: the layer's output is tanh already": {
            "slope": lambda z: 1 - z.tanh().tanh() ** 2
        },
        "you leave out the slopes": {"slope": torch.ones_like},
        "you leave out the biases": lambda W, b, x: tanh_jacobian(W, 0 * b, x),
        "one layer is missing: the last": lambda W, b, x: tanh_jacobian(W[:-1], b[:-1], x),
        "one layer is missing: the first": lambda W, b, x: tanh_jacobian(W[1:], b[1:], (W[0] @ x + b[0]).tanh()),
    },
)
def tanh_jacobian(
    weights: Float[Tensor, "L n n"],
    biases: Float[Tensor, "L n"],
    x: Float[Tensor, " n"],
    slope: Callable[[Tensor], Tensor] = lambda z: 1 - z.tanh() ** 2,
    *,
    left: bool = True,
    rows: bool = True,
) -> Float[Tensor, "n n"]:
    """Return the Jacobian of a tanh network; another slope, factors on the right or scaled columns are mistakes."""
    J = torch.eye(len(x), dtype=x.dtype)
    for W, b in zip(weights, biases, strict=True):
        z = W @ x + b
        factor = (slope(z)[:, None] if rows else slope(z)) * W
        J = factor @ J if left else J @ factor
        x = z.tanh()
    return J


@self_check(
    "singular-exercise-extreme",
    wrong={
        "two gradients are needed": lambda J: torch.linalg.svd(J).U,
        "longest has the length": lambda J: (2 * torch.linalg.svd(J).U[:, 0], torch.linalg.svd(J).U[:, -1]),
        "are exchanged": lambda J: torch.linalg.svd(J).U[:, [-1, 0]].unbind(dim=1),
        "gradients meet Jᵀ": lambda J: torch.linalg.svd(J).Vh[[0, -1]].unbind(),
        "is a row of P": lambda J: torch.linalg.svd(J).U[[0, -1]].unbind(),
        "or a column of Qᵀ": lambda J: torch.linalg.svd(J).Vh[:, [0, -1]].unbind(dim=1),
        "is not extreme": lambda J: torch.eye(5)[:2].unbind(),
    },
)
def _extreme(extreme_gradients: object) -> None:
    J = torch.randn(5, 5, generator=torch.Generator().manual_seed(0)).to(torch.get_default_dtype())
    value = function("extreme_gradients", extreme_gradients)(J.clone())
    require(isinstance(value, tuple | list) and len(value) == 2, "two gradients are needed: return longest, shortest")
    longest, shortest = (tensor(name, u, 5) for name, u in zip(("longest", "shortest"), value, strict=True))
    J = J.double()
    P, values, Qt = torch.linalg.svd(J)
    for name, u in (("longest", longest), ("shortest", shortest)):
        require(near(u.norm(), 1.0), f"{name} has the length {u.norm():.3f}; gradients of length 1 are compared")
    swapped = near((J.mT @ longest).norm(), values[-1]) and near((J.mT @ shortest).norm(), values[0])
    require(not swapped, "longest and shortest are exchanged; singular values come in descending order")
    for name, u, i in (("longest", longest, 0), ("shortest", shortest, -1)):
        require(not near(u.abs(), Qt[i].abs()), f"{name} is extreme among the changes v, for Jv; gradients meet Jᵀ")
        rows = near(u.abs(), P[i].abs()) or near(u.abs(), Qt[:, i].abs())
        require(not rows, f"{name} is a row of P or a column of Qᵀ, where J = PΣQᵀ; which vectors have a meaning")
        arrives = (J.mT @ u).norm()
        require(near(arrives, values[i]), f"{name} arrives with the length {arrives:.3f}, which is not extreme")


@comparison(
    "singular-exercise-moments",
    [(3, 1), (4, 2), (16, 6), (64, 40)],
    at=lambda found, n, depth: f"at width {n} and depth {depth} you have {found:.4f}",
    wrong={
        ", which is α alone; the variance is α − β": lambda n, depth: _alpha_beta(n, depth)[0],
        "the equation for β needs the α of the layer before, which you have overwritten": {"one_by_one": True},
        "one layer too few": lambda n, depth: variance_at(n, depth - 1),
        "one layer too many": lambda n, depth: variance_at(n, depth + 1),
        "the variance is not divided by the squared mean here": lambda n, depth: (
            variance_at(n, depth) / _alpha_beta(n, depth)[1]
        ),
        "that is the limit of infinite width": lambda n, depth: depth,
    },
)
def variance_at(n: int, depth: int, *, one_by_one: bool = False) -> float:
    """Return α − β after some layers."""
    alpha, beta = _alpha_beta(n, depth, one_by_one=one_by_one)
    return alpha - beta


def _alpha_beta(n: int, depth: int, *, one_by_one: bool = False) -> tuple[float, float]:
    """Return α and β after some layers, where asked for with the new α in the equation for β."""
    alpha = beta = 1.0
    for _ in range(depth):
        new = ((n + 4) * alpha + n * beta) / (n + 2)
        beta = ((n + 3) * beta + 2 * (new if one_by_one else alpha) / n) / (n + 2)
        alpha = new
    return alpha, beta
