"""Answers to the exercises of "Initialisation is enough?"."""

import torch

from exercise_answers import right, wrong

ADAM, ALIGNED = "init-exercise-adam", "init-exercise-aligned"


def longest(k, *, corrected=True, terms=None, b1=0.9, b2=0.999):
    r, last = b1**2 / b2, k if terms is None else terms
    series = (1 - b1) * ((1 - r**last) / (1 - r)) ** 0.5 / (1 - b2) ** 0.5
    return series * ((1 - b2**k) ** 0.5 / (1 - b1**k) if corrected else 1)


def by_adam(k, ratio=0.9 / 0.999):
    weight = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([weight], lr=1.0, eps=0.0)
    for j in range(max(1, k - 400), k + 1):
        weight.grad = torch.full_like(weight, ratio ** (k - j))
        before = weight.item()
        adam.step()
    return before - weight.item()


right(ADAM, longest)
right(ADAM, lambda k: torch.tensor(longest(k)))
wrong(ADAM, "the bias corrections are left out", lambda k: longest(k, corrected=False))
wrong(ADAM, "has a single term", lambda k: 7.27)
wrong(ADAM, "which equal gradients give", lambda k: 1)
wrong(ADAM, "one gradient after many zeros", lambda k: ((1 - 0.999**k) / 0.001) ** 0.5 * 0.1 / (1 - 0.9**k))
wrong(ADAM, "there are gradients that give more", lambda k: by_adam(k, 0.95) if k <= 400 else 7)
wrong(ADAM, "no gradients make a step as long", lambda k: min(7.27, k**0.5))


def aligned(Q, delta, *, follow=True, root=0.5, shrink=True, turn=True):
    n = Q.shape[-1]
    D = torch.eye(n, dtype=Q.dtype)
    D[0, 0] = (1 + delta) ** root
    D[-1, -1] = (1 - delta) ** root if shrink else 1
    layers, before = [], torch.eye(n, dtype=Q.dtype)
    for q in Q:
        layers.append((q if turn else torch.eye(n, dtype=Q.dtype)) @ before @ D @ before.T)
        before = q @ before if follow else before
    return torch.stack(layers)


def from_the_output(Q, delta):
    """The same, with the factor to the left of every layer."""
    n = Q.shape[-1]
    D = torch.ones(n, dtype=Q.dtype)
    D[1], D[0] = (1 + delta) ** 0.5, (1 - delta) ** 0.5
    layers, after = [], torch.eye(n, dtype=Q.dtype)
    for q in Q.flip(0):
        layers.insert(0, (after.T * D) @ after @ q)
        after = after @ q
    return torch.stack(layers)


def with_options(**options):
    return lambda Q, delta: aligned(Q, delta, **options)


right(ALIGNED, aligned)
right(ALIGNED, from_the_output)
wrong(ALIGNED, "unrelated directions", with_options(follow=False))
wrong(ALIGNED, "the squares of the singular values", with_options(root=1))
wrong(ALIGNED, "one of two is attained", with_options(shrink=False))
wrong(ALIGNED, "not the orthogonal matrix nearest", with_options(turn=False, follow=False))
wrong(ALIGNED, "the first matrix acts first", lambda Q, delta: aligned(Q.flip(0), delta).flip(0))
wrong(ALIGNED, "your layers are orthogonal", lambda Q, delta: Q)
wrong(ALIGNED, "δ = 0.2 is asked for", lambda Q, delta: aligned(Q, 2 * delta))
wrong(ALIGNED, "has the shape (5, 5)", lambda Q, delta: aligned(Q, delta)[0])
