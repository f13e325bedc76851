"""Answers to the exercises of "Nearly orthogonal networks"."""

import math

from exercise_answers import right, wrong

FLOAT, STATES = "nearly-exercise-float", "nearly-exercise-states"

sure, typical = 2 * math.log(1.01) / 1e-6, (2 * math.log(1.01) / 1e-6) ** 2
right(FLOAT, 19_900, 3.96e8)
right(FLOAT, sure, typical)
wrong(FLOAT, "are the two swapped", typical, sure)
wrong(FLOAT, "the error of WᵀW", math.log(1.01) / 1e-6, typical)
wrong(FLOAT, "modified residual layer", math.log(1.01) / 2e-6, typical)
wrong(FLOAT, "not their squares", 2 * sure, typical)
wrong(FLOAT, "compare ln √(1 + δ)", 1e6, typical)
wrong(FLOAT, "δ bounds G + Gᵀ", sure, typical / 2)
wrong(FLOAT, "which norm is δ", sure, typical / 8)
wrong(FLOAT, "G + Gᵀ is not 2G", sure, 2 * typical)
wrong(FLOAT, "solve √(2Lv)", sure, 1e9)


def mean_log(states, tau, epsilon, first=1, last=None, power=1):
    total = 0
    for x in states[first:last]:
        z = ((x + tau) ** 2 - epsilon**2).clamp(min=1e-30).sqrt()
        total = total + power * (z / (z**2 + epsilon**2).sqrt()).log().mean(dim=1)
    return total


def with_options(**options):
    return lambda *answer: mean_log(*answer, **options)


right(STATES, mean_log)
right(
    STATES,
    lambda states, tau, epsilon: sum(0.5 * (1 - (epsilon / (x + tau)) ** 2).log().mean(-1) for x in states[1:]),
)
wrong(STATES, "the layers' means add up", lambda *answer: mean_log(*answer) / (len(answer[0]) - 1))
wrong(STATES, "the mean is asked for", lambda *answer: mean_log(*answer) * answer[0][0].shape[1])
wrong(STATES, "not of its square", with_options(power=2))
wrong(STATES, "the sign is turned", with_options(power=-1))
wrong(STATES, "the last layer alone", with_options(first=-1))
wrong(STATES, "the last layer is missing", with_options(last=-1))
wrong(
    STATES,
    "is x_0 a root",
    lambda states, tau, epsilon: sum(0.5 * (1 - (epsilon / (x + tau)) ** 2).log().mean(-1) for x in states),
)
wrong(STATES, "find", lambda states, tau, epsilon: mean_log(states, tau, epsilon**2))
wrong(STATES, "has the shape (1,)", lambda *answer: mean_log(*answer)[:1])
