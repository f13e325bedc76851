"""Self-checks of the chapter "Gradient coherence"."""

from __future__ import annotations

import math

from orthobook.teaching.exercises._self_checks import function, near, number, require, self_check
from orthobook.theory.mean_field import mean_field


@self_check("coherence-exercise-absolute")
def _absolute(no_threshold: object) -> None:
    no_threshold = function("no_threshold", no_threshold)
    for theta, depth in ((1.0, 2), (0.1, 10), (2.0, 1)):
        found = number(f"no_threshold({theta}, {depth})", no_threshold(theta, depth))
        for fault, gamma in {
            "those are ReLU layers, which drop what a fold turns round": _product(theta, depth, 1, 1),
            "a unit whose signs differ counts -1 in the trace, not 0": _product(theta, depth, 1, 2),
            "the angle must move from layer to layer: a fold brings directions closer": _product(theta, depth, 2, 0),
            "the signs of a layer depend on the angle before it, not after it": _product(theta, depth, 2, 2, late=True),
            "the angle closes up twice as fast as with ReLU": _product(theta, depth, 2, 1),
        }.items():
            right = near(gamma, _product(theta, depth, 2, 2))
            require(right or not near(found, gamma), f"at the angle {theta} and {depth} layers: {fault}")
        at = f"at the angle {theta}, in radians, you find γ = {found:.4f} after {depth} layers"
        require(near(found, _product(theta, depth, 2, 2)), at)


def _product(theta: float, depth: int, loss: int, closing: int, *, late: bool = False) -> float:
    """Return the product of 1 − loss·θ/π over layers that close the angle; with the angle after each layer if late."""
    gamma = 1.0
    for _ in range(depth):
        overlap = math.cos(theta) + closing * (math.sin(theta) - theta * math.cos(theta)) / math.pi
        after = math.acos(min(overlap, 1.0)) if closing else theta
        gamma *= 1 - loss * (after if late else theta) / math.pi
        theta = after
    return gamma


@self_check("coherence-exercise-fewer")
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
