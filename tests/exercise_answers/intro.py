"""Answers to the exercise of the front page that has a self-check."""

import orthobook as ob
from exercise_answers import right, wrong

BUILD = "intro-exercise-build"


def deciding_by(found):
    return lambda net, x: found(ob.singular_values(net, x))


right(BUILD, deciding_by(lambda s: bool((s - 1).abs().max() < 1e-4)))
right(BUILD, deciding_by(lambda s: all(1 - 1e-4 < value < 1 + 1e-4 for row in s.tolist() for value in row)))
right(BUILD, lambda net, x: ((ob.jacobian(net, x).svd().S - 1).abs() < 1e-4).all())
wrong(BUILD, "a distance has no sign", deciding_by(lambda s: (s - 1).max() < 1e-4))
wrong(BUILD, "every one is asked for", deciding_by(lambda s: ((s - 1).abs() < 1e-4).any()))
wrong(BUILD, "over all rows of x", deciding_by(lambda s: (s[0] - 1).abs().max() < 1e-4))
wrong(BUILD, "over all rows of x", deciding_by(lambda s: (s[-1] - 1).abs().max() < 1e-4))
wrong(BUILD, "on average", deciding_by(lambda s: (s.square().mean() - 1).abs() < 1e-4))
wrong(BUILD, "the tolerance is 1e-4", deciding_by(lambda s: (s - 1).abs().max() < 0.1))
wrong(BUILD, "up to rounding", deciding_by(lambda s: (s == 1).all()))
wrong(BUILD, "True or False", deciding_by(lambda s: (s - 1).abs().max(dim=1).values < 1e-4))
