"""Self-checks of the chapter "Nearly orthogonal networks"."""

from __future__ import annotations

import torch
from torch import Tensor

from orthobook.derivatives import singular_values
from orthobook.networks import build
from orthobook.teaching.exercises._self_checks import function, near, number, require, self_check, tensor
from orthobook.theory import depth_budget


@self_check("nearly-exercise-float")
def _float(sure: object, typical: object) -> None:
    sure, typical = number("sure", sure), number("typical", typical)
    delta, kappa = 1e-6, 1.01
    require(sure < typical, "random errors allow more layers than the worst case: are the two swapped?")
    layer = depth_budget.guaranteed_depth(depth_budget.weight_bounds(delta, "feedforward"), kappa)
    for fault, depth in {
        "sure: δ is the error of WᵀW, not that of the singular values of W": layer / 2,
        "sure: that is the modified residual layer; here a fold follows W": layer / 4,
        "sure: that is twice as many; singular values must stay within 1 %, not their squares": 2 * layer,
    }.items():
        require(not near(sure / depth, 1, 0.02), fault)
    require(near(sure / layer, 1, 0.02), f"sure: {sure:,.0f} layers; compare ln √(1 + δ) with ln 1.01")
    for fault, v in {
        "typical: δ bounds G + Gᵀ, not G: its norm is not 2√v": delta**2 / 4,
        "typical: with v = δ² you take each entry of √n G to be δ; which norm is δ": delta**2,
        "typical: G + Gᵀ is not 2G; its entries have the variance 2v/n": delta**2 / 16,
    }.items():
        require(not near(typical / depth_budget.random_depth(v, kappa), 1, 0.02), fault)
    layers = depth_budget.random_depth(delta**2 / 8, kappa)
    require(near(typical / layers, 1, 0.02), f"typical: {typical:.3g} layers; solve √(2Lv) = ln 1.01 for L")


@self_check("nearly-exercise-states")
def _states(mean_log: object) -> None:
    mean_log = function("mean_log", mean_log)
    for tau, epsilon, depth in ((0.0, 0.1, 8), (1.0, 0.3, 8)):
        states, right = _rounded(tau, epsilon, depth)
        answer = mean_log([state.clone() for state in states], tau, epsilon)
        undefined = isinstance(answer, Tensor) and answer.isnan().any()
        require(
            not undefined, "you take the root or the logarithm of something negative: is x_0 a root, as the others are"
        )
        found = tensor("mean_log(states, tau, epsilon)", answer, 3)
        at = f"at τ = {tau:g}, ε = {epsilon:g}"
        for fault, value in {
            "that is the mean over layers; the layers' means add up": right / depth,
            "that is the sum over the units; the mean is asked for": right * 12,
            "that is twice the value: the logarithm of the slope, not of its square": 2 * right,
            "the sign is turned: singular values below 1 have a negative logarithm": -right,
            "that is the last layer alone": _logs(states[-1], tau, epsilon),
            "the last layer is missing": right - _logs(states[-1], tau, epsilon),
            "τ was subtracted after the root; add it before you look for |z|": sum(
                _logs(x, 0.0, epsilon) for x in states[1:]
            ),
        }.items():
            require(near(value, right) or not near(found, value), f"{at}: {fault}")
        require(
            near(found, right), f"{at} you find {found[0]:.4f} for an input whose singular values give another mean"
        )


def _rounded(tau: float, epsilon: float, depth: int) -> tuple[list[Tensor], Tensor]:
    """Return the states of a network of rounded folds at three inputs, and the mean of ln σ."""
    how = {"width": 12, "inputs": 12, "classes": 2, "seed": 0, "dtype": torch.float64, "device": "cpu"}
    net = build("smooth-fold", depth=depth, threshold=tau, epsilon=epsilon, **how)  # type: ignore[arg-type]
    x = torch.randn(3, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        states = [state.clone() for state in net.states(x)]
    return states, singular_values(net, x).log().mean(dim=1)


def _logs(x: Tensor, tau: float, epsilon: float) -> Tensor:
    """Return the mean of ln |φ'| where φ(z) = x + τ; values that no rounded fold takes count as slope 1."""
    root = x + tau
    return torch.where(root.abs() > epsilon, (1 - (epsilon / root) ** 2).sqrt(), 1.0).log().mean(dim=-1)
