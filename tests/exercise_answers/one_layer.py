"""Answers to the exercises of "One layer"."""

import torch

from exercise_answers import right, wrong
from orthobook.framework import complement

SORT, COUNT, RECOVER = "layer-exercise-sort", "layer-exercise-count", "layer-exercise-recover"


def folded(sign, factor):
    def sort_pairs(x):
        v = sign * torch.tensor([[1.0], [-1.0]], dtype=x.dtype) / 2**0.5
        return x - factor * torch.relu(x @ v) @ v.T

    return sort_pairs


right(SORT, folded(1, 2))
right(SORT, lambda x: x.sort(dim=1).values)
wrong(SORT, "the larger entry comes first", folded(-1, 2))
wrong(SORT, "becomes", folded(1, 1))
wrong(SORT, "has the shape (2, 4)", lambda x: folded(1, 2)(x).T)
wrong(SORT, "is None", lambda x: None)

frame = lambda n, m: n * m - m * (m + 1) // 2  # noqa: E731
right(COUNT, lambda n, m: 2 * frame(n, m) + m + (n - m) * (n - m - 1) // 2)
right(COUNT, lambda n, m: (n**2 - n) / 2 + n * m + (m - m**2) / 2 + 0.0)
wrong(COUNT, "lengths of the columns", lambda n, m: 2 * frame(n, m) + (n - m) * (n - m - 1) // 2)
wrong(COUNT, "R of the other directions", lambda n, m: 2 * frame(n, m) + m)
wrong(COUNT, "not every matrix R", lambda n, m: 2 * frame(n, m) + m + (n - m) ** 2)
wrong(COUNT, "the theorem ties them", lambda n, m: n * n + 2 * n * m)
wrong(COUNT, "you count", lambda n, m: n * m)


def factors(A, B, C, slopes, *, transpose=False, conditions=("linear", "pairs", "constant"), scaled=True):
    c, r = (slopes[0] + slopes[1]) / 2, (slopes[0] - slopes[1]) / 2
    M, N = A + c * B @ C, r * B
    scale = N.norm(dim=0)
    U, V = N / scale, C.T * scale
    gaps = {
        "linear": N.T @ M,
        "pairs": U.T @ U - torch.eye(len(C)),
        "constant": M.T @ M + V @ V.T - torch.eye(len(A)),
    }
    if any(gaps[name].abs().max() > 1e-4 for name in conditions):
        raise ValueError("violated")
    R = complement(U).T @ M @ complement(V)
    return U, V.T if transpose else V, R, scale if scaled else scale / r


def with_options(**options):
    return lambda *layer: factors(*layer, **options)


right(RECOVER, factors)
wrong(RECOVER, "your V has orthonormal rows; the theorem needs columns", with_options(transpose=True))
wrong(RECOVER, "MV ≠ 0", with_options(conditions=("linear", "pairs")))
wrong(RECOVER, "columns of B are not orthogonal", with_options(conditions=("linear",)))
wrong(RECOVER, "your scale is not", with_options(scaled=False))
wrong(RECOVER, "four things", lambda *layer: factors(*layer)[:3])
