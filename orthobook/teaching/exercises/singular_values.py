"""Self-checks of the chapter "Singular values of deep networks"."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from orthobook.teaching.exercises._self_checks import function, near, number, require, self_check, tensor


@self_check("singular-exercise-push")
def _push(tanh_jacobian: object) -> None:
    generator = torch.Generator().manual_seed(0)
    W, b, x = (torch.randn(*shape, generator=generator) for shape in ((3, 4, 4), (3, 4), (4,)))
    W, b, x = (given.to(torch.get_default_dtype()) for given in (W, b, x))
    found = tensor("your J", function("tanh_jacobian", tanh_jacobian)(W.clone(), b.clone(), x.clone()), 4, 4)
    W, b, x = W.double(), b.double(), x.double()
    right = _pushed(W, b, x)
    after = torch.func.jacrev(lambda x: _run(W, b, x))(x)
    for fault, wrong in {
        "your J is the transpose of the Jacobian": right.mT,
        "you multiply the layers from the right; the product is J_L ⋯ J₁": _product(_factors(W, b, x), last=False),
        "the slopes are on the wrong side: D_l W_l multiplies the rows of W_l": _product(
            [W_l * D[:, 0] for W_l, D in zip(W, _slopes(W, b, x), strict=True)]
        ),
        "your slopes are 1 − z² with z before tanh; they are 1 − tanh²": _pushed(W, b, x, lambda z: 1 - z**2),
        "your slopes apply tanh twice: the layer's output is tanh already": _pushed(
            W, b, x, lambda z: 1 - z.tanh().tanh() ** 2
        ),
        "you leave out the slopes": _product(list(W)),
        "you leave out the biases": _pushed(W, 0 * b, x),
        "one layer is missing: the last": _pushed(W[:-1], b[:-1], x),
        "one layer is missing: the first": _product(_factors(W, b, x)[1:]),
    }.items():
        require(not near(found, wrong), fault)
    require(near(found, after), "your J is not the derivative of x_L with respect to x₀, for 3 layers of width 4")


def _run(W: Tensor, b: Tensor, x: Tensor) -> Tensor:
    """Return the last state of a tanh network."""
    for W_l, b_l in zip(W, b, strict=True):
        x = (W_l @ x + b_l).tanh()
    return x


def _slopes(W: Tensor, b: Tensor, x: Tensor, slope: Callable[[Tensor], Tensor] | None = None) -> list[Tensor]:
    """Return the slopes in each layer of a tanh network, as columns, given a slope at a pre-activation."""
    slope = slope or (lambda z: 1 - z.tanh() ** 2)
    return [slope(W[i] @ _run(W[:i], b[:i], x) + b[i])[:, None] for i in range(len(W))]


def _factors(W: Tensor, b: Tensor, x: Tensor, slope: Callable[[Tensor], Tensor] | None = None) -> list[Tensor]:
    """Return the Jacobians D_l W_l of the layers, from the first."""
    return [D * W_l for D, W_l in zip(_slopes(W, b, x, slope), W, strict=True)]


def _product(factors: list[Tensor], *, last: bool = True) -> Tensor:
    """Return the product of the factors, the last of them on the left, or on the right."""
    J = torch.eye(len(factors[0]), dtype=factors[0].dtype)
    for factor in factors:
        J = factor @ J if last else J @ factor
    return J


def _pushed(W: Tensor, b: Tensor, x: Tensor, slope: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """Return the Jacobian of a tanh network, given a slope at a pre-activation."""
    return _product(_factors(W, b, x, slope))


@self_check("singular-exercise-extreme")
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


@self_check("singular-exercise-moments")
def _moments(variance_at: object) -> None:
    variance_at = function("variance_at", variance_at)
    for n, depth in ((3, 1), (4, 2), (16, 6), (64, 40)):
        found = number(f"variance_at({n}, {depth})", variance_at(n, depth))
        alpha, beta = _alpha_beta(n, depth)
        at = f"at width {n} and depth {depth} you have {found:.4f}"
        require(not near(found, alpha), f"{at}, which is α alone; the variance is α − β")
        one_by_one = _alpha_beta(n, depth, one_by_one=True)
        require(
            not near(found, one_by_one[0] - one_by_one[1]),
            f"{at}: the equation for β needs the α of the layer before, which you have overwritten",
        )
        for layers, much in ((depth - 1, "few"), (depth + 1, "many")):
            other = _alpha_beta(n, layers)
            require(not near(found, other[0] - other[1]), f"{at}: one layer too {much}")
        require(not near(found, alpha / beta - 1), f"{at}: the variance is not divided by the squared mean here")
        require(not near(found, depth), f"{at}: that is the limit of infinite width")
        require(near(found, alpha - beta), at)


def _alpha_beta(n: int, depth: int, *, one_by_one: bool = False) -> tuple[float, float]:
    """Return α and β after some layers, where asked for with the new α in the equation for β."""
    alpha = beta = 1.0
    for _ in range(depth):
        new = ((n + 4) * alpha + n * beta) / (n + 2)
        beta = ((n + 3) * beta + 2 * (new if one_by_one else alpha) / n) / (n + 2)
        alpha = new
    return alpha, beta
