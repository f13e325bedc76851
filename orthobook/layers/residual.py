"""Layers with a skip connection: reflections that are exact, and the residual layers that they are compared with.

modified residual    x ↦ x − 2V relu(Vᵀx + b)    J = I − 2V D Vᵀ,  D = diag 1[Vᵀx + b ≥ 0]
leaky residual       x ↦ αx − βV lrelu(Vᵀx + b)  J = αI − βV D Vᵀ, D = diag lrelu'(Vᵀx + b)
residual             x ↦ x + s (W₂ relu(W₁x + b₁) + b₂), s fixed, or learned (ReZero), or with x normalised inside
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from orthobook._checks import finite_number
from orthobook.layers import activations
from orthobook.layers._stacked import ReflectionStack
from orthobook.layers.activations import Activation
from orthobook.layers.base import (
    Bias,
    Block,
    Frame,
    Hyperplanes,
    Matrix,
    Parameters,
    Points,
    Tangents,
    gaussian,
    reflection_bounds,
    register,
    resolve_folds,
    spectral_norms,
    within_reach,
)
from orthobook.orthogonal import haar

__all__ = [
    "LayerNormResidual",
    "LeakyResidual",
    "ModifiedResidual",
    "ReZero",
    "Residual",
    "ResidualBranch",
    "RotatedResidual",
]

NORM_EPSILON = 1e-5
"""Added to the variance in a layer normalisation, as torch does by default."""


@register("modified-residual")
@dataclass(frozen=True, kw_only=True)
class ModifiedResidual(Block):
    """x ↦ x − 2V relu(Vᵀx + b), V ∈ St(n, m): a reflection wherever a unit is active; b = −τ at the start.

    ``folds`` is m, the width by default. ``threshold`` is τ, in units of a coordinate's root mean square.
    """

    has_skip = True
    orthogonal: ClassVar[tuple[str, ...]] = ("frame",)
    isometric = True
    folds: int | None = None
    threshold: float = 3.0

    def __post_init__(self) -> None:
        finite_number("threshold", self.threshold)

    def resolve(self, depth: int, width: int) -> Self:
        return replace(self, folds=resolve_folds(self.folds, width, default=width))

    def init(self, depth: int, width: int, generator: torch.Generator, dtype: torch.dtype) -> Parameters:
        """Draw Haar frames V of shape (depth, n, m) and biases −τ of shape (depth, m)."""
        frame = haar(depth, width, resolve_folds(self.folds, width, default=width), generator=generator, dtype=dtype)
        return {"frame": frame, "bias": torch.full(frame.shape[::2], -self.threshold, dtype=dtype)}

    @property
    def activation(self) -> Activation:
        """ReLU; a subclass may put another activation σ in its place, also in the formulas of the methods."""
        return activations.relu

    def forward(self, x: Points, *, frame: Frame, bias: Bias) -> Points:
        """Return x − 2V relu(Vᵀx + b)."""
        return torch.addmm(x, self.activation(torch.addmm(bias, x, frame)), frame.mT, alpha=-2)

    def fused(self, x: Points, stacks: Parameters) -> Points:
        """Apply all layers, as one operation of autograd if σ is piecewise affine, in the precision of the states."""
        if self.activation.slopes is None:
            return super().fused(x, stacks)
        return ReflectionStack.apply(self.activation, x, stacks["frame"].to(x.dtype), stacks["bias"].to(x.dtype))

    def push(self, x: Points, tangents: Tangents, *, frame: Frame, bias: Bias) -> tuple[Points, Tangents]:
        """Push tangents v ↦ v − 2V (1[Vᵀx + b ≥ 0] ⊙ Vᵀv)."""
        z = torch.addmm(bias, x, frame)
        active = (tangents @ frame).mul_(self.activation.derivative(z).unsqueeze(1))
        return torch.addmm(x, self.activation(z), frame.mT, alpha=-2), tangents - 2 * (active @ frame.mT)

    def lipschitz(self, stacks: Parameters) -> Float[Tensor, " depth"]:
        """Return a bound of ‖I − 2V D Vᵀ‖₂ over all 0 ≤ D ≤ I: 1, or 2‖V‖₂² − 1 if that is more."""
        if self.activation is not activations.relu:  # whose slopes may be others
            return Block.lipschitz(self, stacks)
        return reflection_bounds(stacks["frame"])

    def creases(self, reach: float, *, frame: Frame, bias: Bias, **more: Tensor) -> Hyperplanes:
        """Return the hyperplanes v_i·x + b_i = 0."""
        return within_reach(reach, frame.mT, bias)


@register("rotated-residual")
@dataclass(frozen=True, kw_only=True)
class RotatedResidual(ModifiedResidual):
    """x ↦ O(x − 2V relu(Vᵀx + b)), V ∈ St(n, m), O ∈ O(n): the modified residual layer with a rotation after it.

    Up to a constant every layer of the theorem has this form, if its activation has one breakpoint.
    """

    orthogonal = ("frame", "rotation")

    def init(self, depth: int, width: int, generator: torch.Generator, dtype: torch.dtype) -> Parameters:
        """Draw frames and biases as for the modified residual layer, and Haar rotations of shape (depth, n, n)."""
        parameters = super().init(depth, width, generator, dtype)
        return parameters | {"rotation": haar(depth, width, width, generator=generator, dtype=dtype)}

    def forward(self, x: Points, *, rotation: Matrix, **layer: Tensor) -> Points:
        """Return O(x − 2V relu(Vᵀx + b))."""
        return super().forward(x, **layer) @ rotation.mT

    def push(self, x: Points, tangents: Tangents, *, rotation: Matrix, **layer: Tensor) -> tuple[Points, Tangents]:
        """Push tangents v ↦ O(v − 2V (1[Vᵀx + b ≥ 0] ⊙ Vᵀv))."""
        y, tangents = super().push(x, tangents, **layer)
        return y @ rotation.mT, tangents @ rotation.mT

    def lipschitz(self, stacks: Parameters) -> Float[Tensor, " depth"]:
        """Return ‖O‖₂ times the bound of the modified residual layer."""
        return spectral_norms(stacks["rotation"]) * super().lipschitz(stacks)


@register("leaky-residual")
@dataclass(frozen=True, kw_only=True)
class LeakyResidual(Block):
    """x ↦ αx − βV (lrelu(Vᵀx + b) + aτ), V ∈ O(n), α = (1 + a)/(1 − a), β = 2/(1 − a); b = −τ at the start.

    ``slope`` is a, the slope of the leaky ReLU on the negative side, from −1 up to but not including 1. ``threshold``
    is τ. At a = 0 the layer is the modified residual one with m = n; towards a = −1 the skip connection αx fades out,
    and −V(|Vᵀx + b| − τ) is left. The constant aτ lets points that no unit reflects stay where they are.
    """

    has_skip = True
    orthogonal = ("frame",)
    isometric = True
    slope: float = 0.1
    threshold: float = 3.0

    def __post_init__(self) -> None:
        finite_number("threshold", self.threshold)
        if not -1 <= finite_number("slope", self.slope) < 1:
            raise ValueError(f"slope must be at least -1 and below 1, got {self.slope!r}")

    @property
    def skip(self) -> float:
        """The factor α of the skip connection."""
        return (1 + self.slope) / (1 - self.slope)

    @property
    def scale(self) -> float:
        """The factor β of the branch."""
        return 2 / (1 - self.slope)

    @property
    def cancelling(self) -> float:
        """The scale β, as skip connection and branch may cancel."""
        return self.scale

    def init(self, depth: int, width: int, generator: torch.Generator, dtype: torch.dtype) -> Parameters:
        """Draw Haar frames V of shape (depth, n, n) and biases −τ of shape (depth, n)."""
        frame = haar(depth, width, width, generator=generator, dtype=dtype)
        return {"frame": frame, "bias": torch.full(frame.shape[:2], -self.threshold, dtype=dtype)}

    def forward(self, x: Points, *, frame: Matrix, bias: Bias) -> Points:
        """Return αx − βV (lrelu(Vᵀx + b) + aτ)."""
        return self._combine(x, torch.addmm(bias, x, frame), frame)

    def _combine(self, x: Points, z: Points, frame: Matrix) -> Points:
        units = functional.leaky_relu(z, self.slope) + self.slope * self.threshold
        return torch.addmm(x, units, frame.mT, beta=self.skip, alpha=-self.scale)

    def push(self, x: Points, tangents: Tangents, *, frame: Matrix, bias: Bias) -> tuple[Points, Tangents]:
        """Push tangents v ↦ αv − βV (lrelu'(Vᵀx + b) ⊙ Vᵀv)."""
        z = torch.addmm(bias, x, frame)
        slopes = activations.leaky_relu(self.slope).derivative(z)
        units = (tangents @ frame).mul_(slopes.unsqueeze(1)) @ frame.mT
        return self._combine(x, z, frame), self.skip * tangents - self.scale * units

    def lipschitz(self, stacks: Parameters) -> Float[Tensor, " depth"]:
        """Return a bound of ‖αI − βV D Vᵀ‖₂ over all aI ≤ D ≤ I, from the two ends of this symmetric matrix's spectrum.

        As aVVᵀ ≤ V D Vᵀ ≤ VVᵀ, its eigenvalues lie between α − βσ₁² and α − βaσ², σ being V's smallest singular value
        σ_n, or its largest σ₁ if a < 0.
        """
        squares = torch.linalg.svdvals(stacks["frame"]).square()
        largest, smallest = squares[..., 0], squares[..., -1]
        upper = self.skip - self.scale * self.slope * (smallest if self.slope >= 0 else largest)
        return torch.maximum(upper, self.scale * largest - self.skip)

    def creases(self, reach: float, *, frame: Matrix, bias: Bias) -> Hyperplanes:
        """Return the hyperplanes v_i·x + b_i = 0."""
        return within_reach(reach, frame.mT, bias)


class ResidualBranch(Block):
    """Layers with an identity skip and the branch W₂ relu(W₁x + b₁) + b₂, Gaussian weights that keep its mean square.

    A subclass says how the branch is scaled or normalised.
    """

    has_skip = True

    def init(self, depth: int, width: int, generator: torch.Generator, dtype: torch.dtype) -> Parameters:
        """Draw W₁ of variance 2/n and W₂ of variance 1/n, both (depth, n, n), and zero biases (depth, n)."""
        return {
            "inner_weight": gaussian(depth, width, width, variance=2 / width, generator=generator, dtype=dtype),
            "inner_bias": torch.zeros(depth, width, dtype=dtype),
            "outer_weight": gaussian(depth, width, width, variance=1 / width, generator=generator, dtype=dtype),
            "outer_bias": torch.zeros(depth, width, dtype=dtype),
        }

    def branch(
        self, x: Points, *, inner_weight: Matrix, inner_bias: Bias, outer_weight: Matrix, outer_bias: Bias
    ) -> Points:
        """Return W₂ relu(W₁x + b₁) + b₂."""
        return torch.addmm(outer_bias, torch.addmm(inner_bias, x, inner_weight.mT).relu(), outer_weight.mT)

    def push_branch(
        self,
        x: Points,
        tangents: Tangents,
        *,
        inner_weight: Matrix,
        inner_bias: Bias,
        outer_weight: Matrix,
        outer_bias: Bias,
    ) -> tuple[Points, Tangents]:
        """Return the branch and the tangents v ↦ W₂ (1[W₁x + b₁ ≥ 0] ⊙ W₁v)."""
        z = torch.addmm(inner_bias, x, inner_weight.mT)
        active = (tangents @ inner_weight.mT).mul_(activations.relu.derivative(z).unsqueeze(1))
        return torch.addmm(outer_bias, z.relu(), outer_weight.mT), active @ outer_weight.mT

    def creases(self, reach: float, *, inner_weight: Matrix, inner_bias: Bias, **more: Tensor) -> Hyperplanes:
        """Return the hyperplanes w_i·x + b_i = 0 of the inner units."""
        return within_reach(reach, inner_weight, inner_bias)


@register("residual")
@dataclass(frozen=True, kw_only=True)
class Residual(ResidualBranch):
    """Baseline x ↦ x + s (W₂ relu(W₁x + b₁) + b₂).

    ``branch_scale`` is s, by default 1/√L, which keeps signals and gradients bounded at any depth L (Tarnowski et al.
    2019).
    """

    branch_scale: float | None = None

    def __post_init__(self) -> None:
        if self.branch_scale is not None:
            finite_number("branch_scale", self.branch_scale)

    def resolve(self, depth: int, width: int) -> Self:
        return self if self.branch_scale is not None else replace(self, branch_scale=1 / math.sqrt(depth))

    def forward(self, x: Points, **branch: Tensor) -> Points:
        """Return x + s (W₂ relu(W₁x + b₁) + b₂)."""
        return torch.add(x, self.branch(x, **branch), alpha=self.branch_scale)

    def push(self, x: Points, tangents: Tangents, **branch: Tensor) -> tuple[Points, Tangents]:
        """Push tangents v ↦ v + s W₂ (1[W₁x + b₁ ≥ 0] ⊙ W₁v)."""
        step, turned = self.push_branch(x, tangents, **branch)
        return torch.add(x, step, alpha=self.branch_scale), torch.add(tangents, turned, alpha=self.branch_scale)


@register("rezero")
@dataclass(frozen=True, kw_only=True)
class ReZero(ResidualBranch):
    """Baseline x ↦ x + a (W₂ relu(W₁x + b₁) + b₂), the number a learned in each layer and 0 at the start.

    Every layer starts as the identity (Bachlechner et al. 2020).
    """

    def init(self, depth: int, width: int, generator: torch.Generator, dtype: torch.dtype) -> Parameters:
        """Draw the branches, and zero factors a of shape (depth,)."""
        return super().init(depth, width, generator, dtype) | {"factor": torch.zeros(depth, dtype=dtype)}

    def forward(self, x: Points, *, factor: Float[Tensor, ""], **branch: Tensor) -> Points:
        """Return x + a (W₂ relu(W₁x + b₁) + b₂)."""
        return torch.addcmul(x, factor, self.branch(x, **branch))

    def push(
        self, x: Points, tangents: Tangents, *, factor: Float[Tensor, ""], **branch: Tensor
    ) -> tuple[Points, Tangents]:
        """Push tangents v ↦ v + a W₂ (1[W₁x + b₁ ≥ 0] ⊙ W₁v)."""
        step, turned = self.push_branch(x, tangents, **branch)
        return torch.addcmul(x, factor, step), torch.addcmul(tangents, factor, turned)


@register("residual-layernorm")
@dataclass(frozen=True, kw_only=True)
class LayerNormResidual(Residual):
    """Baseline x ↦ x + s (W₂ relu(W₁N(x) + b₁) + b₂), N the layer normalisation, with learned weights and biases.

    N(x) = g ⊙ (x − mean x)/√(var x + ε) + c, mean and variance over the n coordinates, before the branch as deep
    networks have it. ``branch_scale`` is s, by default 1/√L.
    """

    def init(self, depth: int, width: int, generator: torch.Generator, dtype: torch.dtype) -> Parameters:
        """Draw the branches; g starts at 1 and c at 0, both of shape (depth, n)."""
        norm_weight, norm_bias = torch.ones(depth, width, dtype=dtype), torch.zeros(depth, width, dtype=dtype)
        return super().init(depth, width, generator, dtype) | {"norm_weight": norm_weight, "norm_bias": norm_bias}

    def branch(self, x: Points, *, norm_weight: Bias, norm_bias: Bias, **branch: Tensor) -> Points:
        """Return W₂ relu(W₁N(x) + b₁) + b₂."""
        return super().branch(functional.layer_norm(x, x.shape[-1:], norm_weight, norm_bias), **branch)

    def push_branch(
        self, x: Points, tangents: Tangents, *, norm_weight: Bias, norm_bias: Bias, **branch: Tensor
    ) -> tuple[Points, Tangents]:
        """Push tangents through N, v ↦ g ⊙ (v − mean v − x̂ mean(x̂ ⊙ v))/√(var x + ε), then as without it."""
        scale = (x.var(-1, correction=0, keepdim=True) + NORM_EPSILON).rsqrt()  # (batch, 1)
        centred = (x - x.mean(-1, keepdim=True)) * scale  # (batch, n), the x̂ of the formula
        along = (tangents * centred.unsqueeze(1)).mean(-1, keepdim=True)  # (batch, k, 1)
        turned = tangents - tangents.mean(-1, keepdim=True) - along * centred.unsqueeze(1)
        turned = norm_weight * scale.unsqueeze(1) * turned
        return super().push_branch(norm_weight * centred + norm_bias, turned, **branch)

    def creases(self, reach: float, **layer: Tensor) -> Hyperplanes:
        """Raise ValueError: the layer is not piecewise affine."""
        return Block.creases(self, reach, **layer)
