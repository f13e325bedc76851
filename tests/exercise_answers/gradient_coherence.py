"""Answers to the exercises of "Gradient coherence"."""

import math

import numpy as np

from exercise_answers import right, wrong
from orthobook.theory.mean_field import mean_field, threshold_for

ABSOLUTE, FEWER = "coherence-exercise-absolute", "coherence-exercise-fewer"


def absolute(loss, closing, late=False):
    def no_threshold(theta, depth):
        gamma = 1.0
        for _ in range(depth):
            before = theta
            if closing:
                overlap = np.cos(theta) + closing / np.pi * (np.sin(theta) - theta * np.cos(theta))
                theta = np.arccos(np.minimum(overlap, 1))
            gamma *= 1 - loss * (theta if late else before) / np.pi
        return gamma

    return no_threshold


right(ABSOLUTE, absolute(2, 2))
right(
    ABSOLUTE,
    lambda theta, depth: mean_field("shifted-fold", depth=depth, threshold=0, correlation=math.cos(theta)).coherence[
        -1
    ],
)
wrong(ABSOLUTE, "ReLU layers", absolute(1, 1))
wrong(ABSOLUTE, "counts -1 in the trace", absolute(1, 2))
wrong(ABSOLUTE, "the angle must move", absolute(2, 0))
wrong(ABSOLUTE, "not after it", absolute(2, 2, late=True))
wrong(ABSOLUTE, "twice as fast", absolute(2, 1))
wrong(ABSOLUTE, "in radians", lambda theta, depth: absolute(2, 2)(np.radians(theta), depth))

right(FEWER, threshold_for(100, 0.5, width=64), threshold_for(100, 0.5, "partial-fold", 64, folds=8))
right(FEWER, 2.444, np.float64(1.891))
wrong(FEWER, "swapped", 1.891, 2.444)
wrong(FEWER, "never fold anything", 2.444, 2.444)
wrong(FEWER, "folds half of the units", 2.444, threshold_for(100, 0.5, "partial-fold", 64))
wrong(FEWER, "tau_fold = 2.000 gives a coherence of 0.294", 2, 1.891)
wrong(FEWER, "move it down", 2.444, 2.6)
wrong(FEWER, "a threshold is positive", -2.444, 1.891)
