"""A law of singular values: its density, distribution function, moments, and distance to samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.integrate import trapezoid
from scipy.interpolate import CubicSpline, PchipInterpolator

from orthobook._checks import finite_number
from orthobook.theory.spectra.slopes import Reals

__all__ = ["SpectralLaw"]


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
        The ends of the support of the rest; None if there is no rest. A lower end of 0 is the true one: the table above
        it leaves out a share of about 1e-5. Two ends are cuts as well. For one layer of a smooth σ both are: those of
        σ_w|σ'(√q·z + b)| for |z| < 4. For more layers the upper one is if σ' is unbounded.
    """

    atoms: tuple[tuple[float, float], ...]
    support: tuple[float, float] | None = None
    _logarithms: Float[Reals, " nodes"] = field(default_factory=_no_table, repr=False)  # log σ², as −cos of equal steps
    _above: Float[Reals, " nodes"] = field(default_factory=_no_table, repr=False)  # what lies above, atoms left out
    _steps: Float[Reals, " nodes"] = field(default_factory=_no_table, repr=False)  # −dP/dφ, φ the angle of that cosine
    _moments: Callable[[float], float] | None = field(default=None, repr=False)  # p ↦ E σ^2p, where the table is rough

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
            If the order is negative or not finite: with singular values near 0 such moments need not exist. For one
            layer of a smooth σ also if the moment is infinite, or carried by slopes too rare to be resolved.

        Notes
        -----
        For two or more layers of an unbounded σ', high moments miss what lies above the end of the support: 2 % of the
        fourth if σ = exp.
        """
        order = finite_number("order", order, least=0)
        if self._moments is not None:
            return self._moments(order / 2)
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
        resolution = 1e-10 * float(values[-1] or 1) if resolution is None else resolution
        least = finite_number("resolution", resolution, positive=True)
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
