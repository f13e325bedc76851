"""Answers to the exercises of "Keeping orthogonality"."""

import torch

from exercise_answers import right, wrong
from orthobook.orthogonal import polar

TANGENT, QR = "keeping-exercise-tangent", "keeping-exercise-qr"


def sym(A):
    return (A + A.mT) / 2


right(TANGENT, lambda V, G: G - V @ sym(V.mT @ G))
right(TANGENT, lambda V, G: G - V @ (V.mT @ G) + V @ (V.mT @ G - G.mT @ V) / 2)
right(TANGENT, lambda V, G: G - (V @ V.mT @ G + V @ G.mT @ V) / 2)
wrong(TANGENT, "that is the normal part", lambda V, G: V @ sym(V.mT @ G))
wrong(TANGENT, "within the span of its own columns", lambda V, G: G - V @ V.mT @ G)
wrong(TANGENT, "leaves the span", lambda V, G: V @ (V.mT @ G - G.mT @ V) / 2)
wrong(TANGENT, "the factor ½", lambda V, G: G - V @ (V.mT @ G + G.mT @ V))
wrong(TANGENT, "GᵀV is not symmetric", lambda V, G: G - V @ G.mT @ V)
wrong(TANGENT, "your T is not tangent", lambda V, G: polar(V + G) - V)
wrong(TANGENT, "G − T is not normal", lambda V, G: (G - V @ sym(V.mT @ G)) / G.norm())
wrong(TANGENT, "has the shape", lambda V, G: sym(V.mT @ G))


def q_factor(M, *, mend=lambda Q, signs: Q * signs):
    Q, R = torch.linalg.qr(M)
    return mend(Q, R.diagonal().sign())


def by_cholesky(M):
    return M @ torch.linalg.inv(torch.linalg.cholesky(M.T @ M).T)


def by_gram_schmidt(M):
    columns = []
    for column in M.T:
        for other in columns:
            column = column - (other @ column) * other
        columns.append(column / column.norm())
    return torch.stack(columns, dim=1)


right(QR, q_factor)
right(QR, by_cholesky)
right(QR, by_gram_schmidt)
wrong(QR, "columns turned round", lambda M: torch.linalg.qr(M).Q)
wrong(QR, "polar factor", polar)
wrong(QR, "a tensor is needed", torch.linalg.qr)
wrong(QR, "not orthonormal", lambda M: M / M.norm(dim=0))
wrong(QR, "not orthonormal", lambda M: M @ torch.linalg.inv(torch.linalg.cholesky(M.T @ M)))
wrong(QR, "below its diagonal", lambda M: q_factor(M.flip(1)).flip(1))
wrong(QR, "has the shape", lambda M: torch.linalg.qr(M, mode="complete").Q)
