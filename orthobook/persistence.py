"""Persistent subspaces: k directions whose length every layer keeps, whatever the activation does to the others.

    x = (a, e) with e ∈ ℝᵏ last:  E = [0; I] ∈ St(n, k),  Eᵀx = e

    persistent residual      x ↦ x + s B σ(Cx + b)
    persistent feedforward   a ← σ(Oa + Pe + b),  e ← Re + Qa + b',  R ∈ O(k)

    forward    no layer reads e:     CE = 0, P = 0     J E = E R      isometric on E
    backward   no layer writes e:    EᵀB = 0, Q = 0    JᵀE = E Rᵀ     gradients: isometric on E

(R = I in the residual layer.) One of the two bounds the singular values of the trunk: σ_k ≥ 1 ≥ σ_{n−k+1}. Both
together, as at the start, make k of them equal to 1. The coordinates are no restriction: the embedding is a random
rotation.

In general a persistent subspace is an E₀ whose images E_l = J_l E_{l−1} keep every length, at almost every input.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from orthobook import activations
from orthobook._checks import finite_number
from orthobook.activations import Activation
from orthobook.blocks import (
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
from orthobook.jacobian import jacobians
from orthobook.networks import DeepNetwork
from orthobook.orthogonal import gram_defect, haar

__all__ = [
    "GAINS",
    "Persistent",
    "PersistentFeedforward",
    "PersistentResidual",
    "persistent_dimension",
    "persistent_subspace",
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


# --- layers ---


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


# --- measuring ---


def persistent_subspace(
    net: DeepNetwork,
    x: Float[Tensor, "batch inputs"],
    *,
    within: Float[Tensor, "n d"] | None = None,
    tolerance: float = 1e-3,
    dtype: torch.dtype | None = torch.float64,
) -> Float[Tensor, "n k"]:
    """Return an orthonormal basis of the directions whose length no layer changes, at each of the inputs.

    With J_{l:1}(x) the Jacobian of the first l layers and S the span of ``within``, it is that of

        K = {v ∈ S : P_S J_{l:1}(x)ᵀJ_{l:1}(x) v = v  for l = 1 … L and every x in the batch},

    P_S the orthogonal projection onto S. On K every J_{l:1} is an isometry, so K persists.

    Parameters
    ----------
    net : DeepNetwork
        The network; its layers may be of any kind.
    x : Tensor, shape (batch, inputs)
        At least one input. The subspace is shared by all of them: pass ``x[i : i + 1]`` for that of one.
    within : Tensor, shape (n, d), optional
        Orthonormal columns that span S; all of ℝⁿ by default.
    tolerance : float
        Largest ‖P_S JᵀJ v − v‖ of unit vectors v that are kept, after each layer.
    dtype : torch.dtype, optional
        Precision to compute in, float64 by default; None for the network's.

    Returns
    -------
    Tensor, shape (n, k)
        Orthonormal columns, none where nothing persists.

    Raises
    ------
    ValueError
        As for :func:`orthobook.jacobians`; if there is no input, the tolerance is not positive, or the columns of
        ``within`` are not orthonormal.

    Notes
    -----
    Where no J stretches (∏‖J_l‖ ≤ 1, as for partial isometries), K is all there is: ‖Jv‖ = ‖v‖ means JᵀJv = v.
    Otherwise a subspace may persist that K with S = ℝⁿ does not show, because JᵀJ mixes it with the rest: after
    training in the constrained mode of :class:`Persistent` layers, for example. Then name it: S = E. Nor does it see
    directions whose length is lost and won back in later layers, or kept up to a factor.
    """
    finite_number("tolerance", tolerance, positive=True)
    if len(x) == 0:
        raise ValueError("a persistent subspace needs at least one input, got none")
    frame = _frame(within, net.width)
    basis = torch.eye(frame.shape[1])
    for J in jacobians(net, x, dtype=dtype):
        frame, basis = frame.to(J), basis.to(J)  # precision and place: once
        basis = basis @ _kept(J @ frame, basis, tolerance)
        if basis.shape[1] == 0:
            break
    return frame @ basis


def _frame(within: Float[Tensor, "n d"] | None, width: int) -> Float[Tensor, "n d"]:
    if within is None:
        return torch.eye(width, dtype=torch.float64)
    what = f"shape {tuple(within.shape)}" if isinstance(within, Tensor) else repr(within)
    fits = isinstance(within, Tensor) and within.is_floating_point() and within.ndim == 2 and len(within) == width
    if not fits or not gram_defect(within).abs().sum() <= 1e-3:  # nor nan
        raise ValueError(f"within must hold orthonormal columns of length {width}, got {what}")
    return within


def _kept(images: Float[Tensor, "batch m d"], basis: Float[Tensor, "d k"], tolerance: float) -> Float[Tensor, "k kept"]:
    """Return an orthonormal basis of the c ∈ ℝᵏ for which ‖(MᵀM − I) basis c‖ is small for every M in images."""
    defects = images.mT @ (images @ basis) - basis
    _, values, right = torch.linalg.svd(defects.flatten(0, 1), full_matrices=False)
    return right.mT[:, values <= tolerance]


def persistent_dimension(
    net: DeepNetwork,
    x: Float[Tensor, "batch inputs"],
    *,
    within: Float[Tensor, "n d"] | None = None,
    tolerance: float = 1e-3,
    dtype: torch.dtype | None = torch.float64,
) -> int:
    """Return the dimension of :func:`persistent_subspace`, which describes the arguments and errors."""
    return persistent_subspace(net, x, within=within, tolerance=tolerance, dtype=dtype).shape[1]
