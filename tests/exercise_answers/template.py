"""Answers to the exercises of the chapter to start from."""

import torch

from exercise_answers import right, wrong

REFLECTION = "template-exercise-reflection"


def matrix(v, factor=2, *, unit=True):
    return torch.eye(len(v)) - factor * torch.outer(v, v) / (v.dot(v) if unit else 1)


right(REFLECTION, matrix)
right(REFLECTION, lambda v: torch.eye(3) - 2 * (v / v.norm())[:, None] @ (v / v.norm())[None])
wrong(REFLECTION, "a projection; a reflection does it twice", lambda v: matrix(v, 1))
wrong(REFLECTION, "has v the length 1", lambda v: matrix(v, unit=False))
wrong(REFLECTION, "leaves v as it is", lambda v: torch.eye(3))
wrong(REFLECTION, "is needed", lambda v: v - 2 * v)
