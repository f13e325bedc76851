"""The theorem as code: every layer x ↦ Ax + Bσ(Cx + b) whose Jacobian is orthogonal almost everywhere.

Let σ have the slopes s₁ ≠ s₂, c = (s₁ + s₂)/2, r = (s₁ − s₂)/2, and let C (m × n) have full row rank m ≤ n and B no
zero column. The Jacobian J = A + B D C, D = diag σ'(Cx + b), is orthogonal wherever it exists if and only if

    C = Λ⁻¹Vᵀ,    B = U Λ / r,    A = U⊥ R V⊥ᵀ − (c/r) U Vᵀ

with U, V ∈ St(n, m), Λ a positive diagonal and R ∈ O(n − m). Then J = U diag(±1) Vᵀ + U⊥ R V⊥ᵀ: rotate, fold, rotate.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from orthobook.orthogonal import orthogonality_error

__all__ = ["Layer", "complement", "compose"]


class Layer(NamedTuple):
    """The matrices of one layer x ↦ Ax + Bσ(Cx + b)."""

    A: Float[Tensor, "n n"]
    B: Float[Tensor, "n m"]
    C: Float[Tensor, "m n"]


def complement(frame: Float[Tensor, "n m"]) -> Float[Tensor, "n k"]:
    """Return orthonormal columns that span the orthogonal complement of a frame's range, k = n − m."""
    left, _, _ = torch.linalg.svd(frame, full_matrices=True)
    return left[:, frame.shape[1] :]


def compose(
    U: Float[Tensor, "n m"],
    V: Float[Tensor, "n m"],
    R: Float[Tensor, "k k"],
    slopes: tuple[float, float],
    scale: Float[Tensor, " m"] | None = None,
) -> Layer:
    """Build the layer with an orthogonal Jacobian from its factors.

    Parameters
    ----------
    U, V : Tensor, shape (n, m)
        Orthonormal columns: what the folded directions become, and which directions are folded.
    R : Tensor, shape (n − m, n − m)
        Orthogonal: what happens to the directions that are not folded, in the bases ``complement(U)`` and
        ``complement(V)``.
    slopes : (float, float)
        The two distinct slopes (s₁, s₂) of the activation.
    scale : Tensor, shape (m,), optional
        The positive diagonal Λ; ones by default.

    Returns
    -------
    Layer
        The matrices A (n × n), B (n × m) and C (m × n).

    Raises
    ------
    ValueError
        If a factor is not orthogonal to √eps, shapes do not match, slopes are equal or not finite, or a scale is not
        positive; the message names the factor.
    """
    if V.ndim != 2 or {U.dtype, V.dtype, R.dtype} != {V.dtype}:
        raise ValueError(f"U, V and R must be matrices of one dtype, got {U.dtype}, {V.dtype}, {R.dtype}")
    n, m = V.shape
    if U.shape != V.shape or m > n or R.shape != (n - m, n - m):
        raise ValueError(
            "U and V need one shape (n, m) with m ≤ n, and R the shape (n − m, n − m); "
            f"got U {tuple(U.shape)}, V {tuple(V.shape)}, R {tuple(R.shape)}"
        )
    for name, factor in (("U", U), ("V", V), ("R", R)):
        error = orthogonality_error(factor).item()
        if not error <= torch.finfo(factor.dtype).eps ** 0.5:
            raise ValueError(f"{name} needs orthonormal columns, but ‖{name}ᵀ{name} − I‖_F = {error:.2e}")
    if len(slopes) != 2 or slopes[0] == slopes[1] or not all(map(math.isfinite, slopes)):
        raise ValueError(f"slopes must be two distinct finite numbers, got {slopes}")
    diagonal = V.new_ones(m) if scale is None else scale
    if diagonal.shape != (m,) or not bool(((diagonal > 0) & diagonal.isfinite()).all()):
        raise ValueError(f"scale must be {m} positive numbers, got {diagonal.tolist()}")

    first, second = slopes
    centre, radius = (first + second) / 2, (first - second) / 2
    return Layer(
        A=complement(U) @ R @ complement(V).mT - centre / radius * U @ V.mT,
        B=U * diagonal / radius,
        C=V.mT / diagonal.unsqueeze(-1),
    )
