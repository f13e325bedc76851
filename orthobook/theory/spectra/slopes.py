"""The law of T = σ'(√q·z + b)², z standard normal: of the squared slopes in a wide network, and its mean squares q.

A piecewise affine σ has finitely many slopes, and the law is discrete. Where σ is smooth between breakpoints, E f(T) is
an integral over z. The functions f of interest, such as 1/(ζ − T), are analytic for ζ in the upper half-plane, but
nearly singular where ζ is near to a value of T. So the path of the integral is moved, z = x + iδ(x), to where Im T ≤ 0:

    T(x + iδ) ≈ T exp(iδ d log T/dx),   hence δ of the other sign than d log T/dx, and 0 at breakpoints
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Inexact
from numpy.polynomial import legendre
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri
from torch import Tensor

from orthobook._checks import finite_number, whole_number
from orthobook.layers.activations import Activation

__all__ = ["SlopeLaw", "mean_squares", "output_square", "slope_law"]

Reals = NDArray[np.float64]
Complexes = NDArray[Any]  # complex numbers: NumPy's stubs lose track of them in sums and powers

_REACH = 9.0  # a standard normal variable is larger with probability 2e-19
_NODES, _WEIGHTS = legendre.leggauss(40)  # on panels of width 9/8, or less where σ varies more
_DEGREES = np.arange(24)[:, None]  # of the polynomials that continue σ' off the real axis
_FIT = legendre.legvander(_NODES, 23).T * _WEIGHTS * (_DEGREES + 0.5)  # values at the nodes to coefficients
_QUANTILES = 2**14


@dataclass(frozen=True, eq=False)
class SlopeLaw:
    """The law of T = σ'(z)² as values with weights: exact where σ is piecewise affine, else a quadrature rule.

    A rule gives E f(T) for functions f that are analytic on the upper half-plane, such as 1/(ζ − T), up to the real
    axis: the path of the integral over z has been moved to where Im T ≤ 0. Then values and weights are complex.

    A discrete law may be built from two sequences: values, which must be finite and at least 0, and their
    probabilities. ValueError if they are not, or if the weights do not sum to 1; TypeError if they are not numbers.
    """

    squares: Inexact[NDArray[Any], " values"]
    weights: Inexact[NDArray[Any], " values"]
    quantiles: Float[Reals, " quantiles"] | None = None  # of a smooth σ, equally likely ones; None where exact
    moments: Callable[[float], float] | None = None  # of a smooth σ, p ↦ E T^p; None where the weights give it

    def __post_init__(self) -> None:
        for name in ("squares", "weights"):
            object.__setattr__(self, name, _numbers(name, getattr(self, name)))
        if self.squares.shape != self.weights.shape or self.squares.ndim != 1 or self.squares.size == 0:
            raise ValueError(
                f"a law needs one weight for each square, got the shapes {self.squares.shape} and {self.weights.shape}"
            )
        if abs(self.weights.sum() - 1) > 1e-9:
            raise ValueError(f"weights must sum to 1, got {self.weights.sum():.10g}")

    def mean(self, power: float = 1) -> float:
        """Return E T^power; ValueError if it is infinite, or carried by values too rare to be resolved."""
        if self.moments is not None:
            return self.moments(power)
        return float((self.weights @ self.squares**power).real)

    @property
    def atom(self) -> float:
        """P(T = 0): the share of the flat units."""
        return float(self.weights[self.squares == 0].sum()) if self.quantiles is None else 0.0

    @property
    def largest(self) -> float:
        """The largest T."""
        return float((self.squares if self.quantiles is None else self.quantiles).max())

    @property
    def constant(self) -> bool:
        """Whether T is one number to five digits: the law then counts as a point mass."""
        return self.mean(2) <= (1 + 1e-10) * self.mean() ** 2


def slope_law(activation: Activation, mean_square: float = 1.0, *, bias: float = 0.0) -> SlopeLaw:
    """Return the law of σ'(√q·z + b)², z standard normal.

    Where the activation states its slopes and breakpoints the law is discrete and exact. Otherwise it is a quadrature
    rule for σ that is analytic between its breakpoints, if it states any, and has no straight piece that more than half
    of the units use: good to five digits, mostly to eight.

    Parameters
    ----------
    activation : Activation
        σ with its derivative.
    mean_square : float
        q, at least 0.
    bias : float
        b.

    Raises
    ------
    TypeError
        If σ is not an Activation.
    ValueError
        If q is negative or not finite, or 0 where b is a breakpoint; b is not finite; or E T or E T² is infinite, or
        carried by values of z too rare to be resolved.
    RuntimeError
        If σ' varies too fast for the rule, or jumps where no breakpoint is stated.
    """
    check_activation(activation)
    deviation = math.sqrt(finite_number("mean_square", mean_square, least=0))
    bias = finite_number("bias", bias)
    if deviation == 0:
        if activation.breakpoints is not None and bias in activation.breakpoints_within(abs(bias)):
            raise ValueError(f"mean_square must be positive at a breakpoint of {activation.name}, got {mean_square!r}")
        return SlopeLaw(_at(activation.derivative, np.array([bias])) ** 2, np.ones(1))
    if activation.slopes is not None and activation.breakpoints is not None:
        reach = _REACH * deviation + abs(bias)
        ends = np.array(sorted(activation.breakpoints_within(reach)))
        inner = (ends[1:] + ends[:-1]) / 2
        between = np.concatenate([ends[:1] - 1, inner, ends[-1:] + 1]) if ends.size else np.zeros(1)
        weights = np.diff(ndtr(np.concatenate([[-np.inf], (ends - bias) / deviation, [np.inf]])))
        return SlopeLaw(*_merged(_at(activation.derivative, between) ** 2, weights))

    def moments(power: float) -> float:
        what = "σ'" if power == 1 else f"|σ'|^{power:g}"
        return _integral(activation, what, lambda x: activation.derivative(x).abs() ** power, deviation, bias)

    rule = _path_rule(activation, deviation, bias, (moments(1), moments(2)))
    shares = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    quantiles = np.sort(_at(activation.derivative, deviation * ndtri(shares) + bias) ** 2)
    return SlopeLaw(*rule, quantiles, moments)


def check_activation(activation: object) -> None:
    """TypeError unless the argument is an Activation."""
    if not isinstance(activation, Activation):
        raise TypeError(f"activation must be an Activation of orthobook.layers, got {activation!r}")


def mean_squares(
    activation: Activation,
    depth: int,
    *,
    weight_scale: float = 1.0,
    bias_variance: float = 0.0,
    bias: float = 0.0,
    mean_square: float = 1.0,
) -> Float[Reals, " depth"]:
    """Return the mean squares q_1 … q_L of a wide feedforward network's preactivations W_l x_{l−1}.

    q_1 = σ_w² q + σ_b², then q_{l+1} = σ_w² E σ(√q_l·z + b)² + σ_b² (Poole et al. 2016; Pennington et al. 2017).
    Parameters and errors as in :func:`feedforward_law`.
    """
    check_activation(activation)
    scale, added = (
        finite_number("weight_scale", weight_scale, positive=True) ** 2,
        finite_number("bias_variance", bias_variance, least=0),
    )
    squares = [scale * finite_number("mean_square", mean_square, least=0) + added]
    for _ in range(1, whole_number("depth", depth, least=1)):
        squares.append(scale * output_square(activation, squares[-1], bias) + added)
    return np.array(squares)


def output_square(activation: Activation, mean_square: float, bias: float = 0.0) -> float:
    """Return E σ(√q·z + b)²."""
    return _integral(activation, "σ", activation, math.sqrt(mean_square), bias)


def _panels(activation: Activation, deviation: float, bias: float, fineness: float) -> tuple[Reals, Reals]:
    """Return nodes x on panels that no breakpoint divides, (panels, 40), and the panels' halves, (panels, 1)."""
    ends = np.linspace(-_REACH, _REACH, 2 * math.ceil(8 * fineness) + 1)
    bends = _bends(activation, deviation, bias)
    ends = np.unique(np.concatenate([ends, bends[np.abs(bends) < _REACH]]))
    half, centres = np.diff(ends)[:, None] / 2, (ends[1:, None] + ends[:-1, None]) / 2
    return centres + half * _NODES, half


def _fineness(activation: Activation, deviation: float) -> float:
    return min(max(deviation, 1.0), 64.0) if activation.breakpoints is None else 1.0


def _bends(activation: Activation, deviation: float, bias: float) -> Reals:
    """Return the z at which √q·z + b is a breakpoint."""
    if activation.breakpoints is None or deviation == 0:
        return np.empty(0)
    return (np.array(activation.breakpoints_within(_REACH * deviation + abs(bias))) - bias) / deviation


def _normal_density(z: Any) -> Any:
    return np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)


def _integral(
    activation: Activation, what: str, function: Callable[[Tensor], Tensor], deviation: float, bias: float
) -> float:
    """Return E f(√q·z + b)²; ValueError where it is not finite, or its tail still counts at the ends."""
    z, half = _panels(activation, deviation, bias, 4 * _fineness(activation, deviation))
    with np.errstate(over="ignore", invalid="ignore"):
        terms = half * _WEIGHTS * _normal_density(z) * _at(function, deviation * z + bias) ** 2
        total = float(terms.sum())
        rare = float(terms[np.abs(z) > _REACH - 1].sum())
    if not math.isfinite(total) or rare > 1e-4 * total:
        raise ValueError(
            f"the mean square of {what} of {activation.name} at q = {deviation**2:.3g} must be finite and not carried "
            f"by |z| > {_REACH - 1:g}, too rare to be resolved; got {total:.3g}, and {rare:.3g} of it from there"
        )
    return total


def _path_rule(
    activation: Activation, deviation: float, bias: float, means: tuple[float, float]
) -> tuple[Complexes, Complexes]:
    """Return values of T and weights, on a path where Im T is not positive, that have the means E T and E T².

    The path must keep clear of the singularities of σ': it comes nearer to the real axis until the means are right.
    """
    fineness = _fineness(activation, deviation)
    x, _ = _panels(activation, deviation, bias, fineness)
    slopes = _at(activation.derivative, deviation * x + bias)
    leasts = (1e-9, 0.5) if slopes.min() >= 0 or slopes.max() <= 0 else (0.5,)
    for factor, least in itertools.product((1, 2, 4, 8, 16), leasts):
        squares, weights = _path(activation, deviation, bias, min(factor * fineness, 64), least)
        if all(abs(weights @ squares**k - mean) <= 3e-5 * mean for k, mean in enumerate(means, start=1)):
            return squares, weights
    raise RuntimeError(
        f"σ' of {activation.name} at q = {deviation**2:.3g} varies too fast to be integrated; "
        "breakpoints, if it has any, must be stated"
    )


def _path(
    activation: Activation, deviation: float, bias: float, fineness: float, least: float
) -> tuple[Complexes, Complexes]:
    """Return values of T and weights on the path z = x + iδ(x), |δ| < 1/2 divided by the fineness.

    On each panel a polynomial through the nodes continues σ' to the path. ``least`` keeps d log T/dx finite where σ' is
    0, as a share of the largest |σ'|.
    """
    x, half = _panels(activation, deviation, bias, fineness)
    slopes, scale = _at(activation.derivative, deviation * x + bias), 1 / fineness
    largest = np.abs(slopes).max() or 1.0
    slopes = slopes / largest
    fitted = _FIT @ slopes.T
    rates = scale * 2 * slopes * _polynomials(legendre.legder(fitted), _NODES) / half / (slopes**2 + least**2)
    shifts = -0.5 * scale * rates / np.sqrt(9 + rates**2)
    for bend in _bends(activation, deviation, bias):
        shifts *= (x - bend) ** 2 / ((x - bend) ** 2 + scale**2)
    along = 1 + 1j * _polynomials(legendre.legder(_FIT @ shifts.T), _NODES) / half
    squares = (largest * _polynomials(fitted, _NODES + 1j * shifts / half)) ** 2
    weights = half * _WEIGHTS * along * _normal_density(x + 1j * shifts)
    counts = half * _WEIGHTS * _normal_density(x) > 1e-16
    return _folded(squares[counts], weights[counts])


def _polynomials(coefficients: Any, points: Any) -> Any:
    """Return one polynomial for each panel, coefficients (degrees, panels), at its points (panels, nodes)."""
    return legendre.legval(points, coefficients[:, :, None], tensor=False)


def _folded(squares: Complexes, weights: Complexes) -> tuple[Complexes, Complexes]:
    """Return a rule in half as many values where σ'² is even."""
    weights = weights / weights.sum()
    if np.abs(squares - squares[::-1]).max() < 1e-9 * np.abs(squares).max():
        half = len(squares) // 2
        return squares[:half], 2 * weights[:half]
    return squares, weights


def _merged(squares: Reals, weights: Reals) -> tuple[Reals, Reals]:
    """Return the different values, to rounding, with the sums of their weights."""
    if not np.isfinite(squares).all():
        raise ValueError(f"slopes must be finite, got squares up to {np.max(squares)}")
    ascending = np.argsort(squares)
    squares, weights = squares[ascending], weights[ascending]
    first = np.concatenate([[True], np.diff(squares) > 1e-13 * squares[1:]])
    sums = np.bincount(np.cumsum(first) - 1, weights)
    kept = sums > 1e-15
    return squares[first][kept], sums[kept] / sums[kept].sum()


def _at(function: Callable[[Tensor], Tensor], points: Reals) -> Reals:
    return np.asarray(function(torch.from_numpy(points)), dtype=np.float64)


def _numbers(name: str, values: ArrayLike) -> NDArray[Any]:
    """Return finite numbers as an array, which where they are real are at least 0."""
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "iufc":
        raise TypeError(f"{name} must be numbers, got {values!r}")
    array = array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {array[~np.isfinite(array)][0]}")
    if array.dtype.kind == "f" and (array < 0).any():
        raise ValueError(f"{name} must be at least 0, got {array[array < 0][0]:g}")
    return array
