"""What a kind of layer is: how a stack of them starts, what one does, and its Jacobian in closed form.

A block holds no tensors. It makes those of all layers at once, each with a leading depth axis, and is then handed those
of one layer at a time. Its options are the fields of a frozen dataclass: a block prints itself and compares by value.

To add a kind of layer, subclass :class:`Block` and decorate it with :func:`register`: its name is known from then on.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from numbers import Integral
from typing import Any, ClassVar, Literal, Self, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from orthobook._checks import described
from orthobook.layers._stacked import parts
from orthobook.orthogonal import haar, retract

__all__ = ["Block", "architectures", "block", "register"]

Kind = Literal["square", "rectangular", "image"]
Parameters = dict[str, Tensor]
Points = Float[Tensor, "batch *state"]  # the last axis holds the coordinates that a layer mixes
Tangents = Float[Tensor, "batch k *state"]
NextPoints = Float[Tensor, "batch *next_state"]  # what a layer makes of them: longer, if it doubles its width
NextTangents = Float[Tensor, "batch k *next_state"]
Hyperplanes = tuple[Float[Tensor, "creases n"], Float[Tensor, " creases"]]
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
        ``"image"`` for layers on feature maps, whose width is their number of channels.

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
    vectors: ClassVar[bool] = True  # whether a state is a vector: (batch, n), where images have (batch, …, channels)
    has_skip: ClassVar[bool] = False  # whether a layer adds to its input what it makes of it
    orthogonal: ClassVar[tuple[str, ...]] = ()  # parameters that live on a Stiefel manifold when constrained
    isometric: ClassVar[bool] = False  # JᵀJ = I exactly, while those parameters are orthogonal
    cancelling: ClassVar[float] = 1.0  # how much longer than state or result the terms may be that `forward` adds up

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = vars(cls).keys()
        if own & {"forward", "affine", "bend"} and not own & {"lipschitz", "norms", "bend_lipschitz"}:
            setattr(cls, "lipschitz", Block.lipschitz)  # noqa: B010  another map: the bound of its base may be wrong
        if own & {"forward", "affine", "bend", "layers"} and "fused" not in own:
            setattr(cls, "fused", Block.fused)  # noqa: B010  and so may be what its base does to all layers

    def __post_init__(self) -> None:  # noqa: B027 (most layers have nothing to check)
        """Check those options that can be checked without knowing the network."""

    def resolve(self, depth: int, width: int) -> Self:
        """Return the block with defaults that depend on depth and width filled in, and options checked against them.

        A network does this first; a block whose defaults depend on the network cannot be used without.
        """
        return self

    def state_shape(self, inputs: tuple[int, ...], width: int) -> tuple[int, ...]:
        """Return the shape of the trunk's first state for inputs of a shape; ValueError if it does not fit."""
        return (width,)

    def check_states(self, x: object, width: int) -> None:
        """Raise ValueError unless x is a batch of states: here of vectors of length ``width``."""
        if not isinstance(x, Tensor) or x.ndim != 2 or x.shape[1] != width:
            several = isinstance(x, Tensor) and x.ndim > 2 and x.shape[-1] == width
            advice = "; x.flatten(0, -2) makes one batch of all axes before the last" if several else ""
            raise ValueError(f"states must be a tensor (batch, {width}), got {described(x)}{advice}")

    def embedding(
        self, inputs: tuple[int, ...], width: int, generator: torch.Generator, dtype: torch.dtype
    ) -> nn.Module:
        """Return the map from rows of inputs to the first state: linear, with orthogonal rows or columns."""
        return linear(semi_orthogonal(width, math.prod(inputs), generator, dtype))

    def final_width(self, depth: int, width: int) -> int:
        """Return the width of the trunk's last state: that of the first, unless layers are rectangular."""
        return width

    def longest_product(self, width: int) -> int:
        """Return the number of terms of the longest inner product that a layer computes."""
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
    def forward(self, x: Points, **layer: Tensor) -> NextPoints:
        """Apply one layer, given its parameters."""

    def fused(self, x: Points, stacks: Parameters) -> NextPoints:
        """Apply all layers, for a gradient of first order: in as few operations of autograd as the kind allows.

        A class that changes what its layers do does not inherit a faster way.
        """
        for layer in self.layers(stacks):
            x = self.forward(x, **layer)
        return x

    @abstractmethod
    def push(self, x: Points, tangents: Tangents, **layer: Tensor) -> tuple[NextPoints, NextTangents]:
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


# --- shared checks and draws ---


def gaussian(*shape: int, variance: float, generator: torch.Generator, dtype: torch.dtype) -> Float[Tensor, "*shape"]:
    """Draw independent Gaussian entries in float64, so that a seed means the same network in every precision."""
    return (torch.randn(shape, generator=generator, dtype=torch.float64, device="cpu") * math.sqrt(variance)).to(dtype)


def linear(weight: Float[Tensor, "outputs inputs"]) -> nn.Linear:
    """Return the linear map of a matrix, with biases of 0; a plain nn.Linear would draw from the global generator."""
    module = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    module.weight, module.bias = nn.Parameter(weight.contiguous()), nn.Parameter(weight.new_zeros(len(weight)))
    return module


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
