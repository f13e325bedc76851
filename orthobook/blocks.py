"""Layers, one class for each kind: how a stack of them starts, what one does, and its Jacobian in closed form.

    feedforward          x ↦ σ(Wx + b)               J = diag σ'(Wx + b) W
    modified residual    x ↦ x − 2V relu(Vᵀx + b)    J = I − 2V D Vᵀ,  D = diag 1[Vᵀx + b ≥ 0]
    leaky residual       x ↦ αx − βV lrelu(Vᵀx + b)  J = αI − βV D Vᵀ, D = diag lrelu'(Vᵀx + b)
    residual             x ↦ x + s (W₂ relu(W₁x + b₁) + b₂), s fixed, or learned (ReZero), or with x normalised inside

A block holds no tensors. It makes those of all layers at once, each with a leading depth axis, and is then handed those
of one layer at a time. Its options are the fields of a frozen dataclass: a block prints itself and compares by value.

To add a kind of layer, subclass :class:`Block` and decorate it with :func:`register`: its name is known from then on.
The layers that sort, reflect or double groups of coordinates are in :mod:`orthobook.groups`, those of images in
:mod:`orthobook.convolution`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from numbers import Integral
from typing import Any, ClassVar, Literal, Self, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init

from orthobook import activations
from orthobook._checks import finite_number, whole_number
from orthobook.activations import Activation
from orthobook.orthogonal import haar, retract
from orthobook.stacked import FeedforwardStack, ReflectionStack, parts

__all__ = [
    "Absolute",
    "Block",
    "Feedforward",
    "LayerNormResidual",
    "LeakyResidual",
    "Linear",
    "ModifiedResidual",
    "PartialFold",
    "ReLUHe",
    "ReLUOrthogonal",
    "ReZero",
    "Residual",
    "ResidualBranch",
    "RotatedResidual",
    "ShiftedFold",
    "TanhOrthogonal",
    "Zigzag",
    "architectures",
    "block",
    "register",
]

Kind = Literal["square", "rectangular", "image"]
Parameters = dict[str, Tensor]
Points = Float[Tensor, "batch *state"]  # the last axis holds the coordinates that a layer mixes
Tangents = Float[Tensor, "batch k *state"]
Hyperplanes = tuple[Float[Tensor, "creases n"], Float[Tensor, " creases"]]
Matrix = Float[Tensor, "n n"]
Frame = Float[Tensor, "n m"]
Bias = Float[Tensor, "*m"]

NORM_EPSILON = 1e-5
"""Added to the variance in a layer normalisation, as torch does by default."""

_registry: dict[str, type[Block]] = {}


def register(name: str) -> Callable[[type[Block]], type[Block]]:
    """Class decorator: make a block known under a name to :func:`architectures`, :func:`block` and ``build``.

    Raises
    ------
    ValueError
        If the name is taken by another class. (A class may be defined again, as when a notebook's cell is run twice.)
    TypeError
        If the class is not a dataclass derived from :class:`Block`, or the decorator was given no name.
    """
    if not isinstance(name, str):
        raise TypeError(f'register takes a name, as in @register("my-layer"), got {name!r}')

    def add(kind: type[Block]) -> type[Block]:
        if not (isinstance(kind, type) and issubclass(kind, Block) and "__dataclass_params__" in vars(kind)):
            raise TypeError(f"register a frozen dataclass derived from Block as {name!r}, not {kind!r}")
        taken = _registry.get(name, kind)
        if (taken.__module__, taken.__qualname__) != (kind.__module__, kind.__qualname__):
            raise ValueError(f"the architecture {name!r} is registered already, as {taken.__name__}")
        _registry[name] = kind
        return kind

    return add


def architectures(kind: Kind | None = None) -> tuple[str, ...]:
    """Return the names that ``build`` accepts, in the order of registration: all, or those of one kind.

    Parameters
    ----------
    kind : str, optional
        ``"square"`` for layers from ℝⁿ to ℝⁿ, ``"rectangular"`` for layers whose output is longer than their input,
        ``"image"`` for layers on feature maps, which ``build`` takes ``channels`` and ``image_shape`` for.

    Raises
    ------
    ValueError
        If the kind is none of these.
    """
    if kind not in (None, *get_args(Kind)):
        raise ValueError(f"unknown kind {kind!r}; allowed: {', '.join(get_args(Kind))}, or None for all")
    return tuple(name for name, block in _registry.items() if kind in (None, block.kind))


def block(architecture: str, **options: Any) -> Block:
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
    """One kind of layer on ℝⁿ. Subclasses are frozen dataclasses whose fields are the architecture's options.

    A kind of layer must say how its parameters start (``init``), what one layer does (``forward``) and what its
    Jacobian does (``push``). The other methods have defaults that fit all layers from ℝⁿ to ℝⁿ.
    """

    kind: ClassVar[Kind] = "square"  # what a layer maps: ℝⁿ to ℝⁿ, ℝⁿ to a larger space, or feature maps
    orthogonal: ClassVar[tuple[str, ...]] = ()  # parameters that live on a Stiefel manifold when constrained
    isometric: ClassVar[bool] = False  # JᵀJ = I exactly, while those parameters are orthogonal
    cancelling: ClassVar[float] = 1.0  # how much longer than state or result the terms may be that `forward` adds up

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = vars(cls).keys()
        if own & {"forward", "affine", "bend"} and not own & {"lipschitz", "norms", "bend_lipschitz"}:
            setattr(cls, "lipschitz", Block.lipschitz)  # noqa: B010  another map: the bound of its base may be wrong
        if own & {"forward", "affine", "bend", "layers"} and "propagate" not in own:
            setattr(cls, "propagate", Block.propagate)  # noqa: B010  and so may be what its base does to all layers

    def __post_init__(self) -> None:  # noqa: B027 (most layers have nothing to check)
        """Check those options that can be checked without knowing the network."""

    def sizes(self, width: int | None, inputs: int | None) -> tuple[int, int]:
        """Return the width of the trunk and the length of an input, having checked them."""
        return whole_number("width", width, least=1), whole_number("inputs", inputs, least=1)

    def resolve(self, depth: int, width: int) -> Self:
        """Return the block with defaults that depend on depth and width filled in, and options checked against them.

        A network does this first; a block whose defaults depend on the network cannot be used without.
        """
        return self

    def embedding(self, inputs: int, width: int, generator: torch.Generator, dtype: torch.dtype) -> nn.Module:
        """Return the map from inputs to the trunk's first state: linear, with orthogonal rows or columns."""
        embedding = skip_init(nn.Linear, inputs, width, dtype=dtype, device="cpu")  # nn.Linear would draw globally
        with torch.no_grad():
            embedding.weight.copy_(semi_orthogonal(width, inputs, generator, dtype))
            embedding.bias.zero_()
        return embedding

    def final_width(self, depth: int, width: int) -> int:
        """Return the number of coordinates of the trunk's last state: the width, unless layers are rectangular."""
        return width

    def layers(self, stacks: Parameters) -> Iterator[Parameters]:
        """Yield what ``forward`` and ``push`` take, layer after layer: by default the parameters themselves."""
        # unbind, not indexing: its backward stacks the gradients once instead of once for each layer
        for layer in zip(*(stack.unbind() for stack in stacks.values()), strict=True):
            yield dict(zip(stacks, layer, strict=True))

    def retract_(self, stacks: Parameters) -> None:
        """Move parameters, in place, to the nearest ones that the constrained mode allows: the orthogonal ones."""
        for name in self.orthogonal:
            for part in parts(stacks[name]):
                stacks[name][part].copy_(retract(stacks[name][part]))

    def __getstate__(self) -> dict[str, object]:
        # Options alone: an activation that was looked up holds functions, which cannot be pickled.
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @abstractmethod
    def init(self, depth: int, width: int, generator: torch.Generator, dtype: torch.dtype) -> Parameters:
        """Draw the parameters of all layers; each tensor has the shape (depth, ...)."""

    @abstractmethod
    def forward(self, x: Points, **layer: Tensor) -> Points:
        """Apply one layer, given its parameters."""

    def propagate(self, x: Points, stacks: Parameters) -> Points:
        """Apply all layers, for a gradient of first order: in as few operations of autograd as the kind allows.

        A class that changes what its layers do does not inherit a faster way.
        """
        for layer in self.layers(stacks):
            x = self.forward(x, **layer)
        return x

    @abstractmethod
    def push(self, x: Points, tangents: Tangents, **layer: Tensor) -> tuple[Points, Tangents]:
        """Apply one layer to points, and its Jacobian at each to k tangent vectors, ``tangents[:, i]``."""

    def creases(self, reach: float, **layer: Tensor) -> Hyperplanes:
        """Return the hyperplanes {x : a·x + c = 0} on which one layer bends, those that come within reach of 0.

        Returns
        -------
        normals : Tensor, shape (creases, n)
            One a in each row, of any length.
        offsets : Tensor, shape (creases,)
            The c of each.

        Raises
        ------
        ValueError
            If the kind of layer is not piecewise affine, or its creases are not known in closed form.
        """
        raise ValueError(f"the creases of {type(self).__name__} layers are not known in closed form")

    def lipschitz(self, stacks: Parameters) -> Float[Tensor, " depth"]:
        """Return for every layer a number that its Lipschitz constant does not exceed, from the parameters as they are.

        It is 1 while the parameters that live on Stiefel manifolds are orthogonal. A class that changes what its layers
        do does not inherit it.

        Raises
        ------
        ValueError
            If the kind of layer states no such bound, as those do not whose weights nothing keeps in check.
        """
        raise ValueError(f"{type(self).__name__} layers state no Lipschitz bound")


# --- feedforward ---


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

    def bend(self, z: Points) -> Points:
        """Return what comes after z = Wx + b: σ(z)."""
        return self.activation(z)

    def push_bend(self, z: Points, tangents: Tangents) -> Tangents:
        """Return the derivative of ``bend`` at z applied to tangents, which may be changed in place: σ'(z) ⊙ v."""
        return tangents.mul_(self.activation.derivative(z).unsqueeze(1))

    def forward(self, x: Points, *, weight: Tensor, bias: Bias, **more: Tensor) -> Points:
        """Return σ(Wx + b)."""
        return self.bend(self.affine(x, weight, bias), **more)

    def propagate(self, x: Points, stacks: Parameters) -> Points:
        """Apply all layers, as one operation of autograd if σ is piecewise affine, in the precision of the states."""
        if self.activation.slopes is None:  # its derivative would cost what σ does, which autograd avoids
            return super().propagate(x, stacks)
        return FeedforwardStack.apply(self.activation, x, stacks["weight"].to(x.dtype), stacks["bias"].to(x.dtype))

    def push(
        self, x: Points, tangents: Tangents, *, weight: Tensor, bias: Bias, **more: Tensor
    ) -> tuple[Points, Tangents]:
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

    def creases(self, reach: float, *, weight: Matrix, bias: Bias) -> Hyperplanes:
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


# --- residual ---


@register("modified-residual")
@dataclass(frozen=True, kw_only=True)
class ModifiedResidual(Block):
    """x ↦ x − 2V relu(Vᵀx + b), V ∈ St(n, m): a reflection wherever a unit is active; b = −τ at the start.

    ``folds`` is m, the width by default. ``threshold`` is τ, in units of a coordinate's root mean square.
    """

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

    def propagate(self, x: Points, stacks: Parameters) -> Points:
        """Apply all layers, as one operation of autograd if σ is piecewise affine, in the precision of the states."""
        if self.activation.slopes is None:
            return super().propagate(x, stacks)
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


# --- shared checks and draws ---


def gaussian(*shape: int, variance: float, generator: torch.Generator, dtype: torch.dtype) -> Float[Tensor, "*shape"]:
    """Draw independent Gaussian entries in float64, so that a seed means the same network in every precision."""
    return (torch.randn(shape, generator=generator, dtype=torch.float64) * math.sqrt(variance)).to(dtype)


def semi_orthogonal(
    outputs: int, inputs: int, generator: torch.Generator, dtype: torch.dtype
) -> Float[Tensor, "outputs inputs"]:
    """Draw a multiple of a Haar frame that takes inputs of mean square 1 to outputs of mean square about 1."""
    rectangle = haar(max(outputs, inputs), min(outputs, inputs), generator=generator, dtype=dtype)
    return max(1.0, math.sqrt(outputs / inputs)) * (rectangle.mT if outputs < inputs else rectangle)


def resolve_folds(folds: int | None, width: int, default: int) -> int:
    """Return the number of folds m; ValueError if it is none from 0 to the width."""
    return default if folds is None else up_to_width("folds", folds, width)


def up_to_width(name: str, value: int, width: int) -> int:
    """Return a number of coordinates as an int; ValueError if it is none from 0 to the width."""
    if not isinstance(value, Integral) or isinstance(value, bool) or not 0 <= value <= width:
        raise ValueError(f"{name} must be a whole number from 0 to the width {width}, got {value!r}")
    return int(value)


def spectral_norms(stack: Float[Tensor, "*stack n m"]) -> Float[Tensor, "*stack"]:
    """Return ‖M‖₂ of every matrix; 0 if it has no columns."""
    values = torch.linalg.svdvals(stack)
    return values[..., 0] if values.shape[-1] else values.new_zeros(values.shape[:-1])


def reflection_bounds(frame: Float[Tensor, "*stack n m"]) -> Float[Tensor, "*stack"]:
    """Return max(1, 2‖V‖₂² − 1), which ‖I − 2V D Vᵀ‖₂ does not exceed for any diagonal 0 ≤ D ≤ I.

    The matrix is symmetric, and its eigenvalues lie between 1 − 2‖V‖₂² and 1.
    """
    return (2 * spectral_norms(frame).square() - 1).clamp(min=1)


def within_reach(reach: float, normals: Float[Tensor, "all n"], offsets: Float[Tensor, " all"]) -> Hyperplanes:
    """Return those of the hyperplanes a·x + c = 0 that come closer than ``reach`` to 0."""
    near = offsets.abs() < reach * normals.norm(dim=-1)  # never if the normal is 0
    return normals[near], offsets[near]
