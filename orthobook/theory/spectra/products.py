"""The law of a product of free factors: the equations M_l(ζ_l) = M and ζ/κ = ∏ ζ_l/κ, solved and tabulated.

Far from the spectrum M = E Λ/ζ. From there Newton's method follows the solution to ζ = λ + i0, for all λ of a grid at
once. λ belongs to the support where κ is not real, and P(Λ > λ) is the sum of the potentials' imaginary parts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from orthobook.theory.spectra.factors import Branches, FeedforwardLayer, Layer, ResidualLayer, Slopes, upper_log
from orthobook.theory.spectra.law import SpectralLaw
from orthobook.theory.spectra.slopes import Complexes, Reals, SlopeLaw

__all__ = ["counted_law", "product_law"]

_POINTS = 512  # at which a law is tabulated
_BELOW = 1e-5  # the share of the singular values that a table may leave out where they reach down to 0
_ANGLE = 1e-12  # how near to the real axis, in arg ζ, the equations are followed
_NOISE = 1e-8, 1e-3  # errors of arg κ outside of the support, where it is 0: of exact laws, and of rules
_UNSOLVED = "the spectral law's equations were not solved: slopes vary too much to be resolved"


class _Product:
    """The equations of a product of free factors; the unknowns are k = log κ and one u for each kind of factor."""

    def __init__(self, layers: Iterable[tuple[Layer, float]]) -> None:
        """Take layers with how many there are of each, in sum a whole number."""
        self.log_mean = self.relative_variance = self.log_scale = self.gaussians = self.excess = 0.0
        self.factors: list[Slopes | Branches] = []
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
                self.factors.append(Branches(layer.slopes, layer.strength, count))
            else:
                self.factors.append(Slopes(layer.slopes, count))
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

    @np.errstate(over="ignore", divide="ignore", invalid="ignore")
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
        if found is None:
            raise RuntimeError(_UNSOLVED)
        t, step = 0.0, 1 / 16
        while t < 2:
            ahead = min(t + step, 1 if t < 1 else 2)
            k, us, rate, rates = found
            change = (path(ahead) - z) / rate
            tried = self._newton(path(ahead), k + change, [u + change / r for u, r in zip(us, rates, strict=True)])
            if tried is None:
                step /= 2
                if step < 1e-6:
                    raise RuntimeError(_UNSOLVED)
                continue
            found, t, z, step = tried, ahead, path(ahead), min(1.5 * step, 1 / 8)
        k, us, _, _ = found
        M = 1 / np.expm1(k)
        angles = self.gaussians * M.imag - self.excess * upper_log(np.expm1(k)).imag
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
            gaps = [k - np.where(np.abs(M) > 1, np.log1p(1 / M), upper_log(rest / M)) for M, rest, *_ in values]
            rates = [-slope / (M * rest) for M, rest, _, slope, _ in values]
            inverse = 1 / np.expm1(k)
            error = z - self.log_scale + self.excess * k - self.gaussians * (k - upper_log(np.expm1(k)))
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


def product_law(layers: Iterable[Layer]) -> SpectralLaw:
    """Return the law of the singular values of J = J_L ⋯ J_1, free factors of any of the two kinds.

    Parameters
    ----------
    layers : iterable of FeedforwardLayer or ResidualLayer
        At least one; their order does not matter.

    Raises
    ------
    TypeError
        If a layer is of another kind.
    ValueError
        If there is no layer.
    RuntimeError
        If the equations could not be solved. It may happen at depths above about three for a smooth σ whose derivative
        vanishes between slopes of either sign, such as a smooth fold's, or falls off over hundreds of decades.
    """
    layers = list(layers)
    if not layers:
        raise ValueError("a product needs at least one layer, got none")
    for layer in layers:
        if not isinstance(layer, FeedforwardLayer | ResidualLayer):
            raise TypeError(f"layers must be FeedforwardLayer or ResidualLayer, got {layer!r}")
    if any(layer.mean == 0 for layer in layers):
        return SpectralLaw(((0.0, 1.0),))
    return counted_law(((layer, 1) for layer in layers), _atoms(layers))


def counted_law(layers: Iterable[tuple[Layer, float]], squares: dict[float, float]) -> SpectralLaw:
    """Return the law of σ, given layers with how many there are of each, in sum a whole number, and the atoms of σ²."""
    product = _Product(layers)
    atoms = tuple(sorted((math.sqrt(place), mass) for place, mass in squares.items()))
    if product.gaussians == 0 and not product.factors:
        return SpectralLaw(atoms)
    if product.gaussians == 0 and product.excess == 0 and isinstance(product.factors[0], Slopes):
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

    def moments(power: float) -> float:
        return math.exp(power * log_scale) * slopes.mean(power)

    return SpectralLaw(atoms, (math.exp(low / 2), math.exp(high / 2)), x, above, steps, moments)


def _edges(product: _Product) -> tuple[float, float, bool]:
    """Return the ends of the support of log Λ, atoms left out, and whether the lower one is a cut of a tail towards 0.

    The support is looked for on a grid, then its ends are closed in, both at once.
    """
    low, high = product.range()
    near = product.log_mean + math.sqrt(product.relative_variance) * np.linspace(-3, 3, 33)
    grid = np.union1d(np.linspace(low, high, 96), near[(near > low) & (near < high)])
    (inside,) = np.nonzero(product.inside(grid))
    if inside.size == 0 or inside[-1] == grid.size - 1:
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


def _largest(values: Complexes) -> float:
    return float(np.abs(values).max())
