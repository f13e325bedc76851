"""Spaces whose length survives: partial isometries, their products, and subspaces that persist through depth.

    partial isometry       M MᵀM = M: every singular value is 0 or 1
    initial, final space   range Mᵀ, which M maps isometrically onto range M; the projections are MᵀM and MMᵀ
    Halmos and Wallen      for partial isometries S and T: ST is one  ⟺  SᵀS and TTᵀ commute
    persistent subspace    an E₀ whose images E_l = J_l E_{l−1} keep every length, at almost every input

Two layers DW in a row whose slopes in D are 0 and 1 compare a random space with one along the axes, and their
projections do not commute.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from orthobook._checks import finite_number
from orthobook.derivatives import jacobians
from orthobook.networks import DeepNetwork, Trunk
from orthobook.orthogonal import gram_defect

__all__ = ["commutator_norm", "partial_isometry_error", "persistent_dimension", "persistent_subspace"]


_TOLERANCE = 1e-3  # of what is taken for a partial isometry


# --- matrices ---


def partial_isometry_error(matrices: Float[Tensor, "*stack p n"]) -> Float[Tensor, "*stack"]:
    """Return ‖MMᵀM − M‖₂ = max σ|σ² − 1| of every matrix: 0 exactly for partial isometries.

    ValueError if they are no matrices of finite floating-point numbers.
    """
    _check_matrices("matrices", matrices)
    values = torch.linalg.svdvals(matrices)
    return (values * (values.square() - 1).abs()).amax(-1)


def commutator_norm(second: Float[Tensor, "*stack p n"], first: Float[Tensor, "*stack n q"]) -> Float[Tensor, "*stack"]:
    """Return ‖SᵀS TTᵀ − TTᵀ SᵀS‖₂ of the partial isometries S = ``second`` and T = ``first``.

    The product ST is a partial isometry exactly if this is 0 (Halmos and Wallen 1970). It is ½ max sin 2θ over the
    angles θ between the spaces that S keeps and T reaches, whose cosines are the singular values of ST: at most ½.

    Raises
    ------
    ValueError
        If the two are no matrices of finite numbers, do not fit, or are no partial isometries, within 10⁻³.
    """
    for name, matrices in (("second", second), ("first", first)):
        error = partial_isometry_error(_check_matrices(name, matrices))
        if (error > _TOLERANCE).any():
            raise ValueError(
                f"{name} must hold partial isometries, ‖MMᵀM − M‖₂ ≤ {_TOLERANCE:g}, got {error.max():.2g}"
            )
    if second.shape[:-2] != first.shape[:-2] or second.shape[-1] != first.shape[-2] or second.dtype != first.dtype:
        got = " and ".join(f"{tuple(M.shape)} of {M.dtype}" for M in (second, first))
        raise ValueError(f"second and first must be (…, p, n) and (…, n, q) of one dtype, got {got}")
    initial, final = second.mT @ second, first @ first.mT
    return torch.linalg.matrix_norm(initial @ final - final @ initial, ord=2)


def _check_matrices(name: str, matrices: object) -> Tensor:
    """Return the matrices; ValueError unless they are finite floating-point numbers and not empty."""
    if (
        not isinstance(matrices, Tensor)
        or not matrices.is_floating_point()
        or matrices.ndim < 2
        or 0 in matrices.shape[-2:]
    ):
        what = f"{tuple(matrices.shape)} of {matrices.dtype}" if isinstance(matrices, Tensor) else repr(matrices)
        raise ValueError(f"{name} must hold matrices of floating-point numbers, got {what}")
    if not matrices.isfinite().all():
        raise ValueError(f"{name} must hold finite numbers, got nan or inf")
    return matrices


# --- persistent subspaces ---


def persistent_subspace(
    net: DeepNetwork | Trunk,
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
    net : DeepNetwork or Trunk
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
    frame = _frame(within, net.embed(x).shape[1:].numel())
    basis = torch.eye(frame.shape[1], device="cpu")
    for J in jacobians(net, x, dtype=dtype):
        frame, basis = frame.to(J), basis.to(J)  # precision and place: once
        basis = basis @ _kept(J @ frame, basis, tolerance)
        if basis.shape[1] == 0:
            break
    return frame @ basis


def _frame(within: Float[Tensor, "n d"] | None, width: int) -> Float[Tensor, "n d"]:
    if within is None:
        return torch.eye(width, dtype=torch.float64, device="cpu")
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
    net: DeepNetwork | Trunk,
    x: Float[Tensor, "batch inputs"],
    *,
    within: Float[Tensor, "n d"] | None = None,
    tolerance: float = 1e-3,
    dtype: torch.dtype | None = torch.float64,
) -> int:
    """Return the dimension of :func:`persistent_subspace`, which describes the arguments and errors."""
    return persistent_subspace(net, x, within=within, tolerance=tolerance, dtype=dtype).shape[1]
