"""Partial isometries: layers whose Jacobian is one, and what becomes of their products.

    partial isometry       M MᵀM = M: every singular value is 0 or 1
    initial, final space   range Mᵀ, which M maps isometrically onto range M; the projections are MᵀM and MMᵀ
    Halmos and Wallen      for partial isometries S and T: ST is one  ⟺  SᵀS and TTᵀ commute

    threshold ReLU         x ↦ relu(Wx + b) − τ, b = τ at the start     rarely flat
    soft threshold         z ↦ z − clip(z, −τ, τ), z = Wx + b           flat near 0
    hard tanh              z ↦ clip(z, −h, h)                           flat far from 0
    looks-linear           relu with weights [[W, −W], [−W, W]]         J (v, 0) keeps its length, at every input

With W orthogonal, the Jacobians DW of the first three are partial isometries almost everywhere: the slopes in D are 0
and 1. Two such layers in a row compare a random space with one along the axes, and their projections do not commute.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Self

import torch
from jaxtyping import Float
from torch import Tensor

from orthobook import activations
from orthobook._checks import finite_number
from orthobook.activations import Activation
from orthobook.blocks import Feedforward, Parameters, ShiftedFold, register
from orthobook.orthogonal import haar

__all__ = ["HardTanh", "LooksLinear", "SoftThreshold", "ThresholdReLU", "commutator_norm", "partial_isometry_error"]


_TOLERANCE = 1e-3  # of what is taken for a partial isometry


# --- matrices ---


def partial_isometry_error(matrices: Float[Tensor, "*stack p n"]) -> Float[Tensor, "*stack"]:
    """Return ‖MMᵀM − M‖₂ = max σ|σ² − 1| of every matrix: 0 exactly for partial isometries.

    ValueError if they are no matrices of finite floating-point numbers.
    """
    _check_matrices("matrices", matrices)
    values = torch.linalg.svdvals(matrices)
    return (values * (values.square() - 1).abs()).amax(-1)


def commutator_norm(second: Float[Tensor, "*stack p n"], first: Float[Tensor, "*stack n q"]) -> Float[Tensor, "*stack"]:
    """Return ‖SᵀS TTᵀ − TTᵀ SᵀS‖₂ of the partial isometries S = ``second`` and T = ``first``.

    The product ST is a partial isometry exactly if this is 0 (Halmos and Wallen 1970). It is ½ max sin 2θ over the
    angles θ between the spaces that S keeps and T reaches, whose cosines are the singular values of ST: at most ½.

    Raises
    ------
    ValueError
        If the two are no matrices of finite numbers, do not fit, or are no partial isometries, within 10⁻³.
    """
    for name, matrices in (("second", second), ("first", first)):
        error = partial_isometry_error(_check_matrices(name, matrices))
        if (error > _TOLERANCE).any():
            raise ValueError(
                f"{name} must hold partial isometries, ‖MMᵀM − M‖₂ ≤ {_TOLERANCE:g}, got {error.max():.2g}"
            )
    if second.shape[:-2] != first.shape[:-2] or second.shape[-1] != first.shape[-2] or second.dtype != first.dtype:
        got = " and ".join(f"{tuple(M.shape)} of {M.dtype}" for M in (second, first))
        raise ValueError(f"second and first must be (…, p, n) and (…, n, q) of one dtype, got {got}")
    initial, final = second.mT @ second, first @ first.mT
    return torch.linalg.matrix_norm(initial @ final - final @ initial, ord=2)


def _check_matrices(name: str, matrices: object) -> Tensor:
    """Return the matrices; ValueError unless they are finite floating-point numbers and not empty."""
    if (
        not isinstance(matrices, Tensor)
        or not matrices.is_floating_point()
        or matrices.ndim < 2
        or 0 in matrices.shape[-2:]
    ):
        what = f"{tuple(matrices.shape)} of {matrices.dtype}" if isinstance(matrices, Tensor) else repr(matrices)
        raise ValueError(f"{name} must hold matrices of floating-point numbers, got {what}")
    if not matrices.isfinite().all():
        raise ValueError(f"{name} must hold finite numbers, got nan or inf")
    return matrices


# --- layers ---


@register("threshold-relu")
@dataclass(frozen=True, kw_only=True)
class ThresholdReLU(ShiftedFold):
    """x ↦ relu(Wx + b) − τ, W orthogonal, b = τ at the start: the identity where Wx > −τ, flat elsewhere.

    ``threshold`` is τ, in units of a coordinate's root mean square. Where the shifted fold reflects, this layer drops.
    """

    isometric = False

    @cached_property
    def activation(self) -> Activation:
        return activations.lowered_relu(self.threshold)


@register("soft-threshold")
@dataclass(frozen=True, kw_only=True)
class SoftThreshold(Feedforward):
    """Let z = Wx + b, W orthogonal: x ↦ z − clip(z, −τ, τ), flat within τ of 0.

    ``threshold`` is τ > 0, in units of a coordinate's root mean square. Every layer takes τ off every coordinate.
    """

    threshold: float = 0.1

    def __post_init__(self) -> None:
        finite_number("threshold", self.threshold, positive=True)

    @cached_property
    def activation(self) -> Activation:
        return activations.soft_threshold(self.threshold)


@register("hard-tanh")
@dataclass(frozen=True, kw_only=True)
class HardTanh(Feedforward):
    """x ↦ clip(Wx + b, −h, h), W orthogonal: the identity within h of 0, flat beyond.

    ``limit`` is h > 0, in units of a coordinate's root mean square.
    """

    limit: float = 2.0

    def __post_init__(self) -> None:
        finite_number("limit", self.limit, positive=True)

    @cached_property
    def activation(self) -> Activation:
        return activations.hard_tanh(self.limit)


@register("looks-linear")
@dataclass(frozen=True, kw_only=True)
class LooksLinear(Feedforward):
    """x ↦ relu(Mx + b), M = [[W, −W], [−W, W]] with W ∈ O(n/2) at the start: linear as long as M stays mirrored.

    Write x = (x⁺, x⁻): then x⁺ − x⁻ goes to W(x⁺ − x⁻), since relu(t) − relu(−t) = t (Balduzzi et al. 2017). At the
    start J = (D W, (D − I) W)(I, −I), D = diag 1[W(x⁺ − x⁻) ≥ 0], so the trunk's Jacobian has n/2 singular values √2
    and n/2 that are 0, at any depth. Nothing is kept in training: mirrored weights would stay linear but for biases.
    The width must be even.
    """

    orthogonal: ClassVar[tuple[str, ...]] = ()
    activation = activations.relu

    def resolve(self, depth: int, width: int) -> Self:
        if width % 2:
            raise ValueError(f"looks-linear needs an even width, got {width}")
        return self

    def weights(self, depth: int, width: int, generator: torch.Generator, dtype: torch.dtype) -> Parameters:
        """Draw mirrored weights of shape (depth, n, n)."""
        weight = haar(depth, width // 2, width // 2, generator=generator, dtype=dtype)
        rows = torch.cat((weight, -weight), dim=-1)
        return {"weight": torch.cat((rows, -rows), dim=-2)}
