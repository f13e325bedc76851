"""Self-checks of the chapter to start from, book/_template: an example to copy."""

from __future__ import annotations

import torch

from orthobook.teaching.exercises._self_checks import function, near, require, self_check, tensor


@self_check("template-exercise-reflection")
def _reflection(reflection: object) -> None:
    v = torch.tensor([1.0, 2.0, -2.0])
    H = tensor("reflection(v)", function("reflection", reflection)(v), 3, 3)
    v, eye = v.double(), torch.eye(3, dtype=torch.float64)
    require(not near(H @ v, v), "the matrix leaves v as it is: a reflection turns it round")
    require(
        not near(H @ v, 0 * v), "the matrix takes the part along v away once, a projection; a reflection does it twice"
    )
    require(near(H @ v, -v), f"v = {v.tolist()} becomes {(H @ v).tolist()}; has v the length 1")
    require(near(H @ H, eye), "two reflections in a row must give back every vector")
