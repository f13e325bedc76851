"""Self-checks of the chapter "Partial isometries"."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from orthobook.orthogonal import haar
from orthobook.teaching.exercises._self_checks import comparison, function, near, require, self_check, tensor, whole


def _equations(
    W: Float[Tensor, "depth n n"], flat: Bool[Tensor, "depth n"], *, carried: bool = True, layers: int | None = None
) -> Float[Tensor, "n d"]:
    """Return the null space of the layers' equations, each taken back to the first layer or as it stands."""
    J = torch.eye(W.shape[-1], dtype=W.dtype)
    rows = [0 * J[:1]]
    for weight, off in list(zip(W, flat, strict=True))[:layers]:
        J = weight @ J if carried else weight
        rows.append(J[off])
        J = J * ~off[:, None]
    _, s, Vh = torch.linalg.svd(torch.cat(rows))
    return Vh[int((s > 1e-5).sum()) :].mT


def _of_product(choose: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """Return an answer that is chosen from U, Vᵀ and σ = 1 of the product of all layers."""

    def kept(W: Tensor, flat: Tensor) -> Tensor:
        J = torch.eye(W.shape[-1], dtype=W.dtype)
        for weight, off in zip(W, flat, strict=True):
            J = weight @ J * ~off[:, None]
        U, s, Vh = torch.linalg.svd(J)
        return choose(U, Vh, s > 1 - 1e-5)

    return kept


@self_check(
    "partial-exercise-kept",
    wrong={
        "your basis vectors are rows; columns are asked for": lambda W, flat: _equations(W, flat).mT,
        "is it what is lost, not kept": _of_product(lambda U, Vh, ones: Vh[~ones].mT),
        "the later layers cost some as well": partial(_equations, layers=1),
        "each flat unit costs one, while there are any": partial(_equations, layers=2),
        "the columns are not orthonormal": lambda W, flat: 2 * _equations(W, flat),
        "your vectors are what arrives at the end": _of_product(lambda U, Vh, ones: U[:, ones]),
        "layer 2 shortens a combination": partial(_equations, carried=False),
    },
)
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


@comparison(
    "partial-exercise-threshold",
    [(torch.tensor([q, 2 * q]), tau, depth) for q, tau, depth in ((1.5, 1.0, 1), (0.8, 1.5, 3), (1.5, 2.0, 100))],
    read=lambda found, q, tau, depth: tensor("predicted_flat(q, τ, depth)", found, 2),
    at=lambda found, q, tau, depth: f"for q = {q[0]:g}, τ = {tau:g} and {depth} layer{'s' * (depth > 1)}",
    otherwise=lambda found, *_: f" you predict {found[0]:.4g} flat units",
    within=1e-3,
    wrong={
        "that is the number of units in use": lambda *given: 64 * given[-1] - predicted_flat(*given),
        "that is a share of units, and a layer has 64": lambda *given: predicted_flat(*given) / 64,
        "q is a mean square, so that the threshold in units of its root is τ/√q": {"power": 1.0},
        "q moves from layer to layer, as flattening shortens the state": {"moves": False},
        "a flat unit does not put out 0 but -τ": {"output": False},
        "the units in use have lost one tail, so their mean square is not q": {"tail": False},
        "that is the last layer alone; all layers count": lambda q, tau, depth: (
            predicted_flat(q, tau, depth) - predicted_flat(q, tau, depth - 1)
        ),
    },
)
def predicted_flat(
    q: Float[Tensor, " batch"],
    tau: float,
    depth: int,
    *,
    power: float = 0.5,
    moves: bool = True,
    output: bool = True,
    tail: bool = True,
) -> Float[Tensor, " batch"]:
    """Return the predicted number of flat units; the options forget something."""
    total = torch.zeros_like(q)
    for _ in range(depth):
        a = tau / q**power
        p = torch.special.ndtr(-a)
        density = torch.exp(-a * a / 2) / math.sqrt(2 * math.pi) if tail else 0.0
        total = total + 64 * p
        if moves:
            q = q * (1 - p - a * density) + (tau**2 * p if output else 0.0)
    return total


@self_check(
    "partial-exercise-readers",
    wrong={
        "residual must hold three numbers": (2.0, [15, 14, 13]),
        "feedforward must hold three numbers": ([15, 15, 15], [15, 14]),
        "the two lists are swapped": ([15, 14, 13], [15, 15, 15]),
        "nothing is lost": ([16, 16, 16], [16, 16, 16]),
        "one reader of one coordinate costs one": ([0, 0, 0], [0, 0, 0]),
        "all readers read the same direction at the start": ([15, 14, 13], [15, 14, 13]),
        "a rotation stands between two readers": ([15, 15, 15], [15, 15, 15]),
        "residual is [15, 15, 14]": ([15, 15, 14], [15, 14, 13]),
        "feedforward is [15, 14, 12]": ([15, 15, 15], [15, 14, 12]),
    },
)
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
