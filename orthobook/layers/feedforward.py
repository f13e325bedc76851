"""Layers without a skip connection: an orthogonal matrix, then an activation, entrywise or nearly so.

    feedforward       x ↦ σ(Wx + b)                             J = diag σ'(Wx + b) W
    threshold ReLU    x ↦ relu(Wx + b) − τ, b = τ at the start  rarely flat
    soft threshold    z ↦ z − clip(z, −τ, τ), z = Wx + b        flat near 0
    hard tanh         z ↦ clip(z, −h, h)                        flat far from 0
    looks-linear      relu with weights [[W, −W], [−W, W]]      J (v, 0) keeps its length, at every input

With W orthogonal, J is orthogonal where the slopes of σ are ±1, and a partial isometry where they are 0 and 1: all but
the last of the four that are named.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Self

import torch
from jaxtyping import Float
from torch import Tensor

from orthobook._checks import finite_number
from orthobook.layers import activations
from orthobook.layers._stacked import FeedforwardStack
from orthobook.layers.activations import Activation
from orthobook.layers.base import (
    Bias,
    Block,
    Hyperplanes,
    Matrix,
    NextPoints,
    NextTangents,
    Parameters,
    Points,
    Tangents,
    gaussian,
    register,
    resolve_folds,
    spectral_norms,
    within_reach,
)
from orthobook.orthogonal import haar

__all__ = [
    "Absolute",
    "Feedforward",
    "HardTanh",
    "Linear",
    "LooksLinear",
    "PartialFold",
    "ReLUHe",
    "ReLUOrthogonal",
    "ShiftedFold",
    "SoftThreshold",
    "TanhOrthogonal",
    "ThresholdReLU",
    "Zigzag",
]


class Feedforward(Block):
    """Layers x ↦ σ(Wx + b), W square: no skip connection.

    A subclass names its ``activation`` or, if that is not entrywise, says what comes after Wx + b in ``bend`` and
    ``push_bend``. It changes where a layer starts in ``weights`` and ``biases``.
    """

    orthogonal: ClassVar[tuple[str, ...]] = ("weight",)

    @property
    def activation(self) -> Activation:
        """The activation σ with its derivative."""
        raise NotImplementedError(f"{type(self).__name__} names no activation")

    def weights(self, depth: int, width: int, generator: torch.Generator, dtype: torch.dtype) -> Parameters:
        """Draw Haar weights of shape (depth, n, n)."""
        return {"weight": haar(depth, width, width, generator=generator, dtype=dtype)}

    def biases(self, depth: int, width: int, dtype: torch.dtype) -> Float[Tensor, "depth n"]:
        """Return zero biases."""
        return torch.zeros(depth, width, dtype=dtype)

    def init(self, depth: int, width: int, generator: torch.Generator, dtype: torch.dtype) -> Parameters:
        """Draw weights of shape (depth, n, n), and biases of shape (depth, n)."""
        return {**self.weights(depth, width, generator, dtype), "bias": self.biases(depth, width, dtype)}

    def affine(self, x: Points, weight: Tensor, bias: Bias) -> Points:
        """Return Wx + b."""
        return torch.addmm(bias, x, weight.mT)

    def linear(self, tangents: Tangents, weight: Tensor) -> Tangents:
        """Return Wv for every tangent v."""
        return tangents @ weight.mT

    def bend(self, z: Points) -> NextPoints:
        """Return what comes after z = Wx + b: σ(z)."""
        return self.activation(z)

    def push_bend(self, z: Points, tangents: Tangents) -> NextTangents:
        """Return the derivative of ``bend`` at z applied to tangents, which may be changed in place: σ'(z) ⊙ v."""
        return tangents.mul_(self.activation.derivative(z).unsqueeze(1))

    def forward(self, x: Points, *, weight: Tensor, bias: Bias, **more: Tensor) -> NextPoints:
        """Return σ(Wx + b)."""
        return self.bend(self.affine(x, weight, bias), **more)

    def fused(self, x: Points, stacks: Parameters) -> NextPoints:
        """Apply all layers, as one operation of autograd if σ is piecewise affine, in the precision of the states."""
        if self.activation.slopes is None:  # its derivative would cost what σ does, which autograd avoids
            return super().fused(x, stacks)
        return FeedforwardStack.apply(self.activation, x, stacks["weight"].to(x.dtype), stacks["bias"].to(x.dtype))

    def push(
        self, x: Points, tangents: Tangents, *, weight: Tensor, bias: Bias, **more: Tensor
    ) -> tuple[NextPoints, NextTangents]:
        """Return σ(Wx + b) and the tangents v ↦ σ'(Wx + b) ⊙ Wv."""
        z = self.affine(x, weight, bias)
        return self.bend(z, **more), self.push_bend(z, self.linear(tangents, weight), **more)

    def lipschitz(self, stacks: Parameters) -> Float[Tensor, " depth"]:
        """Return ‖W‖₂ times the Lipschitz constant of what comes after Wx + b."""
        return self.norms(stacks) * self.bend_lipschitz(stacks)

    def norms(self, stacks: Parameters) -> Float[Tensor, " depth"]:
        """Return ‖W‖₂ of every layer, where W is kept orthogonal; ValueError where nothing keeps it in check."""
        if "weight" not in self.orthogonal:
            return Block.lipschitz(self, stacks)
        return spectral_norms(stacks["weight"])

    def bend_lipschitz(self, stacks: Parameters) -> float | Float[Tensor, " depth"]:
        """Return the Lipschitz constant of ``bend``: the steepest slope of σ; ValueError if it is not stated."""
        if self.activation.lipschitz is None:
            return Block.lipschitz(self, stacks)
        return self.activation.lipschitz

    def creases(self, reach: float, *, weight: Float[Tensor, "units n"], bias: Float[Tensor, " units"]) -> Hyperplanes:
        """Return the hyperplanes w_i·x + b_i = t for every unit i and breakpoint t of σ."""
        largest = (weight.norm(dim=1) * reach + bias.abs()).max().item() if len(bias) else 0.0
        levels = bias.new_tensor(self.activation.breakpoints_within(largest))
        offsets = (bias - levels.unsqueeze(-1)).flatten()
        return within_reach(reach, weight.repeat(len(levels), 1), offsets)


@register("linear")
@dataclass(frozen=True, kw_only=True)
class Linear(Feedforward):
    """x ↦ Wx + b with W orthogonal: the network without folds, m = 0 (Saxe et al. 2014)."""

    isometric = True
    activation = activations.identity


@register("absolute")
@dataclass(frozen=True, kw_only=True)
class Absolute(Feedforward):
    """x ↦ |Wx + b|, W orthogonal: every coordinate folded; with one breakpoint, the form of all members with A = 0."""

    isometric = True
    activation = activations.absolute


@register("shifted-fold")
@dataclass(frozen=True, kw_only=True)
class ShiftedFold(Feedforward):
    """x ↦ |Wx + b| − τ, W orthogonal, b = τ at the start: the identity where Wx > −τ, so at first near-linear.

    ``threshold`` is τ, in units of a coordinate's root mean square, which the embedding sets to about 1.
    """

    isometric = True
    threshold: float = 3.0

    def __post_init__(self) -> None:
        finite_number("threshold", self.threshold)

    @cached_property
    def activation(self) -> Activation:
        return activations.lowered_absolute(self.threshold)

    def biases(self, depth: int, width: int, dtype: torch.dtype) -> Float[Tensor, "depth n"]:
        """Return τ for every coordinate."""
        return torch.full((depth, width), self.threshold, dtype=dtype)


@register("partial-fold")
@dataclass(frozen=True, kw_only=True)
class PartialFold(ShiftedFold):
    """Let z = Wx + b, W orthogonal: x ↦ (|z₁| − τ, …, |z_m| − τ, z_{m+1}, …, z_n).

    ``folds`` is m, half the width by default: m = 0 is linear, m = n the shifted fold. At the start b is τ for the
    coordinates that fold and 0 for the others.
    """

    folds: int | None = None

    def resolve(self, depth: int, width: int) -> Self:
        return replace(self, folds=resolve_folds(self.folds, width, default=width // 2))

    def biases(self, depth: int, width: int, dtype: torch.dtype) -> Float[Tensor, "depth n"]:
        """Return τ for the coordinates that fold, 0 for the others."""
        biases = super().biases(depth, width, dtype)
        biases[:, self.folds :] = 0
        return biases

    def bend(self, z: Points) -> Points:
        """Return (|z₁| − τ, …, |z_m| − τ, z_{m+1}, …, z_n)."""
        return torch.cat((self.activation(z[..., : self.folds]), z[..., self.folds :]), dim=-1)

    def push_bend(self, z: Points, tangents: Tangents) -> Tangents:
        """Reflect the coordinates that are folded at z."""
        super().push_bend(z[..., : self.folds], tangents[..., : self.folds])  # in place
        return tangents

    def bend_lipschitz(self, stacks: Parameters) -> float:
        """Return 1: coordinates are folded, or stay as they are."""
        return 1.0

    def creases(self, reach: float, *, weight: Matrix, bias: Bias) -> Hyperplanes:
        """Return the hyperplanes w_i·x + b_i = 0 of the first m units."""
        return super().creases(reach, weight=weight[: self.folds], bias=bias[: self.folds])


@register("zigzag")
@dataclass(frozen=True, kw_only=True)
class Zigzag(Feedforward):
    """x ↦ ω(Wx + b), W orthogonal, ω the triangle wave of slopes ±1: many folds for each unit.

    ``period`` is that of ω, in units of a coordinate's root mean square: ω is the identity within a quarter of it, by
    default 3, so at first the layer is near-linear.
    """

    isometric = True
    period: float = 12.0

    def __post_init__(self) -> None:
        finite_number("period", self.period, positive=True)

    @cached_property
    def activation(self) -> Activation:
        return activations.triangle_wave(self.period)


@register("relu-orthogonal")
@dataclass(frozen=True, kw_only=True)
class ReLUOrthogonal(Feedforward):
    """Baseline x ↦ relu(Wx + b) with W = √2 · Haar: He's scale, orthogonal directions."""

    orthogonal = ()
    activation = activations.relu

    def weights(self, depth: int, width: int, generator: torch.Generator, dtype: torch.dtype) -> Parameters:
        """Draw √2 · Haar weights of shape (depth, n, n)."""
        return {"weight": math.sqrt(2) * haar(depth, width, width, generator=generator, dtype=dtype)}


@register("relu-he")
@dataclass(frozen=True, kw_only=True)
class ReLUHe(Feedforward):
    """Baseline x ↦ relu(Wx + b) with independent Gaussian weights of variance 2/n (He's initialisation)."""

    orthogonal = ()
    activation = activations.relu

    def weights(self, depth: int, width: int, generator: torch.Generator, dtype: torch.dtype) -> Parameters:
        """Draw Gaussian weights of variance 2/n, of shape (depth, n, n)."""
        return {"weight": gaussian(depth, width, width, variance=2 / width, generator=generator, dtype=dtype)}


@register("tanh-orthogonal")
@dataclass(frozen=True, kw_only=True)
class TanhOrthogonal(Feedforward):
    """Baseline x ↦ tanh(Wx + b) with W Haar: dynamical isometry only as far as tanh is linear."""

    activation = activations.tanh


# --- slopes 0 and 1: partial isometries ---


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
