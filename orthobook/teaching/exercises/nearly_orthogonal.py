"""Self-checks of the chapter "Nearly orthogonal networks"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from orthobook.networks import build
from orthobook.teaching.exercises._self_checks import comparison, near, number, require, self_check, tensor
from orthobook.theory import depth_budget

_DELTA, _KAPPA = 1e-6, 1.01
_SURE = depth_budget.guaranteed_depth(depth_budget.weight_bounds(_DELTA, "feedforward"), _KAPPA)
_TYPICAL = depth_budget.random_depth(_DELTA**2 / 8, _KAPPA)

_WRONG_SURE = {
    "sure: δ is the error of WᵀW, not that of the singular values of W": _SURE / 2,
    "sure: that is the modified residual layer; here a fold follows W": _SURE / 4,
    "sure: that is twice as many; singular values must stay within 1 %, not their squares": 2 * _SURE,
}
_WRONG_TYPICAL = {
    "typical: δ bounds G + Gᵀ, not G: its norm is not 2√v": depth_budget.random_depth(_DELTA**2 / 4, _KAPPA),
    "typical: with v = δ² you take each entry of √n G to be δ; which norm is δ": depth_budget.random_depth(
        _DELTA**2, _KAPPA
    ),
    "typical: G + Gᵀ is not 2G; its entries have the variance 2v/n": depth_budget.random_depth(_DELTA**2 / 16, _KAPPA),
}


@self_check(
    "nearly-exercise-float",
    wrong={fault: (value, _TYPICAL) for fault, value in _WRONG_SURE.items()}
    | {fault: (_SURE, value) for fault, value in _WRONG_TYPICAL.items()}
    | {
        "are the two swapped": (_TYPICAL, _SURE),
        "sure: 1,000,000 layers; compare": (1e6, _TYPICAL),
        "typical: 1e+09 layers; solve": (_SURE, 1e9),
    },
)
def _float(sure: object, typical: object) -> None:
    sure, typical = number("sure", sure), number("typical", typical)
    require(sure < typical, "random errors allow more layers than the worst case: are the two swapped?")
    for fault, depth in _WRONG_SURE.items():
        require(not near(sure / depth, 1, 0.02), fault)
    require(near(sure / _SURE, 1, 0.02), f"sure: {sure:,.0f} layers; compare ln √(1 + δ) with ln 1.01")
    for fault, depth in _WRONG_TYPICAL.items():
        require(not near(typical / depth, 1, 0.02), fault)
    require(near(typical / _TYPICAL, 1, 0.02), f"typical: {typical:.3g} layers; solve √(2Lv) = ln 1.01 for L")


def _rounded() -> Iterator[tuple[list[Tensor], float, float]]:
    """Return the states of networks of rounded folds at three inputs, with τ and ε."""
    x = torch.randn(3, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    how = {"width": 12, "inputs": 12, "classes": 2, "seed": 0, "dtype": torch.float64, "device": "cpu"}
    for tau, epsilon in ((0.0, 0.1), (1.0, 0.3)):
        net = build("smooth-fold", depth=8, threshold=tau, epsilon=epsilon, **how)  # type: ignore[arg-type]
        with torch.no_grad():
            yield [state.clone() for state in net.states(x)], tau, epsilon


def _defined(answer: object, *_: object) -> Tensor:
    """Return the three means of an answer, and refuse roots and logarithms of negative numbers."""
    undefined = isinstance(answer, Tensor) and answer.isnan().any()
    require(not undefined, "you take the root or the logarithm of something negative: is x_0 a root, as the others are")
    return tensor("mean_log(states, tau, epsilon)", answer, 3)


@comparison(
    "nearly-exercise-states",
    _rounded,
    read=_defined,
    at=lambda found, states, tau, epsilon: f"at τ = {tau:g}, ε = {epsilon:g}",
    otherwise=lambda found, *_: f" you find {found[0]:.4f} for an input whose singular values give another mean",
    wrong={
        "that is the mean over layers; the layers' means add up": lambda states, *how: (
            mean_log(states, *how) / (len(states) - 1)
        ),
        "that is the sum over the units; the mean is asked for": lambda states, *how: (
            mean_log(states, *how) * states[0].shape[1]
        ),
        "that is twice the value: the logarithm of the slope, not of its square": lambda *given: 2 * mean_log(*given),
        "the sign is turned: singular values below 1 have a negative logarithm": lambda *given: -mean_log(*given),
        "that is the last layer alone": lambda states, *how: mean_log(states[-2:], *how),
        "the last layer is missing": lambda states, *how: mean_log(states[:-1], *how),
        "τ was subtracted after the root; add it before you look for |z|": lambda states, tau, epsilon: mean_log(
            states, 0.0, epsilon
        ),
    },
    further={
        "is x_0 a root": lambda states, tau, epsilon: sum(
            (1 - (epsilon / (x + tau)) ** 2).log().mean(dim=1) / 2 for x in states
        )
    },
)
def mean_log(states: Sequence[Float[Tensor, "batch n"]], tau: float, epsilon: float) -> Float[Tensor, " batch"]:
    """Return the mean of ln σ from the states; an x that no rounded fold puts out counts as slope 1."""
    total = torch.zeros(len(states[0]), dtype=states[0].dtype)
    for x in states[1:]:
        squared = 1 - (epsilon / (x + tau)) ** 2
        total = total + squared.where(squared > 0, 1.0).log().mean(dim=1) / 2
    return total
