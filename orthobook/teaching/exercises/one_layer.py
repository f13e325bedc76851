"""Self-checks of the chapter "One layer"."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from orthobook.framework import complement, compose
from orthobook.orthogonal import haar
from orthobook.teaching.exercises._self_checks import comparison, function, near, require, self_check, tensor, whole


def _missed(found: Tensor, right: Tensor, x: Tensor) -> str:
    """Say which row is not sorted."""
    row = next(row for row in range(4) if not near(found[row], right[row]))
    return f"{x[row].tolist()} becomes {found[row].tolist()}"


@comparison(
    "layer-exercise-sort",
    [(torch.tensor([[1.0, 2.0], [2.0, 1.0], [-3.0, -3.0], [0.5, -4.0]]),)],
    read=lambda found, x: tensor("sort_pairs(x)", found, 4, 2),
    otherwise=_missed,
    wrong={"the larger entry comes first; what does -v in place of v give": lambda x: sort_pairs(x).flip(1)},
    further={
        "[2.0, 1.0] becomes [1.5, 1.5]": lambda x: (sort_pairs(x) + x) / 2,
        "[2.0, 1.0] becomes [2.0, 1.0]": lambda x: x,
    },
)
def sort_pairs(x: Float[Tensor, "batch 2"]) -> Float[Tensor, "batch 2"]:
    """Return the pairs with the smaller entry first."""
    return x.sort(dim=1).values


@comparison(
    "layer-exercise-count",
    [(4, 2), (2, 1), (3, 3), (7, 3)],
    read=lambda found, n, m: whole(f"dimensions({n}, {m})", found),
    at=lambda found, n, m: f"at n = {n}, m = {m} you count {found}",
    wrong={
        "the lengths of the columns, Λ, are free as well": lambda n, m: dimensions(n, m) - m,
        "the isometry R of the other directions is free as well": lambda n, m: 2 * _frames(n, m) + m,
        "not every matrix R is allowed": lambda n, m: 2 * _frames(n, m) + m + (n - m) ** 2,
        ", as many as A, B and C have entries: the theorem ties them": lambda n, m: n * n + 2 * n * m,
    },
)
def dimensions(n: int, m: int) -> int:
    """Return the number of dimensions of the layers of width n with m hidden units."""
    return 2 * _frames(n, m) + m + (n - m) * (n - m - 1) // 2


def _frames(n: int, m: int) -> int:
    """Return the number of dimensions of the n × m matrices with orthonormal columns."""
    return n * m - m * (m + 1) // 2


def _factors(
    A: Float[Tensor, "n n"],
    B: Float[Tensor, "n m"],
    C: Float[Tensor, "m n"],
    slopes: tuple[float, float],
    *,
    conditions: tuple[str, ...] = ("columns", "kernel", "isometry"),
) -> tuple[Tensor, ...]:
    """Return U, V, R and the scale of a layer, and refuse it if one of some conditions fails."""
    c, r = (slopes[0] + slopes[1]) / 2, (slopes[0] - slopes[1]) / 2
    M, scale = A + c * B @ C, (r * B).norm(dim=0)
    U, V = r * B / scale, C.T * scale
    R = complement(U).T @ M @ complement(V)
    gaps = {"columns": U.T @ U - torch.eye(len(C)), "kernel": M @ V, "isometry": R.T @ R - torch.eye(len(R))}
    if any(gaps[name].abs().max() > 1e-4 for name in conditions):
        raise ValueError("violated")
    return U, V, R, scale


@self_check(
    "layer-exercise-recover",
    wrong={
        "factors must return four things": lambda *layer: _factors(*layer)[:3],
        "your V has orthonormal rows; the theorem needs columns": lambda *layer: (
            *(factor.T if i == 1 else factor for i, factor in enumerate(_factors(*layer))),
        ),
        "your scale is not the scale from which": lambda *layer: (*_factors(*layer)[:3], 2 * _factors(*layer)[3]),
        "columns of B are not orthogonal": partial(_factors, conditions=("kernel", "isometry")),
        "a layer with MV ≠ 0": partial(_factors, conditions=("columns", "isometry")),
        "R is twice an orthogonal matrix": partial(_factors, conditions=("columns", "kernel")),
        "rows of C are too long": lambda A, B, C, slopes: _factors(
            A, B, functional.normalize(C) / ((slopes[0] - slopes[1]) / 2 * B).norm(dim=0)[:, None], slopes
        ),
    },
)
def _recover(factors: object) -> None:
    factors = function("factors", factors)
    generator = torch.Generator().manual_seed(0)
    slopes, scale = (1.3, -0.4), torch.tensor([0.5, 2.0])
    U, V, R = (haar(n, m, dtype=scale.dtype, generator=generator) for n, m in ((5, 2), (5, 2), (3, 3)))
    A, B, C = compose(U, V, R, slopes, scale)
    found = factors(A, B, C, slopes)
    require(isinstance(found, tuple | list) and len(found) == 4, "factors must return four things: U, V, R, scale")
    for name, value, given in zip(("U", "V", "R", "scale"), found, (U, V, R, scale), strict=True):
        shape = getattr(value, "shape", None)
        transposed = name in "UV" and shape == given.mT.shape
        require(not transposed, f"your {name} has orthonormal rows; the theorem needs columns")
        value = tensor(name, value, *given.shape)
        require(near(value, given), f"your {name} is not the {name} from which the layer was built")
    c, r = (slopes[0] + slopes[1]) / 2, (slopes[0] - slopes[1]) / 2
    tilted = torch.stack([U[:, 0], 0.8 * U[:, 1] + 0.6 * U[:, 0]], dim=1) * scale / r
    leaking = A + complement(U)[:, :1] @ V[:, :1].mT
    turned = complement(U) @ (2 * R) @ complement(V).mT - c / r * U @ V.mT
    for what, layer in {
        "a layer whose columns of B are not orthogonal to each other": (A + c * (B - tilted) @ C, tilted, C),
        "a layer with MV ≠ 0": (leaking, B, C),
        "a layer whose R is twice an orthogonal matrix": (turned, B, C),
        "a layer whose rows of C are too long": (A, B, 2 * C),
    }.items():
        require(_refuses(factors, *layer, slopes), f"you accept {what}")


def _refuses(factors: Callable[..., object], *layer: object) -> bool:
    """Say whether a ValueError is raised."""
    try:
        factors(*layer)
    except ValueError:
        return True
    return False
