"""Orthogonal matrices by the stack: sampling, measuring, repairing.

    Stiefel manifold   St(n, m) = {V ∈ ℝⁿˣᵐ : VᵀV = I},  m ≤ n;  O(n) = St(n, n)
    Haar measure       V = QR-factor Q of a Gaussian matrix, with the signs of diag R moved into Q
    error              ‖VᵀV − I‖_F, zero exactly on the manifold
    polar retraction   M ↦ M (MᵀM)^(−1/2) = M (I + E)^(−1/2),  E = MᵀM − I: the nearest point of the manifold

The retraction iterates with the first terms of (1 + e)^(−1/2) = 1 − e/2 + ⅜e² − …. Two terms are the Newton–Schulz
iteration, which takes an eigenvalue e of E to −¾e² + ¼e³. Three, used here, are its third-order form:

    M ← M (I − ½E + ⅜E²)    takes e to ⅝e³ − (15/64)e⁴ + (9/64)e⁵

so the error is cubed, whatever put it there, at the price of one more product of small matrices.

Every function takes a stack ``(..., n, m)`` and treats all its matrices in a few batched operations.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

from orthobook._checks import described

__all__ = ["full_precision", "haar", "orthogonality_error", "orthogonality_penalty", "polar", "retract"]

# An iteration takes e to something no larger than |e|³ while |e| < 1. A matrix with an eigenvalue of E that may lie
# beyond this radius is handed to the exact decomposition.
RADIUS = 0.95


def haar(
    *shape: int,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "*stack n m"]:
    """Draw a stack of independent matrices from the uniform (Haar) measure on a Stiefel manifold.

    Parameters
    ----------
    *shape : int
        Shape of the stack, ``(..., n, m)`` with n ≥ m ≥ 0: ``haar(100, 64, 64)`` draws 100 rotations or reflections.
    generator : torch.Generator, optional
        Source of randomness on the CPU, so that a seed means the same matrices on every device.
    dtype : torch.dtype
        ``torch.float32`` or ``torch.float64``. The sampling itself runs in float64.

    Returns
    -------
    Tensor, shape (..., n, m)
        Matrices with orthonormal columns, on the CPU, contiguous.

    Raises
    ------
    ValueError
        If fewer than two sizes are given, one is negative, n < m, or the precision is another.

    Notes
    -----
    A Gaussian matrix G and OG have one law for every rotation O, so the Q of its QR factorisation is Haar distributed,
    provided that Q is unique: hence the sign convention diag R > 0. ``torch.nn.init.orthogonal_`` flattens a stack into
    one matrix, so the slices it fills are not orthogonal.
    """
    if len(shape) < 2 or min(shape) < 0 or shape[-2] < shape[-1]:
        raise ValueError(f"haar needs a shape (..., n, m) with n ≥ m ≥ 0, got {shape}")
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"dtype must be torch.float32 or torch.float64, got {dtype}")
    q, r = torch.linalg.qr(torch.randn(shape, generator=generator, dtype=torch.float64, device="cpu"))
    signs = torch.where(r.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0)
    return (q * signs.unsqueeze(-2)).to(dtype).contiguous()


def gram_defect(stack: Float[Tensor, "*stack n m"]) -> Float[Tensor, "*stack m m"]:
    """Return E = VᵀV − I of every matrix in the stack."""
    defect = stack.mT @ stack
    defect.diagonal(dim1=-2, dim2=-1).sub_(1)
    return defect


def orthogonality_error(stack: Float[Tensor, "*stack n m"]) -> Float[Tensor, "*stack"]:
    """Return ‖VᵀV − I‖_F of every matrix, without tracking gradients.

    Every singular value of V then lies within that distance of 1, since |σ² − 1| ≥ |σ − 1|.

    Raises
    ------
    ValueError
        If it is no stack of real matrices.
    """
    _check_stack(stack)
    with torch.no_grad(), full_precision(stack.device):
        return torch.linalg.matrix_norm(gram_defect(stack))


def orthogonality_penalty(stack: Float[Tensor, "*stack n m"]) -> Float[Tensor, ""]:
    """Return the differentiable penalty Σ ‖VᵀV − I‖_F² over the stack (Bansal et al. 2018)."""
    return gram_defect(stack).square().sum()


def polar(stack: Float[Tensor, "*stack n m"]) -> Float[Tensor, "*stack n m"]:
    """Return the orthogonal polar factor of every matrix by a singular value decomposition.

    Exact and slow: the reference for :func:`retract`, and its answer to steps that are too long. Where a matrix has
    lost rank, the nearest matrix with orthonormal columns is not unique and the decomposition picks one.
    """
    left, _, right = torch.linalg.svd(stack, full_matrices=False)
    return left @ right


@torch.no_grad()
def retract(stack: Float[Tensor, "*stack n m"]) -> Float[Tensor, "*stack n m"]:
    """Return the nearest stack with orthonormal columns, to working precision, by Newton–Schulz.

    The step's length is measured, not assumed: iterations go on until the next error, predicted from the measured one,
    is below rounding. Matrices too far away for the iteration get an exact polar decomposition first. Autocast and
    TF32 are switched off inside.

    Parameters
    ----------
    stack : Tensor, shape (..., n, m)
        Matrices near the Stiefel manifold, for example just after an optimiser's step. Not modified.

    Returns
    -------
    Tensor, shape (..., n, m)
        The polar factors M(MᵀM)^(−1/2).

    Raises
    ------
    ValueError
        If it is no stack of real matrices, the last two axes are not (n, m) with n ≥ m, or a value is not finite, as
        nothing is nearest to that.
    """
    _check_stack(stack)
    if stack.shape[-2] < stack.shape[-1]:
        raise ValueError(f"a stack to retract needs a shape (..., n, m) with n ≥ m, got {tuple(stack.shape)}")
    if stack.numel() == 0:
        return stack.clone()
    matrices = stack.reshape(-1, *stack.shape[-2:])
    tolerance = torch.finfo(stack.dtype).eps * stack.shape[-1] ** 0.5
    with full_precision(stack.device):
        while True:
            defect = gram_defect(matrices)
            square = defect @ defect
            spectral_norms = torch.linalg.vector_norm(square, dim=(-2, -1)).sqrt()  # upper bounds: ‖E‖₂² ≤ ‖E²‖_F
            largest = spectral_norms.max().item()
            if not largest <= RADIUS:  # also true for nan
                far = (~(spectral_norms <= RADIUS)).nonzero().squeeze(-1)
                matrices = matrices.index_copy(0, far, polar(_finite(matrices[far])))
                continue
            matrices = torch.baddbmm(matrices, matrices, square.mul_(0.375).sub_(defect, alpha=0.5))
            if largest**3 <= tolerance:  # the next error is at most |e|³: no need to measure it
                return matrices.reshape(stack.shape)


def _check_stack(stack: object) -> None:
    if not isinstance(stack, Tensor) or stack.ndim < 2 or stack.layout != torch.strided or stack.is_meta:
        raise ValueError(f"a stack of matrices is a tensor (..., n, m), got {described(stack)}")
    if stack.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"the matrices must be torch.float32 or torch.float64, got {stack.dtype}; use .to(…)")


def _finite(matrices: Float[Tensor, "far n m"]) -> Float[Tensor, "far n m"]:
    if not matrices.isfinite().all():
        raise ValueError("cannot retract: the stack holds values that are not finite (nan or inf)")
    return matrices


class _FullProducts:
    """The process's settings of matrix products: of the threads inside, the first changes them, the last restores."""

    def __init__(self) -> None:
        self.lock, self.inside = threading.RLock(), 0
        self.before: tuple[str, bool] = ("highest", False)

    def __enter__(self) -> None:
        with self.lock:
            self.inside += 1
            if self.inside == 1:
                self.before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
                torch.set_float32_matmul_precision("highest")
                torch.backends.cudnn.allow_tf32 = False  # by default it is on, unlike that of matrix products

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                torch.set_float32_matmul_precision(self.before[0])
                torch.backends.cudnn.allow_tf32 = self.before[1]


_full_products = _FullProducts()


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Switch off autocast and reduced-precision products (TF32, bfloat16) of matrices and convolutions in the block.

    Orthogonality to seven digits cannot survive products that keep three. But for autocast, which belongs to a thread,
    the settings are those of the whole process.
    """
    with _full_products, torch.autocast(device.type, enabled=False):
        yield
