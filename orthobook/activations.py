"""Activations with their derivatives, and the fold behind every activation of two slopes.

    piecewise affine σ with slopes s₁ ≠ s₂:   c = (s₁ + s₂)/2,   r = (s₁ − s₂)/2
    its fold                                  φ(t) = (σ(t) − c t)/r,   with slopes ±1

So σ(t) = c t + r φ(t): any activation of two slopes is a fold plus a linear part. A layer can put the linear part into
one of its matrices, and what is left to understand is the fold.

At a breakpoint every derivative here is the one from the right.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from orthobook._checks import finite_number

__all__ = [
    "Activation",
    "absolute",
    "fold_of",
    "hard_tanh",
    "identity",
    "leaky_relu",
    "lowered_absolute",
    "relu",
    "shifted_fold",
    "tanh",
    "triangle_wave",
    "two_slopes",
]


@dataclass(frozen=True)
class Activation:
    """An entrywise function together with its derivative.

    Calling it applies the function; ``activation.derivative(z)`` has the shape of ``z``.
    """

    name: str
    function: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]
    slopes: tuple[float, ...] | None = None  # the distinct slopes; None if not piecewise affine
    breakpoints: tuple[float, ...] | None = None  # where the slope changes; None if not stated
    recurrence: float | None = None  # the distance at which the breakpoints recur, on either side, for ever

    def __call__(self, z: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return self.function(z)

    def breakpoints_within(self, reach: float) -> tuple[float, ...]:
        """Return all breakpoints in [−reach, reach].

        Raises
        ------
        ValueError
            If the activation does not state its breakpoints: it is smooth, or was defined without them.
        """
        if self.breakpoints is None:
            raise ValueError(f"the activation {self.name} states no breakpoints: it is smooth, or defined without them")
        found = self.breakpoints
        if self.recurrence is not None:
            turns = math.ceil(reach / self.recurrence) + 1
            nearest = (math.remainder(t, self.recurrence) for t in found)
            found = tuple(t + k * self.recurrence for t in nearest for k in range(-turns, turns + 1))
        return tuple(t for t in found if abs(t) <= reach)


def _sign(z: Tensor) -> Tensor:
    """Return ±1, with +1 at 0: the slope of |z| from the right."""
    return torch.where(z < 0, -1.0, 1.0).to(z.dtype)


identity = Activation("identity", lambda z: z, torch.ones_like, slopes=(1.0,), breakpoints=())
absolute = Activation("absolute value", torch.abs, _sign, slopes=(1.0, -1.0), breakpoints=(0.0,))
relu = Activation("ReLU", torch.relu, lambda z: (z >= 0).to(z.dtype), slopes=(1.0, 0.0), breakpoints=(0.0,))
tanh = Activation("tanh", torch.tanh, lambda z: 1 - torch.tanh(z).square())


def two_slopes(right: float, left: float) -> Activation:
    """Return σ(t) = right·t for t ≥ 0 and left·t for t < 0; slopes (s₁, s₂) = (right, left).

    ``two_slopes(1, 0)`` is ReLU, ``two_slopes(1, -1)`` the absolute value, ``two_slopes(1, 0.1)`` a leaky ReLU.
    ValueError if a slope is not finite.
    """
    right, left = finite_number("right", right), finite_number("left", left)
    return Activation(
        f"slopes {right:g}, {left:g}",
        lambda z: torch.where(z < 0, left * z, right * z),
        lambda z: torch.full_like(z, right).masked_fill_(z < 0, left),  # where() would round the slopes to float32
        slopes=(right,) if right == left else (right, left),
        breakpoints=() if right == left else (0.0,),
    )


def leaky_relu(slope: float) -> Activation:
    """Return the leaky ReLU with the given slope on the negative side."""
    return two_slopes(1.0, slope)


def lowered_absolute(threshold: float) -> Activation:
    """Return σ(t) = |t| − τ, which after a bias of τ is the shifted fold."""
    return Activation(
        f"absolute value lowered by {threshold:g}",
        lambda z: z.abs().sub_(threshold),
        _sign,
        slopes=(1.0, -1.0),
        breakpoints=(0.0,),
    )


def shifted_fold(threshold: float) -> Activation:
    """Return φ(t) = |t + τ| − τ: the identity above −τ, folded back below it."""
    return Activation(
        f"shifted fold, τ = {threshold:g}",
        lambda z: (z + threshold).abs() - threshold,
        lambda z: _sign(z + threshold),
        slopes=(1.0, -1.0),
        breakpoints=(-threshold,),
    )


def hard_tanh(limit: float) -> Activation:
    """Return σ(t) = clip(t, −c, c): of slope 1 within c of 0, flat beyond. ValueError if c is not positive."""
    limit = finite_number("limit", limit, positive=True)
    return Activation(
        f"hard tanh, c = {limit:g}",
        lambda z: z.clamp(-limit, limit),
        lambda z: ((z >= -limit) & (z < limit)).to(z.dtype),
        slopes=(1.0, 0.0),
        breakpoints=(-limit, limit),
    )


def triangle_wave(period: float) -> Activation:
    """Return the triangle wave ω of slopes ±1: ω(t) = t for |t| ≤ period/4, folded back at ±period/4, and so for ever.

    ω(t) = | (t − p/4) mod p − p/2 | − p/4, with values in [−p/4, p/4]. ValueError if the period is not positive.
    """
    quarter = finite_number("period", period, positive=True) / 4

    def centred(z: Tensor) -> Tensor:
        return torch.remainder(z - quarter, period) - 2 * quarter  # in [−p/2, p/2)

    return Activation(
        f"triangle wave, period {period:g}",
        lambda z: centred(z).abs() - quarter,
        lambda z: _sign(centred(z)),
        slopes=(1.0, -1.0),
        breakpoints=(quarter,),
        recurrence=2 * quarter,
    )


def fold_of(activation: Activation) -> Activation:
    """Return the fold φ = (σ − c·id)/r of an activation with two slopes; its slopes are ±1.

    Raises
    ------
    ValueError
        If the activation does not have exactly two distinct slopes: one slope leaves nothing to fold, and a unit with
        three or more cannot contribute to a layer whose Jacobian is orthogonal.
    """
    if activation.slopes is None or len(activation.slopes) != 2:
        raise ValueError(
            f"a fold needs an activation with exactly two slopes, got {activation.name} with slopes {activation.slopes}"
        )
    first, second = activation.slopes
    centre, radius = (first + second) / 2, (first - second) / 2
    return Activation(
        f"fold of {activation.name}",
        lambda z: (activation(z) - centre * z) / radius,
        lambda z: (activation.derivative(z) - centre) / radius,
        slopes=(1.0, -1.0),
        breakpoints=activation.breakpoints,
        recurrence=activation.recurrence,
    )
