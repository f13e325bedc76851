"""Layers that act on groups of coordinates: they sort, reflect or double them. All follow a rotation, z = Wx + b.

    groupsort      sort each group                       J = ΠW,  Π a permutation that depends on z
    maxmin         groups of two: (max, min)             the fold in the line z₁ = z₂, v = (1, −1)/√2
    householder    z ↦ z + 2v relu(−vᵀz) in each group   J = (I − 2·1[vᵀz < 0] vvᵀ) W, in each group
    crelu          (relu(z), relu(−z))                   J = [D; D − I] W,  JᵀJ = Wᵀ(D² + (I − D)²)W = I

Sorting is Anil, Lucas and Grosse (2019) and, in pairs, Chernodub and Nowicki (2016); the Householder activation is
Singla, Singla and Feizi (2022); CReLU is Shang et al. (2016).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor

from orthobook._checks import whole_number
from orthobook.layers.base import (
    Bias,
    Hyperplanes,
    Matrix,
    NextPoints,
    NextTangents,
    Parameters,
    Points,
    Tangents,
    reflection_bounds,
    register,
    within_reach,
)
from orthobook.layers.feedforward import Feedforward
from orthobook.orthogonal import haar

__all__ = ["CReLU", "GroupSort", "Householder", "MaxMin"]

LARGEST_WIDTH = 2**16
"""Coordinates that the last state of a network of doubling layers may have."""


def _check_divides(architecture: str, size: int, width: int) -> None:
    if width % size:
        raise ValueError(f"{architecture} needs a width that is a multiple of {size}, its group size, got {width}")


@register("maxmin")
@dataclass(frozen=True, kw_only=True)
class MaxMin(Feedforward):
    """x ↦ MaxMin(Wx + b): each pair (z₁, z₂) of coordinates becomes (max, min). The width must be even."""

    isometric = True

    def resolve(self, depth: int, width: int) -> Self:
        _check_divides("maxmin", 2, width)
        return self

    def bend(self, z: Points) -> Points:
        """Return every pair as (max, min)."""
        first, second = z[..., ::2], z[..., 1::2]
        return torch.stack((torch.maximum(first, second), torch.minimum(first, second)), dim=-1).flatten(-2)

    def push_bend(self, z: Points, tangents: Tangents) -> Tangents:
        """Swap the coordinates of the pairs that are swapped at z."""
        swapped = (z[..., ::2] < z[..., 1::2]).unsqueeze(1)
        first, second = tangents[..., ::2], tangents[..., 1::2]
        pairs = torch.where(swapped, second, first), torch.where(swapped, first, second)
        return torch.stack(pairs, dim=-1).flatten(-2)

    def bend_lipschitz(self, stacks: Parameters) -> float:
        """Return 1: each pair is reflected, or stays as it is."""
        return 1.0

    def creases(self, reach: float, *, weight: Matrix, bias: Bias) -> Hyperplanes:
        """Return the hyperplanes z₁ = z₂ of all pairs."""
        return within_reach(reach, weight[::2] - weight[1::2], bias[::2] - bias[1::2])


@register("groupsort")
@dataclass(frozen=True, kw_only=True)
class GroupSort(Feedforward):
    """x ↦ sort(Wx + b) in groups of ``size`` neighbours, largest first. The width must be a multiple of the size."""

    isometric = True
    size: int = 4

    def __post_init__(self) -> None:
        whole_number("size", self.size, least=1)

    def resolve(self, depth: int, width: int) -> Self:
        _check_divides("groupsort", self.size, width)
        return self

    def bend(self, z: Points) -> Points:
        """Return every group sorted, largest first."""
        return z.unflatten(-1, (-1, self.size)).sort(dim=-1, descending=True).values.flatten(-2)

    def push_bend(self, z: Points, tangents: Tangents) -> Tangents:
        """Permute tangents as z is permuted."""
        order = z.unflatten(-1, (-1, self.size)).argsort(dim=-1, descending=True).unsqueeze(1)
        groups = tangents.unflatten(-1, (-1, self.size))
        return groups.gather(-1, order.expand_as(groups)).flatten(-2)

    def bend_lipschitz(self, stacks: Parameters) -> float:
        """Return 1: sorting is piecewise a permutation, and continuous."""
        return 1.0

    def creases(self, reach: float, *, weight: Matrix, bias: Bias) -> Hyperplanes:
        """Return the hyperplanes z_i = z_j of all pairs within a group."""
        pairs = list(itertools.combinations(range(self.size), 2))
        first, second = torch.tensor(pairs, dtype=torch.long, device=weight.device).reshape(-1, 2).unbind(-1)
        weights, biases = weight.unflatten(0, (-1, self.size)), bias.unflatten(0, (-1, self.size))
        normals = (weights[:, first] - weights[:, second]).flatten(0, 1)
        return within_reach(reach, normals, (biases[:, first] - biases[:, second]).flatten())


@register("householder")
@dataclass(frozen=True, kw_only=True)
class Householder(Feedforward):
    """x ↦ z + 2v relu(−vᵀz) in every group of ``size`` coordinates of z = Wx + b, each with a unit vector v of its own.

    Every group is reflected to the side of its hyperplane on which vᵀz ≥ 0. The vectors are learnt, on the sphere. The
    width must be a multiple of the size.
    """

    orthogonal = ("weight", "vector")
    isometric = True
    size: int = 2

    def __post_init__(self) -> None:
        whole_number("size", self.size, least=1)

    def resolve(self, depth: int, width: int) -> Self:
        _check_divides("householder", self.size, width)
        return self

    def weights(self, depth: int, width: int, generator: torch.Generator, dtype: torch.dtype) -> Parameters:
        """Draw Haar weights of shape (depth, n, n) and unit vectors of shape (depth, n/size, size, 1)."""
        vectors = haar(depth, width // self.size, self.size, 1, generator=generator, dtype=dtype)
        return super().weights(depth, width, generator, dtype) | {"vector": vectors}

    def bend(self, z: Points, vector: Float[Tensor, "groups size 1"]) -> Points:
        """Return z with every group for which vᵀz < 0 reflected."""
        groups, v = z.unflatten(-1, (-1, self.size)), vector.squeeze(-1)
        return (groups + 2 * (-(groups * v).sum(-1, keepdim=True)).relu() * v).flatten(-2)

    def push_bend(self, z: Points, tangents: Tangents, vector: Float[Tensor, "groups size 1"]) -> Tangents:
        """Reflect tangents in the groups that are reflected at z."""
        groups, v = tangents.unflatten(-1, (-1, self.size)), vector.squeeze(-1)
        reflected = (z.unflatten(-1, (-1, self.size)) * v).sum(-1, keepdim=True).unsqueeze(1) < 0
        return (groups - 2 * reflected * (groups * v).sum(-1, keepdim=True) * v).flatten(-2)

    def bend_lipschitz(self, stacks: Parameters) -> Float[Tensor, " depth"]:
        """Return a bound of ‖I − 2d vvᵀ‖₂ over all groups and 0 ≤ d ≤ 1."""
        return reflection_bounds(stacks["vector"]).amax(-1)

    def creases(
        self, reach: float, *, weight: Matrix, bias: Bias, vector: Float[Tensor, "groups size 1"]
    ) -> Hyperplanes:
        """Return the hyperplanes vᵀz = 0 of all groups."""
        v = vector.squeeze(-1)
        normals = torch.einsum("gs,gsn->gn", v, weight.unflatten(0, (-1, self.size)))
        return within_reach(reach, normals, (v * bias.unflatten(0, (-1, self.size))).sum(-1))


@register("crelu")
@dataclass(frozen=True, kw_only=True)
class CReLU(Feedforward):
    """z ↦ (relu(z), relu(−z)), z = Wx + b: an isometry from ℝⁿ to ℝ²ⁿ, so the width doubles at every layer.

    Layer l treats the 2ˡ⁻¹ groups of ``width`` coordinates that it meets with one W ∈ O(n) and one b. The trunk's
    Jacobian is tall, 2ᴸn × n.
    """

    kind = "rectangular"
    isometric = True

    def resolve(self, depth: int, width: int) -> Self:
        if depth > 16 or self.final_width(depth, width) > LARGEST_WIDTH:
            raise ValueError(
                f"crelu doubles the width at every layer: width · 2^depth must be at most {LARGEST_WIDTH}, "
                f"got width {width} and depth {depth}"
            )
        return self

    def final_width(self, depth: int, width: int) -> int:
        return width << depth

    def affine(self, x: Points, weight: Matrix, bias: Bias) -> Float[Tensor, "batch groups n"]:
        """Return Wx + b of every group."""
        return x.unflatten(-1, (-1, len(bias))) @ weight.mT + bias

    def linear(self, tangents: Tangents, weight: Matrix) -> Float[Tensor, "batch k groups n"]:
        """Return Wv of every group of every tangent v."""
        return tangents.unflatten(-1, (-1, weight.shape[1])) @ weight.mT

    def bend(self, z: Float[Tensor, "batch groups n"]) -> NextPoints:
        """Return (relu(z), relu(−z)) of every group, in a row."""
        return torch.cat((z.relu(), (-z).relu()), dim=-1).flatten(-2)

    def push_bend(
        self, z: Float[Tensor, "batch groups n"], tangents: Float[Tensor, "batch k groups n"]
    ) -> NextTangents:
        """Return (Dv, (D − I)v) with D = diag 1[z ≥ 0]."""
        active = (z >= 0).unsqueeze(1).to(tangents.dtype)
        return torch.cat((active * tangents, (active - 1) * tangents), dim=-1).flatten(-2)

    def bend_lipschitz(self, stacks: Parameters) -> float:
        """Return 1: (relu(t), relu(−t)) is an isometry on either side of 0, and continuous."""
        return 1.0

    def creases(self, reach: float, **layer: Tensor) -> Hyperplanes:
        """Raise ValueError: the layer leaves the space that its creases would be drawn in."""
        raise ValueError("crelu doubles the width at every layer, so its creases are not drawn")
