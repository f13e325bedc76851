"""How deep a nearly orthogonal network may be before its singular values leave a range [1/κ, κ].

Worst case, for every input and any weights within the stated distance: if the singular values of each layer's Jacobian
lie in [a, b], those of L layers lie in [aᴸ, bᴸ].

Typical, for Haar weights and a width n that tends to infinity: the entries of Wx are N(0, q), q = ‖x‖²/n. For a layer
with slopes φ'(z), the mean of log σᵢ(J) over i, and half the log of the mean of σᵢ(J)², grow with each layer by

    E log|φ'(z)|   and   ½ log E φ'(z)²,   while   q ← E φ(z)².

With P_s(t) the density of N(0, q) + s·Cauchy (the Voigt profile), the smooth fold √((z + τ)² + ε²) − τ has

    E log|φ'| = −π ∫₀^ε P_s(τ) ds   and   E φ'² = 1 − π ε P_ε(τ).

Layers I + G, G random with mean square singular value v → 0 and t = Lv fixed, have log σ₁(J) = −log σₙ(J) =
½ √(t(t + 2)) + arsinh √(t/2): random errors add up like √L, the worst case like L.

:func:`perturb_` puts the weights of a network off by δ: W(I + δG), ‖G‖₂ = 1, so that ‖WᵀW − I‖ ≤ 2δ + δ².
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Literal, Protocol

import numpy as np
import torch
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import ndtr, voigt_profile

from orthobook._checks import finite_number, seeded, whole_number
from orthobook.networks import DeepNetwork

__all__ = [
    "Bounds",
    "Contraction",
    "branch_bounds",
    "contractions",
    "guaranteed_depth",
    "perturb_",
    "random_depth",
    "random_spread",
    "slope_bounds",
    "smooth_fold",
    "typical_depth",
    "uneven_fold",
    "weight_bounds",
]


class Layer(Protocol):
    """What one layer does to the singular values, given the mean square q of its input's entries."""

    def __call__(self, *, variance: float) -> Contraction: ...


# --- worst case ---


@dataclass(frozen=True)
class Bounds:
    """Numbers 0 ≤ smallest ≤ largest ≤ ∞ between which the singular values of a layer's Jacobian lie, at every input.

    ValueError if they are none.
    """

    smallest: float
    largest: float

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value != math.inf:
                finite_number(name, value, least=0)
        if self.smallest > self.largest:
            raise ValueError(f"smallest must be at most largest, got {self.smallest!r} and {self.largest!r}")

    def after(self, depth: int) -> Bounds:
        """Return the bounds for a product of ``depth`` such layers: its condition number is at most their ratio."""
        depth = whole_number("depth", depth, least=0)
        with np.errstate(over="ignore"):  # a power that is too large for a float is inf
            return Bounds(*np.float_power([self.smallest, self.largest], depth).tolist())


def slope_bounds(delta: float) -> Bounds:
    """Return [1 − δ, 1 + δ]: an activation with slopes in that range, in modulus, after an orthogonal matrix.

    Attained in every direction and at any depth, by W = I and units that stay on one side each. ValueError if δ is not
    in [0, 1).
    """
    delta = finite_number("delta", delta, least=0, below=1)
    return Bounds(1 - delta, 1 + delta)


def weight_bounds(delta: float, layer: Literal["feedforward", "residual"]) -> Bounds:
    """Return what ‖VᵀV − I‖₂ ≤ δ leaves of the isometry of a fold, at every input.

    For a feedforward layer, J = SW with S = diag(±1), it is [√(1 − δ), √(1 + δ)], the range of the singular values of
    W. For the modified residual layer, J = I − 2VDVᵀ with D = diag(0 or 1), it is [1 − 2δ, 1 + 2δ], or [0, 1 + 2δ] if
    δ > ½: with V_A the active columns, the eigenvalues of V_AᵀV_A interlace those of VᵀV, so they lie in
    [1 − δ, 1 + δ], and J has the eigenvalues 1 and 1 − 2λ for each of them. Both are attained at any depth.

    Raises
    ------
    ValueError
        If δ is not in [0, 1), or the layer is none of the two.
    """
    delta = finite_number("delta", delta, least=0, below=1)
    if layer == "feedforward":
        return Bounds(math.sqrt(1 - delta), math.sqrt(1 + delta))
    if layer == "residual":
        return Bounds(max(0.0, 1 - 2 * delta), 1 + 2 * delta)
    raise ValueError(f"unknown layer {layer!r}; allowed: feedforward, residual")


def branch_bounds(scale: float, norm: float) -> Bounds:
    """Return [1 − s‖B‖₂, 1 + s‖B‖₂] for a residual layer x + s·branch(x) whose branch has a Jacobian B of that norm.

    Attained by B = ±‖B‖₂ I. ValueError if a number is negative or not finite.
    """
    largest = finite_number("scale", scale, least=0) * finite_number("norm", norm, least=0)
    return Bounds(max(0.0, 1 - largest), 1 + largest)


def guaranteed_depth(bounds: Bounds, kappa: float) -> float:
    """Return the largest number of layers whose product keeps all singular values in [1/κ, κ], whatever the layers.

    Parameters
    ----------
    bounds : Bounds
        Of the singular values of each layer.
    kappa : float
        κ > 1.

    Returns
    -------
    float
        A whole number, or ``math.inf`` if both bounds are 1. It cannot be improved where the bounds are attained.

    Raises
    ------
    ValueError
        If κ is not above 1.
    """
    width = _log_kappa(kappa)
    if bounds.smallest <= 0:
        return 0
    steepest = max(math.log(bounds.largest), -math.log(bounds.smallest))
    return math.inf if steepest <= 0 else math.floor(width / steepest * (1 + 1e-12))  # a whole quotient stays whole


def _log_kappa(kappa: float) -> float:
    if not finite_number("kappa", kappa) > 1:
        raise ValueError(f"kappa must be a finite number above 1, got {kappa!r}")
    return math.log(kappa)


# --- typical: entrywise slopes ---


@dataclass(frozen=True)
class Contraction:
    """What one layer, or several, typically do to the singular values, in the limit of great width."""

    mean_log: float  # mean of log σᵢ: E log|φ'(z)|, summed over layers
    log_rms: float  # log of the root mean square of the σᵢ: ½ log E φ'(z)², summed over layers; see contractions
    variance: float  # q after the layer, or the last of them


def smooth_fold(epsilon: float, threshold: float = 0.0, variance: float = 1.0) -> Contraction:
    """Return what a layer √((Wx + τ)² + ε²) − τ typically does to inputs with ‖x‖²/n = q.

    Parameters
    ----------
    epsilon, threshold, variance : float
        ε ≥ 0, τ, and q > 0.

    Returns
    -------
    Contraction
        The mean log is −ε √(π/2q) exp(−τ²/2q) + O(ε²), and never below −ε √(π/2q).

    Raises
    ------
    ValueError
        If a number is out of range.
    """
    epsilon = finite_number("epsilon", epsilon, least=0)
    tau, deviation = finite_number("threshold", threshold), _deviation(variance)
    mean_log = -math.pi * quad(lambda s: voigt_profile(tau, deviation, s), 0, epsilon)[0]
    lost = math.pi * epsilon * voigt_profile(tau, deviation, epsilon)  # of the mean square
    after = _mean_square(lambda t: math.hypot(t, epsilon) - tau, tau, deviation)
    return Contraction(mean_log, math.log1p(-lost) / 2, after)


def uneven_fold(delta: float, threshold: float = 0.0, variance: float = 1.0) -> Contraction:
    """Return what a layer with the slopes 1 and −(1 − δ), shifted by τ, typically does to inputs with ‖x‖²/n = q.

    A unit is on the side of the smaller slope with the probability p = Φ(−τ/√q), so the mean log is p log(1 − δ) and
    the mean square 1 − p (1 − (1 − δ)²).

    Raises
    ------
    ValueError
        If δ is not in [0, 1), τ is not finite or q not positive.
    """
    delta = finite_number("delta", delta, least=0, below=1)
    tau, deviation = finite_number("threshold", threshold), _deviation(variance)
    share = float(ndtr(-tau / deviation))
    after = _mean_square(lambda t: (t if t >= 0 else (delta - 1) * t) - tau, tau, deviation)
    return Contraction(share * math.log1p(-delta), math.log1p(-share * delta * (2 - delta)) / 2, after)


def _deviation(variance: float) -> float:
    return math.sqrt(finite_number("variance", variance, positive=True))


def _mean_square(function: Callable[[float], float], mean: float, deviation: float) -> float:
    """Return E f(t)² for t ~ N(mean, deviation²); f may bend at 0."""
    low, high = mean - 10 * deviation, mean + 10 * deviation
    ends = np.unique(np.clip([low, 0, mean, high], low, high))
    scale = deviation * math.sqrt(2 * math.pi)

    def integrand(t: float) -> float:
        return function(t) ** 2 * math.exp(-(((t - mean) / deviation) ** 2) / 2) / scale

    return sum(quad(integrand, *piece)[0] for piece in pairwise(ends))


def contractions(layer: Layer, variance: float = 1.0) -> Iterator[Contraction]:
    """Yield what 1, 2, 3, … layers typically do, for ever; lengths are followed from layer to layer.

    The mean log needs no more than that the entries of every Wx are typical, and is good at widths of 64. The root mean
    square also needs n → ∞ at fixed depth: at width n a single singular value of about 1, as that of an input's own
    direction may be, keeps it above 1/√n.

    Parameters
    ----------
    layer : callable
        Takes q by the name ``variance`` and returns the contraction of one layer: ``partial(smooth_fold, 0.1, 3.0)``.
    variance : float
        q at the first layer, positive.
    """
    total, rms, variance = 0.0, 0.0, _deviation(variance) ** 2
    while True:
        one = layer(variance=variance)
        total, rms, variance = total + one.mean_log, rms + one.log_rms, one.variance
        yield Contraction(total, rms, variance)


def typical_depth(layer: Layer, kappa: float, variance: float = 1.0, *, longest: int = 10_000) -> int:
    """Return the largest number of layers whose mean log σᵢ is typically at least −log κ.

    At that depth the geometric mean of the singular values has fallen to 1/κ; some are smaller.

    Parameters
    ----------
    layer, variance
        As for :func:`contractions`.
    kappa : float
        κ > 1.
    longest : int
        Where the search ends.

    Returns
    -------
    int
        The number of layers; ``longest`` says that it is at least that.

    Raises
    ------
    ValueError
        If κ is not above 1 or a number is out of range.
    """
    width, longest = _log_kappa(kappa), whole_number("longest", longest, least=1)
    for depth, found in enumerate(islice(contractions(layer, variance), longest)):
        if found.mean_log < -width:
            return depth
    return longest


# --- typical: layers I + G ---


def random_spread(time: float) -> float:
    """Return the typical log σ₁(J) = −log σₙ(J) of many layers I + G, G random, whose mean square σ² add up to t.

    For Gaussian G of variance v/n in each entry t = Lv; the result is the limit of n → ∞, then L → ∞ with t fixed. It
    is √(2t) for small t and grows like t/2. ValueError if t is negative or not finite.
    """
    time = finite_number("time", time, least=0)
    return math.sqrt(time) * math.sqrt(time + 2) / 2 + math.asinh(math.sqrt(time / 2))  # the integral of √(t + 2) d√t


def random_depth(mean_square: float, kappa: float) -> float:
    """Return the number of layers I + G after which the singular values typically leave [1/κ, κ].

    Parameters
    ----------
    mean_square : float
        v ≥ 0, the mean of σᵢ(G)²: s² for residual layers whose branch, scaled by s, keeps the mean square; δ²/4 for
        weights W(I + δG) with a Gaussian G that is divided by its norm, as that has a mean square of ¼; δ²/8 for
        weights W(I + G) with a Gaussian G and ‖(I + G)ᵀ(I + G) − I‖₂ = δ.
    kappa : float
        κ > 1.

    Returns
    -------
    float
        L, not rounded; ``math.inf`` if v = 0.

    Raises
    ------
    ValueError
        If v is negative or κ not above 1.
    """
    mean_square, width = finite_number("mean_square", mean_square, least=0), _log_kappa(kappa)
    if mean_square == 0:
        return math.inf
    # in √t, as the spread is nearly linear in that, and at least √2 times as large
    root = brentq(lambda root: random_spread(root**2) - width, 0, width, xtol=1e-13 * width, rtol=1e-13)
    return root**2 / mean_square


@torch.no_grad()
def perturb_(net: DeepNetwork, delta: float, *, seed: int = 0) -> DeepNetwork:
    """Multiply every orthogonal parameter of a network, in place, by I + δG from the right, G random with ‖G‖₂ = 1.

    Parameters
    ----------
    net : DeepNetwork
        The network; what is not orthogonal in its architecture is left alone.
    delta : float
        δ, from 0 up to but not including 1. If W is orthogonal, the singular values of W(I + δG) lie in [1 − δ, 1 + δ].
    seed : int
        Fixes the matrices G: Gaussian, divided by their norm, another one for every layer.

    Returns
    -------
    DeepNetwork
        The same network, for chaining.

    Raises
    ------
    ValueError
        If δ or the seed is out of range.
    """
    delta = finite_number("delta", delta, least=0, below=1)
    generator = seeded(seed)
    for name in net.block.orthogonal:
        stack = net.trunk[name]
        shape = (*stack.shape[:-2], stack.shape[-1], stack.shape[-1])
        gaussian = torch.randn(shape, generator=generator, dtype=torch.float64, device="cpu")
        norms = torch.linalg.matrix_norm(gaussian, ord=2, keepdim=True)
        stack.add_(stack @ (delta * gaussian / norms).to(stack))
    return net
