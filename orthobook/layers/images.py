"""The same for images: orthogonal convolutions, exact at every step, and the layers made of them.

A state is a feature map, (batch, height, width, channels), with the channels last: what a dense layer does to the
coordinates of a vector, these layers do to the channels at every place. Between places mixes a convolution K with a 3×3
kernel. With circular padding it is orthogonal, KᵀK = I, if its kernel is a product

    K = O ∘ (P₁ + Q₁ E_y)(P₂ + Q₂ E_y⁻¹) ∘ (P₃ + Q₃ E_x)(P₄ + Q₄ E_x⁻¹),    P_i = U_i U_iᵀ,  Q_i = I − P_i,

where O ∈ O(c) acts at every place, E_x and E_y move the map by one place, and U_i ∈ St(c, c/2) (Li et al. 2019). Each
factor is orthogonal: (P + QE)ᵀ(P + QE) = P + Q = I, as P and Q are complementary projectors and E is a rotation of the
map's places. So the parameters O and U_i live on Stiefel manifolds and are kept there as those of dense layers are.

At the start U₁ = U₂ and U₃ = U₄, so that (P + QE)(P + QE⁻¹) = P + Q = I: only the kernel's centre is not zero, and it
is the orthogonal matrix O. Such a *delta-orthogonal* kernel (Xiao et al. 2018) is exact with any padding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from orthobook._checks import described, finite_number, whole_number
from orthobook.layers import activations
from orthobook.layers.base import (
    Bias,
    Block,
    Hyperplanes,
    Kind,
    Parameters,
    Tangents,
    gaussian,
    reflection_bounds,
    register,
    semi_orthogonal,
    spectral_norms,
)
from orthobook.layers.feedforward import Feedforward, PartialFold, ShiftedFold
from orthobook.layers.groups import MaxMin
from orthobook.orthogonal import full_precision, haar

__all__ = [
    "ConvMaxMin",
    "ConvModifiedResidual",
    "ConvPartialFold",
    "ConvResidual",
    "ConvShiftedFold",
    "Convolutional",
    "ImageEmbedding",
    "OrthogonalConvolution",
    "adjoint_kernel",
    "convolve",
    "orthogonal_kernel",
]

Kernel = Float[Tensor, "out in 3 3"]
Maps = Float[Tensor, "batch height width channels"]

PADDINGS = ("circular", "zeros")


# --- kernels ---


def orthogonal_kernel(
    rotation: Float[Tensor, "*stack c c"], frames: Float[Tensor, "*stack 4 c half"]
) -> Float[Tensor, "*stack c c 3 3"]:
    """Build the kernels of orthogonal convolutions from their factors, a whole stack at once.

    Parameters
    ----------
    rotation : Tensor, shape (..., c, c)
        The orthogonal matrices O.
    frames : Tensor, shape (..., 4, c, c/2)
        The frames U₁, U₂ (vertical) and U₃, U₄ (horizontal), with orthonormal columns.

    Returns
    -------
    Tensor, shape (..., c, c, 3, 3)
        ``kernel[..., i, j, s, t]`` is the weight from channel j at the place (s − 1, t − 1) away to channel i, as
        ``torch.nn.functional.conv2d`` has it.

    Raises
    ------
    ValueError
        If the shapes are not these.

    Notes
    -----
    Orthogonal with circular padding (Li et al. 2019), if the factors are; that is not checked.
    """
    c = rotation.shape[-1]
    if rotation.shape[-2] != c or c % 2 or frames.shape != (*rotation.shape[:-2], 4, c, c // 2):
        raise ValueError(
            "rotation and frames need the shapes (..., c, c) and (..., 4, c, c/2), c even, "
            f"got {tuple(rotation.shape)} and {tuple(frames.shape)}"
        )
    with full_precision(frames.device):
        P = frames @ frames.mT
        Q = torch.eye(P.shape[-1], dtype=P.dtype, device=P.device) - P
        # the first factor of either direction and the second: (..., 2, c, c) each, vertical before horizontal
        P, P_, Q, Q_ = P[..., ::2, :, :], P[..., 1::2, :, :], Q[..., ::2, :, :], Q[..., 1::2, :, :]
        # (P + QE)(P' + Q'E⁻¹) has the taps PQ' at −1, PP' + QQ' at 0 and QP' at 1
        vertical, horizontal = torch.stack((P @ Q_, P @ P_ + Q @ Q_, Q @ P_), dim=-3).unbind(-4)  # (..., 3, c, c)
        taps = (rotation.unsqueeze(-3) @ vertical).unsqueeze(-3) @ horizontal.unsqueeze(-4)  # (..., 3, 3, c, c)
    return taps.movedim((-4, -3), (-2, -1))


def kernel_norms(stacks: Parameters) -> Float[Tensor, " depth"]:
    """Return ‖O‖₂ ∏ᵢ max(1, 2‖Uᵢ‖₂² − 1), which the spectral norm of the convolution with that kernel does not exceed.

    An eigenvector of UUᵀ with the eigenvalue p sees (P + QE) as p + (1 − p)E, whose norm is at most |p| + |1 − p|. Zero
    padding is a larger circular convolution between zeros that are added and places that are left out: no longer.
    """
    return spectral_norms(stacks["rotation"]) * reflection_bounds(stacks["frames"]).prod(-1)


def adjoint_kernel(kernel: Kernel) -> Kernel:
    """Return the kernel of the transposed convolution Kᵀ: channels exchanged, both axes reversed."""
    return kernel.transpose(-4, -3).flip(-2, -1)


def convolve(
    x: Maps, kernel: Kernel, padding: str, bias: Bias | None = None
) -> Float[Tensor, "batch height width out"]:
    """Apply a 3×3 convolution to feature maps with the channels last, whose size it keeps.

    ``padding`` is ``"circular"`` or ``"zeros"``; ValueError if it is neither.
    """
    _check_padding(padding)
    images = x.movedim(-1, -3)
    if padding == "circular":
        images = functional.pad(images, (1, 1, 1, 1), mode="circular")
    size = 0 if padding == "circular" else 1
    return functional.conv2d(images, kernel, bias, padding=size).movedim(-3, -1)


def _check_padding(padding: str) -> None:
    if padding not in PADDINGS:
        raise ValueError(f"unknown padding {padding!r}; allowed: {', '.join(PADDINGS)}")


# --- what all layers on feature maps share ---


class ImageEmbedding(nn.Module):
    """Images as rows → feature maps: space to depth, then one linear map of the channels, the same at every place.

    Space to depth makes one place with four times the channels of every 2×2 places: it moves entries and changes none,
    so it is an isometry.
    """

    def __init__(self, shape: tuple[int, ...], downsampling: int, weight: Float[Tensor, "c colours"]) -> None:
        super().__init__()
        self.shape, self.downsampling = shape, downsampling  # shape: colours, height, width
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros_like(weight[:, 0]))

    def forward(self, x: Float[Tensor, "batch inputs"]) -> Maps:
        """Return the trunk's first state."""
        colours, height, width = self.shape
        factor = 2**self.downsampling  # pixel_unshuffle does the same, but leaves an empty batch as it is
        squares = x.reshape(len(x), colours, height // factor, factor, width // factor, factor)
        return functional.linear(squares.permute(0, 2, 4, 1, 3, 5).flatten(3), self.weight, self.bias)


@dataclass(frozen=True, kw_only=True)
class Convolutional(Block):
    """Layers on feature maps of any size; the width of a network of them is its number of channels c.

    Images are halved in height and width ``downsampling`` times before the trunk of a network; ``padding`` is
    ``"circular"`` or ``"zeros"``.
    """

    kind: ClassVar[Kind] = "image"
    vectors: ClassVar[bool] = False
    downsampling: int = 2
    padding: str = "circular"

    def __post_init__(self) -> None:
        super().__post_init__()
        whole_number("downsampling", self.downsampling, least=0)
        _check_padding(self.padding)

    def state_shape(self, inputs: tuple[int, ...], width: int) -> tuple[int, ...]:
        if len(inputs) not in (2, 3):
            raise ValueError(
                "layers on images need inputs=(height, width) or (colours, height, width), "
                f"got {inputs[0] if len(inputs) == 1 else inputs}"
            )
        halved = self.downsampling
        factor = 2 ** min(halved, max(inputs).bit_length())  # a larger one divides none of the sizes
        for name, size in zip(("height", "width"), inputs[-2:], strict=True):
            if size % factor:
                raise ValueError(
                    f"the image's {name} must be a multiple of {factor if halved < 64 else f'2^{halved}'} to be "
                    f"halved {halved} times, got {size}"
                )
        return inputs[-2] // factor, inputs[-1] // factor, width

    def check_states(self, x: object, width: int) -> None:
        if not isinstance(x, Tensor) or x.ndim != 4 or x.shape[3] != width:
            first = isinstance(x, Tensor) and x.ndim == 4 and x.shape[1] == width
            advice = "; x.movedim(1, -1) puts the channels last" if first else ""
            raise ValueError(f"states must be feature maps (batch, height, width, {width}), got {described(x)}{advice}")

    def embedding(
        self, inputs: tuple[int, ...], width: int, generator: torch.Generator, dtype: torch.dtype
    ) -> nn.Module:
        shape = (1,) * (3 - len(inputs)) + inputs  # colours, height, width
        weight = semi_orthogonal(width, shape[0] * 4**self.downsampling, generator, dtype)
        return ImageEmbedding(shape, self.downsampling, weight)

    def longest_product(self, width: int) -> int:
        return 9 * width

    def creases(self, reach: float, **layer: Tensor) -> Hyperplanes:
        """Raise ValueError: feature maps are no points of the plane."""
        return Block.creases(self, reach, **layer)

    def convolve(self, x: Maps, kernel: Kernel, bias: Bias | None = None) -> Maps:
        """Apply a convolution with the block's padding."""
        return convolve(x, kernel, self.padding, bias)

    def convolve_tangents(self, tangents: Tangents, kernel: Kernel) -> Tangents:
        """Apply a convolution to every tangent."""
        return self.convolve(tangents.flatten(0, 1), kernel).unflatten(0, tangents.shape[:2])


@dataclass(frozen=True, kw_only=True)
class OrthogonalConvolution(Convolutional):
    """Layers whose one convolution K is orthogonal: its parameters are O, (L, c, c), and the U_i, (L, 4, c, c/2).

    The number of channels must be even. With zero padding K is orthogonal only while the kernel is delta-orthogonal,
    as it is at the start: such layers are not isometric whatever O and the U_i are, and do not claim it.
    """

    orthogonal: ClassVar[tuple[str, ...]] = ("rotation", "frames")

    @property
    def isometric(self) -> bool:
        """Whether JᵀJ = I for all O and U_i: with circular padding."""
        return self.padding == "circular"

    def resolve(self, depth: int, width: int) -> Self:
        if width % 2:
            raise ValueError(
                f"the number of channels, width, must be even, as each projector of the kernel takes half of them, "
                f"got {width}"
            )
        return super().resolve(depth, width)

    def weights(self, depth: int, width: int, generator: torch.Generator, dtype: torch.dtype) -> Parameters:
        """Draw the factors of delta-orthogonal kernels."""
        c = width
        frames = haar(depth, 2, c, c // 2, generator=generator, dtype=dtype).repeat_interleave(2, dim=1)
        return {"rotation": haar(depth, c, c, generator=generator, dtype=dtype), "frames": frames}

    def layers(self, stacks: Parameters) -> Iterator[Parameters]:
        """Yield kernel and bias of each layer; the kernels are built all at once."""
        factors = {name: stacks[name] for name in ("rotation", "frames")}
        rest = {name: stack for name, stack in stacks.items() if name not in factors}
        return super().layers({"weight": orthogonal_kernel(**factors), **rest})


class _ConvFeedforward(OrthogonalConvolution, Feedforward):
    """A feedforward layer with K in place of W: what follows Kx + b acts on the channels at every place."""

    def affine(self, x: Maps, weight: Kernel, bias: Bias) -> Maps:
        """Return Kx + b."""
        return self.convolve(x, weight, bias)

    def linear(self, tangents: Tangents, weight: Kernel) -> Tangents:
        """Return Kv for every tangent v."""
        return self.convolve_tangents(tangents, weight)

    def norms(self, stacks: Parameters) -> Float[Tensor, " depth"]:
        """Return a bound of ‖K‖₂ of every layer, with either padding."""
        return kernel_norms(stacks)


# --- the architectures ---


@register("conv-shifted-fold")
@dataclass(frozen=True, kw_only=True)
class ConvShiftedFold(_ConvFeedforward, ShiftedFold):
    """x ↦ |Kx + b| − τ on feature maps, K an orthogonal convolution, b = τ at the start: no skip connection."""


@register("conv-partial-fold")
@dataclass(frozen=True, kw_only=True)
class ConvPartialFold(_ConvFeedforward, PartialFold):
    """The shifted fold on the first ``folds`` channels of Kx + b, half of them by default; the others stay."""


@register("conv-maxmin")
@dataclass(frozen=True, kw_only=True)
class ConvMaxMin(_ConvFeedforward, MaxMin):
    """x ↦ MaxMin(Kx + b): each pair of channels becomes (max, min) at every place."""


@register("conv-modified-residual")
@dataclass(frozen=True, kw_only=True)
class ConvModifiedResidual(OrthogonalConvolution):
    """x ↦ x − 2Kᵀ relu(Kx + b), K an orthogonal convolution, b = −τ at the start. ``threshold`` is τ."""

    has_skip = True
    threshold: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        finite_number("threshold", self.threshold)

    def init(self, depth: int, width: int, generator: torch.Generator, dtype: torch.dtype) -> Parameters:
        """Draw the factors of the kernels, and biases −τ of shape (depth, c)."""
        biases = torch.full((depth, width), -self.threshold, dtype=dtype)
        return {**self.weights(depth, width, generator, dtype), "bias": biases}

    def forward(self, x: Maps, *, weight: Kernel, bias: Bias) -> Maps:
        """Return x − 2Kᵀ relu(Kx + b)."""
        units = self.convolve(x, weight, bias).relu()
        return torch.sub(x, self.convolve(units, adjoint_kernel(weight)), alpha=2)

    def push(self, x: Maps, tangents: Tangents, *, weight: Kernel, bias: Bias) -> tuple[Maps, Tangents]:
        """Push tangents v ↦ v − 2Kᵀ (1[Kx + b ≥ 0] ⊙ Kv)."""
        z = self.convolve(x, weight, bias)
        active = self.convolve_tangents(tangents, weight) * activations.relu.derivative(z).unsqueeze(1)
        reflected = self.convolve_tangents(active, adjoint_kernel(weight))
        return torch.sub(x, self.convolve(z.relu(), adjoint_kernel(weight)), alpha=2), tangents - 2 * reflected

    def lipschitz(self, stacks: Parameters) -> Float[Tensor, " depth"]:
        """Return a bound of ‖I − 2Kᵀ D K‖₂ over all 0 ≤ D ≤ I: 1, or 2‖K‖₂² − 1 if that is more."""
        return (2 * kernel_norms(stacks).square() - 1).clamp(min=1)


@register("conv-residual")
@dataclass(frozen=True, kw_only=True)
class ConvResidual(Convolutional):
    """Baseline x ↦ x + s (K₂ relu(K₁x + b₁) + b₂), Gaussian 3×3 kernels that keep the branch's mean square.

    ``branch_scale`` is s, by default 1/√L (Tarnowski et al. 2019). The padding is zeros by default, as is usual.
    """

    has_skip = True
    padding: str = "zeros"
    branch_scale: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.branch_scale is not None:
            finite_number("branch_scale", self.branch_scale)

    def resolve(self, depth: int, width: int) -> Self:
        return self if self.branch_scale is not None else replace(self, branch_scale=1 / math.sqrt(depth))

    def init(self, depth: int, width: int, generator: torch.Generator, dtype: torch.dtype) -> Parameters:
        """Draw kernels (depth, c, c, 3, 3) of variance 2/9c and 1/9c, and zero biases (depth, c)."""
        c = width

        def kernel(variance: float) -> Float[Tensor, "depth c c 3 3"]:
            return gaussian(depth, c, c, 3, 3, variance=variance / (9 * c), generator=generator, dtype=dtype)

        inner, outer = kernel(2), kernel(1)
        biases = {f"{where}_bias": torch.zeros(depth, c, dtype=dtype) for where in ("inner", "outer")}
        return {"inner_weight": inner, "outer_weight": outer, **biases}

    def forward(
        self, x: Maps, *, inner_weight: Kernel, inner_bias: Bias, outer_weight: Kernel, outer_bias: Bias
    ) -> Maps:
        """Return x + s (K₂ relu(K₁x + b₁) + b₂)."""
        units = self.convolve(x, inner_weight, inner_bias).relu()
        return torch.add(x, self.convolve(units, outer_weight, outer_bias), alpha=self.branch_scale)

    def push(
        self,
        x: Maps,
        tangents: Tangents,
        *,
        inner_weight: Kernel,
        inner_bias: Bias,
        outer_weight: Kernel,
        outer_bias: Bias,
    ) -> tuple[Maps, Tangents]:
        """Push tangents v ↦ v + s K₂ (1[K₁x + b₁ ≥ 0] ⊙ K₁v)."""
        z = self.convolve(x, inner_weight, inner_bias)
        active = self.convolve_tangents(tangents, inner_weight) * activations.relu.derivative(z).unsqueeze(1)
        y = torch.add(x, self.convolve(z.relu(), outer_weight, outer_bias), alpha=self.branch_scale)
        return y, torch.add(tangents, self.convolve_tangents(active, outer_weight), alpha=self.branch_scale)
