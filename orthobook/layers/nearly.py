"""Nearly orthogonal layers: a crease that is rounded, slopes that differ.

    smooth fold        x ↦ √((Wx + b)² + ε²) − τ     J = diag(z/√(z² + ε²)) W,  z = Wx + b
    smooth residual    x ↦ x − 2V s_ε(Vᵀx + b)       J = I − V diag(1 + z/√(z² + ε²)) Vᵀ,  z = Vᵀx + b
    uneven fold        slopes 1 and −(1 − δ)         J = diag(1 or −(1 − δ)) W

with s_ε(t) = (t + √(t² + ε²))/2. At ε = 0 and δ = 0 they are the exact members: shifted fold and modified residual.
While W, or V, is orthogonal, the singular values of a layer's Jacobian are |z_i|/√(z_i² + ε²), those of the slopes'
moduli, and 1 in the directions that V leaves alone: none is above 1. How many layers may be stacked is the subject of
:mod:`orthobook.theory.depth_budget`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from jaxtyping import Float
from torch import Tensor

from orthobook._checks import finite_number
from orthobook.layers import activations
from orthobook.layers.activations import Activation
from orthobook.layers.base import Hyperplanes, Parameters, Points, reflection_bounds, register
from orthobook.layers.feedforward import Feedforward, ShiftedFold
from orthobook.layers.residual import ModifiedResidual

__all__ = ["SmoothFold", "SmoothResidual", "UnevenFold"]


class NearFold(ShiftedFold):
    """Layers x ↦ φ(Wx + b) − τ, W orthogonal, b = τ at the start, φ nearly the absolute value."""

    isometric = False

    def bend(self, z: Points) -> Points:
        """Return φ(z) − τ."""
        return self.activation(z) - self.threshold

    def bend_lipschitz(self, stacks: Parameters) -> float | Float[Tensor, " depth"]:
        """Return the steepest slope of φ."""
        return Feedforward.bend_lipschitz(self, stacks)


@register("smooth-fold")
@dataclass(frozen=True, kw_only=True)
class SmoothFold(NearFold):
    """x ↦ √((Wx + b)² + ε²) − τ, W orthogonal, b = τ at the start: the shifted fold, its crease rounded.

    ``epsilon`` is ε, about the width of the rounded part, in units of a coordinate's root mean square; ``threshold``
    is τ. At ε = 0 the layer is the shifted fold to the bit.
    """

    epsilon: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        finite_number("epsilon", self.epsilon, least=0)

    @cached_property
    def activation(self) -> Activation:
        return activations.smooth_fold(self.epsilon)


@register("uneven-fold")
@dataclass(frozen=True, kw_only=True)
class UnevenFold(NearFold):
    """x ↦ φ(Wx + b) − τ, W orthogonal, b = τ at the start; φ(t) = t for t ≥ 0 and −(1 − δ)t for t < 0.

    ``delta`` is δ, from 0 up to but not including 1; ``threshold`` is τ. At δ = 0 the layer is the shifted fold to the
    bit; towards δ = 1 the folded side becomes flat, and the layer a ReLU shifted by τ.
    """

    delta: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        finite_number("delta", self.delta, least=0, below=1)

    @cached_property
    def activation(self) -> Activation:
        return activations.uneven_fold(self.delta)


@register("smooth-residual")
@dataclass(frozen=True, kw_only=True)
class SmoothResidual(ModifiedResidual):
    """x ↦ x − 2V s_ε(Vᵀx + b), V ∈ St(n, m), s_ε(t) = (t + √(t² + ε²))/2 the smooth ReLU; b = −τ at the start.

    ``folds`` is m, the width by default; ``epsilon`` is ε and ``threshold`` τ, in units of a coordinate's root mean
    square. At ε = 0 the layer is the modified residual one to the bit. At m = n it is −V (√(z² + ε²) + b), z = Vᵀx + b:
    a smooth fold, rotated.
    """

    isometric = False
    epsilon: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        finite_number("epsilon", self.epsilon, least=0)

    @cached_property
    def activation(self) -> Activation:
        """The smooth ReLU s_ε with its derivative."""
        return activations.smooth_relu(self.epsilon)

    def lipschitz(self, stacks: Parameters) -> Float[Tensor, " depth"]:
        """Return the bound of the modified residual layer, which holds for all slopes from 0 to 1."""
        return reflection_bounds(stacks["frame"])

    def creases(self, reach: float, **layer: Tensor) -> Hyperplanes:
        """Return the hyperplanes v_i·x + b_i = 0 if ε = 0; ValueError otherwise, as the layer is smooth."""
        self.activation.breakpoints_within(0.0)  # raises where there are none
        return super().creases(reach, **layer)
