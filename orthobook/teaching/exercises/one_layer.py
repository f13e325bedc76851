"""Self-checks of the chapter "One layer"."""

from __future__ import annotations

from collections.abc import Callable

import torch

from orthobook.framework import complement, compose
from orthobook.orthogonal import haar
from orthobook.teaching.exercises._self_checks import function, near, require, self_check, tensor, whole


@self_check("layer-exercise-sort")
def _sort(sort_pairs: object) -> None:
    x = torch.tensor([[1.0, 2.0], [2.0, 1.0], [-3.0, -3.0], [0.5, -4.0]])
    found = tensor("sort_pairs(x)", function("sort_pairs", sort_pairs)(x.clone()), 4, 2)
    right = x.double().sort(dim=1).values
    require(not near(found, right.flip(1)), "the larger entry comes first; what does -v in place of v give")
    missed = [i for i in range(4) if not near(found[i], right[i])]
    require(not missed, f"{x[missed[:1]].tolist()} becomes {found[missed[:1]].tolist()}")


@self_check("layer-exercise-count")
def _count(dimensions: object) -> None:
    dimensions = function("dimensions", dimensions)
    for n, m in ((4, 2), (2, 1), (3, 3), (7, 3)):
        found = whole(f"dimensions({n}, {m})", dimensions(n, m))
        frame, rest = n * m - m * (m + 1) // 2, (n - m) * (n - m - 1) // 2
        at = f"at n = {n}, m = {m} you count {found}"
        require(found != 2 * frame + rest, f"{at}: the lengths of the columns, Λ, are free as well")
        require(rest == 0 or found != 2 * frame + m, f"{at}: the isometry R of the other directions is free as well")
        require(rest == 0 or found != 2 * frame + m + (n - m) ** 2, f"{at}: not every matrix R is allowed")
        require(found != n * n + 2 * n * m, f"{at}, as many as A, B and C have entries: the theorem ties them")
        require(found == 2 * frame + m + rest, at)


@self_check("layer-exercise-recover")
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
