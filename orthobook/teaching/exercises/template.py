"""Self-checks of the chapter to start from, book/_template: an example to copy."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from orthobook.teaching.exercises._self_checks import comparison, tensor


@comparison(
    "template-exercise-reflection",
    [(torch.tensor([1.0, 2.0, -2.0]),)],
    read=lambda H, v: tensor("reflection(v)", H, 3, 3),
    otherwise=lambda *_: "v must be turned round, and every vector that is orthogonal to it left as it is",
    wrong={
        "the matrix leaves v as it is: a reflection turns it round": lambda v: torch.eye(3, dtype=v.dtype),
        "the matrix takes the part along v away once, a projection; a reflection does it twice": lambda v: (
            (reflection(v) + torch.eye(3, dtype=v.dtype)) / 2
        ),
        "v = [1, 2, -2] becomes [-17, -34, 34]; has v the length 1": lambda v: (
            torch.eye(3, dtype=v.dtype) - 2 * torch.outer(v, v)
        ),
    },
)
def reflection(v: Float[Tensor, " n"]) -> Float[Tensor, "n n"]:
    """Return the matrix that reflects in the plane orthogonal to v."""
    return torch.eye(len(v), dtype=v.dtype) - 2 * torch.outer(v, v) / v.dot(v)
