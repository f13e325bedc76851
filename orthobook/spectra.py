"""The singular values of wide random networks' Jacobians, by free probability.

Let Λ be a squared singular value of J, M(ζ) = E Λ/(ζ − Λ) and κ = (1 + M)/M. Where the factors of J = J_L ⋯ J_1 are
free, each has its own argument ζ_l, with M_l(ζ_l) = M(ζ), and since S-transforms multiply, S_l = κ/ζ_l,

    ζ/κ = ∏ ζ_l/κ        P(Λ > λ) = Im [Σ U_l(ζ_l) − (L − 1) log(κ − 1)]/π  at ζ = λ + i0,  U_l' = (1 + M_l)/ζ_l

    D = diag σ'(z), Haar weights      M_l = E T/(ζ_l − T),  T = σ'(z)²       U_l = E log(ζ_l − T)
    a Gaussian weight, variance 1/n   ζ_l = κ²/(κ − 1)                       U_l = log(κ − 1) + M
    I + W₂DW₁, Gaussian, strength c   M_l = (r − 1)/2 + E cTy/(1 − cTy),     U_l = 2M − log(r − 1) − r + E log(1 − cTy)
                                      y = (r² − 1)/4,  ζ_l = (1 + M)²/y

c is the product of the two weights' variances times n². The last row holds as I + W₂DW₁ has the singular values of
u + W₂DW₁, u Haar: R-diagonal elements, free, so that their determining series add; that of an element a is the inverse
of z ↦ z(1 + z) S_{aa*}(z). The equations are solved far from the spectrum, where M = E Λ/ζ, and followed to the real
axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Inexact
from numpy.polynomial import legendre
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import trapezoid
from scipy.interpolate import CubicSpline, PchipInterpolator
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri
from torch import Tensor

from orthobook import activations
from orthobook._checks import finite_number, whole_number
from orthobook.activations import Activation
from orthobook.blocks import Feedforward, ReLUHe, ReLUOrthogonal, Residual, block

__all__ = [
    "FeedforwardLayer",
    "ResidualLayer",
    "SlopeLaw",
    "SpectralLaw",
    "feedforward_law",
    "mean_squares",
    "product_law",
    "residual_law",
    "slope_law",
    "spectral_law",
]

Reals = NDArray[np.float64]
Complexes = NDArray[Any]  # complex numbers: NumPy's stubs lose track of them in sums and powers

_REACH = 9.0  # a standard normal variable is larger with probability 2e-19
_NODES, _WEIGHTS = legendre.leggauss(40)  # on panels of width 9/8, or less where σ varies more
_DEGREES = np.arange(24)[:, None]  # of the polynomials that continue σ' off the real axis
_FIT = legendre.legvander(_NODES, 23).T * _WEIGHTS * (_DEGREES + 0.5)  # values at the nodes to coefficients
_QUANTILES = 2**14
_KINDS = 10  # of different smooth laws that are told apart in one network
_POINTS = 512  # at which a law is tabulated
_BELOW = 1e-5  # the share of the singular values that a table may leave out where they reach down to 0
_ANGLE = 1e-12  # how near to the real axis, in arg ζ, the equations are followed
_NOISE = 1e-8, 1e-3  # errors of arg κ outside of the support, where it is 0: of exact laws, and of rules


# --- the law of the squared slopes ---


@dataclass(frozen=True, eq=False)
class SlopeLaw:
    """The law of T = σ'(z)² as values with weights: exact where σ is piecewise affine, else a quadrature rule.

    A rule gives E f(T) for functions f that are analytic on the upper half-plane, such as 1/(ζ − T), up to the real
    axis: the path of the integral over z has been moved to where Im T ≤ 0. Then values and weights are complex.
    """

    squares: Inexact[NDArray[Any], " values"]
    weights: Inexact[NDArray[Any], " values"]
    quantiles: Float[Reals, " quantiles"] | None = None  # of a smooth σ, equally likely ones; None where exact

    def mean(self, power: int = 1) -> float:
        """Return E T^power."""
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
    rule, good to about eight digits for σ that is analytic between its breakpoints, if it states any, and has no
    straight piece that more than half of the units use.

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
    ValueError
        If q is negative or not finite, b is not finite, or σ'(√q·z + b) is not square-integrable: E T is infinite, or
        carried by values of z too rare to be resolved.
    """
    deviation = math.sqrt(_not_negative("mean_square", mean_square))
    bias = finite_number("bias", bias)
    if deviation == 0:
        return SlopeLaw(_at(activation.derivative, np.array([bias])) ** 2, np.ones(1))
    if activation.slopes is not None and activation.breakpoints is not None:
        reach = _REACH * deviation + abs(bias)
        ends = np.array(sorted(activation.breakpoints_within(reach)))
        inner = (ends[1:] + ends[:-1]) / 2
        between = np.concatenate([ends[:1] - 1, inner, ends[-1:] + 1]) if ends.size else np.zeros(1)
        weights = np.diff(ndtr(np.concatenate([[-np.inf], (ends - bias) / deviation, [np.inf]])))
        return SlopeLaw(*_merged(_at(activation.derivative, between) ** 2, weights))
    _integral(activation, "σ'", activation.derivative, deviation, bias)
    shares = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    quantiles = np.sort(_at(activation.derivative, deviation * ndtri(shares) + bias) ** 2)
    return SlopeLaw(*_path_rule(activation, deviation, bias), quantiles)


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
    scale, added = _positive("weight_scale", weight_scale) ** 2, _not_negative("bias_variance", bias_variance)
    squares = [scale * _not_negative("mean_square", mean_square) + added]
    for _ in range(1, whole_number("depth", depth, least=1)):
        squares.append(scale * _output_square(activation, squares[-1], bias) + added)
    return np.array(squares)


def _output_square(activation: Activation, mean_square: float, bias: float = 0.0) -> float:
    """Return E σ(√q·z + b)²."""
    return _integral(activation, "σ", activation, math.sqrt(mean_square), bias)


def _panels(activation: Activation, deviation: float, bias: float) -> tuple[Reals, Reals]:
    """Return nodes x on panels that no breakpoint divides, (panels, 40), and the panels' halves, (panels, 1)."""
    ends = np.linspace(-_REACH, _REACH, 2 * math.ceil(8 * _fineness(activation, deviation)) + 1)
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
    z, half = _panels(activation, deviation, bias)
    terms = half * _WEIGHTS * _normal_density(z) * _at(function, deviation * z + bias) ** 2
    total = float(terms.sum())
    if not math.isfinite(total) or terms[np.abs(z) > _REACH - 1].sum() > 1e-9 * total:
        raise ValueError(
            f"{what} of {activation.name} must be square-integrable under the normal law, "
            f"got a mean square of {total:.3g} for |z| up to {_REACH:g} and more beyond"
        )
    return total


def _path_rule(activation: Activation, deviation: float, bias: float) -> tuple[Complexes, Complexes]:
    """Return values of T = σ'(√q·z + b)² and weights, on a path z = x + iδ(x) where Im T is not positive.

    To first order T turns by the angle δ·d log T/dx, so δ has the other sign than that derivative; at breakpoints it
    is 0. On each panel a polynomial through the nodes continues σ' to the path.
    """
    x, half = _panels(activation, deviation, bias)
    slopes, scale = _at(activation.derivative, deviation * x + bias), 1 / _fineness(activation, deviation)
    fitted = _FIT @ slopes.T
    # kept from being infinite where σ' changes its sign
    least = (1e-9 if slopes.min() >= 0 or slopes.max() <= 0 else 0.5) * np.abs(slopes).max()
    rates = scale * 2 * slopes * _polynomials(legendre.legder(fitted), _NODES) / half / (slopes**2 + least**2)
    shifts = -0.5 * scale * rates / np.sqrt(9 + rates**2)
    for bend in _bends(activation, deviation, bias):
        shifts *= (x - bend) ** 2 / ((x - bend) ** 2 + scale**2)
    along = 1 + 1j * _polynomials(legendre.legder(_FIT @ shifts.T), _NODES) / half
    squares = _polynomials(fitted, _NODES + 1j * shifts / half) ** 2
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


def _positive(name: str, value: float) -> float:
    return finite_number(name, value, positive=True)


def _not_negative(name: str, value: float) -> float:
    value = finite_number(name, value)
    if value < 0:
        raise ValueError(f"{name} must be at least 0, got {value!r}")
    return value


# --- layers ---


@dataclass(frozen=True, eq=False)
class FeedforwardLayer:
    """A layer with the Jacobian DW: D of independent slopes, W a multiple of a Haar or of a Gaussian matrix.

    ``weight_scale`` is σ_w: W is σ_w times orthogonal or, where ``gaussian``, has entries of variance σ_w²/n.
    """

    slopes: SlopeLaw
    weight_scale: float = 1.0
    gaussian: bool = False

    def __post_init__(self) -> None:
        _positive("weight_scale", self.weight_scale)

    @property
    def mean(self) -> float:
        """The mean of its squared singular values."""
        return self.slopes.mean() * self.weight_scale**2

    @property
    def relative_variance(self) -> float:
        """The variance of its squared singular values, divided by their mean's square."""
        return self.slopes.mean(2) / self.slopes.mean() ** 2 - 1 + self.gaussian


@dataclass(frozen=True, eq=False)
class ResidualLayer:
    """A layer with the Jacobian I + W₂DW₁: D of independent slopes, W₁ and W₂ Gaussian.

    ``strength`` is c: where the entries have variances σ₁²/n and σ₂²/n and the branch the factor s, c = s²σ₁²σ₂².
    """

    slopes: SlopeLaw
    strength: float = 1.0

    def __post_init__(self) -> None:
        _not_negative("strength", self.strength)

    @property
    def mean(self) -> float:
        """The mean of its squared singular values."""
        return 1 + self.strength * self.slopes.mean()

    @property
    def relative_variance(self) -> float:
        """The variance of its squared singular values, divided by their mean's square."""
        return 1 + (self.strength**2 * self.slopes.mean(2) - 1) / self.mean**2


Layer = FeedforwardLayer | ResidualLayer


# --- the equations ---


class _Slopes:
    """``count`` free factors D of one law, with the unknown u = log ζ_l."""

    def __init__(self, law: SlopeLaw, count: float) -> None:
        self.law, self.values, self.weights, self.count = law, law.squares[:, None], law.weights, count
        self.atom = law.atom
        self.moments, self.largest = law.weights * law.squares, law.largest

    def evaluate(self, u: Complexes) -> tuple[Complexes, ...]:
        """Return M_l, 1 + M_l, log ζ_l, and the derivatives of M_l and log ζ_l by u."""
        zeta = np.exp(u)
        inverse = 1 / (zeta - self.values)
        M, rest = self.moments @ inverse, zeta * (self.weights @ inverse)  # 1 + M loses digits where M is near −1
        return M, rest, u, -zeta * (self.moments @ inverse**2), np.ones_like(u)

    def start(self, log_inverse: Complexes) -> Complexes:
        """Return u for a large 1/M."""
        return log_inverse + math.log(self.moments.sum().real)

    def potential(self, u: Complexes, M: Complexes) -> Reals:
        """Return Im U_l."""
        return (self.weights @ _log(np.exp(u) - self.values)).imag

    def size(self, M: float) -> float:
        """Return log |ζ_l| for ζ_l < 0, where M_l(ζ_l) = M."""
        if (self.moments @ (1 / (math.exp(-600) + self.values[:, 0]))).real < -M:
            raise RuntimeError("the spectral law's equations were not solved: slopes are too small to be resolved")
        v = brentq(lambda v: (self.moments @ (1 / (math.exp(v) + self.values[:, 0]))).real + M, -600, 600)
        return float(v)


class _Branches:
    """``count`` free factors I + W₂DW₁ of one law, with the unknown u = log(1 − r)."""

    atom = 0.0

    def __init__(self, law: SlopeLaw, strength: float, count: float) -> None:
        self.values, self.weights, self.count = strength * law.squares[:, None], law.weights, count
        self.mean = 1 + strength * law.mean()
        # ‖I + W₂DW₁‖ is at most 1 + 2·2·√(c max T): either Gaussian matrix has the norm 2
        self.largest = (1 + 4 * math.sqrt(strength * law.largest)) ** 2

    def _transform(self, v: Any) -> tuple[Any, Any, Any]:
        """Return M_l, its derivative by v and y, for v = r − 1."""
        y = v * (v + 2) / 4
        inverse = 1 / (1 - self.values * y)
        moments = self.weights * self.values[:, 0]
        return v / 2 + y * (moments @ inverse), 0.5 + (v + 1) / 2 * (moments @ inverse**2), y

    def evaluate(self, u: Complexes) -> tuple[Complexes, ...]:
        """Return M_l, 1 + M_l, log ζ_l, and the derivatives of M_l and log ζ_l by u."""
        v = -np.exp(u)
        M, slope, y = self._transform(v)
        return M, 1 + M, _log((1 + M) ** 2 / y), v * slope, 2 * v * slope / (1 + M) - 2 * (v + 1) / (v + 2)

    def start(self, log_inverse: Complexes) -> Complexes:
        """Return u for a large 1/M."""
        return 1j * math.pi - log_inverse + math.log(2 / self.mean)

    def potential(self, u: Complexes, M: Complexes) -> Reals:
        """Return Im U_l."""
        v = -np.exp(u)
        logarithms = self.weights @ np.log(1 - self.values * (v * (v + 2) / 4))
        return 2 * M.imag + math.pi - u.imag - v.imag + logarithms.imag

    def size(self, M: float) -> float:
        """Return log |ζ_l| for ζ_l < 0, where M_l(ζ_l) = M."""
        v = brentq(lambda v: float(self._transform(np.array([v]))[0][0].real) - M, -2, 0, xtol=1e-15)
        return 2 * math.log(1 + M) - math.log(-v * (v + 2) / 4)


def _largest(values: Complexes) -> float:
    return float(np.abs(values).max())


def _log(z: Complexes) -> Complexes:
    """Return log z with Im log z from −π/2 to 3π/2: continuous on the closed upper half-plane."""
    return np.log(-1j * z) + 0.5j * math.pi


class _Product:
    """The equations of a product of free factors; the unknowns are k = log κ and one u for each kind of factor."""

    def __init__(self, layers: Iterable[tuple[Layer, float]]) -> None:
        """Take layers with how many there are of each, in sum a whole number."""
        self.log_mean = self.relative_variance = self.log_scale = self.gaussians = self.excess = 0.0
        self.factors: list[_Slopes | _Branches] = []
        kinds: dict[tuple[bytes | float | None, ...], tuple[Layer, float]] = {}
        for layer, count in layers:
            self.log_mean += count * math.log(layer.mean)
            self.relative_variance += count * layer.relative_variance
            if isinstance(layer, FeedforwardLayer):
                self.log_scale += 2 * count * math.log(layer.weight_scale)
                self.gaussians += count * layer.gaussian
                if layer.slopes.constant:
                    self.log_scale += count * math.log(layer.slopes.mean())
                    continue
            elif layer.mean == 1:  # no branch
                continue
            strength = layer.strength if isinstance(layer, ResidualLayer) else None
            kind = strength, layer.slopes.squares.tobytes(), layer.slopes.weights.tobytes()
            kinds[kind] = layer, count + kinds.get(kind, (layer, 0.0))[1]
        for layer, count in kinds.values():
            if isinstance(layer, ResidualLayer):
                self.factors.append(_Branches(layer.slopes, layer.strength, count))
            else:
                self.factors.append(_Slopes(layer.slopes, count))
        ruled = any(np.iscomplexobj(factor.weights) for factor in self.factors)
        self.noise = _NOISE[ruled] * min(1.0, math.sqrt(self.relative_variance))
        self.excess = sum(factor.count for factor in self.factors) - 1
        # log ζ far from the spectrum: a norm is about e times (1 + relative variance) of the mean, or less
        self.far = self.log_mean + math.log1p(self.relative_variance) + 5
        self.atom = max((factor.atom for factor in self.factors), default=0.0)

    def range(self) -> tuple[float, float]:
        """Return log λ with about the share ``_BELOW`` of the mass outside 0 below it, and a bound on log Λ."""
        M = -(1 - self.atom) * (1 - _BELOW)
        k = math.log(abs(1 + 1 / M))
        low = self.log_scale - self.excess * k + self.gaussians * (k - math.log(-1 / M))
        high = self.log_scale + self.gaussians * math.log(4)
        for factor in self.factors:
            low += factor.count * factor.size(M)
            high += factor.count * math.log(factor.largest)
        return low, min(high + 1e-3, self.far)

    def solve(self, x: Float[Reals, " points"]) -> tuple[Complexes, Reals]:
        """Return κ and P(Λ > λ) at ζ = λ + i0, λ = eˣ.

        log ζ goes from far away to x, at a falling angle, then turns to the real axis. Each step is Newton's method
        from a linear extrapolation, and is halved where it does not converge or leaves the upper half-plane.
        """

        def path(t: float) -> Complexes:
            angle = 3 - 2.7 * t if t <= 1 else 0.3 * (_ANGLE / 0.3) ** (t - 1)
            return self.far + (x - self.far) * min(t, 1) + 1j * angle

        z = path(0)
        inverse = z - self.log_mean  # log 1/M to first order
        found = self._newton(z, np.log1p(np.exp(inverse)), [factor.start(inverse) for factor in self.factors])
        assert found is not None, "the equations are solved far from the spectrum"
        t, step = 0.0, 1 / 16
        while t < 2:
            ahead = min(t + step, 1 if t < 1 else 2)
            k, us, rate, rates = found
            change = (path(ahead) - z) / rate
            tried = self._newton(path(ahead), k + change, [u + change / r for u, r in zip(us, rates, strict=True)])
            if tried is None:
                step /= 2
                if step < 1e-6:
                    raise RuntimeError(
                        "the spectral law's equations were not solved: slopes vary too much to be resolved"
                    )
                continue
            found, t, z, step = tried, ahead, path(ahead), min(1.5 * step, 1 / 8)
        k, us, _, _ = found
        M = 1 / np.expm1(k)
        angles = self.gaussians * M.imag - self.excess * _log(np.expm1(k)).imag
        angles = angles + sum(f.count * f.potential(u, M) for f, u in zip(self.factors, us, strict=True))
        return np.exp(k), angles / math.pi

    def inside(self, x: Float[Reals, " points"]) -> NDArray[np.bool_]:
        """Return whether points belong to the support of log Λ: there κ is not real."""
        kappa, _ = self.solve(x)
        return np.asarray(kappa.imag > self.noise * np.abs(kappa))

    def _newton(self, z: Complexes, k: Complexes, us: list[Complexes]) -> _Solution | None:
        """Return k, the us, d log ζ/dk and the dk/du that solve the equations for log ζ = z; None if not found."""
        previous = math.inf
        for _ in range(16):
            values = [factor.evaluate(u) for factor, u in zip(self.factors, us, strict=True)]
            gaps = [k - np.where(np.abs(M) > 1, np.log1p(1 / M), _log(rest / M)) for M, rest, *_ in values]
            rates = [-slope / (M * rest) for M, rest, _, slope, _ in values]
            inverse = 1 / np.expm1(k)
            error = z - self.log_scale + self.excess * k - self.gaussians * (k - _log(np.expm1(k)))
            rate = -self.excess - self.gaussians * inverse
            for factor, (_, _, zeta, _, slope), gap, r in zip(self.factors, values, gaps, rates, strict=True):
                error = error - factor.count * (zeta + slope * gap / r)
                rate = rate + factor.count * slope / r
            change = error / rate
            turns = [(gap + change) / r for gap, r in zip(gaps, rates, strict=True)]
            k, us = k + change, [u + turn for u, turn in zip(us, turns, strict=True)]
            size = max(map(_largest, [change, *turns]))
            if not np.isfinite(size) or size > 3:
                return None
            # Newton's method squares the error until, at edges and poles early, rounding stops it
            if size < 1e-9 or previous / 4 < size < 1e-5:
                angles = np.stack([k.imag, *(u.imag for u in us)])
                inside = (angles > -self.noise).all() and (angles < math.pi + self.noise).all()
                return (k, us, rate, rates) if inside else None
            previous = size
        return None


_Solution = tuple[Complexes, list[Complexes], Complexes, list[Complexes]]


# --- laws of singular values ---


def _no_table() -> Reals:
    return np.empty(0)


@dataclass(frozen=True, eq=False)
class SpectralLaw:
    """The law of a singular value σ of J: atoms, and a density on one interval, which may hold gaps.

    Attributes
    ----------
    atoms : tuple of (float, float)
        The values that have positive probability, ascending, each with its probability.
    support : tuple of (float, float) or None
        The ends of the support of the rest; None if there is no rest. A lower end of 0 is the true one: the table below
        it leaves out a share of about 1e-5.
    """

    atoms: tuple[tuple[float, float], ...]
    support: tuple[float, float] | None = None
    _logarithms: Float[Reals, " nodes"] = field(default_factory=_no_table, repr=False)  # log σ², as −cos of equal steps
    _above: Float[Reals, " nodes"] = field(default_factory=_no_table, repr=False)  # what lies above, atoms left out
    _steps: Float[Reals, " nodes"] = field(default_factory=_no_table, repr=False)  # −dP/dφ, φ the angle of that cosine

    @property
    def atom(self) -> float:
        """The probability of 0: the share of the directions that are lost."""
        return dict(self.atoms).get(0.0, 0.0)

    def density(self, x: ArrayLike) -> Reals:
        """Return the density at singular values x ≥ 0, atoms left out; 0 outside of the support, and at 0."""
        x = _values("x", x)
        if self.support is None:
            return np.zeros_like(x)
        angle, rate = self._angle(x)
        inside = rate > 0
        safe = np.where(inside, x * rate, 1.0)
        steps = CubicSpline(self._angles, self._steps, bc_type="clamped")(angle)  # even about both ends
        return np.where(inside, 2 * np.maximum(steps, 0.0) / safe, 0.0)

    def distribution(self, x: ArrayLike) -> Reals:
        """Return P(σ ≤ x) at x ≥ 0, atoms included."""
        x = _values("x", x)
        below = sum((np.where(x >= place, mass, 0.0) for place, mass in self.atoms), np.zeros_like(x))
        if self.support is None:
            return below
        above = PchipInterpolator(self._angles, self._above)  # as monotone as the table
        return below + self._above[0] - above(self._angle(x)[0])

    def moment(self, order: float) -> float:
        """Return E σ^order, for an order of at least 0; the order 2 gives the mean squared singular value.

        Raises
        ------
        ValueError
            If the order is negative or not finite: with singular values near 0 such moments need not exist.
        """
        order = _not_negative("order", order)
        atoms = sum(mass * place**order for place, mass in self.atoms)
        if self.support is None:
            return atoms
        # By parts: the integral of P(σ > x) d(x^order). In the angle φ equal weights converge fast, as the integrand is
        # smooth and even about both ends.
        x = self._logarithms
        rates = (x[-1] - x[0]) / 2 * np.sin(self._angles)
        values = order / 2 * np.exp(order / 2 * x) * self._above * rates
        rest = math.exp(order / 2 * x[0]) * self._above[0] + trapezoid(values, dx=math.pi / (len(x) - 1))
        return atoms + float(rest)

    def kolmogorov_smirnov(self, samples: ArrayLike, *, resolution: float | None = None) -> float:
        """Return the largest distance between this distribution function and that of samples.

        Parameters
        ----------
        samples : array_like
            Singular values, pooled: any shape.
        resolution : float, optional
            What rounding may have done to a sample, by default 1e-10 of the largest: samples as near as this to an atom
            count as equal to it, and the functions are compared above this value alone.

        Raises
        ------
        ValueError
            If there is no sample, one is negative or not finite, or the resolution is not positive.
        """
        values = np.sort(_values("samples", samples), axis=None)
        if values.size == 0:
            raise ValueError("samples must hold at least one singular value, got none")
        least = _positive("resolution", 1e-10 * float(values[-1] or 1) if resolution is None else resolution)
        values = np.maximum(values, least)
        for place, _ in self.atoms:
            values[np.abs(values - place) <= least] = max(place, least)
        at = self.distribution(values)
        jumps = sum((np.where(values == place, mass, 0.0) for place, mass in self.atoms), np.zeros_like(at))
        upto, before = (np.searchsorted(values, values, side=side) / values.size for side in ("right", "left"))
        left = np.where(values > least, np.abs(at - jumps - before), 0.0)  # the limits from the left
        return float(max(np.abs(at - upto).max(), left.max()))

    def _angle(self, x: Reals) -> tuple[Reals, Reals]:
        """Return φ in [0, π] and d log σ²/dφ at singular values."""
        low, high = self._logarithms[[0, -1]]
        with np.errstate(divide="ignore"):
            cosine = np.clip(((low + high) - 4 * np.log(x)) / (high - low), -1, 1)
        return np.arccos(cosine), (high - low) / 2 * np.sqrt(1 - cosine**2)

    @property
    def _angles(self) -> Reals:
        return np.linspace(0, math.pi, len(self._steps))


def _values(name: str, values: ArrayLike) -> Reals:
    array = np.asarray(values, dtype=np.float64)
    bad = array[~(np.isfinite(array) & (array >= 0))]
    if bad.size:
        raise ValueError(f"{name} must be finite and at least 0, got {bad[0]}")
    return array


def product_law(layers: Iterable[Layer]) -> SpectralLaw:
    """Return the law of the singular values of J = J_L ⋯ J_1, free factors of any of the two kinds.

    Parameters
    ----------
    layers : iterable of FeedforwardLayer or ResidualLayer
        At least one; their order does not matter.

    Raises
    ------
    ValueError
        If there is no layer.
    RuntimeError
        If the equations could not be solved. It may happen at depths above about ten for a smooth σ whose derivative
        vanishes between slopes of either sign, such as the sine's, or falls off over hundreds of decades.
    """
    layers = list(layers)
    if not layers:
        raise ValueError("a product needs at least one layer, got none")
    if any(layer.mean == 0 for layer in layers):
        return SpectralLaw(((0.0, 1.0),))
    return _law(_Product((layer, 1) for layer in layers), _atoms(layers))


def _law(product: _Product, squares: dict[float, float]) -> SpectralLaw:
    """Return the law of σ, given the atoms of σ²."""
    atoms = tuple(sorted((math.sqrt(place), mass) for place, mass in squares.items()))
    if product.gaussians == 0 and not product.factors:
        return SpectralLaw(atoms)
    if product.gaussians == 0 and product.excess == 0 and isinstance(product.factors[0], _Slopes):
        return _law_of_slopes(product.factors[0].law, product.log_scale, atoms)
    low, high, soft = _edges(product)
    angles = np.linspace(0, math.pi, _POINTS + 1)
    x = (low + high) / 2 - (high - low) / 2 * np.cos(angles)
    kappa, above = product.solve(x[1:-1])
    for place, mass in squares.items():
        above = above - np.where(place > np.exp(x[1:-1]), mass, 0.0)
    above = np.concatenate([[1 - sum(squares.values())], above, [0.0]])
    steps = -(1 / (kappa - 1)).imag / math.pi * (high - low) / 2 * np.sin(angles[1:-1])
    support = (0.0 if soft else math.exp(low / 2), math.exp(high / 2))
    # Even about both ends: 0 there, unless the density is infinite.
    ends = [(4 * near - next_) / 3 if near > 0.9 * next_ else 0.0 for near, next_ in (steps[:2], steps[:-3:-1])]
    return SpectralLaw(atoms, support, x, above, np.concatenate([ends[:1], steps, ends[1:]]))


def _atoms(layers: Sequence[Layer]) -> dict[float, float]:
    """Return the atoms of Λ: ab is one of a free product if the masses of a and b exceed 1 together, by the excess.

    (0 has the larger of the two masses.) A residual layer has one at 1 if more than half of its units are flat.
    """
    atoms = {1.0: 1.0}
    for layer in layers:
        if isinstance(layer, ResidualLayer):
            own = {1.0: 1.0 if layer.mean == 1 else 2 * layer.slopes.atom - 1}
        elif layer.slopes.constant and not layer.gaussian:
            own = {layer.mean: 1.0}
        elif layer.gaussian or layer.slopes.quantiles is not None:
            own = {0.0: layer.slopes.atom}
        else:
            scaled = layer.weight_scale**2 * layer.slopes.squares
            own = dict(zip(scaled.tolist(), layer.slopes.weights.tolist(), strict=True))
        lost = max(atoms.pop(0.0, 0.0), own.pop(0.0, 0.0))
        atoms = {a * b: p + q - 1 for a, p in atoms.items() for b, q in own.items() if p + q - 1 > 1e-12}
        atoms |= {0.0: lost} if lost > 1e-12 else {}
    return atoms


def _law_of_slopes(slopes: SlopeLaw, log_scale: float, atoms: tuple[tuple[float, float], ...]) -> SpectralLaw:
    """Return the law of √T times a constant."""
    if slopes.quantiles is None:
        return SpectralLaw(atoms)
    positive = slopes.quantiles[slopes.quantiles > 0]
    logarithms = np.log(positive) + log_scale
    shares = (np.arange(positive.size) + 0.5) / slopes.quantiles.size
    low, high = logarithms[[0, -1]]
    angles = np.linspace(0, math.pi, _POINTS // 4 + 1)
    x = (low + high) / 2 - (high - low) / 2 * np.cos(angles)
    above = positive.size / slopes.quantiles.size - np.interp(x, logarithms, shares)
    above[-1] = 0.0
    steps = np.maximum(-np.gradient(above, angles), 0.0)
    return SpectralLaw(atoms, (math.exp(low / 2), math.exp(high / 2)), x, above, steps)


def _edges(product: _Product) -> tuple[float, float, bool]:
    """Return the ends of the support of log Λ, atoms left out, and whether the lower one is a cut of a tail towards 0.

    The support is looked for on a grid, then its ends are closed in, both at once.
    """
    low, high = product.range()
    near = product.log_mean + math.sqrt(product.relative_variance) * np.linspace(-3, 3, 33)
    grid = np.union1d(np.linspace(low, high, 96), near[(near > low) & (near < high)])
    (inside,) = np.nonzero(product.inside(grid))
    if inside.size == 0:
        raise RuntimeError("no singular value was found where the law must have some: it is too narrow or too wide")
    first, last = inside[[0, -1]]
    soft = bool(first == 0)
    lower, upper = grid[[max(first - 1, 0), first]], grid[[last, last + 1]]
    while max(np.ptp(lower), np.ptp(upper)) > 1e-7:
        grids = [np.linspace(ends[0], ends[1], 18) for ends in (lower, upper)]
        there = product.inside(np.concatenate(grids))
        first, last = 0 if soft else int(np.argmax(there[:18])), 17 - int(np.argmax(there[18:][::-1]))
        lower, upper = grids[0][[max(first - 1, 0), first]], grids[1][[last, min(last + 1, 17)]]
    return float(lower[1]), float(upper[0]), soft


# --- networks ---


def feedforward_law(
    activation: Activation,
    depth: int,
    *,
    weight_scale: float = 1.0,
    gaussian: bool = False,
    bias_variance: float = 0.0,
    bias: float = 0.0,
    mean_square: float = 1.0,
) -> SpectralLaw:
    """Return the law of the singular values of a wide feedforward network's Jacobian ∏ D_l W_l at random weights.

    Parameters
    ----------
    activation : Activation
        σ, the same in all layers; its slopes have the law that the mean squares q_l of the preactivations give them.
    depth : int
        L, at least 1.
    weight_scale : float
        σ_w > 0: weights are σ_w times orthogonal or, where ``gaussian``, have entries of variance σ_w²/n.
    gaussian : bool
        Whether weights are Gaussian instead of Haar.
    bias_variance, bias : float
        Variance σ_b² of Gaussian biases, and a constant b that is added to every preactivation.
    mean_square : float
        Mean square q of the coordinates of the trunk's first state.

    Raises
    ------
    ValueError
        If an argument is out of range, or σ or σ' is not square-integrable under a q_l's normal law.
    """
    given = {"weight_scale": weight_scale, "bias_variance": bias_variance, "bias": bias, "mean_square": mean_square}
    squares = mean_squares(activation, depth, **given)
    different, counts = np.unique(squares, return_counts=True)
    layers = [FeedforwardLayer(slope_law(activation, q, bias=bias), weight_scale, gaussian) for q in different]
    if len(layers) > _KINDS and layers[0].slopes.quantiles is not None:  # no atoms
        logarithms, many = _gauss_rule(np.log(different), counts)
        laws = [slope_law(activation, q, bias=bias) for q in np.exp(logarithms)]
        return _law(
            _Product((FeedforwardLayer(law, weight_scale, gaussian), n) for law, n in zip(laws, many, strict=True)), {}
        )
    return product_law(layer for layer, count in zip(layers, counts, strict=True) for _ in range(count))


def _gauss_rule(values: Reals, weights: NDArray[Any]) -> tuple[Reals, Reals]:
    """Return _KINDS values and weights that have the same sums of all polynomials of degree below 2·_KINDS.

    They are the eigenvalues of multiplication by the values, on polynomials of degree below _KINDS (Golub and Welsch).
    """
    centre, half = (values[0] + values[-1]) / 2, (values[-1] - values[0]) / 2
    roots, scaled = np.sqrt(weights), (values - centre) / half
    basis, _ = np.linalg.qr(roots[:, None] * legendre.legvander(scaled, _KINDS - 1))
    nodes, vectors = np.linalg.eigh(basis.T @ (scaled[:, None] * basis))
    return centre + half * nodes, (roots @ basis @ vectors) ** 2


def residual_law(
    depth: int,
    *,
    activation: Activation = activations.relu,
    branch_scale: float | None = None,
    inner_scale: float = math.sqrt(2),
    outer_scale: float = 1.0,
    mean_square: float = 1.0,
) -> SpectralLaw:
    """Return the law of the singular values of a wide residual network's Jacobian ∏ (I + s W₂D_lW₁).

    Parameters
    ----------
    depth : int
        L, at least 1.
    activation : Activation
        σ in the branch W₂σ(W₁x).
    branch_scale : float, optional
        s, by default 1/√L.
    inner_scale, outer_scale : float
        σ₁ and σ₂ > 0: entries of W₁ and W₂ have the variances σ₁²/n and σ₂²/n.
    mean_square : float
        Mean square q of the coordinates of the trunk's first state; it grows by s²σ₂² E σ(σ₁√q·z)² in each layer.

    Raises
    ------
    ValueError
        As for :func:`feedforward_law`.
    """
    depth = whole_number("depth", depth, least=1)
    scale = 1 / math.sqrt(depth) if branch_scale is None else finite_number("branch_scale", branch_scale)
    inner, outer = _positive("inner_scale", inner_scale) ** 2, _positive("outer_scale", outer_scale) ** 2
    square, layers = _not_negative("mean_square", mean_square), []
    for _ in range(depth):
        layers.append(ResidualLayer(slope_law(activation, inner * square), scale**2 * inner * outer))
        square += scale**2 * outer * _output_square(activation, inner * square)
    return product_law(layers)


def spectral_law(architecture: str, depth: int, *, mean_square: float = 1.0, **options: Any) -> SpectralLaw:
    """Return the law of the singular values of an untrained network of a registered architecture, for large widths.

    Parameters
    ----------
    architecture : str
        ``relu-orthogonal``, ``relu-he``, ``residual``, any other feedforward architecture with an activation and
        orthogonal weights, such as ``tanh-orthogonal``, or one with an orthogonal Jacobian: the point mass at 1.
    depth : int
        L, at least 1.
    mean_square : float
        Mean square of the coordinates of the trunk's first state; the embedding makes it about 1 for inputs of mean
        square 1.
    **options
        The architecture's options.

    Raises
    ------
    ValueError
        If the architecture or an option is unknown, the architecture is none of these, or an argument is out of range.
    """
    depth, kind = whole_number("depth", depth, least=1), block(architecture, **options)
    if kind.isometric:
        return SpectralLaw(((1.0, 1.0),))
    if type(kind) is Residual:
        return residual_law(depth, branch_scale=kind.branch_scale, mean_square=mean_square)
    if isinstance(kind, ReLUOrthogonal | ReLUHe):
        gaussian = isinstance(kind, ReLUHe)
        scale = {"weight_scale": math.sqrt(2), "mean_square": mean_square}
        return feedforward_law(activations.relu, depth, gaussian=gaussian, **scale)
    if isinstance(kind, Feedforward) and kind.orthogonal == ("weight",):
        biases = kind.biases(1, 2, torch.float64)
        return feedforward_law(kind.activation, depth, bias=float(biases[0, 0]), mean_square=mean_square)
    raise ValueError(
        f"the law of {architecture!r} is not known here; allowed: relu-orthogonal, relu-he, residual, feedforward "
        "architectures with orthogonal weights, and those with an orthogonal Jacobian"
    )
