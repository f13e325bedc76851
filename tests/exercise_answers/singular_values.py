"""Answers to the exercises of "Singular values of deep networks"."""

import torch

from exercise_answers import right, wrong

PUSH, EXTREME, MOMENTS = "singular-exercise-push", "singular-exercise-extreme", "singular-exercise-moments"


def tanh_jacobian(
    weights, biases, x, *, slope=lambda z, x: 1 - x**2, rows=True, left=True, biased=True, layers=slice(None)
):
    J = torch.eye(len(x), dtype=x.dtype)
    for W, b in list(zip(weights, biases, strict=True))[layers]:
        z = W @ x + (b if biased else 0)
        x = torch.tanh(z)
        D = slope(z, x)
        factor = D[:, None] * W if rows else D * W
        J = factor @ J if left else J @ factor
    return J


def pushing(**options):
    return lambda weights, biases, x: tanh_jacobian(weights, biases, x, **options)


def by_differentiation(weights, biases, x):
    def run(x):
        for W, b in zip(weights, biases, strict=True):
            x = torch.tanh(W @ x + b)
        return x

    return torch.autograd.functional.jacobian(run, x)


right(PUSH, tanh_jacobian)
right(PUSH, by_differentiation)
right(PUSH, pushing(slope=lambda z, x: z.cosh() ** -2))
wrong(PUSH, "from the right", pushing(left=False))
wrong(PUSH, "on the wrong side", pushing(rows=False))
wrong(PUSH, "1 − z²", pushing(slope=lambda z, x: 1 - z**2))
wrong(PUSH, "apply tanh twice", pushing(slope=lambda z, x: 1 - torch.tanh(x) ** 2))
wrong(PUSH, "leave out the slopes", pushing(slope=lambda z, x: torch.ones_like(x)))
wrong(PUSH, "leave out the biases", pushing(biased=False))
wrong(PUSH, "the transpose", lambda W, b, x: tanh_jacobian(W, b, x).T)
wrong(PUSH, "missing: the last", pushing(layers=slice(0, -1)))
wrong(PUSH, "missing: the first", lambda W, b, x: tanh_jacobian(W[1:], b[1:], torch.tanh(W[0] @ x + b[0])))
wrong(PUSH, "not the derivative", pushing(slope=lambda z, x: (z > 0).to(x)))


def extreme_gradients(J):
    P = torch.linalg.svd(J).U
    return P[:, 0], P[:, -1]


def from_eigenvectors(J):
    vectors = torch.linalg.eigh(J @ J.mT).eigenvectors
    return [-vectors[:, -1], vectors[:, 0]]


right(EXTREME, extreme_gradients)
right(EXTREME, from_eigenvectors)
wrong(EXTREME, "gradients meet Jᵀ", lambda J: torch.linalg.svd(J).Vh[[0, -1]].unbind())
wrong(EXTREME, "exchanged", lambda J: extreme_gradients(J)[::-1])
wrong(EXTREME, "is a row", lambda J: torch.linalg.svd(J).U[[0, -1]].unbind())
wrong(EXTREME, "a column of Qᵀ", lambda J: torch.linalg.svd(J).Vh[:, [0, -1]].unbind(dim=1))
wrong(EXTREME, "gradients of length 1", lambda J: (J @ torch.linalg.svd(J).Vh[0], extreme_gradients(J)[1]))
wrong(EXTREME, "is not extreme", lambda J: torch.eye(5)[:2].unbind())
wrong(EXTREME, "two gradients", lambda J: torch.linalg.svd(J).U)


def variance_at(n, depth, *, one_by_one=False, answer=lambda alpha, beta: alpha - beta):
    alpha = beta = 1.0
    for _ in range(depth):
        before, alpha = alpha, ((n + 4) * alpha + n * beta) / (n + 2)
        beta = ((n + 3) * beta + 2 * (alpha if one_by_one else before) / n) / (n + 2)
    return answer(alpha, beta)


def by_a_power(n, depth):
    step = torch.tensor([[n + 4, n], [2 / n, n + 3]], dtype=torch.float64) / (n + 2)
    alpha, beta = torch.linalg.matrix_power(step, depth).sum(dim=1)
    return alpha - beta


right(MOMENTS, variance_at)
right(MOMENTS, by_a_power)
wrong(MOMENTS, "overwritten", lambda n, depth: variance_at(n, depth, one_by_one=True))
wrong(MOMENTS, "α alone", lambda n, depth: variance_at(n, depth, answer=lambda alpha, beta: alpha))
wrong(MOMENTS, "squared mean", lambda n, depth: variance_at(n, depth, answer=lambda alpha, beta: alpha / beta - 1))
wrong(MOMENTS, "infinite width", lambda n, depth: depth)
wrong(MOMENTS, "too few", lambda n, depth: variance_at(n, depth - 1))
wrong(MOMENTS, "too many", lambda n, depth: variance_at(n, depth + 1))
wrong(MOMENTS, "at width 3", lambda n, depth: depth / n)
