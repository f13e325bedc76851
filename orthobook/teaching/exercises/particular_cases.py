"""Self-checks of the chapter "You have been using these"."""

from __future__ import annotations

import itertools
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from orthobook.framework import FAILURES
from orthobook.orthogonal import haar
from orthobook.teaching.exercises._self_checks import function, near, require, self_check, tensor


def _repaired(
    W2: Float[Tensor, "n m"], slopes: tuple[float, float], *, length: float = 1.0
) -> tuple[Float[Tensor, "n n"], Float[Tensor, "m n"]]:
    """Return A and W1 of an orthogonal layer, the rows of W1 longer if asked for."""
    c, r = (slopes[0] + slopes[1]) / 2, (slopes[0] - slopes[1]) / 2
    lengths = W2.norm(dim=0)
    U = W2 / lengths
    return torch.eye(len(W2)) - (1 - c / r) * U @ U.mT, -length * (U / (r * lengths)).mT


def _repaired_elsewhere(W2: Tensor, slopes: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Fold other directions than those of W₂: orthogonal, but not what is asked for."""
    c, r = (slopes[0] + slopes[1]) / 2, (slopes[0] - slopes[1]) / 2
    U = W2 / W2.norm(dim=0)
    turn = torch.linalg.qr(torch.cat([U, torch.eye(5)[:, :3]], dim=1)).Q
    swap = turn @ torch.eye(5)[[2, 3, 4, 0, 1]].mT @ turn.mT
    V = swap.mT @ -U
    return swap - U @ U.mT @ swap - c / r * U @ V.mT, V.mT / (r * W2.norm(dim=0))[:, None]


@self_check(
    "cases-exercise-repair",
    wrong={
        "repair must return two things": lambda W2, slopes: _repaired(W2, slopes)[1],
        "it has a row for each unit": lambda W2, slopes: (torch.eye(5), W2),
        "you keep A = I": lambda W2, slopes: (torch.eye(5), _repaired(W2, slopes)[1]),
        "(Mᵀuᵢ ≠ 0)": partial(_repaired, length=2.0),
        "at the slopes 1 and 0 M = A + cBC": lambda W2, slopes: (torch.zeros(5, 5), _repaired(W2, slopes)[1]),
        "A moves directions": _repaired_elsewhere,
    },
)
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


def _frame(k: int, *firsts: int, length: float = 0.5**0.5) -> Float[Tensor, "k m"]:
    """Return the directions that compare some numbers of k with those that follow them."""
    V = torch.zeros(k, len(firsts))
    for column, i in enumerate(firsts):
        V[i, column], V[i + 1, column] = -length, length
    return V


def _rounds(k: int, count: int, length: float = 0.5**0.5) -> list[Tensor]:
    """Return the frames of a number of layers, which compare odd and even places in turn."""
    return [_frame(k, *range(first % 2, k - 1, 2), length=length) for first in range(count)]


@self_check(
    "cases-exercise-rounds",
    wrong={
        "must be a list of matrices": lambda k: _frame(k, 0),
        "do not all have the length 1": lambda k: _rounds(k, k, length=1.0),
        "two of its pairs share a number": lambda k: [_frame(k, *range(k - 1))] * k,
        "your layers put the smallest of 2 numbers first": lambda k: _rounds(k, k, length=-(0.5**0.5)),
        "with k = 3 the numbers [[0, 1, 2]] become": lambda k: _rounds(k, k - (k > 2)),
        "your 6 layers sort 4 numbers, but 4 layers are enough": lambda k: [
            _frame(k, i) for last in range(k - 1, 0, -1) for i in range(last)
        ],
    },
)
def _sorting(frames: object) -> None:
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
