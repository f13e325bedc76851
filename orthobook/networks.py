"""Deep networks: an embedding, a trunk that is a stack of one kind of layer, a classifier.

    x₀ = E x,    x_l = F_l(x_{l−1}) for l = 1 … L,    logits = K x_L + k

The trunk's parameters are stacked over depth: one tensor (L, n, n) instead of L modules, so that sampling, retraction
and the optimiser's step each treat all layers in a few operations. Only the trunk is an isometry; the embedding and the
classifier are plain linear maps.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import skip_init
from torch.utils.checkpoint import checkpoint

from orthobook._checks import whole_number
from orthobook.layers.base import Block, Points, block, gaussian
from orthobook.orthogonal import orthogonality_error, orthogonality_penalty
from orthobook.theory.mean_field import threshold_for

__all__ = ["DeepNetwork", "best_device", "build"]


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


def build(
    architecture: str,
    *,
    depth: int,
    classes: int,
    width: int | None = None,
    inputs: int | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
    coherence: float | None = None,
    **options: Any,
) -> DeepNetwork:
    """Build a deep network by the name of its architecture.

    Parameters
    ----------
    architecture : str
        One of :func:`orthobook.architectures`.
    depth, classes : int
        Number of layers L of the trunk and number of classes, each at least 1.
    width, inputs : int
        Width n of the trunk and length of an input vector, each at least 1. Architectures for images, whose names
        begin with ``conv-``, take ``channels`` and ``image_shape`` instead.
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

    >>> net = build("conv-shifted-fold", depth=20, channels=16, image_shape=(28, 28), classes=10)
    >>> net(torch.zeros(5, 784, device=net.device)).shape
    torch.Size([5, 10])
    """
    if coherence is not None:
        if "threshold" in options:
            raise ValueError(f"give coherence={coherence!r} or threshold={options['threshold']!r}, not both")
        options["threshold"] = threshold_for(depth, coherence, architecture, width, **options)
    kind = block(architecture, **options)
    depth, classes = whole_number("depth", depth, least=1), whole_number("classes", classes, least=1)
    width, inputs = kind.sizes(width, inputs)
    seed = whole_number("seed", seed, least=0)
    if seed >= 2**63:
        raise ValueError(f"seed must be below 2**63, got {seed}")
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"dtype must be torch.float32 or torch.float64, got {dtype!r}")
    device = best_device(dtype) if device is None else available_device(device, dtype)
    generator = torch.Generator().manual_seed(seed)
    network = DeepNetwork(kind, depth, width, inputs, classes, generator=generator, dtype=dtype)
    network.architecture = architecture
    return network.to(device)


class DeepNetwork(nn.Module):
    """A classifier whose trunk is a stack of one kind of layer.

    Parameters
    ----------
    block : Block
        The kind of layer.
    depth, width, inputs, classes : int
        As in :func:`build`, which checks them; for images the width is the number of coordinates of a state.
    generator : torch.Generator
        Source of the initial parameters, on the CPU.
    dtype : torch.dtype
        Precision of the parameters.

    Attributes
    ----------
    trunk : nn.ParameterDict
        The parameters of all layers by name, each of shape (depth, ...).
    embedding, classifier : nn.Module
        The linear maps before and after the trunk; for images the embedding acts on the channels at every place.
    """

    def __init__(
        self,
        block: Block,
        depth: int,
        width: int,
        inputs: int,
        classes: int,
        *,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.architecture = type(block).__name__
        self.block = block.resolve(depth, width)
        self.depth, self.width, self.inputs, self.classes = depth, width, inputs, classes
        final = self.block.final_width(depth, width)
        # skip_init, as a plain nn.Linear would draw from the global generator
        self.classifier = skip_init(nn.Linear, final, classes, dtype=dtype, device="cpu")
        with torch.no_grad(), torch.device("cpu"):
            self.trunk = nn.ParameterDict(self._checked(self.block.init(depth, width, generator, dtype)))
            # Inputs of mean square 1 become coordinates of mean square about 1: the scale that thresholds refer to.
            self.embedding = self.block.embedding(inputs, width, generator, dtype)
            self.classifier.weight.copy_(gaussian(classes, final, variance=1 / final, generator=generator, dtype=dtype))
            self.classifier.bias.zero_()

    def _checked(self, stacks: dict[str, Tensor]) -> dict[str, Tensor]:
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
        return self.classifier.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the parameters."""
        return self.classifier.weight.dtype

    def layers(
        self, *, dtype: torch.dtype | None = None, device: torch.device | None = None
    ) -> Iterator[dict[str, Tensor]]:
        """Yield what the block takes for each layer, first to last; in another precision or place where asked for."""
        if (dtype or self.dtype, device or self.device) == (self.dtype, self.device):
            yield from self.block.layers(dict(self.trunk.items()))
        else:  # one layer at a time, so that memory does not grow with depth
            for index in range(self.depth):
                stacks = {name: stack[index : index + 1].to(device, dtype) for name, stack in self.trunk.items()}
                yield from self.block.layers(stacks)

    def embed(self, x: Float[Tensor, "batch inputs"]) -> Points:
        """Map inputs to the trunk's first state x₀; inputs on another device are brought over.

        Raises
        ------
        ValueError
            If the shape is not (batch, inputs) or the precision is not the network's.
        """
        if not isinstance(x, Tensor):
            raise ValueError(f"inputs must be a tensor, got {type(x).__name__}; torch.from_numpy makes one of an array")
        if x.ndim != 2 or x.shape[1] != self.inputs:
            advice = "; flatten(1) turns images into rows" if x.ndim > 2 else ""
            raise ValueError(f"inputs must have the shape (batch, {self.inputs}), got {tuple(x.shape)}{advice}")
        if x.dtype != self.dtype:
            raise ValueError(f"inputs must have the network's dtype {self.dtype}, got {x.dtype}; use x.to(net.dtype)")
        return self.embedding(x.to(self.device))

    def states(self, x: Float[Tensor, "batch inputs"]) -> list[Points]:
        """Return the trunk's states x₀, x₁, …, x_L."""
        states = [self.embed(x)]
        for layer in self.layers():
            states.append(self.block.forward(states[-1], **layer))
        return states

    def propagate(self, state: Points) -> Points:
        """Return the trunk's last state x_L for a first state x₀: the map whose Jacobian ``ob.jacobian`` gives."""
        for layer in self.layers():
            state = self.block.forward(state, **layer)
        return state

    def training_logits(
        self, x: Float[Tensor, "batch inputs"], *, segment: int | None = None
    ) -> Float[Tensor, "batch classes"]:
        """Return the logits as ``net(x)`` does, faster where the kind of layer allows it, for a training step.

        They can be differentiated once, by ``backward``, but not twice and not by ``torch.func``.

        Parameters
        ----------
        x : Tensor, shape (batch, inputs)
            The inputs.
        segment : int, optional
            Keep the states between segments of so many layers only, and compute those within again on the way back
            (activation checkpointing): a third more work for a fraction of the memory, least at √L.
        """
        state, trunk = self.embed(x), dict(self.trunk.items())
        if segment is None:
            state = self.block.propagate(state, trunk)
        else:
            for parts in zip(*(stack.split(segment) for stack in trunk.values()), strict=True):
                layers = dict(zip(trunk, parts, strict=True))
                state = checkpoint(self.block.propagate, state, layers, use_reentrant=False, preserve_rng_state=False)
        return self.classifier(state.flatten(1))

    def forward(self, x: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch classes"]:
        """Return the logits of every class."""
        return self.classifier(self.propagate(self.embed(x)).flatten(1))

    def orthogonality_error(self) -> float:
        """Return the largest ‖VᵀV − I‖_F over all layers; 0 for an architecture without orthogonal parameters."""
        errors = [orthogonality_error(self.trunk[name]).max().item() for name in self.block.orthogonal]
        return max(errors, default=0.0)

    def orthogonality_penalty(self) -> Float[Tensor, ""]:
        """Return the differentiable Σ ‖VᵀV − I‖_F² over all layers."""
        penalties = [orthogonality_penalty(self.trunk[name]) for name in self.block.orthogonal]
        return sum(penalties, start=torch.zeros((), dtype=self.dtype, device=self.device))

    @torch.no_grad()
    def retract_(self) -> None:
        """Move the trunk's parameters, in place, to the nearest ones that the constrained mode allows."""
        self.block.retract_(dict(self.trunk.items()))

    def extra_repr(self) -> str:
        """Describe the network in the module's printout."""
        return f"{self.architecture}, depth={self.depth}, width={self.width}, block={self.block}"
