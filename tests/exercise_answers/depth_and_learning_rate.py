"""Answers to the exercises of "Depth and learning rate"."""

import torch

from exercise_answers import right, wrong

CARRY, ONE = "rates-exercise-carry", "rates-exercise-one"


def carried(J, delta, *, start=0, order=1, act=lambda matrix, x: matrix @ x):
    arrived = delta[0] * start
    for matrix, own in list(zip(J, delta, strict=True))[::order]:
        arrived = act(matrix, arrived) + own
    return arrived


def by_products(J, delta):
    product, total = torch.eye(J.shape[-1]), torch.zeros(J.shape[-1])
    for matrix, own in zip(J.flip(0), delta.flip(0), strict=True):
        total = total + product @ own
        product = product @ matrix
    return total


def with_its_own(J, delta):
    arrived = torch.zeros_like(delta[0])
    for matrix, own in zip(J, delta, strict=True):
        arrived = matrix @ (arrived + own)
    return arrived


def first_alone(J, delta):
    arrived = delta[0]
    for matrix in J[1:]:
        arrived = matrix @ arrived
    return arrived


right(CARRY, carried)
right(CARRY, by_products)
wrong(CARRY, "its own Jacobian does not act", with_its_own)
wrong(CARRY, "adds the layers' own movements", lambda J, delta: delta.sum(dim=0))
wrong(CARRY, "the order is reversed", lambda J, delta: carried(J, delta, order=-1))
wrong(CARRY, "act transposed", lambda J, delta: carried(J, delta, act=lambda matrix, x: x @ matrix))
wrong(CARRY, "only the first layer's movement", first_alone)
wrong(CARRY, "away from the sum", lambda J, delta: carried(J, delta, start=1))
wrong(CARRY, "has the shape (3, 4)", lambda J, delta: delta)

right(ONE, [0.0011, 0.0009, 0.001])
right(ONE, (torch.tensor(1.0e-5), torch.tensor(0.9e-5), torch.tensor(1.1e-5)))
right(ONE, torch.tensor([0.011, 0.009, 0.010]))
wrong(ONE, "not divided at all", [0.011, 0.045, 0.207])
wrong(ONE, "the power is ½", [0.0034, 0.0063, 0.0148])
wrong(ONE, "divided by too much", [1.1e-4, 1.7e-5, 4e-6])
wrong(ONE, "the shares of the sum", [0.884, 0.869, 0.875])
wrong(ONE, "it is positive", [0.0, 0.0, 0.0])
wrong(ONE, "times the smallest", [0.001, 0.002, 0.0012])
wrong(ONE, "has the shape", [(0.0011, 0.88), (0.0009, 0.87), (0.001, 0.875)])
