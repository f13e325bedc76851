"""Self-checks of the chapter "Partial isometries"."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from orthobook.orthogonal import haar
from orthobook.teaching.exercises._self_checks import function, near, require, self_check, tensor, whole


@self_check("partial-exercise-kept")
def _kept(kept: object) -> None:
    kept = function("kept", kept)
    generator = torch.Generator().manual_seed(0)
    for counts in ((2, 1, 0), (1, 1, 1), (4, 4, 3), (0, 0, 0)):
        W = haar(3, 8, 8, dtype=torch.get_default_dtype(), generator=generator)
        flat = torch.stack([torch.arange(8) < count for count in counts])
        left = max(8 - sum(counts), 0)
        at = f"with {', '.join(map(str, counts))} of 8 units flat in three layers"
        given = kept(W.clone(), flat.clone())
        shape = tuple(getattr(given, "shape", ()))
        require(shape != (left, 8) or left == 8, f"{at}: your basis vectors are rows; columns are asked for")
        basis = tensor("kept(W, flat)", given, 8, None)
        found = basis.shape[1]
        require(found != 8 - left or found == left, f"{at} you return {found} columns: is it what is lost, not kept")
        first = found == 8 - counts[0] != left
        require(not first, f"{at} you find {found} directions: the later layers cost some as well")
        require(found == left, f"{at} you find {found} directions; each flat unit costs one, while there are any")
        if left:
            require(near(basis.mT @ basis, torch.eye(left, dtype=basis.dtype), 1e-3), "the columns are not orthonormal")
            _survives(basis, W.double(), flat)


def _survives(basis: Float[Tensor, "n d"], W: Float[Tensor, "depth n n"], flat: Bool[Tensor, "depth n"]) -> None:
    """Demand that every layer keeps the length of all combinations of the columns."""
    J = torch.eye(len(basis), dtype=W.dtype)
    for weight, off in zip(W, flat, strict=True):
        J = weight @ J * ~off[:, None]
    at_end = near(J @ J.mT @ basis, basis, 1e-3) and not near(J.mT @ J @ basis, basis, 1e-3)
    require(not at_end, "your vectors are what arrives at the end; those at the start are asked for")
    state = basis
    for layer, (weight, off) in enumerate(zip(W, flat, strict=True), start=1):
        shortened = not near(weight[off] @ state, torch.zeros(()), 1e-3)
        what = "its flat units look at what the layers before have made of the vectors"
        require(not shortened, f"layer {layer} shortens a combination of your vectors: {what}")
        state = weight @ state * ~off[:, None]


@self_check("partial-exercise-threshold")
def _threshold(predicted_flat: object) -> None:
    predicted_flat = function("predicted_flat", predicted_flat)
    for q, tau, depth in ((1.5, 1.0, 1), (0.8, 1.5, 3), (1.5, 2.0, 100)):
        squares = torch.tensor([q, 2 * q])
        found = tensor("predicted_flat(q, τ, depth)", predicted_flat(squares, tau, depth), 2)
        right = torch.tensor([_flat(value, tau, depth) for value in (q, 2 * q)])
        at = f"for q = {q:g}, τ = {tau:g} and {depth} layer{'s' * (depth > 1)}"
        for fault, change in {
            "that is the number of units in use": "used",
            "that is a share of units, and a layer has 64": "share",
            "q is a mean square, so that the threshold in units of its root is τ/√q": "square",
            "q moves from layer to layer, as flattening shortens the state": "still",
            "a flat unit does not put out 0 but -τ": "zero",
            "the units in use have lost one tail, so their mean square is not q": "tail",
            "that is the last layer alone; all layers count": "last",
        }.items():
            wrong = torch.tensor([_flat(value, tau, depth, change) for value in (q, 2 * q)])
            require(near(wrong, right, 2e-3) or not near(found, wrong, 1e-3), f"{at}: {fault}")
        require(near(found, right, 1e-3), f"{at} you predict {found[0]:.4g} flat units")


def _flat(q: float, tau: float, depth: int, change: str = "") -> float:
    """Return the predicted number of flat units, or what it becomes by one of the usual mistakes."""
    total = share = 0.0
    for _ in range(depth):
        a = tau / (q if change == "square" else math.sqrt(q))
        p = math.erfc(a / math.sqrt(2)) / 2
        density = 0.0 if change == "tail" else math.exp(-a * a / 2) / math.sqrt(2 * math.pi)
        share = 1 - p if change == "used" else p
        total += share
        if change != "still":
            q = q * (1 - p - a * density) + (0.0 if change == "zero" else tau**2 * p)
    return (1 if change == "share" else 64) * (share if change == "last" else total)


@self_check("partial-exercise-readers")
def _readers(residual: object, feedforward: object) -> None:
    found = {}
    for name, given in (("residual", residual), ("feedforward", feedforward)):
        require(isinstance(given, list | tuple | Tensor), f"{name} must hold three numbers, for r = 1, 2, 3")
        values = list(given)  # type: ignore[call-overload]
        require(len(values) == 3, f"{name} must hold three numbers, for r = 1, 2, 3")
        found[name] = [whole(f"{name}[{i}]", value) for i, value in enumerate(values)]
    one, other = found.values()
    swapped = one == [15, 14, 13] and other == [15, 15, 15]
    require(not swapped, "the two lists are swapped: which form has a rotation of e between two layers")
    for name, values in found.items():
        require(values != [16] * 3, f"{name}: nothing is lost; did the readers change C or P, in the column of e")
        require(values[0] == 15, f"{name}: one reader of one coordinate costs one direction of 16")
    require(one != [15, 14, 13], "residual: R is the identity, so all readers read the same direction at the start")
    same = "feedforward: a rotation stands between two readers, so that they read different directions"
    require(other != [15, 15, 15], same)
    require(one == [15, 15, 15], f"residual is {one}; let the first r layers read the same coordinate")
    require(other == [15, 14, 13], f"feedforward is {other}; let r layers read one coordinate each")
