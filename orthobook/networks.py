"""Deep networks: a trunk of L layers of one kind, and a classifier made of an embedding, a trunk and linear logits.

A trunk's parameters are stacked over depth: one tensor (L, n, n) instead of L modules, so that sampling, retraction
and the optimiser's step each treat all layers in a few operations. Only the trunk is an isometry; the embedding and the
classifier of a network are plain linear maps.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import fields
from numbers import Real
from typing import Any, Self, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from orthobook._checks import seeded, whole_number
from orthobook.layers.base import Block, NextPoints, Parameters, Points, block, gaussian, linear
from orthobook.orthogonal import orthogonality_error, orthogonality_penalty

__all__ = ["DeepNetwork", "Trunk", "best_device", "build"]

Module = TypeVar("Module", bound=nn.Module)


def best_device(dtype: torch.dtype = torch.float32) -> torch.device:
    """Return the fastest device at hand for a precision: CUDA, else Apple's MPS (float32 only), else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available() and dtype == torch.float32:
        return torch.device("mps")
    return torch.device("cpu")


def available_device(device: torch.device | str, dtype: torch.dtype) -> torch.device:
    """Return the device; ValueError if there is no such device here, or it lacks the precision."""
    try:
        device = torch.device(device)
        if device.type == "meta":
            raise RuntimeError("it holds no numbers")
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"unknown device {device!r}; allowed: 'cpu', 'cuda', 'mps', or None for the best") from error
    if device.type == "mps" and dtype == torch.float64:
        raise ValueError("device 'mps' has no torch.float64; use dtype torch.float32 or device 'cpu'")
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not present.get(device.type, True):
        raise ValueError(f"this machine has no device {str(device)!r}; use device 'cpu', or None for the best")
    return device


def differentiable(net: Module) -> Module:
    """Return the module, or a copy if ``torch.inference_mode`` made its parameters: gradients pass through no such."""
    return copy.deepcopy(net) if any(parameter.is_inference() for parameter in net.parameters()) else net


Shape = tuple[int, ...]


def build(
    architecture: str | Block,
    *,
    depth: int,
    width: int,
    inputs: int | Shape,
    classes: int,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
    coherence: float | None = None,
    **options: Any,
) -> DeepNetwork:
    """Build a deep network by the name of its architecture.

    Parameters
    ----------
    architecture : str or Block
        One of :func:`orthobook.architectures`, or a block, whose options are its own.
    depth, classes : int
        Number of layers L of the trunk and number of classes, each at least 1.
    width : int
        Width n of the trunk; for layers on images, whose names begin with ``conv-``, the number of channels.
    inputs : int or tuple of int
        Length of an input vector, or the shape of an input: (height, width) or (colours, height, width), as
        ``data.image_shape`` gives it. Layers on images need the shape; the others read the entries in a row.
    seed : int
        Fixes every parameter, to the bit, whatever the device.
    dtype : torch.dtype
        ``torch.float32`` or ``torch.float64``.
    device : torch.device or str, optional
        Where the network lives; by default :func:`best_device`.
    coherence : float, optional
        In place of a threshold: the gradient coherence that two inputs without correlation shall have at the start,
        above 0 and below 1. :func:`orthobook.threshold_for` finds the threshold.
    **options
        Options of the architecture, such as ``threshold``, ``folds`` or ``branch_scale``: the fields of its block.

    Returns
    -------
    DeepNetwork

    Raises
    ------
    ValueError
        If the architecture or an option is unknown, or a value is out of range; the message says what is allowed.

    Examples
    --------
    >>> net = build("shifted-fold", depth=200, width=64, inputs=784, classes=10, seed=0, threshold=3.0)
    >>> net(torch.zeros(5, 784, device=net.device)).shape
    torch.Size([5, 10])

    >>> net = build("conv-shifted-fold", depth=20, width=16, inputs=(28, 28), classes=10)
    >>> net(torch.zeros(5, 784, device=net.device)).shape
    torch.Size([5, 10])
    """
    if coherence is not None:
        if isinstance(architecture, Block):
            raise ValueError(
                f"coherence={coherence!r} chooses the threshold of an architecture with a name, not a block"
            )
        if "threshold" in options:
            raise ValueError(f"give coherence={coherence!r} or threshold={options['threshold']!r}, not both")
        from orthobook.theory.mean_field import threshold_for  # SciPy's solvers: half a second for who needs them

        options["threshold"] = threshold_for(depth, coherence, architecture, width, **options)
    device = best_device(dtype) if device is None else available_device(device, dtype)
    generator = seeded(seed)
    trunk = Trunk(architecture, depth=depth, width=width, dtype=dtype, device="cpu", generator=generator, **options)
    return DeepNetwork(trunk, inputs=inputs, classes=classes, generator=generator).to(device)


class Trunk(nn.ParameterDict):
    """A stack of one kind of layer from ℝⁿ to ℝⁿ, or on feature maps, to put into a model of one's own.

    It is the dictionary of its layers' parameters, each stacked over depth, and the map that they make. Vectors may
    have any axes before the last, as tokens do, (batch, tokens, n); feature maps have the channels last, (batch,
    height, width, channels). A step of an optimiser leaves the manifold: call :meth:`retract_` after each.

    Parameters
    ----------
    architecture : str or Block
        One of :func:`orthobook.architectures`, or a block, whose options are its own.
    depth : int
        Number of layers L, at least 1.
    width : int
        Width n; for layers on images, whose names begin with ``conv-``, the number of channels.
    seed : int
        Fixes every parameter, to the bit, whatever the device; 0 by default, so trunks of one model need seeds.
    dtype : torch.dtype
        ``torch.float32`` or ``torch.float64``.
    device : torch.device or str
        Where the parameters live.
    generator : torch.Generator, optional
        Source of the initial parameters, on the CPU, in place of a seed.
    **options
        Options of the architecture, such as ``threshold`` or ``folds``: the fields of its block.

    Attributes
    ----------
    architecture : str
        The registered name, or that of the block's class.
    block : Block
        The kind of layer, options that depend on depth and width filled in.
    depth, width : int
        As given.

    Raises
    ------
    ValueError
        If the architecture or an option is unknown, or a value is out of range; the message says what is allowed.

    Examples
    --------
    >>> trunk = Trunk("shifted-fold", depth=100, width=32, seed=0)
    >>> optimiser = torch.optim.Adam(trunk.parameters(), lr=1e-3)
    >>> loss = trunk(torch.randn(5, 32)).square().mean()
    >>> loss.backward()
    >>> optimiser.step()
    >>> trunk.retract_()  # orthogonal again, to rounding
    """

    __call__ = nn.Module.__call__  # a ParameterDict refuses to be called

    def __init__(
        self,
        architecture: str | Block,
        *,
        depth: int,
        width: int,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        generator: torch.Generator | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"dtype must be torch.float32 or torch.float64, got {dtype!r}")
        if isinstance(architecture, Block):
            if options:
                raise ValueError(f"a block has its options already, got {', '.join(options)} beside {architecture}")
            kind, architecture = architecture, type(architecture).__name__
        else:
            kind = block(architecture, **options)
        self.architecture = architecture
        self.depth, self.width = whole_number("depth", depth, least=1), whole_number("width", width, least=1)
        self.block = kind.resolve(self.depth, self.width)
        device = available_device(device, dtype)
        with torch.no_grad(), torch.device("cpu"):
            stacks = self._checked(self.block.init(self.depth, self.width, generator or seeded(seed), dtype))
            self.update({name: stack.contiguous() for name, stack in stacks.items()})
        self.to(device)

    def _checked(self, stacks: Parameters) -> Parameters:
        """Return a block's parameters; ValueError unless depth is their first axis and the orthogonal ones exist."""
        name = type(self.block).__name__
        for parameter, stack in stacks.items():
            if stack.ndim == 0 or len(stack) != self.depth:
                raise ValueError(
                    f"{name}.init must give {parameter!r} the depth {self.depth} as its first axis, "
                    f"got the shape {tuple(stack.shape)}"
                )
        for parameter in self.block.orthogonal:
            if parameter not in stacks:  # the letters of a word, where the comma is missing
                names = ", ".join(stacks)
                raise ValueError(
                    f"{name}.orthogonal must be a tuple of names among {names}, got {self.block.orthogonal!r}"
                )
        return stacks

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the parameters."""
        return next(self.parameters()).dtype

    def embed(self, x: Points) -> Points:
        """Return x on the trunk's device, having checked it: the inputs of a trunk are its first states x₀.

        Raises
        ------
        ValueError
            If x is no batch of vectors (batch, n), or of feature maps (batch, height, width, channels), in the trunk's
            precision.
        """
        self.block.check_states(x, self.width)
        if x.dtype != self.dtype:
            raise ValueError(f"states must have the trunk's dtype {self.dtype}, got {x.dtype}; use x.to(trunk.dtype)")
        return x.to(self.device)

    def forward(self, x: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch m"]:
        """Return the last states x_L for first states x₀: the map whose Jacobian ``ob.jacobian`` gives.

        Parameters
        ----------
        x : Tensor, shape (..., n)
            Vectors, with any axes before; for layers on images (batch, height, width, channels).

        Returns
        -------
        Tensor
            Of the same shape; only layers that double their width (CReLU) give longer vectors.

        Raises
        ------
        ValueError
            If the shape or the precision is another; the message says which is needed.
        """
        many = self.block.vectors and isinstance(x, Tensor) and x.ndim not in (0, 2)  # other axes than (batch, n)
        states = self.embed(x.reshape(-1, x.shape[-1]) if many else x)
        for layer in self.layers():
            states = self.block.forward(states, **layer)
        return states.reshape(*x.shape[:-1], states.shape[-1]) if many else states

    def states(self, x: Points) -> list[Points]:
        """Return the states x₀, x₁, …, x_L."""
        states = [self.embed(x)]
        for layer in self.layers():
            states.append(self.block.forward(states[-1], **layer))
        return states

    def layers(self, *, dtype: torch.dtype | None = None, device: torch.device | None = None) -> Iterator[Parameters]:
        """Yield what the block takes for each layer, first to last; in another precision or place where asked for."""
        if (dtype or self.dtype, device or self.device) == (self.dtype, self.device):
            yield from self.block.layers(dict(self.items()))
        else:  # one layer at a time, so that memory does not grow with depth
            for index in range(self.depth):
                stacks = {name: stack[index : index + 1].to(device, dtype) for name, stack in self.items()}
                yield from self.block.layers(stacks)

    def fused(self, x: Points, *, segment: int | None = None) -> NextPoints:
        """Return the last states as ``trunk(x)`` does, faster where the kind of layer allows it, for a training step.

        They can be differentiated once, by ``backward``, but not twice and not by ``torch.func``.

        Parameters
        ----------
        x : Tensor, shape (batch, n) or (batch, height, width, channels)
            The first states, which are not checked.
        segment : int, optional
            Keep only the states between segments of so many layers, and compute those within again on the way back
            (activation checkpointing): a third more work for a fraction of the memory, least at √L.
        """
        stacks = dict(self.items())
        if segment is None:
            return self.block.fused(x, stacks)
        for parts in zip(*(stack.split(segment) for stack in stacks.values()), strict=True):
            layers = dict(zip(stacks, parts, strict=True))
            x = checkpoint(self.block.fused, x, layers, use_reentrant=False, preserve_rng_state=False)
        return x

    def orthogonality_error(self) -> float:
        """Return the largest ‖VᵀV − I‖_F over all layers; 0 for an architecture without orthogonal parameters."""
        errors = [orthogonality_error(self[name]).max().item() for name in self.block.orthogonal]
        return max(errors, default=0.0)

    def orthogonality_penalty(self) -> Float[Tensor, ""]:
        """Return the differentiable Σ ‖VᵀV − I‖_F² over all layers."""
        penalties = [orthogonality_penalty(self[name]) for name in self.block.orthogonal]
        return sum(penalties, start=torch.zeros((), dtype=self.dtype, device=self.device))

    @torch.no_grad()
    def retract_(self) -> Self:
        """Move the parameters, in place, to the nearest ones that the constrained mode allows, and return the trunk.

        Call it after each step of an optimiser. Layers without such parameters, as most baselines, stay as they are.
        """
        self.block.retract_(dict(self.items()))
        return self

    def extra_repr(self) -> str:
        """Describe the trunk in the module's printout."""
        return f"{self.architecture}, depth={self.depth}, width={self.width}, block={self.block}"

    @property
    def _identity(self) -> str:
        """What a state must have been made for: the kind of layer with its options, depth and width."""
        words = ", ".join(f"{of.name}={_word(getattr(self.block, of.name))}" for of in fields(self.block))
        return f"{type(self.block).__name__}({words}), depth={self.depth}, width={self.width}"

    def get_extra_state(self) -> Tensor:
        """Return whose state it is, as a tensor of UTF-8: for a state of tensors alone there are more uses."""
        return torch.tensor(list(self._identity.encode()), dtype=torch.uint8, device="cpu")

    def set_extra_state(self, state: Tensor) -> None:
        """Do nothing: it was compared before anything was loaded."""

    def _check_state(self, state: Mapping[str, Any], prefix: str) -> None:
        """Raise ValueError if a state says that it is another trunk's; one that says nothing may be anybody's."""
        said = state.get(f"{prefix}_extra_state")
        if not isinstance(said, Tensor):
            return
        text = bytes(said.flatten().to(torch.uint8).tolist()).decode(errors="replace")
        if text != self._identity:
            raise ValueError(
                f"this state is that of a trunk {text}, and the trunk here is {self._identity}; without "
                f"{prefix + '_extra_state'!r} it says nothing of that"
            )

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: Mapping[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        self._check_state(state_dict, prefix)
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        missing_keys[:] = [key for key in missing_keys if key != f"{prefix}_extra_state"]


class DeepNetwork(nn.Module):
    """A classifier: embedding → trunk → linear logits.

    Parameters
    ----------
    trunk : Trunk
        The stack of layers; the parts around it are made in its precision, on the CPU.
    inputs : int or tuple of int
        Length of an input vector, or the shape of an input; see :func:`build`.
    classes : int
        Number of classes, at least 1.
    generator : torch.Generator
        Source of the initial parameters of the embedding and the classifier, on the CPU.

    Attributes
    ----------
    embedding, classifier : nn.Module
        The linear maps before and after the trunk; for images the embedding acts on the channels at every place.
    input_shape : tuple of int
        The shape of an input.
    state_shape : tuple of int
        The shape of the trunk's first state: (n,), or (height, width, channels).
    """

    def __init__(self, trunk: Trunk, *, inputs: int | Shape, classes: int, generator: torch.Generator) -> None:
        super().__init__()
        self.classes = whole_number("classes", classes, least=1)
        self.input_shape = _shape(inputs)
        self.state_shape = trunk.block.state_shape(self.input_shape, trunk.width)
        final = math.prod(self.state_shape[:-1]) * trunk.block.final_width(trunk.depth, trunk.width)
        with torch.no_grad(), torch.device("cpu"):
            # Inputs of mean square 1 become coordinates of mean square about 1: the scale that thresholds refer to.
            self.embedding = trunk.block.embedding(self.input_shape, trunk.width, generator, trunk.dtype)
            rows = gaussian(self.classes, final, variance=1 / final, generator=generator, dtype=trunk.dtype)
        self.trunk = trunk
        self.classifier = linear(rows)

    @property
    def inputs(self) -> int:
        """Number of entries of an input."""
        return math.prod(self.input_shape)

    @property
    def coordinates(self) -> int:
        """Number of coordinates of the trunk's first state: the n of its Jacobian."""
        return math.prod(self.state_shape)

    @property
    def architecture(self) -> str:
        """The trunk's architecture."""
        return self.trunk.architecture

    @property
    def block(self) -> Block:
        """The trunk's kind of layer."""
        return self.trunk.block

    @property
    def depth(self) -> int:
        """The trunk's number of layers."""
        return self.trunk.depth

    @property
    def width(self) -> int:
        """The trunk's width; for layers on images the number of channels."""
        return self.trunk.width

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return self.trunk.device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the parameters."""
        return self.trunk.dtype

    def embed(self, x: Float[Tensor, batch * inputs]) -> Points:
        """Map inputs to the trunk's first state x₀; inputs on another device are brought over.

        Parameters
        ----------
        x : Tensor, shape (batch, inputs) or (batch, height, width), as ``input_shape`` says
            Inputs, as rows or in their own shape.

        Raises
        ------
        ValueError
            If the shape or the precision is another.
        """
        if not isinstance(x, Tensor):
            raise ValueError(f"inputs must be a tensor, got {type(x).__name__}; torch.from_numpy makes one of an array")
        if x.shape[1:] not in {(self.inputs,), self.input_shape} or x.ndim < 2:
            advice = "; flatten(1) turns images into rows" if x.ndim > 2 else ""
            raise ValueError(f"inputs must have the shape (batch, {self.inputs}), got {tuple(x.shape)}{advice}")
        if x.dtype != self.dtype:
            raise ValueError(f"inputs must have the network's dtype {self.dtype}, got {x.dtype}; use x.to(net.dtype)")
        return self.embedding(x.to(self.device).flatten(1))

    def layers(self, *, dtype: torch.dtype | None = None, device: torch.device | None = None) -> Iterator[Parameters]:
        """Yield what the block takes for each layer, as :meth:`Trunk.layers` does."""
        return self.trunk.layers(dtype=dtype, device=device)

    def states(self, x: Float[Tensor, batch * inputs]) -> list[Points]:
        """Return the trunk's states x₀, x₁, …, x_L."""
        return self.trunk.states(self.embed(x))

    def forward(self, x: Float[Tensor, batch * inputs]) -> Float[Tensor, "batch classes"]:
        """Return the logits of every class."""
        return self.classifier(self.trunk(self.embed(x)).flatten(1))

    def training_logits(
        self, x: Float[Tensor, batch * inputs], *, segment: int | None = None
    ) -> Float[Tensor, "batch classes"]:
        """Return the logits as ``net(x)`` does, by :meth:`Trunk.fused`, for a gradient of first order."""
        return self.classifier(self.trunk.fused(self.embed(x), segment=segment).flatten(1))

    def orthogonality_error(self) -> float:
        """Return the trunk's largest ‖VᵀV − I‖_F."""
        return self.trunk.orthogonality_error()

    def orthogonality_penalty(self) -> Float[Tensor, ""]:
        """Return the trunk's differentiable Σ ‖VᵀV − I‖_F²."""
        return self.trunk.orthogonality_penalty()

    def retract_(self) -> Self:
        """Move the trunk's parameters, in place, as :meth:`Trunk.retract_` does, and return the network."""
        self.trunk.retract_()
        return self

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        if isinstance(self.trunk, Trunk):  # before the embedding is loaded
            self.trunk._check_state(state_dict, f"{prefix}trunk.")
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _word(value: object) -> str:
    """Return a word for an option's value, the same for equal numbers of any type."""
    if isinstance(value, Real):
        return repr(float(value))
    return str(value) if isinstance(value, str | None) else getattr(value, "name", type(value).__name__)


def _shape(inputs: int | Shape) -> Shape:
    """Return the shape of an input; ValueError unless it is a positive whole number, or a tuple of them."""
    if not isinstance(inputs, tuple | list):
        return (whole_number("inputs", inputs, least=1),)
    if not inputs:
        raise ValueError("inputs must be a length or a shape, got an empty one")
    return tuple(whole_number("each size in inputs", size, least=1) for size in inputs)
