"""Answers to the exercises of "New designs"."""

import torch
from scipy.stats import norm

from exercise_answers import right, wrong

STRIP, NORM = "designs-exercise-strip", "designs-exercise-norm"


def halving(depth):
    return torch.tensor([0.0] + [-(2.0 ** (1 - layer)) for layer in range(2, depth + 1)])


def following_the_strip(depth):
    biases, low, high = [], -1.0, 1.0
    for _ in range(depth):
        middle = (low + high) / 2
        biases.append(-middle)
        low, high = 0.0, high - middle
    return biases


right(STRIP, halving)
right(STRIP, following_the_strip)
wrong(STRIP, "with b = 0 its crease is at 0: it folds nothing", torch.zeros)
wrong(STRIP, "with b = 0.5 its crease is at -0.5: it folds nothing", lambda depth: -halving(depth))
wrong(STRIP, "layer 3 gets a strip from 0 to 0.5", lambda depth: halving(depth).clamp(max=0).sign() / 2)
wrong(STRIP, "is not the middle", lambda depth: -(0.5 ** torch.arange(1, depth + 1)))
wrong(STRIP, "has the shape (1, 1)", lambda depth: halving(depth)[:, None])


def by_scipy(q, tau):
    z = torch.linspace(-40, -tau, 400001, dtype=torch.float64)
    density = torch.from_numpy(norm.pdf(z.numpy(), scale=q**0.5))
    return q + torch.trapezoid(density * ((z + 2 * tau) ** 2 - z**2), z)


def shortened(q, tau, *, factor=4, share="of all", lost=1):
    root = q**0.5
    t = tau / root
    tail = norm.cdf(-t)
    gone = factor * tau * (root * norm.pdf(t) - lost * tau * tail)
    return (q - gone / (tail if share == "of the folded" else 1)) / (q if share == "of q" else 1)


right(NORM, by_scipy)
right(NORM, shortened)
wrong(NORM, "you fold on both sides", lambda q, tau: shortened(q, tau, factor=8))
wrong(NORM, "compared with √q", lambda q, tau: q * shortened(1.0, tau))
wrong(NORM, "that is q′/q", lambda q, tau: shortened(q, tau, share="of q") if tau else q)
wrong(NORM, "not of |z| − τ", lambda q, tau: shortened(q, tau, lost=0))
wrong(NORM, "how many are folded", lambda q, tau: shortened(q, tau, share="of the folded"))
wrong(NORM, "a fold with a threshold shortens", lambda q, tau: shortened(q, tau, factor=-4))
wrong(NORM, "turns signs, and no more", lambda q, tau: shortened(q, tau + 1))
wrong(NORM, "too high", lambda q, tau: shortened(q, tau, factor=2))
