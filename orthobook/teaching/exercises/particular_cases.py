"""Self-checks of the chapter "You have been using these"."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from orthobook.framework import FAILURES
from orthobook.orthogonal import haar
from orthobook.teaching.exercises._self_checks import function, near, require, self_check, tensor


@self_check("cases-exercise-repair")
def _repair(repair: object) -> None:
    repair = function("repair", repair)
    generator = torch.Generator().manual_seed(0)
    frame = haar(5, 2, dtype=torch.get_default_dtype(), generator=generator)
    W2 = frame * torch.tensor([0.5, 2.0])
    inside = frame.double() @ frame.double().mT
    for slopes in ((1.0, 0.0), (1.0, 0.3), (1.0, -1.0), (-0.4, 1.3)):
        found = repair(W2.clone(), slopes)
        require(isinstance(found, tuple | list) and len(found) == 2, "repair must return two things: A, W1")
        A = tensor("A", found[0], 5, 5)
        require(getattr(found[1], "shape", None) != W2.shape, "your W1 is 5 × 2; it has a row for each unit")
        W1 = tensor("W1", found[1], 2, 5)
        at = f"at the slopes {slopes[0]:g} and {slopes[1]:g}"
        failed = _failed(A, W2.double(), W1, slopes)
        identity = near(A, torch.eye(5, dtype=A.dtype)) and 0.0 not in slopes
        require(
            not (failed and identity),
            f"{at} you keep A = I: then Mᵀuᵢ = 0 asks for rows of W1 of one length, VᵀV = I for another",
        )
        require(not failed, f"{at} {FAILURES.get(failed, '')}, with B = W2 and C = W1")
        moved = (A - torch.eye(5, dtype=A.dtype)) @ (torch.eye(5, dtype=A.dtype) - inside)
        require(
            near(moved, torch.zeros_like(moved)),
            f"{at} the Jacobian is orthogonal, but A moves directions that are orthogonal to the columns of W2",
        )


def _failed(A: Tensor, B: Tensor, C: Tensor, slopes: tuple[float, float]) -> str:
    """Return the first of the theorem's conditions that fails, for a B with orthogonal columns; or nothing."""
    c, r = (slopes[0] + slopes[1]) / 2, (slopes[0] - slopes[1]) / 2
    M, scale = A + c * B @ C, abs(r) * B.norm(dim=0)
    U, V, eye = r * B / scale, C.mT * scale, torch.eye(len(A), dtype=A.dtype)
    conditions = {
        "linear": M.mT @ U,
        "frame": V.mT @ V - torch.eye(V.shape[1], dtype=A.dtype),
        "kernel": M @ V,
        "remainder": M.mT @ M + V @ V.mT - eye,
    }
    return next((name for name, gap in conditions.items() if not near(gap, torch.zeros_like(gap))), "")


@self_check("cases-exercise-rounds")
def _rounds(frames: object) -> None:
    frames = function("frames", frames)
    for k in range(2, 7):
        found = frames(k)
        require(isinstance(found, tuple | list), f"frames({k}) must be a list of matrices, one for each layer")
        orders = torch.tensor(list(itertools.permutations(range(k))), dtype=torch.float64)
        y = orders
        for place, frame in enumerate(found):
            V = _orthonormal(f"frames({k})[{place}]", frame, k)
            y = y - 2 * torch.relu(y @ V) @ V.mT
        rising = orders.sort(dim=1).values
        require(not near(y, rising), f"your layers put the smallest of {k} numbers first; which sign has a column")
        missed = ((y - rising.flip(1)).abs() > 1e-4).any(dim=1).nonzero().flatten().tolist()[:1]
        at = f"with k = {k} the numbers {orders[missed].int().tolist()} become {y[missed].round().int().tolist()}"
        require(not missed, at)
        require(
            len(found) <= k,
            f"your {len(found)} layers sort {k} numbers, but {k} layers are enough: one layer can compare many pairs",
        )


def _orthonormal(name: str, frame: object, k: int) -> Tensor:
    """Return a frame of k rows, or say what is wrong with it."""
    V = tensor(name, frame, k, None)
    gram = V.mT @ V
    require((gram.diagonal() - 1).abs().sum() < 1e-4, f"the columns of {name} do not all have the length 1")
    shared = "two of its pairs share a number, and a layer can compare disjoint pairs only"
    require((gram - gram.diagonal().diag()).abs().sum() < 1e-4, f"the columns of {name} are not orthogonal: {shared}")
    return V
