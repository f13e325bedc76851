"""Activations with their derivatives, and the fold behind every activation of two slopes.

    piecewise affine σ with slopes s₁ ≠ s₂:   c = (s₁ + s₂)/2,   r = (s₁ − s₂)/2
    its fold                                  φ(t) = (σ(t) − c t)/r,   with slopes ±1

So σ(t) = c t + r φ(t): any activation of two slopes is a fold plus a linear part. A layer can put the linear part into
one of its matrices, and what is left to understand is the fold.

A smooth fold √(t² + ε²) is nearly one: its slope has modulus 1 except over a width of about ε.

At a breakpoint every derivative here is the one from the right.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from orthobook._checks import finite_number

__all__ = [
    "Activation",
    "absolute",
    "fold_of",
    "gelu",
    "hard_tanh",
    "identity",
    "leaky_relu",
    "lowered_absolute",
    "lowered_relu",
    "relu",
    "shifted_fold",
    "silu",
    "sine",
    "smooth_fold",
    "smooth_relu",
    "soft_threshold",
    "tanh",
    "triangle_wave",
    "two_slopes",
    "uneven_fold",
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
    lipschitz: float | None = None  # the steepest slope's modulus: that of the slopes, if they are stated

    def __post_init__(self) -> None:
        if self.lipschitz is None and self.slopes is not None:
            object.__setattr__(self, "lipschitz", max(map(abs, self.slopes)))

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
    return torch.sign(z).add_(0.5).sign_()  # where() with two numbers takes ten times as long


identity = Activation("identity", lambda z: z, torch.ones_like, slopes=(1.0,), breakpoints=())
absolute = Activation("absolute value", torch.abs, _sign, slopes=(1.0, -1.0), breakpoints=(0.0,))
relu = Activation("ReLU", torch.relu, lambda z: (z >= 0).to(z.dtype), slopes=(1.0, 0.0), breakpoints=(0.0,))
tanh = Activation("tanh", torch.tanh, lambda z: 1 - torch.tanh(z).square(), lipschitz=1.0)
sine = Activation("sine", torch.sin, torch.cos)


def _gelu_slope(z: Tensor) -> Tensor:
    """Return Φ(z) + z Φ'(z), Φ the normal distribution function."""
    return torch.special.ndtr(z) + z * (-z.square() / 2).exp() / math.sqrt(2 * math.pi)


def _silu_slope(z: Tensor) -> Tensor:
    """Return s(z) (1 + z s(−z)), s the logistic function."""
    return z.sigmoid() * (1 + z * (-z).sigmoid())


gelu = Activation("GELU", functional.gelu, _gelu_slope)
silu = Activation("SiLU", functional.silu, _silu_slope)


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
    # A number would be made a tensor of the right precision at every layer, which takes as long as to subtract it.
    levels = {dtype: torch.tensor(threshold, dtype=dtype, device="cpu") for dtype in (torch.float32, torch.float64)}
    return Activation(
        f"absolute value lowered by {threshold:g}",
        lambda z: z.abs().sub_(levels.get(z.dtype, threshold)),
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


def uneven_fold(delta: float, threshold: float = 0.0) -> Activation:
    """Return the shifted fold whose folded side has the slope −(1 − δ): t above −τ, −(1 − δ)(t + τ) − τ below it.

    ValueError if δ is not in [0, 1) or τ is not finite. At δ = 0 it is :func:`shifted_fold` to the bit.
    """
    delta, threshold = finite_number("delta", delta, least=0, below=1), finite_number("threshold", threshold)
    if delta == 0:
        return shifted_fold(threshold)
    fold = two_slopes(1.0, delta - 1)
    return Activation(
        f"uneven fold, δ = {delta:g}, τ = {threshold:g}",
        lambda z: fold(z + threshold) - threshold,
        lambda z: fold.derivative(z + threshold),
        slopes=fold.slopes,
        breakpoints=(-threshold,),
    )


def smooth_fold(epsilon: float, threshold: float = 0.0) -> Activation:
    """Return φ_ε(t) = √((t + τ)² + ε²) − τ: the shifted fold with its crease rounded over a width of about ε.

    Its slope (t + τ)/√((t + τ)² + ε²) is below 1 in modulus everywhere and 0 at −τ. ValueError if ε is negative or a
    number is not finite. At ε = 0 it is :func:`shifted_fold` to the bit.
    """
    epsilon, threshold = finite_number("epsilon", epsilon, least=0), finite_number("threshold", threshold)
    if epsilon == 0:
        return shifted_fold(threshold)
    return Activation(
        f"smooth fold, ε = {epsilon:g}, τ = {threshold:g}",
        lambda z: _hypotenuse(z + threshold, epsilon) - threshold,
        lambda z: (z + threshold) / _hypotenuse(z + threshold, epsilon),
        lipschitz=1.0,
    )


def smooth_relu(epsilon: float) -> Activation:
    """Return s_ε(t) = (t + √(t² + ε²))/2, which lies above ReLU by at most ε/2.

    ValueError if ε is negative or not finite. At ε = 0 it is :data:`relu` to the bit.
    """
    epsilon = finite_number("epsilon", epsilon, least=0)
    if epsilon == 0:
        return relu

    def function(z: Tensor) -> Tensor:
        longer = z.abs() + _hypotenuse(z, epsilon)
        return torch.where(z < 0, epsilon / longer * epsilon, longer) / 2  # t + √(t² + ε²) would cancel for t < 0

    def derivative(z: Tensor) -> Tensor:
        return function(z) / _hypotenuse(z, epsilon)

    return Activation(f"smooth ReLU, ε = {epsilon:g}", function, derivative)


def _hypotenuse(z: Tensor, epsilon: float) -> Tensor:
    """Return √(z² + ε²), also where z² would overflow."""
    return torch.hypot(z, torch.tensor(epsilon, dtype=z.dtype, device="cpu"))


def lowered_relu(threshold: float) -> Activation:
    """Return σ(t) = relu(t) − τ, which after a bias of τ is the identity above −τ and flat below."""
    return Activation(
        f"ReLU lowered by {threshold:g}",
        lambda z: z.relu() - threshold,  # not in place: its gradient needs the result of relu
        relu.derivative,
        slopes=(1.0, 0.0),
        breakpoints=(0.0,),
    )


def soft_threshold(threshold: float) -> Activation:
    """Return σ(t) = t − clip(t, −τ, τ): flat within τ of 0, of slope 1 beyond. ValueError if τ is not positive."""
    threshold = finite_number("threshold", threshold, positive=True)
    return Activation(
        f"soft threshold, τ = {threshold:g}",
        lambda z: z - z.clamp(-threshold, threshold),
        lambda z: ((z < -threshold) | (z >= threshold)).to(z.dtype),
        slopes=(1.0, 0.0),
        breakpoints=(-threshold, threshold),
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
