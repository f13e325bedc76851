"""Answers to the exercises of "Folding paper"."""

import math

import torch

from exercise_answers import right, wrong

FLAT, VERTEX, EXACTLY = "paper-exercise-flat", "paper-exercise-vertex", "paper-exercise-exactly"


def folds_flat(directions, *, ordered=True, last=True, even=True, modulo=True, within=1e-3):
    directions = directions % 360 if modulo else directions
    directions = directions.sort().values if ordered else directions
    gaps = torch.cat([directions.diff(), 360 + directions[:1] - directions[-1:]])
    gaps = gaps if last else gaps[:-1]
    return (len(gaps) % 2 == 0 or not even) and abs(gaps[::2].sum() - 180) <= within


def with_options(**options):
    return lambda directions: folds_flat(directions, **options)


def around(directions):
    """Multiply the reflections in the creases, in order; without a sort by 2θ₁ − 2θ₂ + …"""
    angles = 2 * (directions % 360).sort().values.double().deg2rad()
    signs = 1 - 2 * (torch.arange(len(angles)) % 2)
    return len(angles) % 2 == 0 and bool(abs((signs * angles).sum().cos() - 1) < 1e-6)


right(FLAT, folds_flat)
right(FLAT, around)
wrong(FLAT, "the creases are not in order", with_options(ordered=False, modulo=False))
wrong(FLAT, "adds up to 180°", with_options(last=False))
wrong(FLAT, "where their number is odd", with_options(even=False))
wrong(FLAT, "any multiple of 360°", with_options(modulo=False))
wrong(FLAT, "up to rounding", lambda directions: folds_flat(directions.float(), within=0))
wrong(FLAT, "adds up to 210°", lambda directions: len(directions) % 2 == 0)
wrong(FLAT, "True or False is needed", lambda directions: 180.0)

right(VERTEX, torch.tensor([90.0, 140.0]))
right(VERTEX, [0, -50])
right(VERTEX, torch.tensor([10.0, 140.0]))
wrong(VERTEX, "these are radians", torch.tensor([90.0, 140.0]).deg2rad())
wrong(VERTEX, "nothing meets at 0", torch.tensor([50.0, 230.0]))
wrong(VERTEX, "meet at the angles 80°, 80°, 100°, 100°", torch.tensor([90.0, 190.0]))
wrong(VERTEX, "(2,) is needed", torch.tensor([90.0, 140.0, 220.0, 320.0]))

aimed = torch.tensor([334.0, 256.0, 268.0, 17.0, 182.0, 66.0, 161.0])
middles = torch.tensor([0.0, -0.096, -0.807, -0.077, 0.764, 0.596, 0.925])
eight = [290.0, 70.0, 227.0, 20.0, 120.0, 241.0, 109.0, 127.0], [0.0, 0.341, 0.238, -0.072, 0.22, 0.42, -0.254, -0.44]
right(EXACTLY, aimed, middles)
right(EXACTLY, [127, 341, 236, 355, 189, 175, 289], [0, 0.285, 0.21, 0.084, 0.078, -0.019, -0.324])
wrong(EXACTLY, "fewer can", *eight)
wrong(EXACTLY, "these 7 folds make 128 cells", torch.zeros(7), 2.0 ** -torch.arange(7.0) - 1)
wrong(EXACTLY, "no 6 folds make more than 64", aimed[:6], middles[:6])
wrong(EXACTLY, "7 angles and 6 distances", aimed, middles[:6])
wrong(EXACTLY, "these 7 folds make", aimed * math.pi / 180, middles)
