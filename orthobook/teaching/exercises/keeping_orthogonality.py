"""Self-checks of the chapter "Keeping orthogonality"."""

from __future__ import annotations

import torch
from torch import Tensor

from orthobook.orthogonal import haar, polar
from orthobook.teaching.exercises._self_checks import function, near, require, self_check, tensor


@self_check("keeping-exercise-tangent")
def _tangent(tangent_part: object) -> None:
    tangent_part = function("tangent_part", tangent_part)
    for shape in ((5, 3), (4, 4), (2, 6, 3)):
        given, step = _frame_and_step(*shape)
        at = f"for V and G of the shape {shape}"
        found = tensor(f"tangent_part(V, G) {at}", tangent_part(given.clone(), step.clone()), *shape)
        V, G = given.double(), step.double()
        A = V.mT @ G
        for fault, wrong in {
            "that is the normal part, VS; the tangent part is what it leaves of G": V @ (A + A.mT) / 2,
            "what turns V within the span of its own columns, V times a skew matrix, is tangent too": G - V @ A,
            "what leaves the span of V's columns is tangent too": V @ (A - A.mT) / 2,
            "the factor ½ of S is missing, so the normal part comes back with the other sign": G - V @ (A + A.mT),
            "that is tangent, but what it takes from G is VGᵀV, and GᵀV is not symmetric": G - V @ A.mT,
        }.items():
            require(near(wrong, G - V @ (A + A.mT) / 2) or not near(found, wrong), fault)
        skew = V.mT @ found
        gap = (skew + skew.mT).abs().max()
        require(near(gap, 0.0), f"{at} VᵀT + TᵀV has an entry of size {gap:.2g}: your T is not tangent")
        require(near(found, G - V @ (A + A.mT) / 2), f"{at} your T is tangent, but G − T is not normal, VS")


@self_check("keeping-exercise-qr")
def _qr(q_factor: object) -> None:
    q_factor = function("q_factor", q_factor)
    for n, m, length in ((6, 3, 0.2), (4, 4, 0.2), (5, 4, 2.0)):
        V, G = _frame_and_step(n, m)
        M = V + length * G
        at = f"for a matrix M of the shape ({n}, {m})"
        Q = tensor(f"q_factor(M) {at}", q_factor(M.clone()), n, m)
        M = M.double()
        polar_factor = polar(M)
        require(
            not near(Q, polar_factor), "that is the polar factor; the first step of another retraction is asked for"
        )
        require(near(Q.mT @ Q, torch.eye(m).double()), f"{at} your Q has columns that are not orthonormal")
        R = Q.mT @ M
        below = R.tril(-1).abs().max()
        require(near(below, 0.0), f"{at} QᵀM has an entry of size {below:.2g} below its diagonal: it is not R")
        signs = R.diagonal() > 0
        turned = "R has negative entries on its diagonal: your Q is far from V, with columns turned round"
        require(signs.all(), f"{at} {turned}")


def _frame_and_step(*shape: int) -> tuple[Tensor, Tensor]:
    """Return matrices with orthonormal columns, and any steps, of the default type."""
    generator = torch.Generator().manual_seed(0)
    V, G = haar(*shape, generator=generator), torch.randn(shape, generator=generator)
    return V.to(torch.get_default_dtype()), G
