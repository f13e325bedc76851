"""Answers to the exercises of "Partial isometries"."""

import math

import torch

from exercise_answers import right, wrong

KEPT = "partial-exercise-kept"
THRESHOLD = "partial-exercise-threshold"
READERS = "partial-exercise-readers"


def equations(*, carried=True, layers=None):
    """Return the null space of the equations, each taken back to the first layer or as it stands."""

    def kept(W, flat):
        J = torch.eye(W.shape[-1], dtype=W.dtype)
        rows = [torch.zeros_like(J[:1])]
        for weight, off in list(zip(W, flat, strict=True))[:layers]:
            J = weight @ J if carried else weight
            rows.append(J[off])
            J = J * ~off[:, None]
        _, s, Vh = torch.linalg.svd(torch.cat(rows))
        return Vh[int((s > 1e-5).sum()) :].mT

    return kept


def of_product(choose):
    """Return what is chosen from the factors of the product of all layers."""

    def kept(W, flat):
        J = torch.eye(W.shape[-1], dtype=W.dtype)
        for weight, off in zip(W, flat, strict=True):
            J = weight @ J * ~off[:, None]
        U, s, Vh = torch.linalg.svd(J)
        return choose(U, Vh, s > 1 - 1e-5)

    return kept


right(KEPT, equations())
right(KEPT, of_product(lambda U, Vh, ones: Vh[ones].mT))
wrong(KEPT, "what arrives at the end", of_product(lambda U, Vh, ones: U[:, ones]))
wrong(KEPT, "your basis vectors are rows", of_product(lambda U, Vh, ones: Vh[ones]))
wrong(KEPT, "what is lost, not kept", of_product(lambda U, Vh, ones: Vh[~ones].mT))
wrong(KEPT, "layer 2 shortens", equations(carried=False))
wrong(KEPT, "later layers", equations(layers=1))
wrong(KEPT, "each flat unit costs one", equations(layers=2))
wrong(KEPT, "not orthonormal", lambda W, flat: 2 * equations()(W, flat))


def predicted(*, power=0.5, units=64, tail=True, output=True, moves=True):
    def predicted_flat(q, tau, depth):
        f = torch.zeros_like(q)
        for _ in range(depth):
            a = tau / q**power
            p = torch.special.ndtr(-a)
            density = torch.exp(-(a**2) / 2) / math.sqrt(2 * math.pi) if tail else 0.0
            f = f + units * p
            if moves:
                q = q * (1 - p - a * density) + (tau**2 * p if output else 0.0)
        return f

    return predicted_flat


def by_sums(q, tau, depth):
    """Predict the same with sums over a grid in place of integrals."""
    t = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    weights = torch.exp(-(t**2) / 2)
    weights, q, f = weights / weights.sum(), q.double(), 0.0
    for _ in range(depth):
        f = f + 64 * torch.special.ndtr(-tau / q.sqrt())
        q = ((q[:, None].sqrt() * t).clamp(min=-tau) ** 2 * weights).sum(dim=1)
    return f


right(THRESHOLD, predicted())
right(THRESHOLD, by_sums)
wrong(THRESHOLD, "a share of units", predicted(units=1))
wrong(THRESHOLD, "τ/√q", predicted(power=1))
wrong(THRESHOLD, "q moves", predicted(moves=False))
wrong(THRESHOLD, "does not put out 0", predicted(output=False))
wrong(THRESHOLD, "lost one tail", predicted(tail=False))
wrong(THRESHOLD, "in use", lambda q, tau, depth: 64 * depth * torch.special.ndtr(tau / q.sqrt()))
wrong(
    THRESHOLD, "the last layer alone", lambda q, tau, depth: predicted()(q, tau, depth) - predicted()(q, tau, depth - 1)
)
wrong(THRESHOLD, "you predict", lambda q, tau, depth: 2 * predicted()(q, tau, depth))

right(READERS, [15, 15, 15], [15, 14, 13])
right(READERS, (15, 15.0, 15), torch.tensor([15, 14, 13]))
wrong(READERS, "same direction at the start", (15, 14, 13), (15, 14, 13))
wrong(READERS, "swapped", [15, 14, 13], [15, 15, 15])
wrong(READERS, "same direction at the start", [15, 14, 13], [15, 14, 13])
wrong(READERS, "a rotation stands between", [15, 15, 15], [15, 15, 15])
wrong(READERS, "nothing is lost", [16, 16, 16], [16, 16, 16])
wrong(READERS, "three numbers", [15, 15], [15, 14])
wrong(READERS, "one reader of one coordinate", [0, 0, 0], [0, 0, 0])
wrong(READERS, "feedforward is [15, 14, 12]", [15, 15, 15], [15, 14, 12])
