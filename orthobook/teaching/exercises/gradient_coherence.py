"""Self-checks of the chapter "Gradient coherence"."""

from __future__ import annotations

import math

from orthobook.teaching.exercises._self_checks import comparison, near, number, require, self_check
from orthobook.theory.mean_field import mean_field


@comparison(
    "coherence-exercise-absolute",
    [(1.0, 2), (0.1, 10), (2.0, 1)],
    at=lambda found, theta, depth: f"at the angle {theta} and {depth} layers",
    otherwise=lambda found, right, theta, depth: f" you find γ = {found:.4f}; the angle is in radians",
    wrong={
        "those are ReLU layers, which drop what a fold turns round": {"loss": 1, "closing": 1},
        "a unit whose signs differ counts -1 in the trace, not 0": {"loss": 1},
        "the angle must move from layer to layer: a fold brings directions closer": {"closing": 0},
        "the signs of a layer depend on the angle before it, not after it": {"late": True},
        "the angle closes up twice as fast as with ReLU": {"closing": 1},
    },
)
def no_threshold(theta: float, depth: int, loss: int = 2, closing: int = 2, *, late: bool = False) -> float:
    """Return the product of 1 − loss·θ/π over layers that close the angle; with the angle after each layer if late."""
    gamma = 1.0
    for _ in range(depth):
        overlap = math.cos(theta) + closing * (math.sin(theta) - theta * math.cos(theta)) / math.pi
        after = math.acos(min(overlap, 1.0)) if closing else theta
        gamma *= 1 - loss * (after if late else theta) / math.pi
        theta = after
    return gamma


@self_check(
    "coherence-exercise-fewer",
    wrong={
        "tau_fold is -2.444; a threshold is positive": (-2.444, 1.891),
        "56 of its 64 units never fold anything": (2.444, 2.444),
        "the two are swapped": (1.891, 2.444),
        "folds half of the units": (2.444, 2.28),
        "tau_fold = 2.000 gives a coherence of 0.294 after 100 layers: move it up": (2, 1.891),
        "move it down": (2.444, 2.6),
    },
)
def _fewer(tau_fold: object, tau_partial: object) -> None:
    thresholds = {"tau_fold": number("tau_fold", tau_fold), "tau_partial": number("tau_partial", tau_partial)}
    for name, tau in thresholds.items():
        require(tau > 0, f"{name} is {tau:g}; a threshold is positive")
    fold, partial = thresholds.values()
    require(
        fold != partial, "with the same threshold the partial fold keeps more: 56 of its 64 units never fold anything"
    )
    swapped = near(_reached(partial), 0.5, 0.01) and near(_reached(fold, folds=8), 0.5, 0.01)
    require(not swapped, "the two are swapped: fewer units that may fold need a lower threshold")
    require(
        not near(_reached(partial, folds=32), 0.5, 0.01),
        "tau_partial belongs to the partial fold that folds half of the units; here m = 8",
    )
    for name, gamma in (("tau_fold", _reached(fold)), ("tau_partial", _reached(partial, folds=8))):
        shown = f"{name} = {thresholds[name]:.3f} gives a coherence of {gamma:.3f} after 100 layers"
        require(near(gamma, 0.5, 0.01), f"{shown}: move it {'down' if gamma > 0.5 else 'up'}")


def _reached(threshold: float, **folds: int) -> float:
    """Return the coherence after 100 layers of width 64."""
    architecture = "partial-fold" if folds else "shifted-fold"
    field = mean_field(architecture, depth=100, width=64, threshold=threshold, **folds)
    return float(field.coherence[-1])
