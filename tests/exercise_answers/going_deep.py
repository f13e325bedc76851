"""Answers to the exercises of "Going deep"."""

import torch

from exercise_answers import right, wrong

BACKWARD, NEAREST = "deep-exercise-backward", "deep-exercise-nearest"


def by_differentiation(x, weights, biases, threshold, g):
    with torch.enable_grad():
        states = [x.requires_grad_()]
        for W, b in zip(weights, biases, strict=True):
            states.append((W @ states[-1] + b).abs() - threshold)
        return list(torch.autograd.grad(states[-1] @ g, states))


def by_hand(step):
    def gradients(x, weights, biases, threshold, g):
        layers = []
        for W, b in zip(weights, biases, strict=True):
            z = W @ x + b
            layers.append((W, z, x))
            x = z.abs() - threshold
        found = [g]
        for layer in layers[::-1]:
            found.insert(0, step(*layer, found[0]))
        return found

    return gradients


backward = by_hand(lambda W, z, x, g: (z.sign()[:, None] * W).T @ g)
right(BACKWARD, backward)
right(BACKWARD, by_differentiation)
right(BACKWARD, lambda *given: torch.stack(backward(*given)))
wrong(BACKWARD, "the chain rule has its transpose", by_hand(lambda W, z, x, g: W @ (z.sign() * g)))
wrong(BACKWARD, "without folds", by_hand(lambda W, z, x, g: W.T @ g))
wrong(BACKWARD, "ReLU", by_hand(lambda W, z, x, g: W.T @ (g * (z > 0))))
wrong(BACKWARD, "the other side of W.T", by_hand(lambda W, z, x, g: z.sign() * (W.T @ g)))
wrong(BACKWARD, "begins at the top", lambda *given: backward(*given)[::-1])
wrong(BACKWARD, "you return 3", lambda *given: backward(*given)[:-1])
wrong(BACKWARD, "the gradient at x_2", by_hand(lambda W, z, x, g: W.T @ (x.sign() * g)))


def nearest(M, *, steps=60, norm="fro", sign=1):
    if norm:
        M = M / torch.linalg.matrix_norm(M, norm)[:, None, None]
    for _ in range(steps):
        M = M + sign * M @ (torch.eye(M.shape[-1]) - M.mT @ M) / 2
    return M


def with_options(**options):
    return lambda M: nearest(M, **options)


def by_decomposition(M):
    P, _, Qt = torch.linalg.svd(M)
    return P @ Qt


right(NEAREST, nearest)
right(NEAREST, with_options(norm=1))
right(NEAREST, by_decomposition)
wrong(NEAREST, "what does the iteration make of one above √3", with_options(norm=None))
wrong(NEAREST, "grows without bound", lambda M: nearest(M / 1.4, norm=None))
wrong(NEAREST, "yours are orthogonal, but not the nearest", lambda M: torch.linalg.qr(M).Q)
wrong(NEAREST, "left: each iteration", with_options(steps=8))
wrong(NEAREST, "you return M as it is", lambda M: M)
wrong(NEAREST, "is needed", lambda M: nearest(M)[0])
