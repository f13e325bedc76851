"""The theorem as code: every layer x ↦ Ax + Bσ(Cx + b) whose Jacobian is orthogonal almost everywhere.

Let σ have the slopes s₁ ≠ s₂, c = (s₁ + s₂)/2, r = (s₁ − s₂)/2, and let C (m × n) have full row rank m ≤ n and B no
zero column. The Jacobian J = A + B D C, D = diag σ'(Cx + b), is orthogonal wherever it exists if and only if

    C = Λ⁻¹Vᵀ,    B = U Λ / r,    A = U⊥ R V⊥ᵀ − (c/r) U Vᵀ

with U, V ∈ St(n, m), Λ a positive diagonal and R ∈ O(n − m). Then J = U diag(±1) Vᵀ + U⊥ R V⊥ᵀ: rotate, fold, rotate.

The way back starts from any A, B and C. Put M = A + c B C, nᵢ = r bᵢ with bᵢ the columns of B, Λ = diag ‖nᵢ‖,
U = r B Λ⁻¹, V = CᵀΛ and R = U⊥ᵀ M V⊥. The layer is one of these if and only if

    slopes       σ has no third slope
    pairs        uᵢᵀuⱼ = 0,  i ≠ j
    linear       Mᵀuᵢ = 0
    frame        VᵀV = I
    kernel       M vᵢ = 0
    remainder    RᵀR = I

A σ of one slope s is affine and folds nothing: the layer is the linear map A + s BC, which is R, and the remainder is
the only condition. If σ has two slopes or more and C has not full row rank, some patterns of slopes never occur and the
theorem does not decide; a check at sampled inputs remains.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from orthobook._checks import finite_number, seeded
from orthobook.orthogonal import full_precision, gram_defect, orthogonality_error

__all__ = [
    "Certificate",
    "Factors",
    "Layer",
    "NotOrthogonal",
    "Undecided",
    "complement",
    "compose",
    "factorise",
    "is_orthogonal",
]

_DTYPES = {torch.float32, torch.float64}

# How a layer fails each condition, in the order in which they are tested.
FAILURES = {
    "slopes": "the activation has more than two slopes, and only units that contribute nothing may use them",
    "pairs": "columns of B are not orthogonal to each other (uᵢᵀuⱼ ≠ 0)",
    "linear": "M = A + cBC reaches the direction of a column of B (Mᵀuᵢ ≠ 0)",
    "frame": "the rows of C, scaled by Λ, are not orthonormal (VᵀV ≠ I)",
    "kernel": "M = A + cBC does not vanish on a row of C (Mvᵢ ≠ 0)",
    "remainder": "M = A + cBC is not an isometry on the directions that no unit folds (RᵀR ≠ I)",
}


class Layer(NamedTuple):
    """The matrices of one layer x ↦ Ax + Bσ(Cx + b)."""

    A: Float[Tensor, "n n"]  #: the linear part
    B: Float[Tensor, "n m"]  #: what the units do
    C: Float[Tensor, "m n"]  #: what the units see


class Factors(NamedTuple):
    """What :func:`compose` builds a layer from, next to the slopes."""

    U: Float[Tensor, "n m"]  #: orthonormal columns
    V: Float[Tensor, "n m"]  #: orthonormal columns
    R: Float[Tensor, "k k"]  #: orthogonal, k = n − m, in the bases complement(U) and complement(V)
    scale: Float[Tensor, " m"]  #: the positive diagonal Λ


class NotOrthogonal(Exception):
    """The Jacobian of a layer is not orthogonal; the message names the first condition that fails."""

    condition: str  # "slopes", "pairs", "linear", "frame", "kernel" or "remainder"
    error: float  # by how much it fails
    tolerance: float  # the error that rounding may account for
    units: tuple[int, ...]  # the units concerned, counted from 0: one or a pair, all for "slopes", none for "remainder"

    def __init__(self, condition: str, error: float, tolerance: float, units: tuple[int, ...]) -> None:
        super().__init__(condition, error, tolerance, units)  # so that it survives the way back from another process
        self.condition, self.error, self.tolerance, self.units = condition, error, tolerance, units

    def __str__(self) -> str:
        noun = "unit" if len(self.units) == 1 else "units"
        where = f" at {noun} {', '.join(map(str, self.units))}" if self.units else ""
        return (
            f'the Jacobian is not orthogonal, as the condition "{self.condition}" fails: {FAILURES[self.condition]}, '
            f"by {self.error:.1e}{where} (tolerance {self.tolerance:.1e})"
        )


class Undecided(Exception):
    """C has not full row rank, so that the theorem does not decide whether the Jacobian is orthogonal."""

    rank: int  # of C
    units: int  # m, the number of its rows

    def __init__(self, rank: int, units: int) -> None:
        super().__init__(rank, units)
        self.rank, self.units = rank, units

    def __str__(self) -> str:
        return (
            f"C has rank {self.rank} but {self.units} rows: some patterns of slopes never occur, and the theorem does "
            "not decide; is_orthogonal checks a layer at sampled inputs"
        )


@dataclass(frozen=True)
class Certificate:
    """What the Jacobians at sampled inputs say; it is true if they are orthogonal.

    Where the numbers of outputs and inputs differ, orthogonal means isometric (JᵀJ = I) or coisometric (JJᵀ = I),
    whichever is possible.
    """

    orthogonal: bool  # whether the deviation is within the tolerance
    deviation: float  # the largest |σ − 1| over all inputs and all min(n_out, n_in) singular values
    worst: int  # the index of the input where it occurs
    regions: int  # how many different Jacobians were met: at least so many regions does the map have
    inputs: int  # how many inputs were sampled
    shape: tuple[int, int]  # of one Jacobian, (n_out, n_in)
    tolerance: float  # the deviation that counts as rounding

    def __bool__(self) -> bool:
        return self.orthogonal

    def __str__(self) -> str:
        outputs, inputs = self.shape
        kind = "orthogonal" if outputs == inputs else "isometric" if outputs > inputs else "coisometric"
        largest = f"largest |σ − 1| = {self.deviation:.1e}"
        allowed = f"(tolerance {self.tolerance:.1e})"
        if self.orthogonal:
            everywhere = f"all {self.inputs} inputs" if self.inputs > 1 else "the one input"
            regions = f"{self.regions} regions" if self.regions > 1 else "one region"
            return f"{kind} at {everywhere}, in {regions}: {largest} {allowed}"
        return f"not {kind}: {largest}, at input {self.worst} of {self.inputs} {allowed}"


def complement(frame: Float[Tensor, "n m"]) -> Float[Tensor, "n k"]:
    """Return orthonormal columns that span the orthogonal complement of a frame's range, k = n − m.

    The basis is the one of Householder's QR factorisation: where none of its pivots is near 0, frames that differ by
    rounding get bases that differ by rounding.
    """
    complete, _ = torch.linalg.qr(frame, mode="complete")
    return complete[:, frame.shape[1] :]


def compose(
    U: Float[Tensor, "n m"],
    V: Float[Tensor, "n m"],
    R: Float[Tensor, "k k"],
    slopes: Sequence[float],
    scale: Float[Tensor, " m"] | None = None,
) -> Layer:
    """Build the layer with an orthogonal Jacobian from its factors.

    Parameters
    ----------
    U, V : Tensor, shape (n, m)
        Orthonormal columns: what the folded directions become, and which directions are folded.
    R : Tensor, shape (n − m, n − m)
        Orthogonal: what happens to the directions that are not folded, in the bases ``complement(U)`` and
        ``complement(V)``.
    slopes : (float, float)
        The two distinct slopes (s₁, s₂) of the activation.
    scale : Tensor, shape (m,), optional
        The positive diagonal Λ; ones by default.

    Returns
    -------
    Layer
        The matrices A (n × n), B (n × m) and C (m × n).

    Raises
    ------
    ValueError
        If a factor is not finite or not orthogonal to 2 n eps, shapes or dtypes do not match, slopes are not two
        distinct finite numbers or too close for the dtype, or a scale or its inverse is not positive and finite; the
        message names the factor.
    """
    _check_matrices(U=U, V=V, R=R)
    n, m = V.shape
    if U.shape != V.shape or m > n or R.shape != (n - m, n - m):
        raise ValueError(
            "U and V need one shape (n, m) with m ≤ n, and R the shape (n − m, n − m); "
            f"got U {tuple(U.shape)}, V {tuple(V.shape)}, R {tuple(R.shape)}"
        )
    allowed = _rounding(n, V.dtype) / 4  # so that factorise finds what is composed
    for name, factor in (("U", U), ("V", V), ("R", R)):
        error = orthogonality_error(factor).item()
        if not error <= allowed:
            raise ValueError(
                f"{name} needs orthonormal columns, but ‖{name}ᵀ{name} − I‖_F = {error:.2e} is more than {allowed:.1e}"
            )
    _check_slopes(slopes)
    if len(slopes) != 2:
        raise ValueError(f"slopes must be two, got {slopes!r}")
    centre, radius = _centre_and_radius(slopes)
    _tolerance(n, V.dtype, slopes)
    diagonal = V.new_ones(m) if scale is None else _tensor("scale", scale)
    if diagonal.shape != (m,) or diagonal.dtype != V.dtype:
        raise ValueError(
            f"scale must have the shape ({m},) and {V.dtype}, got {tuple(diagonal.shape)}, {diagonal.dtype}"
        )
    if not bool(((diagonal > 0) & diagonal.isfinite() & diagonal.reciprocal().isfinite()).all()):
        raise ValueError(f"scale must be {m} positive numbers, finite like their inverses, got {diagonal.tolist()}")

    with full_precision(V.device):
        return Layer(
            A=complement(U) @ R @ complement(V).mT - centre / radius * U @ V.mT,
            B=U * diagonal / radius,
            C=V.mT / diagonal.unsqueeze(-1),
        )


@torch.no_grad()
def factorise(
    A: Float[Tensor, "n n"], B: Float[Tensor, "n m"], C: Float[Tensor, "m n"], slopes: Sequence[float]
) -> Factors:
    """Take a layer with an orthogonal Jacobian apart, or say which condition it fails: the inverse of :func:`compose`.

    Parameters
    ----------
    A, B, C : Tensor, shapes (n, n), (n, m) and (m, n)
        The matrices of the layer x ↦ Ax + Bσ(Cx + b), in float32 or float64.
    slopes : sequence of float
        The distinct slopes of the activation σ, one or more.

    Returns
    -------
    Factors
        U, V, R and scale; ``compose(U, V, R, slopes, scale)`` gives A, B and C again. U, V and scale are unique. R is
        unique up to the choice of bases: for others than ``complement(U)`` and ``complement(V)`` it is multiplied by
        orthogonal matrices from the left and the right, and U⊥ R V⊥ᵀ stays the same. For one slope s there is nothing
        to fold: U, V and scale have no columns and no entries, and R is A + s BC.

    Raises
    ------
    NotOrthogonal
        If the Jacobian is not orthogonal almost everywhere.
    Undecided
        If there are two slopes or more and C has not full row rank, in particular if m > n. The lengths of its rows do
        not matter.
    ValueError
        If the arguments are not finite matrices of one dtype and matching shapes, slopes are not distinct and finite or
        too close for the dtype, or, with two slopes or more, a column of B or a row of C is zero.

    Notes
    -----
    The errors are those of the conditions above: the largest |uᵢᵀuⱼ|, ‖Mᵀuᵢ‖, |VᵀV − I| and ‖Mvᵢ‖, and ‖RᵀR − I‖_F.
    None of them depends on Λ. Rounding alone makes them grow like n·eps, and M is the difference of parts of size
    |c/r|, so the tolerance is

        8 n eps (1 + |c/r|),

    four times the largest error seen in composed layers with n from 1 to 256; for one slope s it is 8 n eps
    (1 + |s| ‖B‖₂ ‖C‖₂). A third slope is not a matter of
    rounding. Its error is ½ ‖bᵢ‖² ‖cᵢ‖² (t − s)(u − t), with s and u the smallest and the largest slope, t the one most
    in the middle and cᵢ the rows of C: JᵀJ is quadratic in the slope of unit i, so ‖JᵀJ − I‖ is at least as large
    somewhere.
    """
    _check_matrices(A=A, B=B, C=C)
    n, m = B.shape
    if n == 0 or A.shape != (n, n) or C.shape != (m, n):
        raise ValueError(
            "A, B and C need the shapes (n, n), (n, m) and (m, n) with n ≥ 1; "
            f"got A {tuple(A.shape)}, B {tuple(B.shape)}, C {tuple(C.shape)}"
        )
    _check_slopes(slopes)
    if len(slopes) == 1:
        return _factorise_affine(A, B, C, slopes[0])
    centre, radius = _centre_and_radius(slopes)
    tolerance = _tolerance(n, A.dtype, slopes)
    idle = (B == 0).all(dim=0) | (C == 0).all(dim=1)
    if idle.any():
        raise ValueError(
            f"units {idle.nonzero().flatten().tolist()} contribute nothing, as their column of B or row of C is zero: "
            "leave out these columns of B and rows of C"
        )

    with full_precision(A.device):
        outer, outer_lengths = _normalise(B)
        inner, inner_lengths = _normalise(C.mT)
        rank = int(torch.linalg.matrix_rank(inner))
        if rank < m:
            raise Undecided(rank, m)
        lengths = outer_lengths * inner_lengths  # ‖bᵢ‖ ‖cᵢ‖, which is 1/|r| if the Jacobian is orthogonal
        if len(slopes) > 2 and m > 0:
            error = float(lengths.max()) ** 2 * _bend(slopes)
            raise NotOrthogonal("slopes", error, tolerance=0.0, units=tuple(range(m)))
        U = math.copysign(1, radius) * outer
        V = abs(radius) * lengths * inner
        M = A + centre / radius * U @ V.mT  # A + cBC
        R = complement(U).mT @ M @ complement(V)
        _require("pairs", gram_defect(U).abs(), tolerance)  # the columns have length 1
        _require("linear", torch.linalg.vector_norm(M.mT @ U, dim=0), tolerance)
        _require("frame", gram_defect(V).abs(), tolerance)
        _require("kernel", torch.linalg.vector_norm(M @ V, dim=0), tolerance)
        _require("remainder", orthogonality_error(R), tolerance)
    return Factors(U, V, R, scale=abs(radius) * outer_lengths)


def _factorise_affine(
    A: Float[Tensor, "n n"], B: Float[Tensor, "n m"], C: Float[Tensor, "m n"], slope: float
) -> Factors:
    """Return the factors of a layer whose units have one slope; NotOrthogonal unless A + s BC is orthogonal."""
    with full_precision(A.device):
        size = abs(slope) * float(torch.linalg.matrix_norm(B, 2) * torch.linalg.matrix_norm(C, 2)) if B.numel() else 0.0
        R = A + slope * B @ C
        _require("remainder", orthogonality_error(R), _rounding(len(A), A.dtype) * (1 + size))
    return Factors(A.new_empty(len(A), 0), A.new_empty(len(A), 0), R, scale=A.new_empty(0))


def is_orthogonal(
    module: Callable[[Tensor], Tensor], inputs: Float[Tensor, "batch ..."], *, tolerance: float | None = None
) -> Certificate:
    """Compute the Jacobian of a map at each of the inputs and say whether all of them are orthogonal.

    This is evidence, not proof: it says nothing of regions that no input lies in. It needs no knowledge of the map, and
    is right where the theorem does not decide.

    Parameters
    ----------
    module : Module or callable
        Takes a batch (N, ...) to a tensor (N, ...); for a network, ``net.trunk`` at ``net.embed(x)``.
        It sees one input at a time, as a batch of one, in the mode that it is in: with batch normalisation or dropout
        call its ``eval()`` first. Its parameters and their gradients stay as they are.
    inputs : Tensor, shape (batch, ...)
        Where to look, in float32 or float64. Random inputs lie in the interior of a region with probability 1.
    tolerance : float, optional
        The deviation of a singular value from 1 that counts as rounding. The default, 64 √n eps with n the larger of
        n_out and n_in, is about 30 times what a hundred orthogonal layers deviate; rounding adds up, so thousands may
        need more.

    Returns
    -------
    Certificate
        True or false as a condition, one sentence as a string.

    Raises
    ------
    ValueError
        If the inputs are no tensor of float32 or float64, empty or not finite, the module returns anything but one
        tensor that depends differentiably on its input, a Jacobian is not finite, or the tolerance is not positive.

    Notes
    -----
    Jacobians are counted by their inner products with one matrix of independent standard normal entries. Sorted, each
    gap beyond 8 n eps ‖J‖_F, with the largest ‖J‖_F, starts a new Jacobian. Two different ones share a place by
    accident with a probability of that order, so the count is a lower bound, and nearly always exact in float64.

    Examples
    --------
    >>> import torch
    >>> print(is_orthogonal(torch.abs, torch.tensor([[1.0, 2.0], [1.0, -2.0]])))
    orthogonal at all 2 inputs, in 2 regions: largest |σ − 1| = 0.0e+00 (tolerance 1.1e-05)
    """
    if _tensor("inputs", inputs).dtype not in _DTYPES or inputs.numel() == 0 or inputs.ndim == 0:
        raise ValueError(
            f"inputs must be a batch in float32 or float64, got shape {tuple(inputs.shape)} of {inputs.dtype}"
        )
    if not inputs.isfinite().all():
        raise ValueError("inputs must be finite, but hold nan or inf")
    if tolerance is not None:
        tolerance = finite_number("tolerance", tolerance, positive=True)
    deviations, places, norms = [], [], []
    for index, x in enumerate(inputs.split(1)):
        J = jacobian_by_autograd(module, x)
        if not J.isfinite().all():
            raise ValueError(f"the Jacobian at input {index} is not finite")
        deviations.append((torch.linalg.svdvals(J) - 1).abs().max())
        places.append((J * torch.randn(J.shape, generator=seeded(0), dtype=J.dtype, device="cpu")).sum())
        norms.append(torch.linalg.matrix_norm(J))
    size, eps = max(J.shape), torch.finfo(inputs.dtype).eps
    gaps = torch.stack(places).sort().values.diff()
    deviation, worst = torch.stack(deviations).max(dim=0)
    tolerance = 64 * math.sqrt(size) * eps if tolerance is None else tolerance
    return Certificate(
        orthogonal=deviation.item() <= tolerance,
        deviation=deviation.item(),
        worst=int(worst),
        regions=1 + int((gaps > 8 * size * eps * torch.stack(norms).max()).sum()),
        inputs=len(inputs),
        shape=(J.shape[0], J.shape[1]),
        tolerance=tolerance,
    )


def jacobian_by_autograd(module: Callable[[Tensor], Tensor], x: Float[Tensor, "1 ..."]) -> Float[Tensor, "n_out n_in"]:
    """Return the Jacobian at one input, in float64 on the CPU: its decomposition adds no rounding of its own."""

    def differentiable(leaf: Tensor) -> Tensor:
        # A module that works in place may have the clone: it is neither a leaf nor the caller's.
        y = module(leaf.clone())
        if not isinstance(y, Tensor):
            raise ValueError(f"the module must return one tensor, got {type(y).__name__}")
        if not y.requires_grad or torch.autograd.grad(y.sum(), leaf, retain_graph=True, allow_unused=True)[0] is None:
            raise ValueError(
                "the module's output does not depend differentiably on its input: it is constant, holds whole numbers, "
                "or was computed where no gradient is recorded"
            )
        return y

    with torch.inference_mode(False), torch.enable_grad(), full_precision(x.device):
        J = torch.autograd.functional.jacobian(differentiable, x.clone())
    return J.reshape(-1, x.numel()).cpu().double()


def _tensor(name: str, value: object) -> Tensor:
    """Return the value; ValueError unless it is a tensor."""
    if not isinstance(value, Tensor):
        raise ValueError(f"{name} must be a tensor, got {type(value).__name__}; torch.from_numpy makes one of an array")
    return value


def _check_matrices(**matrices: Tensor) -> None:
    """Raise a ValueError unless all are finite matrices of one dtype that decompositions know."""
    dtypes = {_tensor(name, matrix).dtype for name, matrix in matrices.items()}
    if any(matrix.ndim != 2 for matrix in matrices.values()) or len(dtypes) > 1 or not dtypes <= _DTYPES:
        found = ", ".join(f"{name} {tuple(matrix.shape)} of {matrix.dtype}" for name, matrix in matrices.items())
        raise ValueError(f"{', '.join(matrices)} must be matrices of one dtype, float32 or float64; got {found}")
    for name, matrix in matrices.items():
        if not matrix.isfinite().all():
            raise ValueError(f"{name} must be finite, but holds {matrix[~matrix.isfinite()][0].item()}")


def _check_slopes(slopes: Sequence[float]) -> None:
    """Raise a ValueError unless the slopes are distinct finite numbers, at least one."""
    numbers = isinstance(slopes, Sequence) and all(isinstance(s, Real) and math.isfinite(s) for s in slopes)
    if not numbers or len(set(slopes)) < max(1, len(slopes)):
        raise ValueError(f"slopes must be distinct finite numbers, at least one, got {slopes!r}")


def _centre_and_radius(slopes: Sequence[float]) -> tuple[float, float]:
    """Return c and r of the first two slopes."""
    first, second = slopes[:2]
    return (first + second) / 2, (first - second) / 2


def _bend(slopes: Sequence[float]) -> float:
    """Return the largest ½(t − s)(u − t) over the slopes t, with s the smallest and u the largest."""
    return max((t - min(slopes)) * (max(slopes) - t) for t in slopes) / 2


def _normalise(columns: Float[Tensor, "n m"]) -> tuple[Float[Tensor, "n m"], Float[Tensor, " m"]]:
    """Return the columns as unit vectors and their lengths; none may be zero."""
    largest = columns.abs().amax(dim=0)  # taken out first, as squares overflow and underflow
    rest = torch.linalg.vector_norm(columns / largest, dim=0)
    return columns / largest / rest, largest * rest


def _rounding(n: int, dtype: torch.dtype) -> float:
    """Return what rounding may add to a product of a few matrices of order n with singular values up to 1."""
    return 8 * n * torch.finfo(dtype).eps


def _tolerance(n: int, dtype: torch.dtype, slopes: Sequence[float]) -> float:
    """Return what rounding may add to the conditions; ValueError if that hides every error."""
    centre, radius = _centre_and_radius(slopes)
    tolerance = _rounding(n, dtype) * (1 + abs(centre / radius))
    if tolerance >= 1:
        raise ValueError(f"slopes {slopes} are too close for {dtype}: rounding would hide every error below 1")
    return tolerance


def _require(condition: str, errors: Float[Tensor, "*units"], tolerance: float) -> None:
    """Raise NotOrthogonal if the largest error, of no unit in particular, a unit or a pair, exceeds the tolerance."""
    if errors.numel() == 0 or bool((errors <= tolerance).all()):
        return
    worst = errors.argmax()  # a nan counts as the largest
    units = dict.fromkeys(int(unit) for unit in torch.unravel_index(worst, errors.shape))  # (i, i) is the unit i
    raise NotOrthogonal(condition, errors.flatten()[worst].item(), tolerance, tuple(units))
