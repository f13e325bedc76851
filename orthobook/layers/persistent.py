"""Layers that keep the length of k directions, whatever the activation does to the others: a persistent subspace.

    x = (a, e) with e ∈ ℝᵏ last:  E = [0; I] ∈ St(n, k),  Eᵀx = e

    persistent residual      x ↦ x + s B σ(Cx + b)
    persistent feedforward   a ← σ(Oa + Pe + b),  e ← Re + Qa + b',  R ∈ O(k)

    forward    no layer reads e:     CE = 0, P = 0     J E = E R      isometric on E
    backward   no layer writes e:    EᵀB = 0, Q = 0    JᵀE = E Rᵀ     gradients: isometric on E

(R = I in the residual layer.) One of the two bounds the singular values of the trunk: σ_k ≥ 1 ≥ σ_{n−k+1}. Both
together, as at the start, make k of them equal to 1. The coordinates are no restriction: the embedding is a random
rotation. :mod:`orthobook.theory.subspaces` finds what persists in any network.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from orthobook._checks import finite_number
from orthobook.layers import activations
from orthobook.layers.activations import Activation
from orthobook.layers.base import (
    Bias,
    Block,
    Hyperplanes,
    Matrix,
    Parameters,
    Points,
    Tangents,
    gaussian,
    register,
    up_to_width,
    within_reach,
)
from orthobook.orthogonal import haar

__all__ = [
    "GAINS",
    "Persistent",
    "PersistentFeedforward",
    "PersistentResidual",
]

Keeps = Literal["forward", "backward", "both"]

_ACTIVATIONS: Mapping[str, Activation] = {
    "relu": activations.relu,
    "tanh": activations.tanh,
    "gelu": activations.gelu,
    "silu": activations.silu,
    "sine": activations.sine,
}

GAINS: Mapping[str, float] = {
    "relu": math.sqrt(2),
    "tanh": 1.0,
    "gelu": math.sqrt(2),
    "silu": math.sqrt(2),
    "sine": 1.0,
}
"""Scale g of the weights before an activation: √2 (He) where half of the slopes are near 0, 1 where σ'(0) = 1."""


@dataclass(frozen=True, kw_only=True)
class Persistent(Block):
    """Layers on x = (a, e) that start with J E = E R and JᵀE = E Rᵀ, E being the last k coordinates.

    ``persistent`` is k, half the width by default. ``activation`` is relu, tanh, gelu, silu or sine. ``keeps`` says
    what is left of this in the constrained mode: forward (no layer reads e), backward (none writes e) or both.
    """

    persistent: int | None = None
    activation: str = "relu"
    keeps: Keeps = "forward"

    def __post_init__(self) -> None:
        if not isinstance(self.activation, str) or self.activation not in _ACTIVATIONS:
            raise ValueError(f"unknown activation {self.activation!r}; allowed: {', '.join(_ACTIVATIONS)}")
        if self.keeps not in get_args(Keeps):
            raise ValueError(f"keeps must be one of {', '.join(get_args(Keeps))}, got {self.keeps!r}")

    def resolve(self, depth: int, width: int) -> Self:
        k = width // 2 if self.persistent is None else self.persistent
        return replace(self, persistent=up_to_width("persistent", k, width))

    @property
    def sigma(self) -> Activation:
        """The activation σ with its derivative."""
        return _ACTIVATIONS[self.activation]

    @property
    def gain(self) -> float:
        """The scale of the weights before σ."""
        return GAINS[self.activation]

    def others(self, width: int) -> int:
        """Return n − k, the number of coordinates in a."""
        return width - (width // 2 if self.persistent is None else self.persistent)

    def subspace(self, width: int, dtype: torch.dtype = torch.float64) -> Float[Tensor, "n k"]:
        """Return E, the last k columns of the identity."""
        return torch.eye(width, dtype=dtype)[:, self.others(width) :]


@register("persistent-residual")
@dataclass(frozen=True, kw_only=True)
class PersistentResidual(Persistent):
    """x ↦ x + s B σ(Cx + b), with CE = 0 and EᵀB = 0 at the start.

    ``branch_scale`` is s, by default 1/√L, as for the architecture ``residual``, which k = 0 resembles.
    """

    has_skip = True
    branch_scale: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.branch_scale is not None:
            finite_number("branch_scale", self.branch_scale)

    def resolve(self, depth: int, width: int) -> Self:
        scale = 1 / math.sqrt(depth) if self.branch_scale is None else self.branch_scale
        return replace(super().resolve(depth, width), branch_scale=scale)

    def init(self, depth: int, width: int, generator: torch.Generator, dtype: torch.dtype) -> Parameters:
        """Draw Gaussian C and B of shape (depth, n, n), but for zero columns and rows; zero b of shape (depth, n)."""
        others = self.others(width)
        variance = self.gain**2 / max(others, 1)  # so that Cx has the mean square of x times g²
        inner = gaussian(depth, width, width, variance=variance, generator=generator, dtype=dtype)
        outer = gaussian(depth, width, width, variance=1 / width, generator=generator, dtype=dtype)
        inner[..., others:], outer[:, others:] = 0, 0
        return {"inner_weight": inner, "inner_bias": torch.zeros(depth, width, dtype=dtype), "outer_weight": outer}

    def retract_(self, stacks: Parameters) -> None:
        """Set the columns of C that read e to zero, or the rows of B that write it, or both."""
        inner, outer = stacks["inner_weight"], stacks["outer_weight"]
        others = self.others(inner.shape[-1])
        if self.keeps != "backward":
            inner[..., others:] = 0
        if self.keeps != "forward":
            outer[:, others:] = 0

    def forward(self, x: Points, *, inner_weight: Matrix, inner_bias: Bias, outer_weight: Matrix) -> Points:
        """Return x + s B σ(Cx + b)."""
        units = self.sigma(torch.addmm(inner_bias, x, inner_weight.mT))
        return torch.add(x, units @ outer_weight.mT, alpha=self.branch_scale)

    def push(
        self, x: Points, tangents: Tangents, *, inner_weight: Matrix, inner_bias: Bias, outer_weight: Matrix
    ) -> tuple[Points, Tangents]:
        """Push tangents v ↦ v + s B (σ'(Cx + b) ⊙ Cv)."""
        z = torch.addmm(inner_bias, x, inner_weight.mT)
        turned = (tangents @ inner_weight.mT).mul_(self.sigma.derivative(z).unsqueeze(1)) @ outer_weight.mT
        y = torch.add(x, self.sigma(z) @ outer_weight.mT, alpha=self.branch_scale)
        return y, torch.add(tangents, turned, alpha=self.branch_scale)

    def creases(self, reach: float, *, inner_weight: Matrix, inner_bias: Bias, **more: Tensor) -> Hyperplanes:
        """Return the hyperplanes c_i·x + b_i = 0 of the units, where σ is the ReLU."""
        self.sigma.breakpoints_within(0.0)  # ValueError for a smooth one
        return within_reach(reach, inner_weight, inner_bias)


@register("persistent-feedforward")
@dataclass(frozen=True, kw_only=True)
class PersistentFeedforward(Persistent):
    """a ← σ(Oa + Pe + b), e ← Re + Qa + b': no skip connection, but σ leaves the last k coordinates alone.

    At the start O is g times a Haar matrix, R a Haar matrix, P = 0 and Q = 0. R stays orthogonal where it is kept.
    """

    orthogonal: ClassVar[tuple[str, ...]] = ("rotation",)

    def init(self, depth: int, width: int, generator: torch.Generator, dtype: torch.dtype) -> Parameters:
        """Draw (O P) of shape (depth, n − k, n), Q (depth, k, n − k), R (depth, k, k), and (b, b') (depth, n)."""
        others = self.others(width)
        k = width - others
        hidden = self.gain * haar(depth, others, others, generator=generator, dtype=dtype)
        return {
            "weight": torch.cat((hidden, hidden.new_zeros(depth, others, k)), dim=-1),
            "mixing": torch.zeros(depth, k, others, dtype=dtype),
            "rotation": haar(depth, k, k, generator=generator, dtype=dtype),
            "bias": torch.zeros(depth, width, dtype=dtype),
        }

    def retract_(self, stacks: Parameters) -> None:
        """Move R to the nearest orthogonal matrix, and set P to zero, or Q, or both."""
        super().retract_(stacks)
        if self.keeps != "backward":
            stacks["weight"][..., stacks["weight"].shape[1] :] = 0
        if self.keeps != "forward":
            stacks["mixing"].zero_()

    def layers(self, stacks: Parameters) -> Iterator[Parameters]:
        """Yield the matrix [[O, P], [Q, R]] of each layer, and its bias."""
        lower = torch.cat((stacks["mixing"], stacks["rotation"]), dim=-1)
        weight = torch.cat((stacks["weight"], lower), dim=-2)
        return super().layers({"weight": weight, "bias": stacks["bias"]})

    def _bend(self, z: Points) -> Points:
        others = self.others(z.shape[-1])
        return torch.cat((self.sigma(z[..., :others]), z[..., others:]), dim=-1)

    def forward(self, x: Points, *, weight: Matrix, bias: Bias) -> Points:
        """Return (σ(z_a), z_e) where z = [[O, P], [Q, R]] x + (b, b')."""
        return self._bend(torch.addmm(bias, x, weight.mT))

    def push(self, x: Points, tangents: Tangents, *, weight: Matrix, bias: Bias) -> tuple[Points, Tangents]:
        """Push tangents v ↦ (σ'(z_a) ⊙ w_a, w_e), w = [[O, P], [Q, R]] v."""
        z, turned = torch.addmm(bias, x, weight.mT), tangents @ weight.mT
        others = self.others(z.shape[-1])
        turned[..., :others] *= self.sigma.derivative(z[..., :others]).unsqueeze(1)
        return self._bend(z), turned

    def creases(self, reach: float, *, weight: Matrix, bias: Bias) -> Hyperplanes:
        """Return the hyperplanes of the first n − k units, where σ is the ReLU."""
        self.sigma.breakpoints_within(0.0)  # ValueError for a smooth one
        others = self.others(len(bias))
        return within_reach(reach, weight[:others], bias[:others])
