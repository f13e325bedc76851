"""The kinds of layers, and the equations of each as a factor of a product: the rows of the package's table.

A factor has an unknown u of its own, from which all else follows: M_l, ζ_l and the potential U_l.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq

from orthobook._checks import finite_number
from orthobook.theory.spectra.slopes import Complexes, Reals, SlopeLaw

__all__ = ["Branches", "FeedforwardLayer", "Layer", "ResidualLayer", "Slopes", "upper_log"]


@dataclass(frozen=True, eq=False)
class FeedforwardLayer:
    """A layer with the Jacobian DW: D of independent slopes, W a multiple of a Haar or of a Gaussian matrix.

    ``weight_scale`` is σ_w: W is σ_w times orthogonal or, where ``gaussian``, has entries of variance σ_w²/n.
    TypeError if ``slopes`` is no SlopeLaw; ValueError if σ_w is not positive and finite.
    """

    slopes: SlopeLaw
    weight_scale: float = 1.0
    gaussian: bool = False

    def __post_init__(self) -> None:
        _check_slopes(self.slopes)
        finite_number("weight_scale", self.weight_scale, positive=True)

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

    ``strength`` is g: where the entries have variances σ₁²/n and σ₂²/n and the branch the factor s, g = s²σ₁²σ₂².
    TypeError if ``slopes`` is no SlopeLaw; ValueError if g is negative or not finite.
    """

    slopes: SlopeLaw
    strength: float = 1.0

    def __post_init__(self) -> None:
        _check_slopes(self.slopes)
        finite_number("strength", self.strength, least=0)

    @property
    def mean(self) -> float:
        """The mean of its squared singular values."""
        return 1 + self.strength * self.slopes.mean()

    @property
    def relative_variance(self) -> float:
        """The variance of its squared singular values, divided by their mean's square."""
        return 1 + (self.strength**2 * self.slopes.mean(2) - 1) / self.mean**2


Layer = FeedforwardLayer | ResidualLayer


def _check_slopes(slopes: object) -> None:
    if not isinstance(slopes, SlopeLaw):
        raise TypeError(f"slopes must be a SlopeLaw, got {slopes!r}")


class Slopes:
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
        return (self.weights @ upper_log(np.exp(u) - self.values)).imag

    def size(self, M: float) -> float:
        """Return log |ζ_l| for ζ_l < 0, where M_l(ζ_l) = M."""
        if (self.moments @ (1 / (math.exp(-600) + self.values[:, 0]))).real < -M:
            raise RuntimeError("the spectral law's equations were not solved: slopes are too small to be resolved")
        v = brentq(lambda v: (self.moments @ (1 / (math.exp(v) + self.values[:, 0]))).real + M, -600, 600)
        return float(v)


class Branches:
    """``count`` free factors I + W₂DW₁ of one law, with the unknown u = log(1 − r)."""

    atom = 0.0

    def __init__(self, law: SlopeLaw, strength: float, count: float) -> None:
        self.values, self.weights, self.count = strength * law.squares[:, None], law.weights, count
        self.mean = 1 + strength * law.mean()
        # ‖I + W₂DW₁‖ is at most 1 + 2·2·√(g max T): either Gaussian matrix has the norm 2
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
        return M, 1 + M, upper_log((1 + M) ** 2 / y), v * slope, 2 * v * slope / (1 + M) - 2 * (v + 1) / (v + 2)

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


def upper_log(z: Complexes) -> Complexes:
    """Return log z with Im log z from −π/2 to 3π/2: continuous on the closed upper half-plane."""
    return np.log(-1j * z) + 0.5j * math.pi
