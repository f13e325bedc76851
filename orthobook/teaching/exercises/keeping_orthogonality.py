"""Self-checks of the chapter "Keeping orthogonality"."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from orthobook.orthogonal import haar, polar
from orthobook.teaching.exercises._self_checks import comparison, function, near, require, self_check, tensor


def _frame_and_step(*shape: int) -> tuple[Tensor, Tensor]:
    """Return matrices with orthonormal columns, and any steps, of the default type."""
    generator = torch.Generator().manual_seed(0)
    V, G = haar(*shape, generator=generator), torch.randn(shape, generator=generator)
    return V.to(torch.get_default_dtype()), G


def _steps() -> Iterator[tuple[Tensor, Tensor]]:
    """Return frames and steps of three shapes."""
    for shape in ((5, 3), (4, 4), (2, 6, 3)):
        yield _frame_and_step(*shape)


def _not_the_part(T: Tensor, right: Tensor, V: Tensor, G: Tensor) -> str:
    """Say whether a matrix is tangent."""
    at = f"for V and G of the shape {tuple(V.shape)}"
    skew = V.double().mT @ T
    gap = (skew + skew.mT).abs().max()
    require(near(gap, 0.0), f"{at} VᵀT + TᵀV has an entry of size {gap:.2g}: your T is not tangent")
    return f"{at} your T is tangent, but G − T is not normal, VS"


@comparison(
    "keeping-exercise-tangent",
    _steps,
    read=lambda T, V, G: tensor(f"tangent_part(V, G) for V and G of the shape {tuple(V.shape)}", T, *V.shape),
    otherwise=_not_the_part,
    wrong={
        "that is the normal part, VS; the tangent part is what it leaves of G": lambda V, G: G - tangent_part(V, G),
        "what turns V within the span of its own columns, V times a skew matrix, is tangent too": lambda V, G: (
            G - V @ (V.mT @ G)
        ),
        "what leaves the span of V's columns is tangent too": lambda V, G: V @ (V.mT @ G - G.mT @ V) / 2,
        "the factor ½ of S is missing, so the normal part comes back with the other sign": lambda V, G: (
            G - V @ (V.mT @ G + G.mT @ V)
        ),
        "that is tangent, but what it takes from G is VGᵀV, and GᵀV is not symmetric": lambda V, G: G - V @ (G.mT @ V),
    },
    further={
        "your T is not tangent": lambda V, G: polar(V + G) - V,
        "G − T is not normal": lambda V, G: 2 * tangent_part(V, G),
    },
)
def tangent_part(V: Float[Tensor, "*batch n m"], G: Float[Tensor, "*batch n m"]) -> Float[Tensor, "*batch n m"]:
    """Return the part of G that is tangent to the matrices with orthonormal columns at V."""
    return G - V @ (V.mT @ G + G.mT @ V) / 2


@self_check(
    "keeping-exercise-qr",
    wrong={
        "that is the polar factor": polar,
        "columns that are not orthonormal": lambda M: M / M.norm(dim=0),
        "below its diagonal": lambda M: torch.linalg.qr(M.flip(1)).Q.flip(1),
        "with columns turned round": lambda M: torch.linalg.qr(M).Q,
    },
)
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
