"""Self-checks of the chapter "Where gradients vanish"."""

from __future__ import annotations

import math
from itertools import pairwise

import torch

from orthobook.teaching.exercises._self_checks import function, near, number, require, self_check, tensor, whole


@self_check("vanishing-exercise-chain")
def _chain(gradients: object) -> None:
    generator = torch.Generator().manual_seed(0)
    J, u = torch.randn(4, 3, 3, generator=generator), torch.randn(3, generator=generator)
    J, u = J.to(torch.get_default_dtype()), u.to(torch.get_default_dtype())
    value = function("gradients", gradients)(J.clone(), u.clone())
    rows = getattr(value, "shape", (5,))[0]
    require(rows != 4, "there are 4 gradients for 4 layers; u₀, at the input of the first layer, and u_L both belong")
    found = tensor("gradients(jacobians, u)", value, 5, 3)
    J, u = J.double(), u.double()
    require(near(found[-1], u) or not near(found[0], u), "the order of the layers asks for u₀ first and u_L last")
    require(near(found[-1], u), "the last row is not the u that is given")
    require(not near(found[3], J[3] @ u), "you multiply by J; that carries changes forwards, gradients need Jᵀ")
    require(
        not near(found[3], J[0].mT @ u), "you start with J₁; which layer does a gradient that comes back meet first"
    )
    for layer, (below, above) in reversed(list(enumerate(pairwise(found), start=1))):
        require(near(below, J[layer - 1].mT @ above), f"row {layer - 1} is not what layer {layer} makes of row {layer}")


@self_check("vanishing-exercise-logarithm")
def _logarithm(rate: object) -> None:
    rate = function("rate", rate)
    for n in (4, 2, 16, 64):
        found, right = number(f"rate({n})", rate(n)), _rate(n)
        at = f"at n = {n} you have {found:.4f}"
        require(abs(found - right / 2) > 1e-4, f"{at}, the rate of the length; that of its square is asked for")
        require(n == 2 or abs(found - right - math.log(n / 2)) > 1e-4, f"{at}: that is ψ(n/2), without the logarithm")
        require(abs(found - right - 2 / n) > 1e-4, f"{at}: the sum for ψ(n/2) has one term too many")
        over = torch.tensor(float(n), dtype=torch.float64).digamma().item()
        at_n = min(abs(found - over + math.log(x)) for x in (n, n / 2))
        require(n == 2 or at_n > 1e-4, f"{at}: ψ is to be taken at n/2, not at n")
        require(found < 0, f"{at}, but a mean of logarithms is below the logarithm of the mean, which is 0")
        require(abs(found - right) < 1e-4, f"{at}; the mean of log(χ²/n) over many draws is another number")


def _rate(n: int) -> float:
    """Return ψ(n/2) − log(n/2)."""
    return torch.tensor(n / 2, dtype=torch.float64).digamma().item() - math.log(n / 2)


@self_check("vanishing-exercise-underflow")
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


@self_check("vanishing-exercise-width")
def _width(width_needed: object) -> None:
    width_needed = function("width_needed", width_needed)
    for depth, factor in ((200, 3.0), (1000, 2.0), (300, 12.0)):
        found = number(f"width_needed({depth}, {factor})", width_needed(depth, factor))
        at = f"at depth {depth} and a factor of {factor} you ask for a width of {found:g}"
        exact = 5 / 4 * depth / math.log(factor)
        for share, what in (
            (3 / 5, "orthogonal weights; the Gaussian ones have two sources of randomness"),
            (2, "the squared norm"),
            (2 / 5, "a linear network; the masks of ReLU cost something too"),
            (math.log(10), "a logarithm to the base 10; the rate is a power of e"),
            (math.log(factor), "a factor of e, whatever factor is given"),
        ):
            require(abs(found - share * exact) > 1.5, f"{at}, as for {what}")
        require(found == int(found), f"{at}; a width is a whole number")
        require(
            not exact - 1 < found < exact, f"{at}, a little too narrow: there the norm falls by slightly more than that"
        )
        require(not exact + 1 <= found < exact + 2, f"{at}; a width of one less will do")
        require(exact <= found < exact + 1, at)
