"""Self-checks of the chapter "Convolutions"."""

from __future__ import annotations

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.nn import functional

from orthobook.layers.images import orthogonal_kernel
from orthobook.orthogonal import haar
from orthobook.teaching.exercises._self_checks import function, near, number, require, self_check, tensor


def _blocks(kernel: Float[Tensor, "c c k l"], H: int, W: int) -> Complex[Tensor, "H W c c"]:
    """Return the Fourier blocks."""
    return torch.fft.fft2(kernel, s=(H, W)).movedim((0, 1), (2, 3))


def _kernel(blocks: Complex[Tensor, "H W c c"]) -> Complex[Tensor, "c c H W"]:
    """Return the kernel of Fourier blocks."""
    return torch.fft.ifft2(blocks.movedim((2, 3), (0, 1)))


def _gaps(kernel: Float[Tensor, "c c 3 3"], *, identity: float = 1.0) -> Float[Tensor, "5 5 c c"]:
    """Return Σ k_s k_{s+d}ᵀ, less I at d = 0, for the 25 offsets d: from the blocks on 5 × 5 places."""
    blocks = _blocks(kernel.double(), 5, 5)
    sums = torch.fft.ifft2(blocks @ blocks.mH, dim=(0, 1)).real
    sums[0, 0] -= identity * torch.eye(len(kernel), dtype=torch.float64)
    return sums


@self_check(
    "conv-exercise-gap",
    wrong={
        "at d = 0 the sum must be I, not 0": lambda kernel: _gaps(kernel, identity=0.0).abs().max(),
        "in place of 0": lambda kernel: _gaps(kernel).abs().max() + 0.01,
        "offsets d ≠ 0 are left out": lambda kernel: _gaps(kernel)[0, 0].abs().max(),
        "offsets that contain ±2 are left out": lambda kernel: _gaps(kernel)[[0, 1, 4]][:, [0, 1, 4]].abs().max(),
        "twice an orthogonal kernel has the gap": lambda kernel: _gaps(kernel).flatten(0, 1)[1:].abs().max(),
        "not the norm of all": lambda kernel: _gaps(kernel).norm(),
        "the wrong factor is transposed": lambda kernel: _gaps(kernel.transpose(0, 1)).abs().max(),
        "too low": lambda kernel: _gaps(kernel).abs().max() / 2,
    },
)
def _gap(shift_gap: object) -> None:
    shift_gap = function("shift_gap", shift_gap)
    generator = torch.Generator().manual_seed(0)
    dtype = torch.get_default_dtype()
    kernel = _orthogonal(4, generator)
    found = number("shift_gap of an orthogonal kernel", shift_gap(kernel.clone()))
    require(not near(found, 1.0), "an orthogonal kernel has the gap 1: at d = 0 the sum must be I, not 0")
    require(near(found, 0.0), f"an orthogonal kernel has the gap {found:.3g} in place of 0")
    drawn = torch.randn(4, 4, 3, 3, generator=generator, dtype=dtype) / 3
    rows = torch.linalg.qr(drawn.reshape(4, 36).mT).Q.mT.reshape(4, 4, 3, 3)
    apart = torch.zeros(4, 4, 3, 3, dtype=dtype)  # orthogonal to all shifts by one place
    apart[..., 0, 0], apart[..., 2, 2] = 0.6 * torch.eye(4), 0.8 * torch.eye(4)
    for name, k in {"rows": rows, "apart": apart, "twice": 2 * kernel, "drawn": drawn}.items():
        found = number("shift_gap(kernel)", shift_gap(k.clone()))
        gaps = _gaps(k)
        right = gaps.abs().max()
        require(name != "rows" or found > 1e-4, "a kernel with orthonormal rows passes: offsets d ≠ 0 are left out")
        require(name != "apart" or found > 1e-4, "offsets that contain ±2 are left out: d runs over 5×5 of them")
        require(name != "twice" or near(found, right), f"twice an orthogonal kernel has the gap {found:.3g}: see d = 0")
        require(
            not near(found, gaps.norm()) or near(found, right), "the largest entry is asked for, not the norm of all"
        )
        wrong_side = near(found, _gaps(k.transpose(0, 1)).abs().max()) and not near(found, right)
        require(not wrong_side, "the wrong factor is transposed: k_s k_{s+d}ᵀ is a sum over the input channels")
        require(near(found, right), f"a kernel has the gap {found:.4g}, too {'low' if found < right else 'high'}")


def _orthogonal(channels: int, generator: torch.Generator) -> Tensor:
    """Return an orthogonal kernel of the default dtype."""
    dtype = torch.get_default_dtype()
    rotation = haar(channels, channels, dtype=dtype, generator=generator)
    return orthogonal_kernel(rotation, haar(4, channels, channels // 2, dtype=dtype, generator=generator))


def _nearest_by_svd(kernel: Float[Tensor, "c c 3 3"], H: int, W: int) -> Complex[Tensor, "c c H W"]:
    """Return the orthogonal kernel that is nearest."""
    U, _, Vh = torch.linalg.svd(_blocks(kernel, H, W))
    return _kernel(U @ Vh)


@self_check(
    "conv-exercise-nearest",
    wrong={
        "the result is complex": _nearest_by_svd,
        "that is the kernel itself": lambda kernel, H, W: functional.pad(kernel, (0, W - 3, 0, H - 3)),
        "it is not orthogonal": lambda kernel, H, W: 1.1 * _nearest_by_svd(kernel, H, W).real,
        "count the offsets from 0": lambda kernel, H, W: _nearest_by_svd(kernel, H, W).real.roll((-1, -1), (2, 3)),
        "another one is nearer": lambda kernel, H, W: _kernel(torch.linalg.qr(_blocks(kernel, H, W)).Q).real,
    },
)
def _nearest(nearest: object) -> None:
    nearest = function("nearest", nearest)
    generator = torch.Generator().manual_seed(1)
    kernel = torch.randn(3, 3, 3, 3, generator=generator) / 3
    H, W = 6, 5
    value = nearest(kernel.clone(), H, W)
    is_complex = isinstance(value, Tensor) and value.is_complex()
    require(not is_complex, "the result is complex; a kernel is real, and the imaginary part is rounding")
    found = _blocks(tensor("nearest(kernel, 6, 5)", value, 3, 3, H, W), H, W)
    given = _blocks(kernel.double(), H, W)
    values = torch.linalg.svdvals(found)
    what = f"it is not orthogonal: its singular values run from {values.min():.3g} to {values.max():.3g}"
    require(not near(found, given), f"that is the kernel itself, on a larger square; {what}")
    require(near(values, torch.ones_like(values), 1e-3), what)
    exact = _is_polar_factor(found, given)
    moved = [_blocks(tensor("nearest", value, 3, 3, H, W).roll(by, (2, 3)), H, W) for by in ((1, 1), (-1, -1))]
    shifted = any(_is_polar_factor(blocks, given) for blocks in moved)
    require(exact or not shifted, "it is right up to a shift by one place: count the offsets from 0, as fft2 does")
    require(exact, "it is orthogonal, but another one is nearer to the kernel")


def _is_polar_factor(unitary: Tensor, given: Tensor) -> bool:
    """Say whether the blocks U*G are Hermitian and positive, so that each U is the unitary matrix nearest to G."""
    product = unitary.mH @ given
    hermitian = near((product - product.mH).abs(), 0.0, 1e-3)
    return hermitian and bool((torch.linalg.eigvalsh(product) > -1e-3).all())
