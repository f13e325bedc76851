"""Answers to the exercises of "Evidence"."""

import math
import statistics

import torch

from exercise_answers import right, wrong

FLATTERY, FINDING = "evidence-exercise-flattery", "evidence-exercise-finding"

s = math.sqrt(0.85 * 0.15 / 10_000)
drawn = torch.randn(40_000, 100, generator=torch.Generator().manual_seed(0)).amax(dim=1).mean().item()
points, images = 100 * drawn * s, 10_000 * (drawn * s / 0.001) ** 2

right(FLATTERY, points, images)
right(FLATTERY, 0.895, 8e5)
wrong(FLATTERY, "points is a share", points / 100, images)
wrong(FLATTERY, "the best of six", 1.267 * 100 * s, images)
wrong(FLATTERY, "√(2 ln 100)", 100 * s * math.sqrt(2 * math.log(100)), images)
wrong(FLATTERY, "one of them counts s", drawn, images)
wrong(FLATTERY, "grows with the square", points, 10_000 * points / 0.1)
wrong(FLATTERY, "a tenth of what it is", points, 1_000_000)
wrong(FLATTERY, "fewer images flatter more", points, 10_000 / (points / 0.1) ** 2)
wrong(FLATTERY, "where s would be", points, 2_000_000)
wrong(FLATTERY, "where s would be no number", points, -1)
wrong(FLATTERY, "often enough", 2 * points, images)


def judged(one, other, *, sign=1, scale=1.0, deviation=statistics.stdev, combine=math.hypot, factor=1.6, sided=False):
    gap = sign * scale * (statistics.fmean(other) - statistics.fmean(one))
    spread = scale * combine(deviation(one), deviation(other))
    return gap, spread, (gap if sided else abs(gap)) > factor * spread


def with_options(**options):
    return lambda one, other: judged(one, other, **options)


def by_tensors(one, other):
    one, other = torch.tensor(one), torch.tensor(other)
    gap, spread = other.mean() - one.mean(), (one.var() + other.var()).sqrt()
    return gap, spread, gap.abs() > 1.6 * spread


right(FINDING, judged)
right(FINDING, by_tensors)
wrong(FINDING, "the other sign", with_options(sign=-1))
wrong(FINDING, "not points", with_options(scale=100))
wrong(FINDING, "divisor 2", with_options(deviation=statistics.pstdev))
wrong(FINDING, "variances add", with_options(combine=lambda a, b: a + b))
wrong(FINDING, "no √3", with_options(combine=lambda a, b: math.hypot(a, b) / math.sqrt(3)))
wrong(FINDING, "both runs scatter", with_options(combine=lambda a, b: math.hypot(a, b) / math.sqrt(2)))
wrong(FINDING, "take the root", with_options(combine=lambda a, b: a * a + b * b))
wrong(FINDING, "in either direction", with_options(sided=True))
wrong(FINDING, "it takes 1.6 times", with_options(factor=1.0))
wrong(FINDING, "is a finding", with_options(factor=5.0))
wrong(FINDING, "the means are asked for", lambda one, other: (max(other) - max(one), *judged(one, other)[1:]))
wrong(FINDING, "three things", lambda one, other: judged(one, other)[:2])
wrong(FINDING, "True or False", lambda one, other: (*judged(one, other)[:2], "yes"))
