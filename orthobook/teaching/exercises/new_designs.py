"""Self-checks of the chapter "New designs"."""

from __future__ import annotations

import math

from orthobook.teaching.exercises._self_checks import function, near, number, require, self_check, tensor


@self_check("designs-exercise-strip")
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


@self_check("designs-exercise-norm")
def _norm(mean_square_after: object) -> None:
    mean_square_after = function("mean_square_after", mean_square_after)
    for q in (1.0, 4.0):
        found = number(f"mean_square_after({q:g}, 0)", mean_square_after(q, 0.0))
        require(near(found, q), f"at q = {q:g} and τ = 0 your q′ is {found:.4g}: such a fold turns signs, and no more")
    for q, tau in ((1.0, 1.0), (4.0, 1.0), (0.25, 0.5), (1.0, 2.0)):
        found = number(f"mean_square_after({q:g}, {tau:g})", mean_square_after(q, tau))
        at = f"at q = {q:g} and τ = {tau:g} your q′ is {found:.4g}"
        lost, rate = _lost(q, tau), _tail(tau / math.sqrt(q))
        if near(found, q - lost):
            continue
        for value, mistake in (
            (q - 2 * lost, "you fold on both sides; what lies above τ stays"),
            (1 - lost / q, "that is q′/q, the share that is left"),
            (q - q * _lost(1.0, tau), "you fold as often as at q = 1; τ is to be compared with √q"),
            (q - lost - 4 * tau**2 * rate, "you take the mean of |z| over the folded part, and not of |z| − τ"),
            (q - lost / rate, "you take the mean over the folded alone; how many are folded"),
        ):
            require(not near(found, value), f"{at}: {mistake}")
        require(found < q, f"{at}: a fold with a threshold shortens")
        require(near(found, q - lost), f"{at}, too {'low' if found < q - lost else 'high'}")


def _tail(t: float) -> float:
    """Return how often a normal number is below −t."""
    return math.erfc(t / math.sqrt(2)) / 2


def _lost(q: float, tau: float) -> float:
    """Return the mean square that a fold takes from a Gaussian coordinate of mean square q."""
    t = tau / math.sqrt(q)
    density = math.exp(-t * t / 2) / math.sqrt(2 * math.pi)
    return 4 * tau * (math.sqrt(q) * density - tau * _tail(t))
