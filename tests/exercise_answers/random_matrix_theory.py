"""Answers to the exercises of "Random-matrix theory"."""

import math

from exercise_answers import right, wrong
from orthobook.layers import activations
from orthobook.theory.spectra import feedforward_law, spectral_law

GAUSSIAN, SHARE = "matrices-exercise-gaussian", "matrices-exercise-share"

right(GAUSSIAN, lambda depth: math.sqrt((depth + 1) * (1 + 1 / depth) ** depth))
right(GAUSSIAN, lambda depth: feedforward_law(activations.identity, depth, gaussian=True).support[1])
wrong(GAUSSIAN, "that is its square", lambda depth: (depth + 1) * (1 + 1 / depth) ** depth)
wrong(GAUSSIAN, "that is κ at the edge", lambda depth: depth + 1)
wrong(GAUSSIAN, "one Gaussian factor fewer", lambda depth: depth ** (depth / 2) / (depth - 1) ** ((depth - 1) / 2))
wrong(GAUSSIAN, "an approximation for many layers", lambda depth: math.sqrt(math.e * depth))
wrong(GAUSSIAN, "at depth 2 you find 2.2000", lambda depth: 2.2)


def share(x, depth):
    """Return the share above x, as the package has it."""
    return 1 - float(spectral_law("relu-orthogonal", depth).distribution(x))


def scanned(x, depth):
    """Return it from the closed form on a grid of angles."""
    for i in range(20000):
        theta = math.pi * (1 - (i + 0.5) / 20000)
        r = math.sin(theta * (depth - 1) / depth) / math.sin(theta / depth)
        size = math.sin(theta) / math.sin(theta / depth)  # |1 + κ|
        if depth * math.log(size) - (depth - 1) * math.log(r) > 2 * math.log(x):
            side = math.atan2(r * math.sin(theta), r * math.cos(theta) - 1)
            return ((depth - 1) / 2 * theta + (1 - depth / 2) * side) / math.pi
    return 0.0


right(SHARE, share)
right(SHARE, scanned)
wrong(SHARE, "that is the share up to x; the share above it is asked for", lambda x, depth: 1 - share(x, depth))
wrong(SHARE, "you count only the singular values that are not 0", lambda x, depth: 2 * share(x, depth))
wrong(SHARE, "t is its square", lambda x, depth: share(x**0.5, depth))
wrong(SHARE, "one squaring too many", lambda x, depth: share(x**2, depth))
wrong(SHARE, "that is the share between 0 and x", lambda x, depth: 0.5 - share(x, depth))
wrong(SHARE, "you find the share 0.2500", lambda x, depth: 0.25)
