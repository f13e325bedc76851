"""Self-checks of the chapter "Initialisation is enough?"."""

from __future__ import annotations

import math
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from orthobook.orthogonal import haar
from orthobook.teaching.exercises._self_checks import function, near, number, require, self_check, tensor


def _quotient(k: int, ratio: float = 0.9 / 0.999, *, corrected: bool = True) -> float:
    """Return Adam's quotient after k gradients, of which the last is 1 and each is ``ratio`` times the next."""
    shares = [ratio**i for i in range(k)]
    mean = 0.1 * math.fsum(0.9**i * share for i, share in enumerate(shares))
    square = 0.001 * math.fsum(0.999**i * share**2 for i, share in enumerate(shares))
    return mean / math.sqrt(square) * (math.sqrt(1 - 0.999**k) / (1 - 0.9**k) if corrected else 1.0)


@self_check(
    "init-exercise-adam",
    wrong={
        "the bias corrections are left out": partial(_quotient, corrected=False),
        "the sum at k = 1 has a single term": lambda k: 7.27,
        "at k = 1 the quotient is g/|g|, and you give 2": lambda k: 2 * _quotient(k),
        "which equal gradients give": lambda k: 1.0,
        "which one gradient after many zeros gives": lambda k: _quotient(k, 0.0),
        "no gradients make a step as long": lambda k: min(7.27, k**0.5),
        "there are gradients that give more": lambda k: _quotient(k, 0.95),
    },
)
def _adam(longest: object) -> None:
    longest = function("longest", longest)
    found = number("longest(1)", longest(1))
    at = f"at k = 1 the quotient is g/|g|, and you give {found:.4g}"
    require(not near(found, 0.1 / 0.001**0.5), f"{at}: the bias corrections are left out")
    require(found < 7, f"{at}: that is the bound for all k, the sum at k = 1 has a single term")
    require(near(found, 1.0, 1e-3), at)
    for k in (2, 10, 100, 5000):
        found = number(f"longest({k})", longest(k))
        at = f"at k = {k} you give {found:.4g}"
        right = _quotient(k)
        require(not near(found, 1.0), f"{at}, which equal gradients give; later steps can be longer")
        require(not near(found, _quotient(k, 0.0), 1e-3), f"{at}, which one gradient after many zeros gives")
        require(found < right * 1.001, f"{at}: no gradients make a step as long")
        require(near(found, right, 1e-3), f"{at}, and there are gradients that give more")


def _stretched(
    Q: Float[Tensor, "L n n"], delta: float, *, follow: bool = True, root: float = 0.5, shrink: bool = True
) -> Float[Tensor, "L n n"]:
    """Return layers near to Q that all stretch one direction and shrink another, or forget something."""
    D = torch.eye(Q.shape[-1], dtype=Q.dtype)
    D[0, 0] = (1 + delta) ** root
    D[-1, -1] = (1 - delta) ** root if shrink else 1.0
    layers, before = [], torch.eye(Q.shape[-1], dtype=Q.dtype)
    for q in Q:
        layers.append(q @ before @ D @ before.mT)
        before = q @ before if follow else before
    return torch.stack(layers)


@self_check(
    "init-exercise-aligned",
    wrong={
        "your layers are orthogonal": lambda Q, delta: Q,
        "whose eigenvalues are the squares of the singular values": partial(_stretched, root=1.0),
        "and δ = 0.2 is asked for": lambda Q, delta: _stretched(Q, 2 * delta),
        "the first matrix acts first": lambda Q, delta: _stretched(Q.flip(0), delta).flip(0),
        "layers stretch unrelated directions": partial(_stretched, follow=False),
        "one of two is attained": partial(_stretched, shrink=False),
        "Q_l is not the orthogonal matrix nearest": lambda Q, delta: _stretched(
            torch.eye(Q.shape[-1], dtype=Q.dtype).expand_as(Q), delta
        ),
    },
)
def _aligned(aligned: object) -> None:
    aligned = function("aligned", aligned)
    generator = torch.Generator().manual_seed(0)
    L, n, delta = 6, 5, 0.2
    Q = haar(L, n, n, dtype=torch.get_default_dtype(), generator=generator)
    W = tensor("aligned(Q, 0.2)", aligned(Q.clone(), delta), L, n, n)
    Q = Q.double()
    identity = torch.eye(n, dtype=torch.float64)
    errors = torch.linalg.matrix_norm(W.mT @ W - identity, 2)
    require(not near(errors, 0.0), "your layers are orthogonal: δ is 0")
    squared = near(errors.max(), (1 + delta) ** 2 - 1)
    require(not squared, "δ is the error of WᵀW, whose eigenvalues are the squares of the singular values")
    worst = int((errors - delta).abs().argmax())
    require(
        near(errors, delta), f"layer {worst + 1} has ‖WᵀW − I‖ = {errors[worst]:.4g}, and δ = {delta:g} is asked for"
    )
    high, low = _ends(W)
    bounds = f"σ₁ = {(1 + delta) ** (L / 2):.4g} and σₙ = {(1 - delta) ** (L / 2):.4g} are asked for"
    stretched = near(high, (1 + delta) ** (L / 2))
    shrunk = near(low, (1 - delta) ** (L / 2))
    backwards = near(torch.stack(_ends(W.flip(0))), torch.tensor([(1 + delta) ** (L / 2), (1 - delta) ** (L / 2)]))
    right_order = not backwards or (stretched and shrunk)
    require(right_order, "the product W_1 ⋯ W_L attains the bounds; the first matrix acts first: W_L ⋯ W_1")
    require(stretched or shrunk, f"σ₁ = {high:.4g}, σₙ = {low:.4g}; {bounds}: layers stretch unrelated directions")
    require(stretched and shrunk, f"σ₁ = {high:.4g}, σₙ = {low:.4g}; {bounds}: one of two is attained")
    nearest = Q.mT @ W
    symmetric = near(nearest - nearest.mT, 0.0, 1e-3) and bool((torch.linalg.eigvalsh(nearest) > 0).all())
    require(symmetric, "the bounds are attained, but Q_l is not the orthogonal matrix nearest to your W_l")


def _ends(layers: Tensor) -> tuple[Tensor, Tensor]:
    """Return the extreme singular values of the product in which the first matrix acts first."""
    product = torch.eye(layers.shape[-1], dtype=layers.dtype)
    for layer in layers:
        product = layer @ product
    values = torch.linalg.svdvals(product)
    return values[0], values[-1]
