"""How two inputs fare, on average over random rotations, in a network of folds: lengths, distance, gradient coherence.

Every layer here starts, up to rotations and a sign, as one and the same: rotate, then fold a share f of the coordinates
by φ(t) = |t + τ| − τ. Let x, x' have the mean squares q, q' and the angle θ, and t = τ/√q, t' = τ/√q'. With one row w
of a Haar rotation, w·x/√q and w·x'/√q' are two coordinates of a uniform point on the sphere of radius √n, in
directions that form θ: a law on the plane with P(radius > s) = Q(s) = (1 − s²/n)^((n − 2)/2); e^(−s²/2) as n → ∞. Write
p for the probability of a fold, P(coordinate > t), and ~ for the same in n + 2 dimensions (radius √n). Then

    q ← q − 4fτ E(y − τ)₊,  y = √q · coordinate      ‖x − x'‖²/n ← ‖x − x'‖²/n − 4f E[|z + τ||z' + τ|; z, z' differ]
    d = P(z, z' differ) = |p − p'| + (1/π) ∫₀^θ Q    γ ← (1 − 2fd) γ

"z, z' differ": exactly one is folded; the radius in the integral is that of the point where both creases meet. The
expectation has the derivative √(qq') sin θ d~ in θ, which is Price's theorem for spheres. The first three formulas are
exact for one layer of any width; the fourth, and all of them along many layers, up to terms of order 1/n.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import betainc, gammaln, ndtr

from orthobook._checks import finite_number, whole_number
from orthobook.layers.base import block

__all__ = ["THRESHOLDED", "MeanField", "mean_field", "threshold_for"]

Array = NDArray[np.float64]

THRESHOLDED = (
    "shifted-fold",
    "partial-fold",
    "modified-residual",
    "rotated-residual",
    "leaky-residual",
    "conv-shifted-fold",
    "conv-partial-fold",
    "conv-modified-residual",
)
"""The architectures that the recursion describes: those of the book that fold beyond a threshold on one side."""

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)
_SAME = 1e-9  # thresholds nearer to each other than this count as equal


@dataclass(frozen=True)
class MeanField:
    """What the recursion says of the states x_l and x'_l, l = 0 … L, and of the layers between them.

    Arrays have the depth as their first axis, then the shape of the given correlations and mean squares.
    """

    mean_square: Float[Array, "depth_plus_1 ..."]  # q_l = ‖x_l‖²/n
    mean_square2: Float[Array, "depth_plus_1 ..."]  # ‖x'_l‖²/n
    squared_distance: Float[Array, "depth_plus_1 ..."]  # ‖x_l − x'_l‖²/n
    coherence: Float[Array, "depth_plus_1 ..."]  # γ_l of the Jacobians of the first l layers
    fold_rate: Float[Array, "depth ..."]  # p_l, the probability that a unit of layer l folds x_{l−1}
    disagreement: Float[Array, "depth ..."]  # d_l, the probability that it folds exactly one of x_{l−1}, x'_{l−1}

    @property
    def correlation(self) -> Float[Array, "depth_plus_1 ..."]:
        """The cosines ρ_l of the angles between x_l and x'_l."""
        return 1 - _versine(self.mean_square, self.mean_square2, self.squared_distance)


def mean_field(
    architecture: str,
    *,
    depth: int,
    width: int | None = None,
    correlation: ArrayLike = 0.0,
    mean_square: ArrayLike = 1.0,
    mean_square2: ArrayLike | None = None,
    **options: Any,
) -> MeanField:
    """Predict, for a network at its start, how two inputs and the Jacobians at them compare after every layer.

    Parameters
    ----------
    architecture : str
        One of :data:`THRESHOLDED`.
    depth : int
        Number of layers L, at least 1.
    width : int, optional
        Width n, at least 3; by default the limit n → ∞. The width matters where folds are rare: no coordinate exceeds
        √(n q). For images it is the number of channels, as the rotations mix the channels of a place.
    correlation, mean_square, mean_square2 : array_like
        Cosine of the angle between the two first states, from −1 to 1, and the mean squares of their coordinates,
        positive; the second is equal to the first by default. Arrays stand for many pairs; they are broadcast. For
        images a pair of feature maps is an array, an entry for each place, and γ is the mean over places.
    **options
        Options of the architecture, such as ``threshold``, which must not be negative, and ``folds``.

    Returns
    -------
    MeanField

    Raises
    ------
    ValueError
        If the architecture is none of those, an option is unknown, or a value is out of range.

    Notes
    -----
    The coherence is the expectation over the rotations, up to O(1/n) (Poole et al. 2016 derive such recursions for
    Gaussian weights, n → ∞).
    """
    threshold, fraction, width = _fold(architecture, depth, width, options)
    return _recursion(depth, threshold, fraction, width, *_starts(correlation, mean_square, mean_square2))


def threshold_for(
    depth: int,
    coherence: float,
    architecture: str = "shifted-fold",
    width: int | None = None,
    *,
    correlation: float = 0.0,
    mean_square: float = 1.0,
    **options: Any,
) -> float:
    """Return the threshold τ at which the gradients of two inputs have a given coherence after the last layer.

    Parameters
    ----------
    depth, architecture, width
        As in :func:`mean_field`.
    coherence : float
        The coherence γ_L that is wanted, above 0 and below 1.
    correlation, mean_square : float
        Of the two first states, as in :func:`mean_field`; both have the same mean square. The default, no correlation,
        is on the safe side: inputs with a positive one agree more.
    **options
        Options of the architecture other than the threshold, such as ``folds``.

    Returns
    -------
    float
        τ, to six decimals. The coherence is not monotone in τ, as a small threshold keeps inputs apart that would
        otherwise be folded onto each other and agree; of several thresholds this is the largest, above which the
        coherence only grows.

    Raises
    ------
    ValueError
        If no threshold gives this coherence (the message states the range at this depth), if the inputs are equal, and
        as in :func:`mean_field`.
    """
    if not 0 < finite_number("coherence", coherence) < 1:
        raise ValueError(f"coherence must lie between 0 and 1, both excluded, got {coherence!r}")
    if "threshold" in options:
        raise ValueError(f"threshold_for finds the threshold; got threshold={options['threshold']!r} as well")
    _, fraction, width = _fold(architecture, depth, width, options)
    start = finite_number("correlation", correlation), finite_number("mean_square", mean_square, positive=True)
    if start[0] == 1:
        raise ValueError(f"two equal inputs always have the coherence 1, got correlation={correlation!r}")

    def reached(thresholds: Array) -> Array:
        states = _starts(start[0], np.full_like(thresholds, start[1]), None)
        return _recursion(depth, thresholds, fraction, width, *states).coherence[-1]

    # beyond ten standard deviations nothing folds; the grid is fine near 0, where the curve may dip
    grid = 10 * math.sqrt(start[1]) * np.linspace(0, 1, 65) ** 2
    values = reached(grid)
    if coherence < values.min():
        raise ValueError(
            f"at depth {depth} {architecture} has a coherence between {values.min():.6g} and 1, got {coherence!r}"
        )
    below = int(np.flatnonzero(values <= coherence)[-1])

    def excess(threshold: float) -> float:
        return float(reached(np.array(threshold))) - coherence

    return float(brentq(excess, grid[below], grid[below + 1], xtol=1e-6))


# --- the parts ---


def _fold(architecture: str, depth: int, width: int | None, options: dict[str, Any]) -> tuple[float, float, int | None]:
    """Return threshold, fold fraction and the dimension of the rotations, having checked what they come from."""
    if architecture not in THRESHOLDED:
        block(architecture)  # an unknown name is another mistake
        raise ValueError(
            f"the mean field describes folds beyond a threshold, which {architecture!r} has not; "
            f"allowed: {', '.join(THRESHOLDED)}"
        )
    kind: Any = block(architecture, **options)
    whole_number("depth", depth, least=1)
    if kind.threshold < 0:
        raise ValueError(f"threshold must not be negative, got {kind.threshold!r}")
    if width is None:
        if getattr(kind, "folds", None) is not None:
            raise ValueError(f"folds={kind.folds} needs a width, of which it is a part")
        return kind.threshold, getattr(kind.resolve(depth, 2), "folds", 2) / 2, None
    width = whole_number("width", width, least=3)
    return kind.threshold, getattr(kind.resolve(depth, width), "folds", width) / width, width


def _starts(correlation: ArrayLike, mean_square: ArrayLike, mean_square2: ArrayLike | None) -> tuple[Array, ...]:
    """Return both mean squares and the correlation as arrays of one shape."""
    given = (mean_square, mean_square if mean_square2 is None else mean_square2, correlation)
    q, q2, cosine = (array.copy() for array in np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in given)))
    for values in (q, q2):
        if not (np.isfinite(values).all() and (values > 0).all()):
            raise ValueError("mean squares must be positive finite numbers")
    if not (np.abs(cosine) <= 1).all():
        raise ValueError("correlations must lie between -1 and 1")
    return q, q2, cosine


def _recursion(
    depth: int,
    threshold: float | Array,
    fraction: float,
    width: int | None,
    q: Array,
    q2: Array,
    cosine: Array,
) -> MeanField:
    """Go through the layers; thresholds may be an array as well."""
    distance, gamma = q + q2 - 2 * cosine * np.sqrt(q * q2), np.ones_like(q)
    states, layers = [(q, q2, distance, gamma)], []
    for _ in range(depth):
        q, q2, distance, rate, differ = _layer(q, q2, distance, threshold, fraction, width)
        gamma = gamma * (1 - 2 * fraction * differ)
        states.append((q, q2, distance, gamma))
        layers.append((rate, differ))
    return MeanField(*map(np.stack, zip(*states, strict=True)), *map(np.stack, zip(*layers, strict=True)))


def _versine(q: Array, q2: Array, distance: Array) -> Array:
    """Return 1 − cos θ from the lengths of a triangle's sides, without losing small angles."""
    gap = np.sqrt(q) - np.sqrt(q2)
    return np.clip((distance - gap * gap) / (2 * np.sqrt(q * q2)), 0, 2)


def _layer(
    q: Array, q2: Array, distance: Array, threshold: float | Array, fraction: float, width: int | None
) -> tuple[Array, ...]:
    """Return what one layer makes of the mean squares and the squared distance, the fold rate and the disagreement."""
    root, root2 = np.sqrt(q), np.sqrt(q2)
    t, t2, versine = threshold / root, threshold / root2, _versine(q, q2, distance)
    p, wide, mean = _tail(t, width)
    p2, wide2, mean2 = _tail(t2, width)
    differ, overlap = _integrals(t, t2, versine, width)
    # E (a − t)(a − t') over t < a < t', for the coordinate a: what is left of the overlap at the angle 0
    between = np.abs((wide - t2 * mean + t * t2 * p) - (wide2 - t * mean2 + t * t2 * p2))
    overlap = root * root2 * (between + versine * np.abs(wide - wide2) + overlap / math.pi)
    return (
        q - 4 * fraction * threshold * root * (mean - t * p),
        q2 - 4 * fraction * threshold * root2 * (mean2 - t2 * p2),
        np.maximum(distance - 4 * fraction * overlap, 0),
        p,
        np.abs(p - p2) + differ / math.pi,
    )


def _tail(t: Array, width: int | None) -> tuple[Array, Array, Array]:
    """Return P(a > t) and the same in n + 2 dimensions, and E[a; a > t], a being a coordinate of mean square 1."""
    if width is None:
        p = ndtr(-t)
        return p, p, np.exp(-t * t / 2) / math.sqrt(2 * math.pi)
    inside = np.maximum(1 - t * t / width, 0)
    log_area = gammaln(width / 2) - gammaln((width + 1) / 2) + math.log(width / (4 * math.pi)) / 2
    p, wide = (betainc(n / 2, 0.5, inside) / 2 for n in (width - 1, width + 1))
    return p, wide, math.exp(log_area) * inside ** ((width - 1) / 2)


def _integrals(t: Array, t2: Array, versine: Array, width: int | None) -> tuple[Array, Array]:
    """Return ∫₀^θ Q and, in n + 2 dimensions, ∫₀^θ Q~ (cos ϑ − cos θ) dϑ.

    At the angle ϑ the creases at the distances t, t' from 0 meet at the squared distance
    r² = (1 + s²)(t̄² + δ²/4s²), s = tan ϑ/2, t̄ the mean of t and t', δ their difference. In s = ς sinh v, with
    ς = min(δ/2, 1), the integrands are smooth on the scale 1 however small δ is.
    """
    half_angle = np.arcsin(np.sqrt(versine / 2))[..., None]
    mean, delta = ((t + t2) / 2)[..., None], np.abs(t - t2)[..., None]
    delta = np.where(delta > _SAME, delta, 0.0)
    scale = np.where(delta > 0, np.minimum(delta / 2, 1), 1.0)
    end = np.arcsinh(np.tan(np.minimum(half_angle, math.pi / 2 - 1e-12)) / scale)
    v = end * (1 + _NODES) / 2
    s = scale * np.sinh(v)
    square = 1 + s * s
    apart = np.divide(delta, 2 * s, out=np.zeros_like(s), where=s > 0)  # at the angle 0 nothing is left to integrate
    radius2 = square * (mean**2 + apart**2)
    measure = end * _WEIGHTS * scale * np.cosh(v) / square  # dϑ = 2 ds/(1 + s²)
    half = np.arctan(s)
    drop = 2 * np.sin(half_angle + half) * np.sin(half_angle - half)
    outside, wide = _beyond(radius2, width)
    return (measure * outside).sum(-1), (measure * wide * drop).sum(-1)


def _beyond(radius2: Array, width: int | None) -> tuple[Array, Array]:
    """Return the probability that two coordinates lie beyond a radius, and the same in n + 2 dimensions."""
    if width is None:
        beyond = np.exp(-radius2 / 2)
        return beyond, beyond
    inside = np.maximum(1 - radius2 / width, 0)
    beyond = inside ** ((width - 2) / 2)
    return beyond, beyond * inside
