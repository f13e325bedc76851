"""Self-checks of the chapter "Where gradients vanish"."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from orthobook.teaching.exercises._self_checks import (
    comparison,
    function,
    near,
    number,
    require,
    self_check,
    tensor,
    whole,
)


def _jacobians() -> Iterator[tuple[Tensor, Tensor]]:
    """Return the Jacobians of 4 layers of width 3, and a gradient at the output."""
    generator = torch.Generator().manual_seed(0)
    yield torch.randn(4, 3, 3, generator=generator), torch.randn(3, generator=generator)


def _rows(value: object, J: Tensor, u: Tensor) -> Tensor:
    """Return the five gradients of an answer, the last of them at the output."""
    rows = getattr(value, "shape", (5,))[0]
    require(rows != 4, "there are 4 gradients for 4 layers; u₀, at the input of the first layer, and u_L both belong")
    found = tensor("gradients(jacobians, u)", value, 5, 3)
    require(near(found[-1], u) or not near(found[0], u), "the order of the layers asks for u₀ first and u_L last")
    require(near(found[-1], u), "the last row is not the u that is given")
    return found


def _first_wrong_row(found: Tensor, right: Tensor, *_: Tensor) -> str:
    """Say which gradient is the first that is wrong on the way back."""
    row = max(row for row in range(4) if not near(found[row], right[row]))
    return f"row {row} is not what layer {row + 1} makes of row {row + 1}"


@comparison(
    "vanishing-exercise-chain",
    _jacobians,
    read=_rows,
    otherwise=_first_wrong_row,
    wrong={
        "you multiply by J; that carries changes forwards, gradients need Jᵀ": lambda J, u: gradients(J.mT, u),
        "you start with J₁; which layer does a gradient that comes back meet first": lambda J, u: gradients(
            J.flip(0), u
        ),
    },
    further={
        "u₀, at the input of the first layer, and u_L both belong": lambda J, u: gradients(J, u)[1:],
        "u₀ first and u_L last": lambda J, u: gradients(J, u).flip(0),
        "the last row is not the u": lambda J, u: gradients(J, 2 * u),
        "row 0 is not what layer 1 makes of row 1": lambda J, u: torch.cat([u[None], gradients(J, u)[1:]]),
    },
)
def gradients(jacobians: Float[Tensor, "L n n"], u: Float[Tensor, " n"]) -> Float[Tensor, "L+1 n"]:
    """Return the gradients at all states, from the input to the output."""
    found = [u]
    for J in jacobians.flip(0):
        found.insert(0, J.mT @ found[0])
    return torch.stack(found)


def _no_rate(found: float, right: float, n: int) -> str:
    """Say what is wrong with a rate that no usual mistake gives."""
    require(
        found < 0,
        f"at n = {n} you have {found:.4f}, but a mean of logarithms is below the logarithm of the mean, which is 0",
    )
    return "; the mean of log(χ²/n) over many draws is another number"


@comparison(
    "vanishing-exercise-logarithm",
    [(4,), (2,), (16,), (64,)],
    at=lambda found, n: f"at n = {n} you have {found:.4f}",
    otherwise=_no_rate,
    wrong={
        ", the rate of the length; that of its square is asked for": lambda n: rate(n) / 2,
        "that is ψ(n/2), without the logarithm": lambda n: _digamma(n / 2),
        "the sum for ψ(n/2) has one term too many": lambda n: rate(n) + 2 / n,
        "ψ is to be taken at n/2, not at n": lambda n: _digamma(n) - math.log(n / 2),
        "ψ and the logarithm are to be taken at n/2, not at n": lambda n: rate(2 * n),
    },
    further={"which is 0": lambda n: -rate(n), "over many draws is another number": lambda n: -1 / n},
)
def rate(n: int) -> float:
    """Return ψ(n/2) − log(n/2)."""
    return _digamma(n / 2) - math.log(n / 2)


def _digamma(x: float) -> float:
    """Return ψ(x)."""
    return torch.tensor(x, dtype=torch.float64).digamma().item()


@self_check(
    "vanishing-exercise-underflow",
    wrong={
        "float32 goes on to 2⁻¹⁴⁹": (392, 385, 192),
        "it does not round to 0": (233, 455, 228),
        "so it is rounded up": (463, 455, 228),
        "the first is asked for": (467, 455, 228),
        "is that counted from the input": (466, 145, 228),
        "no entry is larger": (466, 480, 228),
        "which is not 0 yet": (466, 400, 228),
        "much before the entries": (466, 455, 455),
        "twice the exponent": (466, 455, 372),
    },
)
def _underflow(length: object, entries: object, norm: object) -> None:
    k, some, half = whole("length", length), whole("entries", entries), whole("norm", norm)
    smallest_normal = math.ceil(126 * math.log(2) / math.log(1.25))
    require(
        abs(k - smallest_normal) > 1,
        "2⁻¹²⁶ is the smallest number of full precision; with less, float32 goes on to 2⁻¹⁴⁹",
    )
    require(
        0.8**k < 2.0**-149,
        f"0.8^{k} is {0.8**k:.1e}, more than the smallest positive number, {2.0**-149:.1e}: it does not round to 0",
    )
    require(0.8**k < 2.0**-150, f"0.8^{k} is below 2⁻¹⁴⁹ but nearer to it than to 0, so it is rounded up")
    require(0.8 ** (k - 1) >= 2.0**-150, f"0.8^{k} rounds to 0, and so does a number before it; the first is asked for")
    require(some >= 300, f"{some} layers from the output no entry is 0 yet; is that counted from the input")
    require(some <= k, "no entry is larger than the length, so the entries are all 0 no later than it")
    require(some >= k - 30, f"at distance {some} an entry is still about 0.8^{some} times a tenth, which is not 0 yet")
    require(half < some - 30, "the norm is reported as 0 much before the entries are; what does ob.gradient_norms say")
    require(
        abs(half - some / 2) < 15,
        f"you have the norm reported as 0 at {half}; it is the root of a sum of squares, and a square has twice the "
        "exponent",
    )


def _needed(depth: int, factor: float) -> float:
    """Return the width at which the norm falls by the factor, before it is rounded up."""
    return 5 / 4 * depth / math.log(factor)


# Widths of other networks and quantities, in the order in which they are looked for.
_WIDTHS = {
    "orthogonal weights; the Gaussian ones have two sources of randomness": lambda *given: 3 / 5 * _needed(*given),
    "the squared norm": lambda *given: 2 * _needed(*given),
    "a linear network; the masks of ReLU cost something too": lambda *given: 2 / 5 * _needed(*given),
    "a logarithm to the base 10; the rate is a power of e": lambda *given: math.log(10) * _needed(*given),
    "a factor of e, whatever factor is given": lambda depth, factor: _needed(depth, math.e),
}


@self_check(
    "vanishing-exercise-width",
    wrong={f"as for {what}": lambda *given, width=width: math.ceil(width(*given)) for what, width in _WIDTHS.items()}
    | {
        "a width is a whole number": lambda *given: _needed(*given) + 0.1,
        "a little too narrow": lambda *given: int(_needed(*given)),
        "a width of one less will do": lambda *given: math.ceil(_needed(*given)) + 1,
        "a factor of 3.0 you ask for a width of 1": lambda *given: 1,
    },
)
def _width(width_needed: object) -> None:
    width_needed = function("width_needed", width_needed)
    for depth, factor in ((200, 3.0), (1000, 2.0), (300, 12.0)):
        found = number(f"width_needed({depth}, {factor})", width_needed(depth, factor))
        at = f"at depth {depth} and a factor of {factor} you ask for a width of {found:g}"
        for what, width in _WIDTHS.items():
            require(abs(found - width(depth, factor)) > 1.5, f"{at}, as for {what}")
        exact = _needed(depth, factor)
        require(found == int(found), f"{at}; a width is a whole number")
        require(
            not exact - 1 < found < exact, f"{at}, a little too narrow: there the norm falls by slightly more than that"
        )
        require(not exact + 1 <= found < exact + 2, f"{at}; a width of one less will do")
        require(exact <= found < exact + 1, at)
