"""Layers, one class for each kind: how a stack of them starts, what one does, and its Jacobian in closed form.

    feedforward          x ↦ σ(Wx + b)               J = diag σ'(Wx + b) W
    modified residual    x ↦ x − 2V relu(Vᵀx + b)    J = I − 2V D Vᵀ,  D = diag 1[Vᵀx + b ≥ 0]
    residual             x ↦ x + s (W₂ relu(W₁x + b₁) + b₂)

A block holds no tensors. It makes those of all layers at once, each with a leading depth axis, and is then handed those
of one layer at a time. Its options are the fields of a frozen dataclass: a block prints itself and compares by value.

To add a kind of layer, subclass :class:`Block` and decorate it with :func:`register`: its name is known from then on.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from numbers import Integral
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from orthobook import activations
from orthobook._checks import finite_number
from orthobook.activations import Activation
from orthobook.orthogonal import haar

__all__ = [
    "Absolute",
    "Block",
    "Feedforward",
    "Linear",
    "ModifiedResidual",
    "PartialFold",
    "ReLUHe",
    "ReLUOrthogonal",
    "Residual",
    "ShiftedFold",
    "TanhOrthogonal",
    "architectures",
    "block",
    "register",
]

Parameters = dict[str, Tensor]
Points = Float[Tensor, "batch n"]
Tangents = Float[Tensor, "batch k n"]
Matrix = Float[Tensor, "n n"]
Frame = Float[Tensor, "n m"]
Bias = Float[Tensor, "*m"]

_registry: dict[str, type[Block]] = {}


def register(name: str) -> Callable[[type[Block]], type[Block]]:
    """Class decorator: make a block known under a name to :func:`architectures`, :func:`block` and ``build``.

    Raises
    ------
    ValueError
        If the name is taken by another class. (A class may be defined again, as when a notebook's cell is run twice.)
    TypeError
        If the class is not a dataclass derived from :class:`Block`.
    """

    def add(kind: type[Block]) -> type[Block]:
        if not (isinstance(kind, type) and issubclass(kind, Block) and "__dataclass_params__" in vars(kind)):
            raise TypeError(f"register a frozen dataclass derived from Block as {name!r}, not {kind!r}")
        taken = _registry.get(name, kind)
        if (taken.__module__, taken.__qualname__) != (kind.__module__, kind.__qualname__):
            raise ValueError(f"the architecture {name!r} is registered already, as {taken.__name__}")
        _registry[name] = kind
        return kind

    return add


def architectures() -> tuple[str, ...]:
    """Return the names that ``build`` accepts, in the order of registration."""
    return tuple(_registry)


def block(architecture: str, **options: float) -> Block:
    """Return the block of a named architecture.

    Raises
    ------
    ValueError
        If the name is unknown (the message lists the known ones) or an option is not one of that architecture's (it
        lists those).
    """
    if not isinstance(architecture, str) or architecture not in _registry:
        raise ValueError(f"unknown architecture {architecture!r}; allowed: {', '.join(architectures())}")
    kind = _registry[architecture]
    allowed = [field.name for field in fields(kind)]
    for option in options:
        if option not in allowed:
            raise ValueError(f"{architecture} has no option {option!r}; allowed: {', '.join(allowed) or 'none'}")
    return kind(**options)


@dataclass(frozen=True, kw_only=True)
class Block(ABC):
    """One kind of layer on ℝⁿ. Subclasses are frozen dataclasses whose fields are the architecture's options."""

    orthogonal: ClassVar[tuple[str, ...]] = ()  # parameters that live on a Stiefel manifold when constrained
    isometric: ClassVar[bool] = False  # the Jacobian is exactly orthogonal while those parameters are

    def resolve(self, depth: int, width: int) -> Block:
        """Return the block with defaults that depend on depth and width filled in, and options checked against them.

        A network does this first; a block whose defaults depend on the network cannot be used without.
        """
        return self

    def __getstate__(self) -> dict[str, object]:
        # Options alone: an activation that was looked up holds functions, which cannot be pickled.
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @abstractmethod
    def init(self, depth: int, width: int, generator: torch.Generator, dtype: torch.dtype) -> Parameters:
        """Draw the parameters of all layers; each tensor has the shape (depth, ...)."""

    @abstractmethod
    def forward(self, x: Points, **layer: Tensor) -> Points:
        """Apply one layer, given its parameters."""

    @abstractmethod
    def push(self, x: Points, tangents: Tangents, **layer: Tensor) -> tuple[Points, Tangents]:
        """Apply one layer to points, and its Jacobian at each to k tangent vectors, the rows of ``tangents``."""


# --- feedforward ---


class Feedforward(Block):
    """Layers x ↦ σ(Wx + b), W square: no skip connection."""

    orthogonal: ClassVar[tuple[str, ...]] = ("weight",)

    @property
    @abstractmethod
    def activation(self) -> Activation:
        """The activation σ with its derivative."""

    def init(self, depth: int, width: int, generator: torch.Generator, dtype: torch.dtype) -> Parameters:
        """Draw Haar weights of shape (depth, n, n) and zero biases of shape (depth, n)."""
        return {
            "weight": haar(depth, width, width, generator=generator, dtype=dtype),
            "bias": torch.zeros(depth, width, dtype=dtype),
        }

    def forward(self, x: Points, *, weight: Matrix, bias: Bias) -> Points:
        """Return σ(Wx + b)."""
        return self.activation(torch.addmm(bias, x, weight.mT))

    def push(self, x: Points, tangents: Tangents, *, weight: Matrix, bias: Bias) -> tuple[Points, Tangents]:
        """Return σ(Wx + b) and the tangents v ↦ σ'(Wx + b) ⊙ Wv."""
        z = torch.addmm(bias, x, weight.mT)
        return self.activation(z), (tangents @ weight.mT).mul_(self.activation.derivative(z).unsqueeze(-2))


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

    def init(self, depth: int, width: int, generator: torch.Generator, dtype: torch.dtype) -> Parameters:
        """Draw Haar weights of shape (depth, n, n) and biases of shape (depth, n), τ for every coordinate."""
        parameters = super().init(depth, width, generator, dtype)
        parameters["bias"] += self.threshold
        return parameters


@register("partial-fold")
@dataclass(frozen=True, kw_only=True)
class PartialFold(ShiftedFold):
    """Let z = Wx + b, W orthogonal: x ↦ (|z₁| − τ, …, |z_m| − τ, z_{m+1}, …, z_n).

    ``folds`` is m, half the width by default: m = 0 is linear, m = n the shifted fold. At the start b is τ for the
    coordinates that fold and 0 for the others.
    """

    folds: int | None = None

    def resolve(self, depth: int, width: int) -> PartialFold:
        return replace(self, folds=_resolve_folds(self.folds, width, default=width // 2))

    def init(self, depth: int, width: int, generator: torch.Generator, dtype: torch.dtype) -> Parameters:
        """Draw Haar weights of shape (depth, n, n) and biases of shape (depth, n), τ or 0."""
        parameters = super().init(depth, width, generator, dtype)
        parameters["bias"][:, self.folds :] = 0
        return parameters

    def forward(self, x: Points, *, weight: Matrix, bias: Bias) -> Points:
        """Return (|z₁| − τ, …, |z_m| − τ, z_{m+1}, …, z_n), z = Wx + b."""
        z = torch.addmm(bias, x, weight.mT)
        return torch.cat((self.activation(z[..., : self.folds]), z[..., self.folds :]), dim=-1)

    def push(self, x: Points, tangents: Tangents, *, weight: Matrix, bias: Bias) -> tuple[Points, Tangents]:
        """Push tangents through: rotate all of them, then reflect the coordinates that are folded at x."""
        z = torch.addmm(bias, x, weight.mT)
        folded = z[..., : self.folds]
        tangents = tangents @ weight.mT
        tangents[..., : self.folds].mul_(self.activation.derivative(folded).unsqueeze(-2))
        return torch.cat((self.activation(folded), z[..., self.folds :]), dim=-1), tangents


@register("relu-orthogonal")
@dataclass(frozen=True, kw_only=True)
class ReLUOrthogonal(Feedforward):
    """Baseline x ↦ relu(Wx + b) with W = √2 · Haar: He's scale, orthogonal directions."""

    orthogonal = ()
    activation = activations.relu

    def init(self, depth: int, width: int, generator: torch.Generator, dtype: torch.dtype) -> Parameters:
        """Draw √2 · Haar weights, zero biases."""
        parameters = super().init(depth, width, generator, dtype)
        parameters["weight"] *= math.sqrt(2)
        return parameters


@register("relu-he")
@dataclass(frozen=True, kw_only=True)
class ReLUHe(Feedforward):
    """Baseline x ↦ relu(Wx + b) with independent Gaussian weights of variance 2/n (He's initialisation)."""

    orthogonal = ()
    activation = activations.relu

    def init(self, depth: int, width: int, generator: torch.Generator, dtype: torch.dtype) -> Parameters:
        """Draw Gaussian weights of variance 2/n, zero biases."""
        return {
            "weight": _gaussian(depth, width, width, variance=2 / width, generator=generator, dtype=dtype),
            "bias": torch.zeros(depth, width, dtype=dtype),
        }


@register("tanh-orthogonal")
@dataclass(frozen=True, kw_only=True)
class TanhOrthogonal(Feedforward):
    """Baseline x ↦ tanh(Wx + b) with W Haar: dynamical isometry only as far as tanh is linear."""

    activation = activations.tanh


# --- residual ---


@register("modified-residual")
@dataclass(frozen=True, kw_only=True)
class ModifiedResidual(Block):
    """x ↦ x − 2V relu(Vᵀx + b), V ∈ St(n, m): a reflection wherever a unit is active; b = −τ at the start.

    ``folds`` is m, the width by default. ``threshold`` is τ, in units of a coordinate's root mean square.
    """

    orthogonal = ("frame",)
    isometric = True
    folds: int | None = None
    threshold: float = 3.0

    def __post_init__(self) -> None:
        finite_number("threshold", self.threshold)

    def resolve(self, depth: int, width: int) -> ModifiedResidual:
        return replace(self, folds=_resolve_folds(self.folds, width, default=width))

    def init(self, depth: int, width: int, generator: torch.Generator, dtype: torch.dtype) -> Parameters:
        """Draw Haar frames V of shape (depth, n, m) and biases −τ of shape (depth, m)."""
        frame = haar(depth, width, _resolve_folds(self.folds, width, default=width), generator=generator, dtype=dtype)
        return {"frame": frame, "bias": torch.full(frame.shape[::2], -self.threshold, dtype=dtype)}

    def forward(self, x: Points, *, frame: Frame, bias: Bias) -> Points:
        """Return x − 2V relu(Vᵀx + b)."""
        return torch.addmm(x, torch.addmm(bias, x, frame).relu(), frame.mT, alpha=-2)

    def push(self, x: Points, tangents: Tangents, *, frame: Frame, bias: Bias) -> tuple[Points, Tangents]:
        """Push tangents v ↦ v − 2V (1[Vᵀx + b ≥ 0] ⊙ Vᵀv)."""
        z = torch.addmm(bias, x, frame)
        active = (tangents @ frame).mul_(activations.relu.derivative(z).unsqueeze(-2))
        return torch.addmm(x, z.relu(), frame.mT, alpha=-2), tangents - 2 * (active @ frame.mT)


@register("residual")
@dataclass(frozen=True, kw_only=True)
class Residual(Block):
    """Baseline x ↦ x + s (W₂ relu(W₁x + b₁) + b₂), Gaussian weights that keep the branch's mean square.

    ``branch_scale`` is s, by default 1/√L, which keeps signals and gradients bounded at any depth L (Tarnowski et al.
    2019).
    """

    branch_scale: float | None = None

    def __post_init__(self) -> None:
        if self.branch_scale is not None:
            finite_number("branch_scale", self.branch_scale)

    def resolve(self, depth: int, width: int) -> Residual:
        return self if self.branch_scale is not None else replace(self, branch_scale=1 / math.sqrt(depth))

    def init(self, depth: int, width: int, generator: torch.Generator, dtype: torch.dtype) -> Parameters:
        """Draw W₁ of variance 2/n and W₂ of variance 1/n, both (depth, n, n), and zero biases (depth, n)."""
        return {
            "inner_weight": _gaussian(depth, width, width, variance=2 / width, generator=generator, dtype=dtype),
            "inner_bias": torch.zeros(depth, width, dtype=dtype),
            "outer_weight": _gaussian(depth, width, width, variance=1 / width, generator=generator, dtype=dtype),
            "outer_bias": torch.zeros(depth, width, dtype=dtype),
        }

    def forward(
        self, x: Points, *, inner_weight: Matrix, inner_bias: Bias, outer_weight: Matrix, outer_bias: Bias
    ) -> Points:
        """Return x + s (W₂ relu(W₁x + b₁) + b₂)."""
        hidden = torch.addmm(inner_bias, x, inner_weight.mT).relu()
        return torch.add(x, torch.addmm(outer_bias, hidden, outer_weight.mT), alpha=self.branch_scale)

    def push(
        self,
        x: Points,
        tangents: Tangents,
        *,
        inner_weight: Matrix,
        inner_bias: Bias,
        outer_weight: Matrix,
        outer_bias: Bias,
    ) -> tuple[Points, Tangents]:
        """Push tangents v ↦ v + s W₂ (1[W₁x + b₁ ≥ 0] ⊙ W₁v)."""
        z = torch.addmm(inner_bias, x, inner_weight.mT)
        y = torch.add(x, torch.addmm(outer_bias, z.relu(), outer_weight.mT), alpha=self.branch_scale)
        active = (tangents @ inner_weight.mT).mul_(activations.relu.derivative(z).unsqueeze(-2))
        return y, torch.add(tangents, active @ outer_weight.mT, alpha=self.branch_scale)


# --- shared checks and draws ---


def _gaussian(*shape: int, variance: float, generator: torch.Generator, dtype: torch.dtype) -> Float[Tensor, "*shape"]:
    """Draw independent Gaussian entries in float64, so that a seed means the same network in every precision."""
    return (torch.randn(shape, generator=generator, dtype=torch.float64) * math.sqrt(variance)).to(dtype)


def _resolve_folds(folds: int | None, width: int, default: int) -> int:
    if folds is None:
        return default
    if not isinstance(folds, Integral) or isinstance(folds, bool) or not 0 <= folds <= width:
        raise ValueError(f"folds must be a whole number from 0 to the width {width}, got {folds!r}")
    return int(folds)
