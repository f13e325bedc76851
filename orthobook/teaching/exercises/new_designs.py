"""Self-checks of the chapter "New designs"."""

from __future__ import annotations

import math

from orthobook.teaching.exercises._self_checks import comparison, function, require, self_check, tensor


@self_check(
    "designs-exercise-strip",
    wrong={
        "with b = 0.5 its crease is at -0.5: it folds nothing": lambda depth: [0.0, *(0.5**k for k in range(1, depth))],
        "layer 3 gets a strip from 0 to 0.5, and with b = -0.5 its crease is at 0.5: it folds nothing": (
            lambda depth: [0.0, *(-0.5 for _ in range(1, depth))]
        ),
        "which is not the middle": lambda depth: [-(0.5**k) for k in range(1, depth + 1)],
    },
)
def _strip(halving_biases: object) -> None:
    halving_biases = function("halving_biases", halving_biases)
    for depth in (1, 10):
        biases = tensor(f"halving_biases({depth})", halving_biases(depth), depth)
        low, high = -1.0, 1.0
        for layer, b in enumerate(biases.tolist(), start=1):
            at = f"layer {layer} gets a strip from {low:g} to {high:g}, and with b = {b:g} its crease is at {0.0 - b:g}"
            require(low < -b < high, f"{at}: it folds nothing")
            require(abs(-b - (low + high) / 2) < 1e-4 * (high - low), f"{at}, which is not the middle")
            low, high = 0.0, (high - low) / 2


def _no_shortening(found: float, right: float, q: float, tau: float) -> str:
    """Say what is wrong with a mean square that no usual mistake gives."""
    at = f"at q = {q:g} and τ = {tau:g} your q′ is {found:.4g}"
    require(tau > 0, f"{at}: such a fold turns signs, and no more")
    require(found < q, f"{at}: a fold with a threshold shortens")
    return f", too {'low' if found < right else 'high'}"


@comparison(
    "designs-exercise-norm",
    [(1.0, 0.0), (4.0, 0.0), (1.0, 1.0), (4.0, 1.0), (0.25, 0.5), (1.0, 2.0)],
    at=lambda found, q, tau: f"at q = {q:g} and τ = {tau:g} your q′ is {found:.4g}",
    otherwise=_no_shortening,
    wrong={
        "you fold on both sides; what lies above τ stays": lambda q, tau: q - 2 * _lost(q, tau),
        "that is q′/q, the share that is left": lambda q, tau: 1 - _lost(q, tau) / q,
        "you fold as often as at q = 1; τ is to be compared with √q": lambda q, tau: q - q * _lost(1.0, tau),
        "you take the mean of |z| over the folded part, and not of |z| − τ": lambda q, tau: (
            q - _lost(q, tau) - 4 * tau**2 * _tail(tau / math.sqrt(q))
        ),
        "you take the mean over the folded alone; how many are folded": lambda q, tau: (
            q - _lost(q, tau) / _tail(tau / math.sqrt(q))
        ),
    },
    further={
        "such a fold turns signs, and no more": lambda q, tau: q - _lost(q, tau + 1),
        "a fold with a threshold shortens": lambda q, tau: q + _lost(q, tau),
        "too high": lambda q, tau: q - _lost(q, tau) / 2,
    },
)
def mean_square_after(q: float, tau: float) -> float:
    """Return the mean square after a fold."""
    return q - _lost(q, tau)


def _tail(t: float) -> float:
    """Return how often a normal number is below −t."""
    return math.erfc(t / math.sqrt(2)) / 2


def _lost(q: float, tau: float) -> float:
    """Return the mean square that a fold takes from a Gaussian coordinate of mean square q."""
    t = tau / math.sqrt(q)
    density = math.exp(-t * t / 2) / math.sqrt(2 * math.pi)
    return 4 * tau * (math.sqrt(q) * density - tau * _tail(t))
